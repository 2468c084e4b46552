"""What the codes must be able to tell of the teacher's view: a linear layer on their statistics, window by window."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.geometry import STATISTICS
from moodbook.networks.quantizer import latent_sequence
from moodbook.networks.statistics import statistics_over_time
from moodbook.training.teacher.musicnn import EMBEDDING
from moodbook.training.teacher.targets import WINDOWS


class TeacherHead(nn.Module):
    """Statistics of the quantised latents of each window -> batch norm -> the teacher's embedding.

    They are the statistics that the classifier `statistics` reads over a whole clip. The layer is linear, so that what
    the teacher knows must lie open in the latents; it is thrown away when step 1 is over.

    Args:
        vqvae: The VQ-VAE whose quantised latents it reads.
    """

    def __init__(self, vqvae: VQVAEConfig) -> None:
        super().__init__()
        self.vqvae_config = vqvae
        self.norm = nn.BatchNorm1d(STATISTICS * vqvae.features, affine=False)
        self.output = nn.Linear(STATISTICS * vqvae.features, EMBEDDING)

    def forward(self, latents: Float[Tensor, "batch width bands steps"]) -> Float[Tensor, "batch windows embedding"]:
        """Predict the embedding of each of the eight windows of a segment."""
        sequence = latent_sequence(latents, self.vqvae_config).float()
        batch, steps, features = sequence.shape
        windows = sequence.reshape(batch * WINDOWS, steps // WINDOWS, features)
        with torch.autocast(sequence.device.type, enabled=False):
            told: Tensor = self.output(self.norm(statistics_over_time(windows)))
        return told.reshape(batch, WINDOWS, EMBEDDING)


def teacher_error(
    told: Float[Tensor, "batch windows embedding"], targets: Float[Tensor, "batch windows embedding"]
) -> Float[Tensor, ""]:
    """Measure the mean squared error over the windows that have a target (that are not NaN); 0 where none has."""
    heard = ~targets.isnan()
    squares = (told - targets.nan_to_num()).square() * heard
    error: Tensor = squares.sum() / heard.sum().clamp(min=1)
    return error
