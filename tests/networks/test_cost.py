"""Parameters and arithmetic counted from sizes, against torch's own counts and the paper's figures."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from moodbook.networks.config import (
    CNNConfig,
    GRUConfig,
    NetworkConfig,
    PopularityConfig,
    SemanticConfig,
    VGGishConfig,
    VQVAEConfig,
)
from moodbook.networks.cost import Parameters, count_parameters, gigaflop_per_clip
from moodbook.networks.tagger import TaggingNetwork, build_network
from moodbook.networks.vqvae import VQVAE

FULL_WIDTH = {
    "run-1": NetworkConfig(vqvae=VQVAEConfig(), classifier=GRUConfig()),
    "run-3": NetworkConfig(vqvae=VQVAEConfig(), classifier=CNNConfig()),
    "run-5": NetworkConfig(vqvae=VQVAEConfig(type=2), classifier=GRUConfig()),
    "run-5-one-hot": NetworkConfig(vqvae=VQVAEConfig(type=2), classifier=GRUConfig(input="one-hot")),
    "mirror": NetworkConfig(vqvae=VQVAEConfig(type=2, type_2_decoder="mirror"), classifier=CNNConfig()),
    "vggish": NetworkConfig(classifier=VGGishConfig()),
    "vggish-latents": NetworkConfig(vqvae=VQVAEConfig(), classifier=VGGishConfig(input="latents")),
}


def torch_count(network: TaggingNetwork) -> Parameters:
    def count(module: nn.Module | None) -> int:
        return sum(parameter.numel() for parameter in module.parameters()) if module is not None else 0

    vqvae = network.vqvae
    return Parameters(
        encoder=count(vqvae and vqvae.encoder),
        codebook=count(vqvae and vqvae.quantizer),
        decoder=count(vqvae and vqvae.decoder),
        classifier=count(network.classifier),
        semantic=count(vqvae and vqvae.semantic),
    )


@pytest.mark.parametrize("config", FULL_WIDTH.values(), ids=FULL_WIDTH)
def test_full_width_parameters_equal_torch(config: NetworkConfig) -> None:
    with torch.device("meta"):
        network = build_network(config, n_tags=56)
    assert count_parameters(config, n_tags=56) == torch_count(network)


def test_narrow_parameters_equal_torch(system: NetworkConfig) -> None:
    assert count_parameters(system, n_tags=19) == torch_count(build_network(system, n_tags=19))


def test_parameters_of_the_paper() -> None:
    run_1, run_3, run_5 = (count_parameters(FULL_WIDTH[name], n_tags=56) for name in ("run-1", "run-3", "run-5"))
    assert run_1 == Parameters(encoder=4_990_208, codebook=262_144, decoder=4_727_809, classifier=6_714_168)
    assert run_1.total - run_1.classifier == 9_980_161
    assert run_3.classifier == 1_667_398
    assert run_5.total - run_5.classifier == 11_553_025


def test_gigaflop_of_the_paper() -> None:
    cost = gigaflop_per_clip(FULL_WIDTH["run-1"], n_tags=56)
    assert round(cost.encoder) == 101
    assert round(cost.decoder) == 99
    assert round(cost.lookup) == 1
    assert cost.tagging == cost.encoder + cost.lookup + cost.classifier


@pytest.mark.parametrize(
    "vqvae",
    [
        VQVAEConfig(width=4, codebook_size=8),
        VQVAEConfig(width=4, codebook_size=8, type=2),
        VQVAEConfig(width=4, codebook_size=8, type=2, type_2_decoder="mirror"),
    ],
    ids=["type-1", "type-2", "type-2-mirror"],
)
def test_gigaflop_of_the_vqvae_equal_torch(vqvae: VQVAEConfig) -> None:
    config = NetworkConfig(vqvae=vqvae, classifier=GRUConfig(hidden=4))
    network = VQVAE(vqvae).eval()
    latents = torch.zeros(1, vqvae.width, vqvae.bands, 512)
    cost = gigaflop_per_clip(config, n_tags=3)
    for counted, run in (
        (cost.encoder, lambda: network.encode(torch.zeros(1, 128, 1024))),
        (cost.lookup, lambda: network.quantizer.codes(latents)),
        (cost.decoder, lambda: network.decode(latents)),
    ):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            run()
        assert counted == pytest.approx(counter.get_total_flops() / 1e9, rel=1e-12)


def test_gigaflop_of_the_classifier_equal_torch(system: NetworkConfig) -> None:
    network = build_network(system, n_tags=19).eval()
    vqvae = system.vqvae
    if vqvae is None:
        inputs = torch.zeros(1, 128, 1024)
    elif isinstance(system.classifier, GRUConfig) and system.classifier.input == "one-hot":
        inputs = torch.zeros(1, vqvae.bands, 512, dtype=torch.int64)
    else:
        inputs = torch.zeros(1, vqvae.width, vqvae.bands, 512)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        if isinstance(system.classifier, SemanticConfig) and network.vqvae is not None:
            inputs = network.vqvae.read(inputs)
        network.classifier(inputs)
    found = counter.get_total_flops()
    if isinstance(system.classifier, CNNConfig):
        # The timbral filters run by way of the Fourier transform; what is counted is what they stand for.
        found -= counter.get_flop_counts()["Global"][torch.ops.aten.bmm]
        image = torch.zeros(1, 1, 512, vqvae.features)
        with FlopCounterMode(display=False) as plain, torch.no_grad():
            for convolution in network.classifier.timbral:
                convolution(image)
        found += plain.get_total_flops()
    cost = gigaflop_per_clip(system, n_tags=19)
    counted = cost.classifier + cost.semantic
    assert counted == pytest.approx(found / 1e9, rel=1e-12)


def test_popularity_costs_nothing() -> None:
    config = NetworkConfig(classifier=PopularityConfig())
    assert count_parameters(config, n_tags=56).total == 0
    assert gigaflop_per_clip(config, n_tags=56).tagging == 0


def test_counting_needs_no_torch() -> None:
    script = "import sys, moodbook.networks.cost; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
