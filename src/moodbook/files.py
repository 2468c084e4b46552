"""Files that are old or new, never half.

A file is written under a temporary name beside its own, synced, renamed over the old one, and its folder synced. A
crash at any moment leaves the old file or the new one, and at most a hidden ``.NAME.….part`` that the next run which
writes into the folder removes.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if os.name == "posix":
    import fcntl

PART_SUFFIX = ".part"
"""What the name of a file ends with while it is written."""
_RANDOM_BYTES = 8
_PART_NAME = re.compile(rf"\..+\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}{re.escape(PART_SUFFIX)}", re.DOTALL)
_OLD_SECONDS = 24 * 60 * 60.0  # Without locks: no write takes so long.
_MOST_NAME_BYTES = 200  # Of the file's own name in that of its part: a system takes 255 in all.


def is_folder(path: str | Path) -> bool:
    """Whether a name is that of a folder; a name that the system refuses (300 characters long, say) is not."""
    return os.path.isdir(path)  # noqa: PTH112 (Path.is_dir raises where the system refuses the name)


def is_there(path: str | Path) -> bool:
    """Whether anything has this name; nothing has a name that the system refuses."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises where the system refuses the name)


def link_target(path: Path) -> Path:
    """Give the file that is written when a link is named: its target. Any other name is its own."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the temporary path to write; on leaving it becomes the file, on an error it is removed.

    A file that is replaced keeps its mode, and a link stays a link: its target is what is replaced.

    Args:
        path: The file; its folder is made where it is missing.

    Raises:
        OSError: The system refuses; the old file is untouched.
    """
    target = link_target(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with part_beside(target) as part:
        yield part
        place(part, target)


@contextmanager
def part_beside(path: Path) -> Iterator[Path]:
    """Make an empty temporary file of a name that nothing has, for `place`; on leaving it is gone.

    What killed runs left in the folder is removed first. A run that is still writing holds a lock on its part.

    Raises:
        OSError: The system refuses.
    """
    name = os.fsdecode(os.fsencode(path.name)[:_MOST_NAME_BYTES])
    _remove_leftovers(path.parent)
    # What replaces a private file is private from its first byte; `place` gives it the same mode.
    mode = 0o600 if is_there(path) else 0o666
    part, descriptor = _new_part(path.parent, name, mode)
    try:
        yield part
    finally:
        with suppress(OSError):
            part.unlink()
        if descriptor is not None:
            os.close(descriptor)


def _new_part(folder: Path, name: str, mode: int) -> tuple[Path, int | None]:
    """Make a part, and hold its lock where the system has such locks and lets an open file be renamed (POSIX)."""
    while True:
        part = folder / f".{name}.{secrets.token_hex(_RANDOM_BYTES)}{PART_SUFFIX}"
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
        if os.name != "posix":
            os.close(descriptor)
            return part, None
        _lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return part, descriptor
        os.close(descriptor)  # Another run took it for a leftover before it was locked.


@functools.cache  # Once a process: a folder can hold a hundred thousand files, each written by itself.
def _remove_leftovers(folder: Path) -> None:
    """Remove the parts that killed runs have left in a folder."""
    with suppress(OSError):  # A folder that may be written to and not be listed.
        for part in [Path(entry.path) for entry in os.scandir(folder) if _PART_NAME.fullmatch(entry.name)]:
            with suppress(OSError):
                _remove_leftover(part)


def _remove_leftover(part: Path) -> None:
    if os.name != "posix":
        if time.time() - part.stat().st_mtime > _OLD_SECONDS:
            part.unlink()
        return
    descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if _lock(descriptor):
            part.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Take the lock of a part that goes with the process; False where another run has it, or there are none here."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def place(part: Path, path: Path) -> None:
    """Give a finished temporary file its final name, safely across a power cut; what it replaces gives it its mode.

    Raises:
        OSError: The system refuses; the old file is untouched.
    """
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    with suppress(FileNotFoundError):
        part.chmod(stat.S_IMODE(path.stat().st_mode))
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Force a folder's names to the disk, where the system lets a folder be opened (not on Windows)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # Some network file systems cannot sync a folder.
            raise
    finally:
        os.close(descriptor)
