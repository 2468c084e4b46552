"""The VQ-VAE: sizes, receptive field, initial weights, learning, and what its codes do not depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from moodbook.errors import DataError
from moodbook.networks.config import VQVAEConfig
from moodbook.networks.vqvae import VQVAE, ResidualBlock, VQVAEOutput

Synthetic = Callable[[int], Tensor]

TYPES = [
    VQVAEConfig(width=8, codebook_size=16),
    VQVAEConfig(width=8, codebook_size=16, type=2),
    VQVAEConfig(width=8, codebook_size=16, type=2, type_2_decoder="mirror", skip="identity"),
]


@pytest.mark.parametrize("config", TYPES, ids=["type-1", "type-2", "type-2-mirror"])
def test_sizes(config: VQVAEConfig, synthetic_log_mel: Synthetic) -> None:
    vqvae, log_mel = VQVAE(config), synthetic_log_mel(2)

    output = vqvae(log_mel)

    assert output.reconstruction.shape == (2, 128, 1024)
    assert output.latents.shape == output.quantized.shape == (2, 8, config.bands, 512)
    assert output.codes.shape == (2, config.bands, 512)
    assert output.reconstruction.detach().abs().max() <= 1
    assert torch.equal(output.reconstruction, vqvae.decode(output.quantized))


@pytest.mark.parametrize("config", TYPES, ids=["type-1", "type-2", "type-2-mirror"])
def test_every_convolution_has_a_bias_and_all_but_e5_and_d5_a_norm(config: VQVAEConfig) -> None:
    vqvae = VQVAE(config)
    convolutions = [m for m in vqvae.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(convolutions) == 5 + 5 + 2 * 2 * 2
    assert all(convolution.bias is not None for convolution in convolutions)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in vqvae.modules()) == len(convolutions) - 2


def test_weights_start_xavier_uniform_with_zero_biases() -> None:
    vqvae = VQVAE(VQVAEConfig(width=32))
    for convolution in vqvae.modules():
        if isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d):
            receptive = convolution.weight[0, 0].numel()
            bound = (6 / ((convolution.in_channels + convolution.out_channels) * receptive)) ** 0.5
            assert 0.9 * bound < convolution.weight.detach().abs().max() <= bound
            assert not convolution.bias.detach().any()


def test_a_latent_vector_sees_72_frames_and_the_next_one_starts_two_frames_later(narrow: VQVAEConfig) -> None:
    vqvae = VQVAE(narrow).eval()
    with torch.no_grad():
        # Positive weights keep every ReLU open, so that no path of the gradient is closed by chance.
        for parameter in vqvae.encoder.parameters():
            parameter.abs_()
    frames = []
    for step in (200, 201):
        log_mel = torch.full((1, 128, 1024), 0.5, requires_grad=True)
        vqvae.encode(log_mel)[0, :, 1, step].sum().backward()
        seen = log_mel.grad[0].abs().sum(dim=0).nonzero().flatten()
        frames.append((seen.min().item(), seen.max().item()))

    (first, last), following = frames
    assert last - first + 1 == 72
    assert following == (first + 2, last + 2)


@pytest.mark.parametrize("skip", ["relu", "identity"])
def test_the_skip_carries_what_the_option_says(skip: str) -> None:
    block = ResidualBlock(VQVAEConfig(width=4, skip=skip))
    with torch.no_grad():
        block.projection_norm.weight.zero_()
    latents = torch.randn(2, 4, 3, 5)
    assert torch.equal(block(latents), latents.relu() if skip == "relu" else latents)


def step_1_loss(output: VQVAEOutput, log_mel: Tensor) -> Tensor:
    # MSE(x', x) + MSE(z_q, sg z_e) + 1.0 * MSE(z_e, sg z_q).
    return functional.mse_loss(output.reconstruction, log_mel) + output.codebook_loss + output.commitment_loss


def test_reconstruction_reaches_the_encoder_through_the_codes_and_leaves_the_codebook(
    narrow: VQVAEConfig, synthetic_log_mel: Synthetic
) -> None:
    vqvae, log_mel = VQVAE(narrow), synthetic_log_mel(2)
    functional.mse_loss(vqvae(log_mel).reconstruction, log_mel).backward()
    first = vqvae.encoder.convolutions[0]
    assert first.weight.grad.abs().max() > 0
    assert vqvae.quantizer.codebook.grad is None


def test_every_parameter_learns_in_step_1(narrow: VQVAEConfig, synthetic_log_mel: Synthetic) -> None:
    vqvae, log_mel = VQVAE(narrow), synthetic_log_mel(2)
    step_1_loss(vqvae(log_mel), log_mel).backward()
    still = [name for name, parameter in vqvae.named_parameters() if not parameter.grad.abs().max() > 0]
    assert still == []


def test_step_1_overfits_eight_clips(overfitted: Any) -> None:
    # Better than any constant, whose error is the variance; and far below the start.
    assert overfitted.errors[-1] < 0.75 * overfitted.log_mel.var().item()
    assert overfitted.errors[-1] < 0.35 * overfitted.errors[0]
    assert overfitted.vqvae.codes(overfitted.log_mel).unique().numel() > 1


def test_clips_together_equal_clips_alone(synthetic_log_mel: Synthetic) -> None:
    vqvae, log_mel = VQVAE(VQVAEConfig(width=16, codebook_size=64)).eval(), synthetic_log_mel(4)
    with torch.no_grad():
        together, alone = vqvae(log_mel), [vqvae(clip[None]) for clip in log_mel]
    assert torch.equal(together.codes, torch.cat([output.codes for output in alone]))
    for name in ("latents", "reconstruction"):
        one_by_one = torch.cat([getattr(output, name) for output in alone])
        torch.testing.assert_close(getattr(together, name), one_by_one, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("two_threads")
def test_codes_do_not_depend_on_the_threads(synthetic_log_mel: Synthetic) -> None:
    vqvae, log_mel = VQVAE(VQVAEConfig(width=16, codebook_size=64)).eval(), synthetic_log_mel(2)
    latents, codes = [], []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        with torch.no_grad():
            latents.append(vqvae.encode(log_mel))
        codes.append(vqvae.codes(log_mel))
    assert torch.equal(*codes)
    torch.testing.assert_close(*latents, rtol=0, atol=1e-5)


def test_output_is_float32_under_autocast(narrow: VQVAEConfig, synthetic_log_mel: Synthetic) -> None:
    vqvae = VQVAE(narrow).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        output = vqvae(synthetic_log_mel(2))
    step_1_loss(output, synthetic_log_mel(2)).backward()
    assert {output.reconstruction.dtype, output.latents.dtype, output.quantized.dtype} == {torch.float32}
    assert torch.equal(output.codes, vqvae.quantizer.codes(output.latents))


def test_a_fixed_vqvae_stays_in_eval_mode(narrow: VQVAEConfig, synthetic_log_mel: Synthetic) -> None:
    vqvae = VQVAE(narrow)
    assert not vqvae.fixed
    vqvae.fix()
    vqvae.train()
    before = {name: value.clone() for name, value in vqvae.state_dict().items()}
    vqvae(synthetic_log_mel(2))

    assert vqvae.fixed
    assert not any(module.training for module in vqvae.modules())
    assert not any(parameter.requires_grad for parameter in vqvae.parameters())
    assert all(torch.equal(value, before[name]) for name, value in vqvae.state_dict().items())


@pytest.mark.parametrize("shape", [(1, 128, 1000), (1, 96, 1024), (2, 1024, 128)])
def test_another_size_of_segment_is_refused(shape: tuple[int, ...], narrow: VQVAEConfig) -> None:
    got = " x ".join(map(str, shape))
    with pytest.raises(DataError, match=f"expected log-mel segments of batch x 128 x 1024, got {got}"):
        VQVAE(narrow).encode(torch.zeros(shape))


def test_latents_of_another_vqvae_are_not_decoded(narrow: VQVAEConfig) -> None:
    with pytest.raises(DataError, match="expected quantized latents of batch x 8 x 4 x steps, got 1 x 8 x 1 x 512"):
        VQVAE(narrow).decode(torch.zeros(1, 8, 1, 512))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [1, 2])
def test_full_width(kind: int, synthetic_log_mel: Synthetic) -> None:
    vqvae, log_mel = VQVAE(VQVAEConfig(type=kind)).eval(), synthetic_log_mel(2)
    with torch.no_grad():
        output = vqvae(log_mel)
        alone = vqvae.codes(log_mel[1:])
    assert output.latents.shape == (2, 256, 4 if kind == 1 else 1, 512)
    assert output.reconstruction.shape == log_mel.shape
    assert torch.equal(output.codes[1:], alone)
