from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from moodbook import audio
from moodbook.errors import DataError, ModelError
from moodbook.features import segments
from moodbook.model import engine as engine_module
from moodbook.model.bundle import read_bundle
from moodbook.model.engine import Engine
from moodbook.model.runtime import load_openvino
from moodbook.model.selftest import synthetic_log_mel
from moodbook.model.torch_engine import TorchEngine
from moodbook.networks.config import (
    LATENT_FRAMES,
    CNNConfig,
    GRUConfig,
    NetworkConfig,
    PopularityConfig,
    VGGishConfig,
    VQVAEConfig,
)

NOISE = 1e-5  # Rounding of a distance, relative to the latents' scale of about 1.


def disagreements(engine, learned, log_mel, noise=NOISE):
    """Where the engine's codes differ from torch's; every one of them must be a close call."""
    differ = engine.encode(log_mel) != learned.codes(log_mel)
    assert (engine.margins(log_mel)[differ] <= noise).all()
    return differ


def test_gives_what_torch_gives(network, learn, log_mel):
    learned = learn(network)
    engine = Engine(learned)

    output = engine.run(log_mel)

    assert np.ptp(output.probabilities, axis=0).max() > 1e-3  # The input matters to the output at all.
    assert np.abs(output.probabilities - learned.probabilities(log_mel)).max() < 1e-4
    if network.vqvae is None:
        assert output.codes is None
    else:
        assert len(np.unique(output.codes)) > network.vqvae.codebook_size // 2
        assert disagreements(engine, learned, log_mel).mean() < 1e-3


def test_the_bundled_model_gives_on_music_what_torch_gives_but_where_a_code_is_a_close_call():
    bundle = read_bundle("open")
    paths = sorted((Path(__file__).parents[2] / "examples" / "recordings").glob("*.opus"))
    heard = np.concatenate([segments(audio.load_first_segment(path), first_only=True).log_mel for path in paths])
    engine = Engine(bundle)

    mine, theirs = engine.run(heard), TorchEngine(bundle, "f32", "cpu").run(heard)

    differ = mine.codes != theirs.codes
    assert (engine.margins(heard)[differ] <= NOISE).all()
    assert differ.mean() < 1e-3
    changes = np.abs(mine.probabilities - theirs.probabilities).max(axis=1)
    same = ~differ.any(axis=(1, 2))
    assert same.sum() >= len(heard) // 2
    assert changes[same].max() < 1e-4
    assert changes.max() < 1e-3  # `docs/performance.md` has what was measured.


@pytest.mark.parametrize(("width", "codes"), [(4, 16), (16, 64), (64, 512), (256, 2048), (999, 3)])
def test_the_codes_are_looked_up_in_products_that_wake_no_other_thread(width, codes):
    rows = engine_module._rows_a_product(width * codes)

    assert LATENT_FRAMES % rows == 0
    assert rows == 1 or rows * width * codes <= 65_536 * 4  # The limit of OpenBLAS.
    assert rows == LATENT_FRAMES or 2 * rows * width * codes > 65_536 * 4  # No smaller than it must be.


@pytest.mark.slow
@pytest.mark.parametrize(
    "full",
    [
        NetworkConfig(vqvae=VQVAEConfig(), classifier=GRUConfig()),
        NetworkConfig(vqvae=VQVAEConfig(), classifier=CNNConfig()),
        NetworkConfig(vqvae=VQVAEConfig(type=2), classifier=GRUConfig()),
        NetworkConfig(vqvae=VQVAEConfig(type=2), classifier=GRUConfig(input="one-hot")),
        NetworkConfig(classifier=VGGishConfig()),
    ],
    ids=["gru", "cnn", "gru type 2", "gru one-hot", "vggish"],
)
def test_gives_what_torch_gives_at_full_width(full, learn, log_mel):
    learned = learn(full, 56)
    engine = Engine(learned)
    if full.vqvae is None:
        assert np.abs(engine.run(log_mel).probabilities - learned.probabilities(log_mel)).max() < 1e-4
        return

    assert disagreements(engine, learned, log_mel, 1e-3).mean() < 1e-3
    # The same codes for both: a code more or less is no fault of the head.
    codes = learned.codes(log_mel)
    import torch

    with torch.inference_mode():
        expected = learned.module.logits_from_codes(torch.from_numpy(codes)).sigmoid().numpy()
    assert np.abs(engine.probabilities(codes.astype(np.int16)) - expected).max() < 1e-4


def test_segments_together_equal_segments_alone(network, learn):
    engine = Engine(learn(network))
    many = np.concatenate([synthetic_log_mel(seed) for seed in range(11)])

    together = engine.run(many)

    for index in (0, 5, 10):
        alone = engine.run(many[index : index + 1])
        np.testing.assert_array_equal(alone.probabilities[0], together.probabilities[index])
        if network.vqvae is not None:
            np.testing.assert_array_equal(alone.codes[0], together.codes[index])


def test_codes_and_scores_do_not_depend_on_the_threads(network, learn, log_mel):
    learned = learn(network)
    one, two = (Engine(learned, threads=threads).run(log_mel) for threads in (1, 2))

    np.testing.assert_array_equal(one.probabilities, two.probabilities)
    if network.vqvae is not None:
        np.testing.assert_array_equal(one.codes, two.codes)


def test_runs_are_identical_to_the_last_bit(network, learn, log_mel):
    learned = learn(network)
    first, second = Engine(learned), Engine(learned)

    reference = first.run(log_mel)

    for again in (first.run(log_mel), second.run(log_mel)):
        np.testing.assert_array_equal(again.probabilities, reference.probabilities)
        if network.vqvae is not None:
            np.testing.assert_array_equal(again.codes, reference.codes)


def test_threads_that_share_an_engine_take_turns(network, learn, log_mel):
    engine = Engine(learn(network))
    expected = [engine.run(log_mel[index : index + 1]).probabilities for index in range(3)]
    found: list[np.ndarray | None] = [None] * 12

    def run(index: int) -> None:
        found[index] = engine.run(log_mel[index % 3][None]).probabilities

    workers = [threading.Thread(target=run, args=(index,)) for index in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    for index in range(12):
        np.testing.assert_array_equal(found[index], expected[index % 3])


def test_no_segments_give_no_rows(network, learn):
    output = Engine(learn(network)).run(np.empty((0, 128, 1024), dtype=np.float32))

    assert output.probabilities.shape == (0, 5)


def test_a_tie_goes_to_the_lowest_code(learn, log_mel):
    learned = learn(NetworkConfig(vqvae=VQVAEConfig(width=8, codebook_size=16), classifier=CNNConfig(channels=1)))
    weights = dict(learned.weights)
    codebook = weights["vqvae.quantizer.codebook"].copy()
    codebook[8:] = codebook[:8]
    weights["vqvae.quantizer.codebook"] = codebook
    engine = Engine(SimpleNamespace(network=learned.network, weights=weights))

    assert engine.encode(log_mel).max() < 8
    assert engine.margins(log_mel).max() == 0


def test_the_popularity_baseline_says_the_same_of_everything(log_mel):
    weights = {"classifier.probabilities": np.array([0, 1, 0], dtype=np.float32)}
    engine = Engine(SimpleNamespace(network=NetworkConfig(classifier=PopularityConfig()), weights=weights))

    output = engine.run(log_mel)

    assert output.codes is None
    np.testing.assert_array_equal(output.probabilities, [[0, 1, 0]] * 3)


def test_extreme_logits_stay_probabilities(learn, log_mel):
    learned = learn(NetworkConfig(classifier=VGGishConfig(maps=(1, 1, 1, 1, 1))))
    weights = {**learned.weights, "classifier.output.bias": np.array([-1e4, -50, 0, 50, 1e4], dtype=np.float32)}

    found = Engine(SimpleNamespace(network=learned.network, weights=weights)).run(log_mel).probabilities

    assert np.isfinite(found).all()
    assert (found[:, 0] == 0).all()
    assert (found[:, 4] == 1).all()


def test_bf16_keeps_most_codes(learn, log_mel):
    if "BF16" not in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor does not compute in bf16")
    learned = learn(NetworkConfig(vqvae=VQVAEConfig(width=32, codebook_size=16), classifier=CNNConfig(channels=1)))
    exact, coarse = Engine(learned), Engine(learned, "bf16")

    assert 0 < (exact.encode(log_mel) != coarse.encode(log_mel)).mean() < 0.1


def test_a_processor_without_bf16_says_so(learn, monkeypatch):
    openvino = load_openvino()
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"])

    with pytest.raises(ModelError, match="does not compute in bf16; use precision f32"):
        Engine(learn(NetworkConfig(classifier=VGGishConfig(maps=(1, 1, 1, 1, 1)))), "bf16")


def test_wrong_input_is_refused(learn):
    engine = Engine(
        learn(NetworkConfig(vqvae=VQVAEConfig(width=4, codebook_size=16), classifier=CNNConfig(channels=1)))
    )
    codes = np.zeros((1, 4, 512), dtype=np.int16)

    with pytest.raises(DataError, match=r"expected codes of segments x 4 x 512, got shape \(1, 2, 512\)"):
        engine.probabilities(codes[:, :2])
    with pytest.raises(DataError, match="expected codes from 0 to 15, got 0 to 16"):
        engine.probabilities(np.pad(codes[:, :, 1:], ((0, 0), (0, 0), (0, 1)), constant_values=16))
    with pytest.raises(DataError, match="expected codes from 0 to 15, got -1 to -1"):
        engine.probabilities(codes - 1)


def test_a_system_without_codes_has_none(learn, log_mel):
    engine = Engine(learn(NetworkConfig(classifier=VGGishConfig(maps=(1, 1, 1, 1, 1)))))

    with pytest.raises(ModelError, match="has no VQ-VAE and no codes"):
        engine.encode(log_mel)
