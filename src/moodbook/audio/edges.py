"""Tags that stand in front of any audio file and behind it, whatever the container: ID3, APE and Lyrics3.

What stands behind is found by its last bytes, which say its size. A damaged size would take music for a tag, so a size
is believed only where the tag proves it: its first bytes stand where it says, or its items lead exactly to its end.

Source:
    ID3v2.4.0 informal standard, Lyrics3 v1 and v2 (id3.org); Hydrogenaudio knowledge base, APEv2 specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

_MOST_TAGS = 64  # At one end of a file, before the rest is taken for damage: a file of empty tags has millions.
_MOST_ITEMS = 1 << 12  # Of an APE tag without a header.
_HAS_FOOTER = 0x10  # In the flags of an ID3v2 tag.
_ID3V1_BYTES = 128
_APE_HEAD_BYTES = 32  # And of its footer, which is made alike.
_APE_KEY_BYTES = 256  # The longest name of an item and the zero behind it.
_HAS_HEADER, _IS_HEADER = 0x80, 0x20  # In the last byte of the flags.
_LYRICS3_BEGIN = b"LYRICSBEGIN"
_LYRICS3_V1_BYTES = 11 + 5_100 + 9  # Its opening word, as much text as it may hold, its closing word.
_LYRICS3_V2_BYTES = 6 + 9  # Its size and its closing word.


EdgeKind = Literal["ID3v2", "ID3v1", "APE", "Lyrics3"]


@dataclass(frozen=True)
class EdgeTag:
    """A tag at one end of a file.

    Attributes:
        kind: What it is.
        start: Its first byte.
        end: The byte behind it.
    """

    kind: EdgeKind
    start: int
    end: int


def tags_in_front(file: BinaryIO, offset: int = 0) -> list[EdgeTag]:
    """Find the ID3v2 tags that stand at `offset`, the first one first."""
    tags: list[EdgeTag] = []
    while len(tags) < _MOST_TAGS:
        file.seek(offset)
        head = file.read(10)
        if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
            break
        end = offset + 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        if head[5] & _HAS_FOOTER and _read(file, end, end + 10).startswith(b"3DI"):
            end += 10
        tags.append(EdgeTag("ID3v2", offset, end))
        offset = end
    return tags


def tags_at_end(file: BinaryIO, size: int) -> list[EdgeTag]:
    """Find the tags at the end of a file of `size` bytes, the last one first; none where there are too many of them."""
    tags: list[EdgeTag] = []
    end = size
    while end > 0 and (tag := _last_tag(file, end)) is not None:
        tags.append(tag)
        if len(tags) == _MOST_TAGS:
            return []
        end = tag.start
    return tags


def skip_id3(file: BinaryIO, offset: int = 0) -> int:
    """Give the first byte behind the ID3v2 tags that stand at `offset`."""
    tags = tags_in_front(file, offset)
    return tags[-1].end if tags else offset


def skip_tags_at_end(file: BinaryIO, size: int) -> int:
    """Give the byte before the tags at the end of a file."""
    tags = tags_at_end(file, size)
    return tags[-1].start if tags else size


def _last_tag(file: BinaryIO, end: int) -> EdgeTag | None:
    tail = _read(file, end - _ID3V1_BYTES, end)
    if len(tail) == _ID3V1_BYTES and tail.startswith(b"TAG"):
        return EdgeTag("ID3v1", end - _ID3V1_BYTES, end)
    if len(tail) >= _APE_HEAD_BYTES and tail[-_APE_HEAD_BYTES:].startswith(b"APETAGEX"):
        return EdgeTag("APE", end - _ape_bytes(file, tail[-_APE_HEAD_BYTES:], end), end)
    length = 0
    if tail.endswith(b"LYRICS200"):
        length = _lyrics3_v2_bytes(file, tail, end)
    elif tail.endswith(b"LYRICSEND"):
        length = _lyrics3_v1_bytes(file, end)
    return EdgeTag("Lyrics3", end - length, end) if length else None


def _ape_bytes(file: BinaryIO, footer: bytes, end: int) -> int:
    """Give the length of an APE tag by its footer; of one whose size is damaged, that of the footer alone."""
    length = int.from_bytes(footer[12:16], "little")  # Of the items and the footer.
    start = end - length
    if start < 0 or length < _APE_HEAD_BYTES:
        return _APE_HEAD_BYTES
    if footer[23] & _HAS_HEADER and start >= _APE_HEAD_BYTES:
        head = _read(file, start - _APE_HEAD_BYTES, start)
        if head.startswith(b"APETAGEX") and head[23] & _IS_HEADER:
            return length + _APE_HEAD_BYTES
    return length if _items_end_at(file, start, end - _APE_HEAD_BYTES) else _APE_HEAD_BYTES


def _items_end_at(file: BinaryIO, start: int, end: int) -> bool:
    """Whether items of an APE tag, one behind the other from `start` on, end exactly at `end`."""
    for _ in range(_MOST_ITEMS):
        if start >= end:
            break
        head = _read(file, start, min(end, start + 8 + _APE_KEY_BYTES))
        key = head.find(b"\0", 8)
        if key < 0:
            return False
        start += key + 1 + int.from_bytes(head[:4], "little")
    return start == end


def _lyrics3_v2_bytes(file: BinaryIO, tail: bytes, end: int) -> int:
    """Give the length of a Lyrics3 v2 block; 0 where it does not begin where its size says."""
    digits = tail[-_LYRICS3_V2_BYTES:-9]
    if not digits.isdigit():
        return 0
    length = int(digits) + _LYRICS3_V2_BYTES
    start = end - length
    return length if _read(file, start, start + len(_LYRICS3_BEGIN)) == _LYRICS3_BEGIN else 0


def _lyrics3_v1_bytes(file: BinaryIO, end: int) -> int:
    """Give the length of a Lyrics3 v1 block, which says its beginning but not its size; 0 where it has none."""
    base = max(0, end - _LYRICS3_V1_BYTES)
    begin = _read(file, base, end).rfind(_LYRICS3_BEGIN)
    return 0 if begin < 0 else end - base - begin


def _read(file: BinaryIO, start: int, end: int) -> bytes:
    """Read the bytes from `start` to `end`, as far as there are any."""
    start = max(0, start)
    file.seek(start)
    return file.read(max(0, end - start))
