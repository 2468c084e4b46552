"""Rows of equal shape on disk: appended one batch at a time, resumed after a crash, checked when opened.

While it is built, a store is a folder with ``rows.partial`` (a .npy file whose header still says 0 rows) and
``journal.jsonl`` (a line for each finished batch: the CRC-32 of its rows and what the caller notes). Rows are written
before their line, so a journal never names rows that are not there. When finished it is ``rows.npy``, readable by
numpy alone, and ``manifest.json``, which is written last: a store is complete exactly when its manifest exists.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Shaped

from moodbook.errors import DataError
from moodbook.files import whole_file

FORMAT_VERSION = 1
ROWS, PARTIAL, JOURNAL, MANIFEST, LOCK = "rows.npy", "rows.partial", "journal.jsonl", "manifest.json", "lock"
_HEADER_BYTES = 128
_SYNC_BYTES = 256 * 2**20
"""The build is forced to the disk each time so many bytes were written: what a power cut can cost."""
_DISK_RESERVE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Layout:
    """What a store holds.

    Args:
        key: Everything that the rows were computed from, as a hash; two stores with one key hold the same rows.
        row_shape: Shape of one row.
        dtype: Element type of the rows.
    """

    key: str
    row_shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return int(np.prod(self.row_shape)) * self.dtype.itemsize

    def header(self, rows: int) -> bytes:
        """Give the .npy header for a number of rows; its length is the same for every number."""
        buffer = io.BytesIO()
        descr = {"descr": self.dtype.str, "fortran_order": False, "shape": (rows, *self.row_shape)}
        np.lib.format.write_array_header_1_0(buffer, descr)
        header = buffer.getvalue()
        if len(header) != _HEADER_BYTES:
            raise DataError(f"rows of shape {self.row_shape} do not fit a {_HEADER_BYTES}-byte .npy header")
        return header

    def as_json(self) -> dict[str, Any]:
        """Give the layout as it stands in journal and manifest."""
        return {
            "format": FORMAT_VERSION,
            "key": self.key,
            "row_shape": list(self.row_shape),
            "dtype": self.dtype.str,
        }


class RowWriter:
    """Appends batches of rows to a new store, or to an unfinished one of the same layout.

    What is there and does not fit (another layout, rows that are not what the journal says) is cut off.

    Attributes:
        notes: What the caller noted for each batch that is already there, in order.
        rows: Rows that are already there.
    """

    def __init__(self, folder: Path, layout: Layout) -> None:
        self._folder = folder
        self._layout = layout
        self.notes: list[Any] = []
        self._crcs: list[int] = []
        self._unsynced = 0
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / ROWS).exists() and not (folder / MANIFEST).exists():
            (folder / ROWS).replace(folder / PARTIAL)
        kept_bytes = self._recover()
        self._data = (folder / PARTIAL).open("r+b" if (folder / PARTIAL).exists() else "w+b")
        self._data.seek(0)
        self._data.write(layout.header(0))
        self._data.truncate(_HEADER_BYTES + self.rows * layout.row_bytes)
        self._data.seek(0, os.SEEK_END)
        self._journal = (folder / JOURNAL).open("r+b" if kept_bytes else "w+b")
        self._journal.truncate(kept_bytes)
        self._journal.seek(kept_bytes)
        if not kept_bytes:
            self._journal.write(_json_line(layout.as_json()))
            self._journal.flush()

    @property
    def rows(self) -> int:
        """Rows written so far."""
        return len(self._crcs)

    def append(self, rows: Shaped[np.ndarray, "rows ..."], note: Any) -> None:
        """Write a batch of rows (it may be empty) and then the line that makes it count.

        Raises:
            DataError: The rows have another shape or type than the store, or the disk is full.
        """
        if rows.shape[1:] != self._layout.row_shape or rows.dtype != self._layout.dtype:
            raise DataError(
                f"a row of shape {rows.shape[1:]} and type {rows.dtype} does not fit a store of "
                f"{self._layout.row_shape} and {self._layout.dtype}"
            )
        crcs = [_crc(row) for row in rows]
        try:
            self._data.write(np.ascontiguousarray(rows).data)
            self._data.flush()
            self._journal.write(_json_line({"crc32": crcs, "note": note}))
            self._journal.flush()
            self._unsynced += rows.nbytes
            if self._unsynced >= _SYNC_BYTES:
                self._sync()
        except OSError as error:
            raise DataError(
                f"cannot write to the cache '{self._folder}': {error.strerror or error}; "
                "make room and start again: it goes on where it stopped"
            ) from error
        self._crcs.extend(crcs)
        self.notes.append(note)

    def finish(self, content: dict[str, Any]) -> None:
        """Give the store its final names; it is complete when this returns.

        Args:
            content: What the manifest says beside the layout.
        """
        try:
            self._data.seek(0)
            self._data.write(self._layout.header(self.rows))
            self._sync()
            self.close()
            (self._folder / PARTIAL).replace(self._folder / ROWS)
            manifest = {**self._layout.as_json(), "rows": self.rows, "row_crc32": self._crcs, **content}
            write_json(self._folder / MANIFEST, {**manifest, "sha256": _seal(manifest)})
            (self._folder / JOURNAL).unlink()
        except OSError as error:
            raise DataError(f"cannot finish the cache '{self._folder}': {error.strerror or error}") from error

    def close(self) -> None:
        """Close the files; an unfinished store can be resumed."""
        for file in (self._data, self._journal):
            # A disk that refused a batch refuses what is left of it here again; the journal does not name that batch.
            with contextlib.suppress(OSError):
                file.close()

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _sync(self) -> None:
        for file in (self._data, self._journal):
            file.flush()
            os.fsync(file.fileno())
        self._unsynced = 0

    def _recover(self) -> int:
        """Find the batches that are whole on disk; give the length of the journal that names them."""
        if not (self._folder / JOURNAL).exists() or not (self._folder / PARTIAL).exists():
            return 0
        with (self._folder / JOURNAL).open("rb") as journal, (self._folder / PARTIAL).open("rb") as data:
            data.seek(_HEADER_BYTES)
            if _parse(journal.readline()) != self._layout.as_json():
                return 0
            kept = journal.tell()
            for line in journal:
                batch = _parse(line)
                if not isinstance(batch, dict) or not _rows_match(data, batch["crc32"], self._layout.row_bytes):
                    break
                self._crcs.extend(batch["crc32"])
                self.notes.append(batch["note"])
                kept += len(line)
        return kept


@dataclass(frozen=True)
class StoredRows:
    """A finished store: its manifest and its rows, mapped from the disk and read-only."""

    manifest: dict[str, Any]
    rows: Shaped[np.ndarray, "rows ..."]


def open_rows(folder: Path, *, verify: bool = True) -> StoredRows:
    """Open a finished store.

    Args:
        folder: Its folder.
        verify: Compare the checksum of every row (reads the whole file), not only header and size.

    Raises:
        DataError: It is missing, unfinished or damaged.
    """
    manifest = read_json(folder / MANIFEST)
    content = {name: value for name, value in manifest.items() if name != "sha256"}
    remedy = "delete the folder and build it again"
    if manifest.get("sha256") != _seal(content) or manifest.get("format") != FORMAT_VERSION:
        raise DataError(f"'{folder / MANIFEST}' is damaged or of another version; {remedy}")
    layout = Layout(manifest["key"], tuple(manifest["row_shape"]), np.dtype(manifest["dtype"]))
    path, count = folder / ROWS, int(manifest["rows"])
    try:
        with path.open("rb") as file:
            header, size = file.read(_HEADER_BYTES), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}; {remedy}") from error
    expected = _HEADER_BYTES + count * layout.row_bytes
    if header != layout.header(count) or size != expected:
        raise DataError(f"'{path}' is damaged: {size} bytes, expected {expected} for {count} rows; {remedy}")
    shape = (count, *layout.row_shape)
    if not count:
        return StoredRows(manifest, np.empty(shape, layout.dtype))
    rows = np.memmap(path, dtype=layout.dtype, mode="r", offset=_HEADER_BYTES, shape=shape)
    if verify:
        for index, crc in enumerate(manifest["row_crc32"]):
            if _crc(rows[index]) != crc:
                raise DataError(f"'{path}' is damaged: row {index} has another checksum than its manifest; {remedy}")
    return StoredRows(manifest, rows)


def stored_rows(folder: Path, key: str, compute: Callable[[], None]) -> StoredRows:
    """Open a cache, computing what is missing of it; other processes wait, and find it done.

    Args:
        folder: The cache's own folder.
        key: What the rows are made from.
        compute: Writes and finishes the rows of that key in that folder (`RowWriter`), going on from what is there.

    Raises:
        DataError: The folder cannot be written to.
    """
    with locked(folder):
        stored = _reopen_rows(folder, key)
        if stored is None:
            compute()
            stored = open_rows(folder, verify=False)
        return stored


def write_rows(
    folder: Path,
    layout: Layout,
    total: int,
    what: str,
    rows_from: Callable[[int], Shaped[np.ndarray, "rows ..."]],
    about: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write what is missing of a cache whose number of rows is known, batch by batch, going on from what is there.

    Args:
        folder: The cache's own folder, locked (`stored_rows`).
        layout: Of its rows.
        total: How many there are to be.
        what: What they are, for the message where the disk has no room.
        rows_from: Computes the next rows, one or more, from that row on.
        about: What the manifest says of them.
        progress: Told of rows done and to do.

    Raises:
        DataError: The disk has no room, or the folder cannot be written to.
    """
    with RowWriter(folder, layout) as writer:
        require_space(folder, (total - writer.rows) * layout.row_bytes, what)
        if progress:
            progress(writer.rows, total)
        while writer.rows < total:
            writer.append(rows_from(writer.rows), None)
            if progress:
                progress(writer.rows, total)
        writer.finish(about)


def _reopen_rows(folder: Path, key: str) -> StoredRows | None:
    """Open what is there and whole; a finished cache that is damaged or not this one is removed."""
    if not (folder / MANIFEST).exists():
        return None
    try:
        stored = open_rows(folder)
    except DataError:
        discard(folder)
        return None
    if stored.manifest["key"] != key:
        discard(folder)
        return None
    return stored


def discard(folder: Path) -> None:
    """Remove what a store has put into its folder, finished or not; the lock stays."""
    for name in (MANIFEST, ROWS, PARTIAL, JOURNAL):
        (folder / name).unlink(missing_ok=True)


def require_space(folder: Path, needed_bytes: int, purpose: str) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        DataError: Fewer bytes are free than needed, plus a reserve of 64 MiB.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed_bytes + _DISK_RESERVE_BYTES:
        raise DataError(
            f"{purpose} needs {needed_bytes / 1e9:.1f} GB in '{folder}', and {free / 1e9:.1f} GB are free; "
            "make room or name another folder"
        )


@contextlib.contextmanager
def locked(folder: Path, poll_seconds: float = 0.2) -> Iterator[None]:
    """Hold a folder for one process at a time; others wait. The system lets go when the process dies.

    Raises:
        DataError: The folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("a+b")
    except OSError as error:
        raise DataError(f"cannot write to '{folder}': {error.strerror or error}; name another folder") from error
    with lock as file:
        while not _try_lock(file):
            time.sleep(poll_seconds)
        yield


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file so that it is there whole or not at all."""
    with whole_file(path) as part:
        part.write_bytes(_json_line(content))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        DataError: The file is missing or is no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"there is no '{path}': nothing was built there, or the build was not finished") from None
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' is damaged ({error}); delete the folder and build it again") from error
    if not isinstance(content, dict):
        raise DataError(f"'{path}' is damaged (no JSON object); delete the folder and build it again")
    return content


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True


def _crc(row: Shaped[np.ndarray, ...]) -> int:
    return zlib.crc32(np.ascontiguousarray(row).data)


def _rows_match(data: IO[bytes], crcs: list[int], row_bytes: int) -> bool:
    for crc in crcs:
        row = data.read(row_bytes)
        if len(row) != row_bytes or zlib.crc32(row) != crc:
            return False
    return True


def _json_line(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=True, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def _parse(line: bytes) -> Any:
    """Read one line of a journal; a torn one gives None."""
    if not line.endswith(b"\n"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def _seal(content: dict[str, Any]) -> str:
    return hashlib.sha256(_json_line(content)).hexdigest()
