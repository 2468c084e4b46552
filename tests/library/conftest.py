"""Catalogues with known contents, and trees of short recordings."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from moodbook.audio import load
from moodbook.library.catalogue import Catalogue
from moodbook.library.identity import Stat
from moodbook.library.known_model import Model
from moodbook.library.metadata import Metadata
from moodbook.model.bundle import Bundle
from moodbook.model.scores import TagScores
from moodbook.model.tagger import Tagger

RECORDINGS = Path(__file__).parents[2] / "examples" / "recordings"
"""Real music that comes with the project."""


def cut(recording: str, path: Path, start: float = 2.0, seconds: float = 2.0) -> Path:
    """Write a stretch of an example recording as FLAC, whatever the name of the file."""
    samples = load(RECORDINGS / f"{recording}.opus", start_seconds=start, duration_seconds=seconds)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.9 * samples, 22_050, format="FLAC")
    return path


def dump(path: Path) -> dict[str, Any]:
    """Give all that a catalogue says, without the numbers of rows and the times."""
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            assert connection.execute("SELECT * FROM sqlite_master").fetchall() == []
            return {"files": [], "analyses": [], "failures": [], "payloads": []}
        files = connection.execute(
            "SELECT path, sha256, size, mtime_ns, inode, artist, title, album, moods, missing_since IS NOT NULL"
            " FROM file JOIN payload ON payload.id = payload_id ORDER BY path"
        ).fetchall()
        analyses = connection.execute(
            "SELECT payload.sha256, model.sha256, probabilities, embedding, note, duration_seconds FROM analysis"
            " JOIN payload ON payload.id = payload_id JOIN model ON model.id = model_id ORDER BY 1, 2"
        ).fetchall()
        failures = connection.execute(
            "SELECT payload.sha256, model.sha256, reason FROM failure"
            " JOIN payload ON payload.id = payload_id JOIN model ON model.id = model_id ORDER BY 1, 2"
        ).fetchall()
        payloads = connection.execute("SELECT sha256 FROM payload ORDER BY 1").fetchall()
    finally:
        connection.close()
    return {"files": files, "analyses": analyses, "failures": failures, "payloads": payloads}


def enter(
    catalogue: Catalogue,
    model: Model,
    path: str,
    probabilities: list[float],
    *,
    sha256: str = "",
    seconds: float | None = 60.0,
    embedding: np.ndarray | None = None,
    music: float | None = None,
    metadata: Metadata | None = None,
) -> int:
    """Enter a made-up recording; give its row."""
    file = catalogue.enter_file(
        Path(path), Stat(1, 2, "3"), sha256 or path.encode("utf-8", "surrogateescape").hex(), metadata or Metadata()
    )
    values = np.array(probabilities, dtype=np.float32)
    scores = TagScores(
        path=Path(path),
        tags=model.tags,
        probabilities=values,
        decisions=values > np.array(model.thresholds),
        taggram=values[None],
        filled=np.ones(1, np.float32),
        segment_seconds=23.8,
        duration_seconds=seconds,
        padded=False,
        note="",
        model_name=model.name,
        model_sha256=model.sha256,
        precision="f32",
        embedding=embedding,
        music=music,
    )
    catalogue.enter_scores(file.payload_id, model, scores)
    return file.payload_id


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """An empty catalogue."""
    with Catalogue(tmp_path / "catalogue.sqlite", create=True) as opened:
        yield opened


@pytest.fixture
def model(catalogue: Catalogue, tiny_bundle: Bundle) -> Model:
    """The tiny model, entered: calm, dark, epic, fast; thresholds 0.5."""
    return catalogue.use_model(tiny_bundle)


@pytest.fixture(scope="session")
def tagger(tiny_bundle: Bundle) -> Tagger:
    """The tiny model, running."""
    return Tagger(tiny_bundle)


@pytest.fixture(scope="session")
def _recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("cuts")
    names = ("lava", "taiko", "rlyeh", "geoscape")
    return {name: cut(name, folder / name).read_bytes() for name in names}


@pytest.fixture
def tree(tmp_path: Path, _recordings: dict[str, bytes]) -> Callable[[dict[str, str]], Path]:
    """Write a tree: names to the recording (lava, taiko, rlyeh, geoscape) whose first seconds each file holds."""

    def write(files: dict[str, str]) -> Path:
        root = tmp_path / "music"
        for name, recording in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_recordings[recording])
        return root

    return write
