"""A finished step 1, of this run, of another or of a model: what it learned, and whether a recipe can build on it."""

from __future__ import annotations

from collections.abc import Mapping
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
from moodbook.training.recipe import Recipe, completed
from moodbook.training.run_folder import RUN, STEP_1, differences
from moodbook.training.step import StepSummary, read_summary, read_weights
from moodbook.training.teacher.names import NETWORKS, TeacherName

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
        model: The model that it is of; None where it is a step's.
    """

    weights: Mapping[str, Tensor]
    sha256: str
    summary: StepSummary | None = None
    data: Mapping[str, str] | None = None
    teacher: TeacherName | None = None
    model: Bundle | None = None


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
    return LearnedVQVAE(weights, summary.weights_sha256, summary, _data_of(folder, summary), teacher)


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


def _data_of(folder: Path, summary: StepSummary) -> dict[str, str] | None:
    """Read what the run of a step recorded of its music, if that run lies around it."""
    record = folder.parent / RUN
    run = read_json(record) if record.is_file() else {}
    data, identity = run.get("data"), run.get("identity", {})
    if data is None or identity.get("data_sha256") != summary.identity.get("data_sha256"):
        return None
    return {key: str(data.get(key, "")) for key in ("name", "licence", "citation")}


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
