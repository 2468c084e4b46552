from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from moodbook.errors import DataError, ModelError
from moodbook.features import FeatureConfig
from moodbook.model import bundle as bundle_module
from moodbook.model.bundle import list_models, popularity_weights, read_bundle, write_bundle
from moodbook.model.card import Card, Provenance, render_card
from moodbook.model.engine import Engine
from moodbook.networks.config import CNNConfig, NetworkConfig, PopularityConfig, VQVAEConfig
from moodbook.tags import TagSet

NETWORK = NetworkConfig(
    vqvae=VQVAEConfig(width=8, codebook_size=16), classifier=CNNConfig(channels=2, hidden=8, dense=6)
)
TAGS = TagSet(("calm", "dark", "epic", "fast"))


def test_what_is_written_is_read(make_bundle, random_weights):
    card = Card(
        name="run-4",
        summary="Fixed VQ-VAE, CNN.",
        licence="CC-BY-4.0",
        provenance=Provenance(
            recipe="run-4",
            recipe_settings={"seed": 3},
            data="macleod",
            data_sha256="ab" * 32,
            seed=3,
            versions={"m": "1"},
        ),
        credits=("Kevin MacLeod, CC BY 3.0",),
        metrics={"test": {"roc_auc_macro": 0.7}},
        notes=("Instrumental music only.",),
    )
    thresholds = {"fast": 0.4, "calm": 0.1, "dark": 0.2, "epic": 0.3}

    make_bundle(card=card, thresholds=thresholds, features=FeatureConfig(center_padding="reflect"))
    found = read_bundle(make_bundle("other", card=card).folder.parent / "tiny")

    assert found.config.card == card
    assert found.network == NETWORK
    assert found.features.center_padding == "reflect"
    assert found.tags == TAGS
    assert found.thresholds == thresholds
    assert list(found.thresholds) == list(TAGS)
    for name, weight in random_weights(NETWORK, 4).items():
        np.testing.assert_array_equal(found.weights[name], weight)


def test_the_same_model_is_the_same_bytes(make_bundle):
    first, second = make_bundle("first"), make_bundle("second")

    assert first.sha256 == second.sha256
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


def test_half_the_bytes_in_float16(make_bundle):
    # Wide enough that matrices outweigh the header.
    network = NetworkConfig(vqvae=VQVAEConfig(width=24, codebook_size=16), classifier=CNNConfig(channels=2))
    exact = make_bundle("exact", network=network)
    small = make_bundle("small", network=network, storage="float16")

    assert small.config.files["model.safetensors"].bytes < 0.56 * exact.config.files["model.safetensors"].bytes
    np.testing.assert_allclose(
        small.weights["classifier.output.weight"], exact.weights["classifier.output.weight"], rtol=1e-3
    )
    # The self-test is that of the rounded weights.
    probabilities = Engine(small).run(_input(small)).probabilities[0]
    np.testing.assert_allclose(probabilities, list(small.config.self_test.probabilities.values()), atol=1e-6)


def _input(bundle):
    from moodbook.model.selftest import synthetic_log_mel

    return synthetic_log_mel(bundle.config.self_test.seed)


def test_tagging_needs_no_decoder(make_bundle):
    whole, part = make_bundle("whole"), make_bundle("part", decoder=False)

    assert not any("decoder" in name for name in part.weights)
    assert part.config.self_test == whole.config.self_test


def test_a_torch_state_is_taken_as_it_is(tmp_path, learn):
    learned = learn(NETWORK, 4)
    card = Card(name="x", summary="x", licence="x", provenance=Provenance(recipe="x", data="x"))

    found = write_bundle(
        tmp_path / "x",
        network=NETWORK,
        weights=learned.weights,
        tags=TAGS,
        thresholds=dict.fromkeys(TAGS, 0.5),
        card=card,
    )

    assert learned.weights.keys() - found.weights.keys() == {
        name for name in learned.weights if name.endswith("num_batches_tracked")
    }
    output = Engine(found).run(_input(found))
    np.testing.assert_array_equal(output.codes, learned.codes(_input(found)))


def test_the_popularity_baseline_is_a_model_too(make_bundle):
    found = make_bundle(network=NetworkConfig(classifier=PopularityConfig()), weights=popularity_weights(TAGS, "epic"))

    np.testing.assert_array_equal(Engine(found).run(_input(found)).probabilities, [[0, 0, 1, 0]])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda weights: weights.pop("classifier.output.bias"), r"missing \['classifier.output.bias'\]"),
        (lambda weights: weights.update(more=np.ones(1)), r"unexpected \['more'\]"),
        (
            lambda weights: weights.update({"classifier.output.bias": np.ones(5, dtype=np.float32)}),
            r"'classifier.output.bias' has shape \(5,\), float32; expected \(4,\), float",
        ),
        (lambda weights: weights.update({"classifier.output.bias": np.ones(4, dtype=int)}), "int64; expected"),
        (lambda weights: weights["classifier.output.bias"].fill(np.nan), "NaN"),
    ],
)
def test_weights_that_do_not_fit_are_not_written(make_bundle, random_weights, tmp_path, change, problem):
    weights = random_weights(NETWORK, 4)
    change(weights)

    with pytest.raises(ModelError, match=problem):
        make_bundle(weights=weights)
    assert list(tmp_path.iterdir()) == []


def test_thresholds_must_name_the_tags(make_bundle):
    with pytest.raises(DataError, match=r"missing \['epic', 'fast'\], unexpected \['slow'\]"):
        make_bundle(thresholds={"calm": 0.5, "dark": 0.5, "slow": 0.5})


def test_nothing_is_overwritten_unasked(make_bundle):
    first = make_bundle()

    with pytest.raises(ModelError, match="exists; choose another folder, or ask to overwrite it"):
        make_bundle()

    second = make_bundle(storage="float16", overwrite=True)
    assert second.sha256 != first.sha256
    assert sorted(path.name for path in first.folder.parent.iterdir()) == ["tiny"]


@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename 1", "rename 2"])
def test_a_failed_write_leaves_the_old_model(make_bundle, monkeypatch, call):
    old = make_bundle()
    calls = iter(range(100))

    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    def fail_later(self, target):
        return fail() if next(calls) == int(call[-1]) - 1 else rename(self, target)

    rename = Path.rename
    if call == "mkdir":
        monkeypatch.setattr(Path, "mkdir", fail)
    elif call == "fsync":
        monkeypatch.setattr(bundle_module.os, "fsync", fail)
    else:
        monkeypatch.setattr(Path, "rename", fail_later)
    with pytest.raises(ModelError, match=r"cannot write the model '.*tiny': .*No space left"):
        make_bundle(storage="float16", overwrite=True)
    monkeypatch.undo()

    assert read_bundle(old.folder).sha256 == old.sha256
    assert [path.name for path in old.folder.parent.iterdir()] == ["tiny"]


def test_the_card_states_the_facts(make_bundle):
    card = Card(
        name="tiny",
        summary="Hears | little.",
        licence="CC0-1.0",
        provenance=Provenance(recipe="run-4", data="macleod"),
        metrics={"test": {"pr_auc_macro": 0.25}},
        credits=("A person",),
        notes=("Not for speech.",),
    )

    text = (make_bundle(card=card).folder / "README.md").read_text("utf-8")

    assert text.startswith("# tiny\n\nHears | little.\n")
    for fact in ("| Licence | CC0-1.0 |", "| test | pr_auc_macro | 0.2500 |", "| epic | 0.5000 |", "- A person"):
        assert fact in text
    assert "VQ-VAE Type-1, width 8, 16 codes; cnn classifier" in text
    assert "GFLOP a segment of 23.8 s" in text


def test_the_card_shows_intervals_tracks_and_the_precision_asked_for(make_bundle):
    card = Card(
        name="tiny",
        summary="Hears little.",
        licence="CC0-1.0",
        provenance=Provenance(
            recipe="own", data="macleod", recipe_settings={"step_2": {"decision_precision": 0.5, "folds": 4}}
        ),
        tracks={"train": 1080, "test": 27},
        metrics={
            "test": {
                "precision_micro": 0.39286,
                "precision_micro_low": 0.24527,
                "precision_micro_high": 0.54483,
                "roc_auc_low": 0.5,
            }
        },
    )

    text = (make_bundle(card=card).folder / "README.md").read_text("utf-8")

    assert "| Tracks | 1,080 train, 27 test |\n" in text
    assert "What stands in brackets is a 95 % interval, by bootstrap." in text
    # What is half an interval is a figure like any other.
    assert "|\n| test | precision_micro | 0.3929 [0.245, 0.545] |\n| test | roc_auc_low | 0.5000 |\n\n" in text
    assert "The recipe asks for a precision of 0.5, over all tags; on test it is 0.3929 [0.245, 0.545].\n" in text


def test_models_that_come_with_the_package_go_by_name(make_bundle, monkeypatch, tmp_path):
    monkeypatch.setattr(bundle_module, "models_folder", lambda: tmp_path / "models")
    make_bundle("models/demo")
    monkeypatch.chdir(tmp_path)
    make_bundle("demo", storage="float16")

    assert list_models() == ["demo"]
    assert read_bundle("demo").config.storage == "float32"
    assert read_bundle("./demo").config.storage == "float16"


def test_every_model_that_comes_with_the_package_can_be_read():
    for name in list_models():
        bundle = read_bundle(name)
        assert bundle.name == name
        config = bundle.config
        card = render_card(config.card, config.network, config.features, config.thresholds, config.decoder)
        assert (bundle.folder / "README.md").read_text("utf-8") == card


def test_what_is_no_model_is_said_to_be_none(tmp_path):
    with pytest.raises(ModelError, match=r"there is no model 'nothing'; name one of: .*, or give a model folder"):
        read_bundle("nothing")
    with pytest.raises(ModelError, match=r"is no model: it holds no config\.json"):
        read_bundle(tmp_path)


def test_hidden_files_are_nobodys_business(make_bundle):
    folder = make_bundle().folder
    (folder / ".DS_Store").write_bytes(b"\0")

    assert read_bundle(folder).name == "tiny"


def test_a_newer_format_asks_for_a_newer_moodbook(make_bundle):
    folder = make_bundle().folder
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "format_version": 2}))

    with pytest.raises(ModelError, match="has format_version 2, this Moodbook reads 1; a newer model needs a newer"):
        read_bundle(folder)


def test_a_card_written_anew_leaves_the_model_the_same_and_its_name_does_not(make_bundle):
    first = make_bundle("first")
    card = first.config.card
    second = make_bundle(
        "second", card=card.model_copy(update={"summary": "Two.", "metrics": {"test": {"roc_auc": 0.8}}})
    )
    third = make_bundle("third", card=card.model_copy(update={"name": "huge"}))

    assert (first.folder / "README.md").read_bytes() != (second.folder / "README.md").read_bytes()
    assert first.sha256 == second.sha256
    assert third.sha256 != first.sha256


@pytest.mark.parametrize(
    "change",
    [
        {"thresholds": {"calm": 0.5, "dark": 0.5, "epic": 0.5, "fast": 0.6}},
        {"features": FeatureConfig(center_padding="reflect")},
        {"storage": "float16"},
        {"weights": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_answers_come_from_makes_another_model(make_bundle, random_weights, change):
    if "weights" in change:
        weights = random_weights(NETWORK, 4)
        first = min(weights)
        change = {"weights": {**weights, first: np.nextafter(weights[first], np.float32(9))}}
    assert make_bundle("one").sha256 != make_bundle("two", **change).sha256


def test_a_copied_folder_is_the_same_model(make_bundle, tmp_path):
    first = make_bundle()
    shutil.copytree(first.folder, tmp_path / "copy")

    assert read_bundle(tmp_path / "copy").sha256 == first.sha256


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config["thresholds"].update(calm=0.25),
        lambda config: config["tags"].reverse(),
        lambda config: config["card"].update(licence="MIT"),
        lambda config: config["card"]["provenance"].update(seed=1),
        lambda config: config["features"].update(center_padding="reflect"),
        lambda config: config.pop("config_sha256"),
        lambda config: config.update(config_sha256="0" * 64),
        lambda config: config.update(config_sha256=None),
    ],
)
def test_a_changed_config_is_found(tiny_bundle, tmp_path, change):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(ModelError, match=r"config\.json does not have the sha256 that it states .*Undo the change\."):
        read_bundle(folder)


def test_the_layout_of_the_config_is_free(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(config, indent=4, sort_keys=True))

    assert read_bundle(folder).thresholds == tiny_bundle.thresholds


def test_a_name_that_the_system_refuses_is_no_model(make_bundle):
    with pytest.raises(ModelError, match=r"there is no model 'x{300}'"):
        read_bundle("x" * 300)
    with pytest.raises(ModelError, match=r"cannot write the model '.*x{300}': .*name too long"):
        make_bundle("x" * 300)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda config: config.update(tags=["calm", "calm", "epic", "fast"]), "a tag stands twice"),
        (lambda config: config["files"].pop("README.md"), "files must list model.safetensors and README.md"),
        (lambda config: config["self_test"].update(codes_sha256=None), "belongs to a system with a VQ-VAE"),
        (lambda config: config["self_test"]["probabilities"].pop("calm"), "self_test and tags do not name the same"),
        (lambda config: config["thresholds"].update(slow=0.5), "thresholds and tags do not name the same"),
        (lambda config: config["card"].update(licence=""), "card.licence: .*at least 1 character"),
        (lambda config: config.update(extra=1), "extra: Extra inputs are not permitted, got 1"),
    ],
)
def test_parts_that_do_not_fit_are_named(tiny_bundle, tmp_path, change, problem):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config))

    with pytest.raises(ModelError, match=problem):
        read_bundle(folder)
