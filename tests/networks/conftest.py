"""Narrow systems and synthetic segments for the tests of the networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from moodbook.networks.config import (
    CNNConfig,
    GRUConfig,
    NetworkConfig,
    SemanticConfig,
    StatisticsConfig,
    VGGishConfig,
    VQVAEConfig,
)
from moodbook.networks.vqvae import VQVAE

NARROW = VQVAEConfig(width=8, codebook_size=16)
TELLING = {"semantic_width": 12, "semantic_features": 20}
NARROW_GRU = GRUConfig(hidden=6, dense=(8, 5))
NARROW_CNN = CNNConfig(channels=2, hidden=8, dense=6)
NARROW_VGGISH = VGGishConfig(maps=(3, 4, 4, 4, 3))

SYSTEMS = {
    "gru": NetworkConfig(vqvae=NARROW, classifier=NARROW_GRU),
    "gru-paper": NetworkConfig(vqvae=NARROW, classifier=GRUConfig(hidden=6, layers=1, dense=(), layer_norm="features")),
    "gru-one-hot": NetworkConfig(
        vqvae=NARROW.model_copy(update={"type": 2}), classifier=GRUConfig(hidden=6, dense=(8,), input="one-hot")
    ),
    "cnn": NetworkConfig(vqvae=NARROW, classifier=NARROW_CNN),
    "cnn-mirror": NetworkConfig(
        vqvae=VQVAEConfig(width=8, codebook_size=16, type=2, type_2_decoder="mirror", skip="identity"),
        classifier=NARROW_CNN,
    ),
    "statistics": NetworkConfig(vqvae=NARROW, classifier=StatisticsConfig()),
    "semantic": NetworkConfig(
        vqvae=NARROW.model_copy(update=TELLING),
        classifier=SemanticConfig(dropout=0.1),
    ),
    "vggish-latents": NetworkConfig(vqvae=NARROW, classifier=NARROW_VGGISH.model_copy(update={"input": "latents"})),
    "vggish": NetworkConfig(classifier=NARROW_VGGISH),
}


@pytest.fixture(params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> NetworkConfig:
    """Every kind of system, narrow."""
    return SYSTEMS[request.param]


@pytest.fixture(params=[name for name, config in SYSTEMS.items() if config.vqvae is not None])
def latent_system(request: pytest.FixtureRequest) -> NetworkConfig:
    """Every kind of system with a VQ-VAE, narrow."""
    return SYSTEMS[request.param]


@pytest.fixture
def narrow() -> VQVAEConfig:
    """A VQ-VAE that computes in milliseconds."""
    return NARROW


@pytest.fixture(scope="session")
def synthetic_log_mel() -> Callable[[int], Tensor]:
    """Give clips with a spectral slope, a rhythm and a loudness of their own, within the range of real ones."""
    return _synthetic_log_mel


def _synthetic_log_mel(clips: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    bands = torch.linspace(0, 1, 128)[None, :, None]
    frames = torch.arange(1024)[None, None, :]
    slope, pulse, level = torch.rand(3, clips, 1, 1, generator=generator)
    rhythm = torch.sin(2 * torch.pi * frames / (16 + 48 * pulse))
    noise = torch.randn(clips, 128, 1024, generator=generator)
    return (-0.9 + 1.2 * level + 0.3 * rhythm * bands - slope * bands + 0.1 * noise).clamp(-0.9, 0.9)


@dataclass(frozen=True)
class Overfitted:
    """A narrow VQ-VAE after a few steps on eight clips, and its reconstruction error before each step."""

    vqvae: VQVAE
    log_mel: Tensor
    errors: list[float]


@pytest.fixture(scope="session")
def overfitted() -> Overfitted:
    """Train step 1 on eight synthetic clips, once for all tests; none of them may change it."""
    torch.manual_seed(0)
    vqvae = VQVAE(VQVAEConfig(width=8, codebook_size=32)).to(memory_format=torch.channels_last)
    log_mel = _synthetic_log_mel(8)
    optimizer = torch.optim.Adam(vqvae.parameters(), lr=1e-2)
    errors = []
    for _ in range(12):
        output = vqvae(log_mel)
        error = functional.mse_loss(output.reconstruction, log_mel)
        errors.append(error.item())
        optimizer.zero_grad()
        (error + output.codebook_loss + output.commitment_loss).backward()
        optimizer.step()
    return Overfitted(vqvae.eval(), log_mel, errors)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """Give back the number of threads that the test changed."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
