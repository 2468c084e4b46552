"""`moodbook reproduce` and `moodbook train`: what they print, and how they end."""

from __future__ import annotations

import builtins
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import typer
from typer.testing import CliRunner

from moodbook.cli.reproduce import reproduce
from moodbook.cli.train import train_app
from moodbook.training.reproduce import reproduce as run_experiment

app = typer.Typer()
app.command("reproduce")(reproduce)
app.add_typer(train_app, name="train")

NARROW = """
name = "narrow"
[vqvae]
width = 4
codebook_size = 8
[classifier]
kind = "cnn"
channels = 1
hidden = 6
dense = 6
[step_1]
batch_size = 3
max_epochs = 1
[step_2]
batch_size = 3
max_epochs = 1
"""
POPULARITY = 'name = "popularity"\n[classifier]\nkind = "popularity"\n'


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of nine noises, in a folder of its own beside the audio."""
    folder = tmp_path_factory.mktemp("set")
    random = np.random.default_rng(0)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["track_id", "path", "tags", "split"])
        for number in range(9):
            soundfile.write(folder / f"{number}.wav", random.normal(0, 0.1, 22050), 22050)
            split = ("train", "train", "train", "train", "train", "validation", "validation", "test", "test")[number]
            writer.writerow([f"t{number}", f"{number}.wav", ("calm", "fast")[number % 2], split])
    return folder / "index.csv"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "narrow.toml"
    path.write_text(NARROW)
    return path


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_recipe_is_run_and_its_report_printed(index: Path, recipe: Path, tmp_path: Path) -> None:
    result = run("reproduce", recipe, "--data", index, "--run", tmp_path / "run", "--seed", 5)
    assert result.exit_code == 0, result.output
    assert result.stdout == (tmp_path / "run" / "report.txt").read_text()
    assert result.stdout.startswith("narrow on index: 5 train, 2 validation, 2 test tracks, 2 tags, seed 5\n")
    assert "step 1 epoch 1: loss " in result.stderr
    again = run("reproduce", recipe, "--data", index, "--run", tmp_path / "run", "--seed", 5, "--resume", "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout) == json.loads((tmp_path / "run" / "report.json").read_text())


def test_the_steps_can_be_run_alone(index: Path, recipe: Path, tmp_path: Path) -> None:
    shared = ("--data", index, "--recipe", recipe, "--cache", tmp_path / "cache")
    first = run("train", "vqvae", *shared, "--run", tmp_path / "one")
    assert first.exit_code == 0, first.output
    assert first.stdout.startswith("Step 1: best epoch 1 of 1, validation reconstruction ")
    assert first.stdout.rstrip().endswith(str(tmp_path / "one" / "step-1" / "weights.safetensors"))
    second = run("train", "tagger", *shared, "--run", tmp_path / "two", "--vqvae", tmp_path / "one", "--json")
    assert second.exit_code == 0, second.output
    document = json.loads(second.stdout)
    assert (document["step"], document["watched"], document["folder"]) == (
        2,
        "roc_auc",
        str(tmp_path / "two" / "step-2"),
    )


def test_smoke_makes_the_network_narrow(index: Path, recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(NARROW.replace("width = 4", "width = 256"))
    result = run("train", "vqvae", "--recipe", recipe, "--data", index, "--run", tmp_path / "run", "--smoke", "--json")
    assert result.exit_code == 0, result.output
    trained = json.loads(result.stdout)["identity"]["recipe"]
    assert trained["name"] == "narrow-smoke"
    assert trained["vqvae"]["width"] == 16


def test_the_papers_recipes_drop_short_tracks(index: Path, tmp_path: Path) -> None:
    result = run("reproduce", "popularity", "--data", index, "--run", tmp_path / "run")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "moodbook: data set 'index': none of the 5 train tracks can be used; see what `moodbook data check` says"
    )


def test_unreadable_tracks_end_with_exit_code_1(index: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "popularity.toml"
    recipe.write_text(POPULARITY)
    broken = tmp_path / "index.csv"
    broken.write_text(index.read_text().replace("8.wav", "gone.wav"))
    result = run("reproduce", recipe, "--data", broken, "--audio", index.parent, "--run", tmp_path / "run")
    assert result.exit_code == 1, result.output
    assert "Left out, cannot be read: 1 tracks:\n  t8: " in result.stdout


@pytest.mark.parametrize("step", ["vqvae", "tagger"])
def test_a_step_alone_says_what_it_could_not_read(step: str, index: Path, recipe: Path, tmp_path: Path) -> None:
    broken = tmp_path / "index.csv"
    broken.write_text(index.read_text().replace("0.wav", "gone.wav").replace("1.wav", index.name))  # No music either.
    asked = ("--recipe", recipe, "--data", broken, "--audio", index.parent, "--run", tmp_path / "run")
    result = run("train", step, *asked)
    assert result.exit_code == 1, result.output
    assert "left out, cannot be read: t0: " in result.stderr
    again = run("train", step, *asked, "--resume", "--json")
    assert again.exit_code == 1
    assert [skipped["track_id"] for skipped in json.loads(again.stdout)["unreadable"]] == ["t0", "t1"]
    assert "Exit code 1" in run("train", step, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run-9", "--data", "INDEX", "--run", "new"], "there is no recipe 'run-9'; name one of demo, "),
        (["popularity", "--data", "nowhere", "--run", "new"], "there is no data set 'nowhere'; name one of "),
        (["popularity", "--data", "INDEX", "--run", "."], "'.' is there already. Pass --resume to go on with the run"),
        (
            ["popularity", "--data", "INDEX", "--run", "new", "--vqvae", "a", "--vqvae", "b"],
            "one recipe takes one --vqvae, got 2; only table-2 takes several",
        ),
    ],
)
def test_what_cannot_work_ends_with_exit_code_2(
    arguments: list[str], message: str, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    result = run("reproduce", *(str(index) if argument == "INDEX" else argument for argument in arguments))
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith(f"moodbook: {message}")
    assert not (tmp_path / "new").exists()


def test_an_absent_package_is_named(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_torch(name: str, *rest: Any, **more: Any) -> Any:
        if name == "accelerate":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    result = run("reproduce", "run-1", "--data", index, "--run", tmp_path / "run")
    assert result.exit_code == 2
    assert result.stderr == (
        "moodbook: this needs 'accelerate', which is not installed. Run: pip install 'moodbook[train]'\n"
    )


def test_table_2_runs_every_row(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from moodbook.training import table_2
    from moodbook.training.recipe import Recipe

    monkeypatch.setattr(table_2, "PUBLISHED", {"popularity": table_2.PUBLISHED["popularity"]})
    recipe = Recipe.model_validate({"name": "popularity", "classifier": {"kind": "popularity"}})
    monkeypatch.setattr(table_2, "read_recipe", lambda _: recipe)
    result = run("reproduce", "table-2", "--data", index, "--run", tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert result.stdout == (tmp_path / "run" / "table-2.txt").read_text()
    assert "Popularity" in result.stdout


def test_the_verbs_call_the_functions_that_a_program_would(index: Path, tmp_path: Path) -> None:
    from moodbook.datasets import open_dataset
    from moodbook.training.recipe import Recipe

    recipe = Recipe.model_validate({"name": "popularity", "classifier": {"kind": "popularity"}})
    (tmp_path / "popularity.toml").write_text(POPULARITY)
    report = run_experiment(recipe, open_dataset(index), tmp_path / "by-program")
    result = run("reproduce", tmp_path / "popularity.toml", "--data", index, "--run", tmp_path / "by-verb", "--json")
    assert json.loads(result.stdout) == report.to_json()
