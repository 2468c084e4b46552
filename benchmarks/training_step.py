"""Time and memory of one training step of each system at full width, and of the demo, as a Markdown table.

    python benchmarks/training_step.py                          all rows, in the precision that suits the processor
    python benchmarks/training_step.py --precision float32      without bfloat16
    python benchmarks/training_step.py --only run-4 --batch 2   the rows of one recipe, smaller batches
    python benchmarks/training_step.py --only demo --untuned    without what tuned_processor() sets

The networks, the losses and the batch size are those of the recipes and the training code; the segments, codes and tags
are random, which changes neither figure. A fixed VQ-VAE is not run in step 2: its codes are cached before. Each row is
measured in a process of its own, so that its peak memory (all of the process, torch's 300 MiB or so included) is its
own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import subprocess
import sys
import time
from typing import Any

STEP_1 = ("run-1", "run-5", "demo")
"""Type-1 and Type-2; the other runs share their step 1."""
STEP_2 = ("run-1", "run-2", "run-3", "run-4", "run-5", "vggish", "demo")
N_TAGS = 56
KIB_PER_MIB, BYTES_PER_MIB = 1024, 1024**2


def measure(name: str, step: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run training steps of one recipe in this process and give the figures of the last one."""
    import torch

    from moodbook.features import N_MELS, SEGMENT_FRAMES
    from moodbook.networks.config import LATENT_FRAMES
    from moodbook.networks.tagger import build_network
    from moodbook.networks.vqvae import VQVAE
    from moodbook.training.losses import ReconstructionLoss, TaggingLoss
    from moodbook.training.machine import lay_out, reduced, resolve_precision, tuned_processor
    from moodbook.training.recipe import StepConfig, read_recipe

    torch.manual_seed(0)
    recipe = read_recipe(name)
    device = torch.device("cpu")
    precision = resolve_precision(options.precision, device)
    fixed = step == 2 and recipe.vqvae is not None and not recipe.step_2.update_vqvae
    loss: torch.nn.Module
    if step == 1:
        assert recipe.vqvae is not None
        assert recipe.step_1 is not None
        dials: StepConfig = recipe.step_1
        loss = ReconstructionLoss(VQVAE(recipe.vqvae))
    else:
        dials = recipe.step_2
        network = build_network(recipe.network, N_TAGS)
        if fixed:
            network.fix_vqvae()
        loss = TaggingLoss(network)
    size = options.batch or dials.batch_size
    if fixed and recipe.vqvae is not None:
        inputs = torch.randint(recipe.vqvae.codebook_size, (size, recipe.vqvae.bands, LATENT_FRAMES))
    else:
        inputs = torch.empty(size, N_MELS, SEGMENT_FRAMES).uniform_(-0.9, 0.9)
    targets = None if step == 1 else (torch.rand(size, N_TAGS) < 0.05).float()

    lay_out(loss, precision)
    learning = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=dials.learning_rate)
    loss.train()
    seconds = 0.0
    with contextlib.nullcontext() if options.untuned else tuned_processor():
        for _ in range(options.steps):
            start = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            with reduced(precision, device):
                losses = loss(inputs, targets)
            losses.total.backward()
            optimizer.step()
            seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "precision": precision,
        "batch": size,
        "seconds": seconds,
        "peak_mib": peak / (BYTES_PER_MIB if sys.platform == "darwin" else KIB_PER_MIB),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def measure_alone(name: str, step: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one row in a process of its own."""
    command = [sys.executable, __file__, "--row", name, str(step), "--precision", options.precision]
    command += ["--steps", str(options.steps)] + (["--batch", str(options.batch)] if options.batch else [])
    command += ["--untuned"] if options.untuned else []
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(finished.stdout)
    return figures


def main() -> None:
    """Print the table, a row at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--batch", type=int, help="clips a step (default: the recipe's)")
    parser.add_argument("--steps", type=int, default=2, help="steps to run; the last is reported")
    parser.add_argument("--untuned", action="store_true", help="without what tuned_processor() sets")
    parser.add_argument("--only", metavar="RECIPE", choices=STEP_2, help="the rows of one recipe")
    parser.add_argument("--row", nargs=2, metavar=("RECIPE", "STEP"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        name, step = options.row
        print(json.dumps(measure(name, int(step), options)))
        return

    rows = [(name, 1) for name in STEP_1] + [(name, 2) for name in STEP_2]
    rows = [row for row in rows if options.only in (None, row[0])]
    print("| recipe | step | precision | threads | clips | s a step | s a clip | peak MiB |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    version = ""
    for name, step in rows:
        figures = measure_alone(name, step, options)
        seconds, clips = figures["seconds"], figures["batch"]
        version = figures["torch"]
        print(
            f"| {name} | {step} | {figures['precision']} | {figures['threads']} | {clips} "
            f"| {seconds:.2f} | {seconds / clips:.2f} | {figures['peak_mib']:.0f} |",
            flush=True,
        )
    print(f"\ntorch {version}")


if __name__ == "__main__":
    main()
