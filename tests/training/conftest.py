"""Synthetic examples that narrow networks learn in seconds, and the machine they learn on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from moodbook.datasets import Dataset, Track
from moodbook.features import SAMPLE_RATE
from moodbook.tags import TagSet
from moodbook.training.examples import Examples
from moodbook.training.machine import Machine
from moodbook.training.recipe import Recipe, StepConfig
from moodbook.training.step import Plan


@pytest.fixture(scope="session")
def machine() -> Machine:
    """One process; on the CPU wherever the tests run."""
    return Machine()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on a busy machine are slower than one, and the tests count on equal conditions."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def synthetic_log_mel(count: int, seed: int = 0) -> np.ndarray:
    """Make segments of smooth noise: each a random spectral shape and a random rhythm of its own."""
    random = np.random.default_rng(seed)
    shapes = random.normal(size=(count, 8, 4))
    bands, frames = np.linspace(0, 1, 128), np.arange(1024)
    log_mel = np.zeros((count, 128, 1024))
    for index in range(count):
        for weight, centre, speed, phase in shapes[index]:
            bump = np.exp(-((bands - 0.5 - centre / 4) ** 2) / 0.02)
            log_mel[index] += 0.3 * weight * bump[:, None] * np.cos(frames * abs(speed) / 40 + phase)
    return np.clip(log_mel - 0.3, -0.9, 1.0).astype(np.float16)


@pytest.fixture
def make_examples() -> Callable[..., Examples]:
    """Make one-segment tracks with the given tags."""

    def make(ground_truth: np.ndarray | None, count: int | None = None, seed: int = 0) -> Examples:
        number = len(ground_truth) if ground_truth is not None else count or 0
        return Examples(
            inputs=synthetic_log_mel(number, seed),
            rows=np.arange(number),
            tracks=np.arange(number),
            filled=np.ones(number, dtype=np.float32),
            ground_truth=None if ground_truth is None else ground_truth.astype(np.float32),
        )

    return make


@pytest.fixture
def make_plan(tmp_path: Path) -> Callable[..., Plan]:
    """Make a plan in a temporary folder; keywords replace its settings."""

    def make(config: StepConfig, **settings: Any) -> Plan:
        defaults = {"precision": "float32", "seed": 0, "folder": tmp_path / "step", "identity": {"recipe": "test"}}
        return Plan(config=config, **(defaults | settings))

    return make


SPLITS = ("train",) * 6 + ("validation",) * 3 + ("test",) * 3
FEELS = ("high", "low")


@pytest.fixture(scope="session")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Twelve noisy tones of a second: low ones and high ones, some of them both."""
    folder = tmp_path_factory.mktemp("music")
    random = np.random.default_rng(3)
    time = np.arange(SAMPLE_RATE, dtype=np.float32) / SAMPLE_RATE
    tracks = []
    for number, split in enumerate(SPLITS):
        tags = FEELS if number % 6 == 5 else (FEELS[number % 2],)
        tones = sum(np.sin(2 * np.pi * {"high": 3000, "low": 150}[tag] * (1 + number / 50) * time) for tag in tags)
        path = folder / f"{number}.wav"
        soundfile.write(path, 0.3 * tones + random.normal(0, 0.01, len(time)), SAMPLE_RATE)
        tracks.append(Track(f"t{number}", path, tags, split))
    return Dataset("tones", tuple(tracks), TagSet(FEELS), licence="CC0-1.0", citation="The tests.")


STEP = {"batch_size": 3, "max_epochs": 2, "learning_rate": 1e-3, "precision": "float32"}
RECIPES: dict[str, dict[str, Any]] = {
    "fixed-cnn": {
        "vqvae": {"width": 4, "codebook_size": 8},
        "classifier": {"kind": "cnn", "channels": 1, "hidden": 6, "dense": 6},
        "step_1": STEP,
    },
    "updated-gru": {
        "vqvae": {"width": 4, "codebook_size": 8, "type": 2},
        "classifier": {"kind": "gru", "hidden": 4, "dense": [4]},
        "step_1": STEP,
        "update": True,
    },
    "vggish": {"classifier": {"kind": "vggish", "maps": [2, 2, 2, 2, 2]}},
    "popularity": {"classifier": {"kind": "popularity"}},
}


@pytest.fixture
def narrow() -> Callable[..., Recipe]:
    """Make a recipe of one of four kinds that trains in a second; keywords replace its settings."""
    return narrow_recipe


def narrow_recipe(name: str, **changes: Any) -> Recipe:
    """Give a recipe of one of four kinds that trains in a second."""
    settings = {key: value for key, value in RECIPES[name].items() if key != "update"}
    step_2 = STEP | ({"update_vqvae": True} if RECIPES[name].get("update") else {})
    return Recipe.model_validate({"name": name, "step_2": step_2} | settings | changes)
