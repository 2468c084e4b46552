"""The same recording under several track ids, and how to count it once.

The test part of MediaEval 2019 holds 17 pairs. They need no audio to be found: a deterministic system gives the same
recording the same scores, to the last bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from moodbook.errors import DataError
from moodbook.evaluation.submission import ID_HEADERS, read_rows

MOST_SHARE = 0.05
"""If more of the tracks than this look like duplicates, the system tells too few tracks apart to find any."""
DURATION_TOLERANCE_SECONDS = 0.1
"""The official lists give durations to a tenth of a second."""


def find_duplicates(
    systems: Sequence[Float[np.ndarray, "tracks tags"]], durations_seconds: Sequence[float] | None = None
) -> tuple[tuple[int, ...], ...]:
    """Find tracks that every system gives exactly the same scores.

    Args:
        systems: Predictions of one or more systems; each more makes a chance match less likely.
        durations_seconds: Length of each track; duplicates must agree in it.

    Returns:
        Groups of two rows or more, each the same recording.

    Raises:
        DataError: So many tracks have the same scores that this proves nothing.
    """
    rows = np.concatenate([np.ascontiguousarray(array, dtype=np.float64) for array in systems], axis=1)
    same: dict[bytes, list[int]] = defaultdict(list)
    for row, scores in enumerate(rows):
        same[scores.tobytes()].append(row)
    groups: list[tuple[int, ...]] = []
    for candidates in same.values():
        if durations_seconds is None:
            groups.append(tuple(candidates))
            continue
        by_length: list[list[int]] = []
        for row in sorted(candidates, key=lambda row: durations_seconds[row]):
            if (
                by_length
                and durations_seconds[row] - durations_seconds[by_length[-1][-1]] <= DURATION_TOLERANCE_SECONDS
            ):
                by_length[-1].append(row)
            else:
                by_length.append([row])
        groups.extend(tuple(sorted(rows)) for rows in by_length)
    groups = sorted(group for group in groups if len(group) > 1)
    if sum(len(group) for group in groups) > MOST_SHARE * len(rows):
        raise DataError(
            f"{sum(len(group) for group in groups)} of {len(rows)} tracks share their scores with another: the "
            "predictions tell too few tracks apart to find duplicates by. Give a file of duplicate groups instead"
        )
    return tuple(groups)


def read_duplicates(path: str | Path, track_ids: Sequence[str] | None) -> tuple[tuple[int, ...], ...]:
    """Read groups of track ids that are one recording, one group a line (CSV, or TSV), as rows of the ground truth.

    Raises:
        DataError: The file cannot be read or groups nothing, the ground truth is not keyed by track, or an id is
            unknown or stands twice.
    """
    path = Path(path)
    if track_ids is None:
        raise DataError("duplicates are given by track, but the ground truth names no tracks: give --tracks")
    place = {track: row for row, track in enumerate(track_ids)}
    lines = [[cell.strip() for cell in row if cell.strip()] for row in read_rows(path)]
    if lines[0][0].lower() in ID_HEADERS:
        del lines[0]
    groups = []
    seen: set[str] = set()
    for line in lines:
        for track in line:
            if track not in place:
                raise DataError(f"'{path}': track {track!r} is not among the {len(place)} tracks of the ground truth")
            if track in seen:
                raise DataError(f"'{path}': track {track!r} stands twice; write each recording on one line")
            seen.add(track)
        if len(line) > 1:
            groups.append(tuple(sorted(place[track] for track in line)))
    if not groups:
        raise DataError(f"'{path}': no line holds two track ids; write the ids of one recording on one line")
    return tuple(groups)


def keep_first(groups: Sequence[Sequence[int]], tracks: int) -> Bool[np.ndarray, " tracks"]:
    """Mark all rows but the second and further ones of each group."""
    keep = np.ones(tracks, dtype=bool)
    for group in groups:
        keep[list(group)[1:]] = False
    return keep
