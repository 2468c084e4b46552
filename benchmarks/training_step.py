"""Time and memory of one training step of each system at full width, and of the demo, as a Markdown table.

    python benchmarks/training_step.py                          all rows, in the precision that suits the processor
    python benchmarks/training_step.py --precision float32      without bfloat16
    python benchmarks/training_step.py --only run-4 --batch 2   the rows of one recipe, smaller batches
    python benchmarks/training_step.py --only demo --untuned    without what tuned_processor() sets
    python benchmarks/training_step.py --device cuda --compile --steps 20 --only open-start  on a GPU, by torch.compile

The networks, the losses and the batch size are those of the recipes and the training code, but for the teacher and the
augmentation of `open-start`, which are left out; the segments, codes and tags are random, which changes neither. A
fixed VQ-VAE is not run in step 2: its codes are cached before. Each row is measured in a process of its own, so its
peak memory (all of the process, torch's 300 MiB or so included; on a GPU what torch has allocated there) is its own.

Floating-point operations are counted by torch while a step runs (convolutions and matrix products, forward and
backward; a multiply-add is two). The peak beside them is the fastest of five products of square matrices in the same
precision, in the same process, after the steps.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import resource
import subprocess
import sys
from typing import Any

from measuring import timed

STEP_1 = ("run-1", "run-5", "demo", "open-start")
"""Type-1 and Type-2; the other runs share their step 1."""
STEP_2 = ("run-1", "run-2", "run-3", "run-4", "run-5", "vggish", "demo", "open-start")
N_TAGS = 56
KIB_PER_MIB, BYTES_PER_MIB = 1024, 1024**2
MATRIX_SIZE = {"cpu": 2048, "cuda": 8192}
PRODUCTS = 5


def measure(name: str, step: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run training steps of one recipe in this process, the first for nothing; give the figures of the last one."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from moodbook.features import N_MELS, SEGMENT_FRAMES
    from moodbook.networks.config import LATENT_FRAMES
    from moodbook.networks.tagger import build_network
    from moodbook.networks.vqvae import VQVAE
    from moodbook.training.losses import ReconstructionLoss, TaggingLoss
    from moodbook.training.machine import lay_out, reduced, resolve_precision, tuned_processor
    from moodbook.training.recipe import StepConfig, read_recipe

    torch.manual_seed(0)
    recipe = read_recipe(name)
    device = torch.device(options.device)
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

    inputs, targets = inputs.to(device), None if targets is None else targets.to(device)
    lay_out(loss.to(device), precision)
    learning = [parameter for parameter in loss.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(learning, lr=dials.learning_rate)
    loss.train()

    def learn(module: torch.nn.Module) -> None:
        optimizer.zero_grad(set_to_none=True)
        with reduced(precision, device):
            losses = module(inputs, targets)
        losses.total.backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    with contextlib.nullcontext() if options.untuned else tuned_processor():
        with FlopCounterMode(display=False) as counter:
            learn(loss)
        module = torch.compile(loss) if options.compile else loss
        step_costs = [timed(functools.partial(learn, module))() for _ in range(options.steps)]
        cost = step_costs[-1]
        peak = peak_teraflop_per_second(precision, device)
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated() / BYTES_PER_MIB
    else:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        memory = most / (BYTES_PER_MIB if sys.platform == "darwin" else KIB_PER_MIB)
    return {
        "precision": precision,
        "batch": size,
        "seconds": cost.seconds,
        "processor_seconds": cost.processor_seconds,
        "teraflop": counter.get_total_flops() / 1e12,
        "peak_teraflop_per_second": peak,
        "peak_mib": memory,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def peak_teraflop_per_second(precision: str, device: torch.device) -> float:
    """Measure what the machine reaches in the product of two large matrices."""
    import torch

    size = MATRIX_SIZE[device.type]
    one, two = (torch.randn(size, size, device=device, dtype=getattr(torch, precision)) for _ in range(2))

    def multiply() -> None:
        torch.mm(one, two)
        if device.type == "cuda":
            torch.cuda.synchronize()

    fastest = min(timed(multiply)().seconds for _ in range(PRODUCTS))
    return 2 * size**3 / fastest / 1e12


def measure_alone(name: str, step: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one row in a process of its own."""
    command = [sys.executable, __file__, "--row", name, str(step), "--precision", options.precision]
    command += ["--steps", str(options.steps)] + (["--batch", str(options.batch)] if options.batch else [])
    command += ["--device", options.device]
    command += [f"--{flag}" for flag in ("untuned", "compile") if getattr(options, flag)]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, Any] = json.loads(finished.stdout)
    return figures


def main() -> None:
    """Print the table, a row at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--batch", type=int, help="clips a step (default: the recipe's)")
    parser.add_argument("--steps", type=int, default=2, help="steps to run after the first; the last is reported")
    parser.add_argument("--device", choices=tuple(MATRIX_SIZE), default="cpu")
    parser.add_argument("--compile", action="store_true", help="through torch.compile")
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
    columns = ("recipe", "step", "precision", "threads", "clips", "s a step", "s a clip", "s of processor time a clip")
    print("| " + " | ".join((*columns, "TFLOP/s", "of the machine's matrix peak", "peak MiB")) + " |")
    print("|" + "---|" * (len(columns) + 3), flush=True)
    version = ""
    for name, step in rows:
        figures = measure_alone(name, step, options)
        seconds, clips = figures["seconds"], figures["batch"]
        speed = figures["teraflop"] / seconds
        version = figures["torch"]
        print(
            f"| {name} | {step} | {figures['precision']} | {figures['threads']} | {clips} "
            f"| {seconds:.3f} | {seconds / clips:.4f} | {figures['processor_seconds'] / clips:.4f} "
            f"| {speed:.3g} | {speed / figures['peak_teraflop_per_second']:.0%} | {figures['peak_mib']:.0f} |",
            flush=True,
        )
    print(f"\ntorch {version}")


if __name__ == "__main__":
    main()
