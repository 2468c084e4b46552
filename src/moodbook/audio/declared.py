"""How much audio a file promises: what its header declares, against the bytes that are there.

libsndfile quietly shortens a truncated wav, w64, aiff or au file to what is left of it, and an Ogg file to its last
whole page. The promise is read here, so that a truncated file can be told from a short one. What cannot be told:
a raw stream (aac, ac3, amr, mp3 without a Xing or VBRI header) declares nothing, and a header written by a program that
did not know the length yet (a pipe) declares nothing either.
"""

from __future__ import annotations

import math
from typing import BinaryIO

from moodbook.audio.containers import Container

_FURTHEST = 2**63 - 1  # No file goes further, and no system can be asked for more.
_MOST_CHUNKS = 1 << 16  # A file of empty chunks has millions; a whole one has a dozen.
_UNKNOWN_SIZE = 0x7FFF_0000  # Programs that write to a pipe put 0x7FFFxxxx or 0xFFFFFFFF where the size should stand.
_OGG_TAIL_BYTES = 1 << 18  # Holds the last page for sure: a page has 65,307 bytes at most.
_OGG_END_OF_STREAM = 4
_OGG_SERIAL = slice(14, 18)  # Where the head of a page says to which stream it belongs.


def declared_share(file: BinaryIO, container: Container, size: int) -> float:
    """Give the audio that the header declares, as a multiple of what is there: 1.0 for a whole file, more if truncated.

    1.0 too where the header declares nothing; infinity where audio is declared and none is there.
    """
    if container.name in ("wav", "rf64"):
        extent = find_chunk(file, 12, b"data", "big" if _read(file, 0, 4) == b"RIFX" else "little")
        if extent is not None and extent[1] >= _UNKNOWN_SIZE:
            extent = rf64_extent(file, extent) if container.name == "rf64" else None
    elif container.name == "aiff":
        extent = find_chunk(file, 12, b"SSND", "big")
    elif container.name == "w64":
        extent = _find_w64_data(file)
    elif container.name == "caf":
        extent = _find_caf_data(file)
    elif container.name == "au":
        head = _read(file, 4, 8)
        extent = (int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big"))
        extent = None if extent[1] >= _UNKNOWN_SIZE else extent
    else:
        extent = None
    if extent is None:
        return 1.0
    present = size - extent[0]
    if present <= 0:
        return math.inf if extent[1] else 1.0
    return max(1.0, extent[1] / present)


def is_unfinished_ogg(file: BinaryIO, size: int) -> bool:
    """Whether the last whole page of an Ogg file is not marked as the end of a stream."""
    page = _last_ogg_page(file, size)
    return page is None or not page[5] & _OGG_END_OF_STREAM


def is_chained_ogg(file: BinaryIO, start: int, size: int) -> bool:
    """Whether an Ogg file ends in another stream than it begins with, as recordings of radio stations do."""
    page = _last_ogg_page(file, size)
    return page is not None and page[_OGG_SERIAL] != _read(file, start, 27)[_OGG_SERIAL]


def _last_ogg_page(file: BinaryIO, size: int) -> bytes | None:
    """Find the head of the last whole page of an Ogg file."""
    base = max(0, size - _OGG_TAIL_BYTES)
    tail = _read(file, base, size - base)
    page = tail.rfind(b"OggS\0")
    while page >= 0:
        if len(tail) >= page + 27:
            lacing = tail[page + 27 : page + 27 + tail[page + 26]]
            if len(lacing) == tail[page + 26] and page + 27 + len(lacing) + sum(lacing) <= len(tail):
                return tail[page : page + 27]
        page = tail.rfind(b"OggS\0", 0, page)
    return None


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    if offset > _FURTHEST:
        return b""
    file.seek(offset)
    return file.read(size)


def find_chunk(file: BinaryIO, offset: int, name: bytes, order: str) -> tuple[int, int] | None:
    """Find a chunk of a RIFF or IFF file: the place and declared size of its content."""
    for _ in range(_MOST_CHUNKS):
        head = _read(file, offset, 8)
        if len(head) < 8:
            break
        length = int.from_bytes(head[4:], "big" if order == "big" else "little")
        if head[:4] == name:
            return offset + 8, length
        offset += 8 + length + length % 2
    return None


def rf64_extent(file: BinaryIO, extent: tuple[int, int]) -> tuple[int, int] | None:
    """Give place and size of the data chunk of an RF64 file, whose size stands in another chunk; None without that."""
    sizes = find_chunk(file, 12, b"ds64", "little")
    return None if sizes is None else (extent[0], int.from_bytes(_read(file, sizes[0] + 8, 8), "little"))


def _find_caf_data(file: BinaryIO) -> tuple[int, int] | None:
    """Find the data chunk of a Core Audio file: 4-byte names, 64-bit sizes, -1 where the size was not known."""
    offset = 8
    for _ in range(_MOST_CHUNKS):
        head = _read(file, offset, 12)
        if len(head) < 12:
            break
        length = int.from_bytes(head[4:], "big", signed=True)
        if length < 0:
            return None
        if head[:4] == b"data":
            return offset + 12, length
        offset += 12 + length
    return None


def _find_w64_data(file: BinaryIO) -> tuple[int, int] | None:
    """Find the data chunk of a Wave64 file, with the place and declared size of its content.

    Its chunks have 16-byte names and 64-bit sizes that count the head, and lie on multiples of eight.
    """
    offset = 40
    for _ in range(_MOST_CHUNKS):
        head = _read(file, offset, 24)
        if len(head) < 24:
            break
        length = int.from_bytes(head[16:], "little")
        if head[:4] == b"data":
            return offset + 24, length - 24
        if length < 24:
            return None
        offset += (length + 7) // 8 * 8
    return None
