"""The whole verdict on one or more systems: scores, three readings of F, intervals, comparisons and the audit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int32

from moodbook.errors import DataError
from moodbook.evaluation.audit import audit, unscorable
from moodbook.evaluation.findings import CROSS_FITS, Evidence, Finding, honest_decisions
from moodbook.evaluation.intervals import (
    Interval,
    ResampledF,
    ResampledRanks,
    interval,
    resample_counts,
    resample_f,
    resample_ranks,
)
from moodbook.evaluation.metrics import DecisionScores, PrecisionRecallF, Scores, evaluate, score_decisions
from moodbook.evaluation.thresholds import decide, fit_thresholds
from moodbook.evaluation.verdict import Difference, FColumn, JudgedSystem, System, TagIntervals, Verdict
from moodbook.tags import TagSet

PROTOCOLS = ("mediaeval2019",)
RANK_SCORES = ("ROC-AUC-macro", "PR-AUC-macro", "ROC-AUC-micro", "PR-AUC-micro")


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
        systems: The first is compared with each other one.
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
        DataError: A system cannot be scored, there is none or no track, or the protocol is unknown.
        DependencyError: scikit-learn is not installed.
    """
    if protocol not in PROTOCOLS:
        raise DataError(f"unknown protocol {protocol!r}; known: {', '.join(PROTOCOLS)}")
    if not systems:
        raise DataError("no system to judge; give one at least")
    if not len(ground_truth):
        raise DataError("ground truth: expected at least one track, got none")
    for system in systems:
        faults = unscorable(ground_truth, system.probabilities, tags)
        if faults:
            raise DataError(f"{system.name}: " + "; ".join(fault.message for fault in faults))
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
    drawn = [
        {unit: resample_ranks(ground_truth, system.probabilities, tags, counts) for unit, counts in units.items()}
        for system in systems
    ]
    judged = tuple(
        _judge_system(ground_truth, system, tags, artists, units, ranks, findings)
        for system, ranks, findings in zip(systems, drawn, audited, strict=True)
    )
    differences = tuple(
        _difference(judged[0], judged[k], score, drawn[0], drawn[k])
        for k in range(1, len(judged))
        for score in RANK_SCORES
    )
    return Verdict(
        protocol=protocol,
        tags=tags,
        tracks=len(ground_truth),
        artists=None if artists is None else len(set(artists)),
        duplicates_left_out=left_out,
        resamples=resamples,
        seed=seed,
        systems=judged,
        differences=differences,
    )


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
    ranks: Mapping[str, ResampledRanks],
    findings: tuple[Finding, ...],
) -> JudgedSystem:
    oracle = decide(
        system.probabilities, fit_thresholds(truth, system.probabilities, tags, without_positives="never"), tags
    )
    columns = [
        _column(
            "official", "thresholds fitted on the truth they are scored on: an oracle", truth, [oracle], tags, units
        )
    ]
    submitted = system.decisions
    how = "the decisions handed in"
    if submitted is None and system.thresholds is not None:
        submitted, how = (
            decide(system.probabilities, system.thresholds, tags),
            "the thresholds handed in, applied by tag name",
        )
    if submitted is not None:
        columns.append(_column("submitted", how, truth, [submitted], tags, units))
    meaning = "thresholds fitted on validation predictions"
    if system.validation is None:
        meaning = (
            f"thresholds fitted on the other half of the {'tracks' if artists is None else 'artists'}, "
            f"mean of {CROSS_FITS} halvings"
        )
    if honest := honest_decisions(truth, system.probabilities, tags, system.validation, artists):
        columns.append(_column("honest", meaning, truth, honest, tags, units))
    scores = evaluate(truth, system.probabilities, tags, decisions=oracle if submitted is None else submitted)
    official = scores.official()
    return JudgedSystem(
        name=system.name,
        scores=scores,
        decided_by="thresholds fitted on this ground truth" if submitted is None else how,
        intervals={
            unit: {name: interval(official[name], values) for name, values in drawn.by_name().items()}
            for unit, drawn in ranks.items()
        },
        per_tag=_per_tag(scores, ranks, tags),
        columns=tuple(columns),
        findings=findings,
    )


def _column(
    name: str,
    meaning: str,
    truth: np.ndarray,
    decisions: Sequence[np.ndarray],
    tags: TagSet,
    units: Mapping[str, np.ndarray],
) -> FColumn:
    """Score several sets of decisions and average them."""
    each = [_by_name(score_decisions(truth, decided, tags)) for decided in decisions]
    scores = {key: float(np.mean([one[key] for one in each])) for key in each[0]}
    intervals = {}
    for unit, counts in units.items():
        drawn: list[ResampledF] = [resample_f(truth, decided, counts) for decided in decisions]
        intervals[unit] = {
            "F-score-macro": interval(scores["F-score-macro"], np.mean([one.macro for one in drawn], axis=0)),
            "F-score-micro": interval(scores["F-score-micro"], np.mean([one.micro for one in drawn], axis=0)),
        }
    return FColumn(name, meaning, scores, intervals)


def _by_name(scores: DecisionScores) -> dict[str, float]:
    def named(average: str, figures: PrecisionRecallF) -> dict[str, float]:
        return {
            f"precision-{average}": figures.precision,
            f"recall-{average}": figures.recall,
            f"F-score-{average}": figures.f_score,
        }

    return named("macro", scores.macro) | named("micro", scores.micro)


def _per_tag(scores: Scores, ranks: Mapping[str, ResampledRanks], tags: TagSet) -> dict[str, TagIntervals]:
    drawn = ranks.get("artists", ranks.get("tracks"))
    unknown = Interval(math.nan, math.nan)
    return {
        figures.tag: TagIntervals(
            unknown if drawn is None else interval(figures.roc_auc, drawn.roc_auc_per_tag[:, k]),
            unknown if drawn is None else interval(figures.pr_auc, drawn.pr_auc_per_tag[:, k]),
        )
        for k, figures in enumerate(scores.per_tag)
    }


def _difference(
    first: JudgedSystem,
    second: JudgedSystem,
    score: str,
    first_drawn: Mapping[str, ResampledRanks],
    second_drawn: Mapping[str, ResampledRanks],
) -> Difference:
    difference = first.scores.official()[score] - second.scores.official()[score]
    return Difference(
        first.name,
        second.name,
        score,
        difference,
        {
            unit: interval(
                difference,
                first_drawn[unit].by_name()[score] - second_drawn[unit].by_name()[score],
                bounded=False,
            )
            for unit in first_drawn
        },
    )
