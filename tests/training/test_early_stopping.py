"""The rule of early stopping, on written-down figures."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from moodbook.training.early_stopping import EarlyStopping


def observe_all(state: EarlyStopping, figures: Iterable[float]) -> EarlyStopping:
    for figure in figures:
        state = state.observe(figure, loss=1.0)
    return state


def test_keeps_the_highest_and_its_epoch() -> None:
    state = observe_all(EarlyStopping(patience=3, higher_is_better=True), [0.5, 0.7, 0.6, 0.65])
    assert (state.best, state.best_epoch, state.epoch) == (0.7, 2, 4)
    assert not state.improved
    assert not state.should_stop


def test_keeps_the_lowest_of_a_loss() -> None:
    state = observe_all(EarlyStopping(patience=3, higher_is_better=False), [2.0, 1.0, 1.5])
    assert (state.best, state.best_epoch) == (1.0, 2)


def test_of_equal_epochs_the_first_is_best() -> None:
    state = observe_all(EarlyStopping(patience=2, higher_is_better=True), [0.5, 0.5, 0.5])
    assert state.best_epoch == 1
    assert state.should_stop


def test_of_epochs_with_the_same_figure_the_smallest_loss_is_best() -> None:
    state = EarlyStopping(patience=2, higher_is_better=True)
    for figure, loss in ((1.0, 0.6), (1.0, 0.4), (0.9, 0.1), (1.0, 0.3), (1.0, 0.35)):
        state = state.observe(figure, loss)
    assert (state.best, state.best_epoch, state.loss) == (1.0, 4, 0.3)
    assert not state.should_stop
    assert state.observe(1.0, 0.3).should_stop


@pytest.mark.parametrize("patience", [1, 2, 10])
def test_stops_after_exactly_patience_epochs_without_a_better_one(patience: int) -> None:
    state = EarlyStopping(patience, higher_is_better=True).observe(0.9, 1.0)
    for waited in range(patience):
        assert not state.should_stop, waited
        state = state.observe(0.1, 1.0)
    assert state.should_stop


def test_a_better_epoch_starts_the_wait_anew() -> None:
    state = observe_all(EarlyStopping(patience=2, higher_is_better=True), [0.5, 0.4, 0.6, 0.5])
    assert not state.should_stop
    assert observe_all(state, [0.6]).should_stop


def test_nothing_is_best_before_the_first_epoch() -> None:
    state = EarlyStopping(patience=1, higher_is_better=True)
    assert not state.improved
    assert not state.should_stop
    assert state.observe(0.0, 1.0).improved
