"""What a file says about itself: artist, title, album, and moods that stand in it already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from moodbook.audio.files import open_file
from moodbook.errors import AudioError, TagError
from moodbook.library.inflation import bound_inflation

# The names of a field in ID3, MP4, ASF, and (in any case) Vorbis comments and APEv2.
_NAMES = {
    "artist": ("TPE1", "\xa9ART", "Author", "artist"),
    "title": ("TIT2", "\xa9nam", "Title", "title"),
    "album": ("TALB", "\xa9alb", "WM/AlbumTitle", "album"),
    "moods": ("TMOO", "TXXX:mood", "TXXX:MOOD", "TXXX:Mood", "----:com.apple.iTunes:MOOD", "WM/Mood", "mood"),
}
_MOST_CHARACTERS = 1_000
_MOST_VALUES = 100


@dataclass(frozen=True)
class Metadata:
    """What a file says about itself; empty where it says nothing that can be read.

    Attributes:
        artist: Several are joined with "; ".
        title: Of the track.
        album: Its name.
        moods: Moods that somebody wrote into it.
    """

    artist: str = ""
    title: str = ""
    album: str = ""
    moods: tuple[str, ...] = ()


def read_metadata(path: Path) -> Metadata:
    """Read the tags of a file, and its moods in whatever tag they stand, as `moodbook write` sees them.

    Damaged tags are none: a track is not refused for what is written beside the music.

    Raises:
        AudioError: It is no regular file, or cannot be opened.
        OSError: The disk fails.
    """
    with open_file(path) as file:
        found = _read_tags(file)
    moods = dict.fromkeys(filter(None, map(_text, (*found.moods, *_moods_to_write(path)))))
    return replace(found, moods=tuple(moods)[:_MOST_VALUES])


def _moods_to_write(path: Path) -> Iterator[str]:
    """Give the moods in the tag that is written, under any spelling of its name, and in the others."""
    # Not above: they import mutagen's part for each kind of file, which the command line does without.
    from moodbook.library.filetags.elsewhere import moods_elsewhere
    from moodbook.library.filetags.fields import moods
    from moodbook.library.filetags.rewrite import read_fields

    with suppress(AudioError, TagError):
        yield from moods(read_fields(path))
    with suppress(AudioError, TagError):
        yield from moods_elsewhere(path)


def _read_tags(file: BinaryIO) -> Metadata:
    import mutagen

    bound_inflation()
    try:
        file.seek(0)
        found = mutagen.File(file)
        tags = None if found is None else found.tags
        if tags is None:
            return Metadata()
        values = {field: _values(tags, names) for field, names in _NAMES.items()}
    except Exception:  # noqa: BLE001 (mutagen raises whatever damaged bytes lead to)
        return Metadata()
    return Metadata(
        artist="; ".join(values["artist"])[:_MOST_CHARACTERS],
        title="; ".join(values["title"])[:_MOST_CHARACTERS],
        album="; ".join(values["album"])[:_MOST_CHARACTERS],
        moods=tuple(values["moods"]),
    )


def _values(tags: Any, names: Iterable[str]) -> list[str]:
    """Give the values under the first of the names that has any."""
    for name in names:
        try:
            held = tags[name]
        except (KeyError, ValueError):  # ValueError: no such key is possible in this kind of tags.
            continue
        listed = getattr(held, "text", held)  # An ID3 frame; the other kinds are lists, APEv2 one of its own.
        if isinstance(listed, (str, bytes)):
            listed = [listed]
        texts = [_text(value) for _, value in zip(range(_MOST_VALUES), listed, strict=False)]
        if kept := list(dict.fromkeys(text for text in texts if text)):
            return kept
    return []


def _text(value: Any) -> str:
    """Give a value as clean text: valid Unicode, no control characters, not endless."""
    raw = getattr(value, "value", value)  # An ASF attribute, or the text itself.
    text = bytes(raw).decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    printable = "".join(c if c.isprintable() else " " for c in text[:_MOST_CHARACTERS])
    return " ".join(printable.split())
