"""The VQ-VAE: log-mel to latents to codes, and back to log-mel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import DataError, ModelError
from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.networks.config import VQVAEConfig
from moodbook.networks.geometry import (
    RESIDUAL,
    RESIDUAL_BLOCKS,
    Convolution,
    decoder_convolutions,
    encoder_convolutions,
)
from moodbook.networks.quantizer import Quantized, VectorQuantizer
from moodbook.networks.semantic import SemanticDecoder


@dataclass(frozen=True)
class VQVAEOutput:
    """What the VQ-VAE makes of a batch of segments; everything is float32.

    Args:
        reconstruction: x', the decoded log-mel.
        latents: z_e, the encoder's output.
        codes: Number of the nearest codebook vector of each latent vector.
        quantized: z_q with the straight-through gradient.
        codebook_loss: MSE(z_q, sg z_e).
        commitment_loss: MSE(z_e, sg z_q), not yet weighted.
        semantic: What the semantic decoder reads from z_q; None where there is none.
    """

    reconstruction: Float[Tensor, "batch n_mels frames"]
    latents: Float[Tensor, "batch width bands steps"]
    codes: Int64[Tensor, "batch bands steps"]
    quantized: Float[Tensor, "batch width bands steps"]
    codebook_loss: Float[Tensor, ""]
    commitment_loss: Float[Tensor, ""]
    semantic: Float[Tensor, "batch windows semantic_features"] | None = None


class VQVAE(nn.Module):
    """Type-1 (4 x 512 codes a segment) or Type-2 (1 x 512), after van den Oord et al. 2017.

    Xavier-uniform weights, zero biases. Reduced precision comes from autocast around it; the look-up stays float32.

    Args:
        config: Every size follows from it.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        self._fixed = False
        self.encoder = Encoder(config)
        self.quantizer = VectorQuantizer(config)
        self.decoder = Decoder(config)
        self.semantic = SemanticDecoder(config) if config.semantic_width else None
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def fixed(self) -> bool:
        """Whether `fix` was called."""
        return self._fixed

    def fix(self) -> None:
        """Freeze it for good: no parameter has a gradient, and batch norm keeps its statistics even after `train`."""
        self._fixed = True
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> VQVAE:
        """Set training mode, unless it is fixed."""
        return super().train(mode and not self._fixed)

    def encode(self, log_mel: Float[Tensor, "batch n_mels frames"]) -> Float[Tensor, "batch width bands steps"]:
        """Turn log-mel segments into latents, float32.

        Raises:
            DataError: The segments are not 128 x 1,024.
        """
        if log_mel.ndim != 3 or log_mel.shape[1:] != (N_MELS, SEGMENT_FRAMES):
            raise DataError(
                f"expected log-mel segments of batch x {N_MELS} x {SEGMENT_FRAMES}, got "
                f"{' x '.join(map(str, log_mel.shape))}; cut the spectrogram into segments first"
            )
        latents: Tensor = self.encoder(log_mel.unsqueeze(1).float())
        return latents.float()

    @torch.no_grad()
    def codes(self, log_mel: Float[Tensor, "batch n_mels frames"]) -> Int64[Tensor, "batch bands steps"]:
        """Turn log-mel segments into codes, without gradient.

        Raises:
            DataError: The segments are not 128 x 1,024.
        """
        return self.quantizer.codes(self.encode(log_mel))

    def decode(self, quantized: Float[Tensor, "batch width bands steps"]) -> Float[Tensor, "batch n_mels frames"]:
        """Turn quantized latents into log-mel segments, float32, within -1 and 1.

        Raises:
            DataError: The latents are not `width` x `bands` vectors a step.
        """
        expected = (self.config.width, self.config.bands)
        if quantized.ndim != 4 or quantized.shape[1:3] != expected:
            raise DataError(
                f"expected quantized latents of batch x {expected[0]} x {expected[1]} x steps, got "
                f"{' x '.join(map(str, quantized.shape))}; use the VQ-VAE that made them"
            )
        log_mel: Tensor = self.decoder(quantized)
        return log_mel.squeeze(1)

    def read(
        self, quantized: Float[Tensor, "batch width bands steps"]
    ) -> Float[Tensor, "batch windows semantic_features"]:
        """Read from quantized latents what a teacher would say of the music, window by window, float32.

        Raises:
            ModelError: There is no semantic decoder.
        """
        if self.semantic is None:
            raise ModelError("this VQ-VAE has no semantic decoder (vqvae.semantic_width is 0)")
        read: Tensor = self.semantic(quantized)
        return read

    def forward(self, log_mel: Float[Tensor, "batch n_mels frames"]) -> VQVAEOutput:
        """Encode, quantize and decode.

        Raises:
            DataError: The segments are not 128 x 1,024.
        """
        latents = self.encode(log_mel)
        quantized: Quantized = self.quantizer(latents)
        return VQVAEOutput(
            reconstruction=self.decode(quantized.quantized),
            latents=latents,
            codes=quantized.codes,
            quantized=quantized.quantized,
            codebook_loss=quantized.codebook_loss,
            commitment_loss=quantized.commitment_loss,
            semantic=None if self.semantic is None else self.semantic(quantized.quantized),
        )


class Encoder(nn.Module):
    """E1 to E5 and the two residual blocks ER.

    Args:
        config: Gives the width, the type and the skip.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        geometry = encoder_convolutions(config)
        self.convolutions = nn.ModuleList(
            _convolution(1 if i == 0 else config.width, config.width, row) for i, row in enumerate(geometry)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(config.width) for _ in geometry[:-1])
        self.residuals = nn.ModuleList(ResidualBlock(config) for _ in range(RESIDUAL_BLOCKS))

    def forward(self, log_mel: Float[Tensor, "batch 1 n_mels frames"]) -> Float[Tensor, "batch width bands steps"]:
        """Encode."""
        hidden: Tensor = log_mel
        # E1..E4: Conv; BN; ReLU. 128 -> 64, 32, 16, 8 bands.
        for convolution, norm in zip(self.convolutions, self.norms, strict=False):
            hidden = functional.relu(norm(convolution(hidden)))
        # E5: Conv, no BN/ReLU. 8 x 1024 -> bands x 512.
        hidden = self.convolutions[-1](hidden)
        # ER x 2.
        for residual in self.residuals:
            hidden = residual(hidden)
        return hidden


class Decoder(nn.Module):
    """The two residual blocks DR and D1 to D5.

    Args:
        config: Gives the width, the type, its decoder and the skip.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        geometry = decoder_convolutions(config)
        self.residuals = nn.ModuleList(ResidualBlock(config) for _ in range(RESIDUAL_BLOCKS))
        last = len(geometry) - 1
        self.convolutions = nn.ModuleList(
            _convolution(config.width, 1 if i == last else config.width, row) for i, row in enumerate(geometry)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(config.width) for _ in geometry[:-1])

    def forward(self, quantized: Float[Tensor, "batch width bands steps"]) -> Float[Tensor, "batch 1 n_mels frames"]:
        """Decode."""
        hidden: Tensor = quantized
        # DR x 2, ReLU.
        for residual in self.residuals:
            hidden = residual(hidden)
        hidden = functional.relu(hidden)
        # D1..D4: ConvT; BN; ReLU. Bands 7 (mirror: 8), 16, 32, 64 x 1024.
        for convolution, norm in zip(self.convolutions, self.norms, strict=False):
            hidden = functional.relu(norm(convolution(hidden)))
        # D5: ConvT to 1 map, tanh. 128 x 1024.
        hidden = self.convolutions[-1](hidden)
        return torch.tanh(hidden.float())


class ResidualBlock(nn.Module):
    """ER and DR: ReLU, Conv 3x3, BN, ReLU, Conv 1x1, BN, plus the skip.

    Args:
        config: Gives the width and the skip.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.skip = config.skip
        self.convolution = _convolution(config.width, config.width, RESIDUAL)
        self.norm = nn.BatchNorm2d(config.width)
        self.projection = nn.Conv2d(config.width, config.width, 1)
        self.projection_norm = nn.BatchNorm2d(config.width)

    def forward(self, latents: Float[Tensor, "batch width bands steps"]) -> Float[Tensor, "batch width bands steps"]:
        """Add what the block has learned to its input."""
        # ReLU, Conv 3x3, BN, ReLU, Conv 1x1, BN.
        rectified = functional.relu(latents)
        hidden: Tensor = functional.relu(self.norm(self.convolution(rectified)))
        hidden = self.projection_norm(self.projection(hidden))
        # The skip carries relu(x): the first ReLU of the 2019 code worked in place. Option: x itself.
        skipped = rectified if self.skip == "relu" else latents
        return skipped + hidden


def _convolution(inputs: int, outputs: int, row: Convolution) -> nn.Conv2d | nn.ConvTranspose2d:
    kind = nn.ConvTranspose2d if row.transposed else nn.Conv2d
    return kind(inputs, outputs, row.kernel, stride=row.stride, padding=row.padding, dilation=row.dilation)
