"""Step 1 that learns on: from a model, from another step 1, from that of a recipe that comes first."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moodbook.datasets import Dataset
from moodbook.errors import RecipeError, TrainingError
from moodbook.model.bundle import read_bundle
from moodbook.networks.config import VQVAEConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.examples import Examples
from moodbook.training.given import read_step
from moodbook.training.recipe import Recipe, Step1Config, read_recipe, recipe_toml
from moodbook.training.reproduce import reproduce, train_vqvae
from moodbook.training.run_folder import START, STEP_1
from moodbook.training.vqvae import Step1

STANDING_STILL = 1e-12
"""A learning rate that moves nothing."""


def learning_on(recipe: Recipe, **dials: Any) -> Recipe:
    """Make a recipe whose step 1 begins somewhere, and moves nothing unless told otherwise."""
    assert recipe.step_1 is not None
    settings = recipe.step_1.model_dump() | {"max_epochs": 1, "learning_rate": STANDING_STILL} | dials
    return Recipe.model_validate(recipe.model_dump() | {"name": "on", "step_1": settings})


def codebook(folder: Path) -> np.ndarray:
    return read_step(folder).weights["quantizer.codebook"].numpy()


@pytest.mark.parametrize("place", ["bundle", STEP_1, "."])
def test_a_step_1_learns_on_from_a_model_or_a_finished_step(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path, place: str
) -> None:
    recipe = narrow("fixed-cnn")
    reproduce(recipe, small_set, tmp_path / "first", cache=tmp_path / "cache")
    given = str(tmp_path / "first" / place)
    train_vqvae(learning_on(recipe, start=given), small_set, tmp_path / "on", cache=tmp_path / "cache")
    train_vqvae(learning_on(recipe), small_set, tmp_path / "new", cache=tmp_path / "cache")
    np.testing.assert_allclose(codebook(tmp_path / "on"), codebook(tmp_path / "first"), atol=1e-6)
    assert not np.allclose(codebook(tmp_path / "new"), codebook(tmp_path / "first"), atol=1e-6)

    # It is another run than one that begins anew, and than one that begins elsewhere.
    with pytest.raises(TrainingError, match=r"belongs to another run: .*recipe\.step_1\.start is .* there and not set"):
        train_vqvae(learning_on(recipe), small_set, tmp_path / "on", resume=True)
    record = json.loads((tmp_path / "on" / "run.json").read_text())
    assert len(record["identity"]["start_sha256"]) == 64
    train_vqvae(learning_on(recipe, start=given), small_set, tmp_path / "on", cache=tmp_path / "cache", resume=True)


def test_the_card_credits_what_step_1_learned_on_from(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe, cache = narrow("fixed-cnn"), tmp_path / "cache"
    tracks = tuple(replace(track, tags=()) for track in small_set.tracks)
    other = replace(small_set, name="elsewhere", licence="CC BY 4.0", citation="Somebody.", tracks=tracks)
    train_vqvae(recipe, other, tmp_path / "first", cache=cache)
    on = learning_on(recipe, start=str(tmp_path / "first"))
    reproduce(on, small_set, tmp_path / "second", cache=cache)
    of_elsewhere = "Step 1 learned from 'elsewhere', licence: CC BY 4.0. Somebody."
    model = read_bundle(tmp_path / "second" / "bundle")
    assert model.config.card.credits == ("The tests.", of_elsewhere)

    third = learning_on(recipe, start=str(tmp_path / "second" / "bundle"))
    reproduce(third, small_set, tmp_path / "third", cache=cache)
    learned_on = f"VQ-VAE of the model 'on' (CC0-1.0), sha256 {model.sha256}; it has learned on here."
    assert read_bundle(tmp_path / "third" / "bundle").config.card.credits == ("The tests.", learned_on, of_elsewhere)

    # The step without the record of its run.
    sha256 = read_step(tmp_path / "first").sha256
    (tmp_path / "second" / "run.json").unlink()
    assert read_step(tmp_path / "second").credits() == (
        f"Step 1 learned from music that no record beside it names (sha256 {small_set.sha256}).",
        f"Step 1 learned on from a VQ-VAE that no record beside it names (sha256 {sha256}).",
    )


def test_a_finished_step_1_is_gone_on_with_when_what_it_began_with_is_gone(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe, cache = narrow("fixed-cnn"), tmp_path / "cache"
    train_vqvae(recipe, small_set, tmp_path / "first", cache=cache)
    on = learning_on(recipe, start=str(tmp_path / "first"))
    train_vqvae(on, small_set, tmp_path / "on", cache=cache)
    (tmp_path / "first").rename(tmp_path / "gone")
    reproduce(on, small_set, tmp_path / "on", cache=cache, resume=True)
    assert read_bundle(tmp_path / "on" / "bundle").config.card.name == "on"

    # Another VQ-VAE in its place is not what it began with.
    train_vqvae(recipe.model_copy(update={"seed": 7}), small_set, tmp_path / "first", cache=cache)
    with pytest.raises(TrainingError, match="belongs to another run: start_sha256 is"):
        train_vqvae(on, small_set, tmp_path / "on", cache=cache, resume=True)
    (tmp_path / "first").rename(tmp_path / "other")

    # Until it is finished, what it begins with is wanted.
    (tmp_path / "on" / STEP_1 / "step.json").unlink()
    with pytest.raises(TrainingError, match="first' holds no finished step 1"):
        train_vqvae(on, small_set, tmp_path / "on", cache=cache, resume=True)


def test_a_recipe_can_have_the_step_1_of_another_come_first(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    first, cache = narrow("fixed-cnn"), tmp_path / "cache"
    (tmp_path / "first.toml").write_text(recipe_toml(first))
    chained = learning_on(first, start_recipe=str(tmp_path / "first.toml"), learning_rate=1e-3, max_epochs=2)
    train_vqvae(chained, small_set, tmp_path / "chain", cache=cache)
    # The same as one after the other.
    train_vqvae(first, small_set, tmp_path / "one", cache=cache)
    by_hand = learning_on(first, start=str(tmp_path / "one"), learning_rate=1e-3, max_epochs=2)
    train_vqvae(by_hand, small_set, tmp_path / "two", cache=cache)
    chain, two = read_step(tmp_path / "chain"), read_step(tmp_path / "two")
    assert all(torch.equal(chain.weights[name], two.weights[name]) for name in two.weights)
    np.testing.assert_array_equal(codebook(tmp_path / "chain" / STEP_1 / START), codebook(tmp_path / "one"))
    assert chain.begun == ()  # The same music, and no teacher.

    # Broken off between the two: what is finished is not trained again.
    (tmp_path / "chain" / STEP_1 / "step.json").unlink()
    before = (tmp_path / "chain" / STEP_1 / START / STEP_1 / "weights.safetensors").stat().st_mtime_ns
    train_vqvae(chained, small_set, tmp_path / "chain", cache=cache, resume=True)
    assert (tmp_path / "chain" / STEP_1 / START / STEP_1 / "weights.safetensors").stat().st_mtime_ns == before
    assert read_step(tmp_path / "chain").sha256 == chain.sha256

    # Another first recipe is another run.
    (tmp_path / "first.toml").write_text(recipe_toml(learning_on(first, learning_rate=5e-4)))
    with pytest.raises(TrainingError, match=r"start_recipe\.step_1\.learning_rate is 0.001 there and 0.0005 now"):
        train_vqvae(chained, small_set, tmp_path / "chain", cache=cache, resume=True)


def test_another_vqvae_is_not_learned_on_from(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = narrow("fixed-cnn")
    with pytest.raises(TrainingError, match=r"of 'open' is not that of recipe 'on': .*width is 64 there and 4 now"):
        train_vqvae(learning_on(recipe, start="open"), small_set, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"of recipe 'open-start' is not that of recipe 'on': .*width is 64"):
        train_vqvae(learning_on(recipe, start_recipe="open-start"), small_set, tmp_path / "run")
    with pytest.raises(TrainingError, match="recipe 'vggish' trains no VQ-VAE; name another"):
        train_vqvae(learning_on(recipe, start_recipe="vggish"), small_set, tmp_path / "run")
    with pytest.raises(RecipeError, match="there is no recipe 'nothing'"):
        train_vqvae(learning_on(recipe, start_recipe="nothing"), small_set, tmp_path / "run")
    with pytest.raises(TrainingError, match="holds no finished step 1 and no model"):
        train_vqvae(learning_on(recipe, start=str(tmp_path)), small_set, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_both_beginnings_at_once_are_refused(narrow: Callable[..., Recipe]) -> None:
    with pytest.raises(ValueError, match=r"give step_1\.start or step_1\.start_recipe"):
        learning_on(narrow("fixed-cnn"), start="open", start_recipe="open")


def test_a_recipe_that_comes_first_must_begin_anew(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    once_more = learning_on(narrow("fixed-cnn"), start=str(tmp_path / "nowhere"))
    (tmp_path / "first.toml").write_text(recipe_toml(once_more))
    recipe = learning_on(narrow("fixed-cnn"), start_recipe=str(tmp_path / "first.toml"))
    with pytest.raises(TrainingError, match="the step 1 of recipe 'on' learns on from another itself"):
        train_vqvae(recipe, small_set, tmp_path / "run")
    (tmp_path / "itself.toml").write_text(
        recipe_toml(learning_on(narrow("fixed-cnn"), start_recipe=str(tmp_path / "itself.toml")))
    )
    with pytest.raises(TrainingError, match="learns on from another itself"):
        train_vqvae(read_recipe(tmp_path / "itself.toml"), small_set, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_smoke_run_begins_anew() -> None:
    recipe = read_recipe("open")
    assert recipe.step_1 is not None
    on = recipe.model_copy(update={"step_1": recipe.step_1.model_copy(update={"start": "open"})})
    step_1 = on.smoke().step_1
    assert step_1 is not None
    assert (step_1.start, step_1.start_recipe) == (None, None)


def test_a_semantic_decoder_that_tells_more_keeps_what_it_told() -> None:
    log_mel = np.random.default_rng(0).normal(size=(4, 128, 1024)).astype(np.float16)
    examples = Examples(log_mel, np.arange(4), np.arange(4), np.ones(4, dtype=np.float32), None)
    torch.manual_seed(5)
    start = VQVAE(VQVAEConfig(width=4, codebook_size=8, semantic_width=4, semantic_features=5)).eval()
    for features in (3, 5, 9):
        config = VQVAEConfig(width=4, codebook_size=8, semantic_width=4, semantic_features=features)
        step = Step1(config, 0, examples, examples, Step1Config(), start.state_dict())
        segments = torch.from_numpy(log_mel).float()
        with torch.no_grad():
            told, told_before = step.network.eval()(segments).semantic, start(segments).semantic
        both = min(features, 5)
        torch.testing.assert_close(told[..., :both], told_before[..., :both])
        assert told.shape[-1] == features
        assert bool((told[..., both:] != 0).flatten(0, 1).any(dim=0).all())
