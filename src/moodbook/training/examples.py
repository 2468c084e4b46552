"""What a network learns from: rows of a cache, and the track each of them belongs to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Int64, Shaped
from torch import Tensor

from moodbook.errors import TrainingError
from moodbook.training.teacher.lesson import Lesson

SHORT_SEGMENT = 0.5
"""A segment with a smaller share of music is not trained on, unless its track has no other. It still counts, with its
small weight, when the track is scored."""


@dataclass(frozen=True)
class Batch:
    """Examples on the device.

    Args:
        inputs: Log-mel "batch 128 1024" float32, codes "batch bands 512" int64, or readings of the semantic decoder
            "batch windows semantic_features" float32.
        targets: "batch tags", 1 where the example's track has the tag, or what a teacher hears of it, "batch frames
            n_mels", or says of it, "batch windows embedding" (NaN: nothing); None where there is neither.
    """

    inputs: Shaped[Tensor, "batch height width"]
    targets: Float32[Tensor, "batch ..."] | None


@dataclass(frozen=True)
class Examples:
    """Segments of some tracks.

    Args:
        inputs: Every row of the cache, mapped from the disk: log-mel float16, codes int16, or readings float32 (which
            cannot be cut anywhere else than between segments).
        rows: The rows that belong to these tracks, in the order of the cache.
        tracks: Which track each of `rows` belongs to, counted from 0.
        filled: Share of music in each of `rows`: its weight in the track.
        ground_truth: Tags by track; None where the music is used without labels.
        lesson: What a teacher has to tell of every row of the cache, instead of tags.
        whole: The examples before some of a track's were left out; crops are cut from all of the track.
    """

    inputs: Shaped[np.ndarray, "cached height width"]
    rows: Int[np.ndarray, " examples"]
    tracks: Int[np.ndarray, " examples"]
    filled: Float[np.ndarray, " examples"]
    ground_truth: Float32[np.ndarray, "tracks tags"] | None
    lesson: Lesson | None = None
    whole: Examples | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def batch(
        self,
        positions: Int[np.ndarray, " batch"],
        device: torch.device,
        starts: Float[np.ndarray, " batch"] | None = None,
    ) -> Batch:
        """Read some examples, named by their positions in `rows`.

        Args:
            positions: Which examples.
            device: Where the batch goes.
            starts: Where in its track to begin instead of at its own segment: 0 with the first frame, 1 so that the
                last frame is the last; in [0, 1]. A track of less than one segment stays as it is. Where a lesson can
                be cut at some frames only, it is one of them.
        """
        first_frames = self._first_frames(positions, starts)
        rows = torch.from_numpy(np.stack([_stretch(self.inputs, frame) for frame in first_frames])).to(device)
        targets = None
        if self.ground_truth is not None:
            targets = torch.from_numpy(self.ground_truth[self.tracks[positions]]).to(device)
        elif self.lesson is not None:
            told = np.stack([self.lesson.stretch(frame) for frame in first_frames])
            targets = torch.from_numpy(told).to(device).float()
        return Batch(rows.float() if rows.is_floating_point() else rows.long(), targets)

    def to_learn_from(self) -> Examples:
        """Leave out the segments that hold little music (`SHORT_SEGMENT`), but no track's fullest one."""
        kept = self._hold_music()
        return replace(self, rows=self.rows[kept], tracks=self.tracks[kept], filled=self.filled[kept])

    def at_most(self, segments: int) -> Examples:
        """Keep so many segments of each track, evenly spread over those to learn from; all if they are fewer."""
        kept = self._hold_music()
        for track in np.unique(self.tracks):
            positions = np.flatnonzero(kept & (self.tracks == track))
            if len(positions) > segments:
                spread = (np.arange(segments) + 0.5) / segments * len(positions)
                kept[positions] = False
                kept[positions[spread.astype(int)]] = True
        return replace(
            self, rows=self.rows[kept], tracks=self.tracks[kept], filled=self.filled[kept], whole=self.whole or self
        )

    def _hold_music(self) -> Bool[np.ndarray, " examples"]:
        fullest = np.zeros(int(self.tracks.max(initial=-1)) + 1, dtype=self.filled.dtype)
        np.maximum.at(fullest, self.tracks, self.filled)
        enough: Bool[np.ndarray, " examples"] = (self.filled >= SHORT_SEGMENT) | (self.filled == fullest[self.tracks])
        return enough

    def with_inputs(self, inputs: Shaped[np.ndarray, "cached height width"]) -> Examples:
        """Give the same examples with other inputs, row for row: codes or readings for log-mel.

        Raises:
            TrainingError: There are not as many rows.
        """
        if len(inputs) != len(self.inputs):
            raise TrainingError(
                f"expected {len(self.inputs)} rows, one for each segment, got {len(inputs)}; "
                "delete the caches and run again"
            )
        return replace(self, inputs=inputs)

    def pool(self, segments: Float[np.ndarray, "examples tags"], tracks: int) -> Float32[np.ndarray, "tracks tags"]:
        """Average scores of segments over each track, weighted by `filled`.

        Every one of the `tracks` has at least one segment.
        """
        weights = self.filled.astype(np.float64)
        total = np.zeros((tracks, segments.shape[1]))
        np.add.at(total, self.tracks, segments * weights[:, None])
        weight = np.bincount(self.tracks, weights=weights, minlength=tracks)
        return (total / weight[:, None]).astype(np.float32)

    @cached_property
    def _extents(self) -> dict[int, tuple[int, float]]:
        """Give the first row of each track and how many segments of music follow one another from there."""
        if self.whole is not None:
            return self.whole._extents
        extents: dict[int, tuple[int, float]] = {}
        for row, track, filled in zip(self.rows.tolist(), self.tracks.tolist(), self.filled.tolist(), strict=True):
            first, segments = extents.get(track, (row, 0.0))
            extents[track] = (first, segments + filled)
        return extents

    def _first_frames(
        self, positions: Int[np.ndarray, " batch"], starts: Float[np.ndarray, " batch"] | None
    ) -> list[int]:
        """Give the first frame of each example, counted from the first row of the cache."""
        width = self.inputs.shape[2]
        grid = 1 if self.lesson is None else self.lesson.grid
        if starts is None:
            return [int(row) * width for row in self.rows[positions]]
        frames = []
        for track, start in zip(self.tracks[positions].tolist(), starts.tolist(), strict=True):
            first, segments = self._extents[track]
            choices = max(0, int(segments * width) - width)
            last = choices // grid
            frames.append(first * width + min(int(start * (last + 1)), last) * grid)
        return frames


def _stretch(rows: Shaped[np.ndarray, "cached height width"], start: int) -> Shaped[np.ndarray, "height width"]:
    """Take a row's width of places along the last axis, which goes on from row to row, from place `start` on."""
    row, offset = divmod(start, rows.shape[2])
    if not offset:
        return np.asarray(rows[row])
    return np.concatenate([rows[row, :, offset:], rows[row + 1, :, :offset]], axis=1)


def positions_in_turn(examples: int, batch_size: int, processes: int, process: int) -> list[Int64[np.ndarray, " some"]]:
    """Give one process its share of examples to score, in batches.

    Every process gets the same number, so that results can be gathered: the last ones repeat the first examples.
    Gathered results stand process by process; `in_order` puts them back.
    """
    each = -(-examples // processes)
    mine = (np.arange(each, dtype=np.int64) * processes + process) % examples
    return [mine[start : start + batch_size] for start in range(0, each, batch_size)]


def in_order(
    gathered: Shaped[np.ndarray, rows * shape], examples: int, processes: int
) -> Shaped[np.ndarray, examples * shape]:
    """Put rows gathered process by process back into the order of the examples, without the repeats."""
    each = len(gathered) // processes
    by_turn = gathered.reshape(processes, each, *gathered.shape[1:]).swapaxes(0, 1)
    return by_turn.reshape(processes * each, *gathered.shape[1:])[:examples]
