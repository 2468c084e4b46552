"""The tags of MP4 files: free-form atoms beside those that iTunes knows.

mutagen understands the known atoms and writes them in its own way; here it is handed every other one as bytes, so that
a genre that stands as a number stays a number.
"""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from mutagen.mp4 import AtomDataType, MP4FreeForm, MP4Tags

from moodbook.audio.files import open_file
from moodbook.audio.mp4 import Box, boxes, find, sample_extents
from moodbook.errors import TagError, UnsupportedTagsError
from moodbook.library.filetags.fields import SCORES, FieldNames, Fields, Others, range_hash, text_hash

_MEAN = "com.apple.iTunes"
_MOOD = "MOOD"
_PREFIX = f"----:{_MEAN}:"
_NAMES = FieldNames(_PREFIX + _MOOD, _PREFIX + SCORES)
_FREE = (b"free", b"skip", b"wide")
_PARENTS = (b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts")
_OFFSETS = (b"stco", b"co64")
_LARGEST_TAGS_BYTES = 1 << 28  # With covers of 256 MiB.


class Mp4Atoms:
    """The tags of an MP4 file."""

    def names(self, path: Path) -> FieldNames:
        """Say what the fields are called."""
        return _NAMES

    def owns(self, name: str) -> bool:
        """Whether a field of this name is one of the two."""
        return _is_ours(name)

    def read(self, path: Path) -> Fields:
        """Read the fields, each under the name as the file spells it."""
        fields: Fields = {}
        for name, content in _items(path):
            key, values = _free_form(content) if name == b"----" else ("", [])
            if _is_ours(key):
                fields.setdefault(key, []).extend(value.decode() for value in values)
        return fields

    def write(self, path: Path, fields: Fields) -> None:
        """Replace the fields by these."""
        tags = MP4Tags()
        for name, content in _items(path):
            if name != b"----" or not _is_ours(_free_form(content)[0]):
                # What mutagen could not make sense of it writes back as it was: so it shall be with everything.
                tags._failed_atoms.setdefault(name.decode("latin-1"), []).append(content)
        for key, values in fields.items():
            tags[key] = [MP4FreeForm(value.encode(), dataformat=AtomDataType.UTF8) for value in values]
        tags.save(path)

    def others(self, path: Path) -> Others:
        """Tell every other atom, and the samples of every track; offsets may move as long as they point to the same."""
        others: Others = Counter()
        with open_file(path) as file:
            size = file.seek(0, 2)
            for box in boxes(file, 0, size):
                if box.name == b"moov":
                    others += _movie_others(file, box)
                elif box.name != b"mdat" and box.name not in _FREE:
                    others[_shown(box.name), range_hash(file, box.content, box.end)] += 1
            extents = sample_extents(file, size, only_sound=False)
            for start, end in () if extents is None else extents:
                others["sample", range_hash(file, int(start), int(end))] += 1
        for name, content in _items(path):
            if name != b"----" or not _is_ours(_free_form(content)[0]):
                others[f"ilst {_shown(name)}", text_hash(content)] += 1
        return others


def _movie_others(file: BinaryIO, movie: Box) -> Others:
    others: Others = Counter()
    pending = [movie]
    while pending:
        parent = pending.pop()
        # A version stands in front of the boxes of "meta".
        for box in boxes(file, parent.content + (4 if parent.name == b"meta" else 0), parent.end):
            if box.name in _PARENTS or (box.name, parent.name) in ((b"udta", b"moov"), (b"meta", b"udta")):
                pending.append(box)
            elif box.name not in (*_FREE, *_OFFSETS, b"ilst") and not _is_new_handler(parent, box):
                others[f"{_shown(parent.name)} {_shown(box.name)}", range_hash(file, box.content, box.end)] += 1
    return others


def _is_new_handler(parent: Box, box: Box) -> bool:
    """Whether a box is the handler of the tags, which comes with the first tag."""
    return parent.name == b"meta" and box.name == b"hdlr"


def _items(path: Path) -> list[tuple[bytes, bytes]]:
    """Give name and content of every atom of the list of tags."""
    with open_file(path) as file:
        size = file.seek(0, 2)
        whole = Box(b"", 0, 0, size)
        if find(file, whole, b"moov") is None:
            raise TagError(path, "it has no index (moov): it was cut off. Copy or download it again.")
        if find(file, whole, b"moof") is not None:
            raise UnsupportedTagsError(
                path,
                "its music is in fragments, a kind made for streaming, into which no tags are written. Make one piece "
                f"of it without loss: ffmpeg -i {shlex.quote(path.name)} -c copy whole.m4a",
            )
        listing = find(file, whole, b"moov", b"udta", b"meta", b"ilst")
        if listing is None:
            return []
        if listing.end - listing.content > _LARGEST_TAGS_BYTES:
            raise TagError(path, f"its tags have {listing.end - listing.content:,} bytes. Take pictures out first.")
        items = []
        covered = listing.content
        for box in boxes(file, listing.content, listing.end):
            file.seek(box.content)
            items.append((box.name, file.read(box.end - box.content)))
            covered = box.end
        if covered != listing.end:
            raise TagError(path, "its tags are damaged. Repair them with a tag editor first.")
        return items


def _free_form(content: bytes) -> tuple[str, list[bytes]]:
    """Take a free-form atom apart: its name as mutagen writes it, and its values."""
    mean = name = b""
    values = []
    offset = 0
    while offset + 12 <= len(content):
        length, kind = int.from_bytes(content[offset : offset + 4], "big"), content[offset + 4 : offset + 8]
        if length < 12:
            break
        part = content[offset + 12 : offset + length]
        if kind == b"mean":
            mean = part
        elif kind == b"name":
            name = part
        elif kind == b"data":
            values.append(part[4:])
        offset += length
    return f"----:{mean.decode('utf-8', 'replace')}:{name.decode('utf-8', 'replace')}", values


def _shown(name: bytes) -> str:
    return name.decode("latin-1")


def _is_ours(key: str) -> bool:
    return key.upper() in (_NAMES.mood.upper(), _NAMES.scores.upper())
