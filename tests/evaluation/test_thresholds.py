"""Thresholds: the best F, strictly above, by name, in both file formats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moodbook.errors import DataError
from moodbook.evaluation.metrics import score_decisions
from moodbook.evaluation.thresholds import (
    cross_fit,
    decide,
    fit_precision_threshold,
    fit_thresholds,
    read_thresholds,
    write_thresholds,
)
from moodbook.tags import TagSet

TAGS = TagSet(("calm", "happy"))


def best_f_by_search(truth: np.ndarray, scores: np.ndarray) -> float:
    """The best F of any inclusive threshold: what the precision-recall curve is searched for."""
    best = 0.0
    for threshold in np.unique(scores):
        decided = scores >= threshold
        hits = (truth & decided).sum()
        best = max(best, 2 * hits / (truth.sum() + decided.sum()))
    return float(best)


def test_the_threshold_has_the_best_f_of_all():
    generator = np.random.default_rng(3)
    truth = generator.random((120, 2)) < 0.2
    scores = (generator.random((120, 2)) + 0.5 * truth).round(2)
    fitted = fit_thresholds(truth, scores, TAGS)
    for column, name in enumerate(TAGS):
        decided = scores[:, column] >= fitted[name]
        hits = (truth[:, column] & decided).sum()
        f_score = 2 * hits / (truth[:, column].sum() + decided.sum())
        assert f_score == pytest.approx(best_f_by_search(truth[:, column], scores[:, column]), abs=1e-12)


def test_ties_of_f_take_the_lowest_threshold():
    # F is 2/3 for .8 (1 of 1, 1 of 2) and for .2 (2 of 4, 2 of 2).
    truth = np.array([[True], [False], [False], [True]])
    scores = np.array([[0.8], [0.5], [0.3], [0.2]])
    assert fit_thresholds(truth, scores, TagSet(("calm",))) == {"calm": 0.2}


def test_strictly_above_drops_the_item_that_defines_the_threshold():
    truth = np.array([[True], [True], [False], [False]])
    scores = np.array([[0.9], [0.8], [0.3], [0.2]])
    tags = TagSet(("calm",))
    fitted = fit_thresholds(truth, scores, tags)
    assert fitted == {"calm": 0.8}
    assert decide(scores, fitted, tags).ravel().tolist() == [True, False, False, False]


def test_a_float32_score_is_not_above_itself():
    scores = np.array([[0.1, 0.2]], dtype=np.float32)
    own = {"calm": float(scores[0, 0]), "happy": float(scores[0, 1])}
    assert not decide(scores, own, TAGS).any()
    assert decide(scores, {"calm": 0.1, "happy": 0.2}, TAGS).all()  # The float32 values lie just above these.


def test_thresholds_apply_by_name_whatever_their_order():
    scores = np.array([[0.5, 0.5]])
    assert decide(scores, {"happy": 0.9, "calm": 0.1}, TAGS).tolist() == [[True, False]]


@pytest.mark.parametrize("given", [{"calm": 0.5}, {"calm": 0.5, "happy": 0.5, "sad": 0.5}])
def test_thresholds_of_other_tags_are_refused(given: dict[str, float]):
    with pytest.raises(DataError, match=r"missing|unexpected"):
        decide(np.zeros((1, 2)), given, TAGS)


def test_a_tag_without_positives_is_refused_or_never_decided():
    truth = np.array([[True, False], [False, False]])
    scores = np.array([[0.9, 0.4], [0.1, 1.7]])
    with pytest.raises(DataError, match="no track has happy"):
        fit_thresholds(truth, scores, TAGS)
    fitted = fit_thresholds(truth, scores, TAGS, without_positives="never")
    assert not decide(scores, fitted, TAGS)[:, 1].any()


def test_a_constant_column_decides_nothing():
    truth = np.array([[True, False], [False, True]])
    fitted = fit_thresholds(truth, np.full((2, 2), 0.25), TAGS)
    assert fitted == {"calm": 0.25, "happy": 0.25}
    assert not decide(np.full((2, 2), 0.25), fitted, TAGS).any()


def test_cross_fitted_thresholds_never_saw_their_tracks(simulated: Callable[..., Any]):
    given = simulated(1, tracks=400, tags=6, skill=0.7, plain=True)
    fit = cross_fit(given.ground_truth, given.probabilities, given.tags, seed=0)
    for side in (0, 1):
        here = fit.half == side
        refitted = fit_thresholds(
            given.ground_truth[~here], given.probabilities[~here], given.tags, without_positives="never"
        )
        assert fit.thresholds[side] == refitted
        assert np.array_equal(fit.decisions[here], decide(given.probabilities[here], refitted, given.tags))
    assert abs(int((fit.half == 0).sum()) - 200) <= 1


def test_cross_fit_keeps_an_artist_on_one_side(simulated: Callable[..., Any]):
    given = simulated(2, tracks=300, tags=6)
    fit = cross_fit(given.ground_truth, given.probabilities, given.tags, seed=4, groups=given.artists)
    sides: dict[str, set[int]] = {}
    for artist, half in zip(given.artists, fit.half.tolist(), strict=True):
        sides.setdefault(artist, set()).add(half)
    assert all(len(side) == 1 for side in sides.values())
    assert {0, 1} == set(fit.half.tolist())


def test_honest_f_is_below_the_oracle(simulated: Callable[..., Any]):
    given = simulated(5, tracks=600, tags=15, skill=0.6, plain=True)
    oracle = decide(
        given.probabilities, fit_thresholds(given.ground_truth, given.probabilities, given.tags), given.tags
    )
    honest = cross_fit(given.ground_truth, given.probabilities, given.tags, seed=0).decisions
    above = score_decisions(given.ground_truth, oracle, given.tags).macro.f_score
    assert score_decisions(given.ground_truth, honest, given.tags).macro.f_score < above


def test_cross_fit_refuses_what_it_cannot_halve():
    with pytest.raises(DataError, match="two groups"):
        cross_fit(np.ones((2, 2), bool), np.zeros((2, 2)), TAGS, seed=0, groups=["a", "a"])
    with pytest.raises(DataError, match="expected one for each of 2 tracks, got 1"):
        cross_fit(np.ones((2, 2), bool), np.zeros((2, 2)), TAGS, seed=0, groups=["a"])


@pytest.mark.parametrize("name", ["thresholds.json", "thresholds.txt"])
def test_files_round_trip_to_the_last_bit(tmp_path: Path, name: str):
    given = {"happy": 0.1 + 0.2, "calm": float(np.float32(0.1))}
    write_thresholds(tmp_path / name, given)
    read = read_thresholds(tmp_path / name)
    assert read == given
    assert list(read) == ["happy", "calm"]  # The order of the file is evidence.
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_official_text_is_read(tmp_path: Path):
    path = tmp_path / "t.txt"
    path.write_text("mood/theme---deep\t0.2896895706653595\r\nmood/theme---space\t0.08\r\n", encoding="utf-8")
    assert read_thresholds(path) == {"deep": 0.2896895706653595, "space": 0.08}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.json", '{"calm": 0.1, "calm": 0.2}', "'calm' stands twice"),
        ("t.json", '{"calm": "0.1"}', "expected a finite number, got '0.1'"),
        ("t.json", '{"calm": true}', "expected a finite number, got True"),
        ("t.json", '{"calm": NaN}', "expected a finite number, got nan"),
        ("t.json", "[0.1, 0.2]", "expected one JSON object"),
        ("t.json", "0.1", "expected one JSON object"),
        ("t.json", "{", "are not JSON"),
        ("t.json", "[" * 100_000, "are not JSON"),
        ("t.json", "{}", "are empty"),
        ("t.txt", "", "are empty"),
        ("t.txt", "calm 0.1\n", "line 1: expected a tag, a tab and a number"),
        ("t.txt", "calm\t0.1\nhappy\thigh\n", "line 2"),
        ("t.txt", "calm\t0.1\t0.2\n", "line 1"),
        ("t.txt", "calm\tinf\n", "expected a finite number, got inf"),
        ("t.txt", "calm\t0.1\nmood/theme---calm\t0.2\n", "'calm' stands twice"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, text: str, message: str):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_thresholds(path)


def test_unreadable_and_unwritable_files_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="cannot read the thresholds"):
        read_thresholds(tmp_path / "absent.json")
    (tmp_path / "latin.txt").write_bytes(b"calm\xff\t0.1\n")
    with pytest.raises(DataError, match="cannot read the thresholds"):
        read_thresholds(tmp_path / "latin.txt")
    with pytest.raises(DataError, match="cannot write the thresholds"):
        write_thresholds(tmp_path / "latin.txt" / "t.json", {"calm": 0.1})
    with pytest.raises(DataError, match="expected a finite number, got nan"):
        write_thresholds(tmp_path / "t.json", {"calm": float("nan")})


def test_one_threshold_reaches_the_precision_that_was_asked_for() -> None:
    random = np.random.default_rng(0)
    probabilities = random.random((200, 4))
    truth = random.random((200, 4)) < probabilities
    tags = TagSet(("a", "b", "c", "d"))
    values = {}
    for precision in (0.6, 0.7, 0.8):
        thresholds = fit_precision_threshold(truth, probabilities, tags, precision)
        decided = decide(probabilities, thresholds, tags)
        assert len(set(thresholds.values())) == 1
        assert truth[decided].mean() >= precision
        values[precision] = next(iter(thresholds.values()))
        # No lower one does: one more decision, in whatever number, falls short at every lower score.
        lower = np.unique(probabilities[probabilities < values[precision]])[:-1]
        assert all(truth[probabilities > value].mean() < precision for value in lower)
    assert values[0.6] < values[0.7] < values[0.8]


def test_a_precision_out_of_reach_decides_nothing() -> None:
    tags = TagSet(("a",))
    probabilities = np.linspace(0, 0.9, 40)[:, None]
    nothing_right = np.zeros((40, 1), dtype=bool)
    assert fit_precision_threshold(nothing_right, probabilities, tags, 0.5) == {"a": 1.0}
    # Nine right ones at the top are too few to stand for a precision.
    few = probabilities > probabilities[-10]
    assert fit_precision_threshold(few, probabilities, tags, 0.95) == {"a": 1.0}
