"""A finished step 1, of this run or of another: what it learned, and whether a recipe can build on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moodbook.errors import TrainingError
from moodbook.model.tensors import Storage, round_to_storage
from moodbook.training.recipe import Recipe
from moodbook.training.run_folder import STEP_1, require_same
from moodbook.training.step import StepSummary, read_summary, read_weights


@dataclass(frozen=True)
class LearnedVQVAE:
    """What step 1 learned.

    Args:
        weights: The VQ-VAE's weights by name.
        summary: How the step ended.
    """

    weights: dict[str, Tensor]
    summary: StepSummary


def rounded(weights: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """Give weights as a bundle will hold them, so that what is learned on top of them is learned on those.

    Raises:
        ModelError: A weight leaves the range of float16.
    """
    floats = {name: value.cpu().numpy() for name, value in weights.items() if value.is_floating_point()}
    kept = {name: torch.from_numpy(value) for name, value in round_to_storage(floats, storage).items()}
    return {name: kept.get(name, value) for name, value in weights.items()}


def open_vqvae(recipe: Recipe, folder: Path) -> LearnedVQVAE:
    """Read a finished step 1 for a recipe.

    Args:
        recipe: The recipe that builds on it.
        folder: The folder of the step, or of its run.

    Raises:
        TrainingError: The recipe has no VQ-VAE, or there is no finished step 1 of this VQ-VAE on these features.
    """
    if recipe.vqvae is None:
        raise TrainingError(f"recipe '{recipe.name}' has no VQ-VAE to load '{folder}' into; leave --vqvae out")
    summary = _summary(folder)
    require_same(_reading(recipe.model_dump(mode="json")), _reading(summary.identity.get("recipe", {})), folder)
    return LearnedVQVAE(read_weights(_step_folder(folder)).tensors, summary)


def fits(recipe: Recipe, folder: Path) -> bool:
    """Say whether a finished step 1 is of a recipe's VQ-VAE and features.

    Raises:
        TrainingError: The folder holds no finished step 1.
    """
    trained = _summary(folder).identity.get("recipe", {})
    return _reading(trained) == _reading(recipe.model_dump(mode="json"))


def _reading(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Give the parts of a recipe that decide which codes a segment becomes."""
    return {part: recipe.get(part) for part in ("vqvae", "features")}


def _step_folder(folder: Path) -> Path:
    # Twice where step 1 learned from a data set of its own: it is a run in the folder of the step then.
    while (folder / STEP_1).is_dir():
        folder = folder / STEP_1
    return folder


def _summary(folder: Path) -> StepSummary:
    summary = read_summary(_step_folder(folder))
    if summary is None or summary.step != 1:
        raise TrainingError(f"'{folder}' holds no finished step 1; train one with: moodbook train vqvae")
    return summary
