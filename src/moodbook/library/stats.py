"""A library in numbers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from moodbook.library.catalogue import Catalogue
from moodbook.library.known_model import Model
from moodbook.library.stored import damaged, is_number


@dataclass(frozen=True)
class TagStats:
    """How a tag lies over a library.

    Attributes:
        tag: Its name.
        decided: Recordings that have it.
        mean: Its mean score.
    """

    tag: str
    decided: int
    mean: float


@dataclass(frozen=True)
class ModelStats:
    """A model that has scanned.

    Attributes:
        name: Its name.
        sha256: The first of its hash.
        recordings: That it has heard.
        precisions: How many of them in which precision; those of older catalogues in none.
    """

    name: str
    sha256: str
    recordings: int
    precisions: dict[str, int]


@dataclass(frozen=True)
class LibraryStats:
    """A library in numbers.

    Attributes:
        files: That are there.
        missing: That the last scan did not find.
        recordings: Different music in the files that are there.
        duplicates: Files that hold music which another one holds too, less one of each.
        heard: Recordings that the model has heard.
        failed: Recordings that it could not hear.
        hours: Of the heard recordings.
        models: Every model that has scanned, the one that was used last first.
        tags: The model's tags, most decided first.
        model: Whose tags.
    """

    files: int
    missing: int
    recordings: int
    duplicates: int
    heard: int
    failed: int
    hours: float
    models: tuple[ModelStats, ...]
    tags: tuple[TagStats, ...]
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Give the record that is written as JSON."""
        return {
            "files": self.files,
            "missing": self.missing,
            "recordings": self.recordings,
            "duplicates": self.duplicates,
            "heard": self.heard,
            "failed": self.failed,
            "hours": round(self.hours, 3),
            "models": [asdict(model) for model in self.models],
            "model": self.model,
            "tags": [{"tag": tag.tag, "decided": tag.decided, "mean": round(tag.mean, 6)} for tag in self.tags],
        }


def measure(catalogue: Catalogue, model: Model) -> LibraryStats:
    """Count what a catalogue holds.

    Raises:
        CatalogueError: It cannot be read.
    """
    there = "SELECT payload_id FROM file WHERE missing_since IS NULL"
    with catalogue.reading() as connection:
        files, missing, recordings = connection.execute(
            "SELECT count(*) FILTER (WHERE missing_since IS NULL), count(*) FILTER (WHERE missing_since IS NOT NULL),"
            " count(DISTINCT payload_id) FILTER (WHERE missing_since IS NULL) FROM file"
        ).fetchone()
        (failed,) = connection.execute(
            f"SELECT count(*) FROM failure WHERE model_id = ? AND payload_id IN ({there})",  # noqa: S608
            (model.id,),
        ).fetchone()
        rows = connection.execute(
            f"""
            SELECT probabilities, duration_seconds, music FROM analysis JOIN payload ON payload.id = payload_id
            WHERE model_id = ? AND payload_id IN ({there})
            """,  # noqa: S608
            (model.id,),
        ).fetchall()
        counts: dict[int, dict[str, int]] = defaultdict(dict)
        for number, precision, count in connection.execute(
            "SELECT model_id, coalesce(precision, ''), count(*) FROM analysis GROUP BY 1, 2 ORDER BY 1, 2"
        ):
            counts[number][precision] = count
    scores = model.scores([packed for packed, _, _ in rows])
    is_music = np.array([model.is_music(music) for _, _, music in rows], dtype=bool)
    if not all(is_number(seconds) for _, seconds, _ in rows):
        raise damaged(catalogue.path, "the length of a recording is no number")
    decided = ((scores > np.array(model.thresholds)) & is_music[:, None]).sum(axis=0)
    means = scores.mean(axis=0, dtype=np.float64) if len(scores) else np.zeros(len(model.tags))
    tags = [TagStats(tag, int(count), float(mean)) for tag, count, mean in zip(model.tags, decided, means, strict=True)]
    return LibraryStats(
        files=files,
        missing=missing,
        recordings=recordings,
        duplicates=files - recordings,
        heard=len(rows),
        failed=failed,
        hours=sum(seconds or 0.0 for _, seconds, _ in rows) / 3600,
        models=tuple(_model_stats(known, counts[known.id]) for known in catalogue.models()),
        tags=tuple(sorted(tags, key=lambda tag: (-tag.decided, -tag.mean))),
        model=model.name,
    )


def _model_stats(model: Model, counts: dict[str, int]) -> ModelStats:
    known = {precision: count for precision, count in counts.items() if precision}
    return ModelStats(model.name, model.sha256[:8], sum(counts.values()), known)
