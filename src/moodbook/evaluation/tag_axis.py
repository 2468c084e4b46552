"""Evidence that columns of a submission stand under each other's names.

Would another assignment of columns to tags score far better than the names on the columns? A rearrangement of many
columns is sought on one half of the tracks and must hold on the other, both ways round; a few columns that change
places must gain far more than columns do by luck, on either half.

Honest systems have weak columns whose tag another column happens to predict better. The margins below are set well
beyond what the published systems of MediaEval 2019 and simulated honest ones show (`docs/evaluation.md`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64

from moodbook.errors import DependencyError

STAY_BONUS = 0.05
"""Mean score by which a column must do better elsewhere before it is moved at all."""
CYCLE_GAIN = 0.2
"""Least mean gain in ROC-AUC of a few tags that change places; the published systems reach 0.11, honest simulated ones
0.19."""
CYCLE_GAIN_HALF = 0.1
"""And least gain on either half of the tracks."""
CYCLE_Z = 5.0
"""And least standard errors of that gain; the published systems reach 3.4 with smaller gains."""
MIN_GROUPS = 50
"""Artists without whom the standard errors of a few columns are not to be trusted."""
LONG_GAIN = 0.15
"""Least mean gain in ROC-AUC, on the half it was not found on, of more columns that change places."""
WIDE_GAIN = 0.05
"""Least mean gain in ROC-AUC over all tags where half of them or more move."""
WIDE_RATIO = 3.0
"""And then all columns as assigned must be this many times as far above chance as they are as named."""
HALF_Z = 4.0
"""Standard errors that a gain must have on the half it was not found on."""
FEW = 4
"""Columns that change places among each other and are few enough to need no half of the tracks held out."""
MIN_POSITIVES = 5
"""Tags with fewer tracks, in either half, say nothing about their column."""
BLOCK_ROWS = 8
"""Neighbouring rows taken for one group where artists are unknown: lists are sorted by artist."""


@dataclass(frozen=True)
class TagPermutation:
    """Columns that predict each other's tags."""

    column_of_tag: tuple[int, ...]
    """The column that serves each tag best; the identity but for the accused."""
    tags: tuple[int, ...]
    """The tags whose columns are elsewhere."""
    roc_auc_as_named: float
    """Mean over those tags, columns as named."""
    roc_auc_assigned: float
    """Mean over those tags, columns as assigned."""
    z: float
    """Gain in standard errors."""


def roc_auc_matrix(
    ground_truth: Bool[np.ndarray, "tracks tags"], probabilities: Float[np.ndarray, "tracks columns"]
) -> Float[np.ndarray, "columns tags"]:
    """Compute the ROC-AUC of every column for every tag; NaN for tags that no track or every track has."""
    ranks = scipy_stats().rankdata(probabilities, axis=0)
    positives = ground_truth.sum(axis=0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        area: np.ndarray = (ranks.T @ ground_truth - positives * (positives + 1) / 2) / (
            positives * (len(ground_truth) - positives)
        )
    return area


def find_tag_permutation(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    groups: Sequence[str] | None = None,
) -> TagPermutation | None:
    """Look for columns that stand under each other's names.

    Args:
        ground_truth: Which tracks have which tags.
        probabilities: Finite scores.
        groups: Artist of each track; neighbouring rows are taken for one artist where not given.

    Returns:
        The columns that must be exchanged, or None where the names stand.

    Raises:
        DependencyError: scipy (it comes with scikit-learn) is not installed.
    """
    group = _groups(len(ground_truth), groups)
    half = group % 2 == 0
    sides = [half, ~half]
    if any(not side.any() for side in sides):
        return None
    held_out = [_held_out(ground_truth, probabilities, group, *pair) for pair in (sides, sides[::-1])]
    shared = set(held_out[0]) & set(held_out[1])
    assigned = _assign(ground_truth, probabilities, ground_truth)
    moved: dict[int, float] = {}
    for cycle in _cycles(assigned):
        few = len(cycle) <= FEW and group.max() >= MIN_GROUPS
        z = _exchange_z(cycle, assigned, ground_truth, probabilities, group) if few else 0.0
        if z >= CYCLE_Z:
            moved |= dict.fromkeys(cycle, z)
        elif shared & set(cycle):
            moved |= dict.fromkeys(cycle, min(side[tag] for side in held_out for tag in shared))
    if not moved:
        return None
    column_of_tag = tuple(int(assigned[k]) if k in moved else k for k in range(len(assigned)))
    areas = roc_auc_matrix(ground_truth, probabilities)
    as_named = float(np.mean([areas[k, k] for k in moved]))
    as_assigned = float(np.mean([areas[column_of_tag[k], k] for k in moved]))
    return TagPermutation(column_of_tag, tuple(sorted(moved)), as_named, as_assigned, min(moved.values()))


def _held_out(
    truth: np.ndarray, probabilities: np.ndarray, group: np.ndarray, fit: np.ndarray, check: np.ndarray
) -> dict[int, float]:
    """Reassign columns on one half of the tracks; give the tags whose move pays on the other, and its z."""
    assigned = _assign(truth[fit], probabilities[fit], truth[check])
    cycles = _cycles(assigned)
    moved = [tag for cycle in cycles for tag in cycle]
    confirmed: dict[int, float] = {}
    for cycle in cycles:
        gain, z, _ = _gain(cycle, assigned, truth[check], probabilities[check], group[check])
        if len(cycle) > FEW and gain >= LONG_GAIN and z >= HALF_Z:
            confirmed |= dict.fromkeys(cycle, z)
    if len(moved) > FEW and 2 * len(moved) >= len(assigned):
        told = np.flatnonzero(truth[check].any(axis=0) & ~truth[check].all(axis=0)).tolist()
        gain, z, named = _gain(told, assigned, truth[check], probabilities[check], group[check])
        if gain >= WIDE_GAIN and z >= HALF_Z and named + gain >= WIDE_RATIO * max(named, 0.0):
            confirmed |= dict.fromkeys(moved, z)
    return confirmed


def _exchange_z(
    cycle: list[int], assigned: np.ndarray, truth: np.ndarray, probabilities: np.ndarray, group: np.ndarray
) -> float:
    """Give the z of what these columns gain by changing places; zero where it is too small or absent in either half."""
    gain, z, _ = _gain(cycle, assigned, truth, probabilities, group)
    if gain < CYCLE_GAIN:
        return 0.0
    for side in (group % 2 == 0, group % 2 == 1):
        present = [tag for tag in cycle if truth[side, tag].any() and not truth[side, tag].all()]
        if not present or _gain(present, assigned, truth[side], probabilities[side], group[side])[0] < CYCLE_GAIN_HALF:
            return 0.0
    return z


def _assign(truth: np.ndarray, probabilities: np.ndarray, other_truth: np.ndarray) -> np.ndarray:
    """Give each tag the column that serves it best, one column a tag, staying put unless moving pays."""
    areas = roc_auc_matrix(truth, probabilities)
    usable = np.ptp(probabilities, axis=0) > 0
    for array in (truth, other_truth):
        usable &= (array.sum(axis=0) >= MIN_POSITIVES) & ((~array).sum(axis=0) >= MIN_POSITIVES)
    column_of_tag = np.arange(truth.shape[1])
    tags = np.flatnonzero(usable)
    if len(tags) > 1:
        worth = areas[np.ix_(tags, tags)] + STAY_BONUS * np.eye(len(tags))
        column_of_tag[tags] = tags[best_assignment(worth)]
    return column_of_tag


def _gain(
    tags: Sequence[int], column_of_tag: np.ndarray, truth: np.ndarray, probabilities: np.ndarray, group: np.ndarray
) -> tuple[float, float, float]:
    """Give the mean gain in ROC-AUC of moving these tags' columns, its z, and what the named columns have above .5.

    The standard error adds up, group by group, how far each track pushes the gain (the placement values of DeLong et
    al. 1988): tracks of one artist do not count as independent.
    """
    influence = np.zeros(len(truth))
    total, named = 0.0, 0.0
    for tag in tags:
        mine = truth[:, tag]
        moved_area, moved_push = _placements(mine, probabilities[:, column_of_tag[tag]])
        named_area, named_push = _placements(mine, probabilities[:, tag])
        total += moved_area - named_area
        named += named_area - 0.5
        influence += moved_push - named_push
    error = math.sqrt(float(np.sum(np.bincount(group, weights=influence) ** 2)))
    return total / len(tags), total / error if error > 0 else 0.0, named / len(tags)


def _placements(mine: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Give a ROC-AUC and each track's push on it."""
    rank = scipy_stats().rankdata
    positives, negatives = int(mine.sum()), int((~mine).sum())
    overall = rank(scores)
    push = np.zeros(len(mine))
    # Share of negatives below each positive, and of positives above each negative.
    above = (overall[mine] - rank(scores[mine])) / negatives
    below = 1 - (overall[~mine] - rank(scores[~mine])) / positives
    area = float(above.mean())
    push[mine] = (above - area) / positives
    push[~mine] = (below - area) / negatives
    return area, push


def _cycles(column_of_tag: np.ndarray) -> list[list[int]]:
    seen: set[int] = set()
    cycles = []
    for start in range(len(column_of_tag)):
        cycle = []
        tag = start
        while tag not in seen:
            seen.add(tag)
            cycle.append(tag)
            tag = int(column_of_tag[tag])
        if len(cycle) > 1:
            cycles.append(cycle)
    return cycles


def _groups(tracks: int, groups: Sequence[str] | None) -> np.ndarray:
    """Number the groups in a fixed random order, so that even and odd make two halves."""
    labels = (
        np.arange(tracks) // BLOCK_ROWS if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    )
    order: np.ndarray = np.random.default_rng(0).permutation(int(labels.max()) + 1)[labels]
    return order


def best_assignment(worth: Float[np.ndarray, "items items"]) -> Int64[np.ndarray, " items"]:
    """Give each column of a matrix its own row so that the sum is greatest (the Hungarian method).

    Returns:
        The row of each column.

    Raises:
        DependencyError: scipy (it comes with scikit-learn) is not installed.
    """
    try:
        from scipy.optimize import linear_sum_assignment
    except ImportError:
        raise DependencyError("scipy", "train") from None
    rows, columns = linear_sum_assignment(worth, maximize=True)
    row_of_column = np.empty(len(rows), dtype=np.int64)
    row_of_column[columns] = rows
    return row_of_column


def scipy_stats() -> Any:
    """Give scipy's statistics, imported only when wanted.

    Raises:
        DependencyError: scipy (it comes with scikit-learn) is not installed.
    """
    try:
        import scipy.stats
    except ImportError:
        raise DependencyError("scipy", "train") from None
    return scipy.stats
