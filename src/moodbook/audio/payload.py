"""The hash of the audio alone: no edit of tags, pictures, padding or chapters changes it (but in `KNOWN_WHOLE`).

Each container is taken to the part of it that is sound: frames, packets, samples. Where in the file they lie does not
count, since a longer tag moves them. One pass over the file, in bounded memory; a file whose tables point to more bytes
than it has is refused, so the work is bounded by its size.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from moodbook.audio import edges, mp4
from moodbook.audio.containers import Container, identify
from moodbook.audio.declared import find_chunk, rf64_extent
from moodbook.audio.files import open_file
from moodbook.errors import AudioError, UnreadableAudioError

KNOWN_WHOLE = frozenset({"unknown", "matroska", "dsf", "dsdiff", "au", "caf", "w64", "avi", "flv", "real", "amr"})
"""Containers of which every byte counts: an edit of their tags makes other music of them."""
_BLOCK_BYTES = 1 << 20
_MOST_BLOCKS = 1 << 12  # Metadata blocks of a FLAC file, objects of an ASF file: a whole file has a dozen.
_MOST_STREAMS = 1 << 16  # Streams of an Ogg file: a day of a radio station has hundreds, one after the other.
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA_HEAD_BYTES = 50  # Identifier, size, file identifier, number of packets, reserved.
_OGG_HEAD_BYTES = 27
_OGG_FIRST = 2  # Flag of the first page of a stream.
# Whose second packet holds the tags, by what the first begins with.
_OGG_TAGS_SECOND = (b"\x01vorbis", b"OpusHead", b"Speex   ", b"\x80theora")
_OGG_FLAC = b"\x7fFLAC"
_FLAC_FRAME = 0xFF  # The first byte of a FLAC frame, and of no metadata block.

_Extents = Iterator[tuple[int, int]]


def payload_hash(path: str | Path) -> str:
    """Give the SHA-256 of a file's audio, whatever its tags say.

    What counts: the frames of mp3, aac and the like without the ID3, APE and Lyrics3 tags around them; STREAMINFO and
    the frames of flac; the packets of ogg (Vorbis, Opus, Speex, FLAC) without the one with the tags; the samples of the
    sound tracks of mp4; the data packets of wma; format and samples of wav and aiff. Any other file counts whole.

    Args:
        path: The file.

    Returns:
        64 hexadecimal digits.

    Raises:
        EmptyAudioError: The file has no bytes.
        UnreadableAudioError: The file cannot be opened or read, or its structure contradicts itself.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            container = identify(file, str(path))
        except AudioError:
            container = Container("unknown", "ffmpeg", None)
        try:
            return _hash(file, container, size, path)
        except OSError as error:
            raise UnreadableAudioError(path, f"{error.strerror}. Check the disk or the network folder.") from error


def _hash(file: BinaryIO, container: Container, size: int, path: str | Path) -> str:
    if container.name.startswith("ogg"):
        return _hash_ogg(file, container.start, size, path)
    digest = hashlib.sha256()
    left = size
    for start, end in _extents(file, container, size, path):
        left -= end - start
        if left < 0:
            raise UnreadableAudioError(path, "its tables name more audio than the file holds. Re-encode it.")
        file.seek(start)
        for data in _read(file, end - start, path):
            digest.update(data)
    return digest.hexdigest()


def _read(file: BinaryIO, size: int, path: str | Path) -> Iterator[bytes]:
    while size > 0:
        data = file.read(min(size, _BLOCK_BYTES))
        if not data:
            raise UnreadableAudioError(path, "it became shorter while it was read. Try again when nothing writes it.")
        size -= len(data)
        yield data


def _extents(file: BinaryIO, container: Container, size: int, path: str | Path) -> _Extents:
    """Give start and end of each part of a file that counts, in the order in which they do."""
    match container.name:
        case name if name in KNOWN_WHOLE:
            yield 0, size
        case "flac":
            yield from _flac_extents(file, container.start, size, path)
        case "mp4":
            parts = mp4.sample_extents(file, size)
            if parts is None:
                yield from mp4.box_contents(file, b"mdat", size)
            else:
                yield from ((int(start), int(end)) for start, end in parts)
        case "asf":
            yield from _asf_extents(file, size, path)
        case "wav" | "rf64" | "aiff":
            yield from _chunk_extents(file, container, size)
        case _:
            # A stream without a frame around it: tags hang on before and behind.
            yield container.start, max(container.start, edges.skip_tags_at_end(file, size))


def _flac_extents(file: BinaryIO, start: int, size: int, path: str | Path) -> _Extents:
    offset = start + 4
    for _ in range(_MOST_BLOCKS):
        file.seek(offset)
        head = file.read(4)
        if len(head) < 4:
            break
        following = offset + 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x7F == 0:
            yield offset + 4, min(following, size)
        if head[0] & 0x80:
            yield min(following, size), max(min(following, size), edges.skip_tags_at_end(file, size))
            return
        offset = following
    raise UnreadableAudioError(path, "its metadata blocks do not end. Copy or download it again.")


def _asf_extents(file: BinaryIO, size: int, path: str | Path) -> _Extents:
    offset = 0
    for _ in range(_MOST_BLOCKS):
        file.seek(offset)
        head = file.read(24)
        if len(head) < 24:
            break
        length = int.from_bytes(head[16:], "little")
        if head[:16] == _ASF_DATA:
            # A live recording does not know its length: the object ends with the file.
            end = offset + length if length > _ASF_DATA_HEAD_BYTES else size
            yield min(offset + _ASF_DATA_HEAD_BYTES, size), max(offset + _ASF_DATA_HEAD_BYTES, min(end, size))
            return
        if length < 24 or length > size:
            break
        offset += length
    raise UnreadableAudioError(path, "it has no data packets. Copy or download it again.")


def _chunk_extents(file: BinaryIO, container: Container, size: int) -> _Extents:
    file.seek(container.start)
    order = "little" if file.read(4) in (b"RIFF", b"RF64") else "big"
    names = (b"COMM", b"SSND") if container.name == "aiff" else (b"fmt ", b"data")
    for name in names:
        chunk = find_chunk(file, container.start + 12, name, order)
        if container.name == "rf64" and name == b"data" and chunk is not None:
            chunk = rf64_extent(file, chunk) or chunk
        if chunk is not None and chunk[0] < size:
            # A length that is not known yet stands as 0xFFFFFFFF: all that follows is audio, as for the decoders.
            yield chunk[0], min(chunk[0] + chunk[1], size)


class _OggStream:
    """The packets of one stream, hashed as they come."""

    def __init__(self, first: bytes) -> None:
        self._digest = hashlib.sha256()
        self._is_flac = first.startswith(_OGG_FLAC)
        self._tags_packet = 1 if first.startswith(_OGG_TAGS_SECOND) else None
        self._packet = 0
        self._length = 0  # Of the packet so far.
        self._skipped = False
        self._granule = b""

    def add(self, data: bytes, ends: bool) -> None:
        """Take the next bytes of a packet, and whether it ends with them."""
        if self._length == 0 and data:
            is_metadata = self._is_flac and self._packet > 0 and data[0] != _FLAC_FRAME
            self._skipped = is_metadata or self._packet == self._tags_packet
        self._length += len(data)
        if not self._skipped:
            self._digest.update(data)
        if ends:
            if not self._skipped:
                # Where a packet ends is part of the music: two packets are not one long one.
                self._digest.update(struct.pack("<Q", self._length))
            self._packet += 1
            self._length, self._skipped = 0, False

    def end_page(self, granule: bytes) -> None:
        """Take the position of a page: that of the last one cuts the end of the music."""
        self._granule = granule

    def digest(self) -> bytes:
        """Give the hash of the stream so far."""
        return self._digest.digest() + self._granule


def _hash_ogg(file: BinaryIO, start: int, size: int, path: str | Path) -> str:
    """Hash the packets of each stream of an Ogg file (RFC 3533); pages are only what carries them."""
    streams: dict[int, _OggStream] = {}
    ended: list[bytes] = []  # What streams gave whose number was used again behind them.
    offset = start
    rest = hashlib.sha256()
    while offset < size:
        file.seek(offset)
        head = file.read(_OGG_HEAD_BYTES)
        lacing = file.read(head[26]) if len(head) == _OGG_HEAD_BYTES else b""
        if head[:4] != b"OggS" or len(lacing) < head[26]:
            # No page: a tag that some program hung on, or damage. It is no packet and cannot be told from audio.
            file.seek(offset)
            for data in _read(file, max(offset, edges.skip_tags_at_end(file, size)) - offset, path):
                rest.update(data)
            break
        file.seek(offset + len(head) + len(lacing))
        body = file.read(sum(lacing))
        offset += len(head) + len(lacing) + sum(lacing)
        serial = int.from_bytes(head[14:18], "little")
        if head[5] & _OGG_FIRST or serial not in streams:
            if serial in streams:
                ended.append(streams[serial].digest())
            if len(streams) + len(ended) >= _MOST_STREAMS:
                raise UnreadableAudioError(path, f"it has more than {_MOST_STREAMS} streams. Re-encode it.")
            streams[serial] = _OggStream(body[:64])
        _add_page(streams[serial], lacing, body)
        streams[serial].end_page(head[6:14])
    whole = hashlib.sha256(b"".join([*ended, *(stream.digest() for stream in streams.values())]))
    whole.update(rest.digest())
    return whole.hexdigest()


def _add_page(stream: _OggStream, lacing: bytes, body: bytes) -> None:
    """Hand the packets of a page on: a length below 255 ends a packet."""
    begin = end = 0
    for length in lacing:
        end += length
        if length < 255:
            stream.add(body[begin:end], ends=True)
            begin = end
    if begin < end:
        stream.add(body[begin:end], ends=False)
