"""Whether what is heard is music at all: silence, noise and speech have moods for nobody.

A linear layer on the statistics of a segment's latents, the ones the embedding is made of, gives the probability that
the segment is music; a track's is the mean over its segments. Below one half nothing is decided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.geometry import STATISTICS

WEIGHT, BIAS = "presence.weight", "presence.bias"
"""Names of its two tensors in a bundle."""
MUSIC = 0.5
"""Probability from which on a track is taken for music; how rarely music falls below it is chosen in training."""


@dataclass(frozen=True, eq=False)
class Presence:
    """Statistics of segments to the probability that they are music.

    Attributes:
        weight: Of each statistic.
        bias: One number.
    """

    weight: Float32[np.ndarray, " statistics"]
    bias: Float32[np.ndarray, " 1"]

    def __call__(self, statistics: Float32[np.ndarray, "segments statistics"]) -> Float32[np.ndarray, " segments"]:
        """Give the probability that each segment is music."""
        logits = statistics.astype(np.float64) @ self.weight.astype(np.float64) + float(self.bias[0])
        probabilities: np.ndarray = np.exp(-np.logaddexp(0.0, -logits))
        return probabilities.astype(np.float32)


def is_music(probability: float | None) -> bool:
    """Whether a track of this probability is taken for music; where the model cannot tell (None), it is."""
    return probability is None or probability >= MUSIC


def presence_shapes(vqvae: VQVAEConfig) -> dict[str, tuple[int, ...]]:
    """Give the shapes of its tensors by name."""
    return {WEIGHT: (STATISTICS * vqvae.features,), BIAS: (1,)}
