"""The losses of both steps against arithmetic by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from moodbook.errors import TrainingError
from moodbook.networks.config import CNNConfig, NetworkConfig, VGGishConfig, VQVAEConfig
from moodbook.networks.quantizer import Quantized
from moodbook.networks.tagger import TaggingOutput, build_network
from moodbook.networks.vqvae import VQVAE, VQVAEOutput
from moodbook.training.codebook import perplexity
from moodbook.training.losses import ReconstructionLoss, TaggingLoss

NARROW = VQVAEConfig(width=4, codebook_size=8, commitment_weight=0.25)


def test_step_1_is_reconstruction_plus_codebook_plus_weighted_commitment(monkeypatch: pytest.MonkeyPatch) -> None:
    log_mel = torch.zeros(2, 128, 1024)
    log_mel[0] = 1.0
    output = VQVAEOutput(
        reconstruction=torch.full((2, 128, 1024), 0.5),
        latents=torch.zeros(2, 4, 4, 512),
        codes=torch.zeros(2, 4, 512, dtype=torch.int64),
        quantized=torch.zeros(2, 4, 4, 512),
        codebook_loss=torch.tensor(0.04),
        commitment_loss=torch.tensor(0.4),
    )
    loss = ReconstructionLoss(VQVAE(NARROW))
    monkeypatch.setattr(loss.network, "forward", lambda _: output)
    losses = loss(log_mel)
    # Every cell is 0.5 off: MSE 0.25. Then 0.04, and 0.25 of 0.4.
    assert losses.total.item() == pytest.approx(0.25 + 0.04 + 0.1)
    assert {name: part.item() for name, part in losses.parts.items()} == pytest.approx(
        {"reconstruction": 0.25, "codebook": 0.04, "commitment": 0.4}
    )


def test_the_parts_of_step_1_are_the_definitions() -> None:
    torch.manual_seed(0)
    loss = ReconstructionLoss(VQVAE(NARROW))
    log_mel = torch.randn(2, 128, 1024) * 0.3
    losses = loss(log_mel)
    output = loss.network(log_mel)
    distance = ((output.latents - loss.network.quantizer.lookup(output.codes)) ** 2).mean().item()
    assert losses.parts["codebook"].item() == pytest.approx(distance, rel=1e-5)
    assert losses.parts["commitment"].item() == pytest.approx(distance, rel=1e-5)
    difference = ((output.reconstruction - log_mel) ** 2).mean().item()
    assert losses.parts["reconstruction"].item() == pytest.approx(difference, rel=1e-5)


def test_step_2_adds_the_vq_losses_and_no_reconstruction_where_the_vqvae_learns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = build_network(NetworkConfig(vqvae=NARROW, classifier=CNNConfig(channels=1, hidden=4, dense=4)), 2)
    loss = TaggingLoss(network)
    logits = torch.tensor([[0.0, math.log(3.0)]])
    vq = Quantized(
        codes=torch.zeros(1, 4, 512, dtype=torch.int64),
        quantized=torch.zeros(1, 4, 4, 512),
        codebook_loss=torch.tensor(0.04),
        commitment_loss=torch.tensor(0.4),
    )
    monkeypatch.setattr(network, "forward", lambda _: TaggingOutput(logits, vq))
    losses = loss(torch.zeros(1, 128, 1024), torch.tensor([[1.0, 0.0]]))
    # Probabilities 1/2 and 3/4 for a tag that is there and one that is not: (ln 2 + ln 4) / 2.
    cross_entropy = (math.log(2) + math.log(4)) / 2
    assert losses.parts["cross_entropy"].item() == pytest.approx(cross_entropy)
    assert losses.total.item() == pytest.approx(cross_entropy + 0.04 + 0.25 * 0.4)
    assert set(losses.parts) == {"cross_entropy", "codebook", "commitment"} == set(loss.part_names)


def test_step_2_is_cross_entropy_alone_where_the_vqvae_is_fixed() -> None:
    network = build_network(NetworkConfig(vqvae=NARROW, classifier=CNNConfig(channels=1, hidden=4, dense=4)), 2)
    network.fix_vqvae()
    loss = TaggingLoss(network.eval())
    codes = torch.randint(0, 8, (2, 4, 512))
    losses = loss(codes, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
    probabilities = torch.sigmoid(network.logits_from_codes(codes))
    by_hand = -(probabilities[0, 0].log() + (1 - probabilities[0, 1]).log() + (1 - probabilities[1]).log().sum()) / 4
    assert losses.total.item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert tuple(losses.parts) == loss.part_names == ("cross_entropy",)
    assert losses.codes is codes


def test_step_2_without_a_vqvae_has_no_codes() -> None:
    loss = TaggingLoss(build_network(NetworkConfig(classifier=VGGishConfig(maps=(2, 2, 2, 2, 2))), 3))
    losses = loss(torch.zeros(2, 128, 1024), torch.zeros(2, 3))
    assert losses.codes is None
    assert losses.total.item() == losses.parts["cross_entropy"].item()


def test_step_2_refuses_examples_without_labels() -> None:
    loss = TaggingLoss(build_network(NetworkConfig(classifier=VGGishConfig(maps=(2, 2, 2, 2, 2))), 3))
    with pytest.raises(TrainingError, match="step 2 learns from labels and got none"):
        loss(torch.zeros(2, 128, 1024), None)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([5, 5, 5, 5], 4.0), ([7, 0, 0, 0], 1.0), ([1, 1, 0, 0], 2.0), ([0, 0, 0, 0], 0.0), ([3, 1], 4 / 3**0.75)],
)
def test_perplexity(counts: list[int], expected: float) -> None:
    # The last: exp(-(3/4 ln 3/4 + 1/4 ln 1/4)) = 4 / 3^(3/4).
    assert perplexity(np.array(counts)) == pytest.approx(expected)
