from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from moodbook import Tagger
from moodbook.errors import DataError, DependencyError, DeviceError, ModelError
from moodbook.model import device as device_module
from moodbook.model import torch_engine
from moodbook.model.bundle import read_bundle
from moodbook.model.device import engine_facts, open_engine
from moodbook.model.engine import Engine
from moodbook.model.selftest import replay_self_test, synthetic_log_mel
from moodbook.model.torch_engine import TorchEngine
from moodbook.networks.config import CNNConfig, GRUConfig, NetworkConfig, PopularityConfig, VGGishConfig, VQVAEConfig

CODES = NetworkConfig(vqvae=VQVAEConfig(width=32, codebook_size=16), classifier=CNNConfig(channels=1))
LOG_MEL = NetworkConfig(classifier=VGGishConfig(maps=(1, 1, 1, 1, 1)))
NOISE = 1e-5  # Rounding of a distance, relative to the latents' scale of about 1.


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """Every device that torch has here."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no GPU")
    return request.param


@pytest.fixture
def no_gpu(monkeypatch):
    """A torch that could use a GPU, on a machine that has none."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


def test_says_what_openvino_says(network, learn, log_mel, device):
    learned = learn(network)
    ours, theirs = TorchEngine(learned, device=device), Engine(learned)

    found, expected = ours.run(log_mel), theirs.run(log_mel)

    assert ours.precision == "f32"
    assert found.probabilities.dtype == np.float32
    if network.vqvae is None:
        assert found.codes is None
        assert np.abs(found.probabilities - expected.probabilities).max() < 1e-4
        return
    assert found.codes.dtype == np.int16
    differ = found.codes != expected.codes
    assert (theirs.margins(log_mel)[differ] <= NOISE).all()
    assert differ.mean() < 1e-3
    # The same codes for both: a code more or less is no fault of the head.
    np.testing.assert_allclose(ours.probabilities(expected.codes), expected.probabilities, rtol=0, atol=1e-4)


def test_the_bundled_model_says_the_same(device):
    bundle = read_bundle("open")
    engine = TorchEngine(bundle, device=device)
    many = np.concatenate([synthetic_log_mel(seed) for seed in range(4)])

    found = engine.run(many).probabilities
    assert np.abs(found - Engine(bundle).run(many).probabilities).max() < 1e-4
    assert replay_self_test(engine, bundle.tags, bundle.config.self_test).passed
    coarse = TorchEngine(bundle, "bf16", device)
    # One segment: where a processor has no bf16, each takes seconds.
    assert 0 < np.abs(coarse.run(many[:1]).probabilities - found[:1]).max() < 0.02


def test_more_segments_than_a_batch_are_all_computed(learn, monkeypatch, log_mel, device):
    engine = TorchEngine(learn(CODES), device=device)
    monkeypatch.setattr(torch_engine, "_BATCH", 2)

    together = engine.run(log_mel)

    for index in range(3):
        alone = engine.run(log_mel[index : index + 1])
        assert (alone.codes[0] != together.codes[index]).mean() < 1e-3
        assert np.abs(alone.probabilities[0] - together.probabilities[index]).max() < 1e-4
    assert engine.run(log_mel[:0]).probabilities.shape == (0, 5)


def test_bf16_keeps_most_codes(learn, log_mel, device):
    learned = learn(CODES)
    exact, coarse = TorchEngine(learned, device=device), TorchEngine(learned, "bf16", device)

    assert coarse.precision == "bf16"
    assert 0 < (exact.encode(log_mel[:1]) != coarse.encode(log_mel[:1])).mean() < 0.1


def test_codes_are_found_in_float32_whatever_the_precision(learn, log_mel, device, monkeypatch):
    engine = TorchEngine(learn(CODES), "bf16", device)
    seen = []
    argmin = torch.Tensor.argmin
    monkeypatch.setattr(torch.Tensor, "argmin", lambda self, **how: seen.append(self.dtype) or argmin(self, **how))

    engine.encode(log_mel[:1])

    assert set(seen) == {torch.float32}


def test_no_product_is_rounded_to_tf32_and_settings_are_put_back(learn, log_mel, monkeypatch):
    engine = TorchEngine(learn(CODES), device="cpu")
    places = torch_engine._precision_settings()
    before = [getattr(place, name) for place, name, _ in places]
    seen = []
    codes = engine._module.vqvae.codes

    def spy(given):
        seen.extend(getattr(place, name) for place, name, _ in places)
        return codes(given)

    monkeypatch.setattr(engine._module.vqvae, "codes", spy)
    engine.encode(log_mel)

    assert seen == [exact for _, _, exact in places]
    assert [getattr(place, name) for place, name, _ in places] == before


def test_random_numbers_of_the_program_are_left_alone(learn):
    learned = learn(CODES)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    TorchEngine(learned, device="cpu")

    assert torch.rand(1) == expected


def test_the_popularity_baseline_needs_no_network(log_mel):
    weights = {"classifier.probabilities": np.array([0, 1, 0], dtype=np.float32)}
    system = SimpleNamespace(network=NetworkConfig(classifier=PopularityConfig()), weights=weights)
    engine = TorchEngine(system, device="cpu")
    engine.prepare()

    np.testing.assert_array_equal(engine.run(log_mel).probabilities, [[0, 1, 0]] * 3)


def test_weights_that_do_not_fit_are_refused(learn):
    learned = learn(CODES)
    lacking = {name: array for name, array in learned.weights.items() if name != "classifier.dense.weight"}
    misshapen = {**learned.weights, "classifier.dense.weight": np.zeros((1, 1), np.float32)}

    with pytest.raises(ModelError, match=r"missing 'classifier\.dense\.weight'"):
        TorchEngine(SimpleNamespace(network=CODES, weights=lacking), device="cpu")
    with pytest.raises(ModelError, match="torch cannot load the network on cpu"):
        TorchEngine(SimpleNamespace(network=CODES, weights=misshapen), device="cpu")


def test_wrong_input_is_refused(learn, log_mel):
    engine = TorchEngine(learn(CODES), device="cpu")

    with pytest.raises(DataError, match="expected codes from 0 to 15, got 16 to 16"):
        engine.probabilities(np.full((1, 4, 512), 16, dtype=np.int16))
    with pytest.raises(ModelError, match="has no VQ-VAE and no codes"):
        TorchEngine(learn(LOG_MEL), device="cpu").encode(log_mel)


def test_int8_says_what_to_use_instead(learn):
    with pytest.raises(DeviceError, match="on a GPU use precision f32 or bf16, or int8 with device cpu"):
        open_engine(learn(CODES), "int8", device="cuda")


def test_no_gpu_is_said(learn, no_gpu, monkeypatch):
    with pytest.raises(DeviceError, match=r"torch finds no GPU that it can use: .* or use device cpu"):
        open_engine(learn(CODES), device="cuda")
    with pytest.raises(DeviceError, match="torch finds no GPU"):
        engine_facts(CODES, "cuda")
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(DeviceError, match="is built for the processor alone; install one for your GPU"):
        open_engine(learn(CODES), device="cuda")


def test_an_old_gpu_has_no_bf16(learn, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "an old one")

    with pytest.raises(DeviceError, match="does not multiply in bf16; use precision f32"):
        open_engine(learn(CODES), "bf16", device="cuda")
    assert engine_facts(CODES, "cuda") == {
        "name": "torch",
        "device": "cuda",
        "hardware": "an old one",
        "precision": "f32",
        "available": ["f32"],
    }


def test_too_little_memory_is_said(learn, log_mel, monkeypatch):
    engine = TorchEngine(learn(CODES), device="cpu")

    def full(_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(engine._module.vqvae, "codes", full)
    with pytest.raises(DeviceError, match="too little free memory for this model; use device cpu"):
        engine.encode(log_mel)


def test_without_torch_the_extra_is_named(learn, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(device_module, "Engine", None)

    with pytest.raises(DependencyError, match=r"pip install 'moodbook\[gpu\]'"):
        open_engine(learn(CODES), device="cuda")


def test_auto_and_cpu_are_openvino_and_import_no_torch(tiny_bundle):
    code = f"""
import sys
from moodbook import Tagger
for device in ("auto", "cpu"):
    print(type(Tagger.load({str(tiny_bundle.folder)!r}, device=device).engine).__name__)
print("torch" in sys.modules)
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.split() == ["Engine", "Engine", "False"]


def test_an_unknown_device_is_refused():
    # What a program without type checks would come to.
    with pytest.raises(DeviceError, match="there is no device 'tpu'; choose one of: auto, cpu, cuda"):
        device_module._check("tpu")


def test_a_tagger_on_torch_gives_the_same_tags(make_bundle, write_music, device):
    network = NetworkConfig(vqvae=VQVAEConfig(width=8, codebook_size=16), classifier=GRUConfig(hidden=6))
    bundle, path = make_bundle(network=network, decoder=False), write_music(seconds=60)
    tagger = Tagger(bundle, "f32")
    tagger.engine = TorchEngine(bundle, device=device)

    (found,) = tagger.tag_files([path])

    expected = Tagger(bundle, "f32")(path)
    assert np.abs(found.probabilities - expected.probabilities).max() < 1e-4
    np.testing.assert_array_equal(found.decisions, expected.decisions)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
def test_a_tagger_opens_on_a_gpu(tiny_bundle, write_music):
    path = write_music(seconds=60)
    tagger = Tagger(tiny_bundle, device="cuda")

    (found,) = tagger.tag_files([path])

    assert (type(tagger.engine), tagger.engine.precision) == (TorchEngine, "f32")
    assert np.abs(found.probabilities - Tagger(tiny_bundle, "f32")(path).probabilities).max() < 1e-4
    assert engine_facts(tiny_bundle.network, "cuda")["hardware"]
