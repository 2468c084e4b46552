"""Both steps on synthetic segments, resuming whatever is in the folder.

``python two_steps.py`` waits for folders on its stdin, see `serve`: the kill tests kill what it starts.
``python two_steps.py FOLDER CODEBOOK`` trains once, alone or under torchrun, without dropout, whose random numbers
would differ between processes; CODEBOOK says what moves the codebook.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from moodbook.networks.config import CNNConfig, NetworkConfig, VQVAEConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.examples import Examples
from moodbook.training.loop import train_step
from moodbook.training.machine import Machine, tuned_processor
from moodbook.training.progress import Display
from moodbook.training.recipe import Step1Config, Step2Config
from moodbook.training.run_folder import MetricsLog
from moodbook.training.step import Plan, read_weights
from moodbook.training.tagger import Step2
from moodbook.training.vqvae import Step1

CONFIG = VQVAEConfig(width=4, codebook_size=8)
EPOCHS = 2


@dataclass(frozen=True)
class Setting:
    """What the two programs differ in."""

    count: int = 4
    batch_size: int = 2
    dropout: float = 0.3
    learning_rate: float = 0.01
    step_1: Mapping[str, Any] = field(
        default_factory=lambda: {"restart_dead_codes": True, "codebook": "averages", "gradient": "rotation"}
    )
    """Dials of step 1 that are not the paper's."""
    chained: bool = True
    """Step 2 begins with the weights of step 1; else with fresh ones."""


TO_KILL = Setting()
# Batches of five: two processes take shares of three and two. Two choices would make rounding decide: a code that one
# latent uses or none, and, chained, the biases before a batch norm, which have no gradient but rounding and move as far
# as any other under Adam, so that step 2 would begin elsewhere.
_TO_SHARE = Setting(count=10, batch_size=5, dropout=0.0, learning_rate=2e-4, step_1={}, chained=False)
TO_SHARE = {
    "gradient": _TO_SHARE,
    "averages": replace(_TO_SHARE, step_1={"codebook": "averages", "gradient": "rotation"}),
}


def train_both_steps(folder: Path, display: Display, setting: Setting = TO_KILL, *, resume: bool = True) -> None:
    """Train step 1, then a step 2 that updates; a checkpoint after each batch."""
    count, size = setting.count, setting.batch_size
    machine, metrics = Machine(), MetricsLog(folder / "metrics.jsonl")
    labelled = Examples(
        inputs=np.random.default_rng(5).uniform(-0.9, 0.9, (count, 128, 1024)).astype(np.float16),
        rows=np.arange(count),
        tracks=np.arange(count) // 2,
        filled=np.ones(count, dtype=np.float32),
        ground_truth=np.eye(2, dtype=np.float32)[np.arange(count // 2) % 2],
    )
    unlabelled = replace(labelled, ground_truth=None)
    system = NetworkConfig(vqvae=CONFIG, classifier=CNNConfig(channels=1, hidden=6, dense=6, dropout=setting.dropout))

    def plan(config: Step1Config | Step2Config, name: str) -> Plan:
        identity = {"recipe": "two steps", "processes": machine.processes}
        return Plan(config, "float32", 0, folder / name, identity, resume, checkpoint_seconds=0.0)

    steps = {"batch_size": size, "max_epochs": EPOCHS, "learning_rate": setting.learning_rate, "random_crops": True}
    first = Step1Config(**steps, **setting.step_1)
    step_1 = Step1(CONFIG, 0, unlabelled, unlabelled, first)
    train_step(step_1, plan(first, "step-1"), machine, metrics, display)
    torch.manual_seed(1)
    weights = read_weights(folder / "step-1").tensors if setting.chained else VQVAE(CONFIG).state_dict()
    second = Step2Config(**steps, update_vqvae=True)
    step_2 = Step2(system, 2, 0, labelled, labelled, size, weights, update_vqvae=True)
    train_step(step_2, plan(second, "step-2"), machine, metrics, display)


def serve() -> None:
    """Train in a forked process for each folder named on stdin: say its pid, then how it ended.

    Forking spares each of them the seconds that the imports take.
    """
    importlib.import_module("sklearn.metrics")
    importlib.import_module("torch._dynamo")  # torch's optimisers import it.
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            train_both_steps(Path(line.rstrip("\n")), Display())
            os._exit(0)
        print(pid, flush=True)  # noqa: T201 (the parent reads it)
        print(os.waitpid(pid, 0)[1], flush=True)  # noqa: T201


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tuned_processor():
        if len(sys.argv) > 1:
            train_both_steps(Path(sys.argv[1]), Display(), TO_SHARE[sys.argv[2]])
        else:
            serve()
