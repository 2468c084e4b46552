"""Batches: every example once an epoch, a pure function of the seed, equal to within one example."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodbook.training.examples import in_order, positions_in_turn
from moodbook.training.order import epoch_batches, epoch_starts, share_of_process, step_seed


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 5), st.integers(1, 4))
def test_an_epoch_holds_every_example_once(examples: int, batch_size: int, seed: int, epoch: int) -> None:
    batches = epoch_batches(examples, batch_size, seed, 1, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(examples))
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == -(-examples // batch_size)


def test_no_batch_of_one_is_left_over() -> None:
    assert [len(batch) for batch in epoch_batches(25, 12, 0, 1, 1)] == [9, 8, 8]


def test_the_order_depends_on_seed_step_and_epoch_alone() -> None:
    def order(seed: int, step: int, epoch: int) -> list[int]:
        return np.concatenate(epoch_batches(50, 12, seed, step, epoch)).tolist()

    assert order(0, 1, 1) == order(0, 1, 1)
    others = [order(1, 1, 1), order(0, 2, 1), order(0, 1, 2)]
    assert all(order(0, 1, 1) != other for other in others)


def test_starts_are_spread_and_drawn_anew_each_epoch() -> None:
    starts = epoch_starts(1000, 0, 1, 1)
    assert ((starts >= 0) & (starts < 1)).all()
    np.testing.assert_allclose(np.histogram(starts, 4, (0, 1))[0], 250, atol=60)
    assert (starts == epoch_starts(1000, 0, 1, 1)).all()
    for other in (epoch_starts(1000, 1, 1, 1), epoch_starts(1000, 0, 2, 1), epoch_starts(1000, 0, 1, 2)):
        assert (starts != other).all()


@given(st.integers(1, 40), st.integers(1, 8))
def test_the_shares_of_processes_make_up_the_batch(size: int, processes: int) -> None:
    rows = np.random.default_rng(0).permutation(size)
    shares = [share_of_process(rows, processes, process) for process in range(processes)]
    assert np.concatenate(shares).tolist() == rows.tolist()
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.integers(1, 50), st.integers(1, 9), st.integers(1, 5))
def test_scores_gathered_from_processes_come_back_in_order(examples: int, batch_size: int, processes: int) -> None:
    gathered = np.concatenate(
        [np.concatenate(positions_in_turn(examples, batch_size, processes, process)) for process in range(processes)]
    )
    assert in_order(gathered, examples, processes).tolist() == list(range(examples))


@pytest.mark.parametrize(("seed", "step"), [(0, 2), (1, 1)])
def test_each_step_has_random_numbers_of_its_own(seed: int, step: int) -> None:
    assert step_seed(seed, step) != step_seed(0, 1)
    assert step_seed(seed, step) == step_seed(seed, step)
