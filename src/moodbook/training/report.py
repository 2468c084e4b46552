"""What a run found out: the scores on test with their intervals, as JSON and as a printed table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from moodbook.datasets.cache import SkippedTrack
from moodbook.datasets.check import Finding
from moodbook.evaluation.calibration import expected_calibration_error
from moodbook.evaluation.intervals import LEVEL, Interval, bootstrap, interval, resample_counts, too_narrow
from moodbook.evaluation.metrics import Scores
from moodbook.evaluation.thresholds import FEWEST_DECISIONS
from moodbook.tags import TagSet
from moodbook.training.codebook import CodebookReport
from moodbook.training.presence import PresenceReport
from moodbook.training.step import StepSummary

RESAMPLES = 1000
"""Bootstrap resamples behind an interval."""
AVERAGES = ("macro", "micro")
FIGURES = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC", "precision": "precision", "recall": "recall", "f_score": "F-score"}
"""The figures of an average, as the report prints them."""


@dataclass(frozen=True)
class Report:
    """The outcome of a run.

    Args:
        name: What the model is called: the recipe's name, or another.
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
        codebook: What the codebook does with validation music, in the weights that the model has; None without a
            VQ-VAE, and for one that has learned on.
        calibration_error: How far, on the mean, a probability on test is from the share of tags that come true at it.
        intervals: 95 % bootstrap intervals over the test tracks, by average ("macro") and figure ("roc_auc").
        calibration_interval: The same of the calibration error; None where it cannot be measured.
        groups: Into how many groups (artists, say) the test tracks fall that were drawn together for them; None where
            each track was drawn on its own.
        steps: How the steps ended.
        never_decided: Tags that no validation track has: they have no threshold and are never decided.
        unreached_precision: The precision that the recipe asks for, where no threshold reaches it, so that nothing is
            decided; None where one does, and where none is asked for.
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
    codebook: CodebookReport | None
    calibration_error: float
    intervals: Mapping[str, Mapping[str, Interval]]
    calibration_interval: Interval | None
    groups: int | None
    steps: tuple[StepSummary, ...]
    never_decided: tuple[str, ...]
    unreached_precision: float | None
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
            "codebook": None if self.codebook is None else vars(self.codebook),
            "presence": None if self.presence is None else vars(self.presence),
            "intervals": {
                average: {figure: [interval.low, interval.high] for figure, interval in figures.items()}
                for average, figures in self.intervals.items()
            },
            "calibration_interval": _ends(self.calibration_interval),
            "interval": f"{LEVEL:.0%} bootstrap over {self.drawn}, {RESAMPLES} resamples" if self.intervals else None,
            "interval_note": self.too_narrow,
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
            "unreached_precision": self.unreached_precision,
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
        lines += ["", f"{self.brackets} Thresholds: fitted on {self.fitted_on}."]
        if self.too_narrow is not None:
            lines.append(f"Note: {self.too_narrow}.")
        error = figure_and_interval(self.calibration_error, self.calibration_interval)
        lines.append(f"Expected calibration error on test: {error}.")
        if self.codebook is not None:
            lines.append(
                f"Codebook on validation: mean squared error of the reconstruction {self.codebook.reconstruction:.4f}, "
                f"{self.codebook.codes_in_use:.0%} of the codes in use, perplexity {self.codebook.perplexity:.0f}."
            )
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
        if self.nothing_decided is not None:
            lines.append(self.nothing_decided)
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

    @property
    def nothing_decided(self) -> str | None:
        """Why nothing is decided and what to do, in a sentence; None where something is."""
        if self.unreached_precision is None:
            return None
        return (
            f"Nothing is decided: no threshold reaches the precision {self.unreached_precision:g} that the recipe asks "
            f"for with {FEWEST_DECISIONS} decisions or more on {self.fitted_on}. Lower step_2.decision_precision."
        )

    @property
    def drawn(self) -> str:
        """What the bootstrap draws."""
        return "tracks" if self.groups is None else "groups of tracks"

    @property
    def brackets(self) -> str:
        """What stands in brackets behind a figure, as a sentence."""
        if not self.intervals:
            return f"No intervals: a bootstrap needs two {self.drawn} at least."
        return f"In brackets: {LEVEL:.0%} intervals, bootstrap over {self.drawn}."

    @property
    def too_narrow(self) -> str | None:
        """The note on intervals from too few tracks or groups; None where they are enough, and without intervals."""
        if not self.intervals:
            return None
        return too_narrow(self.tracks["test"] if self.groups is None else self.groups, self.drawn)

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
        if self.calibration_interval is not None:
            test["expected_calibration_error_low"] = self.calibration_interval.low
            test["expected_calibration_error_high"] = self.calibration_interval.high
        validation = {
            f"{figure}_macro": getattr(self.validation.macro, figure)
            for figure in ("roc_auc", "pr_auc")
            if np.isfinite(getattr(self.validation.macro, figure))
        }
        if self.presence is not None:  # Measured on validation music and on speech of the validation speakers.
            validation["segments_of_music_kept"] = self.presence.music_kept
            validation["segments_of_speech_found"] = self.presence.speech_found
            validation["segments_of_noise_found"] = self.presence.noise_found
        if self.codebook is not None:
            validation |= vars(self.codebook)
        return {"test": test, "validation": validation}


def score_intervals(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    decisions: Bool[np.ndarray, "tracks tags"],
    tags: TagSet,
    seed: int,
    groups: Sequence[str] | None,
) -> dict[str, dict[str, Interval]]:
    """Compute the bootstrap intervals of the macro and micro figures; none where fewer than two tracks can be drawn."""
    if not _can_be_drawn(len(ground_truth), groups):
        return {}
    found = bootstrap(
        ground_truth, probabilities, tags, decisions=decisions, groups=groups, resamples=RESAMPLES, seed=seed
    )
    intervals: dict[str, dict[str, Interval]] = {average: {} for average in AVERAGES}
    for average in AVERAGES:
        for figure, name in FIGURES.items():
            around = found[f"{name}-{average}"]
            if np.isfinite(around.low):
                intervals[average][figure] = around
    return intervals


def calibration_interval(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    probabilities: Float[np.ndarray, "tracks tags"],
    seed: int,
    groups: Sequence[str] | None,
) -> Interval | None:
    """Compute the bootstrap interval of the expected calibration error; None as `score_intervals`."""
    if not _can_be_drawn(len(ground_truth), groups):
        return None
    counts = resample_counts(len(ground_truth), RESAMPLES, seed, groups)
    errors = []
    for column in range(RESAMPLES):
        rows = np.repeat(np.arange(len(ground_truth)), counts[:, column])
        errors.append(expected_calibration_error(ground_truth[rows], probabilities[rows]))
    return interval(expected_calibration_error(ground_truth, probabilities), np.array(errors))


def _can_be_drawn(tracks: int, groups: Sequence[str] | None) -> bool:
    return (tracks if groups is None else len(set(groups))) >= 2


def _ends(around: Interval | None) -> list[float] | None:
    return None if around is None else [around.low, around.high]


def figure_and_interval(value: float, interval: Interval | None) -> str:
    """Print a score and the interval around it; an undefined score is a dash."""
    if not np.isfinite(value):
        return "-"
    return f"{value:.4f}" + (f" [{interval.low:.3f}, {interval.high:.3f}]" if interval else "")
