"""The audit: each kind of fraud is planted and found, and honest submissions are not accused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from moodbook.evaluation.audit import audit
from moodbook.evaluation.findings import Evidence, Finding, Validation
from moodbook.evaluation.judge import judge
from moodbook.evaluation.metrics import evaluate, score_decisions
from moodbook.evaluation.threshold_traces import explain_decisions
from moodbook.evaluation.thresholds import decide, fit_thresholds
from moodbook.evaluation.verdict import System
from moodbook.tags import TagSet


def found(given: Any, probabilities: np.ndarray, kind: str, evidence: Evidence | None = None) -> Finding:
    """The one finding of a kind; everything else that is no note would be a false accusation."""
    findings = audit(given.ground_truth, probabilities, given.tags, evidence or Evidence(keyed=True))
    graver = [finding for finding in findings if finding.level != "note"]
    assert [finding.kind for finding in graver] == [kind]
    return graver[0]


def kinds(given: Any, probabilities: np.ndarray, evidence: Evidence) -> set[str]:
    findings = audit(given.ground_truth, probabilities, given.tags, evidence)
    return {finding.kind for finding in findings if finding.level != "note"}


def test_an_honest_submission_with_everything_is_clean(good_submission: Any):
    evidence = good_submission.handed_in(0)
    assert evidence.thresholds is not None
    assert evidence.validation is not None
    assert audit(good_submission.ground_truth, good_submission.probabilities, good_submission.tags, evidence) == ()


@pytest.mark.parametrize(
    "seeds",
    [pytest.param(range(24), id="24"), pytest.param(range(24, 224), id="200", marks=pytest.mark.slow)],
)
def test_no_honest_submission_is_accused(simulated: Callable[..., Any], seeds: range):
    accused = {}
    for seed in seeds:
        given = simulated(seed)
        if kinds_found := kinds(given, given.probabilities, given.handed_in(seed)):
            accused[seed] = kinds_found
    assert accused == {}


def test_thresholds_applied_by_position_are_found_to_the_cell(good_submission: Any):
    stored = good_submission.shuffled_thresholds()
    applied = good_submission.probabilities > np.array(list(stored.values()))
    finding = found(
        good_submission, good_submission.probabilities, "thresholds-in-another-order", Evidence(applied, stored)
    )
    assert finding.level == "error"
    assert finding.evidence["differ_by_reading"] == 0
    assert finding.evidence["differ_by_name"] == int((applied != good_submission.decisions).sum())
    assert finding.evidence["reading"] == "by position, in the order of their file"
    right = score_decisions(good_submission.ground_truth, good_submission.decisions, good_submission.tags)
    assert finding.would_be["F-score-macro"] == right.macro.f_score
    assert finding.would_be["F-score-micro"] == right.micro.f_score


def test_alphabetical_and_unknown_orders_are_found(good_submission: Any):
    # The simulated tags do not stand in alphabetical order; the file is in tag order.
    stored = {name: good_submission.thresholds[name] for name in good_submission.tags}
    alphabetical = good_submission.probabilities > np.array([stored[name] for name in sorted(stored)])
    finding = found(
        good_submission, good_submission.probabilities, "thresholds-in-another-order", Evidence(alphabetical, stored)
    )
    assert "alphabetical" in finding.message
    order = np.random.default_rng(5).permutation(len(good_submission.tags))
    unknown = good_submission.probabilities > good_submission.tags.vector(stored)[order]
    finding = found(
        good_submission, good_submission.probabilities, "thresholds-in-another-order", Evidence(unknown, stored)
    )
    assert "unknown order" in finding.message


def test_thresholds_under_other_names_are_found_by_their_values(good_submission: Any):
    names = list(good_submission.tags)
    order = np.random.default_rng(1).permutation(len(names))
    renamed = {names[k]: good_submission.thresholds[names[order[k]]] for k in range(len(names))}
    evidence = Evidence(
        thresholds=renamed,
        validation=Validation(good_submission.validation_truth, good_submission.validation_probabilities),
    )
    finding = found(good_submission, good_submission.probabilities, "thresholds-in-another-order", evidence)
    assert "fitted on the validation part" in finding.message
    assert finding.evidence["same_under_other_names"] == len(names)


def test_test_fitted_and_scrambled_decisions_without_a_file_are_both_found(good_submission: Any):
    fitted = fit_thresholds(good_submission.ground_truth, good_submission.probabilities, good_submission.tags)
    order = np.random.default_rng(2).permutation(len(fitted))
    decisions = good_submission.probabilities > good_submission.tags.vector(fitted)[order]
    seen = kinds(good_submission, good_submission.probabilities, Evidence(decisions))
    assert seen == {"thresholds-in-another-order", "thresholds-fitted-on-truth"}


@pytest.mark.parametrize("handed_in", ["decisions", "thresholds", "both"])
def test_test_fitted_thresholds_are_found(good_submission: Any, handed_in: str):
    fitted = fit_thresholds(good_submission.ground_truth, good_submission.probabilities, good_submission.tags)
    decisions = decide(good_submission.probabilities, fitted, good_submission.tags)
    evidence = Evidence(
        decisions=None if handed_in == "thresholds" else decisions,
        thresholds=None if handed_in == "decisions" else fitted,
    )
    finding = found(good_submission, good_submission.probabilities, "thresholds-fitted-on-truth", evidence)
    assert finding.evidence["same_tags"] == finding.evidence["tags"] == len(good_submission.tags)
    assert finding.evidence["differ"] == 0
    oracle = score_decisions(good_submission.ground_truth, decisions, good_submission.tags).macro.f_score
    assert 0 < finding.would_be["F-score-macro"] < oracle


def test_the_honest_figures_of_a_finding_are_those_of_the_honest_column(good_submission: Any):
    given = good_submission
    fitted = fit_thresholds(given.ground_truth, given.probabilities, given.tags)
    validation = Validation(given.validation_truth, given.validation_probabilities)
    evidence = Evidence(thresholds=fitted, validation=validation)
    finding = found(given, given.probabilities, "thresholds-fitted-on-truth", evidence)
    right = score_decisions(given.ground_truth, given.decisions, given.tags)
    assert finding.would_be == {"F-score-macro": right.macro.f_score, "F-score-micro": right.micro.f_score}
    evidence = Evidence(thresholds=fitted, artists=given.artists)
    finding = found(given, given.probabilities, "thresholds-fitted-on-truth", evidence)
    system = System("a", given.probabilities, thresholds=fitted)
    verdict = judge(given.ground_truth, [system], given.tags, artists=given.artists, resamples=0)
    honest = verdict.systems[0].columns[-1]
    assert finding.would_be["F-score-macro"] == pytest.approx(honest.scores["F-score-macro"], abs=1e-12)


@pytest.mark.parametrize("seed", [0, 8, 11])
def test_thresholds_of_few_values_are_not_called_fitted_on_the_truth(simulated: Callable[..., Any], seed: int):
    given = simulated(seed, tracks=400, tags=12, skill=0.9, plain=True)
    coarse, validation = ((3 * array).round() / 3 for array in (given.probabilities, given.validation_probabilities))
    honest = fit_thresholds(given.validation_truth, validation, given.tags)
    assert kinds(given, coarse, Evidence(decide(coarse, honest, given.tags), honest)) == set()


def test_few_decisions_are_not_called_those_of_an_unknown_order():
    generator = np.random.default_rng(0)
    tags = TagSet(tuple(f"tag{k}" for k in range(30)))
    probabilities = generator.random((40, 30))
    thresholds = {name: 0.99 + 0.0001 * k for k, name in enumerate(tags)}
    decisions = np.zeros(probabilities.shape, dtype=bool)
    reading = explain_decisions(probabilities, decisions, thresholds, tags)
    assert "unknown" not in reading.description


def test_a_permuted_tag_axis_is_found_and_undone(good_submission: Any):
    order = np.random.default_rng(3).permutation(len(good_submission.tags))
    finding = found(good_submission, good_submission.probabilities[:, order], "tag-axis-permuted")
    assert finding.level == "error"
    right = evaluate(good_submission.ground_truth, good_submission.probabilities, good_submission.tags)
    assert finding.would_be["ROC-AUC-macro"] == pytest.approx(right.macro.roc_auc, abs=0.02)
    moved = finding.evidence["moved"]
    assert isinstance(moved, list)
    truly = [
        f"{good_submission.tags.names[k]} -> {good_submission.tags.names[order[k]]}"
        for k in range(len(order))
        if order[k] != k
    ]
    assert len(set(moved) & set(truly)) > 0.7 * len(truly)  # Weak columns fit several tags.


def test_one_column_missing_shifts_the_rest_and_is_found(good_submission: Any):
    order = [*range(3), *range(4, len(good_submission.tags)), 3]
    finding = found(good_submission, good_submission.probabilities[:, order], "tag-axis-permuted")
    assert len(finding.evidence["moved"]) > 12


def test_two_exchanged_columns_are_found(good_submission: Any):
    areas = evaluate(good_submission.ground_truth, good_submission.probabilities, good_submission.tags).per_tag
    first, second = sorted(range(len(areas)), key=lambda k: -areas[k].roc_auc)[:2]
    order = np.arange(len(areas))
    order[[first, second]] = order[[second, first]]
    finding = found(good_submission, good_submission.probabilities[:, order], "tag-axis-permuted")
    names = good_submission.tags.names
    assert set(finding.evidence["moved"]) == {
        f"{names[first]} -> {names[second]}",
        f"{names[second]} -> {names[first]}",
    }


def test_shuffled_rows_are_found(simulated: Callable[..., Any]):
    given = simulated(8, tracks=3000, tags=30, skill=0.8, plain=True)
    rows = np.random.default_rng(4).permutation(3000)
    finding = found(given, given.probabilities[rows], "rows-unrelated")
    assert abs(finding.evidence["roc_auc"] - 0.5) < 0.02
    assert finding.evidence["z_structure"] > 4
    assert "promise a ROC-AUC of about 0.82" in finding.message


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda rows: np.roll(rows, 1, axis=0), "shifted by +1"),
        (lambda rows: np.roll(rows, -3, axis=0), "shifted by -3"),
        (lambda rows: rows[::-1], "reversed"),
    ],
)
def test_shifted_and_reversed_rows_are_found_and_undone(
    good_submission: Any, mistake: Callable[[np.ndarray], np.ndarray], said: str
):
    finding = found(good_submission, mistake(good_submission.probabilities), "rows-in-another-order")
    assert finding.evidence["order"] == said
    right = evaluate(good_submission.ground_truth, good_submission.probabilities, good_submission.tags)
    assert finding.would_be["ROC-AUC-macro"] == pytest.approx(right.macro.roc_auc, abs=1e-12)


def test_rows_sorted_by_track_id_are_found(good_submission: Any):
    rows = np.argsort(np.array(good_submission.track_ids))
    evidence = Evidence(track_ids=good_submission.track_ids)
    finding = found(good_submission, good_submission.probabilities[rows], "rows-in-another-order", evidence)
    assert finding.evidence["order"].startswith("sorted by track")
    right = evaluate(good_submission.ground_truth, good_submission.probabilities, good_submission.tags)
    assert finding.would_be["ROC-AUC-macro"] == pytest.approx(right.macro.roc_auc, abs=1e-12)


def test_decisions_with_permuted_columns_are_found(good_submission: Any):
    order = np.random.default_rng(6).permutation(len(good_submission.tags))
    evidence = Evidence(good_submission.decisions[:, order])
    finding = found(good_submission, good_submission.probabilities, "decisions-in-another-order", evidence)
    assert finding.evidence["unexplained_assigned"] == 0
    right = score_decisions(good_submission.ground_truth, good_submission.decisions, good_submission.tags)
    assert finding.would_be["F-score-macro"] == pytest.approx(right.macro.f_score, abs=1e-12)


def test_decisions_that_thresholds_do_not_give_are_found(good_submission: Any):
    generator = np.random.default_rng(7)
    altered = good_submission.decisions ^ (generator.random(good_submission.decisions.shape) < 0.02)
    evidence = Evidence(altered, good_submission.thresholds)
    finding = found(good_submission, good_submission.probabilities, "decisions-unexplained", evidence)
    assert finding.evidence["differ_by_name"] == int((altered != good_submission.decisions).sum())


def test_at_least_instead_of_above_is_found(good_submission: Any):
    coarse = good_submission.probabilities.round(1)
    thresholds = dict.fromkeys(good_submission.tags, 0.2)
    finding = found(good_submission, coarse, "decisions-not-strict", Evidence(coarse >= 0.2, thresholds))
    strict = score_decisions(good_submission.ground_truth, coarse > 0.2, good_submission.tags)
    assert finding.would_be["F-score-macro"] == strict.macro.f_score


def test_at_least_instead_of_above_is_found_where_it_moves_one_cell_a_tag(good_submission: Any):
    own = {
        name: float(np.sort(good_submission.probabilities[:, k])[-40]) for k, name in enumerate(good_submission.tags)
    }
    level = good_submission.probabilities >= good_submission.tags.vector(own)
    finding = found(good_submission, good_submission.probabilities, "decisions-not-strict", Evidence(level, own))
    assert finding.evidence["differ_by_name"] == len(good_submission.tags)


def test_not_finite_scores_are_found(good_submission: Any):
    probabilities = good_submission.probabilities.copy()
    probabilities[:, 2] = np.nan
    probabilities[0, 5] = np.inf
    finding = found(good_submission, probabilities, "not-finite")
    assert finding.level == "error"
    assert finding.evidence["cells"] == len(probabilities) + 1
    assert finding.evidence["tags"] == [good_submission.tags.names[2], good_submission.tags.names[5]]


def test_constant_columns_are_found(good_submission: Any):
    probabilities = good_submission.probabilities.copy()
    probabilities[:, 4] = 0.25
    finding = found(good_submission, probabilities, "constant-column")
    assert finding.evidence["tags"] == [good_submission.tags.names[4]]


def test_scores_outside_the_unit_interval_are_found(good_submission: Any):
    logits = np.log(good_submission.probabilities / (1 - good_submission.probabilities))
    finding = found(good_submission, logits, "outside-unit-interval")
    assert finding.evidence["cells"] == int(((logits < 0) | (logits > 1)).sum())
    assert finding.evidence["lowest"] == logits.min()


def test_tags_without_positives_are_found(good_submission: Any):
    truth = good_submission.ground_truth.copy()
    truth[:, 0] = False
    findings = audit(truth, good_submission.probabilities, good_submission.tags, Evidence(keyed=True))
    assert [finding.kind for finding in findings] == ["tag-without-positives"]
    assert findings[0].evidence["tags"] == [good_submission.tags.names[0]]


def test_wrong_shapes_are_found(good_submission: Any):
    finding = found(good_submission, good_submission.probabilities.T, "wrong-shape")
    assert "rows and columns are exchanged" in finding.message
    finding = found(good_submission, good_submission.probabilities[:-1], "wrong-shape")
    assert "expected shape (1000, 20), got (999, 20)" in finding.message


def test_rows_that_name_no_track_are_noted(good_submission: Any):
    findings = audit(good_submission.ground_truth, good_submission.probabilities, good_submission.tags, Evidence())
    assert [(finding.kind, finding.level) for finding in findings] == [("rows-not-keyed", "note")]


def test_a_baseline_of_constants_is_not_called_a_shuffled_model(good_submission: Any):
    frequencies = np.broadcast_to(good_submission.ground_truth.mean(axis=0), good_submission.probabilities.shape)
    seen = kinds(good_submission, frequencies.copy(), Evidence(keyed=True))
    assert seen == {"constant-column"}
    noisy = frequencies * np.random.default_rng(0).uniform(0.5, 1.5, frequencies.shape)
    assert kinds(good_submission, noisy, Evidence(keyed=True)) == set()


def test_the_gravest_findings_come_first(good_submission: Any):
    probabilities = good_submission.probabilities[:, ::-1].copy()
    probabilities[:, 0] = 1.5
    levels = [finding.level for finding in audit(good_submission.ground_truth, probabilities, good_submission.tags)]
    assert levels == sorted(levels, key=["error", "warning", "note"].index)
    assert {"error", "warning", "note"} == set(levels)
