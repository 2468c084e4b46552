"""A finished step 1, of this run, of another or of a model: what it learned, and whether a recipe can build on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moodbook.errors import TrainingError
from moodbook.files import is_there
from moodbook.model.bundle import CONFIG_FILE, Bundle, list_models, read_bundle
from moodbook.model.tensors import Storage, round_to_storage
from moodbook.networks.config import VQVAEConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.checkpoint import read_json
from moodbook.training.recipe import Recipe, completed, read_recipe
from moodbook.training.run_folder import RUN, START, STEP_1, differences
from moodbook.training.step import StepSummary, read_summary, read_weights
from moodbook.training.teacher.names import NETWORKS, TeacherName, credit

_IN_A_MODEL = "vqvae."


@dataclass(frozen=True)
class LearnedVQVAE:
    """What step 1 learned.

    Args:
        weights: The VQ-VAE's weights by name.
        sha256: Hash of the file of weights, or of the model that they are of.
        summary: How the step ended; None where it is a model's.
        data: Name, licence and citation of the music that the step learned from; None where no record of its run lies
            beside it.
        teacher: What taught the step; None where nothing did.
        begun: Credits of the VQ-VAE that the step learned on from.
        model: The model that it is of; None where it is a step's.
    """

    weights: Mapping[str, Tensor]
    sha256: str
    summary: StepSummary | None = None
    data: Mapping[str, str] | None = None
    teacher: TeacherName | None = None
    begun: tuple[str, ...] = ()
    model: Bundle | None = None

    def credits(self, known: Collection[str] = (), *, learned_on: bool = False) -> tuple[str, ...]:
        """Name whose music and whose work it stands on.

        Args:
            known: Hashes of data sets that are credited already.
            learned_on: Whether it has been trained since.
        """
        if self.model is not None:
            card, changed = self.model.config.card, "; it has learned on here" if learned_on else ""
            return (
                f"VQ-VAE of the model '{card.name}' ({card.licence}), sha256 {self.model.sha256}{changed}.",
                *card.credits,
            )
        if self.summary is None:
            return ()
        # What the step itself recorded: a recipe says what would have been learned from, had no step been given.
        credits, data_sha256 = [], str(self.summary.identity.get("data_sha256"))
        if data_sha256 not in known:
            credits.append(
                f"Step 1 learned from music that no record beside it names (sha256 {data_sha256})."
                if self.data is None
                else credit_music("Step 1 learned from", **self.data)
            )
        if self.teacher is not None:
            credits.append(credit(self.teacher))
        return (*credits, *self.begun)


def credit_music(what: str, name: str, licence: str, citation: str) -> str:
    """Say whose music a data set holds.

    Args:
        what: What was learned from it, as the beginning of the sentence.
        name: Name of the data set.
        licence: Its licence.
        citation: Whom it asks to name.
    """
    return f"{what} '{name}', licence: {licence}. {citation}".strip()


def rounded(weights: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """Give weights as a bundle will hold them, so that what is learned on top of them is learned on those.

    Raises:
        ModelError: A weight leaves the range of float16.
    """
    floats = {name: value.cpu().numpy() for name, value in weights.items() if value.is_floating_point()}
    kept = {name: torch.from_numpy(value) for name, value in round_to_storage(floats, storage).items()}
    return {name: kept.get(name, value) for name, value in weights.items()}


def load_vqvae(vqvae: VQVAE, weights: Mapping[str, Tensor]) -> None:
    """Load the weights of step 1.

    Raises:
        TrainingError: They are those of another VQ-VAE.
    """
    try:
        vqvae.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise TrainingError(
            f"the weights of step 1 do not fit a VQ-VAE of {vqvae.config!r}: {str(error).splitlines()[-1].strip()}"
        ) from error


def read_step(given: str | Path) -> LearnedVQVAE:
    """Read what a finished step 1 left in its folder, or in that of its run.

    Raises:
        TrainingError: The step is not finished, its weights are missing or not what the step left, or it had a teacher
            that this version does not know.
    """
    folder = _step_folder(given)
    summary = _summary(folder)
    teacher = (_recipe_of(summary).get("step_1") or {}).get("teacher")
    if teacher is not None and teacher not in NETWORKS:
        raise TrainingError(f"the teacher '{teacher}' of '{folder}' is not known to this version; update Moodbook")
    weights = read_weights(folder).tensors
    data, begun = _record_of(folder, summary)
    return LearnedVQVAE(weights, summary.weights_sha256, summary, data, teacher, begun)


def is_finished(given: str | Path) -> bool:
    """Say whether a folder, or that of a run, holds a finished step 1.

    Raises:
        TrainingError: The record of the step is damaged.
    """
    return read_summary(_step_folder(given)) is not None


def open_vqvae(recipe: Recipe, given: str | Path) -> LearnedVQVAE:
    """Read a finished step 1 for a recipe.

    Args:
        recipe: The recipe that builds on it.
        given: The folder of the step or of its run; or a model, by the name of one that comes with Moodbook or by its
            folder.

    Raises:
        TrainingError: The recipe has no VQ-VAE, or there is no finished step 1 of this VQ-VAE on these features.
        ModelError: The model is damaged.
    """
    if recipe.vqvae is None:
        raise TrainingError(f"recipe '{recipe.name}' has no VQ-VAE to load '{given}' into; leave --vqvae out")
    model = _model(given)
    if different := differences(_reading(recipe.model_dump(mode="json")), _reading_there(given, model)):
        raise TrainingError(
            f"the VQ-VAE of '{given}' is not that of recipe '{recipe.name}': {'; '.join(different)}. Take a recipe "
            "with the [vqvae] and [features] that it was trained with"
        )
    if model is None:
        return read_step(given)
    return LearnedVQVAE(_weights_of_model(model, recipe.vqvae), model.sha256, model=model)


def open_start(recipe: Recipe, recorded: str | None = None) -> tuple[LearnedVQVAE | None, str | None]:
    """Read the VQ-VAE from which a recipe's step 1 learns on.

    Args:
        recipe: The recipe.
        recorded: Hash of what a finished step 1 has learned on from (`recorded_start`), which nothing wants any more:
            it may be gone.

    Returns:
        The VQ-VAE and its hash; None where none is named, or, for the VQ-VAE, where it is gone.

    Raises:
        TrainingError: There is none, or it differs in more than what the semantic decoder gives.
        ModelError: The model is damaged.
    """
    given = None if recipe.step_1 is None else recipe.step_1.start
    if recipe.vqvae is None or given is None:
        return None, None
    if recorded is not None and given not in list_models() and not is_there(Path(given)):
        return None, recorded
    there = _reading_there(given, _model(given))["vqvae"] or {}
    semantic_features = there.get("semantic_features", recipe.vqvae.semantic_features)
    vqvae = recipe.vqvae.model_copy(update={"semantic_features": semantic_features})
    start = open_vqvae(recipe.model_copy(update={"vqvae": vqvae}), given)
    return start, start.sha256


def recorded_start(given: str | Path) -> str | None:
    """Give the hash of what the finished step 1 of a folder, or of that of a run, has learned on from.

    Returns:
        SHA-256; None where no step 1 is finished, or it began anew.

    Raises:
        TrainingError: The record of the step is damaged.
    """
    summary = read_summary(_step_folder(given))
    return None if summary is None else summary.identity.get("start_sha256")


def read_start_recipe(recipe: Recipe) -> Recipe | None:
    """Read the recipe whose step 1 comes before that of another; None where none does.

    Returns:
        Its step 1, with the seed of the other recipe.

    Raises:
        RecipeError: It cannot be read.
        TrainingError: It trains no VQ-VAE, one that learns on from another itself, or one that differs in more than
            what the semantic decoder gives.
    """
    name = None if recipe.step_1 is None else recipe.step_1.start_recipe
    if recipe.vqvae is None or name is None:
        return None
    first = read_recipe(name).for_step_1().model_copy(update={"seed": recipe.seed})
    if first.vqvae is None or first.step_1 is None:
        raise TrainingError(f"step_1.start_recipe: recipe '{first.name}' trains no VQ-VAE; name another")
    if first.step_1.start is not None or first.step_1.start_recipe is not None:
        raise TrainingError(
            f"step_1.start_recipe: the step 1 of recipe '{first.name}' learns on from another itself; name a recipe "
            "whose step 1 begins anew, or train that step 1 and give its folder as step_1.start"
        )
    same = {"vqvae": recipe.vqvae.model_copy(update={"semantic_features": first.vqvae.semantic_features})}
    there = _reading(first.model_dump(mode="json"))
    if different := differences(_reading(recipe.model_copy(update=same).model_dump(mode="json")), there):
        raise TrainingError(
            f"the VQ-VAE of recipe '{first.name}' is not that of recipe '{recipe.name}': {'; '.join(different)}. "
            "Name a recipe with the same [vqvae] and [features]"
        )
    return first


def fits(recipe: Recipe, given: str | Path) -> bool:
    """Say whether a finished step 1, or the VQ-VAE of a model, is of a recipe's VQ-VAE and features.

    Raises:
        TrainingError: The folder holds no finished step 1 and no model.
        ModelError: The model is damaged.
    """
    return _reading_there(given, _model(given)) == _reading(recipe.model_dump(mode="json"))


def _model(given: str | Path) -> Bundle | None:
    if not str(given):
        raise TrainingError("the name of the step 1 is empty; name its folder or a model")
    if str(given) in list_models() or is_there(Path(given) / CONFIG_FILE):
        return read_bundle(given)
    return None


def _reading(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Give the parts of a recipe that decide which codes a segment becomes."""
    return {part: recipe.get(part) for part in ("vqvae", "features")}


def _reading_there(given: str | Path, model: Bundle | None) -> dict[str, Any]:
    if model is None:
        return _reading(_recipe_of(_summary(_step_folder(given))))
    network, features = model.network.model_dump(mode="json"), model.features.model_dump(mode="json")
    return _reading({**network, "features": features})


def _recipe_of(summary: StepSummary) -> Mapping[str, Any]:
    recipe = completed(summary.identity.get("recipe"))
    return recipe if isinstance(recipe, Mapping) else {}


def _record_of(folder: Path, summary: StepSummary) -> tuple[dict[str, str] | None, tuple[str, ...]]:
    """Read what the run of a step recorded of its music, and the credits of the VQ-VAE that it learned on from."""
    data_sha256 = summary.identity.get("data_sha256")
    begun: tuple[str, ...] = ()
    if (folder / START).is_dir():
        begun = read_step(folder / START).credits({str(data_sha256)})
    elif (start_sha256 := summary.identity.get("start_sha256")) is not None:
        begun = (f"Step 1 learned on from a VQ-VAE that no record beside it names (sha256 {start_sha256}).",)
    record = folder.parent / RUN
    run = read_json(record) if record.is_file() else {}
    data = run.get("data")
    if data is None or run.get("identity", {}).get("data_sha256") != data_sha256:
        return None, begun
    return {key: str(data.get(key, "")) for key in ("name", "licence", "citation")}, tuple(
        run.get("start_credits", begun)
    )


def _weights_of_model(model: Bundle, config: VQVAEConfig) -> dict[str, Tensor]:
    """Give the VQ-VAE of a model as training has it: with batch norm's counters, which nothing reads.

    Raises:
        TrainingError: The model was written without its decoder.
    """
    weights = {
        name.removeprefix(_IN_A_MODEL): torch.from_numpy(value.copy())
        for name, value in model.weights.items()
        if name.startswith(_IN_A_MODEL)
    }
    if not model.config.decoder:
        raise TrainingError(f"the model '{model.name}' was written without its decoder; it cannot stand for a step 1")
    counters = {name: value for name, value in VQVAE(config).state_dict().items() if not value.is_floating_point()}
    return counters | weights


def _step_folder(given: str | Path) -> Path:
    # Twice where step 1 learned from a data set of its own: it is a run in the folder of the step then.
    folder = Path(given)
    while (folder / STEP_1).is_dir():
        folder = folder / STEP_1
    return folder


def _summary(folder: Path) -> StepSummary:
    summary = read_summary(folder)
    if summary is None or summary.step != 1:
        raise TrainingError(
            f"'{folder}' holds no finished step 1 and no model; train one with: moodbook train vqvae, or name a model: "
            f"{', '.join(list_models())}"
        )
    return summary
