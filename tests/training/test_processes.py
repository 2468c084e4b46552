"""Two processes that share each batch give the same losses as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from moodbook.errors import TrainingError
from moodbook.training.machine import Machine
from moodbook.training.processes import share_batch_norm
from moodbook.training.run_folder import require_same

PROGRAM = Path(__file__).with_name("two_steps.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.mark.slow
@pytest.mark.parametrize("codebook", ["averages", "gradient"])
def test_two_processes_give_the_losses_of_one(tmp_path: Path, codebook: str) -> None:
    _train((), tmp_path / "one", codebook)
    _train(TORCHRUN, tmp_path / "two", codebook)
    alone, together = _rows(tmp_path / "one"), _rows(tmp_path / "two")
    assert len(alone) == len(together) == 4
    assert json.loads((tmp_path / "two" / "step-1" / "step.json").read_text())["identity"]["processes"] == 2
    for one, two in zip(alone, together, strict=True):
        parts = ("loss", "reconstruction", "cross_entropy", "codebook", "commitment")
        assert {name: two["train"][name] for name in parts if name in two["train"]} == pytest.approx(
            {name: one["train"][name] for name in parts if name in one["train"]}, rel=1e-4
        )
    # The losses did move, far beyond the tolerance.
    for first, last in (alone[:2], alone[2:]):
        assert abs(last["train"]["loss"] / first["train"]["loss"] - 1) > 2e-3
    _train(TORCHRUN, tmp_path / "again", codebook)
    assert [row["train"] for row in _rows(tmp_path / "again")] == [row["train"] for row in together]


def test_one_process_keeps_its_batch_norm(machine: Machine) -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm2d(3))
    assert share_batch_norm(module, machine) is module
    assert type(module[0]) is torch.nn.BatchNorm2d


def test_another_number_of_processes_is_another_run(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="processes is 2 there and 1 now"):
        require_same({"processes": 1}, {"processes": 2}, tmp_path)


def _train(launcher: tuple[str, ...], folder: Path, codebook: str) -> None:
    environment: Mapping[str, str] = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *launcher, str(PROGRAM), str(folder), codebook]
    subprocess.run(command, check=True, env=environment, capture_output=True)


def _rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
