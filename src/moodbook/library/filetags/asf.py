"""The attributes of Windows Media files.

mutagen sorts attributes into the object where they belong by their length and language, so an attribute is compared by
its name, type, value, language and stream, not by its place.

Source:
    Microsoft, Advanced Systems Format (ASF) Specification 1.20, sections 3 and 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mutagen.asf import ASF, ASFUnicodeAttribute

from moodbook.audio.files import open_file
from moodbook.errors import TagError
from moodbook.library.filetags.fields import SCORES, FieldNames, Fields, Others, range_hash, text_hash, unreadable

_MOOD = "WM/Mood"
_SCORES = SCORES
_NAMES = FieldNames(_MOOD, _SCORES)
_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_DESCRIPTION = bytes.fromhex("3326b2758e66cf11a6d900aa0062ce6c")
_EXTENDED = bytes.fromhex("40a4d0d207e3d21197f000a0c95ea850")
_EXTENSION = bytes.fromhex("b503bf5f2ea9cf118ee300c00c205365")
_METADATA = bytes.fromhex("eacbf8c5af5b77488467aa8c44fa4cca")
_LIBRARY = bytes.fromhex("941c23449894d149a1411d134e457054")
_PADDING = bytes.fromhex("74d40618dfca0945a4ba9aabcb96aae8")
_DESCRIPTION_NAMES = ("Title", "Author", "Copyright", "Description", "Rating")
_UNICODE, _BOOL = 0, 2
_MOST_OBJECTS = 1 << 12
_LARGEST_HEADER_BYTES = 1 << 28  # With a cover of 256 MiB.


class AsfAttributes:
    """The attributes of an ASF file."""

    def names(self, path: Path) -> FieldNames:
        """Say what the fields are called."""
        return _NAMES

    def owns(self, name: str) -> bool:
        """Whether a field of this name is one of the two."""
        return _is_ours(name)

    def read(self, path: Path) -> Fields:
        """Read the fields, each under the name as the file spells it."""
        fields: Fields = {}
        for name, value in ASF(path).tags:
            if _is_ours(name):
                if not isinstance(value, ASFUnicodeAttribute):
                    raise unreadable(path, name)
                fields.setdefault(name, []).append(str(value))
        return fields

    def write(self, path: Path, fields: Fields) -> None:
        """Replace the fields by these."""
        sound = ASF(path)
        kept = [(name, value) for name, value in sound.tags if not _is_ours(name)]
        mine = [(name, ASFUnicodeAttribute(value)) for name, values in fields.items() for value in values]
        sound.tags[:] = kept + mine
        sound.save()

    def others(self, path: Path) -> Others:
        """Tell every other attribute, every other object of the header, and what follows the audio."""
        others: Others = Counter()
        with open_file(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(30)
            length = int.from_bytes(head[16:24], "little")
            if head[:16] != _HEADER or not 30 <= length <= min(size, _LARGEST_HEADER_BYTES):
                raise TagError(path, "its header is damaged. Copy or download it again.")
            others += _object_others(file.read(length - 30), path)
            others["behind the audio", range_hash(file, _end_of_data(file, length, size), size)] += 1
        return others


def _is_ours(name: str) -> bool:
    return name.upper() in (_MOOD.upper(), _SCORES.upper())


def _end_of_data(file: BinaryIO, start: int, size: int) -> int:
    file.seek(start)
    head = file.read(24)
    length = int.from_bytes(head[16:], "little")
    return start + length if head[:16] == _DATA and length else size


def _objects(data: bytes, path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Give identifier and content of each object."""
    offset = 0
    for _ in range(_MOST_OBJECTS):
        if offset == len(data):
            return
        length = int.from_bytes(data[offset + 16 : offset + 24], "little")
        if length < 24 or offset + length > len(data):
            break
        yield data[offset : offset + 16], data[offset + 24 : offset + length]
        offset += length
    raise TagError(path, "its header is damaged. Copy or download it again.")


def _object_others(data: bytes, path: Path) -> Others:
    others: Others = Counter()
    for kind, content in _objects(data, path):
        if kind == _EXTENSION:
            others += _object_others(content[22:], path)
        elif kind == _DESCRIPTION:
            others += _description_others(content)
        elif kind in (_EXTENDED, _METADATA, _LIBRARY):
            others += _attribute_others(kind, content)
        elif kind != _PADDING:
            others[f"object {kind.hex()}", text_hash(content)] += 1
    return others


def _description_others(content: bytes) -> Others:
    others: Others = Counter()
    offset = 10
    for index, name in enumerate(_DESCRIPTION_NAMES):
        length = int.from_bytes(content[2 * index : 2 * index + 2], "little")
        others += _attribute(name, _UNICODE, content[offset : offset + length], 0, 0)
        offset += length
    return others


def _attribute_others(kind: bytes, content: bytes) -> Others:
    others: Others = Counter()
    offset = 0

    def number(size: int) -> int:
        nonlocal offset
        offset += size
        return int.from_bytes(content[offset - size : offset], "little")

    for _ in range(number(2)):
        language = stream = 0
        if kind == _EXTENDED:
            name = content[offset + 2 : offset + 2 + int.from_bytes(content[offset : offset + 2], "little")]
            offset += 2 + len(name)
            value_type, length = number(2), number(2)
        else:
            language, stream = number(2), number(2)
            name_bytes, value_type, length = number(2), number(2), number(4)
            name = content[offset : offset + name_bytes]
            offset += len(name)
        value = content[offset : offset + length]
        offset += length
        text = name.decode("utf-16-le", "replace").rstrip("\0")
        if not _is_ours(text):
            others += _attribute(text, value_type, value, language, stream)
    return others


def _attribute(name: str, value_type: int, value: bytes, language: int, stream: int) -> Others:
    if value_type == _UNICODE:
        # With or without a zero at the end: both are allowed.
        value = value.decode("utf-16-le", "replace").rstrip("\0").encode("utf-16-le", "replace")
        if not value:
            return Counter()
    elif value_type == _BOOL:
        value = value[:2]  # Two bytes in one object, four in another.
    return Counter({(name, text_hash(bytes(f"{value_type} {language} {stream} ", "ascii") + value)): 1})
