"""Intervals: the fast weighted areas are scikit-learn's, and the intervals cover what they say."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from moodbook.errors import DataError
from moodbook.evaluation.intervals import (
    Interval,
    bootstrap,
    interval,
    mean_of_defined,
    rank_areas,
    resample_counts,
    resample_decisions,
    resample_ranks,
)
from moodbook.evaluation.metrics import evaluate, score_decisions
from moodbook.tags import TagSet


def random_matrix(seed: int) -> tuple[np.ndarray, np.ndarray, TagSet]:
    """Truth and scores of every kind: many ties or none, float32, rare and common tags."""
    generator = np.random.default_rng(seed)
    tracks, n_tags = int(generator.integers(4, 60)), int(generator.integers(1, 4))
    truth = generator.random((tracks, n_tags)) < generator.uniform(0.05, 0.6)
    for column in range(n_tags):
        truth[generator.choice(tracks, 2, replace=False), column] = [True, False]
    scores = generator.normal(size=(tracks, n_tags)) + generator.uniform(0, 2) * truth
    digits = generator.choice([0, 1, 9])
    scores = scores.round(int(digits))
    if generator.random() < 0.5:
        scores = scores.astype(np.float32)
    return truth, scores, TagSet(tuple(f"t{k}" for k in range(n_tags)))


def test_a_thousand_matrices_agree_with_scikit_learn():
    for seed in range(1000):
        truth, scores, tags = random_matrix(seed)
        ranks = resample_ranks(truth, scores, tags, np.ones((len(truth), 1), np.int32))
        # One tag of each matrix, and all cells of every fifth: scikit-learn takes its time.
        k = seed % len(tags)
        assert ranks.roc_auc_per_tag[0, k] == pytest.approx(roc_auc_score(truth[:, k], scores[:, k]), abs=1e-12)
        assert ranks.pr_auc_per_tag[0, k] == pytest.approx(
            average_precision_score(truth[:, k], scores[:, k]), abs=1e-12
        )
        if seed % 5 == 0:
            cells = truth.ravel(), scores.ravel()
            assert ranks.roc_auc_micro[0] == pytest.approx(roc_auc_score(*cells), abs=1e-12)
            assert ranks.pr_auc_micro[0] == pytest.approx(average_precision_score(*cells), abs=1e-12)


def test_counts_are_scikit_learns_sample_weights():
    for seed in range(60):
        truth, scores, _ = random_matrix(seed)
        counts = np.random.default_rng(seed).integers(0, 4, size=(len(truth), 3), dtype=np.int32)
        areas = rank_areas(truth[:, 0], scores[:, 0], counts)
        for column in range(3):
            weights = counts[:, column]
            drawn = weights > 0
            if len(np.unique(truth[drawn, 0])) < 2:
                continue
            wanted = roc_auc_score(truth[drawn, 0], scores[drawn, 0], sample_weight=weights[drawn])
            assert areas.roc_auc[column] == pytest.approx(wanted, abs=1e-12)
            wanted = average_precision_score(truth[drawn, 0], scores[drawn, 0], sample_weight=weights[drawn])
            assert areas.pr_auc[column] == pytest.approx(wanted, abs=1e-12)


def test_a_resample_scores_as_its_repeated_tracks_do():
    truth, scores, tags = random_matrix(11)
    counts = resample_counts(len(truth), 5, seed=2)
    ranks = resample_ranks(truth, scores, tags, counts)
    decisions = scores > 0.5
    decided = resample_decisions(truth, decisions, counts)
    for column in range(5):
        rows = np.repeat(np.arange(len(truth)), counts[:, column])
        drawn = evaluate(truth[rows], scores[rows], tags, decisions=decisions[rows])
        assert ranks.roc_auc_macro[column] == pytest.approx(drawn.macro.roc_auc, abs=1e-12, nan_ok=True)
        assert ranks.pr_auc_micro[column] == pytest.approx(drawn.micro.pr_auc, abs=1e-12)
        for name, values in decided.by_name().items():
            assert values[column] == pytest.approx(drawn.official()[name], abs=1e-12)


def test_blocks_of_resamples_change_nothing(monkeypatch: pytest.MonkeyPatch):
    truth, scores, tags = random_matrix(5)
    counts = resample_counts(len(truth), 50, seed=0)
    whole = resample_ranks(truth, scores, tags, counts)
    monkeypatch.setattr("moodbook.evaluation.intervals.BLOCK_BYTES", 1)
    pieces = resample_ranks(truth, scores, tags, counts)
    np.testing.assert_allclose(whole.roc_auc_per_tag, pieces.roc_auc_per_tag, rtol=1e-14)
    np.testing.assert_allclose(whole.pr_auc_micro, pieces.pr_auc_micro, rtol=1e-14)


def test_a_resample_without_positives_is_undefined_not_wrong():
    truth = np.array([True, False, False])
    counts = np.array([[0, 1], [2, 1], [1, 1]], dtype=np.int32)
    areas = rank_areas(truth, np.array([0.9, 0.5, 0.1]), counts)
    assert math.isnan(areas.roc_auc[0])
    assert math.isnan(areas.pr_auc[0])
    assert (areas.roc_auc[1], areas.pr_auc[1]) == (1.0, 1.0)
    nobody = rank_areas(np.zeros(3, bool), np.array([0.9, 0.5, 0.1]), counts)
    assert np.isnan(nobody.roc_auc).all()
    assert np.isnan(nobody.pr_auc).all()


def test_macro_leaves_undefined_tags_out():
    values = np.array([[0.5, np.nan, 1.0], [np.nan, np.nan, np.nan]])
    assert mean_of_defined(values)[0] == 0.75
    assert math.isnan(mean_of_defined(values)[1])


def test_artists_are_drawn_whole():
    artists = ["a", "b", "a", "c", "b"]
    counts = resample_counts(5, 200, seed=1, groups=artists)
    assert np.array_equal(counts[0], counts[2])
    assert np.array_equal(counts[1], counts[4])
    assert np.array_equal(counts[[0, 1, 3]].sum(axis=0), np.full(200, 3))
    tracks = resample_counts(5, 200, seed=1)
    assert np.array_equal(tracks.sum(axis=0), np.full(200, 5))
    assert tracks.mean() == 1.0


def test_the_seed_fixes_the_draw():
    assert np.array_equal(resample_counts(30, 20, seed=7), resample_counts(30, 20, seed=7))
    assert not np.array_equal(resample_counts(30, 20, seed=7), resample_counts(30, 20, seed=8))


def test_the_interval_stands_round_the_estimate():
    resampled = np.random.default_rng(0).normal(0.6, 0.01, 20_000)
    ends = interval(0.5, resampled)  # The resamples' bias of .1 is taken out.
    assert ends.low == pytest.approx(0.5 - 0.0196, abs=5e-4)
    assert ends.high == pytest.approx(0.5 + 0.0196, abs=5e-4)
    assert ends.width == pytest.approx(0.0392, abs=1e-3)


def test_intervals_keep_to_what_is_possible():
    resampled = np.array([0.8, 0.9, 1.0, 1.0])
    assert interval(0.99, resampled).high == 1.0
    assert interval(0.1, resampled, bounded=False).low == pytest.approx(np.quantile(resampled, 0.025) - 0.925 + 0.1)
    assert math.isnan(interval(math.nan, resampled).low)
    assert math.isnan(interval(0.5, np.full(3, np.nan)).high)
    assert interval(0.5, np.array([0.5, np.nan, 0.5])) == Interval(0.5, 0.5)


def test_an_interval_holds_its_score():
    # One resample in a hundred scores 0, all others 1: both quantiles lie above the mean.
    resampled = np.ones(1000)
    resampled[::100] = 0.0
    assert interval(1.0, resampled) == Interval(1.0, 1.0)
    assert interval(0.0, 1.0 - resampled) == Interval(0.0, 0.0)
    ends = interval(0.0, resampled - 1.0, bounded=False)
    assert (ends.low, ends.high) == (0.0, pytest.approx(0.01))


def test_bootstrap_names_what_it_gives():
    truth, scores, tags = random_matrix(21)
    decisions = scores > 0
    found = bootstrap(truth, scores, tags, decisions=decisions, resamples=200)
    official = evaluate(truth, scores, tags, decisions=decisions).official()
    assert set(found) == set(official)
    for name, ends in found.items():
        assert 0 <= ends.low <= official[name] <= ends.high <= 1
    assert "F-score-macro" not in bootstrap(truth, scores, tags, resamples=10)


def test_resemblance_among_an_artists_tracks_widens_the_interval():
    generator = np.random.default_rng(0)
    artist = np.repeat(np.arange(30), 10)
    truth = (generator.random(30) < 0.4)[artist][:, None]
    scores = (generator.normal(size=30)[artist] + 0.5 * truth[:, 0])[:, None]
    tags = TagSet(("calm",))
    over_tracks = bootstrap(truth, scores, tags, resamples=400)["ROC-AUC-macro"]
    over_artists = bootstrap(truth, scores, tags, resamples=400, groups=[str(a) for a in artist])["ROC-AUC-macro"]
    assert over_artists.width > 2 * over_tracks.width


@pytest.mark.parametrize(
    ("tracks", "groups", "message"),
    [(1, None, "two tracks at least, got 1"), (3, ["a"] * 3, "two groups"), (3, ["a", "b"], "each of 3 tracks, got 2")],
)
def test_what_cannot_be_drawn_from_is_refused(tracks: int, groups: list[str] | None, message: str):
    with pytest.raises(DataError, match=message):
        resample_counts(tracks, 10, seed=0, groups=groups)


@pytest.mark.usefixtures("unchecked")
def test_counts_of_other_tracks_are_refused():
    truth, scores, tags = random_matrix(1)
    with pytest.raises(DataError, match=rf"counts: expected {len(truth)} rows"):
        resample_ranks(truth, scores, tags, resample_counts(len(truth) + 1, 3, seed=0))


@pytest.mark.slow
def test_intervals_cover_the_mean_score_of_such_test_sets():
    """The target is the mean score over test sets of this size; 250 test sets, each with its own interval."""
    tags, tracks = TagSet(tuple(f"t{k}" for k in range(12))), 700
    frequency = np.random.default_rng(1).uniform(0.02, 0.1, 12)
    generator = np.random.default_rng(0)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        truth = generator.random((tracks, 12)) < frequency
        return truth, generator.normal(size=truth.shape) + truth

    def scores(truth: np.ndarray, given: np.ndarray, counts: np.ndarray) -> np.ndarray:
        ranks, decided = resample_ranks(truth, given, tags, counts), resample_decisions(truth, given > 1.5, counts)
        return np.stack([ranks.roc_auc_macro, ranks.pr_auc_macro, ranks.pr_auc_micro, decided.f_macro])

    once = np.ones((tracks, 1), np.int32)
    target = np.mean([scores(*draw(), once)[:, 0] for _ in range(1500)], axis=0)
    covered = np.zeros(4)
    for seed in range(250):
        truth, given = draw()
        estimate = scores(truth, given, once)[:, 0]
        resampled = scores(truth, given, resample_counts(tracks, 300, seed))
        found = [interval(float(one), values) for one, values in zip(estimate, resampled, strict=True)]
        covered += [ends.low <= wanted <= ends.high for ends, wanted in zip(found, target, strict=True)]
    assert (covered / 250 > 0.90).all()


def test_score_decisions_agrees_with_the_resampled_f():
    for seed in range(100):
        truth, scores, tags = random_matrix(seed)
        decisions = scores > 0.3
        wanted = score_decisions(truth, decisions, tags)
        found = resample_decisions(truth, decisions, np.ones((len(truth), 1), np.int32))
        for name, values in found.by_name().items():
            figure, average = name.rsplit("-", 1)
            field = {"F-score": "f_score"}.get(figure, figure)
            assert values[0] == pytest.approx(getattr(getattr(wanted, average), field), abs=1e-12)


def test_nothing_warns_on_rare_tags():
    truth = np.zeros((50, 3), bool)
    truth[0] = True
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranks = resample_ranks(
            truth, np.random.default_rng(0).random((50, 3)), TagSet(("a", "b", "c")), resample_counts(50, 100, seed=0)
        )
    assert np.isnan(ranks.roc_auc_macro).any()
