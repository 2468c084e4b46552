"""Training beside a plain eager float32 loop, and step 2 on cached codes beside encoding anew in every epoch.

    python benchmarks/training.py [--rounds N]

The first table is `training_step.py` with and without what Moodbook does for the processor, each step in a process of
its own: in the precision that suits the processor, denormals flushed, memory kept, beside float32 with none of that.
The second is one process: the same batch, its codes given or encoded again by the fixed VQ-VAE.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import Table, hand_over, interleave, ratio, seconds

from moodbook.features import N_MELS, SEGMENT_FRAMES
from moodbook.networks.tagger import build_network
from moodbook.training.losses import TaggingLoss
from moodbook.training.machine import tuned_processor
from moodbook.training.recipe import read_recipe

STEP = Path(__file__).with_name("training_step.py")
RECIPE = "open"
CACHED = ("open", "run-2", "run-4")
"""The bundled model's head on a narrow VQ-VAE; the paper's GRU and CNN on a fixed one of the full width."""
N_TAGS, CLIPS = 56, 2


def one_step(step: int, *arguments: str) -> Callable[[], float]:
    """Make a side of a training step in a process of its own: seconds a clip."""
    command = [sys.executable, str(STEP), "--row", RECIPE, str(step), "--steps", "5", *arguments]

    def measure() -> float:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        figures = json.loads(done.stdout)
        return float(figures["seconds"]) / int(figures["batch"])

    return measure


def step_2(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Give a training step of step 2 on codes, and on the log-mel that they come from."""
    torch.manual_seed(0)
    network = build_network(read_recipe(name).network, N_TAGS)
    network.fix_vqvae()
    loss = TaggingLoss(network).train()
    optimizer = torch.optim.Adam([parameter for parameter in loss.parameters() if parameter.requires_grad])
    log_mel = torch.empty(CLIPS, N_MELS, SEGMENT_FRAMES).uniform_(-0.9, 0.9)
    targets = (torch.rand(CLIPS, N_TAGS) < 0.05).float()
    assert network.vqvae is not None
    vqvae = network.vqvae
    with torch.inference_mode():
        kept = vqvae.codes(log_mel).clone()
    codes = torch.from_numpy(kept.numpy().copy())

    def learn(batch: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(batch, targets).total.backward()
        optimizer.step()

    def on_codes() -> None:
        learn(codes)

    def encoding_anew() -> None:
        with torch.no_grad():
            again = vqvae.codes(log_mel)
        learn(again)

    return on_codes, encoding_anew


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    steps = Table("training", ("step", "Moodbook, s a clip", "plain loop, s a clip", "times as fast")).begin()
    for step in (1, 2):
        sides = {"ours": one_step(step), "plain": one_step(step, "--precision", "float32", "--untuned")}
        found = interleave(sides, options.rounds)
        faster = ratio(found["plain"], found["ours"])
        median = {side: statistics.median(values) for side, values in found.items()}
        cells = (f"{step}, recipe {RECIPE}", f"{median['ours']:.4f}", f"{median['plain']:.4f}", f"{faster:.1f}")
        steps.add(cells, step=step, recipe=RECIPE, ours=median["ours"], plain=median["plain"], ratio=faster)
    columns = ("recipe", "on codes, s a clip", "encoding anew, s a clip", "times as fast")
    cached = Table("cached-codes", columns).begin()
    with tuned_processor():
        for name in CACHED:
            on_codes, encoding_anew = step_2(name)
            on_codes()
            encoding_anew()
            found = interleave({"codes": seconds(on_codes), "anew": seconds(encoding_anew)}, options.rounds)
            faster = ratio(found["anew"], found["codes"])
            median = {side: statistics.median(values) / CLIPS for side, values in found.items()}
            cells = (name, f"{median['codes']:.4f}", f"{median['anew']:.4f}", f"{faster:.1f}")
            cached.add(cells, recipe=name, on_codes=median["codes"], encoding_anew=median["anew"], ratio=faster)
    hand_over(steps, cached)


if __name__ == "__main__":
    main()
