"""The statistical classifier: how each latent feature lies, spreads and moves over the clip, and one dense layer."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moodbook.errors import DataError
from moodbook.networks.config import StatisticsConfig, VQVAEConfig
from moodbook.networks.geometry import SPREAD_EPSILON, STATISTICS
from moodbook.networks.quantizer import latent_sequence


class StatisticsClassifier(nn.Module):
    """Statistics of the latents over time -> batch norm -> dropout -> tags.

    It learns from little: with a hundred tracks the paper's classifiers learn them by heart, and a linear layer on
    statistics does not (`docs/experiments.md`). It takes clips of any length from two steps on.

    Args:
        config: The dials of the classifier.
        vqvae: The VQ-VAE whose quantised latents it reads.
        n_tags: Number of tags.

    Source:
        Ours. Statistics pooling as in the x-vectors of Snyder et al.: X-Vectors: Robust DNN Embeddings for Speaker
        Recognition, 2018, section 2.2, with the mean movement beside the mean and the standard deviation.
    """

    def __init__(self, config: StatisticsConfig, vqvae: VQVAEConfig, n_tags: int) -> None:
        super().__init__()
        self.config = config
        self.vqvae_config = vqvae
        # Features differ in scale by far; no learned scale beside that of the dense layer.
        self.norm = nn.BatchNorm1d(STATISTICS * vqvae.features, affine=False)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(STATISTICS * vqvae.features, n_tags)

    def forward(self, latents: Float[Tensor, "batch width bands steps"]) -> Float[Tensor, "batch tags"]:
        """Classify quantised latents.

        Raises:
            DataError: The latents do not fit the VQ-VAE, are one step long, or a training batch holds one clip.
        """
        sequence = latent_sequence(latents, self.vqvae_config).float()
        if sequence.shape[1] < 2:
            raise DataError(f"expected at least 2 latent steps to measure movement, got {sequence.shape[1]}")
        if self.training and len(sequence) == 1:
            raise DataError("batch norm cannot learn from a batch of one clip; give at least two")
        with torch.autocast(sequence.device.type, enabled=False):
            logits: Tensor = self.output(self.dropout(self.norm(statistics_over_time(sequence))))
        return logits


def statistics_over_time(sequence: Float[Tensor, "batch steps features"]) -> Float[Tensor, "batch statistics"]:
    """Give the mean, the standard deviation and the mean movement of each feature, one block after the other."""
    # m = mean z_t; s = sqrt(mean (z_t - m)^2 + eps); d = mean |z_t+1 - z_t|.
    statistics = [
        sequence.mean(dim=1),
        (sequence.var(dim=1, correction=0) + SPREAD_EPSILON).sqrt(),
        sequence.diff(dim=1).abs().mean(dim=1),
    ]
    return torch.cat(statistics, dim=1)
