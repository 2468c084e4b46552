"""The hash of the audio alone: tags change nothing, music changes everything, hostile files end."""

from __future__ import annotations

import hashlib
import random
import shutil
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import mutagen
import pytest
from mutagen.aiff import AIFF
from mutagen.asf import ASF
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, CHAP, ID3, TIT2
from mutagen.mp4 import MP4, MP4Cover
from mutagen.wave import WAVE

from moodbook.audio import payload_hash
from moodbook.errors import AudioError, EmptyAudioError, UnreadableAudioError

AudioFiles = Callable[..., Path]
TAGGED = ("mp3", "flac", "ogg", "opus", "oga-flac", "m4a", "alac", "wma", "wav", "aiff", "wavpack", "tta")
KINDS = (*TAGGED, "rf64", "w64", "au", "caf", "aac", "webm", "mka", "ac3")
ART = b"\x89PNG" + bytes(range(256)) * 400


def tag(path: Path, kind: str) -> None:
    """Write tags, art and chapters of 100 kB, as other programs do."""
    frames = [TIT2(encoding=3, text="A title"), APIC(encoding=3, mime="image/png", type=3, desc="", data=ART)]
    frames.append(CHAP(element_id="1", start_time=0, end_time=900, sub_frames=[TIT2(encoding=3, text="One")]))
    if kind in ("mp3", "aac", "tta"):
        tags = ID3()
        for frame in frames:
            tags.add(frame)
        tags.save(path, v1=2)
    elif kind in ("wav", "aiff"):
        sound = (WAVE if kind == "wav" else AIFF)(path)
        sound.add_tags()
        for frame in frames:
            sound.tags.add(frame)
        sound.save()
    elif kind in ("m4a", "alac"):
        sound = MP4(path)
        sound["\xa9nam"] = "A title"
        sound["covr"] = [MP4Cover(ART, MP4Cover.FORMAT_PNG)]
        sound.save()
    elif kind == "wma":
        sound = ASF(path)
        sound["Title"] = "A title" * 500
        sound.save()
    elif kind == "wavpack":
        sound = mutagen.File(path)
        sound["Title"] = "A title" * 5_000
        sound.save()
    else:
        sound = mutagen.File(path)
        sound["title"] = ["A title"] * 5_000
        if isinstance(sound, FLAC):
            picture = Picture()
            picture.data = ART
            sound.add_picture(picture)
        sound.save()


@pytest.mark.parametrize("kind", [*TAGGED, "aac"])
def test_tags_art_and_chapters_change_nothing(kind: str, audio_files: AudioFiles, tmp_path: Path) -> None:
    path = shutil.copy(audio_files(kind), tmp_path / f"song.{kind}")
    before, size = payload_hash(path), path.stat().st_size

    tag(path, kind)

    assert path.stat().st_size > size + 3_000
    assert payload_hash(path) == before
    if kind != "aac":
        mutagen.File(path).delete()
        assert payload_hash(path) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_bit_of_the_music_changes_it(kind: str, audio_files: AudioFiles, tmp_path: Path) -> None:
    data = bytearray(audio_files(kind).read_bytes())
    path = tmp_path / "song"
    for share in (0.5, 0.9):
        path.write_bytes(data)
        before = payload_hash(path)
        assert len(before) == 64
        data[int(share * len(data))] ^= 0x10
        path.write_bytes(data)
        assert payload_hash(path) != before


@pytest.mark.parametrize("kind", KINDS)
def test_two_recordings_of_one_length_differ(kind: str, audio_files: AudioFiles) -> None:
    assert payload_hash(audio_files(kind)) != payload_hash(audio_files(kind, seconds=2.0))


def test_every_tag_around_an_mp3_is_left_out(audio_files: AudioFiles, tmp_path: Path, ape_tag: bytes) -> None:
    sound = audio_files("mp3").read_bytes()
    bare, path = tmp_path / "bare.mp3", tmp_path / "tagged.mp3"
    bare.write_bytes(sound)
    id3 = b"ID3\x04\0\0\0\0\x10\0" + bytes(2_048)
    lyrics2 = b"LYRICSBEGIN" + b"IND00002 1"
    lyrics2 += b"%06dLYRICS200" % len(lyrics2)
    for head, tail in [
        (id3, b""),
        (id3 + id3, b"TAG" + bytes(125)),
        (b"", ape_tag),
        (b"", ape_tag + b"TAG" + bytes(125)),
        (b"", lyrics2 + b"TAG" + bytes(125)),
        (id3, b"LYRICSBEGIN[00:01]la la" + b"LYRICSEND" + b"TAG" + bytes(125)),
        (id3, ape_tag + lyrics2 + b"TAG" + bytes(125)),
    ]:
        path.write_bytes(head + sound + tail)
        assert payload_hash(path) == payload_hash(bare)


@pytest.mark.parametrize(
    ("tail", "left_out"),
    [
        (b"APETAGEX" + struct.pack("<IIII", 2000, 9_000, 1, 0) + bytes(8), 32),
        (b"APETAGEX" + struct.pack("<IIII", 2000, 9_000, 1, 0x8000_0000) + bytes(8), 32),
        (b"APETAGEX" + struct.pack("<IIII", 2000, 1 << 31, 1, 0) + bytes(8), 32),
        (b"009000LYRICS200", 0),
    ],
    ids=["ape", "ape that had a header", "ape larger than the file", "lyrics"],
)
def test_a_damaged_size_of_a_tag_swallows_no_music(
    tail: bytes, left_out: int, audio_files: AudioFiles, tmp_path: Path
) -> None:
    """The music of the last 9,000 bytes counts, though the tag says that all of them are its own."""
    sound = audio_files("mp3").read_bytes()
    one, other = tmp_path / "one.mp3", tmp_path / "other.mp3"
    one.write_bytes(sound + tail)
    other.write_bytes(sound[:-4_000] + bytes(b ^ 0x10 for b in sound[-4_000:]) + tail)
    assert payload_hash(one) != payload_hash(other)
    if left_out:
        assert payload_hash(one) == payload_hash(audio_files("mp3"))


def test_an_ape_tag_without_a_header_is_left_out_by_its_items(audio_files: AudioFiles, tmp_path: Path) -> None:
    items = b"".join(struct.pack("<II", 3, 0) + name + b"\0abc" for name in (b"Title", b"Artist"))
    tail = items + b"APETAGEX" + struct.pack("<IIII", 1000, len(items) + 32, 2, 0) + bytes(8)
    path = tmp_path / "tagged.mp3"
    path.write_bytes(audio_files("mp3").read_bytes() + tail)
    assert payload_hash(path) == payload_hash(audio_files("mp3"))


def test_another_way_to_page_an_ogg_file_changes_nothing(audio_files: AudioFiles, tmp_path: Path) -> None:
    source, target = audio_files("opus", seconds=6.0), tmp_path / "again.opus"
    with av.open(str(source)) as inside, av.open(str(target), "w", format="ogg", options={"page_duration": "1"}) as out:
        stream = out.add_stream_from_template(inside.streams.audio[0])
        for packet in inside.demux(inside.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    assert target.read_bytes().count(b"OggS") > 2 * source.read_bytes().count(b"OggS")
    # The end position is the same music only if the muxer kept it; the packets alone are compared here.
    assert _packets(target) == _packets(source)


def _packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as inside:
        return [bytes(packet) for packet in inside.demux(audio=0) if packet.size]


def test_an_m4a_with_its_index_in_front_is_the_same_music(audio_files: AudioFiles, tmp_path: Path) -> None:
    source, target = audio_files("m4a"), tmp_path / "fast.m4a"
    options = {"movflags": "faststart"}
    with av.open(str(source)) as inside, av.open(str(target), "w", format="ipod", options=options) as out:
        stream = out.add_stream_from_template(inside.streams.audio[0])
        for packet in inside.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    assert target.read_bytes().index(b"moov") < target.read_bytes().index(b"mdat")
    assert payload_hash(target) == payload_hash(source)


def test_what_is_no_audio_counts_whole(tmp_path: Path) -> None:
    path = tmp_path / "page.mp3"
    path.write_bytes(b"<html>one")
    one = payload_hash(path)
    path.write_bytes(b"<html>two")
    assert payload_hash(path) != one


def test_missing_and_empty_files_are_typed_errors(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudioError, match="no such file"):
        payload_hash(tmp_path / "no.mp3")
    (tmp_path / "empty.mp3").touch()
    with pytest.raises(EmptyAudioError):
        payload_hash(tmp_path / "empty.mp3")


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def mp4_file(path: Path, tables: bytes, *, long_head: bool = False, cut: int = 0) -> Path:
    """Write an MP4 file by hand: 100 bytes of sound from byte 32 on, then the index."""
    sound = bytes(range(100))
    if long_head:
        head = struct.pack(">I4sQ", 1, b"mdat", 16 + 100)
    else:
        head = box(b"free", b"") + struct.pack(">I4s", 108 + cut, b"mdat")
    media = box(b"hdlr", bytes(8) + b"soun" + bytes(12)) + box(b"minf", box(b"stbl", tables))
    picture = box(b"hdlr", bytes(8) + b"vide" + bytes(12)) + box(b"minf", box(b"stbl", b""))
    index = box(b"moov", box(b"trak", box(b"mdia", picture)) + box(b"trak", box(b"mdia", media)))
    path.write_bytes(box(b"ftyp", b"M4A " + bytes(4)) + head + sound + (b"" if cut else index))
    return path


def chunk_tables(*, wide: bool = False, first: int = 1, sizes: bytes | None = None, samples: int = 5) -> bytes:
    """Give the tables of two chunks of five samples of 10 bytes."""
    kind, code = (b"co64", "Q") if wide else (b"stco", "I")
    listed = struct.pack(">III", 0, 0, 10) + struct.pack(">10I", *[10] * 10) if sizes is None else sizes
    return (
        box(kind, struct.pack(f">II{code}{code}", 0, 2, 32, 82))
        + box(b"stsc", struct.pack(">IIIII", 0, 1, first, samples, 1))
        + box(b"stsz", listed)
    )


def test_every_way_to_say_where_the_sound_of_an_mp4_lies_gives_one_hash(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    expected = hashlib.sha256(bytes(range(100))).hexdigest()
    same = struct.pack(">III", 0, 10, 10)
    for tables in (chunk_tables(), chunk_tables(wide=True), chunk_tables(sizes=same)):
        for long_head in (False, True):
            assert payload_hash(mp4_file(path, tables, long_head=long_head)) == expected
    # Where the tables make no sense, or are lost with the end of the file, all that is no index counts.
    for tables in (
        b"",
        chunk_tables(first=2),
        chunk_tables(samples=50),
        chunk_tables(sizes=struct.pack(">III", 0, 0, 1 << 30)),
    ):
        assert payload_hash(mp4_file(path, tables)) == expected
    assert payload_hash(mp4_file(path, b"", cut=1_000)) == expected


def test_an_mp4_whose_tables_multiply_the_file_is_refused(tmp_path: Path) -> None:
    # A million chunks, each of them the whole file: a terabyte to hash.
    chunks = 1 << 20
    tables = (
        box(b"stco", struct.pack(">II", 0, chunks) + bytes(4 * chunks))
        + box(b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1))
        + box(b"stsz", struct.pack(">III", 0, 1 << 20, chunks))
    )
    media = box(b"hdlr", bytes(8) + b"soun" + bytes(12)) + box(b"minf", box(b"stbl", tables))
    path = tmp_path / "bomb.m4a"
    path.write_bytes(box(b"ftyp", b"M4A ") + box(b"moov", box(b"trak", box(b"mdia", media))))
    with pytest.raises(UnreadableAudioError, match="more audio than the file holds"):
        payload_hash(path)


@pytest.mark.parametrize(
    "data",
    [
        b"fLaC" + b"\x01\0\0\0" * 200_000,
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c" + struct.pack("<Q", 24) + bytes(90_000),
        b"fLaC\0\0",
    ],
    ids=["flac of empty blocks", "asf of empty objects", "flac cut off"],
)
def test_a_structure_without_end_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(data)
    with pytest.raises(UnreadableAudioError):
        payload_hash(path)


def test_millions_of_empty_tags_and_chunks_end(tmp_path: Path, audio_files: AudioFiles) -> None:
    path = tmp_path / "bomb"
    mp3 = audio_files("mp3").read_bytes()
    ape = b"APETAGEX" + struct.pack("<IIII", 2000, 0, 0, 0) + bytes(8)
    for data in (
        b"ID3\x04\0\0\0\0\0\0" * 100_000,
        mp3 + ape * 2_000,  # Its size of 0 would end the same tag for ever.
        b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 70_000,
        b"OggS" + bytes(22) + b"\0" + (b"OggS" + bytes(22) + b"\0") * 5_000,
    ):
        path.write_bytes(data)
        assert len(payload_hash(path)) == 64


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_give_a_hash_or_a_typed_error(kind: str, audio_files: AudioFiles, tmp_path: Path) -> None:
    whole = audio_files(kind).read_bytes()
    rng = random.Random(kind)
    path = tmp_path / "song"
    for _ in range(30):
        data = bytearray(whole[: rng.choice((len(whole), rng.randrange(1, len(whole))))])
        for _ in range(rng.choice((0, 1, 20))):
            # Half of the damage hits the head, where the structure is.
            place = rng.randrange(rng.choice((len(data), min(len(data), 4_096))))
            data[place] = rng.choice((0, 0xFF, rng.randrange(256)))
        path.write_bytes(data)
        with suppress(AudioError):
            assert len(payload_hash(path)) == 64
