"""The catalogue: one SQLite file that knows every recording of a library and what the models say about it."""

from __future__ import annotations

import datetime
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any

from moodbook.datasets.places import data_root
from moodbook.errors import CatalogueError, CatalogueInUseError, DataError
from moodbook.files import is_folder, is_there
from moodbook.library import stored
from moodbook.library.identity import KnownFile, Stat
from moodbook.library.known_model import Model
from moodbook.library.metadata import Metadata
from moodbook.library.schema import VERSION, migrate, read_version
from moodbook.model.bundle import Bundle
from moodbook.model.precision import Precision
from moodbook.model.scores import TagScores
from moodbook.tags import TagSet

_BUSY_SECONDS = 10.0
_FILE_KINDS = (int, bytes, int, int, int, str, (int, NoneType), (bytes, NoneType), int)
_REFUSED_BESIDE = ("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_FULL")
"""How SQLite says that it could not make its two files beside a catalogue, each with more said behind it."""


def catalogue_path() -> Path:
    """Give the catalogue's place: ``$MOODBOOK_CATALOGUE``, or ``catalogue.sqlite`` in the user's data folder."""
    named = os.environ.get("MOODBOOK_CATALOGUE")
    return Path(named).expanduser() if named else data_root() / "catalogue.sqlite"


class Catalogue:
    """An open catalogue; use it in a ``with`` statement.

    Args:
        path: The file.
        create: Make it where there is none, and bring an old one to today's schema; without it an old one is read only
            after a scan has done so.

    Raises:
        CatalogueError: It is not there, no catalogue, of a newer Moodbook, or the system refuses.
    """

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        self.path = Path(path)
        if is_folder(self.path):
            raise CatalogueError(
                f"'{self.path}' is a folder; name the catalogue's file, such as '{self.path / 'c.db'}'"
            )
        self._lock_path = self.path.with_name(f"{self.path.name}.lock")  # Its lock says that somebody scans.
        if not create and not is_there(self.path):
            raise CatalogueError(f"there is no catalogue at '{self.path}'; make it with: moodbook scan FOLDER")
        with self._refusals_said():
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self.connection = self._connect(create)
        try:
            with self._refusals_said():
                self._prepare(create)
                self._place = self.path.absolute()
                self._opened = self._place.stat()
        except BaseException:
            self.connection.close()
            raise

    def __enter__(self) -> Catalogue:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def own_files(self) -> list[Path]:
        """Name the files that the catalogue consists of, and those that SQLite makes beside it."""
        # SQLite follows a link.
        bases = (os.path.realpath(self.path), os.fspath(self._lock_path))
        return [Path(base + suffix) for base in bases for suffix in ("", "-wal", "-shm", "-journal")]

    def _connect(self, create: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        if create:
            return connection
        try:
            read_version(connection)
        except sqlite3.OperationalError as error:
            # Beside a catalogue that is read SQLite makes two files, which a disk that is only read, or is full, does
            # not take. It can do without where nobody writes: there is nothing in the log of what was written last.
            log = self.path.with_name(self.path.name + "-wal")
            code = getattr(error, "sqlite_errorname", "") or ""
            if not code.startswith(_REFUSED_BESIDE) or (is_there(log) and log.stat().st_size):
                return connection  # Its refusal is said when it is used.
            connection.close()
            address = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
            connection = sqlite3.connect(address, uri=True, isolation_level=None)
        return connection

    def _prepare(self, create: bool) -> None:
        version = read_version(self.connection)
        tables = {name for (name,) in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and (version == 0 or (version < 0 and "payload" not in tables)):
            raise CatalogueError(f"'{self.path}' is a database of another program; name another file")
        if version < 0:
            raise stored.damaged(self.path, f"it has version {version}, which there never was")
        if version > VERSION:
            raise CatalogueError(
                f"the catalogue '{self.path}' has version {version}, this Moodbook reads up to {VERSION}; "
                "update Moodbook, or name another catalogue"
            )
        if create:
            self.connection.execute("PRAGMA journal_mode = WAL")
            # A crash of the program loses nothing; a power cut may lose the last moments and breaks nothing.
            self.connection.execute("PRAGMA synchronous = NORMAL")
            self.connection.execute("PRAGMA foreign_keys = ON")
        if version < VERSION:
            if not create:
                raise CatalogueError(
                    f"the catalogue '{self.path}' has version {version}, expected {VERSION}; "
                    "bring it up to date with: moodbook scan FOLDER"
                )
            migrate(self.connection)

    @contextmanager
    def _refusals_said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorname", "") or ""
            if code.startswith("SQLITE_BUSY"):
                what = "another program holds it; wait for it, or end it"
            elif code.startswith("SQLITE_FULL"):
                what = "the disk is full; make room, then run the same command again"
            elif stored.is_damage(error):
                raise stored.damaged(self.path, str(error)) from error
            elif code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
                what = f"it is no catalogue or is damaged ({error}); move it away and scan again, or restore a copy"
            elif code.startswith("SQLITE_IOERR"):
                what = "the disk fails or is full; check it, then run the same command again"
            else:
                what = f"{error}; check the disk and the permissions, then run the same command again"
            raise CatalogueError(f"cannot use the catalogue '{self.path}': {what}") from error
        except OSError as error:
            raise CatalogueError(
                f"cannot use the catalogue '{self.path}': {error.strerror}; name another place with --catalogue"
            ) from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write all of what is done inside, or nothing.

        Raises:
            CatalogueError: It cannot be written; it is as it was.
        """
        with self._refusals_said():
            # An open file outlives its name: what is written to it would go with it.
            if not is_there(self._place) or not os.path.samestat(self._place.stat(), self._opened):
                raise CatalogueError(
                    f"the catalogue '{self.path}' was removed or replaced while it was in use; run the same command "
                    "again"
                )
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read, with the system's refusals said as the catalogue's.

        Raises:
            CatalogueError: It cannot be read.
        """
        with self._refusals_said():
            yield self.connection

    @contextmanager
    def scan_lock(self) -> Iterator[None]:
        """Keep other scans out of this catalogue; the system lets go of it however this process ends.

        Raises:
            CatalogueInUseError: Another process has it.
        """
        # SQLite's own lock, on a database that holds nothing: it works on every system.
        with self._refusals_said():
            lock = sqlite3.connect(self._lock_path, timeout=0, isolation_level=None)
        try:
            try:
                lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorname", "") == "SQLITE_BUSY":
                    raise CatalogueInUseError(
                        f"another scan is writing to the catalogue '{self.path}'; wait for it, or end it"
                    ) from error
                with self._refusals_said():
                    raise
            yield
        finally:
            lock.close()

    def use_model(self, bundle: Bundle) -> Model:
        """Enter a model as the one that is used now."""
        return self.enter_model(bundle.name, bundle.sha256, bundle.tags, bundle.thresholds)

    def enter_model(
        self, name: str, sha256: str, tags: TagSet, thresholds: Mapping[str, float], base: str | None = None
    ) -> Model:
        """Enter what gives scores as the one that is used now; see `Model` for what is said of it."""
        ordered = [thresholds[tag] for tag in tags]
        with self.transaction() as connection:
            connection.execute(
                "INSERT INTO model (sha256, name, tags, thresholds, base, last_scan)"
                " VALUES (?, ?, ?, ?, ?, (SELECT coalesce(max(last_scan), 0) + 1 FROM model))"
                " ON CONFLICT (sha256) DO UPDATE SET last_scan = excluded.last_scan, name = excluded.name",
                (sha256, name, json.dumps(tags.names), json.dumps(ordered), base),
            )
        return self.find_model(sha256)

    def models(self) -> list[Model]:
        """List the models that have scanned, the one that was used last first."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT id, name, sha256, tags, thresholds, base FROM model ORDER BY last_scan DESC"
            )
            return [self._model(*row) for row in rows]

    def _model(self, row: int, *said: Any) -> Model:
        stored.check_kinds(self.path, said, (str, str, str, str, (str, NoneType)), f"model {row}")
        name, sha256, tags, thresholds, base = said
        try:
            names = TagSet(stored.read_texts(self.path, tags, f"the tags of {name!r}"))
        except DataError as error:
            raise stored.damaged(self.path, f"the tags of {name!r}: {error}") from error
        numbers = stored.read_numbers(self.path, thresholds, f"the thresholds of {name!r}", len(names))
        return Model(row, name, sha256, names, numbers, base, self.path)

    def find_model(self, name: str | None = None) -> Model:
        """Give a model by its name or the beginning of its hash; without either the one that was used last.

        Raises:
            CatalogueError: None has that name, or none has scanned.
        """
        known = self.models()
        if not known:
            raise CatalogueError(f"the catalogue '{self.path}' is empty; fill it with: moodbook scan FOLDER")
        for model in known:
            if name is None or model.name == name or (len(name) >= 6 and model.sha256.startswith(name)):
                return model
        listed = ", ".join(f"{model.name} ({model.sha256[:8]})" for model in known)
        raise CatalogueError(f"no model {name!r} has scanned into the catalogue '{self.path}'; it knows: {listed}")

    def hearing_model(self, model: Model) -> Model:
        """Give the model that hears for another: the base of the owner's own words, any other itself.

        Raises:
            CatalogueError: The base is not in the catalogue.
        """
        return model if model.base is None else self.find_model(model.base)

    def drop_model(self, model: Model) -> None:
        """Drop a model and all that it says."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM analysis WHERE model_id = ?", (model.id,))
            connection.execute("DELETE FROM failure WHERE model_id = ?", (model.id,))
            connection.execute("DELETE FROM model WHERE id = ?", (model.id,))

    def known_files(self) -> dict[Path, KnownFile]:
        """Give every file by its name."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT id, path, payload_id, size, mtime_ns, inode, ctime_ns, mount, missing_since IS NOT NULL"
                " FROM file"
            )
            files = []
            for row in rows:
                stored.check_kinds(self.path, row, _FILE_KINDS, "a file")
                number, path, payload, *stat, mount, missing = row
                place = None if mount is None else Path(os.fsdecode(mount))
                files.append(KnownFile(number, Path(os.fsdecode(path)), payload, Stat(*stat), place, bool(missing)))
        return {file.path: file for file in files}

    def files_with_moods(self) -> list[tuple[Path, str, tuple[str, ...]]]:
        """Give name, hash of the music and moods of each file that is there and has moods, by name."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT path, sha256, moods FROM file JOIN payload ON payload.id = payload_id"
                " WHERE missing_since IS NULL AND moods != '[]' ORDER BY path"
            )
            found = []
            for row in rows:
                path, sha256, moods = stored.check_kinds(self.path, row, (bytes, str, str), "the moods of a file")
                texts = stored.read_texts(self.path, moods, "the moods of a file")
                found.append((Path(os.fsdecode(path)), sha256, texts))
        return found

    def heard_payloads(self, model: Model, precision: Precision | None = None) -> set[int]:
        """Give the payloads that a model has scores for: in this precision, or in any."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT payload_id FROM analysis WHERE model_id = ? AND (precision = ? OR ? IS NULL)",
                (model.id, precision, precision),
            )
            return {payload for (payload,) in rows}

    def failed_payloads(self, model: Model) -> dict[int, str]:
        """Give the payloads that a model could not hear, with the reasons."""
        with self.reading() as connection:
            rows = connection.execute("SELECT payload_id, reason FROM failure WHERE model_id = ?", (model.id,))
            return dict(
                stored.check_kinds(self.path, row, (int, str), "a recording that could not be heard") for row in rows
            )

    def enter_file(
        self, path: Path, stat: Stat, payload_sha256: str, metadata: Metadata, mount: Path | None = None
    ) -> KnownFile:
        """Enter what was read of a file, new or anew; what was said of its music for another file's damage goes."""
        with self.transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO payload (sha256) VALUES (?)", (payload_sha256,))
            (payload,) = connection.execute("SELECT id FROM payload WHERE sha256 = ?", (payload_sha256,)).fetchone()
            known = connection.execute(
                "SELECT 1 FROM file WHERE payload_id = ? AND size = ? AND mtime_ns = ? AND inode = ?",
                (payload, stat.size, stat.mtime_ns, stat.inode),
            ).fetchone()
            if known is None:  # With the same step: a scan that is killed here shall try this file when it goes on.
                connection.execute("DELETE FROM failure WHERE payload_id = ?", (payload,))
            row = {
                "path": os.fsencode(path),
                "payload_id": payload,
                "size": stat.size,
                "mtime_ns": stat.mtime_ns,
                "inode": stat.inode,
                "ctime_ns": stat.ctime_ns,
                "mount": None if mount is None else os.fsencode(mount),
                "artist": metadata.artist,
                "title": metadata.title,
                "album": metadata.album,
                "moods": json.dumps(metadata.moods, ensure_ascii=False),
                "missing_since": None,
            }
            updates = ", ".join(f"{column} = excluded.{column}" for column in row if column != "path")
            connection.execute(
                f"INSERT INTO file ({', '.join(row)}) VALUES ({', '.join(':' + column for column in row)})"  # noqa: S608
                f" ON CONFLICT (path) DO UPDATE SET {updates}",
                row,
            )
            (file_id,) = connection.execute("SELECT id FROM file WHERE path = ?", (row["path"],)).fetchone()
        return KnownFile(file_id, path, payload, stat, mount, is_missing=False)

    def enter_scores(self, payload_id: int, model: Model, scores: TagScores) -> None:
        """Enter what a model makes of a payload, in place of what it made of it before."""
        row = {
            "payload_id": payload_id,
            "model_id": model.id,
            "probabilities": stored.pack_vector(scores.probabilities),
            "note": scores.note,
            "embedding": None if scores.embedding is None else stored.pack_vector(scores.embedding),
            "music": scores.music,
            "precision": scores.precision,
        }
        with self.transaction() as connection:
            connection.execute(
                f"INSERT OR REPLACE INTO analysis ({', '.join(row)})"  # noqa: S608
                f" VALUES ({', '.join(':' + column for column in row)})",
                row,
            )
            connection.execute(
                "UPDATE payload SET duration_seconds = ? WHERE id = ?", (scores.duration_seconds, payload_id)
            )
            connection.execute("DELETE FROM failure WHERE payload_id = ? AND model_id = ?", (payload_id, model.id))

    def enter_failure(self, payload_id: int, model: Model, reason: str) -> None:
        """Remember that a payload cannot be heard."""
        with self.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO failure (payload_id, model_id, reason) VALUES (?, ?, ?)",
                (payload_id, model.id, reason.encode("utf-8", "backslashreplace").decode()),
            )

    def set_missing(self, files: Iterable[KnownFile]) -> None:
        """Mark files as gone."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with self.transaction() as connection:
            connection.executemany("UPDATE file SET missing_since = ? WHERE id = ?", [(now, file.id) for file in files])

    def set_present(self, files: Iterable[KnownFile]) -> None:
        """Mark files as there, such as they are."""
        with self.transaction() as connection:
            connection.executemany(
                "UPDATE file SET missing_since = NULL, ctime_ns = ?, mount = ? WHERE id = ?",
                [(file.stat.ctime_ns, file.mount and os.fsencode(file.mount), file.id) for file in files],
            )

    def forget_files(self, files: Iterable[KnownFile]) -> None:
        """Drop files, and what is known of music that no file holds any more."""
        orphans = "payload_id NOT IN (SELECT payload_id FROM file)"
        with self.transaction() as connection:
            connection.executemany("DELETE FROM file WHERE id = ?", [(file.id,) for file in files])
            connection.execute(f"DELETE FROM analysis WHERE {orphans}")  # noqa: S608
            connection.execute(f"DELETE FROM failure WHERE {orphans}")  # noqa: S608
            connection.execute("DELETE FROM payload WHERE id NOT IN (SELECT payload_id FROM file)")
