"""Recipes: every one that ships is whole and says what it follows; a wrong one is refused with its key."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from moodbook.errors import RecipeError
from moodbook.features import FeatureConfig
from moodbook.networks.config import CNNConfig, GRUConfig
from moodbook.networks.cost import count_parameters
from moodbook.training.recipe import Recipe, completed, list_recipes, read_recipe, recipe_toml, recipes_folder

OURS = {
    "folds",
    "precision",
    "min_tracks",
    "restart_dead_codes",
    "codebook",
    "gradient",
    "random_crops",
    "segments_a_track",
    "start_at_prior",
    "teacher",
    "data",
    "teacher_weight",
    "harmony_weight",
    "calibrate",
    "decision_precision",
    "semantic_width",
    "semantic_features",
    "schedule",
    "augment",
}
PAPER = ("run-1", "run-2", "run-3", "run-4", "run-5", "vggish", "popularity", "mtat-run-1")


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_that_ships_is_whole(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.name == name
    assert len(recipe.source) > 40
    # Nothing of the paper's is left to a default: the file says all that the complete recipe says, but for our options.
    written = tomllib.loads((recipes_folder() / f"{name}.toml").read_text(encoding="utf-8"))
    complete = recipe.model_dump(mode="json", exclude_none=True)
    for table in ("features", "data", "vqvae", "classifier", "step_1", "step_2"):
        missing = set(complete.get(table, {})) - set(written.get(table, {})) - OURS
        if recipe.vqvae is None:
            missing -= {"update_vqvae"}
        if recipe.vqvae is not None and recipe.vqvae.type == 1:
            missing -= {"type_2_decoder"}
        assert not missing or (name == "popularity" and table == "step_2"), (table, missing)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_recipes_have_the_papers_features_and_optimisation(name: str) -> None:
    recipe = read_recipe(name)
    assert recipe.features.center_padding == "reflect"
    assert recipe.data.segments == "first"
    assert "Table 2" in recipe.source or "MagnaTagATune" in recipe.source
    for step in (recipe.step_1, recipe.step_2):
        if step is not None:
            assert (step.batch_size, step.learning_rate, step.max_epochs, step.patience) == (12, 2e-4, 100, 10)


@pytest.mark.parametrize(
    ("name", "type_", "classifier", "updates"),
    [
        ("run-1", 1, GRUConfig, True),
        ("run-2", 1, GRUConfig, False),
        ("run-3", 1, CNNConfig, True),
        ("run-4", 1, CNNConfig, False),
        ("run-5", 2, GRUConfig, True),
    ],
)
def test_the_five_runs_are_the_table_of_the_paper(name: str, type_: int, classifier: type, updates: bool) -> None:
    recipe = read_recipe(name)
    assert recipe.vqvae is not None
    assert recipe.vqvae.type == type_
    assert isinstance(recipe.classifier, classifier)
    assert recipe.step_2.update_vqvae is updates


def test_every_row_of_the_table_has_a_recipe() -> None:
    assert {*PAPER, "demo"} <= set(list_recipes())


def test_sizes_follow_the_recipe() -> None:
    parameters = count_parameters(read_recipe("run-4").network, 56)
    assert (parameters.encoder, parameters.decoder, parameters.codebook) == (4_990_208, 4_727_809, 262_144)
    assert parameters.classifier == 1_667_398
    assert count_parameters(read_recipe("run-1").network, 56).classifier == 6_714_168
    demo = read_recipe("demo")
    assert demo.vqvae is not None
    assert count_parameters(demo.network, 56).codebook == demo.vqvae.width * demo.vqvae.codebook_size


@pytest.mark.parametrize("name", list_recipes())
def test_smoke_is_the_same_experiment_made_narrow(name: str) -> None:
    recipe, smoke = read_recipe(name), read_recipe(name).smoke()
    assert smoke.name == f"{name}-smoke"
    assert smoke.classifier.kind == recipe.classifier.kind
    assert smoke.step_2.max_epochs <= 2
    assert smoke.step_2.update_vqvae is recipe.step_2.update_vqvae
    if recipe.classifier.kind != "popularity":
        whole, narrow = (count_parameters(each.network, 56).total for each in (recipe, smoke))
        # A pretrained VQ-VAE stays as wide as it is.
        assert narrow < whole / (50 if name in PAPER else 2) or recipe.pretrained is not None


def test_smoke_never_makes_a_network_wider() -> None:
    tiny = Recipe.model_validate(
        {
            "name": "tiny",
            "vqvae": {"width": 3, "codebook_size": 5},
            "classifier": {"kind": "gru", "hidden": 2, "dense": [4]},
            "step_1": {"max_epochs": 1},
            "step_2": {"max_epochs": 1},
        }
    )
    assert tiny.smoke() == tiny.model_copy(update={"name": "tiny-smoke"})


@pytest.mark.parametrize("name", list_recipes())
def test_a_recipe_written_in_full_is_read_back_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_toml(read_recipe(name)), encoding="utf-8")
    assert read_recipe(path) == read_recipe(name)


def test_any_text_survives_toml(tmp_path: Path) -> None:
    recipe = read_recipe("demo").model_copy(update={"source": 'a "quote", a \\ and \n\t\x7f\x1f Grüße 🎵'})
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_toml(recipe), encoding="utf-8")
    assert read_recipe(path) == recipe


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


GRU = '[classifier]\nkind = "gru"\n[vqvae]\n[step_1]\n'
WRONG = {
    f'name = "x"\nseeds = 3\n{GRU}': "unknown key 'seeds' (remove it, or check its spelling)",
    f'name = "x"\n{GRU}learning_rte = 0.1': "unknown key 'step_1.learning_rte' (remove it, or check its spelling)",
    f'name = "x"\n{GRU}batch_size = 1': "step_1.batch_size: Input should be greater than or equal to 2, got 1",
    f'name = "x"\n{GRU}[step_2]\nbatch_size = 0': (
        "step_2.batch_size: Input should be greater than or equal to 2, got 0"
    ),
    f'name = "x"\n{GRU}precision = "int8"': (
        "step_1.precision: Input should be 'auto', 'float32' or 'bfloat16', got 'int8'"
    ),
    f'name = "x"\n{GRU}max_epochs = "ten"': (
        "step_1.max_epochs: Input should be a valid integer, unable to parse string as an integer, got 'ten'"
    ),
    f'name = "../x"\n{GRU}': "name: String should match pattern '^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$', got '../x'",
    GRU: "name: Field required",
    'name = "x"\n[classifier]\nkind = "lstm"': (
        "classifier: Input tag 'lstm' found using 'kind' does not match any of the expected tags: "
        "'gru', 'cnn', 'vggish', 'statistics', 'semantic', 'popularity'"
    ),
    'name = "x"\n[classifier]\nkind = "cnn"': (
        "classifier 'cnn' reads latents: give [vqvae], and [step_1] or pretrained"
    ),
    'name = "x"\npretrained = "open"\n[classifier]\nkind = "cnn"\n[vqvae]\n[step_1]': (
        "a pretrained VQ-VAE has no step 1: drop [step_1] or pretrained"
    ),
    'name = "x"\npretrained = ""\n[classifier]\nkind = "cnn"\n[vqvae]': (
        "pretrained: String should have at least 1 character, got ''"
    ),
    'name = "x"\n[classifier]\nkind = "popularity"\n[vqvae]': (
        "classifier 'popularity' reads no latents: drop [vqvae], pretrained, [step_1] and step_2.update_vqvae"
    ),
    f'name = "x"\n{GRU}teacher = "musicnn"': (
        "step_1.teacher and harmony_weight teach a semantic decoder: set vqvae.semantic_width (256, say)"
    ),
    'name = "x"\n[classifier]\nkind = "gru"\n[vqvae]\nsemantic_width = 8\n[step_1]\nteacher = "two-musicnn"': (
        "what step_1 has the semantic decoder learn (teacher = 'two-musicnn', harmony_weight = 0) is 400 numbers a "
        "window: set vqvae.semantic_features = 400"
    ),
    'name = "x"\n[classifier]\nkind = "gru"\n[vqvae]\nsemantic_width = 8\n[step_1]': (
        "a semantic decoder learns from a teacher: set step_1.teacher or harmony_weight, or vqvae.semantic_width = 0"
    ),
    f'name = "x"\n{GRU}harmony_weight = 0.3': (
        "step_1.teacher and harmony_weight teach a semantic decoder: set vqvae.semantic_width (256, say)"
    ),
    'name = "x"\n[classifier]\nkind = "gru"\n[vqvae]\nsemantic_width = 8\n[step_1]\nteacher = "musicnn"\n'
    "harmony_weight = 0.3": (
        "what step_1 has the semantic decoder learn (teacher = 'musicnn', harmony_weight = 0.3) is 228 numbers a "
        "window: set vqvae.semantic_features = 228"
    ),
    f'name = "x"\n{GRU}random_crops = true': (
        'random_crops have nothing to choose from in a first segment: set data.segments = "all"'
    ),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_recipe_names_its_key(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(caught.value) == f"recipe '{path}': {WRONG[text]}"


def test_several_wrong_keys_are_named_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, f'name = "x"\nseed = -1\n{GRU}patience = 0')
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(caught.value) == (
        f"recipe '{path}': seed: Input should be greater than or equal to 0, got -1; "
        "step_1.patience: Input should be greater than or equal to 1, got 0"
    )


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "name = [")
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(caught.value) == f"cannot read the recipe '{path}': Invalid value (at end of document)"


def test_a_recipe_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(RecipeError) as caught:
        read_recipe("run-6")
    assert str(caught.value) == (
        f"there is no recipe 'run-6'; name one of {', '.join(list_recipes())}, or give a TOML file"
    )


def test_binary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"cannot read the recipe .* codec can't decode"):
        read_recipe(path)


def test_a_recipe_of_an_older_version_is_completed_with_the_defaults() -> None:
    complete = read_recipe("open-start").model_dump(mode="json")
    older = {**complete, "vqvae": dict(complete["vqvae"]), "features": dict(complete["features"])}
    del older["vqvae"]["semantic_features"], older["features"]["center_padding"], older["storage"]
    filled = completed(older)
    assert filled["vqvae"] == complete["vqvae"]
    assert filled["features"] == complete["features"] | {"center_padding": FeatureConfig().center_padding}
    assert filled["storage"] == "float32"
    assert completed(complete) == complete
    # What is no recipe now, of another version or none at all, is compared as it stands.
    for recorded in ({**older, "dial_that_is_gone": 1}, {"seed": 0}, "two steps", None):
        assert completed(recorded) == recorded


def test_the_one_network_of_a_recipe_is_its_parts() -> None:
    recipe: Recipe = read_recipe("run-5")
    assert recipe.network.vqvae == recipe.vqvae
    assert recipe.network.classifier == recipe.classifier
