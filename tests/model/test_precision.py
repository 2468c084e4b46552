from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from moodbook.errors import ModelError
from moodbook.model.engine import Engine
from moodbook.model.graph import encoder_graph
from moodbook.model.precision import available_precisions, processor_capabilities, resolve_precision
from moodbook.model.quantization import ceiling_after_norm, quantized_kernel
from moodbook.model.selftest import synthetic_log_mel
from moodbook.networks.config import GRUConfig, NetworkConfig, StatisticsConfig, VGGishConfig, VQVAEConfig

ALL = ["FP32", "BF16", "INT8"]
CODES = NetworkConfig(vqvae=VQVAEConfig(width=32, codebook_size=16), classifier=StatisticsConfig())
LOG_MEL = NetworkConfig(classifier=VGGishConfig(maps=(1, 1, 1, 1, 1)))


@pytest.fixture(params=["f32", "bf16", "int8"])
def precision(request):
    """Every precision that this processor has."""
    if request.param not in available_precisions(processor_capabilities(), CODES):
        pytest.skip(f"this processor does not compute in {request.param}")
    return request.param


@pytest.mark.parametrize(
    ("choice", "capabilities", "expected"),
    [
        ("auto", ALL, "bf16"),
        ("auto", ["FP32", "INT8"], "f32"),
        ("f32", ALL, "f32"),
        ("f32", [], "f32"),
        ("bf16", ALL, "bf16"),
        ("int8", ALL, "int8"),
    ],
)
def test_a_choice_becomes_a_precision(choice, capabilities, expected):
    assert resolve_precision(choice, capabilities, CODES) == expected


@pytest.mark.parametrize("choice", ["bf16", "int8"])
def test_what_the_processor_has_not_is_refused(choice):
    with pytest.raises(ModelError, match=f"does not compute in {choice}; use precision f32"):
        resolve_precision(choice, ["FP32"], CODES)


def test_int8_needs_an_encoder():
    with pytest.raises(ModelError, match="int8 is for the encoder of a VQ-VAE, and a 'vggish' classifier"):
        resolve_precision("int8", ALL, LOG_MEL)
    assert available_precisions(ALL, LOG_MEL) == ["f32", "bf16"]
    assert available_precisions(ALL, CODES) == ["f32", "bf16", "int8"]


def test_the_engine_says_what_it_chose(learn):
    assert Engine(learn(CODES)).precision == "f32"
    assert Engine(learn(CODES), "auto").precision == resolve_precision("auto", processor_capabilities(), CODES)


def test_segments_together_equal_segments_alone_in_every_precision(learn, precision):
    engine = Engine(learn(CODES), precision)
    many = np.concatenate([synthetic_log_mel(seed) for seed in range(9)])

    together = engine.run(many)

    for size in (1, 2, 3, 4):
        for start in range(0, 9 - size, size):
            apart = engine.run(many[start : start + size])
            np.testing.assert_array_equal(apart.codes, together.codes[start : start + size])
            np.testing.assert_array_equal(apart.probabilities, together.probabilities[start : start + size])


def test_threads_change_nothing_in_any_precision(learn, precision, log_mel):
    one, two, three = (Engine(learn(CODES), precision, threads=threads).run(log_mel) for threads in (1, 2, 3))

    for other in (two, three):
        np.testing.assert_array_equal(other.codes, one.codes)
        np.testing.assert_array_equal(other.probabilities, one.probabilities)


def test_a_recurrent_head_gives_the_same_beside_others(learn, precision):
    network = NetworkConfig(vqvae=VQVAEConfig(width=8, codebook_size=16), classifier=GRUConfig(hidden=6))
    engine = Engine(learn(network), precision)
    many = np.concatenate([synthetic_log_mel(seed) for seed in range(5)])

    together = engine.run(many)

    for index in range(5):
        np.testing.assert_array_equal(engine.run(many[index][None]).probabilities[0], together.probabilities[index])


def test_coarser_precisions_keep_most_codes(learn, precision, log_mel):
    exact, other = Engine(learn(CODES)), Engine(learn(CODES), precision)

    changed = (exact.encode(log_mel) != other.encode(log_mel)).mean()

    assert changed == 0 if precision == "f32" else 0 < changed < 0.1


def test_outputs_of_several_tracks_are_handed_back_apart(learn, log_mel):
    engine = Engine(learn(CODES))
    whole = engine.run(log_mel)

    first, nothing, rest = engine.run_each([log_mel[:1], log_mel[:0], log_mel[1:]])

    np.testing.assert_array_equal(np.concatenate([first.codes, rest.codes]), whole.codes)
    np.testing.assert_array_equal(np.concatenate([first.probabilities, rest.probabilities]), whole.probabilities)
    assert nothing.probabilities.shape == (0, 5)
    assert engine.run_each([]) == []
    assert [output.codes for output in Engine(learn(LOG_MEL)).run_each([log_mel[:1], log_mel[1:]])] == [None, None]


def test_what_is_prepared_gives_the_same(learn, network, log_mel):
    prepared, other = Engine(learn(network)), Engine(learn(network))
    prepared.prepare()

    np.testing.assert_array_equal(prepared.run(log_mel).probabilities, other.run(log_mel).probabilities)


def test_an_engine_left_in_the_middle_of_a_batch_goes_on(learn, log_mel, monkeypatch):
    engine = Engine(learn(CODES))
    expected = engine.encode(log_mel)
    nearest = engine._nearest

    def fails(latents: np.ndarray):
        raise MemoryError

    monkeypatch.setattr(engine, "_nearest", fails)
    with pytest.raises(MemoryError):
        engine.encode(np.concatenate([log_mel] * 3))
    monkeypatch.setattr(engine, "_nearest", nearest)

    np.testing.assert_array_equal(engine.encode(log_mel), expected)


def test_threads_share_an_engine_that_computes_several_segments_at_a_time(learn, precision, log_mel):
    engine = Engine(learn(CODES), precision)
    expected = engine.run(log_mel)
    many = [np.concatenate([log_mel] * 2) for _ in range(4)]
    found: list[np.ndarray | None] = [None] * 4

    def run(index: int) -> None:
        found[index] = engine.run(many[index]).codes

    workers = [threading.Thread(target=run, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    for codes in found:
        np.testing.assert_array_equal(codes, np.concatenate([expected.codes] * 2))


def quantizers(graph) -> list:
    return [node for node in graph.get_ops() if node.get_type_name() == "FakeQuantize"]


def test_int8_is_of_the_three_costly_convolutions(learn):
    weights = learn(CODES).weights

    assert quantizers(encoder_graph(CODES.vqvae, weights)) == []
    assert len(quantizers(encoder_graph(CODES.vqvae, weights, int8=True))) == 3 * 2  # Inputs and kernels of E2, E3, E4.


def test_hardly_an_input_is_above_its_ceiling(learn, log_mel):
    import torch

    learned = learn(CODES)
    hidden = torch.from_numpy(log_mel)[:, None]
    encoder = learned.module.vqvae.encoder
    with torch.inference_mode():
        for index in range(3):
            hidden = torch.relu(encoder.norms[index](encoder.convolutions[index](hidden)))
            ceiling = ceiling_after_norm(learned.weights, f"vqvae.encoder.norms.{index}")
            assert (hidden > ceiling).float().mean() < 1e-3
            assert ceiling < 3 * hidden.max()  # Nor is it so high that little is left of the 256 levels.


def test_the_ceiling_is_that_of_the_widest_channel():
    weights = {"n.weight": np.array([1.0, -2.0, 0.0], np.float32), "n.bias": np.array([0.0, 1.0, 5.0], np.float32)}

    assert ceiling_after_norm(weights, "n") == 13
    dead = {"n.weight": np.zeros(2, np.float32), "n.bias": np.full(2, -1, np.float32)}
    assert 0 < ceiling_after_norm(dead, "n") < 1e-3


def test_a_kernel_of_zeros_is_no_trouble(learn, log_mel, precision):
    learned = learn(CODES)
    weights = dict(learned.weights)
    weights["vqvae.encoder.convolutions.1.weight"] = np.zeros_like(weights["vqvae.encoder.convolutions.1.weight"])
    output = Engine(SimpleNamespace(network=CODES, weights=weights), precision).run(log_mel)

    assert np.isfinite(output.probabilities).all()


def test_a_quantized_kernel_is_within_half_a_level():
    import openvino

    kernel = np.random.default_rng(0).normal(0, [[[[0.01]]], [[[3.0]]]], (2, 4, 3, 3)).astype(np.float32)
    node = quantized_kernel(kernel)
    compiled = openvino.Core().compile_model(
        openvino.Model([node], [], "kernel"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )

    found = compiled([])[0]

    level = np.abs(kernel).max(axis=(1, 2, 3), keepdims=True) / 127
    assert (np.abs(found - kernel) <= level * 0.501).all()
    assert (found != kernel).any()
