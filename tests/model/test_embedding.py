"""The embedding of a track: the statistics the networks read, of unit length, the same on every way there."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from moodbook import audio
from moodbook.features import segments
from moodbook.model.bundle import read_bundle
from moodbook.model.card import BundleConfig
from moodbook.model.embedding import Embedding, fit_embedding, segment_statistics
from moodbook.model.scores import pool
from moodbook.model.tagger import Tagger
from moodbook.networks.config import NetworkConfig, VGGishConfig, VQVAEConfig
from moodbook.networks.quantizer import VectorQuantizer, latent_sequence
from moodbook.networks.statistics import statistics_over_time


def random_codes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 16, (count, 4, 512)).astype(np.int16)


def test_the_statistics_are_those_of_the_networks() -> None:
    config = VQVAEConfig(width=8, codebook_size=16)
    quantizer, codes = VectorQuantizer(config), random_codes(3)
    with torch.no_grad():
        quantizer.codebook.normal_(generator=torch.Generator().manual_seed(0))
    expected = statistics_over_time(latent_sequence(quantizer.lookup(torch.from_numpy(codes).long()), config))
    ours = segment_statistics(codes, quantizer.codebook.detach().numpy())
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("whitening", "expected"), [(0.0, [2, 1, 0.5, 0.1]), (0.5, [2**0.5, 1, 0.5**0.5, 0.1**0.5]), (1.0, [1] * 4)]
)
def test_directions_are_made_equally_strong_as_far_as_asked(whitening: float, expected: list[float]) -> None:
    random = np.random.default_rng(0)
    apart = np.linalg.qr(random.normal(size=(400, 5)))[0]
    apart = np.linalg.qr(apart - apart.mean(axis=0))[0] * 20  # Centred, at right angles, of variance 1.
    mixed = (apart * [2, 1, 0.5, 0.1, 0.001]) @ np.linalg.qr(random.normal(size=(30, 5)))[0].T + 5
    embedding = fit_embedding(mixed.astype(np.float32), dimensions=4, whitening=whitening)
    projected = (mixed - embedding.centre) @ embedding.projection
    np.testing.assert_allclose(np.cov(projected.T, bias=True), np.diag(np.square(expected)), atol=1e-3)
    assert np.linalg.norm(embedding(mixed[0])) == pytest.approx(1)


def test_there_are_no_more_directions_than_the_music_has() -> None:
    three = np.random.default_rng(0).normal(size=(3, 30)).astype(np.float32)
    assert fit_embedding(three).projection.shape == (30, 2)


def test_the_centre_has_no_direction() -> None:
    embedding = Embedding(np.ones(3, np.float32), np.eye(3, 2, dtype=np.float32))
    assert embedding(np.ones(3, np.float32)).tolist() == [0, 0]


@pytest.fixture
def fitted(make_bundle) -> Embedding:
    codebook = make_bundle().weights["vqvae.quantizer.codebook"]
    return fit_embedding(segment_statistics(random_codes(40), codebook), dimensions=5)


def test_a_bundle_keeps_it_and_a_tagger_gives_it(make_bundle, fitted: Embedding, write_music) -> None:
    bundle = read_bundle(make_bundle("with", embedding=fitted).folder)
    assert bundle.config.embedding == 5
    np.testing.assert_array_equal(bundle.embedding.projection, fitted.projection)
    tagger, path = Tagger(bundle), write_music(seconds=60)
    heard = segments(audio.load(path))
    statistics = segment_statistics(tagger.engine.run(heard.log_mel).codes, tagger.engine.codebook)

    scores = tagger(path)

    np.testing.assert_array_equal(scores.embedding, fitted(pool(statistics, heard.filled)))
    (again,) = tagger.tag_files([path])
    np.testing.assert_array_equal(again.embedding, scores.embedding)
    assert "embedding" not in scores.to_dict()
    assert tagger(path, first_segment=True).embedding.shape == (5,)


def test_a_model_without_one_gives_none(tiny_bundle, write_music) -> None:
    assert tiny_bundle.embedding is None
    assert Tagger(tiny_bundle)(write_music()).embedding is None


def test_a_system_without_codes_cannot_have_one(make_bundle, random_weights) -> None:
    network = NetworkConfig(classifier=VGGishConfig(maps=(2, 2, 2, 2, 2)))
    config = make_bundle(network=network, weights=random_weights(network, 4)).config
    with pytest.raises(ValidationError, match="an embedding and the presence of music are told from codes"):
        BundleConfig.model_validate(config.model_dump() | {"embedding": 5})


def test_music_that_is_all_alike_has_no_direction() -> None:
    assert fit_embedding(np.ones((5, 30), dtype=np.float32)).projection.shape == (30, 0)
