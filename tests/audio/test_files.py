"""Which files are found, and which are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from moodbook import audio
from moodbook.errors import AudioError, UnreadableAudioError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "music"
    for name in ("b.mp3", "a.FLAC", "notes.txt", ".hidden.mp3", "B/z.ogg", "B/a.wav", ".git/x.mp3", "empty/none.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def names(root: Path, found: list[Path]) -> list[str]:
    return [str(path.relative_to(root)) for path in found]


def test_audio_below_a_folder_in_order(tree: Path) -> None:
    assert names(tree, list(audio.find([tree]))) == ["B/a.wav", "B/z.ogg", "a.FLAC", "b.mp3"]


def test_files_as_named(tree: Path) -> None:
    named = [tree / "notes.txt", tree / "missing.mp3", tree / ".hidden.mp3"]
    assert list(audio.find(named)) == named


def test_nothing_twice(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    found = list(audio.find([tree / "b.mp3", Path("b.mp3"), tree, tree / "B", Path(), tree / "B" / ".." / "a.FLAC"]))
    assert len(found) == 4
    assert found[0] == tree / "b.mp3"


def test_links_are_not_followed(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "o.mp3").touch()
    before = list(audio.find([tree]))
    (tree / "loop").symlink_to(tree)
    (tree / "B" / "up").symlink_to(tree.parent)
    (tree / "out").symlink_to(outside)
    (tree / "out.mp3").symlink_to(outside / "o.mp3")
    (tree / "dangling.mp3").symlink_to(tree / "gone")
    (tree / "notes").symlink_to(tree / "notes.txt")
    (tree / ".hidden").symlink_to(outside)
    assert list(audio.find([tree])) == before
    links: list[Path] = []
    assert list(audio.find([tree, tree / "B", tree], on_link=links.append)) == before
    assert names(tree, links) == ["B/up", "dangling.mp3", "loop", "out", "out.mp3"]


def test_a_link_that_was_named_is_not_reported(tree: Path) -> None:
    (tree / "link.mp3").symlink_to(tree / "b.mp3")
    links: list[Path] = []
    assert tree / "link.mp3" in list(audio.find([tree / "link.mp3", tree], on_link=links.append))
    assert links == []


def test_a_name_that_the_system_refuses_stops_nothing(tree: Path) -> None:
    long = tree / ("x" * 300)
    assert list(audio.find([long, tree / "b.mp3"])) == [long, tree / "b.mp3"]
    with pytest.raises(UnreadableAudioError, match=r"name too long\. Check the name\."):
        audio.load(long)


def test_an_empty_name_is_not_the_current_folder() -> None:
    with pytest.raises(UnreadableAudioError, match=r"cannot read '': the name is empty\. Name a file\."):
        audio.probe("")


def test_a_link_that_is_named_is_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    (tmp_path / "link.mp3").symlink_to(tree / "b.mp3")
    assert names(tmp_path / "link", list(audio.find([tmp_path / "link"]))) == ["B/a.wav", "B/z.ogg", "a.FLAC", "b.mp3"]
    assert list(audio.find([tmp_path / "link.mp3"])) == [tmp_path / "link.mp3"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX names and files")
def test_hostile_names_and_kinds(tmp_path: Path) -> None:
    hostile = [b"-rf.mp3", b"new\nline.mp3", b"\xff\xfe.mp3", b"x" * 251 + b".mp3", "é.mp3".encode(), b"e\xcc\x81.mp3"]
    for name in hostile:
        (tmp_path / os.fsdecode(name)).touch()
    os.mkfifo(tmp_path / "pipe.mp3")
    found = list(audio.find([tmp_path]))
    assert sorted(os.fsencode(path.name) for path in found) == sorted([*hostile, b"pipe.mp3"])
    for path in found:
        if path.name != "pipe.mp3":
            with pytest.raises(AudioError, match="0 bytes"):
                audio.load(path)


def test_a_tree_deeper_than_the_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(300):
        Path("d").mkdir()
        monkeypatch.chdir("d")
    Path("deep.mp3").touch()
    assert [path.name for path in audio.find([tmp_path])] == ["deep.mp3"]


def test_a_folder_that_cannot_be_listed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "B":
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(
        UnreadableAudioError, match=r"the folder cannot be listed: Permission denied\. Check its permissions\."
    ):
        list(audio.find([tree]))
    errors: list[AudioError] = []
    assert names(tree, list(audio.find([tree], on_error=errors.append))) == ["a.FLAC", "b.mp3"]
    assert [Path(error.path).name for error in errors] == ["B"]
