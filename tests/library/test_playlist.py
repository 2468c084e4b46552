"""Playlists are read back by other programs' parsers, whatever the files are called."""

from __future__ import annotations

import json
import os
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moodbook.errors import DataError
from moodbook.library.playlist import FORMATS, write_playlist, write_smart_playlist
from moodbook.library.query import Query, parse_query
from moodbook.library.search import Track
from moodbook.outputs import MARK, check_output
from moodbook.tags import TagSet

XSPF = "{http://xspf.org/ns/0/}"
NAMES = (
    *("plain.flac", "with space.flac", "#comment.flac", " leading.flac", "trailing ", "new\nline.flac", "\r.flac"),
    *("a&b<c>.flac", "\"quotes'.flac", "100%41.flac", "é.flac", "日本.flac", "http:x.flac", "c:.flac", "-rf.flac"),
    *("?q=1#f.flac", "back\\slash.flac", "\x01.flac", "tab\t.flac", "\u2028.flac", "caf\udce9.flac", "sub/./x.flac"),
)


def track(path: Path, title: str = "Title", artist: str = "Artist", seconds: float | None = 61.4) -> Track:
    return Track(path, 1, "0", artist, title, "Album", (), seconds, None, (), {}, "tiny", None)


def read_m3u8(path: Path) -> list[str]:
    """Read as players do: UTF-8, lines that do not begin with #, names or file: addresses, from the list's folder."""
    entries = []
    for line in path.read_bytes().decode("utf-8").split("\n"):
        if line.strip() and not line.startswith("#"):
            entries.append(from_address(line) if line.startswith("file:") else line.strip())
    return [os.path.normpath(path.parent / entry) for entry in entries]


def from_address(address: str) -> str:
    parts = urllib.parse.urlsplit(address)
    assert (parts.query, parts.fragment, parts.scheme in ("file", "")) == ("", "", True)
    return os.fsdecode(urllib.parse.unquote_to_bytes(parts.path))


def read_xspf(path: Path) -> list[dict[str, str]]:
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{XSPF}playlist"
    return [{child.tag.removeprefix(XSPF): child.text or "" for child in entry} for entry in root.iter(f"{XSPF}track")]


def locations(path: Path) -> list[str]:
    if path.suffix == ".m3u8":
        return read_m3u8(path)
    return [os.path.normpath(path.parent / from_address(entry["location"])) for entry in read_xspf(path)]


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("ending", [".m3u8", ".xspf"])
@pytest.mark.parametrize("place", ["music", "lists/deep", "."])
def test_every_name_is_read_back(tmp_path: Path, ending: str, absolute: bool, place: str) -> None:
    root = Path(os.path.realpath(tmp_path))
    tracks = [track(root / "music" / name) for name in NAMES]
    path = root / place / f"list{ending}"

    write_playlist(path, tracks, "Every name", absolute=absolute)

    assert locations(path) == [os.path.normpath(one.path) for one in tracks]
    text = path.read_bytes().decode("utf-8")
    plain = root / "music" / "plain.flac"
    assert (str(plain) if absolute else os.path.relpath(plain, path.parent)) in text
    assert absolute or str(plain) not in text


@given(
    st.lists(st.binary(min_size=1, max_size=12).filter(lambda name: b"/" not in name and b"\0" not in name), max_size=8)
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_is_read_back(tmp_path: Path, names: list[bytes]) -> None:
    names = [name for name in names if name not in (b".", b"..")]
    tracks = [track(tmp_path / os.fsdecode(name)) for name in names]
    for ending in (".m3u8", ".xspf"):
        write_playlist(tmp_path / f"list{ending}", tracks, "x")
        assert locations(tmp_path / f"list{ending}") == [str(one.path) for one in tracks]


def test_what_is_written_about_a_track(tmp_path: Path) -> None:
    tracks = [track(tmp_path / "a.flac", "A & <B>", "Ö"), track(tmp_path / "b.flac", "", "", None)]
    write_playlist(tmp_path / "x.m3u8", tracks, "Line\nbreak")
    write_playlist(tmp_path / "x.xspf", tracks, "Line\nbreak")

    assert (tmp_path / "x.m3u8").read_text(encoding="utf-8").split("\n") == [
        "#EXTM3U",
        f"# {MARK}",
        "#PLAYLIST:Line\\x0abreak",
        "#EXTINF:61,Ö - A & <B>",
        "a.flac",
        "#EXTINF:-1,b",
        "b.flac",
        "",
    ]
    assert read_xspf(tmp_path / "x.xspf") == [
        {"location": "a.flac", "title": "A & <B>", "creator": "Ö", "album": "Album", "duration": "61400"},
        {"location": "b.flac", "album": "Album"},
    ]


def test_the_old_playlist_stands_where_the_new_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.m3u8"
    write_playlist(path, [track(tmp_path / "a")], "old")
    old = path.read_bytes()

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DataError, match=r"cannot write '.*x\.m3u8': No space left on device; choose another place"):
        write_playlist(path, [track(tmp_path / "b")], "new")
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"use one of \.m3u8, \.xspf, \.nsp"):
        check_output("x.pls", FORMATS)
    with pytest.raises(DataError, match="made of rules"):
        write_playlist(tmp_path / "x.nsp", [], "x")


TAGS = TagSet(("calm", "dark"))


def rules(tmp_path: Path, query: str, limit: int | None = None) -> dict:
    parsed: Query = parse_query(query, TAGS)
    write_smart_playlist(tmp_path / "x.nsp", parsed, "Name", limit)
    document: dict = json.loads((tmp_path / "x.nsp").read_bytes())
    assert document.pop("comment") == MARK
    return document


def test_rules_need_a_condition(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs a condition, such as length>0:01"):
        rules(tmp_path, "")


def test_a_query_becomes_rules(tmp_path: Path) -> None:
    assert rules(tmp_path, "calm", 5) == {"name": "Name", "all": [{"is": {"mood": "calm"}}], "limit": 5}
    assert rules(tmp_path, "calm or not dark") == {
        "name": "Name",
        "any": [{"is": {"mood": "calm"}}, {"isNot": {"mood": "dark"}}],
    }
    assert rules(tmp_path, 'artist:"a b", title="c", path!=d, length<5:00') == {
        "name": "Name",
        "all": [
            {"contains": {"artist": "a b"}},
            {"is": {"title": "c"}},
            {"isNot": {"filepath": "d"}},
            {"lt": {"duration": 300.0}},
        ],
    }
    # "not" has no rule of its own.
    assert rules(tmp_path, "not (calm or (dark and not length<60))")["all"] == [
        {"isNot": {"mood": "calm"}},
        {"any": [{"isNot": {"mood": "dark"}}, {"lt": {"duration": 60.0}}]},
    ]
    assert rules(tmp_path, "not not album:x, not title:y")["all"] == [
        {"contains": {"album": "x"}},
        {"notContains": {"title": "y"}},
    ]
    assert rules(tmp_path, "length<=60") == {
        "name": "Name",
        "any": [{"lt": {"duration": 60.0}}, {"is": {"duration": 60.0}}],
    }


def test_rules_cannot_ask_for_scores(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not how strong: write calm alone, or use \.m3u8 or \.xspf"):
        rules(tmp_path, "calm>0.5")
    assert list(tmp_path.iterdir()) == []
