"""The example recordings: their table, files and credits agree, and the script that makes them cuts what it says."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

EXAMPLES = Path(__file__).parents[2] / "examples"
FOLDER = EXAMPLES / "recordings"
FREE_LICENCES = {
    "CC0 1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY 3.0": "https://creativecommons.org/licenses/by/3.0/",
    "CC BY-SA 3.0": "https://creativecommons.org/licenses/by-sa/3.0/",
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_recordings", EXAMPLES / "make_recordings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def packages(tmp_path: Path) -> tuple[Path, Path]:
    """A package with an archive that holds 2 s of silence and then 2 s of a 440 Hz tone, and a table that cuts it."""
    seconds = np.arange(4 * 44_100) / 44_100
    tone = np.where(seconds >= 2, 0.5 * np.sin(2 * np.pi * 440 * seconds), 0.0)
    soundfile.write(tmp_path / "tone.flac", np.stack([tone, tone], axis=1), 44_100)
    folder = tmp_path / "packages" / "game-music"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "music.zip", "w") as archive:
        archive.write(tmp_path / "tone.flac", "music/tone.flac")
    row = {
        "track_id": "tone",
        "path": "tone.opus",
        "title": "Tone",
        "author": "A. Composer",
        "author_url": "",
        "licence": "CC0 1.0",
        "licence_url": FREE_LICENCES["CC0 1.0"],
        "evidence": "the test",
        "game": "Game",
        "package": "game-music",
        "package_version": "1.0",
        "source_path": "music.zip!music/tone.flac",
        "source_sha256": hashlib.sha256((tmp_path / "tone.flac").read_bytes()).hexdigest(),
        "start_seconds": "1.5",
        "seconds": "2",
        "context": "nowhere",
        "expected": "calm",
    }
    return folder.parent, write_table(tmp_path / "table.csv", row)


def write_table(path: Path, row: dict[str, str]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, row)
        writer.writeheader()
        writer.writerow(row)
    return path


def change(table: Path, **values: str) -> None:
    with table.open(newline="", encoding="utf-8") as handle:
        row = next(csv.DictReader(handle))
    write_table(table, row | values)


def test_the_table_names_every_file_and_no_other(script: ModuleType) -> None:
    named = [recording.path for recording in script.read_table(FOLDER / "recordings.csv")]
    assert len(set(named)) == len(named)
    assert sorted([*named, "CREDITS.md", "recordings.csv"]) == sorted(path.name for path in FOLDER.iterdir())


def test_every_recording_is_as_long_as_the_table_says_and_fills_a_segment(script: ModuleType) -> None:
    for recording in script.read_table(FOLDER / "recordings.csv"):
        samples, sample_rate = soundfile.read(FOLDER / recording.path, always_2d=True)
        assert len(samples) / sample_rate == pytest.approx(recording.seconds, abs=0.05), recording.path
        assert recording.seconds >= 24, recording.path
        assert np.sqrt(np.mean(samples**2)) > 0.01, recording.path


def test_the_recordings_stay_within_six_megabytes() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 6_000_000


def test_every_licence_allows_it_and_every_author_is_credited(script: ModuleType) -> None:
    recordings = script.read_table(FOLDER / "recordings.csv")
    for recording in recordings:
        assert FREE_LICENCES[recording.licence] == recording.licence_url, recording.path
    assert (FOLDER / "CREDITS.md").read_text(encoding="utf-8") == script.credits_page(recordings)


def test_the_script_cuts_the_part_that_the_table_names(script: ModuleType, packages: tuple[Path, Path]) -> None:
    folder, table = packages
    assert script.main(["--packages", str(folder), "--table", str(table)]) == 0
    samples, sample_rate = soundfile.read(table.parent / "tone.opus", always_2d=True)
    assert samples.shape == (2 * sample_rate, 2)
    silence, tone = samples[: int(0.45 * sample_rate), 0], samples[int(0.55 * sample_rate) : -sample_rate // 10, 0]
    assert np.abs(silence).max() < 0.01
    assert np.abs(tone).max() == pytest.approx(0.5, abs=0.05)
    spectrum = np.abs(np.fft.rfft(tone))
    assert spectrum.argmax() * sample_rate / len(tone) == pytest.approx(440, abs=1)
    assert "Author: A. Composer\n" in (table.parent / "CREDITS.md").read_text(encoding="utf-8")


def test_the_same_source_gives_the_same_bytes(script: ModuleType, packages: tuple[Path, Path]) -> None:
    folder, table = packages
    arguments = ["--packages", str(folder), "--table", str(table)]
    script.main(arguments)
    first = (table.parent / "tone.opus").read_bytes()
    script.main(arguments)
    assert (table.parent / "tone.opus").read_bytes() == first


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source_sha256": "0" * 64}, "expected 0000"),
        ({"source_path": "music.zip!music/other.flac"}, "unpack the package"),
        ({"source_path": "music/tone.flac"}, "unpack the package"),
        ({"seconds": "3"}, "4.00 s long"),
        ({"seconds": "long"}, "expected a number"),
        ({"author": ""}, "has no 'author'"),
    ],
)
def test_a_wrong_source_or_row_is_refused(
    script: ModuleType,
    packages: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
    values: dict[str, str],
    message: str,
) -> None:
    folder, table = packages
    change(table, **values)
    assert script.main(["--packages", str(folder), "--table", str(table)]) == 2
    assert message in capsys.readouterr().err
    assert not (table.parent / "tone.opus").exists()
