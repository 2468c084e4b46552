"""A run that is killed and resumed equals one that was not, bit by bit; and a run is never resumed as another."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from moodbook.errors import TrainingError
from moodbook.networks.config import VQVAEConfig
from moodbook.training.checkpoint import read_tensors, write_tensors
from moodbook.training.examples import Examples
from moodbook.training.loop import train_step
from moodbook.training.machine import Machine
from moodbook.training.progress import Display
from moodbook.training.recipe import Step1Config, read_recipe
from moodbook.training.run_folder import RUN, MetricsLog, begin_run
from moodbook.training.step import Plan, read_weights
from moodbook.training.vqvae import Step1

PROGRAM = Path(__file__).with_name("two_steps.py")
NARROW = VQVAEConfig(width=4, codebook_size=8)


class Stopped(Exception):
    """What a test ends a training with."""


class StopsAfter(Display):
    """Ends the training when it has seen a number of batches."""

    def __init__(self, batches: int) -> None:
        self._left = batches

    def advance(self, done: int, detail: str = "") -> None:
        self._left -= 1
        if self._left < 0:
            raise Stopped


class Trainings:
    """Runs the program of `two_steps`, each folder in a process of its own; `seconds` is what the last one took."""

    seconds = 0.0

    def __enter__(self) -> Trainings:
        self._server = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate()

    def run(self, folder: Path, kill_after: float | None = None) -> bool:
        """Train to the end, or kill -9 after some seconds; say whether it was hit before it ended."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{folder}\n")
        self._server.stdin.flush()
        pid = int(self._server.stdout.readline())
        started = time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            # Until the server has waited for it, a process that has ended keeps its pid.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        status = int(self._server.stdout.readline())
        self.seconds = time.monotonic() - started
        assert status in (0, signal.SIGKILL)
        return status == signal.SIGKILL


def outcome(folder: Path) -> dict[str, Any]:
    """Give all that must not depend on whether the run was broken; seconds may."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"]
    weights = {step: (folder / step / "weights.safetensors").read_bytes() for step in ("step-1", "step-2")}
    return {"rows": rows, "weights": weights}


@pytest.fixture(scope="module")
def train_both_steps() -> Callable[..., None]:
    spec = importlib.util.spec_from_file_location("two_steps", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["two_steps"] = module
    spec.loader.exec_module(module)
    program: Callable[..., None] = module.train_both_steps
    return program


# Two epochs of two batches in each step: in the middle and at the end of an epoch, of a step, of the run.
@pytest.mark.parametrize("stops", [(1, 2, 5), pytest.param(range(8), marks=pytest.mark.slow)], ids=["some", "all"])
def test_stopped_after_any_batch_and_resumed_equals_unbroken(
    stops: Iterable[int], train_both_steps: Callable[..., None], tmp_path: Path
) -> None:
    train_both_steps(tmp_path / "unbroken", Display(), resume=False)
    for batches in stops:
        folder = tmp_path / f"stopped-{batches}"
        with pytest.raises(Stopped):
            train_both_steps(folder, StopsAfter(batches))
        train_both_steps(folder, Display())
        assert outcome(folder) == outcome(tmp_path / "unbroken"), f"stopped after {batches} batches"
        left = sorted(path.name for path in (folder / "step-2").iterdir())
        assert left == ["step.json", "weights.safetensors"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_equals_unbroken(kills: int, tmp_path: Path) -> None:
    with Trainings() as trainings:
        trainings.run(tmp_path / "unbroken")
        unbroken_seconds = trainings.seconds
        moments = random.Random(7)
        killed = runs = 0
        while killed < kills:
            folder = tmp_path / f"killed-{runs}"
            runs += 1
            while killed < kills and trainings.run(folder, kill_after=moments.uniform(0, unbroken_seconds)):
                killed += 1
            trainings.run(folder)
            assert outcome(folder) == outcome(tmp_path / "unbroken")
            assert not list(folder.rglob("*.part"))


def test_a_finished_step_is_only_loaded(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    examples = make_examples(None, count=2)
    metrics = MetricsLog(make_plan(Step1Config()).folder.parent / "metrics.jsonl")
    plan = make_plan(Step1Config(batch_size=2, max_epochs=1), resume=True)
    first = train_step(
        Step1(NARROW, 0, examples, examples, Step1Config(batch_size=2)), plan, machine, metrics, Display()
    )
    loaded = Step1(NARROW, 1, examples, examples, Step1Config(batch_size=2))
    assert train_step(loaded, plan, machine, metrics, StopsAfter(0)) == first
    stored = read_weights(plan.folder).tensors
    assert all(torch.equal(value, stored[name]) for name, value in loaded.network.state_dict().items())


@pytest.mark.parametrize("stop", [1, 100])
def test_another_recipe_is_not_resumed(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine, stop: int
) -> None:
    examples, config = make_examples(None, count=4), Step1Config(batch_size=2, max_epochs=1)
    metrics = MetricsLog(make_plan(config).folder.parent / "metrics.jsonl")

    def train(identity: dict[str, Any], display: Display) -> None:
        plan = make_plan(config, resume=True, checkpoint_seconds=0.0, identity=identity)
        train_step(Step1(NARROW, 0, examples, examples, Step1Config(batch_size=2)), plan, machine, metrics, display)

    begun = {"recipe": {"seed": 0, "step_1": {"learning_rate": 0.0002}}, "data_sha256": "aa"}
    try:
        train(begun, StopsAfter(stop))
    except Stopped:
        assert stop == 1
    with pytest.raises(TrainingError) as caught:
        train({"recipe": {"seed": 0, "step_1": {"learning_rate": 0.001}}, "data_sha256": "bb"}, Display())
    assert str(caught.value).endswith(
        'belongs to another run: data_sha256 is "aa" there and "bb" now; recipe.step_1.learning_rate is 0.0002 there '
        "and 0.001 now. Resume with what it was begun with, or name another folder"
    )


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no tensors", b"\xff" * 64], ids=["empty", "zip", "ones"])
def test_a_damaged_checkpoint_is_refused(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine, damage: bytes
) -> None:
    examples = make_examples(None, count=2)
    plan = make_plan(Step1Config(batch_size=2, max_epochs=1), resume=True)
    plan.folder.mkdir(parents=True)
    (plan.folder / "checkpoint.safetensors").write_bytes(damage)
    with pytest.raises(TrainingError, match=r"It is damaged or no training state; delete it to start this step anew"):
        train_step(
            Step1(NARROW, 0, examples, examples, Step1Config(batch_size=2)),
            plan,
            machine,
            MetricsLog(plan.folder / "m.jsonl"),
            Display(),
        )


def test_altered_weights_are_refused(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    examples, plan = make_examples(None, count=2), make_plan(Step1Config(batch_size=2, max_epochs=1))
    train_step(
        Step1(NARROW, 0, examples, examples, Step1Config(batch_size=2)),
        plan,
        machine,
        MetricsLog(plan.folder / "m.jsonl"),
        Display(),
    )
    path = plan.folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="is not the file that this step left; train it anew"):
        read_weights(plan.folder)


def test_an_unfinished_step_has_no_weights(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"holds no finished training step \(no step.json\); train it first"):
        read_weights(tmp_path)


def test_tensors_and_state_come_back_as_they_were(tmp_path: Path) -> None:
    tensors = {
        "image": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(3, dtype=torch.int64),
        "view": torch.arange(10.0)[::2],
    }
    write_tensors(tmp_path / "x.safetensors", tensors, {"sums": [0.1, 1e-300], "name": "Grüße"})
    stored = read_tensors(tmp_path / "x.safetensors")
    assert stored.state == {"sums": [0.1, 1e-300], "name": "Grüße"}
    assert {name: value.tolist() for name, value in stored.tensors.items()} == {
        name: value.tolist() for name, value in tensors.items()
    }
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"a": torch.zeros(1)}, {"n": 1})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"No space left on device\. Make room or mend the permissions"):
        write_tensors(path, {"a": torch.ones(1)}, {"n": 2})
    assert read_tensors(path).state == {"n": 1}
    assert [found.name for found in tmp_path.iterdir()] == ["x.safetensors"]


def test_a_run_does_not_begin_in_the_folder_of_another(tmp_path: Path) -> None:
    recipe = read_recipe("run-1")
    begin_run(tmp_path / "run", recipe, {"data_sha256": "a"}, {})
    before = (tmp_path / "run" / RUN).read_bytes()
    with pytest.raises(TrainingError, match='data_sha256 is "a" there and "b" now'):
        begin_run(tmp_path / "run", recipe, {"data_sha256": "b"}, {})
    begin_run(tmp_path / "run", recipe, {"data_sha256": "a"}, {})
    assert (tmp_path / "run" / RUN).read_bytes() == before
