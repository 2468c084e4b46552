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
        for _ in changes([root], catalogue):
            scan(catalogue, [root], tagger)
            names = [track.path.name for track in search(catalogue, "", sort="path")]
            if not seen or seen[-1] != names:
                seen.append(names)
                if not steps:
                    break
                # While the watcher waits, as another program would.
                threading.Timer(0.2, steps.pop(0)).start()
    assert seen == [["a.flac"], ["a.flac", "b.flac"], ["b.flac", "c.flac"], ["c.flac"]]


def test_music_may_be_called_like_the_catalogue(
    tree: Callable[[dict[str, str]], Path], tagger: Tagger, tmp_path: Path
) -> None:
    root = tree({"a.flac": "lava"})
    with Catalogue(root / "c", create=True) as catalogue:
        for count, _ in enumerate(changes([root], catalogue)):
            if scan(catalogue, [root], tagger).found == 2:
                break
            assert count == 0
            cut("taiko", tmp_path / "t")
            threading.Timer(0.2, (tmp_path / "t").rename, [root / "counting.flac"]).start()


def test_a_root_that_goes_and_comes_back_is_watched_on(
    tree: Callable[[dict[str, str]], Path], tagger: Tagger, tmp_path: Path, catalogue: Catalogue
) -> None:
    root = tree({"a.flac": "lava"})
    aside = tmp_path / "aside"
    cut("taiko", tmp_path / "t")
    seen: list[int] = []
    steps = [
        lambda: root.rename(aside),
        lambda: (root.mkdir(), (aside / "a.flac").rename(root / "a.flac")),  # A folder, or disk, of the same name.
        lambda: (tmp_path / "t").rename(root / "b.flac"),
    ]
    for _ in changes([root], catalogue):
        scan(catalogue, [root], tagger)
        count = len(search(catalogue, ""))
        if not seen or seen[-1] != count:
            seen.append(count)
            if not steps:
                break
            threading.Timer(0.2, steps.pop(0)).start()
    assert seen == [1, 0, 1, 2]


def test_an_empty_root_may_go_and_come_back_too(
    tree: Callable[[dict[str, str]], Path], tagger: Tagger, tmp_path: Path, catalogue: Catalogue
) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    steps = [root.rmdir, lambda: tree({"a.flac": "lava"}).rename(root)]
    seen: list[tuple[int, int]] = []
    for count, _ in enumerate(changes([root], catalogue)):
        summary = scan(catalogue, [root], tagger, were_there=count > 0)
        now = summary.found, len(summary.absent)
        if not seen or seen[-1] != now:
            seen.append(now)
            if not steps:
                break
            threading.Timer(0.2, steps.pop(0)).start()
    assert seen == [(0, 0), (0, 1), (1, 0)]


def test_what_cannot_be_watched_is_said(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="there is no such folder"):
        next(changes([tmp_path / "nothing"], catalogue))
    with monkeypatch.context() as patch:
        patch.setattr("watchfiles.watch", lambda *roots, **options: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(DataError, match="the system cannot watch these folders: full"):
            next(changes([tmp_path], catalogue))
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(DependencyError, match=r"pip install 'moodbook\[watch\]'"):
        next(changes([tmp_path], catalogue))
