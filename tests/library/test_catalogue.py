"""The catalogue as a file: versions, locks, damage; and what is kept in it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from tests.library.conftest import dump, enter

from moodbook.errors import CatalogueError, DataError, DependencyError
from moodbook.library import export
from moodbook.library.catalogue import Catalogue, catalogue_path
from moodbook.library.known_model import Model
from moodbook.library.metadata import Metadata
from moodbook.library.schema import MIGRATIONS, VERSION, migrate
from moodbook.library.search import search
from moodbook.library.stats import ModelStats, measure
from moodbook.model.bundle import Bundle


def test_it_is_made_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOODBOOK_CATALOGUE", str(tmp_path / "a" / "b" / "c.sqlite"))
    with pytest.raises(CatalogueError, match=r"there is no catalogue at '.*c\.sqlite'; make it with: moodbook scan"):
        Catalogue(catalogue_path())
    with Catalogue(catalogue_path(), create=True):
        pass
    with Catalogue(catalogue_path()) as catalogue:
        assert catalogue.models() == []
    monkeypatch.delenv("MOODBOOK_CATALOGUE")
    monkeypatch.setenv("MOODBOOK_DATA", str(tmp_path))
    assert catalogue_path() == tmp_path / "catalogue.sqlite"


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_it_is_read_where_nothing_can_be_written(tmp_path: Path, tiny_bundle: Bundle) -> None:
    # Not in tmp_path: pytest's own folders above it are closed to the user whom root becomes here.
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "c.sqlite"
        with Catalogue(path, create=True) as made:
            enter(made, made.use_model(tiny_bundle), "/a.flac", [0.5] * 4)
        assert [file.name for file in folder.iterdir()] == ["c.sqlite"]
        path.chmod(0o444)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        try:
            if root:
                os.seteuid(65_534)
            with Catalogue(path) as catalogue:
                assert [track.path for track in search(catalogue, "")] == [Path("/a.flac")]
                with pytest.raises(CatalogueError, match="cannot use the catalogue"):
                    catalogue.use_model(tiny_bundle)
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)
        # What the log holds and only it must not be passed over.
        (folder / "c.sqlite-wal").write_bytes(b"x" * 100)
        folder.chmod(0o555)
        try:
            if root:
                os.seteuid(65_534)
            with pytest.raises(CatalogueError, match="cannot use the catalogue"):
                Catalogue(path)
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """The folder of a disk of its own, of two megabytes."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs Linux")
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("needs the right to mount a disk")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filling").open("wb", buffering=0) as filling:
        while filling.write(bytes(4_096)):
            pass


def test_it_is_read_on_a_full_disk(small_disk: Path, tiny_bundle: Bundle) -> None:
    path = small_disk / "c.sqlite"
    with Catalogue(path, create=True) as made:
        enter(made, made.use_model(tiny_bundle), "/a.flac", [0.5] * 4)
    fill(small_disk)
    with Catalogue(path) as catalogue:
        assert [track.path for track in search(catalogue, "")] == [Path("/a.flac")]
        assert measure(catalogue, catalogue.find_model()).heard == 1
        with pytest.raises(CatalogueError, match="cannot use the catalogue"):
            catalogue.use_model(tiny_bundle)


def test_what_only_the_log_holds_is_not_passed_over_on_a_full_disk(
    small_disk: Path, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    path = small_disk / "c.sqlite"
    with Catalogue(tmp_path / "c.sqlite", create=True) as made:
        enter(made, made.use_model(tiny_bundle), "/a.flac", [0.5] * 4)
        for end in ("", "-wal"):
            shutil.copy(f"{made.path}{end}", f"{path}{end}")
    fill(small_disk)
    with pytest.raises(CatalogueError, match="the disk fails or is full"):
        Catalogue(path)


@pytest.mark.parametrize("version", range(1, VERSION))
def test_an_old_catalogue_is_brought_up_to_date(tmp_path: Path, tiny_bundle: Bundle, version: int) -> None:
    path = tmp_path / "old.sqlite"
    old = sqlite3.connect(path)
    for script in MIGRATIONS[:version]:
        old.executescript(script)
    old.executescript(
        f"""
        PRAGMA user_version = {version};
        INSERT INTO payload VALUES (1, 'music', 61.5);
        INSERT INTO file (path, payload_id, size, mtime_ns, inode, artist)
            VALUES (CAST('/a.flac' AS BLOB), 1, 2, 3, '4', 'Somebody');
        INSERT INTO model (id, sha256, name, tags, thresholds, last_scan)
            VALUES (1, '{tiny_bundle.sha256}', 'tiny', '["calm", "dark", "epic", "fast"]',
                '[0.5, 0.5, 0.5, 0.5]', 1);
        INSERT INTO analysis (payload_id, model_id, probabilities, note) VALUES (1, 1, zeroblob(16), '');
        """
    )
    old.close()
    before = path.read_bytes()
    with pytest.raises(CatalogueError, match=f"has version {version}, expected {VERSION}; bring it up to date with"):
        Catalogue(path)
    assert path.read_bytes() == before

    with Catalogue(path, create=True) as catalogue:
        (track,) = search(catalogue, "artist:some")
        assert (track.path, track.duration_seconds) == (Path("/a.flac"), 61.5)
    contents = dump(path)
    assert contents["analyses"][0][3] is None
    with Catalogue(tmp_path / "new.sqlite", create=True) as new, Catalogue(path) as migrated:
        schema = "SELECT type, name, tbl_name FROM sqlite_master ORDER BY 1, 2"
        assert migrated.connection.execute(schema).fetchall() == new.connection.execute(schema).fetchall()


def test_a_migration_that_fails_leaves_the_old_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.sqlite"
    old = sqlite3.connect(path, isolation_level=None)
    with monkeypatch.context() as patch:
        patch.setattr("moodbook.library.schema.VERSION", 1)
        migrate(old)
    monkeypatch.setattr("moodbook.library.schema.MIGRATIONS", (MIGRATIONS[0], "CREATE TABLE x (y);\nNONSENSE;\n"))
    with pytest.raises(sqlite3.OperationalError):
        migrate(old)
    assert old.execute("PRAGMA user_version").fetchone() == (1,)
    assert old.execute("SELECT name FROM sqlite_master WHERE name = 'x'").fetchone() is None
    old.close()


def test_a_newer_catalogue_is_let_alone(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    new = sqlite3.connect(path)
    new.execute("PRAGMA user_version = 99")
    new.execute("CREATE TABLE future (x)")
    new.close()
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(CatalogueError, match="has version 99, this Moodbook reads up to"):
            Catalogue(path, create=create)
    assert path.read_bytes() == before


def test_what_is_no_catalogue_is_let_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE bookmarks (x)")
    connection.close()
    (tmp_path / "song.mp3").write_bytes(b"ID3" + bytes(5_000))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for create in (False, True):
        with pytest.raises(CatalogueError, match="is a database of another program"):
            Catalogue(other, create=create)
        with pytest.raises(CatalogueError, match="it is no catalogue or is damaged"):
            Catalogue(tmp_path / "song.mp3", create=create)
        with pytest.raises(CatalogueError, match="is a folder; name the catalogue's file"):
            Catalogue(tmp_path, create=create)
        with pytest.raises(CatalogueError, match="is a folder; name the catalogue's file"):
            Catalogue(".", create=create)
        with pytest.raises(CatalogueError, match=r"cannot use the catalogue|there is no catalogue"):
            Catalogue(tmp_path / "song.mp3" / "c.sqlite", create=create)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def read_everything(path: Path) -> None:
    with Catalogue(path) as catalogue:
        search(catalogue, "")
        catalogue.known_files()


def test_a_damaged_catalogue_is_said_to_be_one(tmp_path: Path, tiny_bundle: Bundle) -> None:
    path = tmp_path / "c.sqlite"
    with Catalogue(path, create=True) as catalogue:
        model = catalogue.use_model(tiny_bundle)
        for number in range(200):
            enter(catalogue, model, f"/{number}", [0.1] * 4)
    data = bytearray(path.read_bytes())
    data[4_096 * 2 :] = os.urandom(len(data) - 4_096 * 2)
    path.write_bytes(data)
    with pytest.raises(CatalogueError, match="move it away and scan again"):
        read_everything(path)


def test_two_scans_do_not_run_at_once(catalogue: Catalogue) -> None:
    code = (
        "import sys\n"
        "from moodbook.errors import CatalogueError\n"
        "from moodbook.library.catalogue import Catalogue\n"
        "with Catalogue(sys.argv[1], create=True) as catalogue:\n"
        "    try:\n"
        "        with catalogue.scan_lock():\n"
        "            print('locked')\n"
        "    except CatalogueError as error:\n"
        "        print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}

    def other() -> str:
        command = [sys.executable, "-c", code, str(catalogue.path)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout.strip()

    with catalogue.scan_lock():
        assert other() == f"another scan is writing to the catalogue '{catalogue.path}'; wait for it, or end it"
        # Reading goes on meanwhile.
        with Catalogue(catalogue.path) as reader:
            assert reader.models() == []
    assert other() == "locked"


@pytest.mark.skipif(os.name == "nt", reason="there a file that is open cannot be removed")
@pytest.mark.parametrize("replaced", [False, True])
def test_a_catalogue_that_is_gone_is_not_written_to(catalogue: Catalogue, model: Model, replaced: bool) -> None:
    enter(catalogue, model, "/a.flac", [0.1, 0.2, 0.3, 0.4])
    catalogue.path.unlink()
    if replaced:
        Catalogue(catalogue.path, create=True).close()

    with pytest.raises(CatalogueError, match="was removed or replaced while it was in use; run the same command again"):
        enter(catalogue, model, "/b.flac", [0.1, 0.2, 0.3, 0.4])


def test_a_transaction_is_whole(catalogue: Catalogue, model: Model) -> None:
    enter(catalogue, model, "/a", [0.1] * 4)
    before = dump(catalogue.path)
    with suppress(ZeroDivisionError), catalogue.transaction() as connection:
        connection.execute("DELETE FROM analysis")
        assert connection.execute("SELECT count(*) FROM analysis").fetchone() == (0,)
        raise ZeroDivisionError
    assert dump(catalogue.path) == before


def test_a_full_database_is_said(catalogue: Catalogue, model: Model) -> None:
    catalogue.connection.execute("PRAGMA max_page_count = 1")
    before = dump(catalogue.path)

    def fill() -> None:
        for number in range(1_000):
            enter(catalogue, model, f"/{number}", [0.1] * 4, metadata=Metadata(artist="x" * 1_000))

    with pytest.raises(CatalogueError, match="the disk is full; make room"):
        fill()
    assert set(before["files"]) <= set(dump(catalogue.path)["files"])


def test_models_are_found_by_name_and_hash(catalogue: Catalogue, model: Model, make_bundle: Callable) -> None:
    other = catalogue.use_model(make_bundle("other", thresholds=dict.fromkeys(model.tags, 0.25)))
    assert catalogue.find_model() == other
    assert catalogue.find_model("tiny") == other
    assert catalogue.find_model(model.sha256[:8]) == model
    assert other.thresholds == (0.25,) * 4
    for unknown in ("huge", model.sha256[:3]):
        with pytest.raises(CatalogueError, match=f"no model '{unknown}' has scanned .* it knows: tiny"):
            catalogue.find_model(unknown)


def test_what_the_library_holds_in_numbers(catalogue: Catalogue, model: Model) -> None:
    enter(catalogue, model, "/a", [0.9, 0.1, 0.6, 0.2], seconds=1_800.0)
    enter(catalogue, model, "/b", [0.8, 0.1, 0.4, 0.2], seconds=None)
    enter(catalogue, model, "/copy of a", [0.9, 0.1, 0.6, 0.2], sha256=b"/a".hex(), seconds=1_800.0)
    enter(catalogue, model, "/gone", [0.9] * 4)
    catalogue.set_missing([catalogue.known_files()[Path("/gone")]])

    measured = measure(catalogue, model)

    assert (measured.files, measured.missing, measured.recordings, measured.duplicates) == (3, 1, 2, 1)
    assert (measured.heard, measured.failed, measured.hours) == (2, 0, 0.5)
    assert [(tag.tag, tag.decided) for tag in measured.tags[:2]] == [("calm", 2), ("epic", 1)]
    assert measured.tags[0].mean == pytest.approx(0.85)
    assert measured.models == (ModelStats("tiny", model.sha256[:8], 3, {"f32": 3}),)
    assert json.loads(json.dumps(measured.to_dict()))["tags"][0]["tag"] == "calm"


def test_an_empty_library_has_numbers_too(catalogue: Catalogue, model: Model) -> None:
    measured = measure(catalogue, model)
    assert (measured.files, measured.hours, measured.tags[0].mean) == (0, 0.0, 0.0)


@pytest.fixture
def exported(catalogue: Catalogue, model: Model) -> list:
    text = Metadata("A;rtist", 'T"itle\n', "", ("calm", "sad"))
    enter(catalogue, model, "/a, b.flac", [0.9, 0.1, 0.6, 0.2], metadata=text)
    enter(catalogue, model, "/caf\udce9", [0.1, 0.1, 0.1, 0.2], seconds=None)
    return search(catalogue, "", sort="path")


def test_tables_are_read_back(exported: list, model: Model, tmp_path: Path) -> None:
    for format in export.FORMATS:
        # Twice: what is there the second time is known for our own.
        for _ in range(2):
            export.export(tmp_path / f"t{format.suffix}", exported, model.tags)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text(encoding="utf-8").splitlines()]
    table = pyarrow.parquet.read_table(tmp_path / "t.parquet").to_pylist()

    for row, line, record, track in zip(rows, lines, table, exported, strict=True):
        assert row["path"] == line["path"] == record["path"]
        assert row["title"] == line["title"] == record["title"] == track.title
        assert float(row["tag:epic"]) == line["probabilities"]["epic"] == record["tag:epic"]
        assert record["decided"] == line["decided"] == [tag for tag in row["decided"].split(";") if tag]
        assert record["duration_seconds"] == line["duration_seconds"] == track.duration_seconds
    assert lines[1]["path_bytes"] == rows[1]["path_bytes"] == "/caf%E9"
    assert table[0]["moods"] == ["calm", "sad"]


def test_a_table_is_whole_or_not_there(
    exported: list, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"use one of \.csv, \.jsonl, \.parquet"):
        export.export(tmp_path / "t.xls", exported, model.tags)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .* choose another place"):
        export.export(tmp_path / "file" / "t.csv", exported, model.tags)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DependencyError, match=r"pip install 'moodbook\[parquet\]'"):
        export.export(tmp_path / "t.parquet", exported, model.tags)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("t.")] == []


def test_scores_are_kept_to_the_bit(catalogue: Catalogue, model: Model) -> None:
    values = np.random.default_rng(0).uniform(0, 1, 4).astype(np.float32)
    enter(catalogue, model, "/a", values.tolist())
    (track,) = search(catalogue, "")
    assert np.array(list(track.probabilities.values()), dtype=np.float32).tobytes() == values.tobytes()
