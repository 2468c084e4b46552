"""The sub-pixel convolution is the transposed one: output and every gradient, for every layer of every decoder."""

from __future__ import annotations

import pytest
import torch

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.geometry import decoder_convolutions

DECODERS = {
    "type-1": VQVAEConfig(width=8),
    "type-2": VQVAEConfig(type=2, width=8),
    "type-2-mirror": VQVAEConfig(type=2, width=8, type_2_decoder="mirror"),
}


@pytest.mark.parametrize("layer", range(5))
@pytest.mark.parametrize("decoder", DECODERS)
def test_it_is_the_transposed_convolution(benchmark, decoder: str, layer: int) -> None:
    module = benchmark("sub_pixel")
    config = DECODERS[decoder]
    size = (config.bands, 6)
    for row in decoder_convolutions(config)[:layer]:
        size = row.output_size(size)
    row = decoder_convolutions(config)[layer]
    torch.manual_seed(layer)
    shapes = ((2, 8, *size), (8, 3, *row.kernel), (3,))
    learned = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    expected, found = module.transposed(*learned, row), module.sub_pixel(*learned, row)
    weights = torch.randn_like(expected)

    assert found.shape[2:] == row.output_size(size)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for one, other in zip(
        torch.autograd.grad(found, learned, weights), torch.autograd.grad(expected, learned, weights), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)
