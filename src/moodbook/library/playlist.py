"""Playlists: M3U8, XSPF, and Navidrome's smart playlists.

M3U8 is a list of names in UTF-8, one a line, and has no quoting: a name that a line cannot hold (a newline, bytes that
are no UTF-8, spaces at its end) is written as a file: address. XSPF (https://xspf.org/spec) is XML with percent-encoded
addresses. A Navidrome .nsp is a JSON document of rules over what the files themselves say.
"""

from __future__ import annotations

import json
import os
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from moodbook.errors import DataError
from moodbook.library.query import And, Comparison, Decided, Length, Not, Or, Query, Score, TextField
from moodbook.library.search import Track
from moodbook.model.scores import printable
from moodbook.outputs import MARK, Format, begins, check_output, output_file

_M3U8_START = f"#EXTM3U\n# {MARK}\n"
_XSPF_START = f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- {MARK} -->\n'
_NSP_START = f'{{\n "comment": "{MARK}",\n'
FORMATS = (
    Format(".m3u8", "a playlist", begins(_M3U8_START)),
    Format(".xspf", "a playlist", begins(_XSPF_START)),
    Format(".nsp", "a smart playlist", begins(_NSP_START)),
)
"""What can be written. A playlist of the owner's own making, or of a player, lacks the remark and is not replaced."""
_MOST_PLAYLIST_BYTES = 64 << 20  # A million long names.
_XSPF = "http://xspf.org/ns/0/"
_OPPOSITES: dict[Comparison, Comparison] = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "=": "!=", "!=": "="}
_NSP_FIELDS: dict[TextField, str] = {
    "path": "filepath",
    "artist": "artist",
    "title": "title",
    "album": "album",
    "mood": "mood",
}


def write_playlist(
    path: Path, tracks: Iterable[Track], title: str, *, absolute: bool = False, force: bool = False
) -> None:
    """Write tracks in order, as M3U8 or XSPF; the file is old or new, never half.

    Args:
        path: Its ending chooses the format.
        tracks: What to play.
        title: Of the playlist.
        absolute: Name files from the root, else from the folder of the playlist, so that both can be moved together.
        force: Replace a file that is no playlist of Moodbook's.

    Raises:
        DataError: The ending is another, the file must not be replaced, or it cannot be written.
    """
    suffix = check_output(path, FORMATS, force=force)
    if suffix == ".nsp":
        raise DataError("a Navidrome smart playlist is made of rules, not of tracks; use .m3u8 or .xspf for a list")
    folder = None if absolute else Path(os.path.realpath(path.absolute().parent))
    text = m3u8(tracks, title, folder) if suffix == ".m3u8" else xspf(tracks, title, folder)
    _write(path, text, force)


def read_m3u8(path: Path) -> list[Path]:
    """Read the files that a playlist names, in order; addresses on the network are left out.

    Raises:
        DataError: It cannot be read, or is far larger than a playlist.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_PLAYLIST_BYTES + 1)
    except OSError as error:
        raise DataError(f"cannot read the playlist '{path}': {error.strerror}") from error
    if len(content) > _MOST_PLAYLIST_BYTES:
        raise DataError(f"'{path}' is larger than {_MOST_PLAYLIST_BYTES >> 20} MiB; this is no playlist")
    # An .m3u may be in any old encoding: the bytes of the names are kept as they are.
    lines = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")
    names = (line for line in lines if line.strip() and not line.startswith(b"#") and b"\0" not in line)
    return [path.parent / name for line in names if (name := _file_name(line)) is not None]


def _file_name(line: bytes) -> Path | None:
    scheme, mark, rest = line.partition(b"://")
    if not mark or not scheme.isalpha():
        return Path(os.fsdecode(line.replace(b"\\", b"/") if os.name == "nt" else line))
    if scheme.lower() != b"file":
        return None
    name = urllib.parse.unquote_to_bytes(rest.removeprefix(b"localhost"))
    # A drive stands behind a slash in an address: file:///C:/Music.
    return None if b"\0" in name else Path(os.fsdecode(name.removeprefix(b"/") if os.name == "nt" else name))


def write_smart_playlist(
    path: Path, query: Query, title: str, limit: int | None = None, *, force: bool = False
) -> None:
    """Write a query as a Navidrome smart playlist.

    Raises:
        DataError: The query asks for nothing, or for what Navidrome does not know; the file must not be replaced, or it
            cannot be written.
    """
    if query == And(()):
        raise DataError("a smart playlist needs a condition, such as length>0:01 for all music")
    rules = _rules(query)
    if not rules.keys() & {"all", "any"}:
        rules = {"all": [rules]}
    document = {"comment": MARK, "name": printable(title), **rules, **({} if limit is None else {"limit": limit})}
    _write(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n", force)


def m3u8(tracks: Iterable[Track], title: str, folder: Path | None) -> str:
    """Give an extended M3U in UTF-8.

    Args:
        tracks: What to play.
        title: Of the playlist.
        folder: Names are given from here; None gives them from the root.
    """
    lines = [*_M3U8_START.splitlines(), f"#PLAYLIST:{printable(title)}"]
    for track in tracks:
        seconds = -1 if track.duration_seconds is None else round(track.duration_seconds)
        lines += [f"#EXTINF:{seconds},{printable(_caption(track))}", _m3u8_name(track.path, folder)]
    return "\n".join(lines) + "\n"


def xspf(tracks: Iterable[Track], title: str, folder: Path | None) -> str:
    """Give an XSPF document; see `m3u8` for the parameters."""
    ElementTree.register_namespace("", _XSPF)
    root = ElementTree.Element(f"{{{_XSPF}}}playlist", version="1")
    _child(root, "title", printable(title))
    listing = ElementTree.SubElement(root, f"{{{_XSPF}}}trackList")
    for track in tracks:
        entry = ElementTree.SubElement(listing, f"{{{_XSPF}}}track")
        # A first part with a colon would be taken for the scheme of an address; quoted it has none.
        place = track.path.as_uri() if folder is None else _quoted(_from(track.path, folder))
        _child(entry, "location", place)
        _child(entry, "title", track.title)
        _child(entry, "creator", track.artist)
        _child(entry, "album", track.album)
        if track.duration_seconds is not None:
            _child(entry, "duration", str(round(1000 * track.duration_seconds)))
    ElementTree.indent(root, " ")
    return _XSPF_START + ElementTree.tostring(root, encoding="unicode") + "\n"


def _rules(query: Query) -> dict[str, Any]:
    """Give a condition as a Navidrome rule."""
    if isinstance(query, (And, Or)):
        return {"all" if isinstance(query, And) else "any": [_rules(part) for part in query.parts]}
    if isinstance(query, Not):
        return _opposite(query.part)
    if isinstance(query, Decided):
        # What `moodbook write` puts into the files.
        return {"is": {"mood": query.tag}}
    if isinstance(query, Length):
        return _duration_rule(query)
    if isinstance(query, Score):
        raise DataError(
            f"Navidrome knows which moods a file has, not how strong: write {query.tag} alone, or use .m3u8 or .xspf"
        )
    return {"is" if query.whole else "contains": {_NSP_FIELDS[query.field]: query.text}}


def _opposite(query: Query) -> dict[str, Any]:
    if isinstance(query, Not):
        return _rules(query.part)
    if isinstance(query, And):
        return _rules(Or(tuple(Not(part) for part in query.parts)))
    if isinstance(query, Or):
        return _rules(And(tuple(Not(part) for part in query.parts)))
    if isinstance(query, Length):
        return _duration_rule(Length(_OPPOSITES[query.comparison], query.seconds))
    ((operator, operand),) = _rules(query).items()
    return {{"is": "isNot", "contains": "notContains"}[operator]: operand}


def _duration_rule(length: Length) -> dict[str, Any]:
    operators = {">": "gt", "<": "lt", "=": "is", "!=": "isNot"}
    if length.comparison in operators:
        return {operators[length.comparison]: {"duration": length.seconds}}
    strict: Comparison = ">" if length.comparison == ">=" else "<"
    return {"any": [_duration_rule(Length(strict, length.seconds)), _duration_rule(Length("=", length.seconds))]}


def _write(path: Path, text: str, force: bool) -> None:
    with output_file(path, FORMATS, force=force) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def _from(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)


def _m3u8_name(path: Path, folder: Path | None) -> str:
    name = str(path) if folder is None else _from(path, folder)
    if printable(name) != name or name != name.rstrip():
        return path.as_uri()
    # A comment, a leading space or an address it must not seem to be.
    is_plain = name[0].isalnum() and ":" not in name
    return name if is_plain or (path.is_absolute() and folder is None) or name.startswith("../") else f"./{name}"


def _quoted(name: str) -> str:
    return urllib.parse.quote_from_bytes(os.fsencode(name.replace(os.sep, "/")))


def _caption(track: Track) -> str:
    title = track.title or printable(track.path.stem)
    return f"{track.artist} - {title}" if track.artist else title


def _child(parent: ElementTree.Element, name: str, text: str) -> None:
    if text:
        ElementTree.SubElement(parent, f"{{{_XSPF}}}{name}").text = text
