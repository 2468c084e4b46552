"""Step 1: the VQ-VAE learns to reconstruct log-mel, without labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.codebook import CodebookAverages, perplexity, restart_unused_codes
from moodbook.training.examples import Examples
from moodbook.training.given import load_vqvae
from moodbook.training.losses import Losses, ReconstructionLoss
from moodbook.training.machine import Machine, Precision, reduced
from moodbook.training.order import share_of_process, step_seed
from moodbook.training.recipe import Step1Config
from moodbook.training.step import TrainingStep
from moodbook.training.teacher.teacher import Teacher

_OF_EACH_NUMBER = {"semantic.output.weight", "semantic.output.bias"}
"""The weights that have a row for each number that the semantic decoder gives."""


class Step1(TrainingStep):
    """What step 1 brings to the loop.

    Early stopping watches the reconstruction on validation, not the whole loss: the codebook and commitment losses grow
    while a codebook comes to life, and are smallest where it has collapsed. With a teacher it watches the teacher's
    error.

    Args:
        config: The VQ-VAE to train.
        seed: The recipe's seed; it fixes the initial weights.
        train: Segments of the training tracks; with a teacher, what it hears of them where the recipe augments, what
            it says of them otherwise.
        validation: Segments of the validation tracks, alike.
        dials: What the recipe says of this step.
        start: The weights from which it learns on; None: random ones.

    Raises:
        ModelError: The teacher's weights are not here.
        TrainingError: What it learns on from is another VQ-VAE.
    """

    number: ClassVar[Literal[1, 2]] = 1
    higher_is_better: ClassVar[bool] = False

    loss: ReconstructionLoss

    def __init__(
        self,
        config: VQVAEConfig,
        seed: int,
        train: Examples,
        validation: Examples,
        dials: Step1Config,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        torch.manual_seed(step_seed(seed, self.number))
        self.examples = train.to_learn_from()
        self.network = VQVAE(config)
        if start is not None:
            _begin_with(self.network, start)
        self.network.quantizer.gradient = dials.gradient
        averages = None
        if dials.codebook == "averages":
            self.network.quantizer.codebook.requires_grad_(False)
            averages = CodebookAverages(config)
        teacher: Teacher | nn.Identity | None = None
        if dials.teacher is not None:
            teacher = nn.Identity() if dials.asks_once else Teacher.load(dials.teacher)
        self.watched = "reconstruction" if teacher is None else "teacher"
        self.loss = ReconstructionLoss(
            self.network, teacher, dials.teacher_weight, dials.augment, averages, dials.harmony_weight
        )
        self.codebook_size = config.codebook_size
        self._validation = validation
        self._batch_size = dials.batch_size
        self._restarts, self._seed = dials.restart_dead_codes, step_seed(seed, self.number)
        if dials.restart_dead_codes and len(self.examples):
            restart_unused_codes(self.network.train(), self.examples, self._seed, averages)

    def after_batch(self, machine: Machine) -> None:
        """Let the codebook follow its averages, where the recipe wants it."""
        if self.loss.averages is not None:
            self.loss.averages.move(self.network.quantizer.codebook, machine)

    def after_epoch(self, epoch: int) -> None:
        """Restart the codes that training music does not use, where the recipe wants it."""
        if self._restarts:
            restart_unused_codes(self.network.eval(), self.examples, self._seed + epoch, self.loss.averages)
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


def _begin_with(vqvae: VQVAE, start: Mapping[str, Tensor]) -> None:
    """Load the weights of another VQ-VAE, whose semantic decoder may give another number of numbers.

    Raises:
        TrainingError: It differs in something else.
    """
    own, begun = vqvae.state_dict(), dict(start)
    for name in _OF_EACH_NUMBER & begun.keys() & own.keys():
        both = min(len(begun[name]), len(own[name]))
        begun[name] = torch.cat([begun[name][:both], own[name][both:]])
    load_vqvae(vqvae, begun)
