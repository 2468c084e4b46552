"""What a run found out: the scores on test with their intervals, as JSON and as a printed table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from moodbook.datasets.cache import SkippedTrack
from moodbook.datasets.check import Finding
from moodbook.evaluation.intervals import LEVEL, Interval, resample_counts, resample_f, resample_ranks
from moodbook.evaluation.metrics import Scores
from moodbook.tags import TagSet
from moodbook.training.presence import PresenceReport
from moodbook.training.step import StepSummary

RESAMPLES = 1000
"""Bootstrap resamples behind an interval."""
AVERAGES = ("macro", "micro")
FIGURES = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "precision": "precision", "recall": "recall", "f_score": "F"}
"""The figures of an average, as the report prints them; those with an interval are `INTERVALS`."""
INTERVALS = ("roc_auc", "pr_auc", "f_score")


@dataclass(frozen=True)
class Report:
    """The outcome of a run.

    Args:
        name: Name of the recipe.
        source: What the recipe follows.
        data: Name of the data set.
        data_sha256: Its hash.
        seed: The recipe's seed.
        tracks: Scored tracks by split.
        tags: The tag axis.
        test: Scores on test, with the thresholds of `fitted_on`.
        validation: Scores of the tracks that were held out, on validation or by fold; its F is optimistic, for its
            thresholds were fitted there.
        presence: How well music is told from noise and speech; None where the recipe does not ask for it.
        calibration_error: How far, on the mean, a probability on test is from the share of tags that come true at it.
        intervals: 95 % bootstrap intervals over the test tracks, by average ("macro") and figure ("roc_auc").
        steps: How the steps ended.
        never_decided: Tags that no validation track has: they have no threshold and are never decided.
        unreadable: Tracks whose audio cannot be read.
        dropped: Tracks that the recipe leaves out because they are short.
        rare_tags: Tags that the recipe leaves out because too few tracks have them.
        rare_tracks: Tracks left out because they have no other tag.
        findings: What the check of the data set found.
    """

    name: str
    source: str
    data: str
    data_sha256: str
    seed: int
    tracks: Mapping[str, int]
    tags: TagSet
    test: Scores
    validation: Scores
    presence: PresenceReport | None
    calibration_error: float
    intervals: Mapping[str, Mapping[str, Interval]]
    steps: tuple[StepSummary, ...]
    never_decided: tuple[str, ...]
    unreadable: tuple[SkippedTrack, ...]
    dropped: tuple[SkippedTrack, ...]
    rare_tags: tuple[str, ...]
    rare_tracks: tuple[str, ...]
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Give the document of report.json; an undefined figure is null."""
        return {
            "name": self.name,
            "source": self.source,
            "data": self.data,
            "data_sha256": self.data_sha256,
            "seed": self.seed,
            "tracks": dict(self.tracks),
            "test": self.test.to_json(),
            "calibration_error": self.calibration_error,
            "presence": None if self.presence is None else vars(self.presence),
            "intervals": {
                average: {figure: [interval.low, interval.high] for figure, interval in figures.items()}
                for average, figures in self.intervals.items()
            },
            "interval": f"{LEVEL:.0%} bootstrap over tracks, {RESAMPLES} resamples",
            "validation": self.validation.to_json(),
            "thresholds": f"fitted on {self.fitted_on}",
            "steps": [
                {
                    "step": step.step,
                    "watched": step.watched,
                    "best": step.best,
                    "best_epoch": step.best_epoch,
                    "epochs": step.epochs,
                }
                for step in self.steps
            ],
            "never_decided": list(self.never_decided),
            "unreadable": [skipped._asdict() for skipped in self.unreadable],
            "dropped": [skipped._asdict() for skipped in self.dropped],
            "rare_tags": list(self.rare_tags),
            "rare_tracks": list(self.rare_tracks),
            "findings": [
                {"level": finding.level, "kind": finding.kind, "message": finding.message} for finding in self.findings
            ],
        }

    def to_text(self) -> str:
        """Give the printed report: the same on a terminal and in a log."""
        counts = ", ".join(f"{count:,} {split}" for split, count in self.tracks.items())
        lines = [f"{self.name} on {self.data}: {counts} tracks, {len(self.tags)} tags, seed {self.seed}", ""]
        lines.append(f"{'test':<10}" + "".join(f"  {average:<24}" for average in AVERAGES).rstrip())
        for figure, title in FIGURES.items():
            cells = [
                figure_and_interval(getattr(getattr(self.test, average), figure), self.interval(average, figure))
                for average in AVERAGES
            ]
            lines.append(f"{title:<10}" + "".join(f"  {cell:<24}" for cell in cells).rstrip())
        lines += [
            "",
            f"In brackets: {LEVEL:.0%} intervals, bootstrap over tracks. Thresholds: fitted on {self.fitted_on}.",
        ]
        lines.append(f"Expected calibration error on test: {self.calibration_error:.3f}.")
        if self.presence is not None:
            passed = 1 - self.presence.speech_found, 1 - self.presence.noise_found
            lines.append(
                f"Taken for music, of segments not learned from: {self.presence.music_kept:.1%} of music, "
                f"{passed[0]:.1%} of speech, {passed[1]:.1%} of noise and silence."
            )
        lines += [
            f"Step {step.step}: best epoch {step.best_epoch} of {step.epochs}, validation "
            f"{step.watched} {step.best:.4f}."
            for step in self.steps
        ]
        if self.never_decided:
            lines.append(f"Never decided, for no validation track has them: {', '.join(self.never_decided)}.")
        lines += [f"Note: {warning}." for warning in self.test.warnings]
        if self.rare_tags:
            lines.append(
                f"Left out, too few tracks: {', '.join(self.rare_tags)}; with them {len(self.rare_tracks)} tracks that "
                "have no other tag."
            )
        if self.dropped:
            lines.append(f"Left out, shorter than one segment: {len(self.dropped)} tracks.")
        if self.unreadable:
            lines.append(f"Left out, cannot be read: {len(self.unreadable)} tracks:")
            lines += [f"  {skipped.track_id}: {skipped.reason}" for skipped in self.unreadable]
        return "\n".join(lines) + "\n"

    @property
    def fitted_on(self) -> str:
        """What the thresholds were fitted on: the validation split, or what each fold left out."""
        folds = sum(step.step == 2 for step in self.steps)
        return f"the parts that {folds} folds left out" if folds > 1 else "validation"

    def interval(self, average: str, figure: str) -> Interval | None:
        """Give the interval of a figure; None where it has none."""
        return self.intervals.get(average, {}).get(figure)

    def card_metrics(self) -> dict[str, dict[str, float]]:
        """Give the figures for the card of the bundle, the ends of each interval beside its figure."""
        test: dict[str, float] = {}
        for average in AVERAGES:
            for figure in FIGURES:
                value = getattr(getattr(self.test, average), figure)
                if np.isfinite(value):
                    test[f"{figure}_{average}"] = value
                interval = self.interval(average, figure)
                if interval is not None:
                    test[f"{figure}_{average}_low"], test[f"{figure}_{average}_high"] = interval.low, interval.high
        test["expected_calibration_error"] = self.calibration_error
        validation = {
            f"{figure}_macro": getattr(self.validation.macro, figure)
            for figure in ("roc_auc", "pr_auc")
            if np.isfinite(getattr(self.validation.macro, figure))
        }
        if self.presence is not None:  # Measured on validation music and on speech of the validation speakers.
            validation["segments_of_music_kept"] = self.presence.music_kept
            validation["segments_of_speech_found"] = self.presence.speech_found
            validation["segments_of_noise_found"] = self.presence.noise_found
        return {"test": test, "validation": validation}


def score_intervals(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    decisions: Bool[np.ndarray, "tracks tags"],
    tags: TagSet,
    seed: int,
) -> dict[str, dict[str, Interval]]:
    """Compute the bootstrap intervals of the macro and micro figures; none where fewer than two tracks are scored."""
    if len(ground_truth) < 2:
        return {}
    counts = resample_counts(len(ground_truth), RESAMPLES, seed)
    ranks = resample_ranks(ground_truth, probabilities, tags, counts)
    decided = resample_f(ground_truth, decisions, counts)
    resampled = {
        "macro": {"roc_auc": ranks.roc_auc_macro, "pr_auc": ranks.pr_auc_macro, "f_score": decided.macro},
        "micro": {"roc_auc": ranks.roc_auc_micro, "pr_auc": ranks.pr_auc_micro, "f_score": decided.micro},
    }
    intervals: dict[str, dict[str, Interval]] = {}
    for average, figures in resampled.items():
        intervals[average] = {}
        for figure, values in figures.items():
            defined = values[np.isfinite(values)]
            if len(defined):
                low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
                intervals[average][figure] = Interval(float(low), float(high))
    return intervals


def figure_and_interval(value: float, interval: Interval | None) -> str:
    """Print a score and the interval around it; an undefined score is a dash."""
    if not np.isfinite(value):
        return "-"
    return f"{value:.4f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")
