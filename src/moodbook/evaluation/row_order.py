"""Evidence that rows of a submission are not those of the tracks.

Would another order of the rows score far better? Every rotation of the rows is scored at once; what most of them score
is chance, with all the resemblance that neighbouring tracks have. And do the rows score no better than chance, although
the columns go together exactly as the tags do, which only a trained model's columns do?
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from moodbook.evaluation.tag_axis import scipy_stats

ROW_Z = 6.0
"""Standard deviations of chance by which another row order must beat the given one."""
CHANCE_Z = 3.0
"""Standard deviations of chance within which the given rows count as unrelated."""
PROMISE_SHARE = 0.2
"""Share of what the scores promise above one half that unrelated rows certainly stay below."""
STRUCTURE_Z = 4.0
"""Standard deviations by which the columns must go together as the tags do, for rows to be called unrelated."""
FREQUENCY_CORRELATION = 0.5
"""And least rank correlation of column means with tag frequencies; the published systems have 0.72 to 0.79."""
MIN_ROWS = 60
"""Fewer rows than this prove nothing about their order."""
MIN_TAGS_FOR_STRUCTURE = 8
"""Fewer columns than this have too few pairs to compare with the tags' pairs."""


@dataclass(frozen=True)
class RowOrder:
    """An order of the rows that fits the tracks far better than the given one."""

    description: str
    rows: Int64[np.ndarray, " tracks"]
    """The row of the submission that belongs to each track."""
    roc_auc_given: float
    roc_auc_ordered: float
    z: float
    """Gain in standard deviations of chance."""


@dataclass(frozen=True)
class UnrelatedRows:
    """Rows that say nothing about their tracks although a trained model made them."""

    roc_auc: float
    roc_auc_expected: float
    """What the probabilities themselves promise; NaN where they are no probabilities."""
    z_chance: float
    z_structure: float
    structure_correlation: float
    """Correlation of the columns' and the tags' pairwise correlations."""
    frequency_correlation: float
    """Rank correlation of the columns' means and the tags' frequencies."""


def find_row_order(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    candidates: Mapping[str, Int64[np.ndarray, " tracks"]] | None = None,
) -> RowOrder | None:
    """Look for an order of the rows that fits far better: shifted, reversed, or one of the candidates.

    Args:
        ground_truth: Which tracks have which tags.
        probabilities: Finite scores, as many rows as tracks.
        candidates: Further orders to try, by description: the row that would belong to each track.

    Raises:
        DependencyError: scipy (it comes with scikit-learn) is not installed.
    """
    tracks = len(ground_truth)
    usable = (np.ptp(probabilities, axis=0) > 0) & ground_truth.any(axis=0) & ~ground_truth.all(axis=0)
    if tracks < MIN_ROWS or not usable.any():
        return None
    ground_truth, probabilities = ground_truth[:, usable], probabilities[:, usable]
    shifted = _rotations(ground_truth, probabilities)
    reverse = _rotations(ground_truth, probabilities[::-1])
    chance = _chance(shifted)
    orders: dict[str, np.ndarray] = {}
    shift = int(np.argmax(shifted))
    if shift:
        signed = shift if shift <= tracks // 2 else shift - tracks
        orders[f"shifted by {signed:+d}"] = (np.arange(tracks) + shift) % tracks
    back = int(np.argmax(reverse))
    reversed_rows = (tracks - 1 - np.arange(tracks) - back) % tracks
    orders["reversed" if back == 0 else f"reversed and shifted by {back}"] = reversed_rows
    orders |= dict(candidates or {})
    scored = {name: _rotations(ground_truth, probabilities[rows])[0] for name, rows in orders.items()}
    best = max(scored, key=lambda name: scored[name])
    gain = scored[best] - shifted[0]
    z = gain / chance.std()
    if z < ROW_Z:
        return None
    return RowOrder(best, orders[best], 0.5 + float(shifted[0]), 0.5 + float(scored[best]), float(z))


def find_unrelated_rows(
    ground_truth: Bool[np.ndarray, "tracks tags"], probabilities: Float[np.ndarray, "tracks tags"]
) -> UnrelatedRows | None:
    """Look for a trained model's rows that have nothing to do with these tracks, as after a shuffle.

    What the test cannot tell apart: a model that learned which tags go together and nothing else.

    Raises:
        DependencyError: scipy (it comes with scikit-learn) is not installed.
    """
    usable = (np.ptp(probabilities, axis=0) > 0) & ground_truth.any(axis=0) & ~ground_truth.all(axis=0)
    truth, scores = ground_truth[:, usable], probabilities[:, usable]
    if len(truth) < MIN_ROWS or truth.shape[1] < MIN_TAGS_FOR_STRUCTURE:
        return None
    rotations = _rotations(truth, scores)
    chance = _chance(rotations)
    z_chance = float((rotations[0] - chance.mean()) / chance.std())
    if abs(z_chance) >= CHANCE_Z:
        return None
    expected = _expected_roc_auc(scores)
    promised = 0.6 if math.isnan(expected) else expected
    # Far below what the scores promise, however chance fell: a weak model on few tracks is not accused.
    if promised < 0.6 or rotations[0] + 4 * chance.std() > PROMISE_SHARE * (promised - 0.5):
        return None
    frequency = float(scipy_stats().spearmanr(scores.mean(axis=0), truth.mean(axis=0)).statistic)
    correlation, z_structure = _structure(truth, scores)
    if z_structure < STRUCTURE_Z or not frequency >= FREQUENCY_CORRELATION:
        return None
    return UnrelatedRows(0.5 + float(rotations[0]), expected, z_chance, z_structure, correlation, frequency)


def _rotations(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Compute macro ROC-AUC minus one half for the rows rotated by 0, 1, 2, and so on.

    ROC-AUC is linear in the ranks of the positives, so all rotations together are one circular correlation. Every
    column must vary, in the truth too.
    """
    tracks = len(truth)
    ranks = scipy_stats().rankdata(probabilities, axis=0) - (tracks + 1) / 2
    positives = truth.sum(axis=0)
    weights = truth / (positives * (tracks - positives))
    spectrum = (np.fft.rfft(ranks, axis=0) * np.conj(np.fft.rfft(weights, axis=0))).mean(axis=1)
    return np.fft.irfft(spectrum, n=tracks)


def _chance(rotations: np.ndarray) -> np.ndarray:
    """Give the rotations far from the given order, which neighbours of the same artist do not reach."""
    near = min(50, len(rotations) // 10)
    return rotations[near:-near]


def _structure(truth: np.ndarray, probabilities: np.ndarray) -> tuple[float, float]:
    """Correlate the columns' correlations with the tags', and give its z against permuted tags (Mantel 1967)."""
    pairs = np.triu_indices(truth.shape[1], k=1)
    of_tags = np.asarray(np.corrcoef(truth.T.astype(np.float64)))
    of_columns = np.asarray(np.corrcoef(scipy_stats().rankdata(probabilities, axis=0).T))
    given = float(np.corrcoef(of_tags[pairs], of_columns[pairs])[0, 1])
    generator = np.random.default_rng(0)
    permuted = []
    for _ in range(300):
        order = generator.permutation(len(of_tags))
        permuted.append(np.corrcoef(of_tags[np.ix_(order, order)][pairs], of_columns[pairs])[0, 1])
    return given, float((given - np.mean(permuted)) / np.std(permuted))


def _expected_roc_auc(probabilities: np.ndarray) -> float:
    """Compute the macro ROC-AUC that probabilities promise if each comes true as often as it says."""
    if probabilities.min() < 0 or probabilities.max() > 1:
        return math.nan
    ranked = np.sort(probabilities.astype(np.float64), axis=0)
    no = 1 - ranked
    below = np.cumsum(no, axis=0) - no / 2
    return float(np.mean((ranked * below).sum(axis=0) / (ranked.sum(axis=0) * no.sum(axis=0))))
