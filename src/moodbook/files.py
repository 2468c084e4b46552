"""Files that are old or new, never half.

A file is written under a temporary name beside its own, synced, renamed over the old one, and its folder synced. A
crash at any moment leaves the old file or the new one, and at most a ``.part`` that the next write takes over.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART_SUFFIX = ".part"
"""What is added to a file's name while it is written."""


def is_folder(path: str | Path) -> bool:
    """Whether a name is that of a folder; a name that the system refuses (300 characters long, say) is not."""
    return os.path.isdir(path)  # noqa: PTH112 (Path.is_dir raises where the system refuses the name)


def is_there(path: str | Path) -> bool:
    """Whether anything has this name; nothing has a name that the system refuses."""
    return os.path.exists(path)  # noqa: PTH110 (Path.exists raises where the system refuses the name)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give the temporary path to write; on leaving it becomes the file, on an error it is removed.

    Args:
        path: The file; its folder is made where it is missing.

    Raises:
        OSError: The system refuses; the old file is untouched.
    """
    part = path.with_name(path.name + PART_SUFFIX)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        place(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def place(part: Path, path: Path) -> None:
    """Give a finished temporary file its final name, safely across a power cut.

    Raises:
        OSError: The system refuses; the old file is untouched.
    """
    with part.open("r+b") as file:
        os.fsync(file.fileno())
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
