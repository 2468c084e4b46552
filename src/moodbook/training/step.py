"""What a training step is to the loop, how it is trained, and what it leaves behind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from moodbook.errors import TrainingError
from moodbook.training.checkpoint import Stored, read_json, read_tensors, sha256_of
from moodbook.training.examples import Examples
from moodbook.training.losses import StepLoss
from moodbook.training.machine import Machine, Precision
from moodbook.training.recipe import StepConfig

WEIGHTS, SUMMARY, CHECKPOINT = "weights.safetensors", "step.json", "checkpoint.safetensors"
CHECKPOINT_SECONDS = 300.0
"""How much work a crash may cost, unless told otherwise."""


class TrainingStep(ABC):
    """What one of the two steps brings to the loop.

    Attributes:
        loss: The module that turns inputs and targets into `Losses`; its `network` is what learns, and its
            `part_names` are the names of the losses' parts.
        examples: What is learned from.
        codebook_size: K; None where no codes go by: without a VQ-VAE, and on readings.
        watched: Name of the validation figure that early stopping watches.
    """

    number: ClassVar[Literal[1, 2]]
    higher_is_better: ClassVar[bool]

    loss: StepLoss
    examples: Examples
    codebook_size: int | None
    watched: str

    @abstractmethod
    def validate(self, machine: Machine, precision: Precision) -> dict[str, int | float]:
        """Measure the validation split with the network as it is, in eval mode; each process takes a share."""

    def after_batch(self, machine: Machine) -> None:  # noqa: B027 (most steps have nothing to do)
        """Change the network after a batch, when the optimizer has; every process must change it alike."""

    def after_epoch(self, epoch: int) -> None:  # noqa: B027 (most steps have nothing to do)
        """Change the network after an epoch, counted from 1; every process must change it alike."""


@dataclass(frozen=True)
class Plan:
    """How a step is trained.

    Args:
        config: The dials of the optimisation.
        precision: The precision, resolved for this machine.
        seed: The recipe's seed.
        folder: Where the step keeps its checkpoint and leaves its weights.
        identity: What a resumed run must agree on.
        resume: Go on from what is in the folder.
        checkpoint_seconds: Longest time between two checkpoints; 0 writes one after each batch.
    """

    config: StepConfig
    precision: Precision
    seed: int
    folder: Path
    identity: Mapping[str, Any]
    resume: bool = False
    checkpoint_seconds: float = CHECKPOINT_SECONDS


@dataclass(frozen=True)
class StepSummary:
    """How a step ended.

    Args:
        step: 1 or 2.
        watched: The figure that early stopping watched.
        best: Its best value, whose weights were kept.
        best_epoch: The epoch of that value, counted from 1.
        epochs: Epochs trained.
        weights_sha256: Hash of the file of weights.
        identity: What was trained, on what.
    """

    step: int
    watched: str
    best: float
    best_epoch: int
    epochs: int
    weights_sha256: str
    identity: dict[str, Any]


def read_summary(folder: Path) -> StepSummary | None:
    """Read how the step of a folder ended; None where it has not.

    Raises:
        TrainingError: The file is damaged.
    """
    path = folder / SUMMARY
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        return StepSummary(**content)
    except TypeError as error:
        raise TrainingError(f"cannot read '{path}': {error}. Delete '{folder}' to train this step anew") from error


def read_weights(folder: Path) -> Stored:
    """Read the weights that a finished step left.

    Raises:
        TrainingError: The step is not finished, or its weights are missing or not what the step left.
    """
    summary = read_summary(folder)
    if summary is None:
        raise TrainingError(f"'{folder}' holds no finished training step (no {SUMMARY}); train it first")
    if sha256_of(folder / WEIGHTS) != summary.weights_sha256:
        raise TrainingError(f"'{folder / WEIGHTS}' is not the file that this step left; train it anew")
    return read_tensors(folder / WEIGHTS)
