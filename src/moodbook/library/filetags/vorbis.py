"""Vorbis comments: in a metadata block of flac, in the second packet of ogg.

Source:
    Xiph.Org, Ogg Vorbis I format: comment field and header specification; RFC 9639 (FLAC); RFC 7845 (Ogg Opus).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mutagen.flac import FLAC
from mutagen.ogg import OggPage
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggspeex import OggSpeex
from mutagen.oggvorbis import OggVorbis

from moodbook.audio import edges
from moodbook.audio.files import open_file
from moodbook.errors import TagError
from moodbook.library.filetags.fields import SCORES, FieldNames, Fields, Others, range_hash, text_hash

_MOOD = "MOOD"
_NAMES = FieldNames(_MOOD, SCORES)
_PADDING, _COMMENTS = 1, 4  # Types of metadata blocks.
_FLAC_FRAME = 0xFF
_MOST_PAGES = 1 << 12  # Of headers: 256 MiB of pictures.


class VorbisComments:
    """The comments of one kind of file.

    Args:
        opener: mutagen's class of the container.
        prefix: What stands before the comments in their packet; None for flac without ogg.
    """

    def __init__(self, opener: Callable[..., Any], prefix: bytes | None) -> None:
        self._opener = opener
        self._prefix = prefix

    def names(self, path: Path) -> FieldNames:
        """Say what the fields are called."""
        return _NAMES

    def owns(self, name: str) -> bool:
        """Whether a field of this name is one of the two."""
        return _is_ours(name)

    def read(self, path: Path) -> Fields:
        """Read the fields, each under the name as the file spells it."""
        fields: Fields = {}
        for name, value in self._opener(path).tags or ():
            if _is_ours(name):
                fields.setdefault(name, []).append(value)
        return fields

    def write(self, path: Path, fields: Fields) -> None:
        """Replace the fields by these."""
        sound = self._opener(path)
        if sound.tags is None:
            sound.add_tags()
        kept = [(name, value) for name, value in sound.tags if not _is_ours(name)]
        # The list itself, not the dictionary that it also is: that would sort what was written in an order.
        sound.tags[:] = kept + [(name, value) for name, values in fields.items() for value in values]
        sound.save()

    def others(self, path: Path) -> Others:
        """Tell every other comment, every other metadata block, and the tags at the end."""
        with open_file(path) as file:
            if self._prefix is None:
                return _flac_others(file, path)
            return self._ogg_others(file, path)

    def _ogg_others(self, file: BinaryIO, path: Path) -> Others:
        packets = _header_packets(file, flac=self._opener is OggFLAC)
        others: Others = Counter()
        for packet in packets[1:]:
            if self._opener is OggFLAC and packet[0] & 0x7F != _COMMENTS:
                others["header", text_hash(packet)] += 1
                continue
            others += _comment_others(packet[len(self._prefix or b"") :], path)
        return others


def _flac_others(file: BinaryIO, path: Path) -> Others:
    others: Others = Counter()
    size = file.seek(0, 2)
    offset = edges.skip_id3(file)
    others["ID3", range_hash(file, 0, offset)] += 1
    offset += 4
    last = False
    while not last:
        file.seek(offset)
        head = file.read(4)
        if len(head) < 4:
            raise TagError(path, "its metadata blocks do not end. Copy or download it again.")
        last, kind, length = bool(head[0] & 0x80), head[0] & 0x7F, int.from_bytes(head[1:], "big")
        if kind == _COMMENTS:
            others += _comment_others(file.read(length), path)
        elif kind != _PADDING:
            others[f"block {kind}", range_hash(file, offset + 4, offset + 4 + length)] += 1
        offset += 4 + length
    tail = max(offset, edges.skip_tags_at_end(file, size))
    others["tags at the end", range_hash(file, tail, size)] += 1
    return others


def _comment_others(data: bytes, path: Path) -> Others:
    """Tell who wrote the comments and every one that is not a field, as bytes."""
    others: Others = Counter()
    offset = 0

    def take() -> bytes:
        nonlocal offset
        length = int.from_bytes(data[offset : offset + 4], "little")
        text = data[offset + 4 : offset + 4 + length]
        if len(text) < length or offset + 4 > len(data):
            raise TagError(path, "its comments are damaged. Repair them with a tag editor first.")
        offset += 4 + length
        return text

    vendor = take()
    if vendor:
        others["vendor", text_hash(vendor)] += 1
    count = int.from_bytes(data[offset : offset + 4], "little")
    offset += 4
    for _ in range(min(count, len(data))):
        comment = take()
        name = comment.partition(b"=")[0].upper().decode("utf-8", "backslashreplace")
        if not _is_ours(name):
            others[name, text_hash(comment)] += 1
    if offset < len(data) and data[offset] & 1 and data[offset + 1 :].strip(b"\0"):
        others["behind the comments", text_hash(data[offset:])] += 1  # RFC 7845: bytes to be kept.
    return others


def _header_packets(file: BinaryIO, *, flac: bool) -> list[bytes]:
    """Give the first packets of the first stream: the identification and the comments; for flac all of the headers."""
    file.seek(0)
    packets: list[bytes] = []
    for packet in _packets(file):
        if flac and packets and packet[:1] == bytes([_FLAC_FRAME]):
            break
        packets.append(packet)
        if not flac and len(packets) == 2:
            break
    return packets


def _packets(file: BinaryIO) -> Iterator[bytes]:
    serial = None
    held: list[bytes] = []
    for _ in range(_MOST_PAGES):
        try:
            page = OggPage(file)
        except EOFError:
            return
        serial = page.serial if serial is None else serial
        if page.serial != serial:
            continue
        for index, part in enumerate(page.packets):
            held.append(part)
            if page.complete or index < len(page.packets) - 1:
                yield b"".join(held)
                held = []


def _is_ours(name: str) -> bool:
    return name.upper() in (_MOOD, SCORES)


FLAC_TAGS = VorbisComments(FLAC, None)
VORBIS_TAGS = VorbisComments(OggVorbis, b"\x03vorbis")
OPUS_TAGS = VorbisComments(OggOpus, b"OpusTags")
SPEEX_TAGS = VorbisComments(OggSpeex, b"")
OGG_FLAC_TAGS = VorbisComments(OggFLAC, b"\x84\0\0\0")
