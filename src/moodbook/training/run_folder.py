"""The folder of a run: what was asked, on what, and what came out.

recipe.toml              the recipe, complete; `moodbook reproduce recipe.toml` repeats the run
run.json                 data and its hash, seed, precision, processes, library versions, git commit
metrics.jsonl            one line per epoch of either step
step-1/ step-2/          weights.safetensors and step.json, while training checkpoint.safetensors; in step-1/start the
                         run whose VQ-VAE it learns on from, where the recipe names its recipe
cache/                   features and codes (unless they are kept elsewhere)
thresholds.json          by tag name, fitted on validation, or on what the folds left out
validation.csv test.csv  probabilities, a row per track; of folds, "validation" is every track that one left out
report.json              the scores
bundle/                  the trained tagger
"""

from __future__ import annotations

import csv
import importlib.metadata
import io
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

import moodbook
from moodbook.errors import TrainingError
from moodbook.tags import TagSet
from moodbook.training.checkpoint import read_json, write_json, write_text
from moodbook.training.recipe import Recipe, completed, recipe_toml

RECIPE, RUN, METRICS, THRESHOLDS, REPORT = "recipe.toml", "run.json", "metrics.jsonl", "thresholds.json", "report.json"
STEP_1, STEP_2, START, CACHE, BUNDLE = "step-1", "step-2", "start", "cache", "bundle"

_LIBRARIES = ("numpy", "torch", "accelerate", "scikit-learn", "safetensors", "soundfile", "soxr", "av")


class MetricsLog:
    """The file ``metrics.jsonl``: one JSON object per epoch, written whole so that a resumed run has no line twice.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Replace the lines of a step; those of the other step stay.

        Raises:
            TrainingError: The file cannot be read or written.
        """
        kept = [row for row in self.read() if row["step"] != step]
        lines = sorted([*kept, *rows], key=lambda row: (row["step"], row["epoch"]))
        write_text(self._path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in lines))

    def read(self) -> list[dict[str, Any]]:
        """Read every line; none where there is no file yet.

        Raises:
            TrainingError: A line is not JSON.
        """
        if not self._path.is_file():
            return []
        try:
            return [json.loads(line) for line in self._path.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise TrainingError(f"cannot read '{self._path}': {error}. Delete it; a resumed run restores it") from error


def require_place(folder: Path, identity: Mapping[str, Any], resume: bool) -> None:
    """Find out whether a run can be begun in a folder, or gone on with; nothing is written.

    Args:
        folder: The folder of the run.
        identity: What a resumed run must agree on.
        resume: The folder may hold a run; it is checked to be the same one.

    Raises:
        TrainingError: The folder holds something and `resume` is not set, or it holds another run.
    """
    record = folder / RUN
    if resume and record.is_file():
        require_same(identity, read_json(record).get("identity", {}), folder)
    elif not resume and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TrainingError(
            f"'{folder}' is there already. Pass --resume to go on with the run in it, or name another folder"
        )


def begin_run(folder: Path, recipe: Recipe, identity: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Record a run in its folder, where it is not recorded yet.

    Args:
        folder: The folder of the run, as `require_place` wants it.
        recipe: The recipe.
        identity: What a resumed run must agree on.
        about: What else to note of a new run.

    Raises:
        TrainingError: A file cannot be written, or another run has been recorded there meanwhile.
    """
    record = folder / RUN
    if record.is_file():
        require_same(identity, read_json(record).get("identity", {}), folder)
        return
    write_text(folder / RECIPE, recipe_toml(recipe))
    write_json(
        record, {"identity": identity, "seed": recipe.seed, **about, "git": git_commit(), "versions": versions()}
    )


def require_same(asked: Mapping[str, Any], stored: Mapping[str, Any], folder: Path) -> None:
    """Refuse to mix two runs.

    Args:
        asked: What the run is asked to be.
        stored: What it was begun as, by an older version perhaps, whose recipes had fewer dials.
        folder: Where.

    Raises:
        TrainingError: The two differ; the message says in what.
    """
    if different := differences(asked, {**stored, "recipe": completed(stored.get("recipe"))}):
        raise TrainingError(
            f"'{folder}' belongs to another run: {'; '.join(different)}. Resume with what it was begun with, or name "
            "another folder"
        )


def differences(asked: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """Say in words in what two trees of settings differ; nothing where they do not."""
    flat_asked, flat_stored = _flat(asked), _flat(stored)
    return [
        f"{key} is {_shown(flat_stored.get(key))} there and {_shown(flat_asked.get(key))} now"
        for key in sorted({*flat_asked, *flat_stored})
        if flat_asked.get(key) != flat_stored.get(key)
    ]


def versions() -> dict[str, str]:
    """Name the versions of Moodbook, Python and the libraries that decide the numbers."""
    found = {"moodbook": moodbook.__version__, "python": platform.python_version()}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Give the commit of the checkout that Moodbook runs from, with ``-dirty`` where it was changed; None elsewhere."""
    root = Path(moodbook.__file__).parents[2]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    described = subprocess.run(  # noqa: S603 (fixed arguments, no shell)
        [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude", "*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return described.stdout.strip() or None


def write_probabilities(
    path: Path, track_ids: Sequence[str], probabilities: Float[np.ndarray, "tracks tags"], tags: TagSet
) -> None:
    """Write probabilities as CSV: ``track_id`` and a column per tag.

    Every digit is written: a tag is decided strictly above its threshold, which is the score of some track, and a
    rounded score would fall on the other side.

    Raises:
        TrainingError: The file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["track_id", *tags])
    for track_id, row in zip(track_ids, probabilities, strict=True):
        writer.writerow([track_id, *(repr(float(value)) for value in row)])
    write_text(path, text.getvalue())


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _shown(value: Any) -> str:
    return "not set" if value is None else json.dumps(value)
