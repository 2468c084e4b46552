"""Codes that nobody uses start again on music."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.examples import Examples
from moodbook.training.vqvae import Step1, restart_unused_codes

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
        step = Step1(CONFIG, 0, examples, examples, 2, restarts)
        before = _with_far_codes(step.network).quantizer.codebook.detach().clone()
        step.after_epoch(1)
        moved = (step.network.quantizer.codebook != before).any(dim=1).numpy()
        assert moved[12:].all() == restarts
        assert moved.any() == restarts
        assert step.network.training
