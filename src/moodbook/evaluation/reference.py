"""The ground truth with everything known about its tracks, and the systems read into its rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from moodbook.errors import DataError
from moodbook.evaluation.submission import (
    DELIMITERS,
    Table,
    TrackList,
    align,
    read_artists,
    read_rows,
    read_table,
    read_track_list,
    to_bool,
    to_float,
)
from moodbook.tags import TagSet


@dataclass(frozen=True)
class Reference:
    """What submissions are measured against."""

    ground_truth: Bool[np.ndarray, "tracks tags"]
    tags: TagSet
    track_ids: tuple[str, ...] | None = None
    artists: tuple[str, ...] | None = None
    durations_seconds: tuple[float, ...] | None = None
    left_out_tags: tuple[str, ...] = ()
    """Tags of the track list that are not in the tag list."""


@dataclass(frozen=True)
class Predictions:
    """Scores in the rows and columns of a reference."""

    probabilities: Float[np.ndarray, "tracks tags"]
    keyed: bool
    """Whether the file names its tracks."""


def read_reference(
    ground_truth: str | Path,
    tags: TagSet,
    *,
    tracks: str | Path | None = None,
    artists: str | Path | None = None,
) -> Reference:
    """Read the ground truth: npy, CSV or TSV of 0 and 1, or a track list that holds tags.

    Args:
        ground_truth: The file.
        tags: The columns wanted.
        tracks: Names the rows of a ground truth that does not name them itself, or fixes their order.
        artists: Table of ``track_id`` and ``artist``; without it, the artists of the track list.

    Raises:
        DataError: A file cannot be read, or they do not fit together.
    """
    path = Path(ground_truth)
    listed = None if tracks is None else read_track_list(tracks)
    own = read_track_list(path) if _is_track_list(path) else None
    if own is not None:
        table = Table(path, own.ground_truth(tags), own.track_ids, tags)
        listed = listed or own
    else:
        table = to_bool(read_table(path), "ground truth")
    track_ids = table.track_ids if listed is None else listed.track_ids
    truth = align(table, tags, track_ids, len(table.values) if listed is None else len(listed), "ground truth")
    named: tuple[str, ...] | None = None
    if artists is not None:
        named = read_artists(artists, track_ids)
    elif listed is not None:
        named = listed.artists
    return Reference(
        truth,
        tags,
        track_ids,
        named,
        None if listed is None else listed.durations_seconds,
        _left_out(own, tags),
    )


def read_predictions(path: str | Path, reference: Reference) -> Predictions:
    """Read a system's scores into the rows and columns of the ground truth.

    Decisions will do where a system has no scores, as the popularity baseline.

    Raises:
        DataError: The file cannot be read, or does not fit the ground truth.
    """
    table = to_float(read_table(path))
    values = align(table, reference.tags, reference.track_ids, len(reference.ground_truth), "predictions")
    return Predictions(values, table.track_ids is not None)


def read_decisions(path: str | Path, reference: Reference) -> Bool[np.ndarray, "tracks tags"]:
    """Read a system's decisions into the rows and columns of the ground truth.

    Raises:
        DataError: The file cannot be read, holds anything but 0 and 1, or does not fit the ground truth.
    """
    table = to_bool(read_table(path), "decisions")
    return align(table, reference.tags, reference.track_ids, len(reference.ground_truth), "decisions")


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name systems after their files, as shortly as tells them apart: with ending, folder, or the whole path.

    A file may stand twice, for the same scores with other decisions: from the second time on it is numbered.
    """
    ways = (
        lambda path: path.stem,
        lambda path: path.name,
        lambda path: f"{path.parent.name}/{path.stem}",
        lambda path: str(path),
    )
    different = list(dict.fromkeys(paths))
    names = [[way(path) for path in different] for way in ways]
    name_of = {
        path: next((way[k] for way in names if way.count(way[k]) == 1), str(path)) for k, path in enumerate(different)
    }
    times = [paths[: k + 1].count(path) for k, path in enumerate(paths)]
    return [name_of[path] + (f" ({time})" if time > 1 else "") for path, time in zip(paths, times, strict=True)]


def _is_track_list(path: Path) -> bool:
    if path.suffix.lower() not in DELIMITERS:
        return False
    header = [cell.strip().lower() for cell in read_rows(path)[0]]
    return "track_id" in header and "tags" in header


def _left_out(listed: TrackList | None, tags: TagSet) -> tuple[str, ...]:
    if listed is None or listed.tags is None:
        return ()
    left_out = sorted({name for names in listed.tags for name in names if name not in tags})
    if not any(name in tags for names in listed.tags for name in names):
        raise DataError(
            f"no track of '{listed.path}' has any of the {len(tags)} tags, but {', '.join(left_out[:6]) or 'none'}: "
            "give the tag list that belongs to it"
        )
    return tuple(left_out)
