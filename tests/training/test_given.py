"""The VQ-VAE of a model in place of a step 1: somebody's own tags on what the bundled model has learned to hear."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moodbook.datasets import Dataset
from moodbook.errors import DataError, ModelError, TrainingError
from moodbook.model.bundle import read_bundle, write_bundle
from moodbook.training import table_2
from moodbook.training.given import fits
from moodbook.training.recipe import Recipe, read_recipe
from moodbook.training.reproduce import reproduce, train_tagger, train_vqvae
from moodbook.training.run_folder import STEP_1
from moodbook.training.step import SUMMARY


def short(recipe: Recipe, **settings: object) -> Recipe:
    """Make a recipe of a classifier that is trained for two epochs on tags of any number of tracks."""
    step_2 = recipe.step_2.model_copy(update={"max_epochs": 2, "folds": 1, **settings})
    data = recipe.data.model_copy(update={"min_tracks": 0})
    return recipe.model_copy(update={"data": data, "step_2": step_2})


def test_the_bundled_model_lends_its_vqvae(small_set: Dataset, tmp_path: Path) -> None:
    lender = read_bundle("open")
    # The recipe names the model; nothing of `open` has to be fetched or trained.
    report = reproduce(short(read_recipe("own")), small_set, tmp_path / "run", name="mine")
    made = read_bundle(tmp_path / "run" / "bundle")
    assert (made.name, report.name, made.config.card.provenance.recipe) == ("mine", "mine", "own")
    assert made.tags == small_set.tags
    for name, value in lender.weights.items():
        if name.startswith(("vqvae.", "presence.")):
            np.testing.assert_array_equal(made.weights[name], value, err_msg=name)
    # What was not done here is not reported as if it was: no step 1, and no figures of what is no music.
    assert [step.step for step in report.steps] == [2]
    assert report.presence is None
    card = made.config.card
    assert any("as the model 'open' does, whose codes are the same" in note for note in card.notes)
    # Whose music it stands on is known to whoever is given this model.
    assert card.credits[0] == small_set.citation
    assert card.credits[1] == f"VQ-VAE of the model 'open' ({lender.config.card.licence}), sha256 {lender.sha256}."
    assert set(lender.config.card.credits) < set(card.credits)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["identity"]["vqvae_sha256"] == lender.sha256


def test_a_models_folder_is_taken_like_the_step_1_that_it_came_from(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = narrow("fixed-cnn")
    first = reproduce(recipe, small_set, tmp_path / "first", cache=tmp_path / "cache")
    second = reproduce(
        recipe, small_set, tmp_path / "second", vqvae=tmp_path / "first" / "bundle", cache=tmp_path / "cache"
    )
    assert second.test == first.test
    assert second.codebook == first.codebook
    # The same weights give the same codes: they were not made again.
    assert len(list((tmp_path / "cache").glob("codes-*"))) == 1

    # A step 1 of an older version, before a dial was there, is still one of this VQ-VAE.
    summary = tmp_path / "first" / STEP_1 / SUMMARY
    record = json.loads(summary.read_text())
    del record["identity"]["recipe"]["vqvae"]["semantic_features"]
    summary.write_text(json.dumps(record))
    assert fits(recipe, tmp_path / "first")
    record["identity"]["recipe"]["vqvae"]["width"] += 1
    summary.write_text(json.dumps(record))
    assert not fits(recipe, tmp_path / "first")


def test_a_model_that_cannot_stand_for_a_step_1_is_refused(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = narrow("fixed-cnn")
    with pytest.raises(TrainingError, match=r"of 'open' is not that of recipe 'fixed-cnn': .*width is 64 there and"):
        train_tagger(recipe, small_set, tmp_path / "run", vqvae="open")
    with pytest.raises(TrainingError, match=r"recipe 'own' trains no VQ-VAE, so it has no step 1"):
        train_vqvae(read_recipe("own"), small_set, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"'\.\./mine' cannot name a model"):
        reproduce(recipe, small_set, tmp_path / "run", name="../mine")
    with pytest.raises(TrainingError, match="the name of the step 1 is empty"):
        train_tagger(recipe, small_set, tmp_path / "run", vqvae="")
    reproduce(recipe, small_set, tmp_path / "first")
    whole = read_bundle(tmp_path / "first" / "bundle")
    facts = whole.config
    write_bundle(
        tmp_path / "light",
        network=facts.network,
        weights={name: value for name, value in whole.weights.items() if not name.startswith("embedding.")},
        tags=whole.tags,
        thresholds=whole.thresholds,
        card=facts.card,
        decoder=False,
    )
    with pytest.raises(TrainingError, match="was written without its decoder"):
        train_tagger(recipe, small_set, tmp_path / "run", vqvae=tmp_path / "light")
    shutil.copytree(whole.folder, tmp_path / "damaged")
    weights = tmp_path / "damaged" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ModelError, match="cannot load the model"):
        train_tagger(recipe, small_set, tmp_path / "run", vqvae=tmp_path / "damaged")
    assert not (tmp_path / "run").exists()


def test_a_vqvae_that_learns_on_learns_anew_what_is_no_music(small_set: Dataset, tmp_path: Path) -> None:
    recipe = short(read_recipe("open"), update_vqvae=True, max_epochs=1)
    elsewhere = recipe.presence.model_copy(update={"speech": str(tmp_path / "no-speech.csv")})
    recipe = recipe.model_copy(update={"presence": elsewhere})
    # Before anything is listened to.
    with pytest.raises(DataError, match=r"no-speech\.csv"):
        reproduce(recipe, small_set, tmp_path / "run", vqvae="open")
    assert not (tmp_path / "run").exists()


def test_the_card_says_that_a_lent_vqvae_has_learned_on(small_set: Dataset, tmp_path: Path) -> None:
    recipe = short(read_recipe("own"), update_vqvae=True, max_epochs=1).model_copy(update={"presence": None})
    reproduce(recipe, small_set, tmp_path / "run")
    assert read_bundle(tmp_path / "run" / "bundle").config.card.credits[1].endswith("; it has learned on here.")


def test_a_step_1_of_no_row_of_the_table_is_refused(small_set: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="the VQ-VAE of 'open' is that of no row of the table"):
        table_2.reproduce_table_2(small_set, tmp_path / "run", vqvae=["open"])
    assert not (tmp_path / "run").exists()


def credits_of(run: Path) -> tuple[str, ...]:
    return read_bundle(run / "bundle").config.card.credits


def test_the_card_credits_what_the_given_step_learned_from_whatever_the_recipe_says(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe, cache = narrow("fixed-cnn"), tmp_path / "cache"
    assert recipe.step_1 is not None
    tracks = tuple(replace(track, tags=()) for track in small_set.tracks)
    other = replace(small_set, name="elsewhere", licence="CC BY 4.0", citation="Somebody.", tracks=tracks)
    train_vqvae(recipe, other, tmp_path / "one", cache=cache)
    # The one names another data set, the other trains no step 1 at all.
    of_open = recipe.model_copy(update={"step_1": recipe.step_1.model_copy(update={"data": "open"})})
    pretrained = recipe.model_copy(update={"step_1": None, "pretrained": "open"})
    for number, other_recipe in enumerate((of_open, pretrained)):
        reproduce(other_recipe, small_set, tmp_path / f"{number}", cache=cache, vqvae=tmp_path / "one")
        assert credits_of(tmp_path / f"{number}") == (
            "The tests.",
            "Step 1 learned from 'elsewhere', licence: CC BY 4.0. Somebody.",
        )

    # The step alone, without the record of its run, still says by its hash what it learned from, and who taught it.
    shutil.copytree(tmp_path / "one" / STEP_1, tmp_path / "alone")
    summary = tmp_path / "alone" / SUMMARY
    record = json.loads(summary.read_text())
    record["identity"]["recipe"]["step_1"]["teacher"] = "musicnn"
    summary.write_text(json.dumps(record))
    reproduce(of_open, small_set, tmp_path / "two", cache=cache, vqvae=tmp_path / "alone")
    music, work = credits_of(tmp_path / "two")[1:]
    assert music == f"Step 1 learned from music that no record beside it names (sha256 {other.sha256})."
    assert work.startswith("Teacher of step 1: musicnn (MSD_musicnn, ISC licence)")
    record["identity"]["recipe"]["step_1"]["teacher"] = "a later one"
    summary.write_text(json.dumps(record))
    with pytest.raises(TrainingError, match=r"the teacher 'a later one' of .* is not known to this version"):
        reproduce(of_open, small_set, tmp_path / "three", cache=cache, vqvae=tmp_path / "alone")
