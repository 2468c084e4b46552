"""`moodbook reproduce`: a whole experiment, from the index to the report."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.errors import SOME_FILES_FAILED, ends_with_exit_code
from moodbook.cli.paths import path_option
from moodbook.errors import DependencyError, RecipeError

if TYPE_CHECKING:
    from moodbook.training.report import Report
    from moodbook.training.table_2 import Table2

Data = Annotated[str, typer.Option("--data", help="A data set's name, an index (CSV), or a folder of tag folders.")]
Run = Annotated[Path, path_option("--run", help="Folder of the run: everything is written there.")]
Audio = Annotated[Path | None, path_option("--audio", help="Where the paths of the index start.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="A narrow network and two epochs: proves that all works.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run that is in the folder.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Instead of the recipe's seed.")]
Cache = Annotated[
    Path | None, path_option("--cache", help="Where features and codes are kept, for several runs; default RUN/cache.")
]


@ends_with_exit_code
def reproduce(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe, a TOML file, or 'table-2' for every row of the paper's table.")
    ],
    data: Data,
    run: Run,
    audio: Audio = None,
    smoke: Smoke = False,
    resume: Resume = False,
    seed: Seed = None,
    vqvae: Annotated[
        list[str] | None,
        typer.Option(
            "--vqvae",
            metavar="MODEL|DIR",
            help="Instead of training step 1: a model's name or folder ('open'), or a finished step 1; table-2 takes "
            "several.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="What the model is called, instead of the recipe's name.")
    ] = None,
    cache: Cache = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Train and test a recipe on a data set, and print the report.

    Tags of your own, on any processor: moodbook reproduce own --data MUSIC --run RUN. To tag with them:
    moodbook tag --model RUN/bundle.

    Exit code 1: the run is finished, but some tracks could not be read and were left out.
    """
    require_training()
    from moodbook.datasets import open_dataset
    from moodbook.training import table_2
    from moodbook.training.machine import Machine
    from moodbook.training.progress import display_for
    from moodbook.training.reproduce import reproduce as run_experiment

    given = vqvae or []
    outcome: Table2 | Report
    if recipe == table_2.NAME:
        if name is not None:
            raise RecipeError(f"--name names one model, and {table_2.NAME} makes several; leave it out")
        outcome = table_2.reproduce_table_2(
            open_dataset(data, audio),
            run,
            smoke=smoke,
            seed=seed,
            resume=resume,
            display=display_for(),
            cache=cache,
            vqvae=given,
        )
        failed = table_2.failed_tracks(list(outcome.reports.values()))
    else:
        if len(given) > 1:
            raise RecipeError(f"one recipe takes one --vqvae, got {len(given)}; only {table_2.NAME} takes several")
        outcome = run_experiment(
            table_2.prepared_recipe(recipe, smoke, seed),
            open_dataset(data, audio),
            run,
            resume=resume,
            display=display_for(),
            cache=cache,
            vqvae=given[0] if given else None,
            name=name,
        )
        failed = table_2.failed_tracks([outcome])
    if Machine().is_main:
        sys.stdout.write(json.dumps(outcome.to_json()) + "\n" if as_json else outcome.to_text())
    if failed:
        raise typer.Exit(SOME_FILES_FAILED)


def require_training() -> None:
    """Check that what training needs is installed.

    Raises:
        DependencyError: torch, accelerate or scikit-learn is missing.
    """
    for module, package in (("torch", "torch"), ("accelerate", "accelerate"), ("sklearn", "scikit-learn")):
        try:
            __import__(module)
        except ImportError:
            raise DependencyError(package, "train") from None
