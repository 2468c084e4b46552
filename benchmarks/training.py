"""Training beside a plain eager float32 loop, and step 2 on what is kept beside encoding anew in every epoch.

    python benchmarks/training.py [--rounds N]
    python benchmarks/training.py --kept own     the second table alone, of these recipes

The first table is `training_step.py` with and without what Moodbook does for the processor, each step in a process of
its own: in the precision that suits the processor, denormals flushed, memory kept, beside float32 with none of that.
The second is one process: the same batch, as large as the recipe has it, what is kept of it given (its codes; for
`own` what the semantic decoder reads from them) or made again by the fixed VQ-VAE.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import Cost, Ratio, Table, hand_over, interleave, median, ratio, timed

from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.networks.config import SemanticConfig
from moodbook.networks.tagger import build_network
from moodbook.training.losses import TaggingLoss
from moodbook.training.machine import tuned_processor
from moodbook.training.recipe import read_recipe

STEP = Path(__file__).with_name("training_step.py")
RECIPE = "open-start"
KEPT = ("own", "open-start", "run-2", "run-4")
"""The bundled model's head on a narrow VQ-VAE, without random crops and with them; the paper's GRU and CNN on a fixed
one of the full width."""
N_TAGS = 56


@dataclass(frozen=True)
class Step(Cost):
    """A training step, by the clip.

    Attributes:
        teraflop: Floating-point operations, in 10^12.
        of_peak: Their share of what the machine reaches in a matrix product, in the same process.
    """

    teraflop: float
    of_peak: float


def one_step(step: int, *arguments: str) -> Callable[[], Step]:
    """Make a side of a training step in a process of its own."""
    command = [sys.executable, str(STEP), "--row", RECIPE, str(step), "--steps", "4", *arguments]

    def measure() -> Step:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        figures = json.loads(done.stdout)
        clips = figures["batch"]
        of_peak = figures["teraflop"] / figures["seconds"] / figures["peak_teraflop_per_second"]
        return Step(
            figures["seconds"] / clips, figures["processor_seconds"] / clips, figures["teraflop"] / clips, of_peak
        )

    return measure


def step_2(name: str) -> tuple[Callable[[], None], Callable[[], None], int]:
    """Give a training step of step 2 on what is kept, one on the log-mel that it is of, and the clips of a batch."""
    torch.manual_seed(0)
    recipe = read_recipe(name)
    clips = recipe.step_2.batch_size
    network = build_network(recipe.network, N_TAGS)
    network.fix_vqvae()
    loss = TaggingLoss(network).train()
    optimizer = torch.optim.Adam([parameter for parameter in loss.parameters() if parameter.requires_grad])
    log_mel = torch.empty(clips, N_MELS, SEGMENT_FRAMES).uniform_(-0.9, 0.9)
    targets = (torch.rand(clips, N_TAGS) < 0.05).float()
    assert network.vqvae is not None
    vqvae = network.vqvae
    with torch.no_grad():
        kept = vqvae.codes(log_mel)
        if isinstance(recipe.classifier, SemanticConfig) and not recipe.step_2.random_crops:
            kept = vqvae.read(vqvae.quantizer.lookup(kept))

    def learn(batch: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(batch, targets).total.backward()
        optimizer.step()

    def on_kept() -> None:
        learn(kept)

    def encoding_anew() -> None:
        with torch.no_grad():
            again = vqvae.codes(log_mel)
        learn(again)

    return on_kept, encoding_anew, clips


def _cells(what: str, ours: Cost, other: Cost, faster: Ratio) -> tuple[str, ...]:
    return (
        what,
        f"{ours.seconds:.4f}",
        f"{other.seconds:.4f}",
        f"{faster.seconds:.1f}",
        f"{ours.processor_seconds:.4f}",
        f"{other.processor_seconds:.4f}",
        f"{faster.processor_seconds:.1f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kept", nargs="+", choices=KEPT, help="the second table alone, of these recipes")
    options = parser.parse_args()
    if options.kept is not None:
        beside_encoding_anew(options.kept, options.rounds)
        return
    columns = ("step", "Moodbook, s a clip", "plain loop, s a clip", "times as fast")
    columns += ("Moodbook, s of processor time", "plain loop, s of processor time", "in processor time")
    columns += ("Moodbook, TFLOP/s", "of the matrix peak")
    steps = Table("training", columns).begin()
    for step in (1, 2):
        found = interleave(
            {"ours": one_step(step), "plain": one_step(step, "--precision", "float32", "--untuned")}, options.rounds
        )
        ours, plain, faster = median(found["ours"]), median(found["plain"]), ratio(found["plain"], found["ours"])
        speed = found["ours"][0].teraflop / ours.seconds
        of_peak = statistics.median(cost.of_peak for cost in found["ours"])
        steps.add(
            (*_cells(f"{step}, recipe {RECIPE}", ours, plain, faster), f"{speed:.2g}", f"{of_peak:.0%}"),
            step=step,
            recipe=RECIPE,
            ours=ours.seconds,
            plain=plain.seconds,
            ratio=faster.seconds,
            ours_processor=ours.processor_seconds,
            plain_processor=plain.processor_seconds,
            processor_ratio=faster.processor_seconds,
            teraflop_a_clip=found["ours"][0].teraflop,
            teraflop_per_second=speed,
            of_matrix_peak=of_peak,
        )
    hand_over(steps, beside_encoding_anew(KEPT, options.rounds))


def beside_encoding_anew(names: Sequence[str], rounds: int) -> Table:
    """Measure step 2 of some recipes on what is kept, and encoding anew."""
    columns = ("recipe", "on what is kept, s a clip", "encoding anew, s a clip", "times as fast")
    columns += ("on what is kept, s of processor time", "encoding anew, s of processor time", "in processor time")
    cached = Table("cached-codes", columns).begin()
    with tuned_processor():
        for name in names:
            on_kept, encoding_anew, clips = step_2(name)
            on_kept()
            encoding_anew()
            found_2 = interleave({"kept": timed(on_kept), "anew": timed(encoding_anew)}, rounds)
            medians = (median(found_2[side]) for side in ("kept", "anew"))
            kept, anew = (Cost(cost.seconds / clips, cost.processor_seconds / clips) for cost in medians)
            faster = ratio(found_2["anew"], found_2["kept"])
            cached.add(
                _cells(f"{name}, {clips} clips a step", kept, anew, faster),
                recipe=name,
                batch=clips,
                on_kept=kept.seconds,
                encoding_anew=anew.seconds,
                ratio=faster.seconds,
                on_kept_processor=kept.processor_seconds,
                encoding_anew_processor=anew.processor_seconds,
                processor_ratio=faster.processor_seconds,
            )
    return cached


if __name__ == "__main__":
    main()
