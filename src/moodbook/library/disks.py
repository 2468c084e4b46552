"""Disks that come and go: what is missing may have been deleted, or lie on a disk that is not mounted now."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from moodbook.library.identity import KnownFile


class Disks:
    """What is mounted where, as it was when it was first asked for."""

    def __init__(self) -> None:
        # A library has many files in few folders, and folders on few disks.
        self._is_mount = functools.cache(os.path.ismount)
        self._is_empty = functools.cache(_is_empty)
        self._mount_of = functools.cache(self._find_mount)

    def mount_of(self, path: Path) -> Path:
        """Give the folder at which the disk that holds a file, or what a link points to, is mounted."""
        return self._mount_of(Path(os.path.realpath(path)).parent)

    def is_unmounted(self, file: KnownFile) -> bool:
        """Whether the place of the disk that held a file is no mount any more.

        Where an older Moodbook entered the file, without its mount, its folder may have gone with the disk.
        """
        return not (file.path.parent.is_dir() if file.mount is None else self._is_mount(file.mount))

    def is_away(self, file: KnownFile) -> bool:
        """Whether the disk that held a missing file may not be there now.

        Its place is no mount any more, or is an empty folder, as the place of a disk that is not mounted is.
        """
        if self.is_unmounted(file):
            return True
        return next((empty for folder in file.path.parents if (empty := self._is_empty(folder)) is not None), True)

    def _find_mount(self, folder: Path) -> Path:
        return next(filter(self._is_mount, (folder, *folder.parents)), Path(folder.anchor))


def _is_empty(folder: Path) -> bool | None:
    """Whether a folder holds nothing, as far as it can be listed; None where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return True
