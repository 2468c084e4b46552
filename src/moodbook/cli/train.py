"""`moodbook train`: one step of an experiment alone."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.errors import SOME_FILES_FAILED, ends_with_exit_code
from moodbook.cli.reproduce import Audio, Cache, Data, Resume, Run, Seed, Smoke, require_training

if TYPE_CHECKING:
    from moodbook.training.reproduce import StepAlone

train_app = typer.Typer(name="train", help="Train one step of an experiment alone.", no_args_is_help=True)

RecipeName = Annotated[str, typer.Option("--recipe", help="Name of a recipe, or a TOML file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print how the step ended as JSON.")]


@train_app.command("vqvae")
@ends_with_exit_code
def vqvae(
    data: Data,
    run: Run,
    recipe: RecipeName = "run-1",
    audio: Audio = None,
    smoke: Smoke = False,
    resume: Resume = False,
    seed: Seed = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Step 1: train a VQ-VAE to reconstruct music, without labels.

    Exit code 1: the step is finished, but some tracks could not be read and were left out.
    """
    require_training()
    from moodbook.datasets import open_dataset
    from moodbook.training.progress import display_for
    from moodbook.training.reproduce import train_vqvae
    from moodbook.training.table_2 import prepared_recipe

    step = train_vqvae(
        prepared_recipe(recipe, smoke, seed),
        open_dataset(data, audio),
        run,
        resume=resume,
        display=display_for(),
        cache=cache,
    )
    _end(step, as_json)


@train_app.command("tagger")
@ends_with_exit_code
def tagger(
    data: Data,
    run: Run,
    recipe: RecipeName = "run-4",
    vqvae: Annotated[
        str | None,
        typer.Option(
            "--vqvae",
            metavar="MODEL|DIR",
            help="A model's name or folder, or a finished step 1; without it a recipe with a VQ-VAE trains one.",
        ),
    ] = None,
    audio: Audio = None,
    smoke: Smoke = False,
    resume: Resume = False,
    seed: Seed = None,
    cache: Cache = None,
    as_json: AsJson = False,
) -> None:
    """Step 2: train a classifier on tagged music.

    Nothing is tested or calibrated, and a recipe with folds is refused: `moodbook reproduce` does that.

    Exit code 1: the step is finished, but some tracks could not be read and were left out.
    """
    require_training()
    from moodbook.datasets import open_dataset
    from moodbook.training.progress import display_for
    from moodbook.training.reproduce import train_tagger
    from moodbook.training.table_2 import prepared_recipe

    step = train_tagger(
        prepared_recipe(recipe, smoke, seed),
        open_dataset(data, audio),
        run,
        vqvae=vqvae,
        resume=resume,
        display=display_for(),
        cache=cache,
    )
    _end(step, as_json)


def _end(step: StepAlone, as_json: bool) -> None:
    """Print how the step ended, and exit as its tracks ask."""
    from moodbook.training.machine import Machine

    summary = step.summary
    if Machine().is_main:
        if as_json:
            unreadable = [skipped._asdict() for skipped in step.unreadable]
            document = {**vars(summary), "folder": str(step.folder), "unreadable": unreadable}
            sys.stdout.write(json.dumps(document) + "\n")
        else:
            sys.stdout.write(
                f"Step {summary.step}: best epoch {summary.best_epoch} of {summary.epochs}, validation "
                f"{summary.watched} {summary.best:.4f}. Weights: {step.folder / 'weights.safetensors'}\n"
            )
    if step.unreadable:
        raise typer.Exit(SOME_FILES_FAILED)
