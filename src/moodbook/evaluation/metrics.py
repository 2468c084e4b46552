"""Scores of a tagger, as MediaEval 2019 computes them.

One metric is one pure function on arrays; `evaluate` checks its input and gives all of them by name. scikit-learn is
the official implementation, so it does the arithmetic here too.

Where a figure is undefined it is NaN and a warning in the result says so; nothing is left out silently.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from jaxtyping import Bool, Float

from moodbook.errors import DataError, DependencyError
from moodbook.tags import TagSet


@dataclass(frozen=True)
class PrecisionRecallF:
    """How a set of decisions agrees with the ground truth; each in [0, 1], zero where its denominator is zero."""

    precision: float
    recall: float
    f_score: float


@dataclass(frozen=True)
class DecisionScores:
    """Precision, recall and F of one set of decisions."""

    macro: PrecisionRecallF
    """Mean of the tags' figures; so F is the mean of the tags' F, not the F of the other two."""
    micro: PrecisionRecallF
    per_tag: Mapping[str, PrecisionRecallF]


@dataclass(frozen=True)
class FiveScores:
    """The five figures of a tag or an average; NaN where undefined or where no decisions were given."""

    roc_auc: float
    pr_auc: float
    precision: float
    recall: float
    f_score: float


@dataclass(frozen=True)
class PerTagScores(FiveScores):
    """The five figures of one tag."""

    tag: str
    support: int
    """How many tracks have the tag."""


_NOT_DECIDED = PrecisionRecallF(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Scores:
    """All scores of one system on one set of tracks."""

    macro: FiveScores
    """Mean of the tags' figures: every tag counts the same."""
    micro: FiveScores
    """One figure over all cells: every cell counts the same."""
    per_tag: tuple[PerTagScores, ...]
    tracks: int
    warnings: tuple[str, ...] = ()

    def official(self) -> dict[str, float]:
        """Give the ten figures under the names that MediaEval 2019 writes into a results file."""
        names = {
            "roc_auc": "ROC-AUC",
            "pr_auc": "PR-AUC",
            "precision": "precision",
            "recall": "recall",
            "f_score": "F-score",
        }
        return {
            f"{name}-{average}": float(getattr(getattr(self, average), field))
            for average in ("macro", "micro")
            for field, name in names.items()
        }

    def to_json(self) -> dict[str, object]:
        """Give a document for JSON; an undefined figure is null."""

        def figures(scores: FiveScores) -> dict[str, object]:
            return {key: _null_if_nan(value) for key, value in vars(scores).items()}

        return {
            "tracks": self.tracks,
            "macro": figures(self.macro),
            "micro": figures(self.micro),
            "per_tag": [figures(scores) for scores in self.per_tag],
            "warnings": list(self.warnings),
        }


def evaluate(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    tags: TagSet,
    *,
    decisions: Bool[np.ndarray, "tracks tags"] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Scores:
    """Score a system against the ground truth.

    Args:
        ground_truth: Which tracks have which tags.
        probabilities: Scores of the system, higher for "has the tag"; any finite range.
        tags: Names of the columns of both arrays.
        decisions: Which tags the system gives to which tracks.
        thresholds: Instead of `decisions`: a tag is given where ``probability > threshold``.

    Returns:
        The scores. Without `decisions` and `thresholds`, precision, recall and F are NaN. ROC-AUC and PR-AUC of a tag
        that no track has, and ROC-AUC of one that every track has, are NaN, left out of the macro average and named
        in the warnings. Precision, recall and F take 0 for 0/0 and count every tag, as the official script does.

    Raises:
        DataError: A shape does not fit `tags`, a value is not finite, or both decisions and thresholds are given.
        DependencyError: scikit-learn is not installed.

    Source:
        MediaEval 2019 Emotion and Themes task, evaluation script: macro F is the mean of the tags' F.
    """
    validate(ground_truth, probabilities, tags)
    if decisions is not None and thresholds is not None:
        raise DataError("both decisions and thresholds are given; give one of them")
    if thresholds is not None:
        # Here, not at the top: thresholds builds on this module.
        from moodbook.evaluation.thresholds import decide

        decisions = decide(probabilities, thresholds, tags)
    warnings: list[str] = []
    if decisions is None:
        warnings.append("neither decisions nor thresholds are given: precision, recall and F are undefined")
    else:
        validate_decisions(ground_truth, decisions, tags)

    decided = None if decisions is None else score_decisions(ground_truth, decisions, tags)
    per_tag = tuple(
        PerTagScores(
            **vars(
                _figures(ground_truth[:, k], probabilities[:, k], None if decided is None else decided.per_tag[name])
            ),
            tag=name,
            support=int(ground_truth[:, k].sum()),
        )
        for k, name in enumerate(tags)
    )
    warnings.extend(_undefined(per_tag, len(ground_truth)))
    macro_f = _NOT_DECIDED if decided is None else decided.macro
    macro = FiveScores(
        _mean_of_defined([scores.roc_auc for scores in per_tag]),
        _mean_of_defined([scores.pr_auc for scores in per_tag]),
        macro_f.precision,
        macro_f.recall,
        macro_f.f_score,
    )
    micro_f = None if decided is None else decided.micro
    micro = _figures(ground_truth.ravel(), probabilities.ravel(), micro_f)
    return Scores(macro, micro, per_tag, len(ground_truth), tuple(warnings))


def roc_auc(ground_truth: Bool[np.ndarray, " tracks"], probabilities: Float[np.ndarray, " tracks"]) -> float:
    """Compute the area under the receiver operating characteristic.

    It is the chance that a track with the tag scores higher than one without, ties counting one half.

    Returns:
        The area in [0, 1]; NaN where no track or every track has the tag.

    Raises:
        DependencyError: scikit-learn is not installed.
    """
    if not ground_truth.any() or ground_truth.all():
        return math.nan
    return float(sklearn_metrics().roc_auc_score(ground_truth, probabilities))


def pr_auc(ground_truth: Bool[np.ndarray, " tracks"], probabilities: Float[np.ndarray, " tracks"]) -> float:
    """Compute the area under the precision-recall curve as average precision (no interpolation).

    Returns:
        The area in [0, 1]; NaN where no track has the tag.

    Raises:
        DependencyError: scikit-learn is not installed.
    """
    if not ground_truth.any():
        return math.nan
    return float(sklearn_metrics().average_precision_score(ground_truth, probabilities))


def score_decisions(
    ground_truth: Bool[np.ndarray, "tracks tags"], decisions: Bool[np.ndarray, "tracks tags"], tags: TagSet
) -> DecisionScores:
    """Compute precision, recall and F of decisions; 0/0 counts as 0.

    Raises:
        DataError: The shapes do not fit `tags` or each other, or the decisions are not bool.
        DependencyError: scikit-learn is not installed.
    """
    validate_decisions(ground_truth, decisions, tags)
    compute = sklearn_metrics().precision_recall_fscore_support
    # Two columns at least, or scikit-learn takes a single tag for a binary problem and averages over its absence too.
    truth, decided = (np.column_stack([array, np.zeros(len(array), bool)]) for array in (ground_truth, decisions))
    precision, recall, f_score, _ = compute(truth, decided, average=None, zero_division=0)
    precision, recall, f_score = precision[:-1], recall[:-1], f_score[:-1]
    micro = compute(truth, decided, average="micro", zero_division=0)
    return DecisionScores(
        macro=PrecisionRecallF(float(precision.mean()), float(recall.mean()), float(f_score.mean())),
        micro=PrecisionRecallF(float(micro[0]), float(micro[1]), float(micro[2])),
        per_tag={
            name: PrecisionRecallF(float(precision[k]), float(recall[k]), float(f_score[k]))
            for k, name in enumerate(tags)
        },
    )


def validate(ground_truth: np.ndarray, probabilities: np.ndarray, tags: TagSet) -> None:
    """Check that truth and probabilities can be scored.

    Raises:
        DataError: A shape does not fit `tags` or the other array, there is no track, the truth is not bool, or a
            probability is not a finite number.
    """
    _validate_matrix("ground truth", ground_truth, tags)
    _validate_matrix("probabilities", probabilities, tags)
    if ground_truth.dtype != np.bool_:
        raise DataError(f"ground truth: expected bool, got {ground_truth.dtype}; convert it, e.g. array.astype(bool)")
    if not np.issubdtype(probabilities.dtype, np.floating):
        raise DataError(
            f"probabilities: expected floating point, got {probabilities.dtype}; convert them, e.g. array.astype(float)"
        )
    if len(ground_truth) != len(probabilities):
        raise DataError(
            f"probabilities: expected {len(ground_truth)} rows as in the ground truth, got {len(probabilities)}; "
            "give the same tracks in the same order"
        )
    if not len(ground_truth):
        raise DataError("ground truth: expected at least one track, got none")
    bad = ~np.isfinite(probabilities)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise DataError(
            f"probabilities: expected finite numbers, got {int(bad.sum())} that are not; the first is "
            f"{probabilities[row, column]} in row {row}, tag {tags.names[column]!r}"
        )


def validate_decisions(ground_truth: np.ndarray, decisions: np.ndarray, tags: TagSet) -> None:
    """Check that decisions can be scored against the truth.

    Raises:
        DataError: The shape does not fit, or the decisions are not bool.
    """
    _validate_matrix("decisions", decisions, tags)
    if decisions.dtype != np.bool_:
        raise DataError(f"decisions: expected bool, got {decisions.dtype}; convert them, e.g. array.astype(bool)")
    if len(decisions) != len(ground_truth):
        raise DataError(f"decisions: expected {len(ground_truth)} rows as in the ground truth, got {len(decisions)}")


def _validate_matrix(what: str, array: np.ndarray, tags: TagSet) -> None:
    if array.ndim != 2 or array.shape[1] != len(tags):
        raise DataError(f"{what}: expected shape (tracks, {len(tags)}) for the {len(tags)} tags, got {array.shape}")


def _figures(truth: np.ndarray, probabilities: np.ndarray, decided: PrecisionRecallF | None) -> FiveScores:
    decided = decided or _NOT_DECIDED
    return FiveScores(
        roc_auc(truth, probabilities),
        pr_auc(truth, probabilities),
        decided.precision,
        decided.recall,
        decided.f_score,
    )


def _undefined(per_tag: tuple[PerTagScores, ...], tracks: int) -> list[str]:
    warnings = []
    nobody = [scores.tag for scores in per_tag if scores.support == 0]
    everybody = [scores.tag for scores in per_tag if scores.support == tracks]
    if nobody:
        warnings.append(
            f"no track has {', '.join(nobody)}: ROC-AUC and PR-AUC are undefined there and left out of the macro "
            "averages; precision, recall and F count as 0"
        )
    if everybody:
        warnings.append(
            f"every track has {', '.join(everybody)}: ROC-AUC is undefined there and left out of the macro average"
        )
    return warnings


def _mean_of_defined(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def _null_if_nan(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def sklearn_metrics() -> ModuleType:
    """Give scikit-learn's metrics, imported only when a score is wanted.

    Raises:
        DependencyError: scikit-learn is not installed.
    """
    try:
        import sklearn.metrics
    except ImportError:
        raise DependencyError("scikit-learn", "train") from None
    metrics: ModuleType = sklearn.metrics
    return metrics
