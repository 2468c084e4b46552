"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from moodbook.model.bundle import Bundle, write_bundle
from moodbook.model.card import Card, Provenance
from moodbook.model.weights import weight_shapes
from moodbook.networks.config import CNNConfig, NetworkConfig, VQVAEConfig
from moodbook.tags import TagSet

# A shell that runs the tests in the background has them ignore Ctrl-C, and with them all programs that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data that lies beside a checkout; tests that need it skip, saying so, where it is absent."""
    root = Path(os.environ.get("MOODBOOK_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not root.is_dir():
        pytest.skip(f"no shared data at {root} (set MOODBOOK_SHARED)")
    return root


def _random_weights(network: NetworkConfig, n_tags: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    weights = {}
    for name, shape in weight_shapes(network, n_tags).items():
        if name.endswith("running_var"):
            weight = rng.uniform(0.5, 2.0, shape)
        elif name.endswith("codebook"):
            weight = rng.normal(0.0, 1.0, shape)
        elif len(shape) > 1:
            weight = rng.normal(0.0, 1.0, shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            weight = rng.normal(0.0, 0.1, shape) + ("norm" in name and name.endswith("weight"))
        weights[name] = weight.astype(np.float32)
    return weights


def _make_bundle(folder: Path, **changes: object) -> Bundle:
    network = changes.pop("network", None) or NetworkConfig(
        vqvae=VQVAEConfig(width=8, codebook_size=16), classifier=CNNConfig(channels=2, hidden=8, dense=6)
    )
    tags = changes.pop("tags", None) or TagSet(("calm", "dark", "epic", "fast"))
    arguments = {
        "network": network,
        "weights": _random_weights(network, len(tags)) if "weights" not in changes else None,
        "tags": tags,
        "thresholds": dict.fromkeys(tags, 0.5),
        "card": Card(
            name="tiny",
            summary="Random weights, for tests.",
            licence="CC0-1.0",
            provenance=Provenance(recipe="none", data="none"),
        ),
    }
    return write_bundle(folder, **{**arguments, **changes})


@pytest.fixture
def random_weights() -> Callable[[NetworkConfig, int], dict[str, np.ndarray]]:
    """Weights of any system, random but such that signals neither die nor explode."""
    return _random_weights


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Bundle]:
    """Write a narrow model with random weights, four tags and whatever else `write_bundle` is to be told."""
    return lambda folder="tiny", **changes: _make_bundle(tmp_path / folder, **changes)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same model, written once; not to be changed."""
    return _make_bundle(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def write_music(tmp_path: Path) -> Callable[..., Path]:
    """Write a WAV file with falling notes, 22,050 Hz mono."""

    def write(name: str = "song.wav", seconds: float = 30.0, seed: int = 0) -> Path:
        t = np.arange(round(seconds * 22_050)) / 22_050
        rng = np.random.default_rng(seed)
        notes = rng.choice([220.0, 277.2, 329.6, 440.0, 554.4], 1 + int(2 * seconds))
        phase = 2 * np.pi * np.cumsum(notes[(2 * t).astype(int)]) / 22_050
        wave = 0.3 * np.exp(-3 * (2 * t % 1)) * (np.sin(phase) + 0.3 * np.sin(2 * phase)) + rng.normal(0, 0.003, len(t))
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave, 22_050)
        return path

    return write
