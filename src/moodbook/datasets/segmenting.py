"""Compute the segments of many tracks, in threads, in order; a bad file becomes a reason."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float16, Float32

from moodbook import audio
from moodbook.datasets.dataset import Track
from moodbook.errors import AudioError, MoodbookError
from moodbook.features import N_MELS, SEGMENT_FRAMES, SEGMENT_SECONDS, FeatureConfig, segments, stream_segments
from moodbook.processors import usable_processors

TOO_SHORT = "shorter than one segment"
"""How the reason begins for which a short track is dropped."""


@dataclass(frozen=True)
class ComputedTrack:
    """What decoding one track gave.

    Args:
        log_mel: Its segments.
        filled: Share of real frames in each.
        reason: Why there are none; None where there are.
    """

    log_mel: Float16[np.ndarray, "segments 128 1024"]
    filled: Float32[np.ndarray, " segments"]
    reason: str | None = None


@dataclass(frozen=True)
class SegmentRules:
    """Which segments of a track are computed, and how.

    Args:
        config: The dials of the features.
        which: first: the paper's 1,024 frames. all: every segment.
        short_tracks: pad: a track shorter than one segment is padded with silence. drop: it gives none.
    """

    config: FeatureConfig
    which: Literal["first", "all"] = "first"
    short_tracks: Literal["pad", "drop"] = "pad"

    def compute(self, track: Track) -> ComputedTrack:
        """Compute the segments of one track; an error of its file becomes a reason, never an exception."""
        try:
            if self.which == "first":
                parts = [segments(audio.load_first_segment(track.path), self.config, first_only=True)]
            else:
                parts = list(stream_segments(audio.stream(track.path), self.config))
            # Rounded here, part by part, so that a long track is never held in float32 as a whole.
            rows = np.concatenate([part.log_mel.astype(np.float16) for part in parts])
            filled = np.concatenate([part.filled for part in parts]).astype(np.float32)
        except AudioError as error:
            return _no_rows(error.reason)
        except (MoodbookError, OSError, RuntimeError, ValueError) as error:
            return _no_rows(f"{type(error).__name__}: {error}".replace(str(track.path), track.path.name))
        if self.short_tracks == "drop" and filled[0] < 1:
            return _no_rows(f"{TOO_SHORT} ({filled[0] * SEGMENT_SECONDS:.1f} of {SEGMENT_SECONDS:.1f} s)")
        return ComputedTrack(rows, filled)


def _no_rows(reason: str) -> ComputedTrack:
    return ComputedTrack(np.empty((0, N_MELS, SEGMENT_FRAMES), np.float16), np.empty(0, np.float32), reason)


def compute_in_order(
    tracks: Sequence[Track], rules: SegmentRules, workers: int | None = None
) -> Iterator[ComputedTrack]:
    """Compute tracks in threads (decoder, resampler and FFT release the interpreter) and give the results in order.

    Args:
        tracks: The tracks.
        rules: Which segments.
        workers: Threads; default: one a core.
    """
    count = workers or usable_processors()
    waiting: deque[Future[ComputedTrack]] = deque()
    with ThreadPoolExecutor(count, thread_name_prefix="features") as pool:
        try:
            for track in tracks:
                waiting.append(pool.submit(rules.compute, track))
                if len(waiting) > 2 * count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def expected_segments(track: Track) -> int:
    """Estimate the segments of a track from its header; 0 where that tells nothing."""
    try:
        return math.ceil((audio.probe(track.path).duration_seconds or 0.0) / SEGMENT_SECONDS)
    except (MoodbookError, OSError):
        return 0
