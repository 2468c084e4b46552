from __future__ import annotations

import pytest

from moodbook.errors import ModelError
from moodbook.model.weights import weight_shapes
from moodbook.networks.config import (
    CNNConfig,
    GRUConfig,
    NetworkConfig,
    PopularityConfig,
    VGGishConfig,
    VQVAEConfig,
)


def test_names_and_shapes_are_those_of_the_training_network(network, learn):
    learned = learn(network, 5)
    state = {name: array.shape for name, array in learned.weights.items() if "num_batches" not in name}

    assert weight_shapes(network, 5) == state


def test_without_the_decoder_only_the_decoder_is_missing(network):
    whole, part = weight_shapes(network, 5), weight_shapes(network, 5, decoder=False)

    assert {name: shape for name, shape in whole.items() if not name.startswith("vqvae.decoder.")} == part


def test_the_popularity_baseline_has_one_number_a_tag():
    assert weight_shapes(NetworkConfig(classifier=PopularityConfig()), 56) == {"classifier.probabilities": (56,)}


@pytest.mark.parametrize(
    "network",
    [
        NetworkConfig(vqvae=VQVAEConfig(), classifier=GRUConfig(layers=10**12)),
        NetworkConfig(vqvae=VQVAEConfig(width=10**9), classifier=CNNConfig()),
        NetworkConfig(vqvae=VQVAEConfig(), classifier=GRUConfig(dense=(10**6,) * 10)),
        NetworkConfig(classifier=VGGishConfig(maps=(10**6, 10**6, 1, 1, 1))),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(network):
    with pytest.raises(ModelError, match="asks for more than"):
        weight_shapes(network, 56)


def test_a_system_without_the_vqvae_it_reads_is_refused():
    with pytest.raises(ModelError, match="reads latents: give a VQ-VAE"):
        weight_shapes(NetworkConfig(classifier=CNNConfig()), 56)
    with pytest.raises(ModelError, match="reads no latents"):
        weight_shapes(NetworkConfig(vqvae=VQVAEConfig(), classifier=VGGishConfig()), 56)
