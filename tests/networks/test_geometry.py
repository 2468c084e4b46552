"""The rows of the paper's tables against the sizes they must give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodbook.networks.config import VQVAEConfig
from moodbook.networks.geometry import (
    Convolution,
    Size,
    clipped_pool,
    decoder_convolutions,
    encoder_convolutions,
    same_padding,
    timbral_filters,
)


def sizes(rows: tuple[Convolution, ...], size: Size) -> list[Size]:
    steps = []
    for row in rows:
        size = row.output_size(size)
        steps.append(size)
    return steps


@pytest.mark.parametrize(("kind", "bands"), [(1, 4), (2, 1)])
def test_encoder_halves_the_bands(kind: int, bands: int) -> None:
    rows = encoder_convolutions(VQVAEConfig(type=kind))
    assert sizes(rows, (128, 1024)) == [(64, 1024), (32, 1024), (16, 1024), (8, 1024), (bands, 512)]


@pytest.mark.parametrize(
    ("config", "first"),
    [
        (VQVAEConfig(type=1), 7),
        (VQVAEConfig(type=2, type_2_decoder="kernel-7"), 7),
        (VQVAEConfig(type=2, type_2_decoder="mirror"), 8),
    ],
)
def test_decoder_doubles_the_bands(config: VQVAEConfig, first: int) -> None:
    rows = decoder_convolutions(config)
    expected = [(first, 1024), (16, 1024), (32, 1024), (64, 1024), (128, 1024)]
    assert sizes(rows, (config.bands, 512)) == expected


def test_type_1_decoder_on_type_2_latents_would_give_80_bands() -> None:
    assert sizes(decoder_convolutions(VQVAEConfig(type=1)), (1, 512))[-1] == (80, 1024)


@given(features=st.integers(2, 4096), channels=st.integers(1, 32))
def test_timbral_filters_span_nine_and_four_tenths(features: int, channels: int) -> None:
    filters = timbral_filters(channels, features)
    assert [(row.steps, row.maps) for row in filters] == [
        (steps, channels * factor) for steps, factor in ((7, 1), (3, 2), (1, 4)) * 2
    ]
    wide, narrow = filters[0].features, filters[-1].features
    assert 0.9 * features - 1 < wide <= 0.9 * features + 1e-9
    assert 0.4 * features - 1 < narrow <= max(1, 0.4 * features + 1e-9)
    assert {row.features for row in filters[:3]} == {wide}


def test_timbral_filters_of_the_paper() -> None:
    assert [row.features for row in timbral_filters(8, 1024)] == [921] * 3 + [409] * 3


def test_timbral_filters_of_one_feature_keep_it() -> None:
    assert {row.features for row in timbral_filters(1, 1)} == {1}


@pytest.mark.parametrize(("kernel", "before", "after"), [(165, 82, 82), (128, 63, 64), (64, 31, 32), (32, 15, 16)])
def test_same_padding_puts_the_odd_zero_behind(kernel: int, before: int, after: int) -> None:
    assert same_padding(kernel) == (before, after)


def test_pools_are_cut_to_the_image() -> None:
    assert clipped_pool((3, 5), (16, 16)) == (3, 5)
    assert clipped_pool((3, 5), (2, 16)) == (2, 5)
    assert clipped_pool((3, 5), (7, 1)) == (3, 1)
