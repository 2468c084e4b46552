"""R2: kill -9 while file tags are written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")

DRIVER = Path(__file__).with_name("kill_driver.py")
FORMATS = ("mp3-2.4", "flac", "vorbis", "opus", "aac", "wav")
MusicFile = Callable[..., Path]


def kill(folder: Path, kills: int, seed: int) -> dict[str, int]:
    command = [sys.executable, str(DRIVER), str(folder), str(kills), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def enlarge(path: Path, size: int) -> None:
    """Make an mp3 or wav file longer by saying its music again, until it has so many bytes."""
    if path.suffix == ".wav":
        samples, rate = soundfile.read(path, dtype="int16")
        times = -(-size // samples.nbytes)
        soundfile.write(path, np.tile(samples, (times, 1)), rate)
        return
    data = path.read_bytes()
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(data)


def assert_kept(counts: dict[str, int], kills: int) -> None:
    assert counts["kills"] == kills
    assert counts["half"] == counts["audio_changed"] == counts["litter_left"] == 0
    # The test would prove nothing if no kill had hit a file, or all of them came too late.
    assert counts["old"] > 0
    assert counts["new"] > 0


def test_sixty_kills(music_file: MusicFile, tmp_path: Path) -> None:
    for kind in FORMATS:
        music_file(kind, f"music/{kind}")
    counts = kill(tmp_path, 60, seed=1)
    assert_kept(counts, 60)
    assert counts["litter_seen"] > 0


@pytest.mark.slow
def test_six_hundred_kills(music_file: MusicFile, tmp_path: Path) -> None:
    for kind in FORMATS:
        music_file(kind, f"small/music/{kind}", art_bytes=1_000_000)
    total = kill(tmp_path / "small", 540, seed=10_000)
    assert_kept(total, 540)
    for kind, megabytes in (("mp3-2.4", 30), ("wav", 100)):
        path = music_file(kind, f"large/music/{kind}{'.wav' if kind == 'wav' else '.mp3'}", rich=False)
        enlarge(path, megabytes << 20)
    assert_kept(kill(tmp_path / "large", 60, seed=20_000), 60)
