"""Folders that change are scanned again."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.library.conftest import cut

from moodbook.errors import DataError, DependencyError
from moodbook.library.catalogue import Catalogue
from moodbook.library.scan import scan
from moodbook.library.search import search
from moodbook.library.watch import changes
from moodbook.model.tagger import Tagger


def test_what_changes_is_scanned(tree: Callable[[dict[str, str]], Path], tagger: Tagger, tmp_path: Path) -> None:
    root = tree({"a.flac": "lava"})
    seen: list[list[str]] = []
    steps = [
        lambda: (cut("taiko", root.parent / "t"), (root.parent / "t").rename(root / "b.flac")),
        lambda: (root / "a.flac").rename(root / "c.flac"),
        lambda: (root / "b.flac").unlink(),
    ]
    # The catalogue lies in the tree: its own writes must not wake the watcher.
    with Catalogue(root / "catalogue.sqlite", create=True) as catalogue:
        for _ in changes([root], catalogue.path):
            scan(catalogue, [root], tagger)
            names = [track.path.name for track in search(catalogue, "", sort="path")]
            if not seen or seen[-1] != names:
                seen.append(names)
                if not steps:
                    break
                # While the watcher waits, as another program would.
                threading.Timer(0.2, steps.pop(0)).start()
    assert seen == [["a.flac"], ["a.flac", "b.flac"], ["b.flac", "c.flac"], ["c.flac"]]


def test_what_cannot_be_watched_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        next(changes([tmp_path / "nothing"], tmp_path / "c"))
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(DependencyError, match=r"pip install 'moodbook\[watch\]'"):
        next(changes([tmp_path], tmp_path / "c"))
