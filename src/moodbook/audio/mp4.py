"""Boxes of an MP4 file (ISO/IEC 14496-12), as far as they tell where the sound lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64

_MOST_BOXES = 1 << 12  # In one box: a whole file has a dozen, one in fragments some thousands.
_LARGEST_TABLE_BYTES = 1 << 24  # 4 million samples: a day of AAC.


@dataclass(frozen=True)
class Box:
    """A part of the file.

    Attributes:
        name: Four letters.
        start: Byte of its head.
        content: Byte of its content, behind the head.
        end: Byte behind it.
    """

    name: bytes
    start: int
    content: int
    end: int


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Give the boxes between two bytes, up to one that does not fit."""
    for _ in range(_MOST_BOXES):
        file.seek(start)
        head = file.read(16)
        if len(head) < 8 or start + 8 > end:
            return
        length, head_bytes = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, head_bytes = int.from_bytes(head[8:], "big"), 16
        elif length == 0:
            length = end - start
        if length < head_bytes or start + length > end:
            if head[4:8] == b"mdat" and length >= head_bytes:
                yield Box(b"mdat", start, start + head_bytes, end)  # The file was cut off.
            return
        yield Box(head[4:8], start, start + head_bytes, start + length)
        start += length


def find(file: BinaryIO, parent: Box, *path: bytes) -> Box | None:
    """Find the first box at a path below another."""
    found: Box | None = parent
    for name in path:
        if found is None:
            return None
        skipped = 4 if found.name == b"meta" else 0  # A version stands in front of its boxes.
        found = next((box for box in boxes(file, found.content + skipped, found.end) if box.name == name), None)
    return found


def box_contents(file: BinaryIO, name: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Give start and end of what the boxes of a name hold, on the file's own level."""
    for box in boxes(file, 0, size):
        if box.name == name:
            yield box.content, box.end


def sample_extents(file: BinaryIO, size: int, *, only_sound: bool = True) -> Int64[np.ndarray, "runs 2"] | None:
    """Give start and end of each run of samples of the tracks, in the order in which they are played.

    Args:
        file: The open file.
        size: Bytes of the file; what is declared behind it is left out.
        only_sound: Leave out tracks of pictures, chapters and the like.

    Returns:
        None where the tables do not tell, as in a file in fragments.
    """
    whole = Box(b"", 0, 0, size)
    movie = find(file, whole, b"moov")
    if movie is None or find(file, whole, b"moof") is not None:
        return None
    tracks = []
    for track in boxes(file, movie.content, movie.end):
        handler = find(file, track, b"mdia", b"hdlr") if track.name == b"trak" else None
        if handler is None or (only_sound and _read(file, handler.content + 8, 4) != b"soun"):
            continue
        tables = find(file, track, b"mdia", b"minf", b"stbl")
        extents = None if tables is None else _track_extents(file, tables, size)
        if extents is None:
            return None
        tracks.append(extents)
    return np.concatenate(tracks) if tracks else None


def _read(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def _track_extents(file: BinaryIO, tables: Box, size: int) -> Int64[np.ndarray, "runs 2"] | None:
    """Join the tables of one track: where its chunks lie, how many samples each has, how long the samples are."""
    offsets = _table(file, find(file, tables, b"stco"), ">u4", 1)
    if offsets is None:
        offsets = _table(file, find(file, tables, b"co64"), ">u8", 1)
    runs = _table(file, find(file, tables, b"stsc"), ">u4", 3)
    sizes = find(file, tables, b"stsz")
    if offsets is None or runs is None or sizes is None or not len(offsets) or not len(runs):
        return None
    first = runs[:, 0].astype(np.int64) - 1
    if first[0] != 0 or (np.diff(first) <= 0).any():
        return None
    # The samples of each chunk: those of the last run that has begun.
    counts = runs[np.searchsorted(first, np.arange(len(offsets)), side="right") - 1, 1].astype(np.float64)
    ends = np.cumsum(counts)
    common = int.from_bytes(_read(file, sizes.content + 4, 4), "big")
    if ends[-1] > 2**40:
        return None
    if common:
        byte_ends = ends * common
    else:
        lengths = _table(file, Box(b"stsz", sizes.start, sizes.content + 4, sizes.end), ">u4", 1)
        if lengths is None or ends[-1] > len(lengths):
            return None
        byte_ends = np.concatenate([[0.0], np.cumsum(lengths[:, 0].astype(np.float64))])[ends.astype(np.int64)]
    starts = np.minimum(offsets[:, 0], size).astype(np.int64)
    lengths_of_chunks = np.minimum(np.diff(byte_ends, prepend=0.0), size).astype(np.int64)
    return np.stack([starts, np.minimum(starts + lengths_of_chunks, size)], axis=1)


def _table(file: BinaryIO, box: Box | None, kind: str, columns: int) -> np.ndarray | None:
    """Read a box that holds version, number of rows, and rows of numbers; None where they are not all there."""
    if box is None:
        return None
    rows = int.from_bytes(_read(file, box.content + 4, 4), "big")
    length = rows * columns * np.dtype(kind).itemsize
    if length > min(_LARGEST_TABLE_BYTES, box.end - box.content - 8):
        return None
    data = _read(file, box.content + 8, length)
    return np.frombuffer(data, kind).reshape(rows, columns) if len(data) == length else None
