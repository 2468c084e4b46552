"""The semantic decoder and the classifier on top of it: codes to what a teacher says of the music, and that to tags."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import DataError
from moodbook.networks.config import SemanticConfig, VQVAEConfig
from moodbook.networks.geometry import SEMANTIC_BLOCKS, SEMANTIC_KERNEL, WINDOWS
from moodbook.networks.quantizer import latent_sequence


class SemanticDecoder(nn.Module):
    """Quantised latents -> 1 x 1 convolution -> residual blocks over time -> a vector for each of eight windows.

    It stands beside the decoder: one tells from the codes what the music sounds like, the other what it is like, and
    both teach the encoder. It is trained to give a teacher's embedding at mean 0 and variance 1.

    Args:
        config: Gives its maps (`semantic_width`), what it tells (`semantic_features`) and the latents that it reads.

    Source:
        Ours. That codes should tell a teacher's view as well as the sound: Zhang et al., SpeechTokenizer, 2023,
        section 3.2; that a network which reads them back should stay: Ye et al., X-Codec, 2024, section 3.2.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.vqvae_config = config
        width = config.semantic_width
        self.input = nn.Conv1d(config.features, width, 1)
        self.input_norm = nn.BatchNorm1d(width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, SEMANTIC_KERNEL, padding=SEMANTIC_KERNEL // 2) for _ in range(SEMANTIC_BLOCKS)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(SEMANTIC_BLOCKS))
        self.hidden = nn.Linear(2 * width, width)
        self.hidden_norm = nn.BatchNorm1d(width)
        self.output = nn.Linear(width, config.semantic_features)

    def forward(
        self, latents: Float[Tensor, "batch width bands steps"]
    ) -> Float[Tensor, "batch windows semantic_features"]:
        """Read each window of a segment.

        Raises:
            DataError: The latents do not fit the VQ-VAE, or their steps do not divide into eight windows.
        """
        sequence = latent_sequence(latents, self.vqvae_config)
        batch, steps, _ = sequence.shape
        finest = WINDOWS * 2 ** (SEMANTIC_BLOCKS - 1)
        if steps % finest:
            raise DataError(f"expected a multiple of {finest} latent steps, got {steps}; give whole segments")
        # Conv 1x1, BN, ReLU.
        hidden: Tensor = functional.relu(self.input_norm(self.input(sequence.transpose(1, 2))))
        # x + ReLU(BN(Conv)); the steps are halved before all but the first.
        for index, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            if index:
                hidden = functional.avg_pool1d(hidden, 2)
            hidden = hidden + functional.relu(norm(convolution(hidden)))
        windows = hidden.reshape(batch, hidden.shape[1], WINDOWS, -1)
        pooled = torch.cat([windows.amax(dim=3), windows.mean(dim=3)], dim=1).transpose(1, 2)  # batch, windows, 2 width
        dense = functional.relu(self.hidden_norm(self.hidden(pooled.flatten(0, 1))))
        told: Tensor = self.output(dense)
        return told.reshape(batch, WINDOWS, self.vqvae_config.semantic_features).float()


class SemanticClassifier(nn.Module):
    """What the semantic decoder reads, averaged over the windows -> batch norm -> dropout -> tags.

    Args:
        config: The dials of the classifier.
        features: Numbers that the semantic decoder gives a window.
        n_tags: Number of tags.
    """

    def __init__(self, config: SemanticConfig, features: int, n_tags: int) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.BatchNorm1d(features, affine=False)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(features, n_tags)

    def forward(self, read: Float[Tensor, "batch windows semantic_features"]) -> Float[Tensor, "batch tags"]:
        """Classify what was read.

        Raises:
            DataError: A training batch holds one clip.
        """
        if self.training and len(read) == 1:
            raise DataError("batch norm cannot learn from a batch of one clip; give at least two")
        with torch.autocast(read.device.type, enabled=False):
            logits: Tensor = self.output(self.dropout(self.norm(read.float().mean(dim=1))))
        return logits
