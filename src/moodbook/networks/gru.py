"""The recurrent classifier: two bidirectional GRUs over the latent steps."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import DataError
from moodbook.networks.config import LATENT_FRAMES, GRUConfig, VQVAEConfig
from moodbook.networks.quantizer import latent_sequence


class GRUClassifier(nn.Module):
    """GRU -> LayerNorm -> GRU -> LayerNorm of its final states -> dense layers -> tags.

    It computes in float32 even under autocast: torch's bfloat16 GRU is several times slower on a CPU.

    Args:
        config: The dials of the classifier.
        vqvae: The VQ-VAE whose quantised latents, or codes, it reads.
        n_tags: Number of tags.

    Source:
        The authors' 2019 code; with `layers=1` and `dense=()` the paper's wording.
    """

    def __init__(self, config: GRUConfig, vqvae: VQVAEConfig, n_tags: int) -> None:
        super().__init__()
        self.config = config
        self.vqvae_config = vqvae
        hidden, layers = config.hidden, config.layers
        features = vqvae.bands * vqvae.codebook_size if config.input == "one-hot" else vqvae.features
        # GRU(1024->256, 2 layers, bidirectional, dropout .3).
        self.recurrent = _gru(features, config)
        # LayerNorm over (512 steps, 512 features); option: over the features only.
        both_ways = 2 * hidden
        self.norm = nn.LayerNorm(
            (LATENT_FRAMES, both_ways) if config.layer_norm == "steps-and-features" else (both_ways,)
        )
        # GRU(512->256, 2 layers, bidirectional, dropout .3), outputs unused -> final states (4, 256).
        self.summary = _gru(both_ways, config)
        self.state_norm = nn.LayerNorm((2 * layers, hidden))
        # flatten 1024 -> Linear 512, Dropout .05, ReLU -> Linear 256, Dropout .05, ReLU -> Linear tags.
        sizes = (2 * layers * hidden, *config.dense)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.dropout = nn.Dropout(config.dense_dropout)
        self.output = nn.Linear(sizes[-1], n_tags)

    def forward(self, sequence: Shaped[Tensor, "batch ..."]) -> Float[Tensor, "batch tags"]:
        """Classify quantised latents ("batch width bands steps"), or codes ("batch bands steps") where one-hot.

        Raises:
            DataError: The input does not fit the VQ-VAE, or is not 512 steps long where the layer norm fixes that.
        """
        one_hot = self.config.input == "one-hot"
        steps = self._one_hot(sequence) if one_hot else latent_sequence(sequence, self.vqvae_config)
        if self.config.layer_norm == "steps-and-features" and steps.shape[1] != LATENT_FRAMES:
            raise DataError(
                f"expected {LATENT_FRAMES} latent steps, got {steps.shape[1]}; "
                'layer_norm = "features" takes any length of clip'
            )
        with torch.autocast(steps.device.type, enabled=False):
            hidden = self.norm(self.recurrent(steps.float())[0])
            _, states = self.summary(hidden)
            hidden = self.state_norm(states.transpose(0, 1)).flatten(1)
            for dense in self.dense:
                hidden = functional.relu(self.dropout(dense(hidden)))
            logits: Tensor = self.output(hidden)
        return logits

    def _one_hot(self, codes: Int[Tensor, "batch bands steps"]) -> Float[Tensor, "batch steps features"]:
        """Write the codes of a step as one-hot vectors, feature = code * bands + band as for the latents."""
        bands, size = self.vqvae_config.bands, self.vqvae_config.codebook_size
        if codes.ndim != 3 or codes.shape[1] != bands:
            raise DataError(f"expected codes of batch x {bands} x steps, got {' x '.join(map(str, codes.shape))}")
        one_hot = functional.one_hot(codes.long(), size)
        return one_hot.permute(0, 2, 3, 1).flatten(2).float()


def _gru(features: int, config: GRUConfig) -> nn.GRU:
    return nn.GRU(
        features,
        config.hidden,
        num_layers=config.layers,
        batch_first=True,
        dropout=config.dropout if config.layers > 1 else 0.0,
        bidirectional=True,
    )
