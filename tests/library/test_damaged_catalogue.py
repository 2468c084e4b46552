"""A catalogue that SQLite accepts and no scan has written: every verb says that it is damaged, and what is wrong."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from tests.library.conftest import enter
from typer.testing import CliRunner

from moodbook.cli.app import app
from moodbook.errors import CatalogueError
from moodbook.library.catalogue import Catalogue
from moodbook.library.check import check_catalogue
from moodbook.library.schema import VERSION
from moodbook.model.bundle import Bundle

Spoil = Callable[[str], Path]
Tree = Callable[[dict[str, str]], Path]

STATS, SEARCH, SORTED = ("stats", "--json"), ("search", "calm > 0"), ("search", "", "--sort", "calm")
NAMED, MOODY, PLACED = ("search", "artist:x"), ("search", "mood:x"), ("search", "path:x")
EXPORT, SIMILAR, SCAN = ("export", "--output", "t.jsonl"), ("similar", "/a.flac"), ("scan", "music")
ALL = (STATS, SEARCH, SORTED, EXPORT, SIMILAR)

SPOILT = {
    "UPDATE analysis SET probabilities = x'00'": (ALL, "scores of .* expected 4 numbers|are not 4 numbers"),
    "UPDATE analysis SET probabilities = 'text'": (ALL, "scores|'text'"),
    "UPDATE analysis SET probabilities = x'0000c07f0000c07f0000c07f0000c07f'": ((STATS, EXPORT), "no finite number"),
    "UPDATE analysis SET probabilities = x'00000041000000410000004100000041'": ((STATS, EXPORT), "not from 0 to 1"),
    "UPDATE analysis SET music = 'much'": ((STATS, EXPORT, SIMILAR), "'much'"),
    "UPDATE analysis SET embedding = x'00' WHERE payload_id = 2": ((SIMILAR,), "1 bytes, expected 3 numbers"),
    "UPDATE analysis SET embedding = x'0000c07f0000c07f0000c07f'": ((SIMILAR,), "no finite number"),
    "UPDATE payload SET duration_seconds = 'long'": ((STATS, EXPORT), "the length of a recording|'long'"),
    "UPDATE payload SET duration_seconds = 9e999": ((STATS, EXPORT), "length"),
    "UPDATE file SET moods = '{nope'": ((EXPORT, SIMILAR, MOODY), "the moods of .* '{nope', expected a JSON list"),
    "UPDATE file SET moods = '[1]'": ((EXPORT, SIMILAR, MOODY), "the moods of .* expected a JSON list of texts"),
    "UPDATE file SET artist = x'ff'": ((EXPORT, NAMED), r"b'\\xff'"),
    "UPDATE file SET artist = CAST(x'ff' AS TEXT)": ((EXPORT,), "Could not decode to UTF-8"),
    "UPDATE file SET path = '/' || id": ((EXPORT, PLACED, SCAN), "'/1'"),
    "UPDATE model SET tags = 'x'": ((*ALL, SCAN), "the tags of 'tiny' are 'x', expected a JSON list of texts"),
    "UPDATE model SET tags = '[1]'": ((*ALL, SCAN), r"the tags of 'tiny' are '\[1\]', expected a JSON list of texts"),
    'UPDATE model SET tags = \'["a", "a"]\'': ((STATS,), "the tags of 'tiny': tag 'a' stands twice"),
    "UPDATE model SET thresholds = '[0.5]'": ((STATS, SCAN), "the thresholds of 'tiny' .* a JSON list of 4 numbers"),
    "UPDATE model SET name = x'00'": ((STATS,), "what it keeps of model 1 holds"),
    "INSERT INTO failure SELECT id, 1, x'ff' FROM payload": ((SCAN,), "a recording that could not be heard"),
    "PRAGMA user_version = -5": ((*ALL, SCAN), "it has version -5, which there never was"),
    f"PRAGMA user_version = {VERSION - 1}": ((SCAN,), "duplicate column name"),
    "DROP TABLE file": ((*ALL, SCAN), "no such table: (main.)?file"),
}


@pytest.fixture
def spoil(tmp_path: Path, tiny_bundle: Bundle) -> Spoil:
    """Make a catalogue of two recordings, and spoil it with a statement."""

    def make(statement: str) -> Path:
        path = tmp_path / "c.sqlite"
        with Catalogue(path, create=True) as catalogue:
            model = catalogue.use_model(tiny_bundle)
            for name in ("/a.flac", "/b.flac"):
                enter(catalogue, model, name, [0.6, 0.2, 0.1, 0.3], embedding=np.ones(3, np.float32))
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(statement)
        connection.close()
        return path

    return make


@pytest.fixture
def tracebacks_of_sqlite() -> Iterator[None]:
    """Let SQLite print what its functions raise, as beets does; a print so is a failure here."""
    sqlite3.enable_callback_tracebacks(True)
    yield
    sqlite3.enable_callback_tracebacks(False)


@pytest.mark.usefixtures("tracebacks_of_sqlite")
@pytest.mark.parametrize("statement", SPOILT)
def test_a_wrong_content_is_said_to_be_damage(
    spoil: Spoil, statement: str, tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tree: Tree
) -> None:
    path = spoil(statement)
    tree({"a.flac": "lava"})
    monkeypatch.chdir(tmp_path)
    verbs, what = SPOILT[statement]
    for verb in verbs:
        model = ("--model", str(tiny_bundle.folder)) if verb is SCAN else ()
        done = CliRunner().invoke(app, [*verb, *model, "--catalogue", str(path)])
        said = " ".join(done.stderr.split())
        assert done.exit_code == 2, (verb, done.output)
        assert said.startswith(f"moodbook: the catalogue '{path}' is damaged: "), (verb, said)
        assert said.endswith("; move it away and scan again, or restore a copy"), (verb, said)
        assert re.search(what, said), (verb, said)


def test_a_negative_version_of_another_program_is_let_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript("PRAGMA user_version = -5; CREATE TABLE bookmarks (x)")
    connection.close()
    with pytest.raises(CatalogueError, match="is a database of another program"):
        Catalogue(path, create=True)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE analysis SET probabilities = x'00'",
        "UPDATE analysis SET music = 'much'",
        "UPDATE analysis SET embedding = x'00' WHERE payload_id = 2",
        "UPDATE file SET path = '/' || id",
        "UPDATE model SET tags = 'x'",
        "INSERT INTO failure SELECT id, 1, x'ff' FROM payload",
        "DROP TABLE file",
    ],
)
def test_a_catalogue_is_looked_through(spoil: Spoil, statement: str) -> None:
    with Catalogue(spoil(statement)) as catalogue, pytest.raises(CatalogueError, match="is damaged: "):
        check_catalogue(catalogue)


def test_a_sound_catalogue_passes(spoil: Spoil) -> None:
    with Catalogue(spoil("SELECT 1")) as catalogue:
        check_catalogue(catalogue)


@pytest.fixture
def call(tmp_path: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run `write` with the tiny model and a catalogue of its own; nothing is written."""
    monkeypatch.setenv("MOODBOOK_CATALOGUE", str(tmp_path / "c.sqlite"))
    options = ["--top", "1", "--model", str(tiny_bundle.folder), "--journal", str(tmp_path / "journal")]
    return lambda *arguments: CliRunner().invoke(app, ["write", *options, *map(str, arguments)])


def spoil_pages(path: Path) -> None:
    """Spoil all but the first page of a catalogue, which opens as before."""
    data = bytearray(path.read_bytes())
    data[4_096:] = b"\xa5" * (len(data) - 4_096)
    path.write_bytes(data)


def spoil_scores(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE analysis SET probabilities = x'00'")
    connection.close()


@pytest.mark.parametrize("how", [spoil_pages, spoil_scores])
def test_write_listens_where_the_users_own_catalogue_is_damaged(
    tree: Tree, call: Callable[..., Result], tmp_path: Path, tiny_bundle: Bundle, how: Callable[[Path], None]
) -> None:
    root, path = tree({"a.flac": "lava", "b.flac": "taiko"}), tmp_path / "c.sqlite"
    scanned = CliRunner().invoke(app, ["scan", str(root), "--model", str(tiny_bundle.folder), "--catalogue", str(path)])
    assert scanned.exit_code == 0, scanned.output
    sound = call(root)
    assert "the catalogue knew 2 files, 0 listened to" in sound.stderr
    how(path)

    done = call(root)

    assert done.exit_code == 0, done.output
    assert done.stderr.startswith("moodbook: every file is listened to: ")
    assert "damaged" in done.stderr
    assert done.stdout == sound.stdout

    named = call(root, "--catalogue", path)
    assert named.exit_code == 2
    assert "damaged" in named.stderr
    assert "listened" not in named.stderr
