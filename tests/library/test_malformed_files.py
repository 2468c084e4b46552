"""R1: malformed files never stop a scan, hang it, or change what another file gives."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.audio.conftest import write
from tests.library.conftest import RECORDINGS, dump

from moodbook.audio import load
from moodbook.audio.worker import Limits
from moodbook.library.catalogue import Catalogue
from moodbook.library.scan import scan
from moodbook.library.search import search
from moodbook.model.tagger import Tagger

KINDS = ("wav", "aiff", "au", "caf", "flac", "mp3", "ogg", "opus", "m4a", "alac", "wma", "wavpack", "mka", "w64")
SUFFIXES = (".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".wma", ".wv", ".aiff", ".caf", ".au", ".ape", ".mpc")
ELF = b"\x7fELF\x02\x01\x01" + bytes(200)
OTHERS = (
    b"<!DOCTYPE html><html><body>404</body></html>",
    b"PK\x03\x04" + bytes(500),
    ELF,
    b"#EXTM3U\nhttp://localhost:1/x.mp3\nfile:///etc/passwd\n",
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b"",
    b"\0",
    bytes(70_000),
    b"\xff" * 70_000,
    b"ID3\x04\0\0\0\0\x0f\x76" + bytes(2_048),  # Nothing but tags.
    b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(100),  # 256 MB of tags, it says.
    b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0data\xff\xff\xff\xff\0\0",
    b"fLaC\x80\xff\xff\xff" + bytes(64),
    b"\0\0\0\x08ftyp\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff",
    b"OggS\0\x02" + bytes(20) + b"\x01\x13OpusHead\x01\xff\0\0\xff\xff\xff\xff\0\0\xff",
)


@pytest.fixture(scope="module")
def sound_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A second of an example recording in every kind, and one sample of it."""
    folder = tmp_path_factory.mktemp("kinds")
    samples = load(RECORDINGS / "taiko.opus", start_seconds=3.0, duration_seconds=2.2)[:, None].repeat(2, axis=1)
    return {kind: write(folder / kind, kind, samples, None).read_bytes() for kind in KINDS}


def damage(rng: random.Random, sound: bytes) -> bytes:
    """Damage a file as discs, downloads and attackers do."""
    way = rng.randrange(7)
    data = bytearray(sound)
    if way == 0:  # Truncated.
        del data[rng.randrange(len(data)) :]
    elif way == 1:  # A few bits flipped anywhere.
        for _ in range(rng.choice((1, 10, 1_000))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif way == 2:  # Absurd numbers in the header.
        for _ in range(rng.choice((1, 3, 8))):
            start = rng.randrange(4, 200)
            data[start : start + 4] = rng.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\x80"))
    elif way == 3:  # A hole.
        start = rng.randrange(len(data))
        data[start : start + rng.randrange(20_000)] = b""
    elif way == 4:  # Something in between.
        start = rng.randrange(len(data))
        data[start:start] = rng.randbytes(rng.randrange(1, 5_000))
    elif way == 5:  # The header alone, then noise.
        start = rng.randrange(4, min(2_000, len(data)))
        data[start:] = rng.randbytes(len(data) - start)
    else:  # Twice.
        data += data[rng.randrange(len(data)) :]
    return bytes(data)


@pytest.mark.parametrize("count", [300, pytest.param(2_000, marks=pytest.mark.slow)])
def test_malformed_files(
    sound_files: dict[str, bytes],
    tree: Callable[[dict[str, str]], Path],
    catalogue: Catalogue,
    tagger: Tagger,
    tmp_path: Path,
    count: int,
) -> None:
    good = {f"{number}/good-{name}.flac": name for number, name in enumerate(("lava", "taiko", "rlyeh", "geoscape"))}
    root = tree(good)
    alone = {name: tagger(root / name).probabilities.tolist() for name in good}
    rng = random.Random(2019)
    for number in range(count):
        data = OTHERS[number // 2] if number < len(OTHERS) * 2 else damage(rng, sound_files[rng.choice(KINDS)])
        # Half of them among the good ones in time, under any name.
        (root / str(number % 4) / f"bad-{number}{rng.choice(SUFFIXES)}").write_bytes(data)

    summary = scan(catalogue, [root], tagger, limits=Limits(memory_bytes=1_300 << 20, stall_seconds=30.0))

    reasons = [failure.reason for failure in summary.failures]
    assert not [reason for reason in reasons if "died" in reason], "a process died"
    assert not [reason for reason in reasons if "gave no sign" in reason], "a decoder hung"
    assert not [reason for reason in reasons if reason.startswith("unexpected")], "a mistake of ours"
    assert not [reason for reason in reasons if "memory" in reason], "a decoder asked for all memory"
    assert summary.found == count + len(good)
    assert summary.failed > count / 3
    found = {track.path.name: list(track.probabilities.values()) for track in search(catalogue, "path:good-")}
    assert found == {Path(name).name: scores for name, scores in alone.items()}
    again = scan(catalogue, [root], tagger)
    assert (again.heard, again.failed) == (0, summary.failed)
    dump(catalogue.path)
    if sys.platform == "linux":
        import resource

        assert max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) < (
            1_500 << 10
        )
