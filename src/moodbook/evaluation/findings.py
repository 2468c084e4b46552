"""What an audit is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from moodbook.evaluation.metrics import evaluate
from moodbook.evaluation.thresholds import cross_fit, decide, fit_thresholds
from moodbook.tags import TagSet

CROSS_FITS = 10
"""Random halvings over which the honest F is averaged where there are no validation predictions."""

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing the audit saw."""

    kind: str
    level: Level
    message: str
    evidence: Mapping[str, float | int | str | list[str]] = field(default_factory=dict)
    would_be: Mapping[str, float] = field(default_factory=dict)
    """Scores by official name, had the fault not been made."""

    def to_json(self) -> dict[str, object]:
        """Give a document for JSON."""
        return {
            "kind": self.kind,
            "level": self.level,
            "message": self.message,
            "evidence": dict(self.evidence),
            "would_be": dict(self.would_be),
        }


@dataclass(frozen=True)
class Validation:
    """Predictions for the validation part, the honest place to fit thresholds."""

    ground_truth: Bool[np.ndarray, "validation_tracks tags"]
    probabilities: Float[np.ndarray, "validation_tracks tags"]


@dataclass(frozen=True)
class Evidence:
    """Everything known about a submission beside its predictions."""

    decisions: Bool[np.ndarray, "tracks tags"] | None = None
    thresholds: Mapping[str, float] | None = None
    """By tag name, in the order of their file."""
    validation: Validation | None = None
    artists: Sequence[str] | None = None
    track_ids: Sequence[str] | None = None
    """Tracks of the ground truth, in its order."""
    keyed: bool = False
    """Whether the predictions name their tracks themselves."""


def wrong_shape(expected: tuple[int, ...], got: tuple[int, ...]) -> Finding:
    """Say that an array has not as many rows as there are tracks, and columns as tags."""
    hint = "; it looks transposed: rows and columns are exchanged" if got == expected[::-1] else ""
    message = f"expected shape {expected}, got {got}{hint}"
    return Finding("wrong-shape", "error", message, {"expected": str(expected), "got": str(got)})


def rank_scores(truth: np.ndarray, probabilities: np.ndarray, tags: TagSet) -> dict[str, float]:
    """Give the four scores that need no decisions, by official name."""
    scores = evaluate(truth, probabilities, tags).official()
    return {name: scores[name] for name in ("ROC-AUC-macro", "PR-AUC-macro", "ROC-AUC-micro", "PR-AUC-micro")}


def f_scores(truth: np.ndarray, decisions: np.ndarray, probabilities: np.ndarray, tags: TagSet) -> dict[str, float]:
    """Give macro and micro F of decisions, by official name."""
    scores = evaluate(truth, probabilities, tags, decisions=decisions).official()
    return {name: scores[name] for name in ("F-score-macro", "F-score-micro")}


def honest_decisions(
    truth: np.ndarray,
    probabilities: np.ndarray,
    tags: TagSet,
    validation: Validation | None,
    artists: Sequence[str] | None,
) -> tuple[np.ndarray, ...]:
    """Decide by thresholds from elsewhere: from validation, else from the other half of the tracks, for each halving.

    Returns:
        Decisions whose scores are to be averaged; none where a single track or artist leaves nothing to halve.
    """
    if validation is not None:
        fitted = fit_thresholds(validation.ground_truth, validation.probabilities, tags, without_positives="never")
        return (decide(probabilities, fitted, tags),)
    if len(truth) < 2 or (artists is not None and len(set(artists)) < 2):
        return ()
    return tuple(
        cross_fit(truth, probabilities, tags, seed=split, groups=artists).decisions for split in range(CROSS_FITS)
    )


def some(names: Sequence[str], most: int = 6) -> str:
    """Name the first few of many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
