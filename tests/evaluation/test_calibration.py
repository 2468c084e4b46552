"""Calibration: bins of equal mass, and an error that is zero only where probabilities come true."""

from __future__ import annotations

import numpy as np
import pytest

from moodbook.errors import DataError
from moodbook.evaluation.calibration import expected_calibration_error, reliability_curve


def test_a_curve_worked_by_hand():
    truth = np.array([False, False, True, False, True, True])
    probabilities = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    curve = reliability_curve(truth, probabilities, bins=2)
    assert curve.probability == pytest.approx([0.2, 0.7])
    assert curve.frequency == pytest.approx([1 / 3, 2 / 3])
    assert curve.cells.tolist() == [3, 3]
    assert curve.expected_error == pytest.approx(0.5 * (1 / 3 - 0.2) + 0.5 * (0.7 - 2 / 3))


def test_probabilities_that_come_true_have_almost_no_error():
    generator = np.random.default_rng(0)
    probabilities = generator.beta(0.5, 8, size=(20_000, 4))
    truth = generator.random(probabilities.shape) < probabilities
    assert expected_calibration_error(truth, probabilities) < 0.003
    assert expected_calibration_error(truth, probabilities**0.5) > 0.1
    assert expected_calibration_error(truth, probabilities * 0.5) == pytest.approx(probabilities.mean() / 2, rel=0.05)


def test_bins_hold_equally_many_cells_and_never_part_equal_scores():
    generator = np.random.default_rng(1)
    curve = reliability_curve(generator.random(1500) < 0.1, generator.random(1500) ** 4)
    assert curve.cells.tolist() == [100] * 15
    tied = reliability_curve(np.arange(100) % 2 == 0, np.repeat([0.2, 0.9], [97, 3]))
    assert tied.cells.tolist() == [97, 3]
    assert tied.probability == pytest.approx([0.2, 0.9])


def test_constant_probabilities_are_one_bin():
    curve = reliability_curve(np.array([True, False, False, False]), np.full(4, 0.25))
    assert curve.cells.tolist() == [4]
    assert curve.expected_error == 0.0


@pytest.mark.parametrize("values", [[0.5, 1.01], [-0.1, 0.5], [np.nan, 0.5]])
def test_what_is_no_probability_is_refused(values: list[float]):
    with pytest.raises(DataError, match=r"expected probabilities in \[0, 1\]"):
        reliability_curve(np.array([True, False]), np.array(values))


def test_nothing_is_refused():
    with pytest.raises(DataError, match="at least one cell"):
        reliability_curve(np.zeros(0, bool), np.zeros(0))
