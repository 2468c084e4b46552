"""Moods in places that Moodbook does not write: a second ID3 or APE tag, an ID3 tag before a flac, fields of others.

They are the owner's words as much as those in the tag that is written, and some programs read them first. So they are
looked for before anything is written beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from mutagen.apev2 import APETextValue, APEv2
from mutagen.asf import ASF
from mutagen.id3 import ID3
from mutagen.mp4 import MP4

from moodbook.audio import edges
from moodbook.audio.declared import find_chunk
from moodbook.audio.edges import EdgeKind, EdgeTag
from moodbook.audio.files import open_file
from moodbook.library.filetags.fields import check_length, moods, unreadable
from moodbook.library.filetags.formats import tag_format, typed_errors

_WRITTEN: dict[str, EdgeKind] = {
    **dict.fromkeys(("mp3", "aac", "tta"), "ID3v2"),
    **dict.fromkeys(("wavpack", "ape", "musepack", "tak"), "APE"),
}
"""Which of the tags at the ends of a file is the one that is written; of the other kinds of file it is none."""
_CHUNKS: dict[str, tuple[Literal["little", "big"], tuple[bytes, ...]]] = {
    "wav": ("little", (b"id3 ", b"ID3 ")),
    "aiff": ("big", (b"ID3 ",)),
}
"""Order of the bytes of a length, and the names of the chunks with a tag, in files that have it in one."""
_FIRST_CHUNK = 12  # Behind the name, length and form of the file.


def moods_elsewhere(path: Path) -> list[str]:
    """Give the moods that stand in other tags of a file than the one that is written, or in fields of other programs.

    Raises:
        AudioError: It cannot be opened or is no audio.
        TagError: Such a tag is damaged: nobody knows what it says.
    """
    with typed_errors(path, "reading the tags"):
        name, _ = tag_format(path)
        with open_file(path) as file:
            size = file.seek(0, 2)
            tags = [*edges.tags_in_front(file), *edges.tags_at_end(file, size), *_more_chunks(file, size, name)]
            # The first one from its end of the file is the one that is written.
            own = next((tag for tag in tags if tag.kind == _WRITTEN.get(name)), None)
            words = list(_words_in_fields_of_others(path, name))
            for tag in tags:
                if tag != own:
                    file.seek(tag.start)
                    words += _words(tag, file.read(tag.end - tag.start), path)
    held = moods({"mood": words})
    check_length(path, held)
    return held


def _words_in_fields_of_others(path: Path, name: str) -> Iterator[str]:
    """Read the mood in an m4a's free-form atoms of other owners than iTunes, and in a wma's attribute "mood"."""
    if name == "mp4":
        for key, values in (MP4(path).tags or {}).items():
            owner, _, field = key.removeprefix("----:").rpartition(":")
            if key.startswith("----:") and field.casefold() == "mood" and owner != "com.apple.iTunes":
                yield from (bytes(value).decode("utf-8", "replace") for value in values)
    elif name == "asf":
        for key, value in ASF(path).tags:
            if key.casefold() == "mood":
                yield str(value)


def _more_chunks(file: BinaryIO, size: int, name: str) -> list[EdgeTag]:
    """Find the ID3 tags in chunks of a wav or aiff file behind the first one, which is the one that is written."""
    if name not in _CHUNKS:
        return []
    order, names = _CHUNKS[name]
    tags: list[EdgeTag] = []
    for chunk_name in names:
        offset = _FIRST_CHUNK
        while (chunk := find_chunk(file, offset, chunk_name, order)) is not None:
            start, length = chunk
            tags.append(EdgeTag("ID3v2", start, min(start + length, size)))
            offset = start + length + length % 2
    return sorted(tags, key=lambda tag: tag.start)[1:]


def _words(tag: EdgeTag, data: bytes, path: Path) -> Iterator[str]:
    if tag.kind == "ID3v2":
        for frame in ID3(BytesIO(data), load_v1=False).values():
            if frame.FrameID == "TMOO" or (frame.FrameID == "TXXX" and frame.desc.casefold() == "mood"):
                yield from map(str, frame.text)
    elif tag.kind == "APE":
        mood = APEv2(BytesIO(data)).get("mood", APETextValue("", 0))
        if not isinstance(mood, APETextValue):
            raise unreadable(path, "Mood")
        yield from mood
