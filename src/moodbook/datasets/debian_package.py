"""Take chosen files out of a Debian package, without Debian's tools.

A package is an ``ar`` archive; its member ``data.tar.xz`` (or gz, bz2, none) is read as a stream, so nothing but the
chosen files is unpacked. The names that are written come from the caller, never from the package.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

from moodbook.errors import FetchError
from moodbook.files import whole_file

INSIDE = "_unz_"
"""A name ``_unz_NAME/REST`` means REST inside the zip (or pk3, which is one) that is called NAME in the package."""

_CHUNK_BYTES = 2**20
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60
_TAR_MODES = {
    "data.tar": "r|",
    "data.tar.gz": "r|gz",
    "data.tar.bz2": "r|bz2",
    "data.tar.xz": "r|xz",
    "data.tar.lzma": "r|xz",
}
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    OSError,
    RuntimeError,  # a zip with a password, or (NotImplementedError) of an unknown kind
)


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpack_deb(archive: Path, wanted: Mapping[str, Path], stop: threading.Event | None = None) -> dict[str, str]:
    """Unpack the wanted files; each gets its final name only when it is whole.

    Reading ends with the last wanted file: the checksum of the whole package is the caller's affair.

    Args:
        archive: The package (.deb).
        wanted: By name in the package (``usr/share/...``, or ``_unz_NAME/...``): where to put it.
        stop: Set by another thread to end this; what is whole by then stays.

    Returns:
        The SHA-256 of each file, by name in the package.

    Raises:
        FetchError: The package is damaged, lacks a wanted file, or a file cannot be written; or it was stopped.
    """
    found: dict[str, str] = {}
    try:
        with archive.open("rb") as file, _open_tar(file, stop or threading.Event()) as tar:
            for name, sha256 in _unpack_members(tar, wanted, archive.parent):
                found[name] = sha256
                if len(found) == len(wanted):
                    break
    except _DAMAGE as error:
        raise FetchError(f"cannot unpack '{archive}': {error}; make room or delete it, and fetch again") from error
    absent = sorted(set(wanted) - set(found))
    if absent:
        raise FetchError(f"'{archive}' lacks {len(absent)} of {len(wanted)} files, first {absent[0]!r}")
    return found


def _unpack_members(tar: tarfile.TarFile, wanted: Mapping[str, Path], spool: Path) -> Iterator[tuple[str, str]]:
    inside: dict[str, dict[str, Path]] = defaultdict(dict)
    for name, target in wanted.items():
        if name.startswith(INSIDE):
            zip_name, _, rest = name.removeprefix(INSIDE).partition("/")
            inside[zip_name][rest] = target
    for member in tar:
        name = member.name.removeprefix("./")
        zip_name = name.rpartition("/")[2]
        if name not in wanted and zip_name not in inside:
            continue
        content = tar.extractfile(member) if member.isfile() else None
        if content is None:
            continue
        if name in wanted:
            yield name, _write(content, wanted[name])
        else:
            # A zip is read from its end: it needs a file of its own, which has no name and so is never left behind.
            with tempfile.TemporaryFile(dir=spool) as copy:
                shutil.copyfileobj(content, copy, _CHUNK_BYTES)
                for rest, sha256 in _unpack_zip(copy, inside[zip_name]):
                    yield f"{INSIDE}{zip_name}/{rest}", sha256


def _unpack_zip(file: IO[bytes], wanted: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
        for name, target in wanted.items():
            if name in entries:
                # Reading to the end checks the CRC-32.
                with archive.open(entries[name]) as content:
                    yield name, _write(content, target)


def _write(content: _Readable, target: Path) -> str:
    digest = hashlib.sha256()
    with whole_file(target) as part, part.open("wb") as file:
        while chunk := content.read(_CHUNK_BYTES):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def _open_tar(file: IO[bytes], stop: threading.Event) -> tarfile.TarFile:
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise tarfile.ReadError("it is no Debian package")
    while header := file.read(_AR_HEADER_BYTES):
        if len(header) < _AR_HEADER_BYTES or not header.endswith(b"`\n"):
            break
        name, size = header[:16].decode("ascii", "replace").rstrip(" /"), int(header[48:58])
        if name in _TAR_MODES:
            return tarfile.open(fileobj=_Window(file, size, stop), mode=_TAR_MODES[name], bufsize=_CHUNK_BYTES)  # type: ignore[call-overload, no-any-return]
        file.seek(size + size % 2, os.SEEK_CUR)
    raise tarfile.ReadError(f"it has none of the members {', '.join(_TAR_MODES)}")


class _Window:
    """The next so many bytes of a file, to be read once from front to back."""

    def __init__(self, file: IO[bytes], size: int, stop: threading.Event) -> None:
        self._file = file
        self._left = size
        self._stop = stop

    def read(self, size: int, /) -> bytes:
        if self._stop.is_set():
            raise FetchError("stopped unpacking; run the same command again to go on")
        content = self._file.read(min(size, self._left))
        self._left -= len(content)
        return content
