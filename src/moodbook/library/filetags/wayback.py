"""How a file that got new tags becomes the old one again, to the byte: what of the old one is not in the new one.

Tags that were written and taken away again leave traces: room for padding, an empty tag where there was none. They
change nothing that anybody hears or reads, and yet the file is another one for a backup or a checksum. So the journal
keeps, of each file, the few bytes that the new file lacks, and the hashes of both. Where the file still is what was
written, undoing gives the very bytes that were there before.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from moodbook.errors import TagError

MOST_BYTES = 1 << 20
"""Old bytes that are kept of one file; a file that would need more is put back field by field. Only the index of an
m4a of many hours, in front of its music, needs as much."""
_BLOCK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 12  # So finely are files compared that have the same places.
_MOST_MATCHED_BYTES = 32 << 20  # Tags are smaller, pictures and all; what is larger is music.
_ANCHOR_BYTES = 64  # What is as long as this and the same is taken for the same thing.
_MOST_MISSES = 4_096  # Anchors that are looked for in vain: 256 KB that are really new ...
_MOST_SEARCHED_BYTES = 1 << 30  # ... and no more than this to look through: a second.


@dataclass(frozen=True)
class Piece:
    """A part of the old file.

    Attributes:
        start: Where it stands in the new file, where it does.
        length: In bytes.
        data: Its bytes, where the new file lacks them; then `start` means nothing.
    """

    start: int
    length: int
    data: bytes | None = None


@dataclass(frozen=True)
class WayBack:
    """How a new file becomes the old one.

    Attributes:
        new_sha256: Hash of the new file.
        old_sha256: Hash of the old file.
        pieces: The old file, part by part.
    """

    new_sha256: str
    old_sha256: str
    pieces: tuple[Piece, ...]

    def fits(self, path: Path) -> bool:
        """Whether a file is still the new one."""
        return file_hash(path) == self.new_sha256

    def restore(self, new: Path, to: Path) -> None:
        """Write the old file.

        Args:
            new: The new file, which `fits`.
            to: Where to; what is there is written over.

        Raises:
            TagError: What comes out is not the old file.
            OSError: The disk refuses.
        """
        digest = hashlib.sha256()
        with new.open("rb") as source, to.open("wb") as out:
            for piece in self.pieces:
                for data in [piece.data] if piece.data is not None else _read(source, piece.start, piece.length):
                    digest.update(data)
                    out.write(data)
        if digest.hexdigest() != self.old_sha256:
            raise TagError(new, "the journal's record of what it was is damaged. Nothing was written.")


def find_way_back(old: Path, new: Path) -> WayBack | None:
    """Compare two files; None where the new one lacks more than `MOST_BYTES` of the old one.

    Tags stand in front of the music or behind it, so what changed lies between the same beginning and the same end. In
    there parts of the old file are looked for in the new one: pictures and other tags have moved at most. Only a
    container that counts its bytes in front and has its tags behind, such as wav, has music between; there most bytes
    are where they were.

    Raises:
        OSError: The disk refuses.
    """
    with old.open("rb") as before, new.open("rb") as after:
        sizes = before.seek(0, 2), after.seek(0, 2)
        start = _common(before, after, min(sizes), lambda offset: (offset, offset), at_end=False)
        end = _common(
            before,
            after,
            min(sizes) - start,
            lambda offset: (sizes[0] - offset, sizes[1] - offset),
            at_end=True,
        )
        spans = sizes[0] - start - end, sizes[1] - start - end
        if max(spans) <= _MOST_MATCHED_BYTES:
            parts = b"".join(_read(before, start, spans[0])), b"".join(_read(after, start, spans[1]))
            pieces = [Piece(0, start), *_matched(*parts, start), Piece(sizes[1] - end, end)]
        else:
            pieces = list(_in_place(before, after, *sizes))
    if sum(piece.length for piece in pieces if piece.data is not None) > MOST_BYTES:
        return None
    return WayBack(file_hash(new), file_hash(old), tuple(_joined(pieces)))


def file_hash(path: Path) -> str:
    """Hash a whole file.

    Raises:
        OSError: The disk refuses.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(data: bytes) -> str:
    """Write bytes as text for a journal; padding takes no room."""
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")


def unpack(text: str, length: int) -> bytes:
    """Read what `pack` wrote.

    Raises:
        ValueError: It is damaged, has another length, or is more than is ever kept.
    """
    if length > MOST_BYTES:
        raise ValueError(f"{length} bytes of a file, at most {MOST_BYTES} are kept")
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(base64.b64decode(text, validate=True), length + 1)
    except zlib.error as error:
        raise ValueError(f"damaged bytes: {error}") from error
    if len(data) != length:
        raise ValueError(f"expected {length} bytes, got {len(data)}")
    return data


def _common(
    before: BinaryIO, after: BinaryIO, most: int, places: Callable[[int], tuple[int, int]], *, at_end: bool
) -> int:
    """Count the bytes that two files have in common, from their beginnings or back from their ends."""
    count = 0
    while count < most:
        size = min(_BLOCK_BYTES, most - count)
        offsets = places(count + size if at_end else count)
        one, other = (
            b"".join(_read(file, offset, size)) for file, offset in zip((before, after), offsets, strict=True)
        )
        if one == other:
            count += size
            continue
        if at_end:
            one, other = one[::-1], other[::-1]
        return count + next(n for n in range(size) if one[n : n + 1] != other[n : n + 1])
    return count


def _matched(before: bytes, after: bytes, base: int) -> Iterator[Piece]:
    """Find the parts of one text in another that stands at `base` of its file."""
    place = found = misses = 0
    most_misses = min(_MOST_MISSES, _MOST_SEARCHED_BYTES // max(1, len(after)))
    while place < len(before):
        anchor = before[place : place + _ANCHOR_BYTES]
        at = -1
        if misses < most_misses:
            # What follows in one mostly follows in the other.
            at = after.find(anchor, found)
            at = after.find(anchor, 0, found + len(anchor)) if at < 0 else at
        if at < 0:
            misses += 1
            yield Piece(0, len(anchor), anchor)
            place += len(anchor)
            continue
        length = len(anchor)
        for size in (_BLOCK_BYTES, _SMALL_BYTES, _ANCHOR_BYTES, 1):
            while (
                place + length + size <= len(before)
                and before[place + length : place + length + size] == after[at + length : at + length + size]
            ):
                length += size
        yield Piece(base + at, length)
        place, found = place + length, at + length


def _in_place(before: BinaryIO, after: BinaryIO, old_size: int, new_size: int) -> Iterator[Piece]:
    """Compare what stands at the same places, as long as not too much differs."""
    kept = 0
    for start in range(0, old_size, _SMALL_BYTES):
        length = min(_SMALL_BYTES, old_size - start)
        data = b"".join(_read(before, start, length))
        if start + length <= new_size and data == b"".join(_read(after, start, length)):
            yield Piece(start, length)
            continue
        yield Piece(0, length, data)
        kept += length
        if kept > MOST_BYTES:
            return


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Join neighbours, and leave out what is empty."""
    held: Piece | None = None
    for piece in pieces:
        if held is None or not held.length:
            held = piece
        elif held.data is not None and piece.data is not None:
            held = Piece(0, held.length + piece.length, held.data + piece.data)
        elif held.data is None and piece.data is None and held.start + held.length == piece.start:
            held = Piece(held.start, held.length + piece.length)
        elif piece.length:
            yield held
            held = piece
    if held is not None and held.length:
        yield held


def _read(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    file.seek(start)
    while length > 0 and (data := file.read(min(_BLOCK_BYTES, length))):
        length -= len(data)
        yield data
