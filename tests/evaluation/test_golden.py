"""The published figures of MediaEval 2019, to the last digit, from the published arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moodbook.evaluation.audit import audit
from moodbook.evaluation.duplicates import find_duplicates
from moodbook.evaluation.findings import Evidence
from moodbook.evaluation.intervals import resample_counts, resample_ranks
from moodbook.evaluation.metrics import evaluate, score_decisions
from moodbook.evaluation.reference import Reference, read_decisions, read_predictions, read_reference
from moodbook.evaluation.submission import mean_of
from moodbook.evaluation.thresholds import decide, fit_thresholds, read_thresholds
from moodbook.tags import read_tags

RUNS = {
    "Run-1": ("run_1_vqvae+gru", 0.1552, 0.1614, 37_257),
    "Run-2": ("run_3_fixed_vqvae+gru", 0.1568, 0.1525, 48_696),
    "Run-3": ("run_2_vqvae+cnn", 0.1554, 0.1539, 34_886),
    "Run-4": ("run_4_fixed_vqvae+cnn", 0.1602, 0.1663, 30_178),
    "Run-5": ("run_5_one_hot_gru", 0.1408, 0.1404, 51_767),
}
"""Folder, macro and micro F with the thresholds in the right order, and the cells that the scrambling changed."""
CELLS = 4231 * 56


@pytest.fixture(scope="module")
def reference(mediaeval: Path) -> Reference:
    official = mediaeval / "official"
    tags = read_tags(official / "moodtheme_split.txt")
    return read_reference(
        official / "groundtruth-test.npy", tags, tracks=official / "autotagging_moodtheme-split0-test.tsv"
    )


def file_of(mediaeval: Path, system: str, kind: str) -> Path:
    folder = mediaeval / "taiinn" / RUNS[system][0] if system in RUNS else mediaeval / "baselines"
    prefix = "" if system in RUNS else f"baseline_{system}_"
    (path,) = folder.glob(f"{prefix}*{kind}*")
    return path


def published(mediaeval: Path, system: str) -> dict[str, str]:
    kind = "results"
    lines = file_of(mediaeval, system, kind).read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines)


def test_the_list_gives_the_published_truth(mediaeval: Path, reference: Reference):
    from_list = read_reference(mediaeval / "official" / "autotagging_moodtheme-split0-test.tsv", reference.tags)
    assert np.array_equal(from_list.ground_truth, reference.ground_truth)
    assert from_list.left_out_tags == ()
    assert len(set(reference.artists or ())) == 327


@pytest.mark.parametrize("system", [*RUNS, "popular", "random", "vggish"])
def test_the_ten_published_scores_to_six_decimals(mediaeval: Path, reference: Reference, system: str):
    decisions = read_decisions(file_of(mediaeval, system, "decisions"), reference)
    # The popularity baseline has no predictions: its decisions serve.
    kind = "decisions" if system == "popular" else "prediction"
    probabilities = read_predictions(file_of(mediaeval, system, kind), reference).probabilities
    scores = evaluate(reference.ground_truth, probabilities, reference.tags, decisions=decisions).official()
    wanted = published(mediaeval, system)
    assert len(wanted) == 10
    assert {name: f"{value:.6f}" for name, value in scores.items()} == wanted


@pytest.mark.parametrize("system", RUNS)
def test_every_published_run_is_found_out(mediaeval: Path, reference: Reference, system: str):
    _, macro, micro, cells = RUNS[system]
    evidence = Evidence(
        decisions=read_decisions(file_of(mediaeval, system, "decisions"), reference),
        thresholds=read_thresholds(file_of(mediaeval, system, "thresholds")),
        artists=reference.artists,
        track_ids=reference.track_ids,
    )
    probabilities = read_predictions(file_of(mediaeval, system, "prediction"), reference).probabilities
    order, fitted, keyed = audit(reference.ground_truth, probabilities, reference.tags, evidence)
    assert (order.kind, order.level) == ("thresholds-in-another-order", "error")
    assert order.evidence["cells"] == CELLS
    assert order.evidence["differ_by_reading"] == 0
    assert order.evidence["differ_by_name"] == cells
    assert round(order.would_be["F-score-macro"], 4) == pytest.approx(macro, abs=1.01e-4)
    assert round(order.would_be["F-score-micro"], 4) == pytest.approx(micro, abs=1.01e-4)
    assert (fitted.kind, fitted.evidence["same_tags"]) == ("thresholds-fitted-on-truth", 56)
    assert keyed.kind == "rows-not-keyed"


def test_the_baseline_is_an_oracle_in_the_right_order(mediaeval: Path, reference: Reference):
    evidence = Evidence(
        decisions=read_decisions(file_of(mediaeval, "vggish", "decisions"), reference),
        thresholds=read_thresholds(file_of(mediaeval, "vggish", "thresholds")),
    )
    probabilities = read_predictions(file_of(mediaeval, "vggish", "prediction"), reference).probabilities
    findings = audit(reference.ground_truth, probabilities, reference.tags, evidence)
    assert [finding.kind for finding in findings] == ["thresholds-fitted-on-truth", "rows-not-keyed"]


def test_the_strict_comparison_costs_the_baseline_seven_thousandths(mediaeval: Path, reference: Reference):
    probabilities = read_predictions(file_of(mediaeval, "vggish", "prediction"), reference).probabilities
    fitted = fit_thresholds(reference.ground_truth, probabilities, reference.tags)
    strict = decide(probabilities, fitted, reference.tags)
    level = probabilities >= reference.tags.vector(fitted)
    assert score_decisions(reference.ground_truth, strict, reference.tags).macro.f_score == pytest.approx(
        0.1657, abs=5e-5
    )
    assert score_decisions(reference.ground_truth, level, reference.tags).macro.f_score == pytest.approx(
        0.1728, abs=5e-5
    )


def test_the_mean_of_the_runs_is_ahead_of_each(mediaeval: Path, reference: Reference):
    runs = [read_predictions(file_of(mediaeval, run, "prediction"), reference).probabilities for run in RUNS]
    scores = evaluate(reference.ground_truth, mean_of(runs), reference.tags).macro
    assert scores.roc_auc == pytest.approx(0.7365, abs=5e-5)
    assert scores.pr_auc == pytest.approx(0.1188, abs=5e-5)


def test_seventeen_pairs_begin_alike_and_fourteen_are_one_recording(mediaeval: Path, reference: Reference):
    runs = [read_predictions(file_of(mediaeval, run, "prediction"), reference).probabilities for run in RUNS]
    baseline = read_predictions(file_of(mediaeval, "vggish", "prediction"), reference).probabilities
    assert len(find_duplicates(runs)) == 17
    # Three of them are of different length: they share only the first segment, all that the runs hear.
    whole = find_duplicates(runs, reference.durations_seconds)
    assert len(whole) == 14
    assert find_duplicates([baseline]) == whole


def test_a_thousand_resamples_of_the_full_size_take_seconds(mediaeval: Path, reference: Reference):
    probabilities = read_predictions(file_of(mediaeval, "vggish", "prediction"), reference).probabilities
    counts = resample_counts(4231, 1000, seed=0)
    drawn = resample_ranks(reference.ground_truth, probabilities, reference.tags, counts)
    low, high = np.quantile(drawn.roc_auc_macro, [0.025, 0.975])
    assert high - low == pytest.approx(0.015, abs=0.001)
