"""Narrow systems of every kind, with weights that look trained."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from moodbook.model.selftest import synthetic_log_mel
from moodbook.networks.config import (
    CNNConfig,
    GRUConfig,
    NetworkConfig,
    SemanticConfig,
    StatisticsConfig,
    VGGishConfig,
    VQVAEConfig,
)
from moodbook.networks.tagger import TaggingNetwork, build_network

N_TAGS = 5
TYPE_1 = VQVAEConfig(width=8, codebook_size=16)
TELLING = {"semantic_width": 12, "semantic_features": 20}
TYPE_2 = VQVAEConfig(width=8, codebook_size=16, type=2)
GRU = GRUConfig(hidden=6, dense=(8, 5))
CNN = CNNConfig(channels=2, hidden=8, dense=6)
VGGISH = VGGishConfig(maps=(3, 4, 4, 4, 3))

SYSTEMS = {
    "gru": NetworkConfig(vqvae=TYPE_1, classifier=GRU),
    "gru, the paper's wording": NetworkConfig(vqvae=TYPE_1, classifier=GRUConfig(hidden=6, layers=1, dense=())),
    "gru, norm over features": NetworkConfig(
        vqvae=TYPE_2, classifier=GRU.model_copy(update={"layer_norm": "features"})
    ),
    "gru, one-hot type 1": NetworkConfig(vqvae=TYPE_1, classifier=GRU.model_copy(update={"input": "one-hot"})),
    "gru, one-hot type 2": NetworkConfig(
        vqvae=TYPE_2, classifier=GRUConfig(hidden=6, layers=3, dense=(8,), input="one-hot")
    ),
    "cnn": NetworkConfig(vqvae=TYPE_1, classifier=CNN),
    "cnn, type 2, identity skip": NetworkConfig(
        vqvae=TYPE_2.model_copy(update={"skip": "identity", "type_2_decoder": "mirror"}), classifier=CNN
    ),
    "cnn, odd width": NetworkConfig(vqvae=VQVAEConfig(width=5, codebook_size=7, type=2), classifier=CNN),
    "statistics": NetworkConfig(vqvae=TYPE_1, classifier=StatisticsConfig()),
    "semantic": NetworkConfig(vqvae=TYPE_1.model_copy(update=TELLING), classifier=SemanticConfig()),
    "statistics, type 2": NetworkConfig(vqvae=TYPE_2, classifier=StatisticsConfig()),
    "vggish on latents": NetworkConfig(vqvae=TYPE_1, classifier=VGGISH.model_copy(update={"input": "latents"})),
    "vggish on log-mel": NetworkConfig(classifier=VGGISH),
}


@dataclass(frozen=True)
class Learned:
    """A torch network in evaluation mode, and its weights as a bundle has them."""

    network: NetworkConfig
    module: TaggingNetwork
    weights: Mapping[str, np.ndarray]

    def codes(self, log_mel: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.module.vqvae.codes(torch.from_numpy(log_mel)).numpy()

    def probabilities(self, log_mel: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.module(torch.from_numpy(log_mel)).logits.sigmoid().numpy()


@pytest.fixture(params=SYSTEMS)
def network(request: pytest.FixtureRequest) -> NetworkConfig:
    """Every kind of system with weights to learn, narrow."""
    return SYSTEMS[request.param]


@functools.cache
def three_segments() -> np.ndarray:
    return np.concatenate([synthetic_log_mel(seed) for seed in (101, 102, 103)])


@pytest.fixture
def log_mel() -> np.ndarray:
    """Three segments."""
    return three_segments()


@functools.cache
def learned_network(config: NetworkConfig, n_tags: int) -> Learned:
    """Make a network whose batch norms know their input and whose codebook holds latents, as after training."""
    torch.manual_seed(0)
    module = build_network(config, n_tags)
    log_mel = torch.from_numpy(three_segments())
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1 or "norm" in name:  # Biases and norms start at 0 and 1.
                parameter.add_(0.3 * torch.randn(parameter.shape))
        _measure_norms(module, log_mel)
        if module.vqvae is not None:
            module.eval()
            latents = module.vqvae.encode(log_mel).permute(0, 2, 3, 1).flatten(0, 2)
            choice = torch.randperm(len(latents))[: config.vqvae.codebook_size]
            module.vqvae.quantizer.codebook.copy_(latents[choice])
            _measure_norms(module, log_mel)
    module.eval()
    return Learned(config, module, {name: value.numpy() for name, value in module.state_dict().items()})


@pytest.fixture
def learn() -> Callable[..., Learned]:
    """Make a network that looks trained."""
    return lambda config, n_tags=N_TAGS: learned_network(config, n_tags)


def _measure_norms(module: TaggingNetwork, log_mel: torch.Tensor) -> None:
    """Give every batch norm the exact statistics of what passes through it."""
    module.train()
    for part in module.modules():
        if hasattr(part, "running_mean"):
            part.momentum = None
            part.reset_running_stats()
    module(log_mel)
