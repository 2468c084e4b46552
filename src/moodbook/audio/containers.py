"""Which container a file is, by its bytes alone: the name of a file decides nothing.

The container fixes the decoder, so the same music is always decoded by the same code. FFmpeg is told the container
and never guesses: among the things that it would guess are playlists, which open other files and addresses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO, Literal

from moodbook.audio import edges, mpeg
from moodbook.errors import EmptyAudioError, UnreadableAudioError

_HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Container:
    """What kind of audio file it is.

    Attributes:
        name: A short name, such as "flac".
        decoder: Which library decodes it.
        demuxer: FFmpeg's name of the container; None where FFmpeg is never asked.
        start: Byte where the container begins, behind ID3 tags that do not belong there.
    """

    name: str
    decoder: Literal["soundfile", "ffmpeg"]
    demuxer: str | None
    start: int = 0


# Name, decoder, FFmpeg's demuxer, and the bytes that must stand at the given places.
_Signature = tuple[str, Literal["soundfile", "ffmpeg"], str | None, tuple[tuple[int, bytes], ...]]
_SIGNATURES: tuple[_Signature, ...] = (
    ("wav", "soundfile", "wav", ((0, b"RIFF"), (8, b"WAVE"))),
    ("wav", "soundfile", None, ((0, b"RIFX"), (8, b"WAVE"))),
    ("rf64", "soundfile", "wav", ((0, b"RF64"), (8, b"WAVE"))),
    ("w64", "soundfile", "w64", ((0, b"riff\x2e\x91\xcf\x11"),)),
    ("aiff", "soundfile", "aiff", ((0, b"FORM"), (8, b"AIF"))),
    ("au", "soundfile", "au", ((0, b".snd"),)),
    ("caf", "soundfile", "caf", ((0, b"caff"),)),
    ("flac", "soundfile", None, ((0, b"fLaC"),)),
    ("ogg vorbis", "soundfile", None, ((0, b"OggS"), (28, b"\x01vorbis"))),
    ("ogg opus", "soundfile", None, ((0, b"OggS"), (28, b"OpusHead"))),
    ("ogg", "ffmpeg", "ogg", ((0, b"OggS"),)),
    ("mp4", "ffmpeg", "mp4", ((4, b"ftyp"),)),
    ("mp4", "ffmpeg", "mp4", ((4, b"moov"),)),
    ("mp4", "ffmpeg", "mp4", ((4, b"mdat"),)),
    ("asf", "ffmpeg", "asf", ((0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),)),
    ("matroska", "ffmpeg", "matroska", ((0, b"\x1a\x45\xdf\xa3"),)),
    ("wavpack", "ffmpeg", "wv", ((0, b"wvpk"),)),
    ("ape", "ffmpeg", "ape", ((0, b"MAC "),)),
    ("tta", "ffmpeg", "tta", ((0, b"TTA1"),)),
    ("tak", "ffmpeg", "tak", ((0, b"tBaK"),)),
    ("musepack", "ffmpeg", "mpc", ((0, b"MP+"),)),
    ("musepack", "ffmpeg", "mpc8", ((0, b"MPCK"),)),
    ("dsf", "ffmpeg", "dsf", ((0, b"DSD "),)),
    ("dsdiff", "ffmpeg", "iff", ((0, b"FRM8"), (12, b"DSD "))),
    ("amr", "ffmpeg", "amr", ((0, b"#!AMR"),)),
    ("ac3", "ffmpeg", "ac3", ((0, b"\x0b\x77"),)),
    ("dts", "ffmpeg", "dts", ((0, b"\x7f\xfe\x80\x01"),)),
    ("avi", "ffmpeg", "avi", ((0, b"RIFF"), (8, b"AVI "))),
    ("flv", "ffmpeg", "flv", ((0, b"FLV\x01"),)),
    ("mpeg-ps", "ffmpeg", "mpeg", ((0, b"\x00\x00\x01\xba"),)),
    ("mpeg-ts", "ffmpeg", "mpegts", ((0, b"\x47"), (188, b"\x47"), (376, b"\x47"))),
    ("real", "ffmpeg", "rm", ((0, b".RMF"),)),
)

_OTHER_FILES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive. Unpack it first"),
    (b"\x1f\x8b", "a gzip archive. Unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive. Unpack it first"),
    (b"Rar!", "a rar archive. Unpack it first"),
    (b"\x7fELF", "a program (ELF)"),
    (b"MZ", "a program (Windows)"),
    (b"%PDF", "a PDF document"),
    (b"\x89PNG", "a picture (PNG)"),
    (b"\xff\xd8\xff", "a picture (JPEG)"),
    (b"GIF8", "a picture (GIF)"),
    (b"MThd", "a MIDI file: notes, not sound. Render it to audio first"),
    (b"#EXTM3U", "a playlist. Name the files that it lists"),
    (b"[playlist]", "a playlist. Name the files that it lists"),
)

_KNOWN = "wav, flac, ogg, opus, mp3, aiff, au, caf, m4a, aac, wma, wavpack, ape, webm"


def identify(file: BinaryIO, path: str) -> Container:
    """Tell the container of an open file by its bytes.

    Raises:
        EmptyAudioError: It holds ID3 tags and no audio.
        UnreadableAudioError: It is something else than audio, or audio in a container that is not known.
    """
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    container = _match(head, 0)
    if container is not None:
        return container
    _refuse_other_files(head, path)
    start = edges.skip_id3(file)
    if start:
        file.seek(start)
        head = file.read(_HEAD_BYTES)
        if not head.strip(b"\0"):
            raise EmptyAudioError(path, "it holds ID3 tags and no audio. Copy or download it again.")
        container = _match(head, start)
        if container is not None:
            return container
    first = mpeg.find_first_frame(head)
    if first is not None:
        return Container("mp3", "soundfile", None, start + first)
    if not head.strip(b"\0"):
        raise UnreadableAudioError(path, "it begins with zeros only, not with audio. Copy or download it again.")
    raise UnreadableAudioError(
        path,
        f"its bytes ({head[:8].hex(' ')} ...) are no audio that Moodbook knows: {_KNOWN}. Convert it to one of them.",
    )


def _match(head: bytes, start: int) -> Container | None:
    for name, decoder, demuxer, places in _SIGNATURES:
        if all(head[place : place + len(magic)] == magic for place, magic in places):
            return Container(name, decoder, demuxer, start)
    if _is_adts(head):
        return Container("aac", "ffmpeg", "aac", start)
    return None


def _is_adts(head: bytes) -> bool:
    """Whether the data begins with two AAC frames, each headed by 12 set bits, layer 0 and its length."""
    offset = 0
    for _ in range(2):
        if len(head) < offset + 6 or head[offset] != 0xFF or head[offset + 1] & 0xF6 != 0xF0:
            return False
        offset += (head[offset + 3] & 3) << 11 | head[offset + 4] << 3 | head[offset + 5] >> 5
    return True


def _refuse_other_files(head: bytes, path: str) -> None:
    text = head[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        raise UnreadableAudioError(path, "it is a web page, not audio. Download the recording itself.")
    for magic, kind in _OTHER_FILES:
        if head.startswith(magic):
            raise UnreadableAudioError(path, f"it is {kind}." if ". " in kind else f"it is {kind}, not audio.")
