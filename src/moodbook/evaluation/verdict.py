"""What the judge is given and what it says, as objects and as one JSON document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from moodbook.evaluation.findings import Finding, Validation
from moodbook.evaluation.intervals import LEVEL, Interval, too_narrow
from moodbook.evaluation.metrics import Scores
from moodbook.tags import TagSet


@dataclass(frozen=True)
class System:
    """One system's submission, in the rows and columns of the ground truth."""

    name: str
    probabilities: Float[np.ndarray, "tracks tags"]
    decisions: Bool[np.ndarray, "tracks tags"] | None = None
    thresholds: Mapping[str, float] | None = None
    """By tag name, in the order of their file."""
    validation: Validation | None = None
    keyed: bool = False
    """Whether the predictions named their tracks."""


@dataclass(frozen=True)
class FColumn:
    """One reading of precision, recall and F: whose decisions are scored."""

    name: str
    """official, submitted or honest"""
    meaning: str
    scores: Mapping[str, float]
    """By official name."""
    intervals: Mapping[str, Mapping[str, Interval]]
    """By unit (tracks, artists), then official name."""


@dataclass(frozen=True)
class TagIntervals:
    """How sure the figures of one tag are."""

    roc_auc: Interval
    pr_auc: Interval


@dataclass(frozen=True)
class JudgedSystem:
    """Everything about one system."""

    name: str
    scores: Scores
    decided_by: str
    """Which decisions the precision, recall and F in `scores` belong to."""
    intervals: Mapping[str, Mapping[str, Interval]]
    """By unit (tracks, artists), then official name."""
    per_tag: Mapping[str, TagIntervals]
    """Over artists where they are known, else over tracks."""
    columns: tuple[FColumn, ...]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Difference:
    """How far one system is ahead of another, from the same resamples of both."""

    first: str
    second: str
    score: str
    reading: str | None
    """Whose decisions an F belongs to (submitted or honest); None for scores that need none."""
    difference: float
    """First minus second."""
    intervals: Mapping[str, Interval]
    """By unit (tracks, artists)."""

    @property
    def clear(self) -> bool:
        """Whether there are intervals, and none holds zero."""
        return bool(self.intervals) and all(ends.low > 0 or ends.high < 0 for ends in self.intervals.values())


@dataclass(frozen=True)
class Verdict:
    """What the judge says."""

    protocol: str
    tags: TagSet
    tracks: int
    artists: int | None
    duplicates_left_out: int
    resamples: int
    seed: int
    systems: tuple[JudgedSystem, ...]
    differences: tuple[Difference, ...]

    @property
    def too_narrow(self) -> str | None:
        """The note on intervals from too few tracks or artists; None where they are enough, and without intervals."""
        if not self.systems[0].intervals:
            return None
        if self.artists is None:
            return too_narrow(self.tracks, "tracks")
        # One artist's tracks are many draws of one thing: their intervals know nothing of another artist.
        return too_narrow(self.artists, "artists" if self.artists > 1 else "artist")

    def to_json(self) -> dict[str, object]:
        """Give the verdict as one document; an undefined figure is null."""
        return {
            "protocol": self.protocol,
            "tracks": self.tracks,
            "tags": list(self.tags),
            "artists": self.artists,
            "duplicates_left_out": self.duplicates_left_out,
            "intervals": {"level": LEVEL, "resamples": self.resamples, "seed": self.seed},
            "interval_note": self.too_narrow,
            "systems": [_system(system) for system in self.systems],
            "differences": [
                {
                    "first": difference.first,
                    "second": difference.second,
                    "score": difference.score,
                    "reading": difference.reading,
                    "difference": _number(difference.difference),
                    "intervals": {unit: _ends(ends) for unit, ends in difference.intervals.items()},
                    "clear": difference.clear,
                }
                for difference in self.differences
            ],
        }


def _system(system: JudgedSystem) -> dict[str, object]:
    per_tag = [
        {
            **{key: _number(value) if isinstance(value, float) else value for key, value in vars(figures).items()},
            "roc_auc_interval": _ends(system.per_tag[figures.tag].roc_auc),
            "pr_auc_interval": _ends(system.per_tag[figures.tag].pr_auc),
        }
        for figures in system.scores.per_tag
    ]
    return {
        "name": system.name,
        "scores": {name: _number(value) for name, value in system.scores.official().items()},
        "decided_by": system.decided_by,
        "intervals": _units(system.intervals),
        "f_columns": [
            {
                "name": column.name,
                "meaning": column.meaning,
                "scores": {name: _number(value) for name, value in column.scores.items()},
                "intervals": _units(column.intervals),
            }
            for column in system.columns
        ],
        "per_tag": per_tag,
        "warnings": list(system.scores.warnings),
        "audit": [finding.to_json() for finding in system.findings],
    }


def _units(intervals: Mapping[str, Mapping[str, Interval]]) -> dict[str, dict[str, list[float | None]]]:
    return {unit: {name: _ends(ends) for name, ends in named.items()} for unit, named in intervals.items()}


def _ends(ends: Interval) -> list[float | None]:
    return [_number(ends.low), _number(ends.high)]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
