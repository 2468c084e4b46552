"""The losses of both steps, each a module that turns a batch into one number to lower and the parts it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float32, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import TrainingError
from moodbook.networks.tagger import TaggingNetwork
from moodbook.networks.vqvae import VQVAE
from moodbook.training.augment import change_hearing, change_log_mel, draw_changes
from moodbook.training.codebook import CodebookAverages
from moodbook.training.teacher.harmony import Harmony
from moodbook.training.teacher.names import HARMONY_FEATURES
from moodbook.training.teacher.teacher import Teacher, teacher_error


@dataclass(frozen=True)
class Losses:
    """The losses of one batch, means over it.

    Args:
        total: What is lowered.
        parts: What it is the sum of, unweighted, by name.
        codes: The codes of the batch; None where there are none, or readings in their place.
    """

    total: Float[Tensor, ""]
    parts: Mapping[str, Float[Tensor, ""]]
    codes: Int[Tensor, "batch bands steps"] | None


class StepLoss(nn.Module):
    """What turns a batch into its losses.

    Attributes:
        network: What learns.
        part_names: The names of the losses' parts, in order.
    """

    network: nn.Module
    part_names: tuple[str, ...]


class ReconstructionLoss(StepLoss):
    """Step 1: ``MSE(x', x) + MSE(z_q, sg z_e) + commitment_weight * MSE(z_e, sg z_q)``.

    With a teacher, plus ``teacher_weight * MSE(semantic(z_q), teacher(x))``, whose gradient passes the quantiser
    straight through to the encoder, as that of the reconstruction does; with harmony, plus ``harmony_weight`` times the
    same error of the numbers behind the teacher's.

    Args:
        vqvae: The VQ-VAE that learns.
        teacher: Says what the semantic decoder is to read, of what it hears; `nn.Identity()` where it has said so
            already; None without one.
        teacher_weight: Weight of the semantic decoder's error.
        augment: Whether to learn from mixed and equalised music (`moodbook.training.augment`) while training, which a
            teacher has to hear.
        averages: Watches the latents of what is learned from, where the codebook follows averages.
        harmony_weight: Weight of the error in reading harmony; 0: it is not read.

    Source:
        The paper, section on the VQ-VAE; van den Oord et al. 2017, equation 3.
    """

    network: VQVAE

    def __init__(
        self,
        vqvae: VQVAE,
        teacher: Teacher | nn.Identity | None = None,
        teacher_weight: float = 1.0,
        augment: bool = False,
        averages: CodebookAverages | None = None,
        harmony_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.network, self.teacher, self.averages = vqvae, teacher, averages
        self.harmony = Harmony() if harmony_weight else None
        taught = {"harmony": self.harmony, "teacher": self.teacher}
        told = (name for name, module in taught.items() if module is not None)
        self.part_names = ("reconstruction", "codebook", "commitment", *told)
        self._teacher_weight, self._harmony_weight, self._augment = teacher_weight, harmony_weight, augment

    def forward(
        self,
        log_mel: Float32[Tensor, "batch n_mels frames"],
        lesson: Float32[Tensor, "batch places numbers"] | None = None,
    ) -> Losses:
        """Measure the losses of a batch of segments.

        Args:
            log_mel: The segments.
            lesson: What the teacher hears of them, or has said of them.

        Raises:
            TrainingError: There is a teacher, and no lesson.
        """
        if self._augment and self.training:
            changes = draw_changes(len(log_mel), log_mel.device)
            with torch.no_grad(), torch.autocast(log_mel.device.type, enabled=False):
                log_mel = change_log_mel(log_mel, changes)
                lesson = None if lesson is None else change_hearing(lesson, changes)
        output = self.network(log_mel)
        if self.averages is not None and self.training:
            self.averages.observe(output.latents, output.codes)
        # MSE(x', x)
        reconstruction = functional.mse_loss(output.reconstruction, log_mel)
        total = reconstruction + output.codebook_loss + self.network.config.commitment_weight * output.commitment_loss
        parts = {
            "reconstruction": reconstruction,
            "codebook": output.codebook_loss,
            "commitment": output.commitment_loss,
        }
        told = output.semantic
        if self.harmony is not None:
            if told is None:
                raise TrainingError("harmony wants a VQ-VAE with a semantic decoder to teach")
            told, of_harmony = told[..., :-HARMONY_FEATURES], told[..., -HARMONY_FEATURES:]
            parts["harmony"] = teacher_error(of_harmony, self.harmony(log_mel))
            total = total + self._harmony_weight * parts["harmony"]
        if self.teacher is not None:
            if lesson is None or told is None:
                raise TrainingError("a teacher wants to hear the music and a VQ-VAE with a semantic decoder to teach")
            parts["teacher"] = teacher_error(told, self.teacher(lesson))
            total = total + self._teacher_weight * parts["teacher"]
        return Losses(total, parts, output.codes)


class TaggingLoss(StepLoss):
    """Step 2: binary cross-entropy with logits; where the VQ-VAE learns on, plus its codebook and commitment losses.

    There is no reconstruction loss in step 2, so the decoder does not learn. A fixed VQ-VAE is not run at all: the
    inputs are its codes, or what its semantic decoder has read from them.

    Args:
        network: The network that learns; its VQ-VAE may be fixed.

    Source:
        The paper, section on the training of the classifiers.
    """

    network: TaggingNetwork

    def __init__(self, network: TaggingNetwork) -> None:
        super().__init__()
        self.network = network
        self._commitment_weight = 0.0 if network.vqvae is None else network.vqvae.config.commitment_weight
        learns_codes = network.vqvae is not None and not network.vqvae.fixed
        self.part_names = ("cross_entropy", "codebook", "commitment") if learns_codes else ("cross_entropy",)

    def forward(
        self, inputs: Shaped[Tensor, "batch height width"], targets: Float32[Tensor, "batch tags"] | None
    ) -> Losses:
        """Measure the losses of a batch of log-mel segments; of codes or readings where the VQ-VAE is fixed.

        Raises:
            TrainingError: There are no targets.
        """
        if targets is None:
            raise TrainingError("step 2 learns from labels and got none; give tracks with tags")
        if self.network.vqvae is not None and self.network.vqvae.fixed:
            logits = self.network.logits_from_cached(inputs)
            cross_entropy = functional.binary_cross_entropy_with_logits(logits, targets)
            codes = None if inputs.is_floating_point() else inputs
            return Losses(cross_entropy, {"cross_entropy": cross_entropy}, codes)
        output = self.network(inputs)
        cross_entropy = functional.binary_cross_entropy_with_logits(output.logits, targets)
        if output.vq is None:
            return Losses(cross_entropy, {"cross_entropy": cross_entropy}, None)
        vq = output.vq
        total = cross_entropy + vq.codebook_loss + self._commitment_weight * vq.commitment_loss
        parts = {"cross_entropy": cross_entropy, "codebook": vq.codebook_loss, "commitment": vq.commitment_loss}
        return Losses(total, parts, vq.codes)
