"""R15: damaged tags, by a fixed seed: declared exceptions only, and the file is never touched."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from mutagen.id3 import ID3

from moodbook.errors import TagError
from moodbook.library.filetags import Proposal, apply_tasks, build_plan, open_journal
from moodbook.library.filetags.id3 import Id3InFront

from .conftest import KINDS  # isort: skip

MusicFile = Callable[..., Path]
SIZES = (0, 1, 0x7F, 0x80, 0xFF)


def damage(whole: bytes, rng: random.Random) -> bytes:
    """Damage a file where its tags are: sizes, names, flags; and cut it off now and then."""
    data = bytearray(whole)
    # The tags stand at the beginning or, with art of 4 kB, at the end.
    zone = range(0, min(len(data), 6_000)) if rng.random() < 0.5 else range(max(0, len(data) - 6_000), len(data))
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        place = rng.choice(zone)
        kind = rng.randrange(4)
        if kind == 0:
            data[place] = rng.choice(SIZES)
        elif kind == 1:
            data[place : place + 4] = rng.choice((b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\x08"))
        elif kind == 2:
            data[place : place + 8] = data[place + 8 : place + 16]
        else:
            data[place] ^= 1 << rng.randrange(8)
    if rng.random() < 0.2:
        del data[rng.randrange(1, len(data)) :]
    return bytes(data)


def attack(music_file: MusicFile, tmp_path: Path, kind: str, count: int, seed: int) -> int:
    """Plan and write damaged files; give how many were written all the same."""
    whole = music_file(kind, art_bytes=4_000).read_bytes()
    rng = random.Random(f"{kind} {seed}")
    written = 0
    for n in range(count):
        path = tmp_path / "bad" / f"{n}{KINDS[kind][0]}"
        path.parent.mkdir(exist_ok=True)
        data = damage(whole, rng)
        path.write_bytes(data)
        # What is no declared error would come out here.
        plan = build_plan([Proposal(path, ("calm",), {"calm": 0.5}, "model", "0" * 64)], "overwrite")
        for result in _apply(plan.tasks, tmp_path):
            written += result.status == "written"
            if result.status != "written":
                assert result.reason
                assert path.read_bytes() == data
        if plan.failures:
            assert path.read_bytes() == data
        assert [child.name for child in path.parent.iterdir()] == [path.name]
        path.unlink()
    return written


def _apply(tasks: list, tmp_path: Path) -> list:
    if not tasks:
        return []
    with open_journal(tmp_path / "journal", "write") as journal:
        return list(apply_tasks(tasks, journal))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_tags_give_declared_errors(kind: str, music_file: MusicFile, tmp_path: Path) -> None:
    # Damage that spares the structure changes a value only: such a file can be written.
    attack(music_file, tmp_path, kind, 6, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_tags(kind: str, music_file: MusicFile, tmp_path: Path) -> None:
    assert 0 < attack(music_file, tmp_path, kind, 400, seed=2) < 400


@pytest.mark.parametrize("content", [b"\x03gem\xfctlich", b"\x09calm"], ids=["no UTF-8", "no encoding"])
def test_a_mood_that_cannot_be_read_is_not_taken_for_none(content: bytes, tmp_path: Path) -> None:
    frame = b"TMOO" + bytes([0, 0, 0, len(content)]) + b"\0\0" + content
    path = tmp_path / "mood.mp3"
    path.write_bytes(b"ID3\x04\0\0" + bytes([0, 0, 0, len(frame)]) + frame + bytes(2_000))
    assert not ID3(path).getall("TMOO")
    with pytest.raises(TagError, match="its field 'TMOO' cannot be read as text"):
        Id3InFront().read(path)
