"""Intervals of a report: centred on the score, wider where tracks are drawn in groups, none where nothing can be."""

from __future__ import annotations

import numpy as np

from moodbook.evaluation.calibration import expected_calibration_error
from moodbook.evaluation.metrics import evaluate
from moodbook.tags import TagSet
from moodbook.training.report import calibration_interval, score_intervals

TAGS = TagSet(("dark", "epic", "calm"))


def drawn() -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Forty tracks of ten artists, each of whose tracks are alike."""
    random = np.random.default_rng(3)
    truth = np.repeat(random.random((10, 3)) < 0.4, 4, axis=0)
    scores = np.clip(np.repeat(random.random((10, 3)) * 0.8, 4, axis=0) + 0.2 * truth, 0, 1)
    return truth, scores, [f"artist {row // 4}" for row in range(40)]


def test_an_interval_holds_its_score_and_is_wider_over_groups() -> None:
    truth, scores, groups = drawn()
    decisions = scores > 0.5
    official = evaluate(truth, scores, TAGS, decisions=decisions)
    alone = score_intervals(truth, scores, decisions, TAGS, 0, None)
    together = score_intervals(truth, scores, decisions, TAGS, 0, groups)
    for average in ("macro", "micro"):
        assert set(together[average]) == {"roc_auc", "pr_auc", "precision", "recall", "f_score"}
        for figure, around in together[average].items():
            assert around.low <= getattr(getattr(official, average), figure) <= around.high
            assert around.width > alone[average][figure].width


def test_the_calibration_error_has_an_interval_too() -> None:
    truth, scores, groups = drawn()
    around, alone = calibration_interval(truth, scores, 0, groups), calibration_interval(truth, scores, 0, None)
    assert around is not None
    assert alone is not None
    assert around.low < expected_calibration_error(truth, scores) < around.high
    assert around.width > alone.width


def test_one_track_or_one_group_has_no_interval() -> None:
    truth, scores, _ = drawn()
    assert score_intervals(truth[:1], scores[:1], scores[:1] > 0.5, TAGS, 0, None) == {}
    assert score_intervals(truth, scores, scores > 0.5, TAGS, 0, ["one"] * 40) == {}
    assert calibration_interval(truth, scores, 0, ["one"] * 40) is None
