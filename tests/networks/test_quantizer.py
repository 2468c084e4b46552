"""The quantizer: nearest neighbours against an oracle, straight-through and the gradients of both losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from vector_quantize_pytorch import VectorQuantize

from moodbook.errors import DataError
from moodbook.networks.config import VQVAEConfig
from moodbook.networks.quantizer import VectorQuantizer, latent_sequence, rotated


def quantizer(codebook: Tensor) -> VectorQuantizer:
    size, width = codebook.shape
    made = VectorQuantizer(VQVAEConfig(width=width, codebook_size=size))
    with torch.no_grad():
        made.codebook.copy_(codebook)
    return made


def oracle_codes(latents: Tensor, codebook: Tensor) -> Tensor:
    size, width = codebook.shape
    oracle = VectorQuantize(dim=width, codebook_size=size, accept_image_fmap=True).eval()
    oracle._codebook.embed.data[0] = codebook
    return oracle(latents)[1]


@pytest.mark.parametrize(("width", "size", "bands"), [(256, 1024, 4), (256, 1024, 1), (64, 512, 4), (5, 3, 4)])
def test_codes_equal_vector_quantize_pytorch(width: int, size: int, bands: int) -> None:
    latents, codebook = torch.randn(2, width, bands, 128), torch.randn(size, width)
    assert torch.equal(quantizer(codebook).codes(latents), oracle_codes(latents, codebook))


def test_codes_of_a_fresh_codebook_are_nearer_than_those_of_vector_quantize_pytorch() -> None:
    # U(-1/K, 1/K) against latents of unit size: the oracle's |x|^2 swallows the differences, ours leaves it out.
    latents, ours = torch.randn(2, 256, 4, 128), VectorQuantizer(VQVAEConfig())
    codebook = ours.codebook.detach()
    codes, others = ours.codes(latents), oracle_codes(latents, codebook)

    differ = codes != others
    vectors = latents.permute(0, 2, 3, 1)[differ].double()
    ours_squared, theirs_squared = (
        (vectors - codebook[chosen[differ]].double()).square().sum(dim=-1) for chosen in (codes, others)
    )

    assert differ.float().mean() < 0.02
    assert bool((ours_squared <= theirs_squared).all())


@pytest.mark.parametrize("seed", range(5))
def test_codes_are_the_nearest_in_float64_wherever_the_margin_is_clear(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(1, 32, 4, 100, generator=generator)
    ours = quantizer(torch.rand(64, 32, generator=generator) / 32 - 1 / 64)

    vectors = latents.permute(0, 2, 3, 1).reshape(-1, 1, 32).double()
    distances = (vectors - ours.codebook.detach().double()).square().sum(dim=-1)
    nearest, second = distances.topk(2, dim=1, largest=False).values.unbind(1)
    clear = second - nearest > 1e-5

    assert clear.float().mean() > 0.99
    assert torch.equal(ours.codes(latents).flatten()[clear], distances.argmin(dim=1)[clear])


def test_a_tie_goes_to_the_lowest_code() -> None:
    codebook = torch.tensor([[9.0, 9.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    latents = torch.tensor([[1.0, 0.0], [1.0, 1.0], [8.0, 9.0]]).T.reshape(1, 2, 1, 3)
    assert quantizer(codebook).codes(latents).flatten().tolist() == [1, 1, 0]


def test_a_codebook_vector_is_its_own_nearest_neighbour() -> None:
    ours = quantizer(torch.randn(16, 8))
    codes = torch.randint(0, 16, (3, 4, 10))
    assert torch.equal(ours.codes(ours.lookup(codes)), codes)


def test_look_up_stays_float32_under_autocast() -> None:
    # bfloat16 has 8 bits: it cannot tell 1.000 from 1.001.
    ours = quantizer(torch.tensor([[1.0, 0.0], [1.001, 0.0]]))
    latents = torch.tensor([1.0009, 0.0]).reshape(1, 2, 1, 1)
    with torch.autocast("cpu", torch.bfloat16):
        products = latents.reshape(1, 2) @ ours.codebook.T
        assert products[0, 0] == products[0, 1], "autocast is not at work, so this test would prove nothing"
        result = ours(latents)
        assert ours.codes(latents).item() == 1

    assert result.codes.item() == 1
    assert {result.quantized.dtype, result.codebook_loss.dtype, result.commitment_loss.dtype} == {torch.float32}
    assert result.quantized[0, 0, 0, 0] == ours.codebook[1, 0]


def test_latents_in_bfloat16_are_looked_up_in_float32() -> None:
    ours = quantizer(torch.randn(64, 16))
    latents = torch.randn(2, 16, 4, 50).bfloat16()
    assert torch.equal(ours.codes(latents), ours.codes(latents.float()))
    assert ours(latents).quantized.dtype == torch.float32


def test_straight_through_gives_the_latents_the_gradient_and_the_codebook_none() -> None:
    ours = quantizer(torch.randn(16, 8))
    latents = torch.randn(2, 8, 4, 5, requires_grad=True)
    weights = torch.randn(2, 8, 4, 5)

    result = ours(latents)
    (result.quantized * weights).sum().backward()

    assert torch.equal(latents.grad, weights)
    assert ours.codebook.grad is None
    assert torch.equal(result.quantized, ours.lookup(result.codes))


def test_codebook_loss_moves_the_codebook_alone() -> None:
    ours = quantizer(torch.randn(16, 8))
    latents = torch.randn(2, 8, 1, 5, requires_grad=True)

    result = ours(latents)
    result.codebook_loss.backward()

    # d/de_k mean (z_q - z_e)^2 = 2/N sum over the vectors whose code is k of (e_k - z_e).
    expected = torch.zeros(16, 8)
    vectors = latents.detach().permute(0, 2, 3, 1).reshape(-1, 8)
    for code, vector in zip(result.codes.flatten().tolist(), vectors, strict=True):
        expected[code] += 2 * (ours.codebook.detach()[code] - vector) / latents.numel()
    assert latents.grad is None
    torch.testing.assert_close(ours.codebook.grad, expected)


def test_commitment_loss_moves_the_latents_alone() -> None:
    ours = quantizer(torch.randn(16, 8))
    latents = torch.randn(2, 8, 4, 5, requires_grad=True)

    result = ours(latents)
    result.commitment_loss.backward()

    assert ours.codebook.grad is None
    expected = 2 * (latents.detach() - ours.lookup(result.codes)) / latents.numel()
    torch.testing.assert_close(latents.grad, expected)


def test_both_losses_are_the_mean_squared_distance() -> None:
    ours = quantizer(torch.tensor([[0.0, 0.0], [10.0, 10.0]]))
    latents = torch.tensor([[1.0, 0.0], [10.0, 12.0]]).T.reshape(1, 2, 1, 2)
    result = ours(latents)
    assert result.codes.flatten().tolist() == [0, 1]
    assert result.codebook_loss.item() == result.commitment_loss.item() == (1 + 4) / 4


def test_codebook_starts_uniform_within_one_over_k() -> None:
    codebook = VectorQuantizer(VQVAEConfig(width=64, codebook_size=512)).codebook.detach() * 512
    assert 0.99 < codebook.abs().max() <= 1
    # U(-1, 1) has the standard deviation 1 / sqrt(3).
    assert codebook.std().item() == pytest.approx(3**-0.5, abs=0.01)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64])
def test_lookup_takes_cached_codes(dtype: torch.dtype) -> None:
    ours = quantizer(torch.randn(16, 8))
    codes = torch.randint(0, 16, (2, 4, 6))
    assert torch.equal(ours.lookup(codes.to(dtype))[1, :, 2, 3], ours.codebook.detach()[codes[1, 2, 3]])


@pytest.mark.parametrize("code", [-1, 16])
def test_lookup_refuses_foreign_codes(code: int) -> None:
    with pytest.raises(DataError, match=f"expected codes from 0 to 15, got .*{code}"):
        quantizer(torch.randn(16, 8)).lookup(torch.tensor([[[3, code]]]))


def test_latents_of_another_width_are_refused() -> None:
    with pytest.raises(DataError, match="expected latents of batch x 8 x bands x steps, got 1 x 9 x 4 x 5"):
        quantizer(torch.randn(16, 8)).codes(torch.randn(1, 9, 4, 5))


def test_latent_sequence_puts_channel_times_bands_plus_band() -> None:
    config = VQVAEConfig(width=8)
    latents = torch.randn(2, 8, 4, 5)
    sequence = latent_sequence(latents, config)
    assert sequence.shape == (2, 5, 32)
    assert sequence[1, 3, 6 * 4 + 2] == latents[1, 6, 2, 3]


def test_one_hot_codes_against_a_unit_codebook_are_the_latents() -> None:
    ours = quantizer(torch.eye(8))
    codes = torch.randint(0, 8, (2, 4, 5))
    assert torch.equal(ours.lookup(codes), functional.one_hot(codes, 8).permute(0, 3, 1, 2).float())


def test_the_rotation_carries_each_latent_onto_its_codebook_vector_and_keeps_angles() -> None:
    torch.manual_seed(0)
    z_e, z_q = torch.randn(2, 6, 4, 5, dtype=torch.float64), torch.randn(2, 6, 4, 5, dtype=torch.float64)
    assert torch.allclose(rotated(z_e, z_q), z_q)
    # The Jacobian of one vector, against a rotation times a scale.
    e, q = torch.randn(6, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(
        lambda vector: rotated(vector.reshape(1, 6, 1, 1), q.reshape(1, 6, 1, 1)).flatten(), e
    )
    scale = q.norm() / e.norm()
    assert torch.allclose(jacobian @ jacobian.T, scale**2 * torch.eye(6, dtype=torch.float64))
    assert torch.linalg.det(jacobian / scale).item() == pytest.approx(1.0)
    assert torch.allclose(jacobian @ e, q)


def test_the_rotation_changes_gradients_and_no_value() -> None:
    torch.manual_seed(0)
    ours, latents = quantizer(torch.randn(16, 8)), torch.randn(2, 8, 4, 10, requires_grad=True)
    straight = ours(latents)
    (gradient,) = torch.autograd.grad(straight.quantized.sum(), latents)
    assert torch.equal(gradient, torch.ones_like(latents))
    ours.gradient = "rotation"
    turned = ours(latents)
    assert torch.equal(turned.quantized, straight.quantized)
    (gradient,) = torch.autograd.grad(turned.quantized.square().sum() / 2, latents)
    # d/dz_e of |z_q|^2 / 2 is J^T z_q = (|z_q| / |z_e|)^2 z_e: turned back onto the latent.
    ratio = (straight.quantized.norm(dim=1, keepdim=True) / latents.norm(dim=1, keepdim=True)).square()
    assert torch.allclose(gradient, ratio * latents, atol=1e-5)


def test_a_latent_of_zeros_or_opposite_to_its_vector_has_a_finite_gradient() -> None:
    ours = quantizer(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    ours.gradient = "rotation"
    latents = torch.tensor([[0.0, 0.0], [-1.0, 0.0]]).T.reshape(1, 2, 1, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(ours(latents).quantized.square().sum(), latents)
    assert torch.isfinite(gradient).all()
