"""Codes that nobody uses start again on music; a codebook may follow averages of its latents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.codebook import DECAY, CodebookAverages, measure_codebook, restart_unused_codes
from moodbook.training.examples import Examples
from moodbook.training.machine import Machine
from moodbook.training.recipe import Step1Config
from moodbook.training.vqvae import Step1

CONFIG = VQVAEConfig(width=8, codebook_size=16)


def _log_mel(examples: Examples) -> torch.Tensor:
    return torch.from_numpy(examples.inputs.astype(np.float32))


def _with_far_codes(vqvae: VQVAE) -> VQVAE:
    """Put the last four codes where no latent comes."""
    with torch.no_grad():
        vqvae.quantizer.codebook[12:] = 1e3
    return vqvae


def test_the_unused_codes_alone_move_and_they_move_onto_latents(make_examples: Callable[..., Examples]) -> None:
    torch.manual_seed(0)
    vqvae, examples = _with_far_codes(VQVAE(CONFIG)).eval(), make_examples(None, count=2)
    used = vqvae.codes(_log_mel(examples)).unique()
    unused = np.setdiff1d(np.arange(16), used)
    before = {name: value.clone() for name, value in vqvae.state_dict().items()}
    assert restart_unused_codes(vqvae, examples, seed=3) == len(unused) >= 4
    after = vqvae.state_dict()
    assert torch.equal(after["quantizer.codebook"][used], before["quantizer.codebook"][used])
    assert all(torch.equal(after[name], before[name]) for name in before if name != "quantizer.codebook")
    latents = vqvae.encode(_log_mel(examples)).permute(0, 2, 3, 1).reshape(-1, 8)
    for code in after["quantizer.codebook"][unused]:
        assert (latents - code).abs().amax(dim=1).min() < 1e-5


def test_training_mode_leaves_no_trace_in_the_statistics(make_examples: Callable[..., Examples]) -> None:
    vqvae = _with_far_codes(VQVAE(CONFIG)).train()
    before = {name: value.clone() for name, value in vqvae.named_buffers()}
    assert restart_unused_codes(vqvae, make_examples(None, count=2), seed=0) >= 4
    assert all(torch.equal(value, before[name]) for name, value in vqvae.named_buffers())


def test_a_recipe_without_restarts_keeps_its_dead_codes(make_examples: Callable[..., Examples]) -> None:
    examples = make_examples(None, count=2)
    for restarts in (True, False):
        step = Step1(CONFIG, 0, examples, examples, Step1Config(batch_size=2, restart_dead_codes=restarts))
        before = _with_far_codes(step.network).quantizer.codebook.detach().clone()
        step.after_epoch(1)
        moved = (step.network.quantizer.codebook != before).any(dim=1).numpy()
        assert moved[12:].all() == restarts
        assert moved.any() == restarts
        assert step.network.training


def test_the_codebook_is_where_the_averages_of_its_latents_are() -> None:
    torch.manual_seed(0)
    averages, codebook = CodebookAverages(CONFIG), torch.randn(16, 8)
    start = codebook.clone()
    uses, sums = torch.zeros(16, dtype=torch.float64), torch.zeros(16, 8, dtype=torch.float64)
    for _ in range(5):
        latents, codes = torch.randn(2, 8, 4, 30), torch.randint(0, 12, (2, 4, 30))
        averages.observe(latents, codes)
        averages.move(codebook, Machine())
        uses, sums = uses * DECAY, sums * DECAY
        for vector, code in zip(latents.permute(0, 2, 3, 1).reshape(-1, 8), codes.flatten(), strict=True):
            uses[code] += 1 - DECAY
            sums[code] += (1 - DECAY) * vector
    assert torch.allclose(codebook[:12].double(), sums[:12] / uses[:12, None], atol=1e-4)
    assert torch.equal(codebook[12:], start[12:])


def test_a_restarted_code_stays_until_latents_come_to_it() -> None:
    averages, codebook = CodebookAverages(CONFIG), torch.randn(16, 8)
    averages.observe(torch.randn(2, 8, 4, 30), torch.zeros(2, 4, 30, dtype=torch.int64))
    averages.move(codebook, Machine())
    codebook[5] = 3.0
    averages.restart(codebook, torch.tensor([5]))
    for _ in range(20):
        averages.observe(torch.full((2, 8, 4, 30), 7.0), torch.zeros(2, 4, 30, dtype=torch.int64))
        averages.move(codebook, Machine())
    assert torch.allclose(codebook[5], torch.tensor(3.0), atol=1e-3)
    averages.observe(torch.full((1, 8, 1, 10), 7.0), torch.full((1, 1, 10), 5))
    averages.move(codebook, Machine())
    assert bool((codebook[5] > 3.3).all())


def test_averages_move_the_codebook_and_no_gradient_does(make_examples: Callable[..., Examples]) -> None:
    examples = make_examples(None, count=2)
    step = Step1(CONFIG, 0, examples, examples, Step1Config(batch_size=2, codebook="averages"))
    before = step.network.quantizer.codebook.detach().clone()
    losses = step.loss(_log_mel(examples))
    losses.total.backward()
    assert step.network.quantizer.codebook.grad is None
    step.after_batch(Machine())
    used = losses.codes.unique()
    moved = (step.network.quantizer.codebook != before).any(dim=1)
    assert moved[used].all()
    assert moved.sum() == len(used)
    # Validation is measured, not learned from.
    step.loss.eval()
    step.loss(_log_mel(examples))
    after = step.network.quantizer.codebook.clone()
    step.after_batch(Machine())
    assert torch.equal(step.network.quantizer.codebook, after)


def test_the_codebook_is_measured_as_it_is_used(make_examples: Callable[..., Examples]) -> None:
    torch.manual_seed(0)
    vqvae, examples = VQVAE(CONFIG), make_examples(None, count=3)
    found = measure_codebook(vqvae, examples, 2, Machine())
    assert vqvae.training
    vqvae.eval()
    codes = vqvae.codes(_log_mel(examples))
    decoded = vqvae.decode(vqvae.quantizer.lookup(codes))
    assert found.reconstruction == pytest.approx((decoded - _log_mel(examples)).square().mean().item(), rel=1e-5)
    assert found.codes_in_use == len(codes.unique()) / 16
    share = torch.bincount(codes.flatten()).double() / codes.numel()
    assert found.perplexity == pytest.approx(torch.exp(-(share[share > 0] * share[share > 0].log()).sum()).item())
