"""The embedding of a track: a short vector whose direction says what the track sounds like.

The codes of a segment are looked up; the mean, the spread and the movement of every latent feature over the segment are
averaged over the track, moved to the centre of the training music, projected on its strongest directions, whose
differences in strength are halved on a log scale, and the whole is brought to unit length. Tracks are as alike as the
cosine of their embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int16

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.geometry import SPREAD_EPSILON, STATISTICS

DIMENSIONS = 64
"""Numbers of an embedding; fewer where the training music has fewer directions."""
CENTRE, PROJECTION = "embedding.centre", "embedding.projection"
"""Names of its two tensors in a bundle."""
WHITENING = 0.5
"""How far the directions are made equally strong: 0 leaves them as they are, 1 makes noise as loud as music
(`docs/experiments.md`, 12)."""


@dataclass(frozen=True, eq=False)
class Embedding:
    """Statistics of a track's latents to its embedding.

    Attributes:
        centre: Mean statistics of the training segments.
        projection: Their strongest directions, scaled.
    """

    centre: Float32[np.ndarray, " statistics"]
    projection: Float32[np.ndarray, "statistics dimensions"]

    def __call__(self, statistics: Float[np.ndarray, " statistics"]) -> Float32[np.ndarray, " dimensions"]:
        """Give the embedding of a track's mean statistics, of unit length; zeros where they are exactly the centre."""
        # Not `@`, for which numpy's matrix library wakes threads that then spin beside those of the engine.
        vector = np.einsum("s,sd->d", statistics.astype(np.float64) - self.centre, self.projection.astype(np.float64))
        length = float(np.linalg.norm(vector))
        unit: np.ndarray = (vector / length if length > 0 else vector).astype(np.float32)
        return unit


def embedding_shapes(vqvae: VQVAEConfig, dimensions: int) -> dict[str, tuple[int, ...]]:
    """Give the shapes of its tensors by name."""
    statistics = STATISTICS * vqvae.features
    return {CENTRE: (statistics,), PROJECTION: (statistics, dimensions)}


def segment_statistics(
    codes: Int16[np.ndarray, "segments bands steps"], codebook: Float32[np.ndarray, "codes width"]
) -> Float32[np.ndarray, "segments statistics"]:
    """Measure the mean, standard deviation and mean movement over time of every latent feature of each segment.

    The same numbers as `moodbook.networks.statistics` computes: feature = channel * bands + band, one block after the
    other.
    """
    rows = []
    for segment in codes:
        latents = codebook[segment].transpose(2, 0, 1).reshape(-1, segment.shape[1])  # features, steps
        spread = np.sqrt(latents.var(axis=1) + SPREAD_EPSILON)
        movement = np.abs(np.diff(latents, axis=1)).mean(axis=1)
        rows.append(np.concatenate([latents.mean(axis=1), spread, movement]))
    return np.stack(rows).astype(np.float32)


def fit_embedding(
    statistics: Float32[np.ndarray, "segments statistics"],
    dimensions: int = DIMENSIONS,
    whitening: float = WHITENING,
) -> Embedding:
    """Fit the embedding to training segments: the principal components of their statistics, partly whitened.

    Args:
        statistics: Of the training segments, two at least.
        dimensions: How many components to keep; fewer are kept where there are fewer.
        whitening: Each component is divided by this power of its standard deviation.
    """
    samples = statistics.astype(np.float64)
    centre = samples.mean(axis=0)
    _, lengths, directions = np.linalg.svd(samples - centre, full_matrices=False)
    # Centring takes one direction away; what is left of it is rounding.
    kept = min(dimensions, int((lengths > lengths[0] * 1e-6).sum()))
    deviations = lengths[:kept] / np.sqrt(len(samples))
    projection = directions[:kept].T / deviations**whitening
    return Embedding(centre.astype(np.float32), projection.astype(np.float32))
