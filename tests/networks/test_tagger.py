"""Whole systems: what is returned, what learns and what stays, and what logits do not depend on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import DataError, ModelError
from moodbook.networks.config import (
    CNNConfig,
    GRUConfig,
    NetworkConfig,
    PopularityConfig,
    VGGishConfig,
    VQVAEConfig,
)
from moodbook.networks.tagger import TaggingNetwork, build_network

Synthetic = Callable[[int], Tensor]
N_TAGS = 3


def step_2(network: TaggingNetwork, log_mel: Tensor, steps: int = 2) -> None:
    """Take optimiser steps as step 2 does: BCE, and where the VQ-VAE is updated both of its losses."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2, weight_decay=0.1)
    ground_truth = torch.arange(len(log_mel) * N_TAGS).reshape(-1, N_TAGS) % 2
    network.train()
    for _ in range(steps):
        output = network(log_mel)
        loss = functional.binary_cross_entropy_with_logits(output.logits, ground_truth.float())
        if output.vq is not None:
            loss = loss + output.vq.codebook_loss + output.vq.commitment_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def clips_of_codes(steps: int) -> Tensor:
    """Give eight clips (8, 4, steps) of 32 codes; like music, each uses some codes often and most hardly."""
    generator = torch.Generator().manual_seed(2)
    share = torch.rand(8, 32, generator=generator) ** 4
    return torch.multinomial(share, 4 * steps, replacement=True, generator=generator).reshape(8, 4, steps)


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def test_gives_a_logit_per_tag_and_names_its_parts(system: NetworkConfig, synthetic_log_mel: Synthetic) -> None:
    network = build_network(system, N_TAGS)
    output = network(synthetic_log_mel(2))

    assert output.logits.shape == (2, N_TAGS)
    assert (output.vq is None) == (system.vqvae is None)
    parts = {name.split(".")[0] for name in network.state_dict()}
    assert parts == ({"classifier"} if system.vqvae is None else {"vqvae", "classifier"})


def test_clips_together_equal_clips_alone(system: NetworkConfig, synthetic_log_mel: Synthetic) -> None:
    network, log_mel = build_network(system, N_TAGS).eval(), synthetic_log_mel(3)
    with torch.no_grad():
        together = network(log_mel).logits
        alone = torch.cat([network(clip[None]).logits for clip in log_mel])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("two_threads")
def test_logits_do_not_depend_on_the_threads(system: NetworkConfig, synthetic_log_mel: Synthetic) -> None:
    network, log_mel = build_network(system, N_TAGS).eval(), synthetic_log_mel(2)
    logits = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.no_grad():
            logits.append(network(log_mel).logits)
    torch.testing.assert_close(*logits, rtol=0, atol=1e-5)


def test_codes_of_a_fixed_vqvae_give_the_same_logits(
    latent_system: NetworkConfig, synthetic_log_mel: Synthetic
) -> None:
    network, log_mel = build_network(latent_system, N_TAGS), synthetic_log_mel(2)
    network.fix_vqvae()
    network.eval()
    codes = network.vqvae.codes(log_mel)
    with torch.no_grad():
        output = network(log_mel)
        logits = network.logits_from_codes(codes.to(torch.int16))
    assert output.vq is None
    assert torch.equal(output.logits, logits)


def test_fixing_does_not_change_the_logits(latent_system: NetworkConfig, synthetic_log_mel: Synthetic) -> None:
    network, log_mel = build_network(latent_system, N_TAGS).eval(), synthetic_log_mel(2)
    with torch.no_grad():
        updated = network(log_mel).logits
        network.fix_vqvae()
        fixed = network(log_mel).logits
    assert torch.equal(updated, fixed)


def test_a_fixed_vqvae_does_not_move(latent_system: NetworkConfig, synthetic_log_mel: Synthetic) -> None:
    network = build_network(latent_system, N_TAGS)
    network.fix_vqvae()
    before, classifier_before = snapshot(network.vqvae), snapshot(network.classifier)

    step_2(network, synthetic_log_mel(2))

    assert moved(network.vqvae, before) == set()
    learned = {name for name, _ in network.classifier.named_parameters()}
    assert moved(network.classifier, classifier_before) >= learned


def test_an_updated_vqvae_moves_all_but_its_decoder(latent_system: NetworkConfig, synthetic_log_mel: Synthetic) -> None:
    network = build_network(latent_system, N_TAGS)
    before = snapshot(network.vqvae)

    step_2(network, synthetic_log_mel(2))

    changed = moved(network.vqvae, before)
    assert changed == {name for name in before if not name.startswith("decoder.")}


def test_tags_reach_the_encoder_and_not_the_codebook(
    latent_system: NetworkConfig, synthetic_log_mel: Synthetic
) -> None:
    network = build_network(latent_system, N_TAGS)
    network(synthetic_log_mel(2)).logits.sum().backward()

    first = network.vqvae.encoder.convolutions[0].weight.grad
    classifier = latent_system.classifier
    if isinstance(classifier, GRUConfig) and classifier.input == "one-hot":
        # A one-hot code has no gradient: only the VQ losses update that VQ-VAE.
        assert first is None
    else:
        assert first.abs().max() > 0
    assert network.vqvae.quantizer.codebook.grad is None


@pytest.mark.parametrize(
    ("classifier", "steps", "learning_rate"),
    [
        (GRUConfig(hidden=16, layers=1, dense=(16,), layer_norm="features"), 64, 2e-2),
        (CNNConfig(channels=2, hidden=16, dense=32, dropout=0.1), 128, 3e-3),
    ],
    ids=["gru", "cnn"],
)
def test_step_2_overfits_eight_clips(classifier: GRUConfig | CNNConfig, steps: int, learning_rate: float) -> None:
    network = build_network(NetworkConfig(vqvae=VQVAEConfig(width=8, codebook_size=32), classifier=classifier), N_TAGS)
    network.fix_vqvae()
    nn.init.normal_(network.vqvae.quantizer.codebook)
    for module in network.classifier.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 0.5  # so that a training of seconds leaves fitting running statistics
    codes = clips_of_codes(steps)
    # Arbitrary tags, the bits of the clip's number: each halves the clips anew.
    ground_truth = torch.tensor([[(clip >> tag) % 2 == 1 for tag in range(N_TAGS)] for clip in range(8)])

    def roc_auc() -> float:
        network.eval()
        with torch.no_grad():
            return roc_auc_score(ground_truth.numpy(), network.logits_from_codes(codes).numpy())

    optimizer = torch.optim.Adam(network.classifier.parameters(), lr=learning_rate)
    found = [roc_auc()]
    while found[-1] < 1 and len(found) < 80:
        network.train()
        logits = network.logits_from_codes(codes)
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(logits, ground_truth.float()).backward()
        optimizer.step()
        found.append(roc_auc())

    assert found[0] < 1
    assert found[-1] == 1


def test_a_learning_vqvae_takes_no_codes(latent_system: NetworkConfig, synthetic_log_mel: Synthetic) -> None:
    network = build_network(latent_system, N_TAGS)
    codes = network.vqvae.codes(synthetic_log_mel(2))
    with pytest.raises(ModelError, match=r"still learning .* fix_vqvae"):
        network.logits_from_codes(codes)


def test_a_baseline_on_log_mel_has_no_codes() -> None:
    network = build_network(NetworkConfig(classifier=VGGishConfig(maps=(3, 4, 4, 4, 3))), N_TAGS)
    with pytest.raises(ModelError, match="'vggish' classifier on log-mel has no VQ-VAE"):
        network.fix_vqvae()
    with pytest.raises(ModelError, match="no codes"):
        network.logits_from_codes(torch.zeros(2, 4, 512, dtype=torch.int64))


def test_weights_load_strictly_into_the_same_system(system: NetworkConfig, synthetic_log_mel: Synthetic) -> None:
    first, second = build_network(system, N_TAGS).eval(), build_network(system, N_TAGS).eval()
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert torch.equal(first(synthetic_log_mel(2)).logits, second(synthetic_log_mel(2)).logits)


def test_a_segment_of_another_size_is_refused(latent_system: NetworkConfig) -> None:
    with pytest.raises(DataError, match="expected log-mel segments of batch x 128 x 1024, got 2 x 96 x 1366"):
        build_network(latent_system, N_TAGS)(torch.zeros(2, 96, 1366))


@pytest.mark.parametrize(
    ("config", "n_tags", "message"),
    [
        (NetworkConfig(classifier=GRUConfig()), 3, "'gru' classifier reads latents: give a VQ-VAE"),
        (NetworkConfig(classifier=VGGishConfig(input="latents")), 3, "reads latents: give a VQ-VAE"),
        (NetworkConfig(vqvae=VQVAEConfig(), classifier=VGGishConfig()), 3, "reads no latents: leave the VQ-VAE out"),
        (NetworkConfig(classifier=PopularityConfig()), 3, "popularity baseline has no network"),
        (NetworkConfig(classifier=VGGishConfig()), 0, "expected at least one tag, got 0"),
    ],
)
def test_a_system_that_cannot_be_is_refused(config: NetworkConfig, n_tags: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build_network(config, n_tags)
