"""A data set: tracks with tags, each in one split, and what may be done with them."""

from __future__ import annotations

import functools
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool

from moodbook.errors import DataError
from moodbook.tags import TagSet

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""The three parts of a data set, in the order in which everything lists them."""


@dataclass(frozen=True)
class Track:
    """One labelled recording.

    Args:
        track_id: Its name in the data set; every result is keyed by it.
        path: The audio file.
        tags: Its tag names, without repeats; empty for music that is used without labels.
        split: The part it belongs to, or None where none was chosen yet.
        group: What must stay on one side of a split, such as the artist; None: the track is on its own.
    """

    track_id: str
    path: Path
    tags: tuple[str, ...] = ()
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True)
class Dataset:
    """Tracks, their tag axis, and the terms under which they may be used.

    Args:
        name: The name it was opened by.
        tracks: The tracks, in the order of the index.
        tags: The tag axis. A track may carry a tag outside it only until `check` or `ground_truth` says so.
        licence: The licence of the audio, and what follows from it.
        citation: What to cite.
        dropped_tags: Tags that an option left out (see `with_min_tracks`).
        dropped_tracks: Ids of tracks that were left out because they had no other tag.
    """

    name: str
    tracks: tuple[Track, ...]
    tags: TagSet
    licence: str = "not stated"
    citation: str = ""
    dropped_tags: tuple[str, ...] = ()
    dropped_tracks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.tracks)

    def split(self, name: str) -> tuple[Track, ...]:
        """Give the tracks of one split, in order.

        Raises:
            DataError: There is no split of that name, or a track was not given one yet.
        """
        if name not in SPLITS:
            raise DataError(f"unknown split {name!r}; the splits are: {', '.join(SPLITS)}")
        without = sum(track.split is None for track in self.tracks)
        if without:
            raise DataError(
                f"data set '{self.name}': {without} of {len(self.tracks)} tracks have no split; "
                "make one with moodbook.datasets.splits.assign_splits, or add a 'split' column to the index"
            )
        return tuple(track for track in self.tracks if track.split == name)

    def ground_truth(self, tracks: Sequence[Track]) -> Bool[np.ndarray, "tracks tags"]:
        """Mark which tracks have which tags, rows in the order of `tracks`, columns in the order of `tags`.

        Raises:
            DataError: A track carries a tag that is not on the tag axis.
        """
        columns = {name: column for column, name in enumerate(self.tags)}
        marks = np.zeros((len(tracks), len(columns)), dtype=bool)
        for row, track in enumerate(tracks):
            for tag in track.tags:
                if tag not in columns:
                    raise DataError(
                        f"track '{track.track_id}' of data set '{self.name}' has the unknown tag {tag!r}; "
                        f"the tags are: {', '.join(self.tags)}"
                    )
                marks[row, columns[tag]] = True
        return marks

    def tag_counts(self) -> dict[str, int]:
        """Count the tracks of each tag, in the order of the tag axis."""
        counts = Counter(tag for track in self.tracks for tag in track.tags)
        return {tag: counts[tag] for tag in self.tags}

    @functools.cached_property
    def sha256(self) -> str:
        """The content: tag axis, and id, tags, split and group of each track (not where the files lie)."""
        digest = hashlib.sha256()
        digest.update(_line(list(self.tags)))
        for track in self.tracks:
            digest.update(_line([track.track_id, sorted(track.tags), track.split, track.group]))
        return digest.hexdigest()

    def with_min_tracks(self, min_tracks: int) -> Dataset:
        """Leave out the tags with fewer than `min_tracks` tracks, and the labelled tracks that lose their last tag.

        What is left out is named in `dropped_tags` and `dropped_tracks`.

        Raises:
            DataError: No tag is left.
        """
        dropped = tuple(tag for tag, count in self.tag_counts().items() if count < min_tracks)
        if not dropped:
            return self
        kept = TagSet(tuple(tag for tag in self.tags if tag not in set(dropped)))
        if not len(kept):
            counts = self.tag_counts()
            raise DataError(
                f"data set '{self.name}': no tag has {min_tracks} tracks (the largest, "
                f"{max(counts, key=counts.__getitem__)!r}, has {max(counts.values())}); label more, or ask for fewer "
                "(data.min_tracks in a recipe of your own)"
            )
        tracks, dropped_tracks = [], []
        for track in self.tracks:
            tags = tuple(tag for tag in track.tags if tag not in set(dropped))
            if track.tags and not tags:
                dropped_tracks.append(track.track_id)
            else:
                tracks.append(replace(track, tags=tags))
        return replace(
            self,
            tracks=tuple(tracks),
            tags=kept,
            dropped_tags=self.dropped_tags + dropped,
            dropped_tracks=self.dropped_tracks + tuple(dropped_tracks),
        )


def tag_set_of(tracks: Iterable[Track]) -> TagSet:
    """Give the tags that occur, sorted by name (by code point, so the order is the same everywhere)."""
    return TagSet(tuple(sorted({tag for track in tracks for tag in track.tags})))


def require_distinct(tracks: Iterable[Track]) -> None:
    """Find out whether every track has an id of its own.

    Raises:
        DataError: Two share one.
    """
    seen: set[str] = set()
    for track in tracks:
        if track.track_id in seen:
            raise DataError(f"two tracks have the id {track.track_id!r}; give every track an id of its own")
        seen.add(track.track_id)


def _line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"
