"""What files say about themselves, in every kind of tag, and damaged ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mutagen
import numpy as np
import pytest
from mutagen import apev2, asf, id3, mp4
from tests.audio.conftest import music, write

from moodbook.library.filetags import moods, read_fields
from moodbook.library.filetags.elsewhere import moods_elsewhere
from moodbook.library.identity import identify
from moodbook.library.metadata import Metadata, read_metadata

SAMPLES = music(1.2)
EXPECTED = Metadata("Ærtist; Second", "Title", "Album", ("calm", "very dark"))


def tag_id3(path: Path) -> None:
    tags = id3.ID3()
    for frame in (id3.TPE1(3, ["Ærtist", "Second"]), id3.TIT2(3, ["Title"]), id3.TALB(3, ["Album"])):
        tags.add(frame)
    tags.add(id3.TMOO(3, ["calm", "very dark"]))
    tags.save(path)


def tag_id3v23(path: Path) -> None:
    tag_id3(path)
    tags = id3.ID3(path)
    tags.delall("TMOO")
    tags.add(id3.TXXX(3, "mood", ["calm", "very dark"]))
    tags.save(path, v2_version=4)


def tag_comments(path: Path) -> None:
    file = mutagen.File(path)
    file["ARTIST"] = ["Ærtist", "Second"]
    file["Title"], file["album"], file["MOOD"] = ["Title"], ["Album"], ["calm", "very dark", "calm"]
    file.save()


def tag_mp4(path: Path) -> None:
    file = mutagen.File(path)
    file["\xa9ART"], file["\xa9nam"], file["\xa9alb"] = ["Ærtist", "Second"], ["Title"], ["Album"]
    file["----:com.apple.iTunes:MOOD"] = [mp4.MP4FreeForm(b"calm"), mp4.MP4FreeForm(b"very dark")]
    file.save()


def tag_asf(path: Path) -> None:
    file = mutagen.File(path)
    file["Author"], file["Title"], file["WM/AlbumTitle"] = ["Ærtist", "Second"], ["Title"], ["Album"]
    file["WM/Mood"] = [asf.ASFUnicodeAttribute("calm"), asf.ASFUnicodeAttribute("very dark")]
    file.save()


def tag_ape(path: Path) -> None:
    tags = apev2.APEv2()
    tags["Artist"], tags["Title"], tags["Album"] = ["Ærtist", "Second"], "Title", "Album"
    tags["Mood"] = ["calm", "very dark"]
    tags.save(path)


KINDS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "mp3": ("mp3", tag_id3),
    "mp3-v2.3": ("mp3", tag_id3v23),
    "flac": ("flac", tag_comments),
    "ogg": ("ogg", tag_comments),
    "opus": ("opus", tag_comments),
    "m4a": ("m4a", tag_mp4),
    "alac": ("alac", tag_mp4),
    "wma": ("wma", tag_asf),
    "wavpack": ("wavpack", tag_ape),
}


def read(path: Path, data: bytes) -> Metadata:
    path.write_bytes(data)
    return read_metadata(path)


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("tagged")
    files = {}
    for name, (kind, tag) in KINDS.items():
        samples = SAMPLES if kind != "opus" else np.ascontiguousarray(SAMPLES[::1])
        path = write(folder / f"{name}.{kind}", kind, samples)
        tag(path)
        files[name] = path.read_bytes()
    return files


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_tags_is_read(tagged: dict[str, bytes], name: str, tmp_path: Path) -> None:
    assert read(tmp_path / "x", tagged[name]) == EXPECTED


def test_no_tags_are_no_text(tmp_path: Path) -> None:
    for kind in ("wav", "flac", "mp3"):
        assert read_metadata(write(tmp_path / kind, kind, SAMPLES)) == Metadata()


def test_text_is_made_printable_and_kept_short(tmp_path: Path) -> None:
    path = write(tmp_path / "a.flac", "flac", SAMPLES)
    file = mutagen.File(path)
    file["title"], file["artist"] = ["a\nb\x1b[31m\x00c  d"], ["x" * 5_000]
    file["mood"] = [f"m{number}" for number in range(500)]
    file.save()
    metadata = read_metadata(path)
    assert metadata.title == "a b [31m c d"
    assert len(metadata.artist) == 1_000
    assert len(metadata.moods) == 100


def test_damaged_tags_never_raise(tagged: dict[str, bytes], tmp_path: Path) -> None:
    rng = random.Random(11)
    for sound in tagged.values():
        for _ in range(40):
            data = bytearray(sound)
            for _ in range(rng.choice((1, 5, 50))):
                data[rng.randrange(min(len(data), 3_000))] = rng.randrange(256)
            del data[rng.choice((len(data), rng.randrange(len(data)))) :]
            found = read(tmp_path / "x", bytes(data))
            for text in (found.artist, found.title, found.album, *found.moods):
                text.encode("utf-8")
                assert text.isprintable()


def test_moods_in_second_tags_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    write(path, "mp3", SAMPLES)
    tag_id3(path)
    tags = apev2.APEv2()
    tags["Mood"] = ["gloomy", "calm"]
    tags.save(path)
    (identity,) = identify(path)
    assert identity.metadata == replace(EXPECTED, moods=("calm", "very dark", "gloomy"))
    # A damaged one is none.
    path.write_bytes(path.read_bytes().replace(b"APETAGEX\xd0\x07", b"APETAGEX\xff\xff"))
    (identity,) = identify(path)
    assert identity.metadata.moods[:2] == EXPECTED.moods


def two_texts(path: Path) -> None:
    tags = id3.ID3()
    tags.add(id3.TXXX(3, "mOOd", ["calm"]))
    tags.add(id3.TXXX(3, "MOOD", ["dark"]))
    tags.save(path)


def text_beside_mood(path: Path) -> None:
    tags = id3.ID3()
    tags.add(id3.TMOO(3, ["calm"]))
    tags.add(id3.TXXX(3, "mood", ["dark"]))
    tags.save(path)


def two_atoms(path: Path) -> None:
    file = mutagen.File(path)
    for name, word in (("mood", b"calm"), ("MOOD", b"dark")):
        file[f"----:com.apple.iTunes:{name}"] = [mp4.MP4FreeForm(word)]
    file.save()


def two_attributes(path: Path) -> None:
    file = mutagen.File(path)
    for name, word in (("wm/mood", "calm"), ("mood", "dark")):
        file[name] = [asf.ASFUnicodeAttribute(word)]
    file.save()


@pytest.mark.parametrize(
    ("kind", "tag"),
    [
        ("mp3", two_texts),
        ("mp3", text_beside_mood),
        ("aac", text_beside_mood),
        ("m4a", two_atoms),
        ("wma", two_attributes),
    ],
)
def test_moods_are_those_that_write_sees(kind: str, tag: Callable[[Path], None], tmp_path: Path) -> None:
    path = write(tmp_path / f"a.{kind}", kind, SAMPLES)
    tag(path)
    assert set(read_metadata(path).moods) == {"calm", "dark"} == {*moods(read_fields(path)), *moods_elsewhere(path)}
