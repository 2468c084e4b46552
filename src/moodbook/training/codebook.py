"""The codebook in step 1: averages of latents that may move it, the restart of unused codes, and how it is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.examples import Examples
from moodbook.training.machine import Machine
from moodbook.training.order import share_of_process

SAMPLED_SEGMENTS = 12
"""Segments that say which codes are in use, and whose latents the others are moved to: 24,576 vectors of Type-1."""
DECAY = 0.99
"""What is kept of an average from batch to batch."""
LEAST_USES = 1e-5
"""Added to the uses of every code, so that none divides by zero."""


class CodebookAverages(nn.Module):
    """Moving averages of the latents of each code: the codebook is where they are, instead of learning by gradient.

    What is averaged is kept in float32 and goes with the checkpoints of the loss that it belongs to.

    Args:
        config: Gives K and the length of a vector.

    Source:
        van den Oord, Vinyals, Kavukcuoglu: Neural Discrete Representation Learning, 2017, appendix A.1.
    """

    uses: Float[Tensor, " codebook"]
    sums: Float[Tensor, "codebook width"]

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.register_buffer("uses", torch.zeros(config.codebook_size))
        self.register_buffer("sums", torch.zeros(config.codebook_size, config.width))
        self._batch: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def observe(
        self, latents: Float[Tensor, "batch width bands steps"], codes: Int64[Tensor, "batch bands steps"]
    ) -> None:
        """Take note of a batch's latents and of the codes that they became."""
        vectors = latents.float().permute(0, 2, 3, 1).reshape(-1, self.sums.shape[1])
        chosen = codes.flatten()
        uses = torch.bincount(chosen, minlength=len(self.uses)).to(self.uses.dtype)
        self._batch = uses, torch.zeros_like(self.sums).index_add_(0, chosen, vectors)

    @torch.no_grad()
    def move(self, codebook: Float[Tensor, "codebook width"], machine: Machine) -> None:
        """Bring the observed batch of every process into the averages, and the codebook to where they are.

        A code that has never been used stays where it is.
        """
        if self._batch is None:
            return
        uses, sums = (machine.sum(part) for part in self._batch)
        self._batch = None
        # N <- d N + (1 - d) n; m <- d m + (1 - d) sum z_e; e = m / N.
        self.uses.mul_(DECAY).add_(uses, alpha=1 - DECAY)
        self.sums.mul_(DECAY).add_(sums, alpha=1 - DECAY)
        total = self.uses.sum()
        smoothed = (self.uses + LEAST_USES) * total / (total + len(self.uses) * LEAST_USES)
        known = self.uses > 0
        codebook[known] = (self.sums / smoothed[:, None])[known]

    @torch.no_grad()
    def restart(self, codebook: Float[Tensor, "codebook width"], codes: Int64[Tensor, " restarted"]) -> None:
        """Let codes start at where the codebook has them now, as if each had been used once in every batch."""
        self.uses[codes] = 1.0
        self.sums[codes] = codebook[codes]


@torch.no_grad()
def restart_unused_codes(vqvae: VQVAE, examples: Examples, seed: int, averages: CodebookAverages | None = None) -> int:
    """Move the codes that a sample of training music does not use onto latents of that music.

    An encoder with fresh weights gives latents of about unit size, far outside U(-1/K, 1/K): the few codes that win
    first are pulled along with it, and the others are never chosen again.

    Args:
        vqvae: The VQ-VAE. Its mode says whose statistics batch norm takes: in eval mode its own, with which it will
            encode when it is fixed; in training mode the sample's, as before the first epoch it has none of its own.
        examples: Log-mel segments to draw the sample from.
        seed: Draws the sample and the latents, alike in every process.
        averages: Those that the codebook follows, which start again as well; None where it learns by gradient.

    Returns:
        How many codes were moved.

    Source:
        The restart of dead codes of Dhariwal et al.: Jukebox, 2020, section 3.1, once an epoch.
    """
    random = torch.Generator().manual_seed(seed)
    positions = torch.randperm(len(examples), generator=random)[:SAMPLED_SEGMENTS].numpy()
    codebook = vqvae.quantizer.codebook
    # In training mode batch norm would count the sample into its running statistics.
    untouched = {name: value.clone() for name, value in vqvae.named_buffers()}
    latents = vqvae.encode(examples.batch(positions, codebook.device).inputs)
    for name, value in vqvae.named_buffers():
        value.copy_(untouched[name])
    uses = torch.bincount(vqvae.quantizer.codes(latents).flatten(), minlength=len(codebook))
    vectors = latents.permute(0, 2, 3, 1).reshape(-1, codebook.shape[1])
    unused = (uses == 0).nonzero().flatten()[: len(vectors)]
    drawn = torch.randperm(len(vectors), generator=random)[: len(unused)].to(codebook.device)
    codebook[unused] = vectors[drawn]
    if averages is not None:
        averages.restart(codebook, unused)
    return len(unused)


@dataclass(frozen=True)
class CodebookReport:
    """What a codebook does with music.

    Args:
        reconstruction: Mean squared error of the decoded log-mel, at the scale of the network's input.
        perplexity: How many codes would be in use if all were used alike.
        codes_in_use: Share of the codes that some segment uses.
    """

    reconstruction: float
    perplexity: float
    codes_in_use: float


@torch.no_grad()
def measure_codebook(vqvae: VQVAE, examples: Examples, batch_size: int, machine: Machine) -> CodebookReport:
    """Measure a VQ-VAE on segments, in float32, as it is when it is fixed; every process takes a share."""
    was_training = vqvae.training
    vqvae.eval()
    squares = torch.zeros(1, dtype=torch.float64, device=machine.device)
    counts = torch.zeros(vqvae.config.codebook_size, dtype=torch.int64, device=machine.device)
    mine = share_of_process(np.arange(len(examples)), machine.processes, machine.process)
    for start in range(0, len(mine), batch_size):
        positions = mine[start : start + batch_size]
        log_mel = examples.batch(positions, machine.device).inputs
        codes = vqvae.codes(log_mel)
        error = functional.mse_loss(vqvae.decode(vqvae.quantizer.lookup(codes)), log_mel)
        squares += error.double() * len(positions)
        counts += torch.bincount(codes.flatten(), minlength=len(counts))
    vqvae.train(was_training)
    used = machine.sum(counts).cpu().numpy()
    reconstruction = float(machine.sum(squares)) / len(examples)
    return CodebookReport(reconstruction, perplexity(used), float((used > 0).mean()))


def perplexity(counts: Int64[np.ndarray, " codebook"]) -> float:
    """Compute the perplexity of the codes' use, ``exp(-sum p ln p)``: K where all are used alike, 1 where one is."""
    total = counts.sum()
    if not total:
        return 0.0
    share = counts[counts > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))
