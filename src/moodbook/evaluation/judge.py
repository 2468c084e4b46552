"""The whole verdict on one or more systems: scores, three readings of F, intervals, comparisons and the audit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Int32

from moodbook.errors import DataError, UnscorableError
from moodbook.evaluation.audit import audit, unscorable
from moodbook.evaluation.findings import CROSS_FITS, Evidence, Finding, honest_decisions
from moodbook.evaluation.intervals import (
    Interval,
    ResampledRanks,
    interval,
    resample_counts,
    resample_decisions,
    resample_ranks,
)
from moodbook.evaluation.metrics import DecisionScores, PrecisionRecallF, Scores, evaluate, score_decisions
from moodbook.evaluation.thresholds import decide, fit_thresholds
from moodbook.evaluation.verdict import Difference, FColumn, JudgedSystem, System, TagIntervals, Verdict
from moodbook.tags import TagSet

PROTOCOLS = ("mediaeval2019",)
RANK_SCORES = ("ROC-AUC-macro", "PR-AUC-macro", "ROC-AUC-micro", "PR-AUC-micro")
F_SCORES = ("F-score-macro", "F-score-micro")

Resamples = Mapping[str, Mapping[str, np.ndarray]]
"""A score's values in all resamples, by unit (tracks, artists), then official name."""


def judge(
    ground_truth: Bool[np.ndarray, "tracks tags"],
    systems: Sequence[System],
    tags: TagSet,
    *,
    artists: Sequence[str] | None = None,
    track_ids: Sequence[str] | None = None,
    keep: Bool[np.ndarray, " tracks"] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    protocol: str = PROTOCOLS[0],
) -> Verdict:
    """Score, audit and compare systems.

    Args:
        ground_truth: Which tracks have which tags.
        systems: Each is compared with those after it.
        tags: Names of the columns.
        artists: Artist of each track, for intervals over artists and for splits that keep an artist on one side.
        track_ids: Names of the tracks.
        keep: Which tracks count, where duplicates are left out. The audit sees all of them.
        resamples: Bootstrap resamples; 0 for no intervals.
        seed: Fixes the resamples.
        protocol: Rules of evaluation.

    Returns:
        The verdict.

    Raises:
        UnscorableError: A system has a wrong shape, or scores that are not finite.
        DataError: There is no system or no track, or the protocol is unknown.
        DependencyError: scikit-learn is not installed.
    """
    if protocol not in PROTOCOLS:
        raise DataError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    if not systems:
        raise DataError("no system to judge; give one at least")
    if not len(ground_truth):
        raise DataError("ground truth: expected at least one track, got none")
    faults = {system.name: unscorable(ground_truth, system.probabilities, tags) for system in systems}
    if any(faults.values()):
        raise UnscorableError({name: [fault.to_json() for fault in found] for name, found in faults.items() if found})
    audited = [_audit(ground_truth, system, tags, artists, track_ids) for system in systems]
    left_out = 0
    if keep is not None and not keep.all():
        left_out = int((~keep).sum())
        ground_truth, systems = ground_truth[keep], [_only(system, keep) for system in systems]
        artists = None if artists is None else [artist for artist, kept in zip(artists, keep, strict=True) if kept]
    units: dict[str, Int32[np.ndarray, "tracks resamples"]] = {}
    # A single track or artist has no other to be drawn in its place: there is no interval over it.
    if resamples and len(ground_truth) > 1:
        units["tracks"] = resample_counts(len(ground_truth), resamples, seed)
        if artists is not None and len(set(artists)) > 1:
            units["artists"] = resample_counts(len(ground_truth), resamples, seed, artists)
    judged = [
        _judge_system(ground_truth, system, tags, artists, units, findings)
        for system, findings in zip(systems, audited, strict=True)
    ]
    return Verdict(
        protocol=protocol,
        tags=tags,
        tracks=len(ground_truth),
        artists=None if artists is None else len(set(artists)),
        duplicates_left_out=left_out,
        resamples=resamples,
        seed=seed,
        systems=tuple(one.system for one in judged),
        differences=tuple(
            difference for first, second in combinations(judged, 2) for difference in _differences(first, second)
        ),
    )


@dataclass(frozen=True)
class _Judged:
    """A system's verdict, and the resamples that its differences from others are told from."""

    system: JudgedSystem
    ranks: Resamples
    readings: Mapping[str, Resamples]
    """By the name of the reading of F."""


def _audit(
    truth: np.ndarray, system: System, tags: TagSet, artists: Sequence[str] | None, track_ids: Sequence[str] | None
) -> tuple[Finding, ...]:
    evidence = Evidence(
        decisions=system.decisions,
        thresholds=system.thresholds,
        validation=system.validation,
        artists=artists,
        track_ids=track_ids,
        keyed=system.keyed,
    )
    return audit(truth, system.probabilities, tags, evidence)


def _only(system: System, keep: np.ndarray) -> System:
    return System(
        system.name,
        system.probabilities[keep],
        None if system.decisions is None else system.decisions[keep],
        system.thresholds,
        system.validation,
        system.keyed,
    )


def _judge_system(
    truth: np.ndarray,
    system: System,
    tags: TagSet,
    artists: Sequence[str] | None,
    units: Mapping[str, np.ndarray],
    findings: tuple[Finding, ...],
) -> _Judged:
    ranks = {unit: resample_ranks(truth, system.probabilities, tags, counts) for unit, counts in units.items()}
    oracle = decide(
        system.probabilities, fit_thresholds(truth, system.probabilities, tags, without_positives="never"), tags
    )
    readings: dict[str, tuple[str, Sequence[np.ndarray]]] = {
        "official": ("thresholds fitted on the truth they are scored on: an oracle", [oracle])
    }
    submitted = system.decisions
    how = "the decisions handed in"
    if submitted is None and system.thresholds is not None:
        submitted, how = (
            decide(system.probabilities, system.thresholds, tags),
            "the thresholds handed in, applied by tag name",
        )
    if submitted is not None:
        readings["submitted"] = (how, [submitted])
    meaning = "thresholds fitted on validation predictions"
    if system.validation is None:
        meaning = (
            f"thresholds fitted on the other half of the {'tracks' if artists is None else 'artists'}, "
            f"mean of {CROSS_FITS} halvings"
        )
    if honest := honest_decisions(truth, system.probabilities, tags, system.validation, artists):
        readings["honest"] = (meaning, honest)
    drawn = {name: _resample(truth, decisions, units) for name, (_, decisions) in readings.items()}
    scores = evaluate(truth, system.probabilities, tags, decisions=oracle if submitted is None else submitted)
    official = scores.official()
    ranks_by_name = {unit: resampled.by_name() for unit, resampled in ranks.items()}
    verdict = JudgedSystem(
        name=system.name,
        scores=scores,
        decided_by="thresholds fitted on this ground truth" if submitted is None else how,
        intervals=_intervals(official, ranks_by_name),
        per_tag=_per_tag(scores, ranks),
        columns=tuple(
            _column(name, meaning, truth, decisions, tags, drawn[name])
            for name, (meaning, decisions) in readings.items()
        ),
        findings=findings,
    )
    return _Judged(verdict, ranks_by_name, drawn)


def _column(
    name: str,
    meaning: str,
    truth: np.ndarray,
    decisions: Sequence[np.ndarray],
    tags: TagSet,
    drawn: Resamples,
) -> FColumn:
    """Score several sets of decisions and average them."""
    each = [_by_name(score_decisions(truth, decided, tags)) for decided in decisions]
    scores = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    return FColumn(name, meaning, scores, _intervals(scores, drawn))


def _resample(truth: np.ndarray, decisions: Sequence[np.ndarray], units: Mapping[str, np.ndarray]) -> Resamples:
    """Give F in all resamples, the mean of several sets of decisions."""
    resampled = {}
    for unit, counts in units.items():
        each = [resample_decisions(truth, decided, counts).by_name() for decided in decisions]
        resampled[unit] = {score: np.mean([one[score] for one in each], axis=0) for score in F_SCORES}
    return resampled


def _intervals(scores: Mapping[str, float], drawn: Resamples) -> dict[str, dict[str, Interval]]:
    return {
        unit: {name: interval(scores[name], values) for name, values in named.items()} for unit, named in drawn.items()
    }


def _by_name(scores: DecisionScores) -> dict[str, float]:
    def named(average: str, figures: PrecisionRecallF) -> dict[str, float]:
        return {
            f"precision-{average}": figures.precision,
            f"recall-{average}": figures.recall,
            f"F-score-{average}": figures.f_score,
        }

    return named("macro", scores.macro) | named("micro", scores.micro)


def _per_tag(scores: Scores, ranks: Mapping[str, ResampledRanks]) -> dict[str, TagIntervals]:
    drawn = ranks.get("artists", ranks.get("tracks"))
    unknown = Interval(math.nan, math.nan)
    return {
        figures.tag: TagIntervals(
            unknown if drawn is None else interval(figures.roc_auc, drawn.roc_auc_per_tag[:, k]),
            unknown if drawn is None else interval(figures.pr_auc, drawn.pr_auc_per_tag[:, k]),
        )
        for k, figures in enumerate(scores.per_tag)
    }


def _differences(first: _Judged, second: _Judged) -> Iterator[Difference]:
    """Compare two systems in what was resampled of both: ranks, then the readings of F that mean the same."""
    scores, others = first.system.scores.official(), second.system.scores.official()
    for score in RANK_SCORES:
        yield _difference(first, second, None, score, scores[score] - others[score], first.ranks, second.ranks)
    columns = {column.name: column for column in second.system.columns}
    for mine in first.system.columns:
        theirs = columns.get(mine.name)
        # An oracle's lead is nobody's, and thresholds from validation are not set against those from half the tracks.
        if mine.name == "official" or theirs is None or (mine.name == "honest" and mine.meaning != theirs.meaning):
            continue
        drawn = (first.readings[mine.name], second.readings[mine.name])
        for score in F_SCORES:
            yield _difference(first, second, mine.name, score, mine.scores[score] - theirs.scores[score], *drawn)


def _difference(
    first: _Judged,
    second: _Judged,
    reading: str | None,
    score: str,
    difference: float,
    first_drawn: Resamples,
    second_drawn: Resamples,
) -> Difference:
    intervals = {
        unit: interval(difference, first_drawn[unit][score] - second_drawn[unit][score], bounded=False)
        for unit in first_drawn
    }
    return Difference(first.system.name, second.system.name, score, reading, difference, intervals)
