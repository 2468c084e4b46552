"""Evidence about where a submission's decisions and thresholds come from.

All five published runs of the 2019 system had their thresholds fitted on the test truth, stored in another tag order
and applied by position. Each of these leaves exact traces: cells that agree, to the last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from moodbook.evaluation.findings import honest_decisions
from moodbook.evaluation.tag_axis import best_assignment
from moodbook.evaluation.thresholds import decide, fit_thresholds
from moodbook.tags import TagSet

SAME_SHARE = 0.9
"""Share of the tags that must agree with the fit on the truth before thresholds count as fitted there."""
MIN_SAME_TAGS = 5
"""And how many tags at least: a few agree by chance."""
EXACT_SHARE = 1e-4
"""Share of the cells that may differ where decisions are explained; rounded thresholds move a cell or two."""
DIFFERENT_SHARE = 1e-3
"""Share of the cells from which decisions count as different."""
FEW_FIT_SHARE = 0.1
"""Share of the thresholds that may fit a tag's decisions (one at least) before they tell nothing about which it was."""
TELLING_SHARE = 0.5
"""Share of the tags that must tell where they came from: the others agree with anything."""

BY_NAME = "by name"
NOT_STRICT = "by name, with >= instead of >"


@dataclass(frozen=True)
class ThresholdOrder:
    """How many cells of the decisions differ from predictions > thresholds, read in two ways."""

    description: str
    """Of the reading that explains the decisions."""
    cells: int
    differ_by_name: int
    differ_explained: int


@dataclass(frozen=True)
class FittedOnTruth:
    """How far thresholds or decisions are those fitted on the ground truth itself."""

    tags: int
    """Tags that could tell: the fit decides some track."""
    same_tags: int
    telling_tags: int
    """Of those that agree, the tags for which no fit on half of the tracks comes to the same decisions."""
    cells: int
    differ: int


@dataclass(frozen=True)
class Renamed:
    """Thresholds that are a fit's values under other names."""

    source: str
    tags: int
    same_by_name: int
    same_under_other_names: int


@dataclass(frozen=True)
class DecisionAxis:
    """How many cells of the decisions no threshold on their own column explains, and on another column."""

    cells: int
    unexplained_as_named: int
    unexplained_assigned: int
    column_of_tag: Int64[np.ndarray, " tags"]


def explain_decisions(
    probabilities: Float[np.ndarray, "tracks tags"],
    decisions: Bool[np.ndarray, "tracks tags"],
    thresholds: Mapping[str, float],
    tags: TagSet,
) -> ThresholdOrder:
    """Find the reading of the thresholds that gives the decisions: by name, by position, or in some other order.

    Args:
        probabilities: Finite scores.
        decisions: What was submitted.
        thresholds: By tag name, in the order of their file.
        tags: Names of the columns.

    Returns:
        The reading by name where it explains the decisions; else the one that explains them best.
    """
    by_name = tags.vector(thresholds)
    cells = decisions.size
    wrong = decide(probabilities, thresholds, tags) != decisions
    differ = int(wrong.sum())
    if differ <= EXACT_SHARE * cells:
        return ThresholdOrder(BY_NAME, cells, differ, differ)
    level = int(((probabilities >= by_name) != decisions).sum())
    if level <= EXACT_SHARE * cells:
        return ThresholdOrder(NOT_STRICT, cells, differ, level)
    # A score within the rounding of its threshold may fall on either side of it.
    clear = int((wrong & (np.abs(probabilities - by_name) > _half_unit(by_name))).sum())
    if clear <= EXACT_SHARE * cells:
        return ThresholdOrder(BY_NAME, cells, clear, clear)
    readings = {
        "by position, in the order of their file": np.array(list(thresholds.values())),
        "by position, in alphabetical order": np.array([thresholds[name] for name in sorted(thresholds)]),
    }
    counts = {name: int(((probabilities > values) != decisions).sum()) for name, values in readings.items()}
    disagreement = _disagreement(probabilities, decisions, by_name)
    explained = disagreement[best_assignment(-disagreement), np.arange(len(tags))]
    # A tag decided for hardly any track fits most thresholds: enough of those and any decisions pass for an exchange.
    telling = (disagreement <= explained).sum(axis=0) <= max(1.0, FEW_FIT_SHARE * len(tags))
    if telling.sum() >= max(MIN_SAME_TAGS, TELLING_SHARE * len(tags)):
        counts["by position, in an unknown order"] = int(explained.sum())
    best = min(counts, key=lambda name: counts[name])
    return ThresholdOrder(best, cells, differ, counts[best])


def compare_with_fit(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    decisions: Bool[np.ndarray, "tracks tags"],
    tags: TagSet,
) -> FittedOnTruth:
    """Count the tags and cells in which decisions equal those of thresholds fitted on this very ground truth."""
    fitted = decide(probabilities, fit_thresholds(ground_truth, probabilities, tags, without_positives="never"), tags)
    could_tell = fitted.any(axis=0)
    same = could_tell & (fitted == decisions).all(axis=0)
    telling = same
    if same.any():
        # Scores of a few values leave so few ways to decide that an honest fit comes to the same ones.
        for elsewhere in honest_decisions(ground_truth, probabilities, tags, None, None):
            telling = telling & (fitted != elsewhere).any(axis=0)
    return FittedOnTruth(
        int(could_tell.sum()), int(same.sum()), int(telling.sum()), decisions.size, int((fitted != decisions).sum())
    )


def is_fitted(found: FittedOnTruth) -> bool:
    """Judge whether so many tags can agree only because the thresholds were fitted there."""
    return found.same_tags >= SAME_SHARE * found.tags and found.telling_tags >= max(
        MIN_SAME_TAGS, TELLING_SHARE * found.same_tags
    )


def find_renamed(thresholds: Mapping[str, float], fitted: Mapping[str, float], source: str) -> Renamed | None:
    """Look for the values of a fit under other tags' names.

    Args:
        thresholds: What was submitted.
        fitted: Thresholds fitted on some truth, by tag name.
        source: What they were fitted on, for messages.
    """
    same = sum(_same(thresholds[name], fitted[name]) for name in thresholds)
    left = sorted(fitted.values())
    # Only values that tell: scores rounded to a few digits make thresholds equal by chance.
    if len(set(left)) < SAME_SHARE * len(left):
        return None
    found = 0
    for value in sorted(thresholds.values()):
        place = next((k for k, other in enumerate(left) if _same(value, other)), None)
        if place is not None:
            found += 1
            del left[place]
    if found < max(MIN_SAME_TAGS, SAME_SHARE * len(thresholds)) or 2 * same > len(thresholds):
        return None
    return Renamed(source, len(thresholds), same, found)


def compare_axes(
    probabilities: Float[np.ndarray, "tracks tags"], decisions: Bool[np.ndarray, "tracks tags"]
) -> DecisionAxis:
    """Count the cells of the decisions that no threshold explains, on their own column and on the best assignment."""
    n_tags = decisions.shape[1]
    unexplained = np.empty((n_tags, n_tags))
    for column in range(n_tags):
        order = np.argsort(probabilities[:, column], kind="stable")
        below = np.concatenate([np.zeros((1, n_tags), dtype=np.int64), np.cumsum(decisions[order], axis=0)])
        undecided_above = (len(order) - below[-1]) - (np.arange(len(order) + 1)[:, None] - below)
        ranked = probabilities[order, column]
        # No threshold parts equal scores.
        possible = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]])
        unexplained[column] = (below + undecided_above)[possible].min(axis=0)
    # A tag nobody is given fits every column: let it stay where it is.
    column_of_tag = best_assignment(-(unexplained - 0.5 * np.eye(n_tags)))
    return DecisionAxis(
        cells=decisions.size,
        unexplained_as_named=int(np.trace(unexplained)),
        unexplained_assigned=int(unexplained[column_of_tag, np.arange(n_tags)].sum()),
        column_of_tag=column_of_tag,
    )


def _disagreement(probabilities: np.ndarray, decisions: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Count, for each threshold (rows) applied to each tag (columns), the decisions that it does not give."""
    return np.stack(
        [((probabilities > threshold) != decisions).sum(axis=0) for threshold in thresholds], axis=0
    ).astype(np.float64)


def _half_unit(thresholds: np.ndarray) -> float:
    """Give half a unit of the last digit where thresholds were rounded to a few digits, else 0."""
    for digits in range(1, 7):
        if np.array_equal(thresholds, thresholds.round(digits)):
            return 0.5 * 10.0**-digits
    return 0.0


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b))
