"""How sure a score is: bootstrap over tracks, or over artists.

A resample draws as many tracks (or artists, each with all its tracks) as there are, with replacement. It is stored as
the *count* of each track, so that a score of a resample is a weighted score, and the tracks need sorting only once:
the area under either curve follows from running sums of the counts in the order of the scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int32, Int64

from moodbook.errors import DataError, DependencyError
from moodbook.evaluation.metrics import evaluate, validate
from moodbook.tags import TagSet

LEVEL = 0.95
"""Share of the resamples that an interval covers."""

FEW = 20
"""Drawn from fewer tracks or artists an interval of this kind is a tenth too narrow or more: ``t / z * sqrt(n / (n -
1))`` is 1.10 for 20, 1.3 for 8 and 2.7 for 3 (T. Hesterberg: What Teachers Should Know About the Bootstrap, 2015)."""

BLOCK_BYTES = 64 << 20
"""Running sums held at a time; bounds the memory of the micro averages, whose curve has a step a positive cell."""


@dataclass(frozen=True)
class Interval:
    """Where a score lies with 95 % confidence."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """Distance of the two ends."""
        return self.high - self.low


@dataclass(frozen=True)
class RankAreas:
    """Area under both curves, one value a resample; NaN where a resample leaves it undefined."""

    roc_auc: Float[np.ndarray, " resamples"]
    pr_auc: Float[np.ndarray, " resamples"]


@dataclass(frozen=True)
class ResampledRanks:
    """Both areas of one system over all resamples."""

    roc_auc_per_tag: Float[np.ndarray, "resamples tags"]
    pr_auc_per_tag: Float[np.ndarray, "resamples tags"]
    roc_auc_macro: Float[np.ndarray, " resamples"]
    pr_auc_macro: Float[np.ndarray, " resamples"]
    roc_auc_micro: Float[np.ndarray, " resamples"]
    pr_auc_micro: Float[np.ndarray, " resamples"]

    def by_name(self) -> dict[str, np.ndarray]:
        """Give the resamples of the four averages under their official names."""
        return {
            "ROC-AUC-macro": self.roc_auc_macro,
            "PR-AUC-macro": self.pr_auc_macro,
            "ROC-AUC-micro": self.roc_auc_micro,
            "PR-AUC-micro": self.pr_auc_micro,
        }


@dataclass(frozen=True)
class ResampledDecisions:
    """Precision, recall and F of one set of decisions over all resamples; the decisions stay as they are."""

    precision_macro: Float[np.ndarray, " resamples"]
    precision_micro: Float[np.ndarray, " resamples"]
    recall_macro: Float[np.ndarray, " resamples"]
    recall_micro: Float[np.ndarray, " resamples"]
    f_macro: Float[np.ndarray, " resamples"]
    f_micro: Float[np.ndarray, " resamples"]

    def by_name(self) -> dict[str, np.ndarray]:
        """Give the resamples of the six averages under their official names."""
        return {
            "precision-macro": self.precision_macro,
            "precision-micro": self.precision_micro,
            "recall-macro": self.recall_macro,
            "recall-micro": self.recall_micro,
            "F-score-macro": self.f_macro,
            "F-score-micro": self.f_micro,
        }


def resample_counts(
    tracks: int, resamples: int, seed: int, groups: Sequence[str] | None = None
) -> Int32[np.ndarray, "tracks resamples"]:
    """Draw the bootstrap resamples.

    Args:
        tracks: How many tracks there are.
        resamples: How many resamples to draw.
        seed: Fixes the draw; systems that are compared share it.
        groups: Artist of each track: then artists are drawn, each with all its tracks. Tracks of one artist resemble
            each other, so this interval is the wider and the more honest one.

    Returns:
        How often each track stands in each resample.

    Raises:
        DataError: `groups` has another length, or there are fewer than two tracks or groups.
    """
    if groups is not None and len(groups) != tracks:
        raise DataError(f"groups: expected one for each of {tracks} tracks, got {len(groups)}")
    labels = np.arange(tracks) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    units = int(labels.max(initial=-1)) + 1
    if units < 2:
        raise DataError(f"a bootstrap needs two {'tracks' if groups is None else 'groups'} at least, got {units}")
    generator = np.random.default_rng(seed)
    counts = np.empty((units, resamples), dtype=np.int32)
    for column in range(resamples):
        counts[:, column] = np.bincount(generator.integers(0, units, size=units), minlength=units)
    return counts[labels]


def rank_areas(
    ground_truth: Bool[np.ndarray, " items"],
    probabilities: Float[np.ndarray, " items"],
    counts: Int32[np.ndarray, "rows resamples"],
    rows: Int64[np.ndarray, " items"] | None = None,
) -> RankAreas:
    """Compute ROC-AUC and average precision of one column for every resample at once.

    Args:
        ground_truth: Which items are positive.
        probabilities: Score of each item.
        counts: How often each row stands in each resample.
        rows: The row of `counts` that each item takes its count from; item i takes row i where not given.

    Returns:
        Both areas a resample; with all counts 1 they are those of scikit-learn.

    Raises:
        DependencyError: scipy (it comes with scikit-learn) is not installed.

    Source:
        ROC-AUC: sum over positives of the negatives below plus half the negatives level, over positives x negatives
        (Mann-Whitney). Average precision: sum over scores of (recall step) x (precision at that score).
    """
    order = np.argsort(-probabilities, kind="stable")
    truth, ranked = ground_truth[order], probabilities[order]
    source = order if rows is None else rows[order]

    # Items of one score are one step of both curves. Steps without a positive only add negatives, so neighbours of
    # that kind are merged: the number of steps falls from all items to about twice the positives.
    step = np.concatenate([[0], np.cumsum(ranked[1:] != ranked[:-1])])
    has_positive = np.bincount(step, weights=truth) > 0
    opens = np.concatenate([[True], has_positive[1:] | has_positive[:-1]])
    merged = (np.cumsum(opens) - 1)[step]
    # `mine` are the steps that hold a positive, `place` the one of each positive.
    mine, place = np.unique(merged[truth], return_inverse=True)
    areas = RankAreas(np.full(counts.shape[1], np.nan), np.full(counts.shape[1], np.nan))
    if not len(mine):
        return areas
    # Sums of counts: 32 bits hold them up to two thousand million cells.
    wide = np.int32 if len(source) * int(counts.max(initial=0)) < 2**31 else np.int64
    every = _indicator(merged, source, len(counts), wide)
    positive = _indicator(place, source[truth], len(counts), wide)
    block = max(1, BLOCK_BYTES // (every.shape[0] * np.dtype(np.int64).itemsize))
    for first in range(0, counts.shape[1], block):
        part = slice(first, first + block)
        drawn = np.ascontiguousarray(counts[:, part], dtype=wide)
        _areas_of_steps(every @ drawn, positive @ drawn, mine, areas, part)
    return areas


def _indicator(steps: np.ndarray, rows: np.ndarray, n_rows: int, dtype: type) -> Any:
    """Build the sparse matrix that sums the counts of each step's items: items of one row and step add up."""
    try:
        from scipy.sparse import csr_matrix
    except ImportError:
        raise DependencyError("scipy", "train") from None
    return csr_matrix((np.ones(len(steps), dtype), (steps, rows)), shape=(int(steps[-1]) + 1, n_rows))


def _areas_of_steps(every: np.ndarray, gained: np.ndarray, mine: np.ndarray, areas: RankAreas, part: slice) -> None:
    """Fill in the areas from the counts of each step (steps x resamples), highest score first.

    Only steps that hold a positive contribute to either sum: `mine` says which, `gained` how many positives they hold.
    """
    retrieved = np.cumsum(every, axis=0, dtype=np.int64)
    n_tracks = retrieved[-1]
    found = np.cumsum(gained, axis=0, dtype=np.int64)
    n_positives = found[-1]
    n_negatives = n_tracks - n_positives
    retrieved = retrieved[mine]
    level = every[mine] - gained
    below = n_negatives - (retrieved - found)
    with np.errstate(invalid="ignore", divide="ignore"):
        areas.roc_auc[part] = (gained * (below + 0.5 * level)).sum(axis=0) / (n_positives * n_negatives)
        # A step that no drawn track is in has gained nothing; 1 keeps its 0/0 out.
        precision = found / np.maximum(retrieved, 1)
        areas.pr_auc[part] = (gained * precision).sum(axis=0) / n_positives


def resample_ranks(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    tags: TagSet,
    counts: Int32[np.ndarray, "tracks resamples"],
) -> ResampledRanks:
    """Compute macro, micro and per-tag ROC-AUC and PR-AUC of every resample.

    Raises:
        DataError: The arrays cannot be scored, or `counts` has another number of tracks.
    """
    validate(ground_truth, probabilities, tags)
    if len(counts) != len(ground_truth):
        raise DataError(f"counts: expected {len(ground_truth)} rows as in the ground truth, got {len(counts)}")
    per_tag = [rank_areas(ground_truth[:, k], probabilities[:, k], counts) for k in range(len(tags))]
    roc_auc = np.stack([areas.roc_auc for areas in per_tag], axis=1)
    pr_auc = np.stack([areas.pr_auc for areas in per_tag], axis=1)
    rows = np.repeat(np.arange(len(ground_truth)), len(tags))
    micro = rank_areas(ground_truth.ravel(), probabilities.ravel(), counts, rows)
    return ResampledRanks(
        roc_auc, pr_auc, mean_of_defined(roc_auc), mean_of_defined(pr_auc), micro.roc_auc, micro.pr_auc
    )


def resample_decisions(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    decisions: Bool[np.ndarray, "tracks tags"],
    counts: Int32[np.ndarray, "tracks resamples"],
) -> ResampledDecisions:
    """Compute precision, recall and F of fixed decisions for every resample; 0/0 counts as 0."""
    weights = counts.T.astype(np.float64)
    hits, present, decided = (weights @ cells for cells in (ground_truth & decisions, ground_truth, decisions))

    def averages(over: Float[np.ndarray, "resamples tags"]) -> tuple[np.ndarray, np.ndarray]:
        share = np.divide(hits, over, out=np.zeros_like(hits), where=over > 0)
        all_hits, all_over = hits.sum(axis=1), over.sum(axis=1)
        micro = np.divide(all_hits, all_over, out=np.zeros_like(all_hits), where=all_over > 0)
        return share.mean(axis=1), micro

    # F = 2 TP / (2 TP + FP + FN) = TP / half of what is present and what is decided.
    return ResampledDecisions(*averages(decided), *averages(present), *averages((present + decided) / 2))


def mean_of_defined(values: Float[np.ndarray, "resamples tags"]) -> Float[np.ndarray, " resamples"]:
    """Average over tags, leaving undefined ones out; NaN where none is defined."""
    defined = ~np.isnan(values)
    total = np.where(defined, values, 0.0).sum(axis=1)
    count = defined.sum(axis=1)
    mean: np.ndarray = np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
    return mean


def interval(estimate: float, resampled: Float[np.ndarray, " resamples"], *, bounded: bool = True) -> Interval:
    """Give the 95 % interval of a score from its resamples.

    The spread is that of the resamples, its place that of the estimate: the resamples' own mean is taken out. Average
    precision needs it, because the same positive drawn twice ranks beside itself and lifts every resample (macro PR-AUC
    of a typical system by a third of the interval); the plain percentile interval then covers the truth in 88 % of
    cases instead of 95 (`docs/evaluation.md`). Where less than a fortieth of the resamples lie on one side of
    their mean (all but a few score 1, say), that side ends at the estimate.

    Args:
        estimate: The score on the tracks as they are.
        resampled: The same score of every resample.
        bounded: Cut the interval to [0, 1]; False for a difference of scores.

    Returns:
        Where the mean score over test sets of this size lies; NaN where the estimate or every resample is undefined.
    """
    defined = resampled[~np.isnan(resampled)]
    if np.isnan(estimate) or not len(defined):
        return Interval(float("nan"), float("nan"))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(defined, [tail, 1 - tail]) - defined.mean() + estimate
    low, high = min(low, estimate), max(high, estimate)
    if bounded:
        low, high = max(0.0, low), min(1.0, high)
    return Interval(float(low), float(high))


def too_narrow(drawn: int, unit: str) -> str | None:
    """Say so where intervals are drawn from too few (`FEW`) to be believed; None where they are not.

    Args:
        drawn: How many are drawn.
        unit: What they are: "tracks", "artists", "groups of tracks".
    """
    if drawn >= FEW:
        return None
    return f"intervals from {drawn} {unit} come out too narrow, and the figures say little; score {FEW} or more"


def bootstrap(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    tags: TagSet,
    *,
    decisions: Bool[np.ndarray, "tracks tags"] | None = None,
    groups: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Give the 95 % intervals of a system's scores.

    Args:
        ground_truth: Which tracks have which tags.
        probabilities: Scores, columns in the order of `tags`.
        tags: Names of the columns.
        decisions: For intervals of precision, recall and F too; kept as they are, no threshold is fitted again.
        groups: Artist of each track: artists are drawn instead of tracks.
        resamples: How many resamples to draw.
        seed: Fixes the draw.

    Returns:
        Interval by the official name of the score (`ROC-AUC-macro`, `PR-AUC-macro`, and so on).

    Raises:
        DataError: The arrays cannot be scored, or there are fewer than two tracks or groups.
        DependencyError: scikit-learn is not installed.
    """
    scores = evaluate(ground_truth, probabilities, tags, decisions=decisions).official()
    counts = resample_counts(len(ground_truth), resamples, seed, groups)
    values = resample_ranks(ground_truth, probabilities, tags, counts).by_name()
    if decisions is not None:
        values |= resample_decisions(ground_truth, decisions, counts).by_name()
    return {name: interval(scores[name], resampled) for name, resampled in values.items()}
