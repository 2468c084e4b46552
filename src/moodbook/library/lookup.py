"""Which recording of the catalogue a file holds, whatever its name and tags are now.

A file that the catalogue knows by name, size, times and inode is not opened. Any other is known by the hash of its
music, so that files that were moved, renamed or tagged since the last scan are found too.
"""

from __future__ import annotations

import os
from pathlib import Path

from moodbook.library.catalogue import Catalogue
from moodbook.library.identity import Stat, music_hash
from moodbook.library.scan import absolute


def find_unchanged(catalogue: Catalogue, path: Path) -> int | None:
    """Give the row of the music in a file that is as the catalogue knows it, by name, size, times and inode; else None.

    Raises:
        CatalogueError: The catalogue cannot be read.
    """
    with catalogue.reading() as connection:
        row = connection.execute(
            "SELECT payload_id, size, mtime_ns, inode, ctime_ns FROM file WHERE path = ?",
            (os.fsencode(absolute(path)),),
        ).fetchone()
    return int(row[0]) if row is not None and Stat(*row[1:]).is_still(_stat(path)) else None


def find_payload(catalogue: Catalogue, path: Path) -> int | None:
    """Give the row of the music in a file; None where the catalogue does not know it.

    Raises:
        AudioError: It is not the file that the catalogue knows under its name, and it is no file that can be read.
        OSError: The disk fails.
        CatalogueError: The catalogue cannot be read.
    """
    unchanged = find_unchanged(catalogue, path)
    if unchanged is not None:
        return unchanged
    sha256 = music_hash(path)
    with catalogue.reading() as connection:
        row = connection.execute("SELECT id FROM payload WHERE sha256 = ?", (sha256,)).fetchone()
    return None if row is None else int(row[0])


def _stat(path: Path) -> Stat | None:
    try:
        return Stat.of(path.stat())
    except (OSError, ValueError):
        return None
