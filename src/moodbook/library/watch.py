"""Folders that change, told as they do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from moodbook.audio import AUDIO_SUFFIXES
from moodbook.errors import DataError, DependencyError
from moodbook.files import is_folder, is_there
from moodbook.library.catalogue import Catalogue
from moodbook.library.scan import absolute

_QUIET_MS = 500  # How long the system is asked before the first scan may begin, and roots are looked at again.


def changes(roots: Iterable[str | Path], catalogue: Catalogue) -> Iterator[None]:
    """Give None at once, and again whenever audio below the roots has changed since, or a root has gone or come.

    Changes that come while the caller is at work are not lost.

    Args:
        roots: Folders, and files.
        catalogue: What the caller writes to: its own files may lie in the tree.

    Raises:
        DataError: A root is not there at the beginning, or the system cannot watch it.
        DependencyError: watchfiles is not installed.
    """
    try:
        import watchfiles
    except ImportError as error:
        raise DependencyError("watchfiles", "watch") from error
    named = [Path(root) for root in roots]
    for root in named:
        if not is_there(root):
            raise DataError(f"cannot watch '{root}': there is no such folder. Check the name")
    own = {absolute(path) for path in catalogue.own_files()}

    def matters(change: watchfiles.Change, name: str) -> bool:
        if absolute(name) in own:
            return False
        # What is gone cannot be asked what it was: it may have been a folder.
        is_audio = Path(name).suffix.lower() in AUDIO_SUFFIXES
        return is_audio or change == watchfiles.Change.deleted or is_folder(name)

    def look(there: Iterable[Path]) -> Iterator[bool]:
        """Say every now and then whether anything has changed."""
        for changed in watchfiles.watch(*there, watch_filter=matters, yield_on_timeout=True, rust_timeout=_QUIET_MS):
            yield bool(changed)

    return _changes(named, look)


def _changes(roots: list[Path], look: Callable[[Iterable[Path]], Iterator[bool]]) -> Iterator[None]:
    while True:
        # The system watches what had the name when it was asked, and says nothing of another folder or disk there.
        there = _identities(roots)
        is_first = True
        try:
            for changed in look(there) if there else _wait():
                if is_first or changed:
                    is_first = False
                    yield
                if _identities(roots) != there:
                    break
        except OSError as error:
            if _identities(roots) == there:
                raise DataError(f"the system cannot watch these folders: {error}. Scan them by hand") from error


def _identities(roots: list[Path]) -> dict[Path, tuple[int, int]]:
    """Give, of each root that is there, what tells it from another one of the same name."""
    found = {}
    for root in roots:
        if is_there(root):
            status = root.stat()
            found[root] = (status.st_dev, status.st_ino)
    return found


def _wait() -> Iterator[bool]:
    while True:
        yield False
        time.sleep(_QUIET_MS / 1000)
