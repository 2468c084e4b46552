"""Where a system goes wrong, without any threshold: which tags mislead which columns, and which tracks fare worst."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from moodbook.evaluation.tag_axis import roc_auc_matrix, scipy_stats

MIN_TRACKS = 5
"""Pairs of tags seen on fewer tracks say nothing."""


@dataclass(frozen=True)
class Confusions:
    """For every ordered pair of tags: how often they go together, and how far one draws the other's score."""

    lift: Float[np.ndarray, "tags tags"]
    """[a, b]: how many times more frequent b is among tracks with a than among all; NaN on the diagonal."""
    pull: Float[np.ndarray, "tags tags"]
    """[a, b]: among tracks *without* b, the ROC-AUC of column b for tag a: 0.5, a does not draw b; 1, always. NaN
    where too few tracks have a and not b."""
    tracks: Float[np.ndarray, "tags tags"]
    """[a, b]: tracks with a and without b."""

    def correlation(self) -> float:
        """Rank correlation of lift and pull over all pairs: how far errors follow co-occurrence."""
        known = ~np.isnan(self.pull) & ~np.isnan(self.lift)
        if known.sum() < 3 or np.ptp(self.lift[known]) == 0 or np.ptp(self.pull[known]) == 0:
            return float("nan")
        return float(scipy_stats().spearmanr(self.lift[known], self.pull[known]).statistic)


@dataclass(frozen=True)
class TrackRank:
    """How one track fares."""

    row: int
    mean_percentile: float
    """Mean over its tags; 0.5 is what a system without any skill gives."""
    tags: tuple[tuple[int, float], ...]
    """Each tag of the track, with the share of tracks that score lower for it."""
    instead: tuple[tuple[int, float], ...]
    """The tags it has not that it scores highest for, likewise."""


def find_confusions(
    ground_truth: Bool[np.ndarray, "tracks tags"], probabilities: Float[np.ndarray, "tracks tags"]
) -> Confusions:
    """Compare which tags go together with which tags draw each other's scores.

    Raises:
        DependencyError: scipy (it comes with scikit-learn) is not installed.
    """
    n_tags = ground_truth.shape[1]
    truth = ground_truth.astype(np.float64)
    together = truth.T @ truth
    support = np.diag(together)
    with np.errstate(invalid="ignore", divide="ignore"):
        lift = together / support[:, None] / (support[None, :] / len(truth))
    tracks = support[:, None] - together
    pull = np.full((n_tags, n_tags), np.nan)
    for column in range(n_tags):
        without = ~ground_truth[:, column]
        if without.any():
            pull[:, column] = roc_auc_matrix(ground_truth[without], probabilities[without, column : column + 1])[0]
    pull[tracks < MIN_TRACKS] = np.nan
    np.fill_diagonal(pull, np.nan)
    np.fill_diagonal(lift, np.nan)
    return Confusions(lift, pull, tracks)


def rank_tracks(
    ground_truth: Bool[np.ndarray, "tracks tags"], probabilities: Float[np.ndarray, "tracks tags"], worst: int
) -> tuple[TrackRank, ...]:
    """Find the tracks whose own tags score lowest among all tracks, the worst first.

    Scores are compared within a tag, so that rare tags do not make a track look bad.

    Raises:
        DependencyError: scipy (it comes with scikit-learn) is not installed.
    """
    percentile = (scipy_stats().rankdata(probabilities, axis=0) - 0.5) / len(probabilities)
    counts = ground_truth.sum(axis=1)
    mean = np.divide(
        (percentile * ground_truth).sum(axis=1), counts, out=np.full(len(counts), np.inf), where=counts > 0
    )
    ranks = []
    for row in np.argsort(mean, kind="stable")[:worst]:
        if not counts[row]:
            break
        own = np.flatnonzero(ground_truth[row])
        other = np.flatnonzero(~ground_truth[row])
        strongest = other[np.argsort(-percentile[row, other], kind="stable")[:3]]
        ranks.append(
            TrackRank(
                int(row),
                float(mean[row]),
                tuple((int(k), float(percentile[row, k])) for k in own),
                tuple((int(k), float(percentile[row, k])) for k in strongest),
            )
        )
    return tuple(ranks)
