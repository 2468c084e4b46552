"""Calibration: two numbers that make probabilities come true as often as they say, folded into the output layer.

A classifier that has learned its training tracks by heart is too sure of others. ``sigmoid(a logit + b)`` with one
``a`` and one ``b`` for all tags, fitted on validation tracks as they are scored (the mean over their segments), takes
that back; ``a`` and ``b`` then become part of the output layer's weights and biases, so that nothing else changes.

Source:
    J. Platt: Probabilistic Outputs for Support Vector Machines, 1999, with the two numbers shared between the tags
    because a hundred tracks cannot carry two for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import nn

from moodbook.errors import TrainingError
from moodbook.networks.tagger import TaggingNetwork
from moodbook.training.examples import Examples

SLOPES = (0.05, 5.0)
"""Bounds of the slope: a negative one would turn the ranking round."""
_FLOOR = 1e-7  # Nothing is surer than this, so that the logarithm of a probability is finite.


@dataclass(frozen=True)
class Scaling:
    """What is done to every logit.

    Args:
        slope: What it is multiplied by; below 1 where the classifier was too sure.
        shift: What is added then.
    """

    slope: float
    shift: float


def fit_scaling(
    logits: Float32[np.ndarray, "examples tags"], examples: Examples, ground_truth: Bool[np.ndarray, "tracks tags"]
) -> Scaling:
    """Fit the scaling of least cross-entropy over tracks.

    Args:
        logits: Of the segments of validation tracks.
        examples: Those segments: which tracks they belong to, with what weight.
        ground_truth: The tags of the tracks.

    Raises:
        TrainingError: No scaling could be found.
    """
    from scipy.optimize import minimize

    tracks = len(ground_truth)

    def cross_entropy(scaling: np.ndarray) -> float:
        segments = torch.sigmoid(torch.from_numpy(logits.astype(np.float64) * scaling[0] + scaling[1])).numpy()
        probabilities = np.clip(examples.pool(segments, tracks).astype(np.float64), _FLOOR, 1 - _FLOOR)
        right = np.where(ground_truth, probabilities, 1 - probabilities)
        return -float(np.log(right).mean())

    found = minimize(cross_entropy, np.array([1.0, 0.0]), method="Nelder-Mead", bounds=[SLOPES, (-10.0, 10.0)])
    if not found.success:
        raise TrainingError(f"the probabilities could not be calibrated: {found.message}; set step_2.calibrate = false")
    return Scaling(float(found.x[0]), float(found.x[1]))


@torch.no_grad()
def fold_in(network: TaggingNetwork, scaling: Scaling) -> None:
    """Make a scaling part of the output layer."""
    output = network.classifier.output
    if not isinstance(output, nn.Linear):
        raise TrainingError(f"cannot calibrate a {network.config.classifier.kind!r} classifier: it has no output layer")
    output.weight.mul_(scaling.slope)
    output.bias.mul_(scaling.slope).add_(scaling.shift)
