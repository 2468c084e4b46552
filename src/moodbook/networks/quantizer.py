"""The vector quantizer: each latent vector becomes the number of its nearest codebook vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import DataError
from moodbook.networks.config import VQVAEConfig

Gradient = Literal["straight-through", "rotation"]
"""How a gradient passes the quantizer: as it is, or turned and scaled as the latent is on its way to the vector."""


@dataclass(frozen=True)
class Quantized:
    """What the quantizer makes of a batch of latents.

    Args:
        codes: Number of the nearest codebook vector, 0 to K-1.
        quantized: That codebook vector, float32; its gradient goes through to the latents and not to the codebook.
        codebook_loss: MSE(z_q, sg z_e), which moves the codebook alone.
        commitment_loss: MSE(z_e, sg z_q), which moves the encoder alone; not yet weighted.
    """

    codes: Int64[Tensor, "batch bands steps"]
    quantized: Float[Tensor, "batch width bands steps"]
    codebook_loss: Float[Tensor, ""]
    commitment_loss: Float[Tensor, ""]


class VectorQuantizer(nn.Module):
    """One codebook of K vectors, nearest by Euclidean distance.

    The look-up is float32 whatever autocast says: products in bfloat16 would change almost half of the codes.

    Args:
        config: Gives K (`codebook_size`) and the length of a vector (`width`).

    Attributes:
        gradient: How a gradient passes; straight through unless a training step says otherwise.

    Source:
        van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017, section 3.
    """

    gradient: Gradient = "straight-through"

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
            carrier = rotated(z_e, z_q.detach()) if self.gradient == "rotation" else z_e
            # The value is sg z_q to the last bit (what is added is 0), the gradient is that of the carrier.
            quantized = z_q.detach() + (carrier - carrier.detach())
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


def rotated(
    z_e: Float[Tensor, "batch width bands steps"], z_q: Float[Tensor, "batch width bands steps"]
) -> Float[Tensor, "batch width bands steps"]:
    """Turn and scale each latent onto its codebook vector; to the gradient both are constants.

    What pulls a latent within its cell thus depends on where in the cell it lies, which straight-through forgets.

    Source:
        Fifty et al.: Restructuring Vector Quantization with the Rotation Trick, 2024, section 4.2.
    """
    with torch.no_grad():
        from_unit, to_unit = functional.normalize(z_e, dim=1), functional.normalize(z_q, dim=1)
        between = functional.normalize(from_unit + to_unit, dim=1)
        scale = z_q.norm(dim=1, keepdim=True) / z_e.norm(dim=1, keepdim=True).clamp(min=1e-12)
    # scale (I - 2 r r^T + 2 q e^T) z_e, with r the unit vector half-way between e and q.
    along = (between * z_e).sum(dim=1, keepdim=True)
    ahead = (from_unit * z_e).sum(dim=1, keepdim=True)
    turned: Tensor = scale * (z_e - 2 * between * along + 2 * to_unit * ahead)
    return turned


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
