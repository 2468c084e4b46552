"""MPEG audio streams (mp1, mp2, mp3): frame headers, and a clean view for the decoder.

libsndfile's decoder is exact, but it stops early in three kinds of sound files: it trusts the number of frames that it
estimates from the first frame (a variable-rate file without a header lost 17 of 30 s), it reports an error for an APE
tag at the end, and it ends where the header of the first of two joined files says. `clean_view` gives it such a file
without tags and with a header that is true.

Source:
    ISO/IEC 11172-3 and 13818-3, frame header; the Xing and LAME header as the LAME project documents it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from moodbook.audio.edges import skip_tags_at_end
from moodbook.audio.files import FileRange

_HEADER_BYTES = 4
_SEARCH_BYTES = 1 << 16  # How far behind the tags the first frame may lie.
_UNKNOWN_FRAMES = 0x7FFFFFFF  # A frame count that no file reaches.
_LONGEST_TO_SHORTEST = 64  # More than the ratio of the longest to the shortest layer 3 frame: 320 to 8 kbit/s.
_JOINED_BYTES = 1 << 16  # This many bytes more than the header declares are another stream.
_KBITS = {  # By (version is 1, layer): kilobits a second for bit rate indexes 1 to 14.
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = (44_100, 48_000, 32_000)  # MPEG-1; MPEG-2 halves them, MPEG-2.5 quarters them.


@dataclass(frozen=True)
class FrameHeader:
    """The four bytes in front of each MPEG frame.

    Attributes:
        version: 1, 2, or 3 for MPEG-2.5.
        layer: 1, 2 or 3.
        sample_rate: Samples a second.
        channels: 1 or 2.
        length: Bytes of the frame, the header included.
    """

    version: int
    layer: int
    sample_rate: int
    channels: int
    length: int

    @property
    def samples(self) -> int:
        """Samples a channel in one frame."""
        if self.layer == 1:
            return 384
        return 1152 if self.version == 1 or self.layer == 2 else 576

    def continues(self, other: FrameHeader) -> bool:
        """Whether both headers can belong to one stream."""
        return (self.version, self.layer, self.sample_rate) == (other.version, other.layer, other.sample_rate)


@dataclass(frozen=True)
class MpegStream:
    """Where the frames of a file lie, and what its header promises.

    Attributes:
        start: Byte of the first frame.
        end: Byte behind the last frame; tags follow.
        first: The first frame's header.
        declared_frames: MPEG frames that a Xing, Info or VBRI header promises; None without one.
    """

    start: int
    end: int
    first: FrameHeader
    declared_frames: int | None


def parse_header(data: bytes, offset: int) -> FrameHeader | None:
    """Read a frame header; None where there is none (free-format frames, which no encoder makes, included)."""
    if offset + _HEADER_BYTES > len(data) or data[offset] != 0xFF or data[offset + 1] < 0xE0:
        return None
    version = {3: 1, 2: 2, 0: 3}.get((data[offset + 1] >> 3) & 3)
    layer = 4 - ((data[offset + 1] >> 1) & 3)
    bit_rate = data[offset + 2] >> 4
    rate = (data[offset + 2] >> 2) & 3
    if version is None or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    sample_rate = _RATES[rate] >> (version - 1)
    bits = 1000 * _KBITS[version == 1, layer][bit_rate - 1]
    padding = (data[offset + 2] >> 1) & 1
    if layer == 1:
        length = 4 * (12 * bits // sample_rate + padding)
    else:
        length = (72 if version > 1 and layer == 3 else 144) * bits // sample_rate + padding
    return FrameHeader(version, layer, sample_rate, 1 if data[offset + 3] >> 6 == 3 else 2, length)


def find_first_frame(data: bytes) -> int | None:
    """Find the first byte of an MPEG stream near the start of `data`; None where there is no such stream.

    A header proves nothing by itself: the next two must follow where it says (one, if the data starts with it).
    """
    offset = data.find(0xFF, 0, _SEARCH_BYTES)
    while offset >= 0:
        first = parse_header(data, offset)
        if first is not None and _count_followers(data, offset, first) >= (1 if offset == 0 else 3):
            return offset
        offset = data.find(0xFF, offset + 1, _SEARCH_BYTES)
    return None


def _count_followers(data: bytes, offset: int, first: FrameHeader) -> int:
    header: FrameHeader | None = first
    for count in range(4):
        if header is None or not header.continues(first):
            return count - 1
        offset += header.length
        header = parse_header(data, offset)
    return 3


def _find_end(file: BinaryIO, start: int, size: int, first: FrameHeader) -> int:
    """Give the byte behind the last whole frame: before tags, zeros and whatever else hangs on the file."""
    end = skip_tags_at_end(file, size)
    while end > start:
        base = max(start, end - _SEARCH_BYTES)
        file.seek(base)
        data = file.read(end - base)
        last = _end_of_last_frame(data, first)
        if last is not None:
            return base + last
        if data.strip(b"\0"):
            break
        end = base
    return size


def _end_of_last_frame(data: bytes, first: FrameHeader) -> int | None:
    offset = find_first_frame(data)
    end = None
    while offset is not None:
        header = parse_header(data, offset)
        while header is not None and header.continues(first) and offset + header.length <= len(data):
            offset += header.length
            end = offset
            header = parse_header(data, offset)
        following = find_first_frame(data[offset + 1 :])
        offset = None if following is None else offset + 1 + following
    return end


def read_stream(file: BinaryIO, start: int, size: int) -> MpegStream:
    """Read what the headers of an MPEG file say.

    Args:
        file: The open file.
        start: Byte of the first frame.
        size: Bytes of the file.
    """
    file.seek(start)
    data = file.read(_SEARCH_BYTES)
    first = parse_header(data, 0)
    if first is None:
        raise ValueError(f"no MPEG frame at byte {start}")
    end = _find_end(file, start, size, first)
    declared = None
    info = _info_offset(first)
    flags = int.from_bytes(data[info + 4 : info + 8], "big")
    if data[info : info + 4] in (b"Xing", b"Info") and flags & 1:
        declared = int.from_bytes(data[info + 8 : info + 12], "big")
        length = int.from_bytes(data[info + 12 : info + 16], "big") if flags & 2 else 0
        if length and end - start > length + _JOINED_BYTES:
            declared = None
    elif data[36:40] == b"VBRI":
        declared = int.from_bytes(data[50:54], "big")
    return MpegStream(start, end, first, declared or None)


def clean_view(file: BinaryIO, stream: MpegStream) -> FileRange:
    """Give the frames of a file without its tags, and with a length that does not end them too early.

    The decoder shall neither stop at a wrong estimate nor warn on the standard error stream that the size is not the
    one that was promised; the promise is checked by Moodbook, where the error has a type.
    """
    file.seek(stream.start)
    frame = bytearray(file.read(stream.first.length))
    info = _info_offset(stream.first)
    has_count = bytes(frame[info : info + 4]) in (b"Xing", b"Info") and frame[info + 7] & 1
    if stream.first.layer != 3:
        return FileRange(file, stream.start, stream.end)
    if not has_count:
        # Without a frame count the decoder takes the size for one: all frames as long as the first.
        return FileRange(
            file, stream.start, stream.end, claimed_size=_LONGEST_TO_SHORTEST * (stream.end - stream.start)
        )
    if stream.declared_frames is None:
        frame[info + 8 : info + 12] = _UNKNOWN_FRAMES.to_bytes(4, "big")
    if frame[info + 7] & 2:
        frame[info + 12 : info + 16] = ((stream.end - stream.start) & 0xFFFFFFFF).to_bytes(4, "big")
    return FileRange(file, stream.start + len(frame), stream.end, bytes(frame))


def _info_offset(header: FrameHeader) -> int:
    """Give the place of a Xing header in its frame: behind the side information of the layer 3 frame."""
    if header.version == 1:
        return _HEADER_BYTES + (17 if header.channels == 1 else 32)
    return _HEADER_BYTES + (9 if header.channels == 1 else 17)


def count_samples(file: BinaryIO, stream: MpegStream) -> int:
    """Count the samples of a stream by its frame headers, without decoding."""
    samples = 0
    offset = stream.start
    base, data = 0, b""
    while offset + _HEADER_BYTES <= stream.end:
        if not base <= offset <= base + len(data) - _HEADER_BYTES:
            file.seek(offset)
            base, data = offset, file.read(1 << 20)
        header = parse_header(data, offset - base)
        if header is not None and header.continues(stream.first):
            samples += header.samples
            offset += header.length
        else:
            following = data.find(0xFF, offset - base + 1)
            offset = base + (following if following >= 0 else len(data))
    return samples
