"""Recipes: one TOML file fixes a whole experiment.

A recipe names the network, the features, the data rules and both training steps; everything it leaves out has the
paper's value. Unknown keys and wrong values are errors that name the key and the values allowed.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from moodbook.errors import RecipeError
from moodbook.features import FeatureConfig
from moodbook.networks.config import (
    ClassifierConfig,
    CNNConfig,
    Config,
    GRUConfig,
    NetworkConfig,
    SemanticConfig,
    StatisticsConfig,
    VGGishConfig,
    VQVAEConfig,
)
from moodbook.training.teacher.names import TeacherName, features_said


class DataRules(Config):
    """Which parts of a track are used."""

    segments: Literal["first", "all"] = "first"
    """first: the paper's 1,024 frames. all: every segment of the track is a training example of its own."""
    short_tracks: Literal["pad", "drop"] = "pad"
    """What happens to a track shorter than one segment: padded with silence, or left out as the authors did."""
    min_tracks: int = Field(0, ge=0)
    """Tags with fewer tracks in the whole data set are left out, and the tracks that have no other tag."""


class StepConfig(Config):
    """The optimisation of one training step: Adam, early stopping on validation."""

    batch_size: int = Field(12, ge=2)
    """Segments a batch; batch norm needs two."""
    learning_rate: float = Field(2e-4, gt=0)
    max_epochs: int = Field(100, ge=1)
    patience: int = Field(10, ge=1)
    """Epochs without a better validation figure before the step stops and the best epoch is restored."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: bfloat16 where the processor multiplies it natively, float32 elsewhere."""
    schedule: Literal["constant", "cosine"] = "constant"
    """constant, as the paper: every batch has the same learning rate. cosine: it falls to 0 over `max_epochs` along
    half a cosine."""
    random_crops: bool = False
    """True: in each epoch an example starts anywhere in its track where a whole segment fits, instead of at its own
    segment; with a teacher that is asked once, at any of its windows. Needs ``data.segments = "all"``."""


class Step1Config(StepConfig):
    """Step 1: the VQ-VAE learns to reconstruct, without labels; watched figure: reconstruction on validation."""

    data: str | None = None
    """Name of the data set that step 1 learns from, below the data root; None: the train and validation tracks of the
    run's own data set, as the paper's runs."""

    start: str | None = Field(None, min_length=1)
    """A model, by name or by folder, or a finished step 1, by its folder or that of its run, from whose VQ-VAE the step
    learns on, instead of from random numbers; both seen from where Moodbook runs. It may differ from this recipe's in
    ``semantic_features`` alone: the numbers that both have stay in their places, and more begin at random."""
    start_recipe: str | None = Field(None, min_length=1)
    """A recipe, by name or file, whose step 1 is trained first, on the same music, and then stands for `start`."""
    segments_a_track: int = Field(0, ge=0)
    """0, as the paper: every segment that `data.segments` gives is an example. N: at most N of each track, evenly
    spread, in training and validation, so that long tracks do not outweigh short ones; with `random_crops` each begins
    elsewhere in its track in each epoch."""
    restart_dead_codes: bool = False
    """True: before the first epoch and after each one, codes that a sample of training music does not use start again
    on its latents. False, as the authors: the codebook starts at U(-1/K, 1/K) and a code that nobody uses stays where
    it is; a short training then ends with few codes in use."""
    codebook: Literal["gradient", "averages"] = "gradient"
    """gradient, as the paper: MSE(z_q, sg z_e) moves the codebook. averages: it follows moving averages of the latents
    that became each code (`moodbook.training.codebook.CodebookAverages`)."""
    gradient: Literal["straight-through", "rotation"] = "straight-through"
    """How a gradient passes the quantizer. straight-through, as the paper: as it is. rotation: turned and scaled as the
    latent is on its way to its codebook vector (`moodbook.networks.quantizer.rotated`)."""
    teacher: TeacherName | None = None
    """What says of every 3 seconds what the codes must tell, beside the sound: the semantic decoder
    (``vqvae.semantic_width``) learns to read it from them; early stopping watches its error instead. musicnn: the
    embedding of the network that learned from the Million Song Dataset. two-musicnn: behind it that of the one that
    learned from MagnaTagATune; wants ``vqvae.semantic_features = 400``. It is asked about each 3 seconds of each track
    once, or, with `augment`, about what has become of them. None, as the authors: the sound alone."""
    teacher_weight: float = Field(0.1, gt=0)
    """Weight of the semantic decoder's mean squared error, where there is a teacher; predicting its mean costs 1."""
    harmony_weight: float = Field(0.0, ge=0)
    """Above 0: the semantic decoder learns to read 28 numbers on pitch as well, behind those of the teacher, which it
    can stand without (`moodbook.training.teacher.harmony`); wants ``vqvae.semantic_features`` to be 28 more. The weight
    of their mean squared error; predicting their mean costs 1. Early stopping does not watch it. 0, as the authors: it
    does not."""
    augment: bool = False
    """True: what is learned from is mixed with other segments of its batch, equalised and made louder or softer
    (`moodbook.training.augment`); a teacher hears the same. False, as the authors."""

    @property
    def asks_once(self) -> bool:
        """Whether there is a teacher, and the music stays as it is, so that it need be asked about it only once."""
        return self.teacher is not None and not self.augment


class Step2Config(StepConfig):
    """Step 2: the classifier learns the tags; watched figure: validation macro ROC-AUC."""

    update_vqvae: bool = False
    """True: the VQ-VAE learns on (Runs 1, 3, 5). False: it is fixed, its batch norm included (Runs 2, 4)."""
    start_at_prior: bool = False
    """True: the output layer starts by giving each tag the share of the training examples that have it, whatever the
    input. False, as the authors: it starts at random, and a short training spends its epochs on unlearning that."""
    folds: int = Field(1, ge=1, le=20)
    """1, as the authors: one classifier. N: the train split is cut into N - 1 parts, the validation split is one more,
    and N classifiers each learn from all but one of them and stop early on that one. The model is their mean,
    calibrated and given its thresholds on what each says of its part (`moodbook.training.folds`). Wants a fixed VQ-VAE
    and a linear classifier ("statistics", "semantic")."""
    calibrate: bool = False
    """True: when the step is over, the logits are scaled by two numbers fitted on validation so that a probability
    comes true as often as it says (`moodbook.training.calibration`). False, as the authors."""
    decision_precision: float | None = Field(None, gt=0, lt=1)
    """A number: one threshold for all tags, the lowest at which that share of the tags decided on validation is right;
    wants `calibrate`. None, as the authors: per tag the threshold of the best F on validation."""


class PresenceConfig(Config):
    """Learns, after step 2, what is no music (`moodbook.training.presence`), so that a model can say so."""

    speech: str = "speech"
    """Name of a data set of speech, below the data root; noise and silence are made."""
    refused_music: float = Field(0.05, gt=0, lt=1)
    """Share of the segments of validation music that may be taken for something else."""


class Recipe(Config):
    """A whole experiment."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$")
    """Safe as the name of a folder and of a model: letters, digits and ``._+-``."""
    source: str = ""
    """What the recipe follows: the row and sentence of the paper, or why it is ours."""
    notes: tuple[str, ...] = ()
    """What a model trained by it cannot do; its card says so."""
    seed: int = Field(0, ge=0)
    features: FeatureConfig = FeatureConfig()
    data: DataRules = DataRules()
    vqvae: VQVAEConfig | None = None
    pretrained: str | None = Field(None, min_length=1)
    """A model, by name or by folder as seen from where Moodbook runs, whose VQ-VAE stands for step 1 where no other is
    given (``--vqvae``); None: step 1 is trained."""
    classifier: ClassifierConfig
    step_1: Step1Config | None = None
    step_2: Step2Config = Step2Config()
    storage: Literal["float32", "float16"] = "float32"
    """How the bundle holds its matrices. float16: in half the space; what step 1 learned is rounded before the
    classifier learns from its codes, and every figure is that of the rounded weights."""
    presence: PresenceConfig | None = None
    """None, as the authors: everything is taken for music."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        if self.network.needs_vqvae:
            if self.vqvae is None or (self.step_1 is None and self.pretrained is None):
                raise ValueError(
                    f"classifier {self.classifier.kind!r} reads latents: give [vqvae], and [step_1] or pretrained"
                )
            if self.step_1 is not None and self.pretrained is not None:
                raise ValueError("a pretrained VQ-VAE has no step 1: drop [step_1] or pretrained")
        elif self.vqvae or self.step_1 or self.pretrained or self.step_2.update_vqvae:
            raise ValueError(
                f"classifier {self.classifier.kind!r} reads no latents: drop [vqvae], pretrained, [step_1] and "
                "step_2.update_vqvae"
            )
        if isinstance(self.classifier, SemanticConfig) and not (self.vqvae and self.vqvae.semantic_width):
            raise ValueError("classifier 'semantic' reads what a semantic decoder tells: set vqvae.semantic_width")
        if self.step_1 is not None and self.step_1.start is not None and self.step_1.start_recipe is not None:
            raise ValueError("a step 1 begins with one VQ-VAE: give step_1.start or step_1.start_recipe")
        if self.vqvae is not None and self.step_1 is not None:
            said = features_said(self.step_1.teacher, self.step_1.harmony_weight > 0)
            if said and not self.vqvae.semantic_width:
                raise ValueError(
                    "step_1.teacher and harmony_weight teach a semantic decoder: set vqvae.semantic_width (256, say)"
                )
            if said and self.vqvae.semantic_features != said:
                raise ValueError(
                    f"what step_1 has the semantic decoder learn (teacher = {self.step_1.teacher!r}, harmony_weight = "
                    f"{self.step_1.harmony_weight:g}) is {said} numbers a window: set vqvae.semantic_features = {said}"
                )
            if self.vqvae.semantic_width and not said:
                raise ValueError(
                    "a semantic decoder learns from a teacher: set step_1.teacher or harmony_weight, or "
                    "vqvae.semantic_width = 0"
                )
        if self.presence is not None and self.vqvae is None:
            raise ValueError("[presence] is learned from latents, and the recipe has no [vqvae]: drop it")
        if self.data.segments != "all" and any(step.random_crops for step in (self.step_1, self.step_2) if step):
            raise ValueError('random_crops have nothing to choose from in a first segment: set data.segments = "all"')
        if self.step_2.decision_precision is not None and not self.step_2.calibrate:
            raise ValueError("one threshold for all tags wants calibrated probabilities: set step_2.calibrate = true")
        linear = isinstance(self.classifier, StatisticsConfig | SemanticConfig) and not self.step_2.update_vqvae
        if self.step_2.folds > 1 and not linear:
            raise ValueError(
                "step_2.folds averages classifiers that are linear on a fixed VQ-VAE: set folds = 1, or kind = "
                '"statistics" or "semantic" and update_vqvae = false'
            )
        return self

    @property
    def network(self) -> NetworkConfig:
        """The network that this recipe trains."""
        return NetworkConfig(vqvae=self.vqvae, classifier=self.classifier)

    def for_step_1(self) -> Recipe:
        """Give the recipe of step 1 alone on a data set of its own: there are no tags that could be rare."""
        step_1 = None if self.step_1 is None else self.step_1.model_copy(update={"data": None})
        return self.model_copy(update={"step_1": step_1, "data": self.data.model_copy(update={"min_tracks": 0})})

    def smoke(self) -> Recipe:
        """Give the same experiment with a narrow network and at most two epochs a step.

        It proves that every stage works; its scores mean nothing.
        """
        classifier = self.classifier
        if isinstance(classifier, GRUConfig):
            sizes: dict[str, Any] = {
                "hidden": min(24, classifier.hidden),
                "dense": tuple(min(24, size) for size in classifier.dense),
            }
            classifier = classifier.model_copy(update=sizes)
        elif isinstance(classifier, CNNConfig):
            narrow = {"channels": 2, "hidden": 24, "dense": 24}
            sizes = {name: min(size, getattr(classifier, name)) for name, size in narrow.items()}
            classifier = classifier.model_copy(update=sizes)
        elif isinstance(classifier, VGGishConfig):
            classifier = classifier.model_copy(update={"maps": tuple(min(8, maps) for maps in classifier.maps)})
        update: dict[str, Any] = {
            "name": f"{self.name}-smoke",
            "classifier": classifier,
            "step_2": self.step_2.model_copy(update={"max_epochs": min(2, self.step_2.max_epochs)}),
            "presence": None,
        }
        if self.vqvae is not None and self.step_1 is not None:
            narrow = {"width": 16, "codebook_size": 64, "semantic_width": 16}
            update["vqvae"] = self.vqvae.model_copy(
                update={name: min(size, getattr(self.vqvae, name)) for name, size in narrow.items()}
            )
            # What it would learn on from is wider.
            short = {"max_epochs": min(2, self.step_1.max_epochs), "start": None, "start_recipe": None}
            update["step_1"] = self.step_1.model_copy(update=short)
        return self.model_copy(update=update)


def recipes_folder() -> Path:
    """Give the folder of the recipes that come with Moodbook: in the package, or at the root of a checkout."""
    package = Path(__file__).parents[1] / "recipes"
    return package if package.is_dir() else Path(__file__).parents[3] / "recipes"


def list_recipes() -> list[str]:
    """Name the recipes that come with Moodbook."""
    return sorted(path.stem for path in recipes_folder().glob("*.toml"))


def read_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe by the name of one that comes with Moodbook, or from a TOML file.

    Raises:
        RecipeError: There is no such recipe, it is not TOML, or a key is unknown or has a wrong value.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        path = recipes_folder() / f"{name_or_path}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(
            f"there is no recipe '{name_or_path}'; name one of {', '.join(list_recipes())}, or give a TOML file"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"cannot read the recipe '{path}': {error}") from error
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise RecipeError(f"recipe '{path}': {_explain(error)}") from error


def completed(recorded: Any) -> Any:
    """Give the settings of a recipe that a run recorded, with those at their defaults that came later.

    Args:
        recorded: What stands in the record of a run; what is no recipe now stays as it is.
    """
    try:
        return Recipe.model_validate(recorded).model_dump(mode="json")
    except ValidationError:
        return recorded


def recipe_toml(recipe: Recipe) -> str:
    """Write a recipe, complete with every default, as TOML that `read_recipe` reads."""
    content = recipe.model_dump(mode="json", exclude_none=True)
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    lines = [f"{key} = {_toml(value)}" for key, value in content.items() if key not in tables]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    # JSON's strings, numbers, booleans and lists are TOML too, but for the one character that TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _explain(error: ValidationError) -> str:
    lines = []
    for item in error.errors(include_url=False):
        where = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key '{where}' (remove it, or check its spelling)")
        else:
            # A whole table as the wrong value says nothing; pydantic announces our own messages as "Value error".
            got = "" if isinstance(item.get("input"), dict) else f", got {_short(item.get('input'))}"
            lines.append(f"{where + ': ' if where else ''}{item['msg'].removeprefix('Value error, ')}{got}")
    return "; ".join(lines)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
