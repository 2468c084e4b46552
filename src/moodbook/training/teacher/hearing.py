"""What the teacher hears: its own log-mel of each segment, computed once a track and kept on disk.

Its frames are 16 ms apart and those of the features 23.2 ms, so a segment is 1,486.08 of its frames; each row begins at
the nearest one and holds two more, so that a stretch of music that begins anywhere can be cut out of two rows.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import numpy as np
import soxr
from jaxtyping import Float16

from moodbook import audio
from moodbook.datasets.cache import FeatureCache
from moodbook.datasets.dataset import Track
from moodbook.datasets.rowstore import Layout, RowWriter, require_space, stored_rows
from moodbook.errors import TrainingError
from moodbook.features import HOP_LENGTH, SAMPLE_RATE, SEGMENT_FRAMES
from moodbook.processors import usable_processors
from moodbook.training.teacher.musicnn import HOP_LENGTH as TEACHER_HOP
from moodbook.training.teacher.musicnn import N_MELS, musicnn_log_mel
from moodbook.training.teacher.musicnn import SAMPLE_RATE as TEACHER_RATE

FRAMES_A_FRAME = HOP_LENGTH / SAMPLE_RATE * TEACHER_RATE / TEACHER_HOP
"""Frames of the teacher in one frame of the features: 1.4512."""
ROW_FRAMES = 1488
"""Frames of a row: a segment and what its last window reaches beyond it."""
_VERSION = 1
"""Goes up when the same audio gives another log-mel."""


@dataclass(frozen=True)
class TeacherHearing:
    """The teacher's log-mel of every segment of a feature cache, row for row.

    Attributes:
        folder: Where it lies.
        log_mel: A read-only memory map; NaN behind the end of a track.
    """

    grid: ClassVar[int] = 1

    folder: Path
    log_mel: Float16[np.ndarray, "rows 1488 96"]

    @classmethod
    def build(
        cls,
        features: FeatureCache,
        tracks: Sequence[Track],
        folder: str | Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> TeacherHearing:
        """Open what the teacher hears of a feature cache, computing what is missing; stopped at any time, it goes on.

        Args:
            features: The segments.
            tracks: The tracks that they come from.
            folder: Where caches are kept.
            progress: Told of segments done and to do.

        Raises:
            AudioError: A file cannot be read that could when the features were made.
            TrainingError: A track gives other segments than it did then.
            DataError: The disk has no room.
        """
        key = hearing_key(features)
        place = Path(folder) / f"teacher-{key[:16]}"
        layout = Layout(key, (ROW_FRAMES, N_MELS), np.dtype("<f2"))
        by_id = {track.track_id: track for track in tracks}
        stored = stored_rows(place, key, lambda: _compute(features, by_id, place, layout, progress))
        return cls(place, stored.rows)

    def stretch(self, first_frame: int) -> Float16[np.ndarray, "1488 96"]:
        """Cut what the teacher hears of a stretch of music as long as a segment.

        Args:
            first_frame: Frame of the features with which the stretch begins, counted from the first row.
        """
        row, offset = divmod(first_frame, SEGMENT_FRAMES)
        if not offset:
            return np.asarray(self.log_mel[row])
        start = round(offset * FRAMES_A_FRAME)
        own = round(SEGMENT_FRAMES * FRAMES_A_FRAME) - start
        return np.concatenate([self.log_mel[row, start : start + own], self.log_mel[row + 1, : ROW_FRAMES - own]])


def hearing_key(features: FeatureCache) -> str:
    """Name what the teacher hears of a feature cache: the segments, and how they are heard."""
    return hashlib.sha256(json.dumps(["teacher", _VERSION, ROW_FRAMES, features.key]).encode()).hexdigest()


def hear_track(path: Path, segments: int) -> Float16[np.ndarray, "segments 1488 96"]:
    """Compute the teacher's log-mel of every segment of a track; NaN behind its end.

    Args:
        path: The audio file.
        segments: Segments of the track.

    Raises:
        AudioError: The file cannot be read.
    """
    waveform = soxr.resample(audio.load(path), SAMPLE_RATE, TEACHER_RATE, quality="HQ")
    log_mel = musicnn_log_mel(waveform).astype(np.float16)
    rows = np.full((segments, ROW_FRAMES, N_MELS), np.nan, dtype=np.float16)
    for segment, row in enumerate(rows):
        heard = log_mel[round(segment * SEGMENT_FRAMES * FRAMES_A_FRAME) :][:ROW_FRAMES]
        row[: len(heard)] = heard
    return rows


def _compute(
    features: FeatureCache,
    tracks: Mapping[str, Track],
    place: Path,
    layout: Layout,
    progress: Callable[[int, int], None] | None,
) -> None:
    with RowWriter(place, layout) as writer:
        total = len(features)
        require_space(place, (total - writer.rows) * layout.row_bytes, f"what the teacher hears of {total} segments")
        extents = [(track_id, len(list(group))) for track_id, group in groupby(features.track_ids)]
        left, row = [], 0
        for track_id, segments in extents:
            if row >= writer.rows:
                left.append((tracks[track_id].path, segments))
            row += segments
            if row > writer.rows > row - segments:
                raise TrainingError(f"'{place}' ends inside a track; delete it and run again")
        for rows in _in_order(left):
            writer.append(rows, None)
            if progress:
                progress(writer.rows, total)
        writer.finish({"kind": "teacher", "features_key": features.key})


def _in_order(tracks: Sequence[tuple[Path, int]]) -> Iterator[Float16[np.ndarray, "segments 1488 96"]]:
    """Compute tracks in threads, a few ahead of what is taken."""
    workers = usable_processors()
    waiting: deque[Future[Float16[np.ndarray, "segments 1488 96"]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="teacher") as pool:
        try:
            for path, segments in tracks:
                waiting.append(pool.submit(hear_track, path, segments))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
