from __future__ import annotations

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from moodbook.errors import ModelError
from moodbook.model.engine import Engine
from moodbook.model.selftest import TOLERANCE, record_self_test, replay_self_test, synthetic_log_mel
from moodbook.networks.config import CNNConfig, NetworkConfig, VQVAEConfig
from moodbook.tags import TagSet

TAGS = TagSet(("a", "b", "c", "d", "e"))
NETWORK = NetworkConfig(
    vqvae=VQVAEConfig(width=8, codebook_size=16), classifier=CNNConfig(channels=2, hidden=8, dense=6)
)


def test_the_input_is_the_same_on_every_machine():
    first = synthetic_log_mel(0)

    assert first.shape == (1, 128, 1024)
    assert -0.9 <= first.min() < -0.8
    assert 0.7 < first.max() <= 0.85
    assert hashlib.sha256(first.tobytes()).hexdigest() == (
        "053f0b16f1f947b3f847d1349eed645260ac9039ab73aa8ffa66d69f76401045"
    )
    assert not np.array_equal(first, synthetic_log_mel(1))


def test_the_same_weights_pass(learn):
    engine = Engine(learn(NETWORK))
    recorded = record_self_test(engine, TAGS)

    result = replay_self_test(Engine(learn(NETWORK), threads=1), TAGS, recorded)

    assert result.passed
    assert result.largest_difference < 1e-5
    assert recorded.probabilities.keys() == set(TAGS)


def test_the_recorded_input_has_no_close_call(learn):
    engine = Engine(learn(NETWORK))
    recorded = record_self_test(engine, TAGS)

    chosen = engine.margins(synthetic_log_mel(recorded.seed)).min()

    assert chosen == max(engine.margins(synthetic_log_mel(seed)).min() for seed in range(8))


@pytest.mark.parametrize("name", ["vqvae.encoder.convolutions.0.weight", "classifier.output.bias"])
def test_other_weights_fail(learn, name):
    learned = learn(NETWORK)
    recorded = record_self_test(Engine(learned), TAGS)
    changed = {**learned.weights, name: learned.weights[name] + np.float32(0.1)}

    result = replay_self_test(Engine(SimpleNamespace(network=NETWORK, weights=changed)), TAGS, recorded)

    assert not result.passed
    assert result.largest_difference > TOLERANCE or not result.same_codes


def test_a_permuted_tag_axis_fails(learn):
    recorded = record_self_test(Engine(learn(NETWORK)), TAGS)

    result = replay_self_test(Engine(learn(NETWORK)), TagSet(("b", "a", "c", "d", "e")), recorded)

    assert result.same_codes
    assert not result.passed


def test_weights_that_compute_no_probability_are_not_recorded(learn, monkeypatch):
    engine = Engine(learn(NETWORK))
    output = engine.run(synthetic_log_mel(0))
    output.probabilities[0, 2] = np.nan
    monkeypatch.setattr(engine, "run", lambda log_mel: output)

    with pytest.raises(ModelError, match=r"not numbers in \[0, 1\]; the training went wrong"):
        record_self_test(engine, TAGS)
