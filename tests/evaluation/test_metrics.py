"""Scores: worked by hand, at the edges, and refused where the input is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest

from moodbook.errors import DataError, DependencyError
from moodbook.evaluation.metrics import PrecisionRecallF, evaluate, pr_auc, roc_auc, score_decisions
from moodbook.tags import TagSet

TAGS = TagSet(("calm", "happy"))
TRUTH = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=bool)
SCORES = np.array([[0.9, 0.1], [0.4, 0.8], [0.4, 0.3], [0.2, 0.2]])


def test_scores_worked_by_hand():
    scores = evaluate(TRUTH, SCORES, TAGS, thresholds={"calm": 0.4, "happy": 0.15})
    calm, happy = scores.per_tag
    # calm: positives .9 and .4, negatives .4 and .2: three pairs won, one tie.
    assert calm.roc_auc == pytest.approx(3.5 / 4)
    # calm: .9 found at 1/1, then .4 together with a negative at 2/3.
    assert calm.pr_auc == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert (calm.precision, calm.recall) == (1.0, 0.5)
    assert calm.f_score == pytest.approx(2 / 3)
    # happy: .8 beats both negatives, .2 beats .1 alone.
    assert happy.roc_auc == pytest.approx(3 / 4)
    assert happy.pr_auc == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert happy.f_score == pytest.approx(2 * (2 / 3) / (1 + 2 / 3))
    assert scores.macro.f_score == pytest.approx((calm.f_score + happy.f_score) / 2)
    # micro: 3 hits of 4 decided, 4 to find.
    assert scores.micro.precision == pytest.approx(3 / 4)
    assert scores.micro.recall == pytest.approx(3 / 4)
    assert [one.support for one in scores.per_tag] == [2, 2]
    assert scores.tracks == 4
    assert scores.warnings == ()


def test_a_score_equal_to_its_threshold_is_not_decided():
    decided = evaluate(TRUTH, SCORES, TAGS, thresholds={"calm": 0.9, "happy": 0.8})
    assert decided.macro.recall == 0.0
    just_below = evaluate(TRUTH, SCORES, TAGS, thresholds={"calm": 0.9 - 1e-12, "happy": 0.8 - 1e-12})
    assert just_below.macro.recall == 0.5


def test_perfect_is_one_and_reversed_is_zero():
    perfect = evaluate(TRUTH, TRUTH.astype(float), TAGS, decisions=TRUTH)
    assert set(perfect.official().values()) == {1.0}
    assert evaluate(TRUTH, -TRUTH.astype(float), TAGS).macro.roc_auc == 0.0


def test_constant_scores_are_chance():
    scores = evaluate(TRUTH, np.full((4, 2), 0.3), TAGS)
    assert scores.macro.roc_auc == 0.5
    assert scores.macro.pr_auc == 0.5  # The frequency of both tags.


def test_official_names_are_those_of_the_results_file():
    names = set(evaluate(TRUTH, SCORES, TAGS, decisions=TRUTH).official())
    assert names == {
        f"{score}-{average}"
        for score in ("ROC-AUC", "PR-AUC", "precision", "recall", "F-score")
        for average in ("macro", "micro")
    }


def test_a_tag_nobody_has_is_left_out_and_said():
    tags = TagSet(("calm", "happy", "eerie"))
    truth = np.column_stack([TRUTH, np.zeros(4, bool)])
    scores = evaluate(truth, np.column_stack([SCORES, [0.1, 0.2, 0.3, 0.4]]), tags, decisions=truth)
    assert math.isnan(scores.per_tag[2].roc_auc)
    assert math.isnan(scores.per_tag[2].pr_auc)
    assert scores.macro.roc_auc == evaluate(TRUTH, SCORES, TAGS).macro.roc_auc
    assert scores.macro.f_score == pytest.approx(2 / 3)  # 0/0 counts as 0.
    assert len(scores.warnings) == 1
    assert "eerie" in scores.warnings[0]
    assert scores.to_json()["per_tag"][2]["roc_auc"] is None


def test_a_tag_everybody_has_is_said():
    tags = TagSet(("calm", "music"))
    truth = np.column_stack([TRUTH[:, 0], np.ones(4, bool)])
    scores = evaluate(truth, SCORES, tags)
    assert math.isnan(scores.per_tag[1].roc_auc)
    assert scores.per_tag[1].pr_auc == 1.0
    assert any("every track has music" in warning for warning in scores.warnings)


def test_without_decisions_f_is_undefined_and_said():
    scores = evaluate(TRUTH, SCORES, TAGS)
    assert math.isnan(scores.macro.f_score)
    assert math.isnan(scores.micro.precision)
    assert "neither decisions nor thresholds" in scores.warnings[0]


def test_one_tag_is_not_taken_for_a_binary_problem():
    one = TagSet(("calm",))
    truth, decided = TRUTH[:, :1], np.array([[1], [0], [0], [0]], dtype=bool)
    scores = score_decisions(truth, decided, one)
    assert scores.macro == scores.micro == scores.per_tag["calm"] == by_counting(truth, decided)


def by_counting(truth: np.ndarray, decided: np.ndarray) -> PrecisionRecallF:
    hits = int((truth & decided).sum())
    precision, recall = hits / int(decided.sum()), hits / int(truth.sum())
    return PrecisionRecallF(precision, recall, 2 * precision * recall / (precision + recall))


def test_float32_and_float64_score_alike():
    generator = np.random.default_rng(0)
    truth = generator.random((200, 2)) < 0.3
    single = generator.random((200, 2)).astype(np.float32)
    assert evaluate(truth, single, TAGS).official() == pytest.approx(
        evaluate(truth, single.astype(np.float64), TAGS).official(), nan_ok=True, abs=1e-15
    )


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        (TRUTH, SCORES[:, :1], r"probabilities: expected shape \(tracks, 2\) for the 2 tags, got \(4, 1\)"),
        (TRUTH[:3], SCORES, r"probabilities: expected 3 rows as in the ground truth, got 4"),
        (TRUTH[0], SCORES, r"ground truth: expected shape"),
        (TRUTH.astype(int), SCORES, r"ground truth: expected bool, got int64"),
        (TRUTH, SCORES > 0.5, r"probabilities: expected floating point, got bool"),
        (TRUTH[:0], SCORES[:0], r"at least one track, got none"),
        (TRUTH, np.where(SCORES == 0.8, np.nan, SCORES), r"got 1 that are not; the first is nan in row 1, tag 'happy'"),
        (TRUTH, np.where(SCORES == 0.1, np.inf, SCORES), r"the first is inf in row 0, tag 'happy'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_input_is_refused(truth: np.ndarray, scores: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        evaluate(truth, scores, TAGS)


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        (TRUTH.astype(float), "decisions: expected bool, got float64"),
        (TRUTH[:2], "decisions: expected 4 rows"),
        (TRUTH[:, :1], "decisions: expected shape"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_decisions_are_refused(decisions: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        evaluate(TRUTH, SCORES, TAGS, decisions=decisions)


def test_decisions_and_thresholds_together_are_refused():
    with pytest.raises(DataError, match="give one of them"):
        evaluate(TRUTH, SCORES, TAGS, decisions=TRUTH, thresholds={"calm": 0.5, "happy": 0.5})


def test_single_metrics_are_nan_where_undefined():
    nobody = np.zeros(4, bool)
    assert math.isnan(roc_auc(nobody, SCORES[:, 0]))
    assert math.isnan(roc_auc(~nobody, SCORES[:, 0]))
    assert math.isnan(pr_auc(nobody, SCORES[:, 0]))


def test_absent_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.metrics", None)
    with pytest.raises(DependencyError, match=r"moodbook\[train\]"):
        evaluate(TRUTH, SCORES, TAGS)
