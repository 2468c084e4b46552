"""ID3v2: in front of mp3, aac and tta, and in a chunk of wav and aiff.

mutagen is told to know no frame at all, so it hands every one through as the bytes that it is; only the frames of the
mood are taken out and put in anew. The version of the tag stays what it is.

Source:
    ID3v2.3.0 and ID3v2.4.0 informal standards (id3.org).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from mutagen.aiff import AIFF
from mutagen.id3 import ID3, TMOO, TXXX, Encoding, ID3NoHeaderError
from mutagen.wave import WAVE

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
from moodbook.library.inflation import bound_inflation

bound_inflation()

_HEAD_BYTES = 10  # Of a tag, of its footer, and of a frame: name, size, two bytes of flags.
_MOOD = "TMOO"  # Since version 2.4.
_MOOD_TEXT = "TXXX:mood"  # What taggers write in version 2.3, which has no frame for it.
_FOOTER = 0x10  # Flag of a tag of version 2.4.
_UNSYNCHRONISED, _DATA_LENGTH = 0x02, 0x01  # Flags of a frame of version 2.4.
_TERMINATORS = {0: b"\0", 1: b"\0\0", 2: b"\0\0", 3: b"\0"}  # By encoding.
_ENCODINGS = {0: "latin-1", 1: "utf-16", 2: "utf-16-be", 3: "utf-8"}
_MOST_CHUNKS = 1 << 12
_LARGEST_TAG_BYTES = 1 << 28  # What the size of a tag can say.
_KNOWN = {"TMOO": TMOO, "TXXX": TXXX}
_FORMAT_OF_VERSION = {3: FieldNames(_MOOD_TEXT, f"TXXX:{SCORES}"), 4: FieldNames(_MOOD, f"TXXX:{SCORES}")}


class _Id3Tags:
    """What the places of an ID3 tag have in common."""

    def _load(self, path: Path, known: dict[str, type]) -> Any:
        """Load the tag; None where there is none."""
        raise NotImplementedError

    def _save(self, path: Path, tags: Any, version: int) -> None:
        raise NotImplementedError

    def _version(self, path: Path, tags: Any) -> int:
        if tags is None:
            return 4
        version = int(tags.version[1])
        if version not in _FORMAT_OF_VERSION:
            raise TagError(
                path,
                f"its ID3 tag is of version 2.{version}, which has no field for a mood. Convert it to 2.3 or 2.4 with "
                "a tag editor first.",
            )
        return version

    def names(self, path: Path) -> FieldNames:
        """Say what the fields are called in this file."""
        return _FORMAT_OF_VERSION[self._version(path, self._load(path, {}))]

    def owns(self, name: str) -> bool:
        """Whether a field of this name is one of the two."""
        return _is_ours(name)

    def read(self, path: Path) -> Fields:
        """Read the fields."""
        tags = self._load(path, _KNOWN)
        self._version(path, tags)
        fields: Fields = {}
        for raw in () if tags is None else _frames(self._load(path, {})):
            if _is_ours(name := _frame_name(raw)) and not _is_readable(raw, tags.version[1]):
                raise unreadable(path, name)
        for frame in () if tags is None else tags.values():
            name = frame.FrameID if frame.FrameID == _MOOD else f"TXXX:{frame.desc}"
            if _is_ours(name):
                fields[name] = [str(text) for text in frame.text]
        return fields

    def write(self, path: Path, fields: Fields) -> None:
        """Replace the fields by these."""
        tags = self._load(path, {})
        version = self._version(path, tags)
        if tags is None:
            tags = ID3()
        else:
            tags.unknown_frames = [frame for frame in _frames(tags) if not _is_ours(_frame_name(frame))]
        for name, values in fields.items():
            if name == _MOOD:
                tags.add(TMOO(encoding=Encoding.UTF8, text=values))
            else:
                tags.add(TXXX(encoding=Encoding.UTF8, desc=name.partition(":")[2], text=values))
        self._save(path, tags, version)

    def _frame_hashes(self, path: Path, tags: Any, tag_bytes: bytes) -> Others:
        """Tell every frame but those of the fields; refuse a tag of which mutagen would lose a part."""
        if tags is None:
            return Counter()
        padding = int(tags._padding)
        if padding and tag_bytes[-padding:].strip(b"\0"):
            raise TagError(path, "its ID3 tag is damaged: something follows that is no frame. Repair it first.")
        frames = _frames(tags)
        return Counter(
            (name, text_hash(bytes(frame)))
            for frame in frames
            if not _is_ours(name := _frame_name(frame)) and len(frame) > _HEAD_BYTES
        )


class Id3InFront(_Id3Tags):
    """An ID3v2 tag before the first frame of an mp3, aac or tta file."""

    def _load(self, path: Path, known: dict[str, type]) -> Any:
        return _load_or_none(ID3, path, known)

    def _save(self, path: Path, tags: Any, version: int) -> None:
        _make_padding_of_footer(path, int(tags.size))
        with without_id3v1(path):
            tags.save(path, v1=0, v2_version=version, v23_sep=None)

    def others(self, path: Path) -> Others:
        """Tell every other frame, what stands between the tag and the audio, and the tags at the end."""
        with open_file(path) as file:
            size = file.seek(0, 2)
            start = identify(file, str(path)).start
            tail = max(start, edges.skip_tags_at_end(file, size))
            tags = self._load(path, {})
            file.seek(0)
            others = self._frame_hashes(path, tags, b"" if tags is None else file.read(tags.size))
            own = edges.tags_in_front(file)[:1]  # With its footer, of which mutagen does not know.
            others["before the audio", range_hash(file, own[0].end if own else 0, start)] += 1
            others["tags at the end", range_hash(file, tail, size)] += 1
        return others


class Id3InChunk(_Id3Tags):
    """An ID3v2 tag in a chunk of a RIFF or IFF file.

    Args:
        opener: mutagen's class of the container.
        order: Of the bytes of a chunk's length.
    """

    def __init__(self, opener: Callable[..., Any], order: str) -> None:
        self._opener = opener
        self._order = order

    def _load(self, path: Path, known: dict[str, type]) -> Any:
        sound = self._opener(path, known_frames=known, translate=False, load_v1=False)
        return sound.tags

    def _save(self, path: Path, tags: Any, version: int) -> None:
        sound = self._opener(path, known_frames={}, translate=False, load_v1=False)
        if sound.tags is None:
            sound.add_tags()
        mine = sound.tags
        mine.clear()
        for frame in tags.values():
            mine.add(frame)
        mine.unknown_frames = tags.unknown_frames
        mine.save(path, v2_version=version, v23_sep=None)

    def others(self, path: Path) -> Others:
        """Tell every other frame, and every chunk but those of the tag and the audio."""
        parts: Others = Counter()
        tag_bytes = b""
        with open_file(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(12)
            end = 8 + int.from_bytes(head[4:8], "big" if self._order == "big" else "little")
            parts["form", text_hash(head[:4] + head[8:])] += 1
            offset = 12
            for _ in range(_MOST_CHUNKS):
                file.seek(offset)
                head = file.read(8)
                if len(head) < 8 or offset >= end:
                    break
                name = head[:4]
                length = int.from_bytes(head[4:], "big" if self._order == "big" else "little")
                if name in (b"id3 ", b"ID3 "):
                    tag_bytes = file.read(min(length, _LARGEST_TAG_BYTES))
                elif name not in (b"data", b"SSND"):
                    parts[repr(name), range_hash(file, offset + 8, offset + 8 + length)] += 1
                else:
                    parts[repr(name), str(length)] += 1
                offset += 8 + length + length % 2
            parts["behind the file's own end", range_hash(file, min(size, end + end % 2), size)] += 1
        return parts + self._frame_hashes(path, self._load(path, {}), tag_bytes)


def _make_padding_of_footer(path: Path, footer: int) -> None:
    """Let a tag end with padding where it has a footer: mutagen would leave that as junk before the audio."""
    with path.open("r+b") as file:
        own = edges.tags_in_front(file)[:1]
        if not own or own[0].end == footer:
            return
        file.seek(5)
        flags = file.read(1)[0] & ~_FOOTER
        file.seek(5)
        file.write(bytes([flags]) + _seven_bits(footer))  # The size leaves the ten bytes of the head out.
        file.seek(footer)
        file.write(bytes(_HEAD_BYTES))


def wav() -> Id3InChunk:
    """Give the tags of WAVE files."""
    return Id3InChunk(WAVE, "little")


def aiff() -> Id3InChunk:
    """Give the tags of AIFF files."""
    return Id3InChunk(AIFF, "big")


def _load_or_none(opener: Callable[..., Any], path: Path, known: dict[str, type]) -> Any:
    try:
        return opener(path, known_frames=known, translate=False, load_v1=False)
    except ID3NoHeaderError:
        return None


def _is_ours(name: str) -> bool:
    return name == _MOOD or name.upper() in (_MOOD_TEXT.upper(), f"TXXX:{SCORES}")


def _is_readable(frame: bytearray, version: int) -> bool:
    """Whether mutagen makes text of a frame; in a tag it leaves one out without a word."""
    if not frame[_HEAD_BYTES:].strip(bytes(_ENCODINGS)):
        return True  # It is empty.
    head = b"ID3" + bytes([version, 0, 0]) + _seven_bits(len(frame))
    alone = ID3(BytesIO(head + frame), known_frames=_KNOWN, translate=False)
    return len(alone) == 1


def _seven_bits(size: int) -> bytes:
    """Write a size as ID3v2 does."""
    return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))


def _frames(tags: Any) -> list[bytearray]:
    """Give the frames as bytes; the flag that a tag of version 2.4 sets for all of them is set on each."""
    frames = [bytearray(frame) for frame in tags.unknown_frames]
    if tags.version[1] == 4 and tags.f_unsynch:
        for frame in frames:
            frame[9] |= _UNSYNCHRONISED
    return frames


def _frame_name(frame: bytearray) -> str:
    """Give the name of a frame, with the description of a text frame of the user's."""
    name = frame[:4].decode("latin-1")
    if name != "TXXX":
        return name
    content = bytes(frame[_HEAD_BYTES:])
    if frame[9] & _DATA_LENGTH:
        content = content[4:]
    if frame[9] & _UNSYNCHRONISED:
        content = content.replace(b"\xff\0", b"\xff")
    if not content or content[0] not in _ENCODINGS:
        return name
    terminator, text = _TERMINATORS[content[0]], content[1:]
    end = 0
    while end < len(text) and text[end : end + len(terminator)] != terminator:
        end += len(terminator)
    return f"TXXX:{text[:end].decode(_ENCODINGS[content[0]], 'replace')}"
