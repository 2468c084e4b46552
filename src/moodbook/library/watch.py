"""Folders that change, told as they do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from moodbook.audio import AUDIO_SUFFIXES
from moodbook.errors import DataError, DependencyError
from moodbook.files import is_folder, is_there

_QUIET_MS = 500  # How long the system is asked before the first scan may begin.


def changes(roots: Iterable[str | Path], ignored: Path) -> Iterator[None]:
    """Give None at once, and again whenever audio below the roots has changed since.

    Changes that come while the caller is at work are not lost.

    Args:
        roots: Folders, and files.
        ignored: The catalogue: its own files may lie in the tree.

    Raises:
        DataError: A root is not there, or the system cannot watch it.
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
    own = str(ignored.absolute())

    def matters(change: watchfiles.Change, name: str) -> bool:
        if name.startswith(own):
            return False
        # What is gone cannot be asked what it was: it may have been a folder.
        is_audio = Path(name).suffix.lower() in AUDIO_SUFFIXES
        return is_audio or change == watchfiles.Change.deleted or is_folder(name)

    first = True
    try:
        for changed in watchfiles.watch(*named, watch_filter=matters, yield_on_timeout=True, rust_timeout=_QUIET_MS):
            if first or changed:
                first = False
                yield
    except OSError as error:
        raise DataError(f"the system cannot watch these folders: {error}. Scan them by hand") from error
