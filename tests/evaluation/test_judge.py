"""The verdict: three readings of F, comparisons on the same resamples, duplicates, and one JSON document."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from moodbook.errors import DataError, UnscorableError
from moodbook.evaluation.duplicates import find_duplicates, keep_first, read_duplicates
from moodbook.evaluation.findings import Validation
from moodbook.evaluation.intervals import interval, resample_counts, resample_decisions
from moodbook.evaluation.judge import F_SCORES, RANK_SCORES, judge
from moodbook.evaluation.metrics import evaluate, score_decisions
from moodbook.evaluation.tables import describe, verdict_tables
from moodbook.evaluation.thresholds import cross_fit, decide, fit_thresholds
from moodbook.evaluation.verdict import System, Verdict


@pytest.fixture(scope="module")
def given(simulated: Callable[..., Any]) -> Any:
    return simulated(31, tracks=400, tags=9, skill=0.7, plain=True)


def verdict_on(given: Any, *systems: System, **options: Any) -> Verdict:
    return judge(given.ground_truth, systems, given.tags, resamples=options.pop("resamples", 60), **options)


def columns(verdict: Verdict) -> dict[str, Any]:
    return {column.name: column for column in verdict.systems[0].columns}


def test_three_readings_of_f_each_from_its_own_decisions(given: Any):
    system = System(
        "a",
        given.probabilities,
        decisions=given.probabilities > 0.3,
        validation=Validation(given.validation_truth, given.validation_probabilities),
        keyed=True,
    )
    found = columns(verdict_on(given, system))
    assert list(found) == ["official", "submitted", "honest"]
    oracle = decide(
        given.probabilities, fit_thresholds(given.ground_truth, given.probabilities, given.tags), given.tags
    )
    for name, decisions in (
        ("official", oracle),
        ("submitted", given.probabilities > 0.3),
        ("honest", given.decisions),
    ):
        wanted = score_decisions(given.ground_truth, decisions, given.tags)
        assert found[name].scores["F-score-macro"] == wanted.macro.f_score
        assert found[name].scores["recall-micro"] == wanted.micro.recall
    assert "validation" in found["honest"].meaning
    assert "oracle" in found["official"].meaning


def test_without_validation_the_honest_f_is_cross_fitted_by_artist(given: Any):
    found = columns(verdict_on(given, System("a", given.probabilities), artists=given.artists))
    wanted = np.mean(
        [
            score_decisions(
                given.ground_truth,
                cross_fit(
                    given.ground_truth, given.probabilities, given.tags, seed=seed, groups=given.artists
                ).decisions,
                given.tags,
            ).macro.f_score
            for seed in range(10)
        ]
    )
    assert found["honest"].scores["F-score-macro"] == pytest.approx(wanted, abs=1e-12)
    assert "other half of the artists" in found["honest"].meaning
    assert list(found) == ["official", "honest"]


def test_thresholds_handed_in_are_applied_by_name(given: Any):
    backwards = dict(reversed(given.thresholds.items()))
    verdict = verdict_on(given, System("a", given.probabilities, thresholds=backwards))
    wanted = score_decisions(given.ground_truth, given.decisions, given.tags)
    assert columns(verdict)["submitted"].scores["F-score-macro"] == wanted.macro.f_score
    assert verdict.systems[0].scores.macro.f_score == wanted.macro.f_score
    assert "by tag name" in verdict.systems[0].decided_by


def test_intervals_stand_round_every_score(given: Any):
    verdict = verdict_on(given, System("a", given.probabilities, keyed=True), artists=given.artists)
    system = verdict.systems[0]
    assert verdict.artists == len(set(given.artists))
    official = system.scores.official()
    for unit in ("tracks", "artists"):
        for name, ends in system.intervals[unit].items():
            assert ends.low <= official[name] <= ends.high
        for column in system.columns:
            for name, ends in column.intervals[unit].items():
                assert ends.low <= column.scores[name] <= ends.high
    for one in system.scores.per_tag:
        ends = system.per_tag[one.tag].roc_auc
        assert ends.low <= one.roc_auc <= ends.high


def test_a_system_against_itself_differs_by_nothing(given: Any):
    verdict = verdict_on(given, System("a", given.probabilities), System("b", given.probabilities.copy()))
    assert [(one.reading, one.score) for one in verdict.differences] == [
        *((None, score) for score in RANK_SCORES),
        *(("honest", score) for score in F_SCORES),
    ]
    for difference in verdict.differences:
        assert difference.difference == 0
        assert difference.intervals["tracks"].low == difference.intervals["tracks"].high == 0
        assert not difference.clear


def test_a_worse_system_is_clearly_behind_and_pairs_are_narrower(given: Any):
    noise = np.random.default_rng(0).normal(size=given.probabilities.shape)
    worse = given.probabilities + 0.5 * noise
    near = given.probabilities + 0.01 * noise
    verdict = verdict_on(
        given, System("a", given.probabilities), System("worse", worse), System("near", near), resamples=300
    )
    by_name = {(one.second, one.score): one for one in verdict.differences if one.first == "a"}
    behind = by_name["worse", "ROC-AUC-macro"]
    assert behind.difference > 0
    assert behind.clear
    # Two systems that agree on most tracks: the pair is known far better than either system.
    pair = by_name["near", "ROC-AUC-macro"].intervals["tracks"]
    assert pair.width < 0.5 * verdict.systems[0].intervals["tracks"]["ROC-AUC-macro"].width


def test_every_pair_is_compared(given: Any):
    names = ("a", "b", "c")
    verdict = verdict_on(given, *(System(name, given.probabilities) for name in names), resamples=0)
    assert list(dict.fromkeys((one.first, one.second) for one in verdict.differences)) == list(combinations(names, 2))


def test_f_is_compared_on_the_same_resamples_reading_by_reading(given: Any):
    high, low = given.probabilities > 0.5, given.probabilities > 0.1
    verdict = verdict_on(
        given,
        System("a", given.probabilities, decisions=high),
        System("b", given.probabilities, decisions=low),
        artists=given.artists,
    )
    by_key = {(one.reading, one.score): one for one in verdict.differences}
    assert {reading for reading, _ in by_key} == {None, "submitted", "honest"}
    difference = by_key["submitted", "F-score-macro"]
    scores = [score_decisions(given.ground_truth, decided, given.tags).macro.f_score for decided in (high, low)]
    assert difference.difference == scores[0] - scores[1]
    for unit, groups in (("tracks", None), ("artists", given.artists)):
        counts = resample_counts(400, 60, 0, groups)
        drawn = [resample_decisions(given.ground_truth, decided, counts).f_macro for decided in (high, low)]
        assert difference.intervals[unit] == interval(difference.difference, drawn[0] - drawn[1], bounded=False)
    # The scores are the same, and so are thresholds fitted elsewhere on them.
    assert by_key["honest", "F-score-micro"].difference == 0


def test_thresholds_fitted_in_different_places_are_not_compared(given: Any):
    validation = Validation(given.validation_truth, given.validation_probabilities)
    verdict = verdict_on(
        given, System("a", given.probabilities, validation=validation), System("b", given.probabilities), resamples=0
    )
    assert {one.reading for one in verdict.differences} == {None}


def test_duplicates_are_counted_once(given: Any):
    twice = np.concatenate([np.arange(400), [3, 7]])
    truth, scores = given.ground_truth[twice], given.probabilities[twice]
    groups = find_duplicates([scores])
    assert groups == ((3, 400), (7, 401))
    once = judge(truth, [System("a", scores)], given.tags, keep=keep_first(groups, 402), resamples=0)
    assert once.duplicates_left_out == 2
    assert once.tracks == 400
    assert (
        once.systems[0].scores.macro
        == evaluate(
            given.ground_truth,
            given.probabilities,
            given.tags,
            decisions=decide(
                given.probabilities, fit_thresholds(given.ground_truth, given.probabilities, given.tags), given.tags
            ),
        ).macro
    )


def test_duplicates_must_agree_in_every_system_and_in_length(given: Any):
    scores = np.concatenate([given.probabilities, given.probabilities[:3]])
    other = scores.copy()
    other[400] += 1e-9
    assert find_duplicates([scores, other]) == ((1, 401), (2, 402))
    seconds = [100.0 + 10 * row for row in range(400)] + [100.0, 110.05, 500.0]
    assert find_duplicates([scores], seconds) == ((0, 400), (1, 401))


def test_constant_scores_prove_no_duplicates():
    with pytest.raises(DataError, match="tell too few tracks apart"):
        find_duplicates([np.zeros((100, 3))])


def test_duplicate_groups_are_read_by_track(tmp_path: Any):
    path = tmp_path / "d.csv"
    path.write_text("track_id,duplicates\nb,d\na,c,e\nf\n", encoding="utf-8")
    ids = ["a", "b", "c", "d", "e", "f"]
    assert read_duplicates(path, ids) == ((1, 3), (0, 2, 4))
    assert keep_first(read_duplicates(path, ids), 6).tolist() == [True, True, False, False, False, True]
    for text, message in (
        ("a,z\n", "'z' is not among the 6 tracks"),
        ("a,b\nb,c\n", "'b' stands twice"),
        ("a\nb\n", "no line holds two track ids"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_duplicates(path, ids)
    with pytest.raises(DataError, match="names no tracks"):
        read_duplicates(path, None)


def test_the_audit_sees_the_tracks_that_are_left_out(given: Any):
    keep = np.ones(400, dtype=bool)
    keep[:5] = False
    system = System("a", given.probabilities, decisions=given.decisions, thresholds=given.thresholds)
    verdict = verdict_on(given, system, keep=keep, track_ids=given.track_ids)
    assert [finding.kind for finding in verdict.systems[0].findings] == ["rows-not-keyed"]
    assert verdict.tracks == 395


def test_the_document_is_json_without_nan(given: Any):
    truth = given.ground_truth.copy()
    truth[:, 0] = False
    verdict = judge(
        truth,
        [System("a", given.probabilities), System("b", given.probabilities[:, ::-1].copy())],
        given.tags,
        artists=given.artists,
        resamples=20,
    )
    document = json.loads(json.dumps(verdict.to_json(), allow_nan=False))
    assert document["systems"][0]["per_tag"][0]["roc_auc"] is None
    assert document["systems"][0]["per_tag"][0]["roc_auc_interval"] == [None, None]
    assert document["systems"][0]["scores"]["ROC-AUC-macro"] == verdict.systems[0].scores.macro.roc_auc
    assert document["systems"][0]["f_columns"][1]["name"] == "honest"
    assert document["systems"][0]["audit"][0]["kind"] == "tag-without-positives"
    assert document["differences"][0]["second"] == "b"
    assert document["intervals"] == {"level": 0.95, "resamples": 20, "seed": 0}


def test_no_resamples_no_intervals(given: Any):
    verdict = verdict_on(given, System("a", given.probabilities), resamples=0)
    assert verdict.systems[0].intervals == {}
    assert math.isnan(verdict.systems[0].per_tag[given.tags.names[0]].roc_auc.low)


def test_one_artist_gives_scores_but_nothing_that_needs_two(given: Any):
    verdict = verdict_on(given, System("a", given.probabilities), artists=["x"] * 400)
    assert list(verdict.systems[0].intervals) == ["tracks"]
    assert list(columns(verdict)) == ["official"]
    assert describe(verdict).endswith(
        "95 % intervals from 60 resamples of tracks (seed 0); intervals from 1 artist come out too narrow, and the "
        "figures say little; score 20 or more"
    )


@pytest.mark.parametrize(
    ("tracks", "artists", "said"),
    [(400, None, None), (400, 20, None), (20, None, None), (19, None, "19 tracks"), (400, 19, "19 artists")],
)
def test_intervals_from_few_are_said_to_be_too_narrow(given: Any, tracks: int, artists: int | None, said: str | None):
    names = None if artists is None else [str(number % artists) for number in range(tracks)]
    verdict = judge(
        given.ground_truth[:tracks], [System("a", given.probabilities[:tracks])], given.tags, artists=names, resamples=9
    )
    note = f"intervals from {said} come out too narrow, and the figures say little; score 20 or more"
    assert describe(verdict).endswith(f"; {note}" if said else "(seed 0)")
    assert verdict.to_json()["interval_note"] == (note if said else None)


def test_one_track_is_scored_without_intervals(given: Any):
    verdict = judge(given.ground_truth[:1], [System("a", given.probabilities[:1])], given.tags)
    assert verdict.systems[0].intervals == {}
    assert list(columns(verdict)) == ["official"]
    assert "intervals" not in describe(verdict)
    assert verdict.to_json()["interval_note"] is None


@pytest.mark.parametrize(("tracks", "resamples"), [(1, 60), (400, 0)])
def test_no_difference_is_clear_without_an_interval(given: Any, tracks: int, resamples: int):
    systems = [System("a", given.probabilities[:tracks]), System("b", 1 - given.probabilities[:tracks])]
    verdict = judge(given.ground_truth[:tracks], systems, given.tags, resamples=resamples)
    assert verdict.differences
    assert not any(difference["clear"] for difference in verdict.to_json()["differences"])


def test_no_track_is_refused(given: Any):
    with pytest.raises(DataError, match="expected at least one track"):
        judge(given.ground_truth[:0], [System("a", given.probabilities[:0])], given.tags)


def test_what_cannot_be_scored_is_refused_with_its_name(given: Any):
    broken = given.probabilities.copy()
    broken[5, 1] = np.nan
    with pytest.raises(UnscorableError, match=r"second: 1 of 3,600 predictions are not finite numbers, in 1 of 9 tags"):
        verdict_on(given, System("first", given.probabilities), System("second", broken))
    with pytest.raises(UnscorableError) as refusal:
        verdict_on(given, *(System(name, scores) for name, scores in (("a", broken), ("b", broken[:-1]))))
    kinds = {name: [finding["kind"] for finding in found] for name, found in refusal.value.systems.items()}
    assert kinds == {"a": ["not-finite"], "b": ["wrong-shape"]}
    with pytest.raises(DataError, match="unknown protocol 'mirex'; known: mediaeval2019"):
        verdict_on(given, System("a", given.probabilities), protocol="mirex")
    with pytest.raises(DataError, match="no system to judge"):
        verdict_on(given)


def test_the_tables_say_what_the_verdict_does(given: Any):
    fitted = fit_thresholds(given.ground_truth, given.probabilities, given.tags)
    system = System("a[b]", given.probabilities, thresholds=fitted)
    verdict = verdict_on(given, system, replace(system, name="other"), artists=given.artists)
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(verdict_tables(verdict))
    text = console.export_text()
    assert "a[b]" in text
    for wanted in ("official (oracle)", "as submitted", "honest", "thresholds-fitted-on-truth", "not clear"):
        assert wanted in text
    assert f"{verdict.systems[0].scores.macro.roc_auc:.4f}" in text
    ends = verdict.systems[0].intervals["artists"]["ROC-AUC-macro"]
    assert f"[{ends.low:.3f}, {ends.high:.3f}]" in text
