"""A segment with its teacher: musicnn's front as products of matrices beside torch's convolutions, and asked once.

    python benchmarks/teacher.py [--rounds N] [--batch N]

Random music, and the recipe `open`. The first table: both networks of the teacher over the eight windows of each
segment, in float32 and in bfloat16. The second: a training step of step 1 that asks the teacher about each batch, as
one does that augments, beside one that is given what the teacher has said already. Needs the package that has the
teacher's weights (`pip install --no-deps musicnn==0.1.0`); how fast it is does not depend on what they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial

import torch
from measuring import Table, hand_over, interleave, median, ratio, timed
from torch import Tensor, nn
from torch.nn import functional

from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.networks.vqvae import VQVAE
from moodbook.training.losses import ReconstructionLoss
from moodbook.training.machine import Precision, lay_out, reduced, tuned_processor
from moodbook.training.recipe import read_recipe
from moodbook.training.teacher import musicnn
from moodbook.training.teacher.hearing import ROW_FRAMES
from moodbook.training.teacher.musicnn import MusiCNN, find_weights
from moodbook.training.teacher.names import NETWORKS
from moodbook.training.teacher.teacher import Teacher
from moodbook.training.teacher.tensor_bundle import read_tensor_bundle

CPU = torch.device("cpu")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


class Convolved(MusiCNN):
    """The same network, its front by torch's convolutions of one channel."""

    def __init__(self, weights: dict) -> None:
        super().__init__(weights)
        for number in range(5):
            name = f"conv2d_{number}" if number else "conv2d"
            kernel = torch.from_numpy(weights[f"{name}/kernel"].copy()).permute(3, 2, 0, 1)
            self.register_buffer(f"plain_{number}", kernel * self.get_buffer(f"signs_{number}")[:, None, None, None])

    def _timbral(self, hidden: Tensor, number: int) -> Tensor:
        image = functional.pad(hidden[:, None], (0, 0, 3, 3))
        return self._rectified(functional.conv2d(image, self.get_buffer(f"plain_{number}")).amax(dim=3), number)

    def _temporal(self, hidden: Tensor, number: int) -> Tensor:
        kernel = self.get_buffer(f"plain_{number}")
        image = functional.pad(hidden[:, None], (0, 0, (kernel.shape[2] - 1) // 2, kernel.shape[2] // 2))
        return self._rectified(functional.conv2d(image, kernel).amax(dim=3), number)


def load(kind: type[MusiCNN]) -> Teacher:
    networks = []
    for name in NETWORKS["two-musicnn"]:
        folder = find_weights(name)
        networks.append(kind(read_tensor_bundle(folder / ".index", folder / ".data-00000-of-00001")))
    return Teacher(*networks)


def compare(
    table: Table,
    precision: Precision,
    slow: Callable[[], object],
    fast: Callable[[], object],
    options: argparse.Namespace,
) -> None:
    """Add a row: two ways of doing the same, and how many times as fast the second one is."""
    found = interleave({"slow": timed(slow), "fast": timed(fast)}, options.rounds)
    faster = ratio(found["slow"], found["fast"])
    seconds = [median(found[side]).seconds / options.batch for side in ("slow", "fast")]
    table.add(
        (precision, *(f"{each:.3f}" for each in seconds), f"{faster.seconds:.1f}", f"{faster.processor_seconds:.1f}"),
        precision=precision,
        batch=options.batch,
        seconds=seconds,
        ratio=faster.seconds,
        processor_ratio=faster.processor_seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    recipe = read_recipe("open")
    assert recipe.vqvae is not None
    assert recipe.step_1 is not None
    dials = recipe.step_1
    torch.manual_seed(0)
    heard = torch.rand(options.batch, ROW_FRAMES, musicnn.N_MELS) * 3
    log_mel = torch.rand(options.batch, N_MELS, SEGMENT_FRAMES)
    teacher, convolved = load(MusiCNN), load(Convolved)
    network = VQVAE(recipe.vqvae)

    def ask(asked: Teacher, precision: Precision) -> Tensor:
        with reduced(precision, CPU):
            return asked(heard)

    def learn(speaker: Teacher | nn.Identity, lesson: Tensor, precision: Precision) -> None:
        loss = ReconstructionLoss(network, speaker, dials.teacher_weight, harmony_weight=dials.harmony_weight).train()
        with reduced(precision, CPU):
            total = loss(log_mel, lesson).total
        total.backward()
        network.zero_grad()

    with tuned_processor():
        columns = ("convolutions, s a segment", "products, s a segment", "times as fast", "in processor time")
        front = Table("teacher", ("both networks", *columns)).begin()
        for precision in PRECISIONS:
            torch.testing.assert_close(
                ask(teacher, precision),
                ask(convolved, precision),
                rtol=0,
                atol=1e-3 if precision == "float32" else 0.2,
            )
            compare(front, precision, partial(ask, convolved, precision), partial(ask, teacher, precision), options)
        print()
        columns = ("the teacher is asked, s a segment", "it has said so already, s a segment", *columns[2:])
        steps = Table("teacher-steps", ("a training step of `open`", *columns)).begin()
        said = teacher(heard)
        for precision in PRECISIONS:
            lay_out(network, precision)
            asked, told = partial(learn, teacher, heard, precision), partial(learn, nn.Identity(), said, precision)
            told()
            compare(steps, precision, asked, told, options)
    hand_over(front, steps)


if __name__ == "__main__":
    main()
