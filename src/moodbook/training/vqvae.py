"""Step 1: the VQ-VAE learns to reconstruct log-mel, without labels."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.examples import Examples
from moodbook.training.losses import Losses, ReconstructionLoss, perplexity
from moodbook.training.machine import Machine, Precision, reduced
from moodbook.training.order import share_of_process, step_seed
from moodbook.training.step import TrainingStep
from moodbook.training.teacher.musicnn import load_musicnn
from moodbook.training.teacher.teacher import Teacher

SAMPLED_SEGMENTS = 12
"""Segments that say which codes are in use, and whose latents the others are moved to: 24,576 vectors of Type-1."""


class Step1(TrainingStep):
    """What step 1 brings to the loop.

    Early stopping watches the reconstruction on validation, not the whole loss: the codebook and commitment losses grow
    while a codebook comes to life, and are smallest where it has collapsed. With a teacher it watches the teacher's
    error.

    Args:
        config: The VQ-VAE to train.
        seed: The recipe's seed; it fixes the initial weights.
        train: Segments of the training tracks.
        validation: Segments of the validation tracks.
        batch_size: Segments measured at once on validation.
        restart_dead_codes: Move codes that training music does not use onto its latents; see `Step1Config`.
        augment: Learn from mixed and equalised music too; see `Step1Config`.
        teacher_weight: Weight of what a teacher says of `train` and `validation`, which tell what it hears; None
            without one.

    Raises:
        ModelError: The teacher's weights are not here.
    """

    number: ClassVar[Literal[1, 2]] = 1
    higher_is_better: ClassVar[bool] = False

    def __init__(
        self,
        config: VQVAEConfig,
        seed: int,
        train: Examples,
        validation: Examples,
        batch_size: int,
        restart_dead_codes: bool = False,
        augment: bool = False,
        teacher_weight: float | None = None,
    ) -> None:
        torch.manual_seed(step_seed(seed, self.number))
        self.examples = train.to_learn_from()
        self.network = VQVAE(config)
        if teacher_weight is None:
            self.watched = "reconstruction"
            self.loss = ReconstructionLoss(self.network, augment=augment)
        else:
            self.watched = "teacher"
            teacher = Teacher(load_musicnn())
            self.loss = ReconstructionLoss(self.network, teacher, teacher_weight, augment)
        self.codebook_size = config.codebook_size
        self._validation = validation
        self._batch_size = batch_size
        self._restarts, self._seed = restart_dead_codes, step_seed(seed, self.number)
        if restart_dead_codes and len(self.examples):
            restart_unused_codes(self.network.train(), self.examples, self._seed)

    def after_epoch(self, epoch: int) -> None:
        """Restart the codes that training music does not use, where the recipe wants it."""
        if self._restarts:
            restart_unused_codes(self.network.eval(), self.examples, self._seed + epoch)
            self.network.train()

    def validate(self, machine: Machine, precision: Precision) -> dict[str, int | float]:
        """Measure the losses and the use of the codebook on validation."""
        examples = self._validation
        sums = torch.zeros(1 + len(self.loss.part_names), dtype=torch.float32, device=machine.device)
        counts = torch.zeros(self.network.config.codebook_size, dtype=torch.int64, device=machine.device)
        mine = share_of_process(np.arange(len(examples)), machine.processes, machine.process)
        for start in range(0, len(mine), self._batch_size):
            positions = mine[start : start + self._batch_size]
            with reduced(precision, machine.device):
                batch = examples.batch(positions, machine.device)
                losses: Losses = self.loss(batch.inputs, batch.targets)
            sums += torch.stack([losses.total, *losses.parts.values()]) * len(positions)
            if losses.codes is not None:
                counts += torch.bincount(losses.codes.flatten(), minlength=len(counts))
        means = machine.sum(sums).cpu().numpy().astype(np.float64) / len(examples)
        figures = dict(zip(("loss", *self.loss.part_names), means.tolist(), strict=True))
        used = machine.sum(counts).cpu().numpy()
        return figures | {"perplexity": perplexity(used), "dead_codes": int((used == 0).sum())}


@torch.no_grad()
def restart_unused_codes(vqvae: VQVAE, examples: Examples, seed: int) -> int:
    """Move the codes that a sample of training music does not use onto latents of that music.

    An encoder with fresh weights gives latents of about unit size, far outside U(-1/K, 1/K): the few codes that win
    first are pulled along with it, and the others are never chosen again.

    Args:
        vqvae: The VQ-VAE. Its mode says whose statistics batch norm takes: in eval mode its own, with which it will
            encode when it is fixed; in training mode the sample's, as before the first epoch it has none of its own.
        examples: Log-mel segments to draw the sample from.
        seed: Draws the sample and the latents, alike in every process.

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
    return len(unused)
