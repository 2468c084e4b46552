"""What the teacher says of each segment, computed once a track and kept on disk.

A segment is cut into eight windows of 128 frames (2.97 s, 64 steps of the latents); the teacher hears the 2.99 s that
begin with each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import soxr
import torch
from jaxtyping import Bool, Float16, Float32
from torch import Tensor

from moodbook import audio
from moodbook.datasets.cache import FeatureCache
from moodbook.datasets.dataset import Track
from moodbook.datasets.rowstore import Layout, RowWriter, locked, open_rows, reopen_rows, require_space
from moodbook.errors import TrainingError
from moodbook.features import HOP_LENGTH, SEGMENT_FRAMES
from moodbook.features import SAMPLE_RATE as WAVEFORM_RATE
from moodbook.training.teacher import musicnn
from moodbook.training.teacher.musicnn import load_musicnn, musicnn_log_mel

WINDOWS = 8
"""Windows of a segment."""
WINDOW_FRAMES = SEGMENT_FRAMES // WINDOWS
"""Log-mel frames of a window."""
_VERSION = 1
"""Goes up when the same audio gives other targets."""


@dataclass(frozen=True)
class TeacherTargets:
    """The teacher's embedding of every window of a feature cache, row for row.

    Attributes:
        folder: Where they lie.
        embeddings: A read-only memory map.
    """

    folder: Path
    embeddings: Float16[np.ndarray, "rows 8 200"]

    @classmethod
    def build(
        cls,
        features: FeatureCache,
        tracks: Sequence[Track],
        folder: str | Path,
        progress: Callable[[int, int], None] | None = None,
    ) -> TeacherTargets:
        """Open the targets of a feature cache, computing what is missing of them; stopped at any time, it goes on.

        Args:
            features: The segments.
            tracks: The tracks that they come from.
            folder: Where caches are kept.
            progress: Told of segments done and to do.

        Raises:
            ModelError: The teacher's weights are not here.
            TrainingError: A track gives other segments than it did when the features were made.
            DataError: The disk has no room.
        """
        content = json.dumps(["teacher", _VERSION, musicnn.REQUIREMENT, WINDOWS, features.key])
        key = hashlib.sha256(content.encode()).hexdigest()
        place = Path(folder) / f"teacher-{key[:16]}"
        layout = Layout(key, (WINDOWS, musicnn.EMBEDDING), np.dtype("<f2"))
        with locked(place):
            stored = reopen_rows(place, key)
            if stored is None:
                _compute(features, {track.track_id: track for track in tracks}, place, layout, progress)
                stored = open_rows(place, verify=False)
            return cls(place, stored.rows)

    def normalised(
        self, rows: Sequence[int] | np.ndarray, filled: Float32[np.ndarray, " rows"]
    ) -> Float16[np.ndarray, "cached 8 200"]:
        """Give the embeddings with mean 0 and variance 1 over some rows, and NaN where a window holds no music.

        Args:
            rows: Those whose mean and variance count: the training segments.
            filled: Share of music in every row of the cache.

        Raises:
            TrainingError: Fewer than two windows of those rows hold music.
        """
        heard = windows_with_music(filled)
        counted = np.zeros(len(filled), dtype=bool)
        counted[np.asarray(rows)] = True
        sample = self.embeddings[counted][heard[counted]].astype(np.float32)
        if len(sample) < 2:
            raise TrainingError("the training tracks are too short for a teacher: it hears 3 seconds at a time")
        mean, deviation = sample.mean(axis=0), sample.std(axis=0)
        scaled = (self.embeddings.astype(np.float32) - mean) / np.maximum(deviation, 1e-3)
        scaled[~heard] = np.nan
        normalised: np.ndarray = scaled.astype(np.float16)
        return normalised


def windows_with_music(filled: Float32[np.ndarray, " rows"]) -> Bool[np.ndarray, "rows 8"]:
    """Tell which windows lie in the music of their segment, with half of their length at least."""
    middles: np.ndarray = (np.arange(WINDOWS) + 0.5) / WINDOWS
    return middles[None, :] <= filled[:, None]


def embed_track(
    network: Callable[[Tensor], Tensor], path: Path, segments: int
) -> Float16[np.ndarray, "segments 8 200"]:
    """Compute the embedding of every window of a track; zeros where it holds no music.

    Args:
        network: Patches "batch 187 96" to embeddings "batch 200".
        path: The audio file.
        segments: Segments of the track.

    Raises:
        AudioError: The file cannot be read.
    """
    waveform = soxr.resample(audio.load(path), WAVEFORM_RATE, musicnn.SAMPLE_RATE, quality="HQ")
    log_mel = musicnn_log_mel(waveform)
    frames_a_window = WINDOW_FRAMES * HOP_LENGTH / WAVEFORM_RATE * musicnn.SAMPLE_RATE / musicnn.HOP_LENGTH
    embeddings = np.zeros((segments, WINDOWS, musicnn.EMBEDDING), dtype=np.float16)
    for segment in range(segments):
        starts = np.round((segment * WINDOWS + np.arange(WINDOWS)) * frames_a_window).astype(int)
        heard = starts + musicnn.PATCH_FRAMES // 2 < len(log_mel)
        if heard.any():
            patches = [_patch(log_mel, start) for start in starts[heard].tolist()]
            embeddings[segment, heard] = network(torch.from_numpy(np.stack(patches))).numpy()
    return embeddings


def _patch(log_mel: Float32[np.ndarray, "frames 96"], start: int) -> Float32[np.ndarray, "187 96"]:
    """Cut a patch; what the end of the track lacks is silence, 0 on this scale."""
    patch = log_mel[start : start + musicnn.PATCH_FRAMES]
    return np.pad(patch, ((0, musicnn.PATCH_FRAMES - len(patch)), (0, 0)))


def _compute(
    features: FeatureCache,
    tracks: Mapping[str, Track],
    place: Path,
    layout: Layout,
    progress: Callable[[int, int], None] | None,
) -> None:
    network = load_musicnn()
    with RowWriter(place, layout) as writer:
        total = len(features)
        require_space(place, (total - writer.rows) * layout.row_bytes, f"the teacher's targets of {total} segments")
        row = 0
        for track_id, group in groupby(features.track_ids):
            segments = len(list(group))
            if row + segments > writer.rows:
                if row != writer.rows:
                    raise TrainingError(f"'{place}' ends inside a track; delete it and run again")
                writer.append(embed_track(network, tracks[track_id].path, segments), None)
            row += segments
            if progress:
                progress(row, total)
        writer.finish({"kind": "teacher", "features_key": features.key, "teacher": musicnn.REQUIREMENT})
