"""The vector quantizer: each latent vector becomes the number of its nearest codebook vector."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import DataError
from moodbook.networks.config import VQVAEConfig


@dataclass(frozen=True)
class Quantized:
    """What the quantizer makes of a batch of latents.

    Args:
        codes: Number of the nearest codebook vector, 0 to K-1.
        quantized: That codebook vector, float32; its gradient goes straight through to the latents and not to the
            codebook.
        codebook_loss: MSE(z_q, sg z_e), which moves the codebook alone.
        commitment_loss: MSE(z_e, sg z_q), which moves the encoder alone; not yet weighted.
    """

    codes: Int64[Tensor, "batch bands steps"]
    quantized: Float[Tensor, "batch width bands steps"]
    codebook_loss: Float[Tensor, ""]
    commitment_loss: Float[Tensor, ""]


class VectorQuantizer(nn.Module):
    """One codebook of K vectors, nearest by Euclidean distance, straight-through.

    The look-up is float32 whatever autocast says: products in bfloat16 would change almost half of the codes.

    Args:
        config: Gives K (`codebook_size`) and the length of a vector (`width`).

    Source:
        van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017, section 3.
    """

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        # Codebook U(-1/K, 1/K).
        bound = 1 / config.codebook_size
        self.codebook = nn.Parameter(torch.empty(config.codebook_size, config.width).uniform_(-bound, bound))

    def forward(self, latents: Float[Tensor, "batch width bands steps"]) -> Quantized:
        """Quantize latents and measure both losses.

        Raises:
            DataError: The latents have another width than the codebook vectors.
        """
        codes = self.codes(latents)
        with torch.autocast(latents.device.type, enabled=False):
            z_e = latents.float()
            z_q = self._vectors(codes)
            # MSE(z_q, sg z_e) and MSE(z_e, sg z_q), means over every element.
            codebook_loss = functional.mse_loss(z_q, z_e.detach())
            commitment_loss = functional.mse_loss(z_e, z_q.detach())
            # Straight-through: the value is sg z_q to the last bit (z_e - sg z_e is 0), the gradient is that of z_e.
            quantized = z_q.detach() + (z_e - z_e.detach())
        return Quantized(codes, quantized, codebook_loss, commitment_loss)

    @torch.no_grad()
    def codes(self, latents: Float[Tensor, "batch width bands steps"]) -> Int64[Tensor, "batch bands steps"]:
        """Find the nearest codebook vectors; the lowest number wins a tie.

        Raises:
            DataError: The latents have another width than the codebook vectors.
        """
        if latents.ndim != 4 or latents.shape[1] != self.config.width:
            raise DataError(
                f"expected latents of batch x {self.config.width} x bands x steps, got "
                f"{' x '.join(map(str, latents.shape))}; use the encoder that belongs to this codebook"
            )
        batch, width, bands, steps = latents.shape
        with torch.autocast(latents.device.type, enabled=False):
            vectors = latents.float().permute(0, 2, 3, 1).reshape(-1, width)
            codebook = self.codebook.float()
            # argmin_k |z_e - e_k|^2 = argmin_k |e_k|^2 / 2 - z_e . e_k: |z_e|^2 is the same for every k.
            half_squares = codebook.square().sum(dim=1) / 2
            distances = torch.addmm(half_squares, vectors, codebook.T, alpha=-1)
            return distances.argmin(dim=1).reshape(batch, bands, steps)

    @torch.no_grad()
    def lookup(self, codes: Int[Tensor, "batch bands steps"]) -> Float[Tensor, "batch width bands steps"]:
        """Give the codebook vectors of codes, without gradient.

        Raises:
            DataError: A code is negative or not below K.
        """
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.config.codebook_size:
            raise DataError(
                f"expected codes from 0 to {self.config.codebook_size - 1}, got {int(codes.min())} to "
                f"{int(codes.max())}; use the VQ-VAE that made them"
            )
        return self._vectors(codes.long())

    def _vectors(self, codes: Int64[Tensor, "batch bands steps"]) -> Float[Tensor, "batch width bands steps"]:
        return functional.embedding(codes, self.codebook.float()).permute(0, 3, 1, 2)


def latent_sequence(
    latents: Float[Tensor, "batch width bands steps"], config: VQVAEConfig
) -> Float[Tensor, "batch steps features"]:
    """Flatten the bands of latents: feature = channel * bands + band.

    Raises:
        DataError: The latents are not `width` x `bands` vectors a step.
    """
    if latents.ndim != 4 or latents.shape[1:3] != (config.width, config.bands):
        raise DataError(
            f"expected latents of batch x {config.width} x {config.bands} x steps, got "
            f"{' x '.join(map(str, latents.shape))}; use the VQ-VAE that the classifier was built for"
        )
    return latents.permute(0, 3, 1, 2).flatten(2)
