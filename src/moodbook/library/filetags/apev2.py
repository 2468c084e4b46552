"""APEv2 tags: at the end of wavpack, Monkey's Audio, Musepack and TAK files.

Source:
    Hydrogenaudio knowledge base, APEv2 specification.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mutagen.apev2 import APENoHeaderError, APETextValue, APEv2

from moodbook.audio import edges
from moodbook.audio.containers import identify
from moodbook.audio.files import open_file
from moodbook.errors import TagError
from moodbook.library.filetags.fields import (
    SCORES,
    FieldNames,
    Fields,
    Others,
    range_hash,
    text_hash,
    unreadable,
    without_id3v1,
)

_MOOD = "Mood"
_NAMES = FieldNames(_MOOD, SCORES)
_FOOTER_BYTES = 32
_KIND = 0x06  # Flags of an item that say what its value is.
_ID3V1_BYTES = 128
_LARGEST_TAG_BYTES = 1 << 28  # With a cover of 256 MiB.


class ApeV2Tags:
    """The APEv2 tag at the end of a file."""

    def names(self, path: Path) -> FieldNames:
        """Say what the fields are called."""
        return _NAMES

    def owns(self, name: str) -> bool:
        """Whether a field of this name is one of the two."""
        return _is_ours(name)

    def read(self, path: Path) -> Fields:
        """Read the fields, each under the name as the file spells it."""
        fields: Fields = {}
        for key, value in _load(path).items():
            if not _is_ours(key):
                continue
            if not isinstance(value, APETextValue):
                raise unreadable(path, key)
            fields[key] = list(value)
        return fields

    def write(self, path: Path, fields: Fields) -> None:
        """Replace the fields by these."""
        with without_id3v1(path):
            tags = _load(path)
            for key in [key for key in tags if _is_ours(key)]:
                del tags[key]
            for key, values in fields.items():
                tags[key] = values
            if tags:
                tags.save(path)
            else:
                tags.delete(path)

    def others(self, path: Path) -> Others:
        """Tell every other item, and the other tags at both ends."""
        others: Others = Counter()
        with open_file(path) as file:
            size = file.seek(0, 2)
            start = identify(file, str(path)).start
            others["before the audio", range_hash(file, 0, start)] += 1
            tail = max(start, edges.skip_tags_at_end(file, size))
            if size - tail > _LARGEST_TAG_BYTES:
                raise TagError(path, f"its APE tag says that it has {size - tail:,} bytes. Repair it first.")
            file.seek(tail)
            tags = file.read()
        end = len(tags)
        if tags[-_ID3V1_BYTES:].startswith(b"TAG"):
            end -= _ID3V1_BYTES
            others["ID3v1", text_hash(tags[end:])] += 1
        return others + _item_hashes(tags[:end], path)


def _load(path: Path) -> APEv2:
    try:
        return APEv2(path)
    except APENoHeaderError:
        return APEv2()


def _is_ours(key: str) -> bool:
    return key.upper() in (_MOOD.upper(), SCORES)


def _item_hashes(data: bytes, path: Path) -> Others:
    """Tell the items of a tag that ends with its footer, and whatever stands before it."""
    others: Others = Counter()
    if not data:
        return others
    footer = data[-_FOOTER_BYTES:]
    if not footer.startswith(b"APETAGEX"):
        return Counter({("other tags", text_hash(data)): 1})
    length = int.from_bytes(footer[12:16], "little")
    has_header = bool(footer[23] & 0x80)
    begin = len(data) - length
    before = data[: max(0, begin - (_FOOTER_BYTES if has_header else 0))]
    if before:
        others["other tags", text_hash(before)] += 1
    items = data[max(0, begin) : -_FOOTER_BYTES]
    ours: list[str] = []
    while items:
        size, flags = int.from_bytes(items[:4], "little"), int.from_bytes(items[4:8], "little")
        key, separator, rest = items[8:].partition(b"\0")
        if not separator or size > len(rest):
            raise TagError(path, "its APE tag is damaged. Repair it with a tag editor first.")
        name = key.decode("latin-1")
        if _is_ours(name):
            ours.append(name.upper())
            if len(ours) != len(set(ours)):
                raise TagError(path, f"its APE tag has {name!r} twice. Repair it with a tag editor first.")
        else:
            others[name, text_hash(bytes([flags & _KIND]) + rest[:size])] += 1
        items = rest[size:]
    return others
