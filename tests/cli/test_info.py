from __future__ import annotations

import hashlib
import json
import shutil

import pytest
import typer
from typer.testing import CliRunner

from moodbook.cli import info as info_module
from moodbook.cli.info import info
from moodbook.model.bundle import config_sha256
from moodbook.model.card import Card, Provenance
from moodbook.networks.config import CNNConfig, NetworkConfig, VQVAEConfig
from moodbook.networks.cost import count_parameters, gigaflop_per_clip

app = typer.Typer()
app.command("info")(info)
app.callback()(lambda: None)

NETWORK = NetworkConfig(
    vqvae=VQVAEConfig(width=8, codebook_size=16), classifier=CNNConfig(channels=2, hidden=8, dense=6)
)


def call(*arguments: object, **options: object):
    return CliRunner().invoke(app, ["info", *map(str, arguments)], **options)


def test_a_model_states_its_facts(tiny_bundle):
    done = call(tiny_bundle.folder)

    facts = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (facts["kind"], facts["name"], facts["licence"]) == ("model", "tiny", "CC0-1.0")
    assert facts["sha256"] == tiny_bundle.sha256
    assert facts["parameters"]["total"] == count_parameters(NETWORK, 4).total
    assert facts["parameters"]["encoder"] == count_parameters(NETWORK, 4).encoder
    assert facts["gigaflop_per_segment"]["tagging"] == pytest.approx(gigaflop_per_clip(NETWORK, 4).tagging, abs=1e-3)
    assert facts["input"]["sample_rate"] == 22050
    assert facts["tags"] == ["calm", "dark", "epic", "fast"]
    assert facts["thresholds"] == dict.fromkeys(facts["tags"], 0.5)
    assert facts["provenance"]["recipe"] == "none"
    assert facts["bytes"]["model.safetensors"] == (tiny_bundle.folder / "model.safetensors").stat().st_size
    assert facts["engine"]["precision"] in facts["engine"]["available"]
    assert facts["engine"]["available"][0] == "f32"
    assert (facts["engine"]["name"], facts["engine"]["device"]) == ("OpenVINO", "cpu")
    assert "verified" not in facts


def test_a_good_model_verifies(tiny_bundle):
    done = call(tiny_bundle.folder, "--verify")

    assert done.exit_code == 0
    verified = json.loads(done.stdout)["verified"]
    assert (verified["hashes"], verified["codes"]) == (True, True)
    assert verified["largest_difference"] < 1e-3


@pytest.mark.parametrize("name", ["model.safetensors", "README.md"])
def test_an_altered_file_is_found(tiny_bundle, tmp_path, name):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "copy")
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)

    done = call(folder, "--verify")

    assert done.exit_code == 2
    assert done.stdout == ""
    assert f"{name} does not have the sha256 that config.json lists" in done.stderr


def test_an_altered_threshold_is_found(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "copy")
    text = (folder / "config.json").read_text("utf-8")
    (folder / "config.json").write_text(text.replace('"dark": 0.5', '"dark": 0.4', 1))

    done = call(folder, "--verify")

    assert (done.exit_code, done.stdout) == (2, "")
    assert "config.json does not have the sha256 that it states" in done.stderr


def test_altered_weights_with_mended_hashes_fail_the_self_test(tiny_bundle, tmp_path):
    folder = shutil.copytree(tiny_bundle.folder, tmp_path / "copy")
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-2] ^= 0x40
    (folder / "model.safetensors").write_bytes(content)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["files"]["model.safetensors"]["sha256"] = hashlib.sha256(content).hexdigest()
    config["self_test"]["probabilities"]["calm"] = 1 - config["self_test"]["probabilities"]["calm"]
    config["config_sha256"] = config_sha256(config)
    (folder / "config.json").write_text(json.dumps(config))

    assert call(folder).exit_code == 0
    done = call(folder, "--verify")

    assert done.exit_code == 2
    assert "the self-test of" in done.stderr
    assert "Get the model again" in done.stderr


def test_a_recipe_states_its_size_for_the_papers_tags():
    done = call("run-4")

    facts = json.loads(done.stdout)
    assert done.exit_code == 0
    assert (facts["kind"], facts["name"], facts["sized_for_tags"]) == ("recipe", "run-4", 56)
    assert facts["parameters"] == {
        "encoder": 4_990_208,
        "codebook": 262_144,
        "decoder": 4_727_809,
        "classifier": 1_667_398,
        "semantic": 0,
        "total": 11_647_559,
    }
    assert facts["gigaflop_per_segment"]["encoder"] == pytest.approx(101, abs=1)
    assert facts["settings"]["step_2"]["update_vqvae"] is False


def test_a_recipe_can_be_sized_for_other_tags(tmp_path):
    (tmp_path / "mine.toml").write_text('name = "mine"\n[classifier]\nkind = "vggish"\n')

    small, large = (json.loads(call(tmp_path / "mine.toml", "--tags", n).stdout) for n in (1, 11))

    assert large["parameters"]["total"] - small["parameters"]["total"] == 10 * 65


def test_where_both_have_the_name_the_model_is_shown_unless_the_recipe_is_asked_for(make_bundle, tmp_path, monkeypatch):
    make_bundle("run-4")
    monkeypatch.chdir(tmp_path)

    assert json.loads(call("run-4").stdout)["kind"] == "model"
    assert json.loads(call("run-4", "--recipe").stdout)["kind"] == "recipe"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "there is no model or recipe 'nothing'; models: "),
        (["nothing", "--recipe"], "there is no recipe 'nothing'"),
        (["run-4", "--verify"], "'run-4' is a recipe: it has no weights to verify"),
        (["absent.toml"], "there is no recipe 'absent.toml'"),
        (["x" * 300], f"there is no model or recipe '{'x' * 300}'"),
    ],
)
def test_what_is_not_there_exits_with_2(arguments, message):
    done = call(*arguments)

    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"moodbook: {message}")


def test_on_a_terminal_the_facts_are_words(make_bundle, monkeypatch):
    card = Card(
        name="tiny",
        summary="Hears little.",
        licence="CC-BY-4.0",
        provenance=Provenance(recipe="run-4", data="macleod", data_sha256="ab" * 32, versions={"moodbook": "0.1.0"}),
        tracks={"train": 80, "test": 27},
        metrics={"test": {"roc_auc_macro": 0.75}, "fold": {"f": 0.5, "f_low": 0.25, "f_high": 0.75}},
        credits=("Kevin MacLeod, CC BY 3.0",),
        notes=("Not for speech.",),
    )
    folder = make_bundle(card=card).folder
    monkeypatch.setattr(info_module, "_on_terminal", lambda: True)

    text = " ".join(call(folder, "--verify", env={"COLUMNS": "200"}).stdout.split())

    for words in (
        "tiny (model)",
        "encoder 5,160, codebook 128, decoder 4,897",
        "calm > 0.50, dark > 0.50",
        "recipe run-4, seed 0; moodbook 0.1.0",
        "macleod (abababababab)",
        "CC-BY-4.0",
        "tracks 80 train, 27 test",
        "test roc_auc_macro 0.7500",
        "fold f 0.5000 [0.250, 0.750] note",
        "credit Kevin MacLeod, CC BY 3.0",
        "note Not for speech.",
        "verified hashes, codes; probabilities within",
    ):
        assert words in text
    recipe = " ".join(call("run-1", env={"COLUMNS": "200"}).stdout.split())
    assert "run-1 (recipe)" in recipe
    assert "sized for 56 tags" in recipe
    assert "kind gru, hidden 256, layers 2" in recipe


def test_a_card_cannot_command_the_terminal(make_bundle, monkeypatch):
    escape = "\x1b]0;gotcha\x07"
    card = Card(
        name="tiny",
        summary=f"Hears{escape}\nlittle.",
        licence=escape,
        provenance=Provenance(recipe=escape, data=escape, versions={escape: escape}),
        metrics={escape: {escape: 0.5}},
        notes=(escape,),
        credits=(escape,),
    )
    folder = make_bundle(card=card).folder
    monkeypatch.setattr(info_module, "_on_terminal", lambda: True)

    text = call(folder).stdout

    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\x1b]0;gotcha\\x07" in text


def test_help_teaches_by_example():
    text = call("--help", env={"COLUMNS": "100"}).stdout

    assert "moodbook info open" in text
    assert "--verify" in text


def test_the_engine_and_the_device_are_named(tiny_bundle, monkeypatch):
    monkeypatch.setattr(info_module, "_on_terminal", lambda: True)

    text = call(tiny_bundle.folder).stdout

    assert "OpenVINO on the processor" in text


def test_a_gpu_that_is_not_there_is_said(tiny_bundle, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = call(tiny_bundle.folder, "--device", "cuda")

    assert done.exit_code == 2
    assert "use device cpu" in done.stderr
