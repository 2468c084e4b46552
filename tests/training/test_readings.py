"""What the semantic decoder reads is kept, and step 2 learns from it as from the codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from moodbook.datasets import Dataset
from moodbook.datasets.cache import CodeCache, FeatureCache
from moodbook.datasets.rowstore import open_rows
from moodbook.errors import ModelError
from moodbook.features import DEFAULT_FEATURES
from moodbook.networks.config import CNNConfig, NetworkConfig, SemanticConfig, VQVAEConfig
from moodbook.networks.tagger import TaggingNetwork
from moodbook.networks.vqvae import VQVAE
from moodbook.training.experiment import Experiment
from moodbook.training.given import LearnedVQVAE, open_vqvae
from moodbook.training.machine import Machine
from moodbook.training.progress import Display
from moodbook.training.readings import Readings
from moodbook.training.recipe import Recipe, read_recipe
from moodbook.training.tagger import segment_logits

SMALL = VQVAEConfig(width=4, codebook_size=8, semantic_width=8)


@pytest.fixture
def vqvae() -> VQVAE:
    torch.manual_seed(0)
    made = VQVAE(SMALL)
    made.fix()
    return made


@pytest.fixture
def codes(small_set: Dataset, tmp_path: Path) -> CodeCache:
    features = FeatureCache.build(small_set.tracks, tmp_path / "features", DEFAULT_FEATURES, segments="all")
    random = np.random.default_rng(0)
    return CodeCache.build(
        features,
        tmp_path / "codes",
        lambda batch: random.integers(0, 8, (len(batch), 4, 512)),
        weights_sha256="w",
        bands=4,
    )


def test_readings_are_those_of_the_codes_row_for_row(codes: CodeCache, vqvae: VQVAE, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    readings = Readings.build(codes, vqvae, tmp_path, batch_size=5, progress=lambda *done: told.append(done))
    latents = vqvae.quantizer.lookup(torch.from_numpy(codes.codes.astype(np.int64)))
    np.testing.assert_allclose(readings.windows, vqvae.read(latents).numpy(), atol=1e-5)
    assert told[-1] == (len(codes), len(codes))
    # What the classifier says of them is what it says of the codes.
    network = TaggingNetwork(NetworkConfig(vqvae=SMALL, classifier=SemanticConfig()), 3)
    network.vqvae = vqvae
    network.eval()
    from_codes = network.logits_from_cached(torch.from_numpy(codes.codes.astype(np.int64)))
    from_readings = network.logits_from_cached(torch.from_numpy(readings.windows.copy()))
    torch.testing.assert_close(from_readings, from_codes, atol=1e-5, rtol=1e-5)


def test_other_weights_read_otherwise_and_the_same_read_once(codes: CodeCache, vqvae: VQVAE, tmp_path: Path) -> None:
    first = Readings.build(codes, vqvae, tmp_path)
    told: list[tuple[int, int]] = []
    again = Readings.build(codes, vqvae, tmp_path, progress=lambda *done: told.append(done))
    assert (again.folder, told) == (first.folder, [])
    with torch.no_grad():
        vqvae.decoder.residuals[0].convolution.weight.add_(1)  # No part of what is read.
    assert Readings.build(codes, vqvae, tmp_path).folder == first.folder
    assert vqvae.semantic is not None
    with torch.no_grad():
        vqvae.semantic.output.bias.add_(1)
    other = Readings.build(codes, vqvae, tmp_path)
    assert other.folder != first.folder
    np.testing.assert_allclose(other.windows, first.windows + 1, atol=1e-5)


def test_interrupted_reading_goes_on(codes: CodeCache, vqvae: VQVAE, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Readings.build(codes, vqvae, tmp_path / "broken", batch_size=2, progress=stop)
    told: list[int] = []
    broken = Readings.build(codes, vqvae, tmp_path / "broken", batch_size=2, progress=lambda done, _: told.append(done))
    assert told[:2] == [4, 6]
    unbroken = Readings.build(codes, vqvae, tmp_path / "unbroken", batch_size=2)
    np.testing.assert_array_equal(broken.windows, unbroken.windows)
    np.testing.assert_array_equal(open_rows(broken.folder).rows, unbroken.windows)


def test_a_classifier_of_codes_does_not_take_readings() -> None:
    network = TaggingNetwork(NetworkConfig(vqvae=SMALL, classifier=CNNConfig(channels=1, hidden=4, dense=4)), 3)
    network.fix_vqvae()
    with pytest.raises(ModelError, match="a 'cnn' classifier reads codes, not a semantic decoder"):
        network.logits_from_cached(torch.zeros(1, 8, 200))


def test_a_vqvae_that_is_still_learning_is_not_asked_ahead(codes: CodeCache, tmp_path: Path) -> None:
    network = TaggingNetwork(NetworkConfig(vqvae=SMALL, classifier=SemanticConfig()), 3)
    with pytest.raises(ModelError, match=r"call fix_vqvae\(\) first"):
        network.logits_from_cached(torch.zeros(2, 8, 200))
    with pytest.raises(ModelError, match=r"call fix\(\) first"):
        Readings.build(codes, VQVAE(SMALL), tmp_path)


def short(random_crops: bool) -> Recipe:
    recipe = read_recipe("own")
    step_2 = recipe.step_2.model_copy(update={"max_epochs": 2, "folds": 1, "random_crops": random_crops})
    return recipe.model_copy(
        update={"data": recipe.data.model_copy(update={"min_tracks": 0}), "step_2": step_2, "presence": None}
    )


def new_experiment(recipe: Recipe, dataset: Dataset, machine: Machine, folder: Path) -> Experiment:
    return Experiment(
        recipe,
        dataset,
        folder / "run",
        machine,
        Display(),
        resume=False,
        cache=folder / "cache",
        vqvae=None,
        checkpoint_seconds=600.0,
    )


@pytest.mark.parametrize("random_crops", [False, True])
def test_only_whole_segments_are_read_ahead(
    random_crops: bool, small_set: Dataset, machine: Machine, tmp_path: Path
) -> None:
    experiment = new_experiment(short(random_crops), small_set, machine, tmp_path)
    prepared = experiment.prepare(("train", "validation"), labelled=True)
    tagger = experiment.step_2(prepared, experiment.step_1(prepared))
    assert tagger.cached is not None
    assert (tagger.cached.readings is None) is random_crops
    assert len(list((tmp_path / "cache").glob("readings-*"))) == (not random_crops)


def test_what_is_read_ahead_is_what_the_weights_that_ship_read(
    small_set: Dataset, machine: Machine, tmp_path: Path
) -> None:
    recipe = short(random_crops=False)
    assert recipe.storage == "float16"
    torch.manual_seed(0)
    unrounded = {
        name: value * (1 + 3e-4 * torch.randn_like(value)) if value.is_floating_point() else value
        for name, value in open_vqvae(recipe, "open").weights.items()
    }
    experiment = new_experiment(recipe, small_set, machine, tmp_path)
    prepared = experiment.prepare(("train", "validation"), labelled=True)
    tagger = experiment.step_2(prepared, LearnedVQVAE(unrounded, "unrounded"))
    assert tagger.cached is not None
    network = tagger.network.eval()
    examples = experiment.examples(prepared, "validation", labelled=True)
    with torch.no_grad():
        network.classifier.output.weight.normal_()
        heard = network(examples.batch(np.arange(3), machine.device).inputs).logits.numpy()
    read = segment_logits(network, examples.with_inputs(tagger.cached.inputs), machine, 2, "float32")
    assert np.abs(read - heard).max() < 0.001 * np.ptp(heard, axis=0).min()
