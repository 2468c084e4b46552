"""Whether a probability of 0.2 comes true one time in five.

The bins hold equally many cells each: tags are rare, and bins of equal width would put nearly every cell into the
first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

from moodbook.errors import DataError

BINS = 15
"""Bins of a reliability curve, as in Guo et al. 2017."""


@dataclass(frozen=True)
class ReliabilityCurve:
    """Mean probability against observed frequency, bin by bin, from the lowest probabilities to the highest."""

    probability: Float[np.ndarray, " bins"]
    """Mean probability of the cells of a bin."""
    frequency: Float[np.ndarray, " bins"]
    """Share of those cells that have the tag."""
    cells: Int64[np.ndarray, " bins"]
    """How many cells the bin holds."""

    @property
    def expected_error(self) -> float:
        """Expected calibration error: mean over cells of their bin's |frequency - probability|."""
        return float(np.average(np.abs(self.frequency - self.probability), weights=self.cells))


def reliability_curve(
    ground_truth: Bool[np.ndarray, "*cells"], probabilities: Float[np.ndarray, "*cells"], bins: int = BINS
) -> ReliabilityCurve:
    """Compare probabilities with what happened.

    Args:
        ground_truth: Which cells have the tag; any shape, all cells are pooled.
        probabilities: Probability of each cell.
        bins: How many bins of (nearly) equally many cells. Equal probabilities are never split between bins, so there
            may be fewer.

    Raises:
        DataError: There is no cell, or a probability lies outside [0, 1].
    """
    truth, values = ground_truth.ravel(), probabilities.ravel().astype(np.float64)
    if not len(values):
        raise DataError("calibration: expected at least one cell, got none")
    if not ((values >= 0) & (values <= 1)).all():
        raise DataError(
            f"calibration: expected probabilities in [0, 1], got {values.min():g} to {values.max():g}; "
            "calibration is not defined for other scores"
        )
    order = np.argsort(values, kind="stable")
    truth, values = truth[order], values[order]
    wanted = np.arange(bins) * len(values) // bins
    # A bin begins where a new value does: before or after the run of equal values, whichever is nearer.
    before = np.searchsorted(values, values[wanted], side="left")
    after = np.searchsorted(values, values[wanted], side="right")
    starts = np.unique(np.where(wanted - before <= after - wanted, before, after))
    starts = starts[starts < len(values)]
    cells = np.diff(np.append(starts, len(values)))
    return ReliabilityCurve(
        np.add.reduceat(values, starts) / cells,
        np.add.reduceat(truth.astype(np.float64), starts) / cells,
        cells.astype(np.int64),
    )


def expected_calibration_error(
    ground_truth: Bool[np.ndarray, "*cells"], probabilities: Float[np.ndarray, "*cells"], bins: int = BINS
) -> float:
    """Compute the expected calibration error over all cells.

    Raises:
        DataError: There is no cell, or a probability lies outside [0, 1].

    Source:
        Naeini, Cooper and Hauskrecht 2015; Guo, Pleiss, Sun and Weinberger 2017, equation 3, here with bins of equal
        mass (Nguyen and O'Connor 2015).
    """
    return reliability_curve(ground_truth, probabilities, bins).expected_error
