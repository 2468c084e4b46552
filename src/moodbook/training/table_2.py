"""The paper's Table 2: every row run anew, and printed beside the published one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moodbook.datasets.dataset import Dataset
from moodbook.errors import TrainingError
from moodbook.training.checkpoint import write_json, write_text
from moodbook.training.given import fits
from moodbook.training.progress import Display
from moodbook.training.recipe import Recipe, read_recipe
from moodbook.training.report import Report, figure_and_interval
from moodbook.training.reproduce import reproduce
from moodbook.training.run_folder import CACHE
from moodbook.training.step import CHECKPOINT_SECONDS

NAME = "table-2"
"""What takes the place of a recipe's name on the command line."""


@dataclass(frozen=True)
class PublishedRow:
    """A row of Table 2 on the test split of MTG-Jamendo, recomputed from the published arrays.

    Args:
        title: The system, as the paper calls it.
        roc_auc: Macro ROC-AUC.
        pr_auc: Macro PR-AUC.
        f_macro: Macro F as published. The five runs' thresholds were stored in one tag order and applied in another,
            and all were fitted on the test truth.
        f_micro: Micro F as published.
        f_macro_right_order: Macro F with the thresholds in the right order; None where they were.
        f_micro_right_order: Micro F likewise.
    """

    title: str
    roc_auc: float
    pr_auc: float
    f_macro: float
    f_micro: float
    f_macro_right_order: float | None = None
    f_micro_right_order: float | None = None


PUBLISHED: Mapping[str, PublishedRow] = {
    "popularity": PublishedRow("Popularity", 0.5000, 0.0319, 0.0026, 0.0573),
    "vggish": PublishedRow("VGG-ish", 0.7258, 0.1077, 0.1657, 0.1771),
    "run-1": PublishedRow("Run-1", 0.7103, 0.0984, 0.1183, 0.1439, 0.1552, 0.1614),
    "run-2": PublishedRow("Run-2", 0.7141, 0.1037, 0.0901, 0.1184, 0.1568, 0.1525),
    "run-3": PublishedRow("Run-3", 0.7147, 0.0994, 0.1013, 0.1233, 0.1554, 0.1539),
    "run-4": PublishedRow("Run-4", 0.7207, 0.1077, 0.1068, 0.1522, 0.1602, 0.1663),
    "run-5": PublishedRow("Run-5", 0.6916, 0.0860, 0.0884, 0.1209, 0.1408, 0.1404),
}
"""The rows, by recipe. The popularity row's F columns stand swapped in the paper; these are recomputed."""

PUBLISHED_DATA = "jamendo-moodtheme"
"""The data set of the published rows, in its split 0."""
PUBLISHED_TEST_TRACKS = 4231
"""Tracks of its test split."""


@dataclass(frozen=True)
class Table2:
    """Every row of the table.

    Args:
        reports: The report of each recipe, in the order of `PUBLISHED`.
    """

    reports: Mapping[str, Report]

    def to_json(self) -> dict[str, Any]:
        """Give the document of table-2.json."""
        return {
            "published": {recipe: vars(PUBLISHED[recipe]) for recipe in self.reports},
            "reports": {recipe: report.to_json() for recipe, report in self.reports.items()},
        }

    def to_text(self) -> str:
        """Give the printed table: the published figure stands below ours."""
        first = next(iter(self.reports.values()))
        counts = ", ".join(f"{count:,} {split}" for split, count in first.tracks.items())
        columns = ("ROC-AUC macro", "PR-AUC macro", "F macro", "F micro")
        lines = [f"Table 2 on {first.data}: {counts} tracks, {len(first.tags)} tags", ""]
        lines.append(f"{'':<14}" + "".join(f"  {column:<23}" for column in columns).rstrip())
        for recipe, report in self.reports.items():
            row = PUBLISHED[recipe]
            ours = (
                _ours(report, "macro", "roc_auc"),
                _ours(report, "macro", "pr_auc"),
                _ours(report, "macro", "f_score"),
                _ours(report, "micro", "f_score"),
            )
            published = (
                f"{row.roc_auc:.4f}",
                f"{row.pr_auc:.4f}",
                _published_f(row.f_macro, row.f_macro_right_order),
                _published_f(row.f_micro, row.f_micro_right_order),
            )
            lines.append(_line(row.title, ours))
            lines.append(_line("  published", published))
        lines += [
            "",
            f"{first.brackets} Our thresholds are fitted on validation;",
            "the published F was fitted on test, and that of the five runs suffers from thresholds in a wrong tag",
            "order (behind the arrow: in the right one).",
        ]
        if first.too_narrow is not None:
            lines.append(f"Note: {first.too_narrow}.")
        if first.data != PUBLISHED_DATA or first.tracks["test"] != PUBLISHED_TEST_TRACKS:
            lines.append(
                f"The published rows are of {PUBLISHED_TEST_TRACKS:,} test tracks of {PUBLISHED_DATA}: other data do "
                "not compare."
            )
        return "\n".join(lines) + "\n"


def reproduce_table_2(
    dataset: Dataset,
    run_folder: str | Path,
    *,
    smoke: bool = False,
    seed: int | None = None,
    resume: bool = False,
    display: Display | None = None,
    cache: str | Path | None = None,
    vqvae: Sequence[str | Path] = (),
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Table2:
    """Run every row, each in its own folder below `run_folder`; they share features, codes and step 1.

    Runs whose step 1 is the same (Runs 1 to 4) train it once: the first one's is given to the others, which would
    arrive at the same weights.

    Args:
        dataset: On what.
        run_folder: Where everything is written, and ``table-2.json`` and ``table-2.txt``.
        smoke: Narrow networks, two epochs.
        seed: Instead of the recipes' seed.
        resume: Go on with the runs that are in the folder.
        display: Shows the progress; default: nothing.
        cache: Where features and codes are kept; default: ``cache`` in the folder.
        vqvae: Finished steps 1 to use instead of training them; each run takes the first that is of its VQ-VAE and
            features, and trains its own where there is none.
        checkpoint_seconds: Longest time between two checkpoints.

    Raises:
        TrainingError: As `reproduce`.
        DataError: As `reproduce`.
    """
    recipes = [prepared_recipe(name, smoke, seed) for name in PUBLISHED]
    for given in vqvae:
        if not any(fits(recipe, given) for recipe in recipes if recipe.vqvae is not None):
            raise TrainingError(f"the VQ-VAE of '{given}' is that of no row of the table; leave it out")
    folder = Path(run_folder)
    display = display or Display()
    reports: dict[str, Report] = {}
    for name, row in PUBLISHED.items():
        recipe = prepared_recipe(name, smoke, seed)
        display.note(f"== {row.title}: recipe {recipe.name}")
        trained = [folder / other for other in reports if _same_step_1(recipe, prepared_recipe(other, smoke, seed))]
        reports[name] = reproduce(
            recipe,
            dataset,
            folder / name,
            resume=resume,
            display=display,
            cache=folder / CACHE if cache is None else cache,
            vqvae=next((path for path in vqvae if fits(recipe, path)), trained[0] if trained else None),
            checkpoint_seconds=checkpoint_seconds,
        )
    table = Table2(reports)
    write_json(folder / f"{NAME}.json", table.to_json())
    write_text(folder / f"{NAME}.txt", table.to_text())
    return table


def prepared_recipe(name: str | Path, smoke: bool, seed: int | None) -> Recipe:
    """Read a recipe, make it narrow if asked, and set the seed if one is given.

    Raises:
        RecipeError: There is no such recipe, or it is wrong.
    """
    recipe = read_recipe(name)
    if smoke:
        recipe = recipe.smoke()
    return recipe if seed is None else recipe.model_copy(update={"seed": seed})


def failed_tracks(reports: Sequence[Report]) -> list[str]:
    """Name the tracks that some run could not read."""
    return sorted({skipped.track_id for report in reports for skipped in report.unreadable})


def _same_step_1(one: Recipe, other: Recipe) -> bool:
    parts = ("vqvae", "step_1", "features", "data", "seed")
    return one.step_1 is not None and all(getattr(one, part) == getattr(other, part) for part in parts)


def _ours(report: Report, average: str, figure: str) -> str:
    return figure_and_interval(getattr(getattr(report.test, average), figure), report.interval(average, figure))


def _published_f(published: float, right_order: float | None) -> str:
    return f"{published:.4f}" + ("" if right_order is None else f" -> {right_order:.4f}")


def _line(title: str, cells: Sequence[str]) -> str:
    return f"{title:<14}" + "".join(f"  {cell:<23}" for cell in cells).rstrip()
