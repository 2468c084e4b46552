"""Segments and tracks: weights, what is learned from, batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from moodbook.errors import TrainingError
from moodbook.training.examples import Examples


def examples_of(filled: list[float], tracks: list[int], ground_truth: np.ndarray | None = None) -> Examples:
    return Examples(
        inputs=np.arange(20 * 2 * 3, dtype=np.float16).reshape(20, 2, 3),
        rows=np.arange(len(filled)) * 2,
        tracks=np.array(tracks),
        filled=np.array(filled, dtype=np.float32),
        ground_truth=ground_truth,
    )


def test_a_track_is_the_mean_of_its_segments_weighted_by_their_music() -> None:
    examples = examples_of([1.0, 0.5, 1.0], [0, 0, 1])
    pooled = examples.pool(np.array([[0.9, 0.0], [0.3, 0.6], [0.2, 1.0]]), tracks=2)
    # (1.0 x 0.9 + 0.5 x 0.3) / 1.5 = 0.7, and (0.5 x 0.6) / 1.5 = 0.2.
    np.testing.assert_allclose(pooled, [[0.7, 0.2], [0.2, 1.0]], rtol=1e-6)
    assert pooled.dtype == np.float32


def test_segments_with_little_music_are_not_learned_from_unless_there_is_no_other() -> None:
    examples = examples_of([1.0, 0.3, 0.2, 0.1, 0.5], [0, 0, 1, 1, 2])
    kept = examples.to_learn_from()
    assert kept.rows.tolist() == [0, 4, 8]
    assert kept.tracks.tolist() == [0, 1, 2]


def test_a_batch_reads_the_rows_and_the_tags_of_their_tracks() -> None:
    truth = np.array([[1, 0], [0, 1]], dtype=np.float32)
    batch = examples_of([1.0, 1.0, 1.0], [0, 0, 1], truth).batch(np.array([2, 0]), torch.device("cpu"))
    assert batch.inputs.dtype == torch.float32
    assert batch.inputs[:, 0, 0].tolist() == [24.0, 0.0]
    assert batch.targets is not None
    assert batch.targets.tolist() == [[0.0, 1.0], [1.0, 0.0]]


def test_codes_become_int64() -> None:
    codes = np.full((20, 4, 512), 32767, dtype=np.int16)
    batch = examples_of([1.0], [0]).with_inputs(codes).batch(np.array([0]), torch.device("cpu"))
    assert batch.inputs.dtype == torch.int64
    assert batch.inputs.max() == 32767
    assert batch.targets is None


def test_codes_of_another_cache_are_refused() -> None:
    with pytest.raises(TrainingError, match="expected 20 rows, one for each segment, got 3"):
        examples_of([1.0], [0]).with_inputs(np.zeros((3, 4, 512), dtype=np.int16))


def two_tracks() -> Examples:
    """Tracks of 2.5 segments and of 0.75, rows of 8 frames; each frame holds its number within the track."""
    frames = np.concatenate([np.arange(24), np.arange(8)]).reshape(4, 1, 8).astype(np.float16)
    filled = np.array([1.0, 1.0, 0.5, 0.75], dtype=np.float32)
    return Examples(frames, np.arange(4), np.array([0, 0, 0, 1]), filled, None)


def test_a_crop_starts_anywhere_in_its_track_and_ends_within_the_music() -> None:
    starts = np.array([0.0, 0.3, 1.0, 0.3, 1.0])
    batch = two_tracks().batch(np.array([2, 0, 1, 3, 3]), torch.device("cpu"), starts)
    # The first track has 20 frames of music, so a crop of 8 starts at 0 to 12; the second has fewer than 8.
    assert batch.inputs[:, 0, 0].tolist() == [0, 3, 12, 0, 0]
    assert all((clip.diff() == 1).all() for clip in batch.inputs[:, 0])


def test_a_crop_of_what_is_learned_from_stays_clear_of_what_is_not() -> None:
    examples = two_tracks()
    short = Examples(examples.inputs, examples.rows, examples.tracks, np.array([1, 1, 0.25, 1]), None).to_learn_from()
    batch = short.batch(np.array([0]), torch.device("cpu"), np.array([1.0]))
    assert batch.inputs[0, 0].tolist() == list(range(8, 16))


def test_a_few_segments_of_each_track_are_spread_evenly_over_it() -> None:
    tracks = np.array([0] * 9 + [1] * 2 + [2])
    examples = Examples(np.zeros((12, 1, 8), np.float16), np.arange(12), tracks, np.ones(12, np.float32), None)
    kept = examples.at_most(3)
    assert kept.rows.tolist() == [1, 4, 7, 9, 10, 11]
    assert kept.tracks.tolist() == [0, 0, 0, 1, 1, 2]
    assert examples.at_most(1).rows.tolist() == [4, 10, 11]
    assert len(kept.filled) == len(kept)


def test_a_tail_with_little_music_is_none_of_the_few() -> None:
    assert examples_of([1.0, 1.0, 0.02], [0] * 3).at_most(2).rows.tolist() == [0, 2]
    assert examples_of([1.0, 1.0, 1.0, 0.02], [0] * 4).at_most(2).rows.tolist() == [0, 4]
    # A track that has nothing else is not lost.
    assert examples_of([0.3, 0.1, 1.0], [0, 0, 1]).at_most(1).rows.tolist() == [0, 4]


def test_crops_of_a_few_segments_are_cut_from_the_whole_track() -> None:
    examples = two_tracks()
    few = examples.at_most(1).to_learn_from()
    assert few.rows.tolist() == [1, 3]
    starts = np.array([0.0, 0.3, 1.0])
    batch = few.batch(np.array([0, 0, 0]), torch.device("cpu"), starts)
    assert batch.inputs[:, 0, 0].tolist() == [0, 3, 12]
    np.testing.assert_array_equal(few.batch(np.array([0]), torch.device("cpu")).inputs[0, 0], np.arange(8, 16))
