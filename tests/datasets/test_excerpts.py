"""Excerpts: the right stretch of each track, readable by every command; a bad file is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from moodbook import audio
from moodbook.cli.app import app
from moodbook.datasets import Dataset, open_dataset
from moodbook.datasets.dataset import Track
from moodbook.datasets.excerpts import INDEX, write_excerpts
from moodbook.errors import DataError
from moodbook.tags import TagSet

RATE = 22_050


@pytest.fixture
def tones(tmp_path: Path) -> Dataset:
    """Two tracks whose pitch rises second by second, 8 s and 2 s long, and one that is no audio."""
    folder = tmp_path / "tones"
    folder.mkdir()
    tracks = []
    for name, seconds in (("long/a", 8), ("short", 2)):
        time = np.arange(seconds * RATE) / RATE
        waveform = 0.5 * np.sin(2 * np.pi * 200 * (1 + np.floor(time)) * time)
        path = folder / f"{name.replace('/', '-')}.wav"
        soundfile.write(path, waveform, RATE)
        tracks.append(Track(name, path, ("calm",), "train", "artist"))
    (folder / "bad.wav").write_bytes(b"no audio")
    tracks.append(Track("bad", folder / "bad.wav", ("calm",), "validation", None))
    return Dataset("tones", tuple(tracks), TagSet(("calm",)), "", "")


def pitch(waveform: np.ndarray) -> float:
    """Give the strongest frequency."""
    return float(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)))).argmax() * RATE / len(waveform))


def test_an_excerpt_is_a_stretch_of_its_track(tones: Dataset, tmp_path: Path) -> None:
    skipped = write_excerpts(tones, tmp_path / "copy", seconds=3.0, kilobits=48)
    assert [track_id for track_id, _ in skipped] == ["bad"]
    copy = open_dataset(tmp_path / "copy" / INDEX)
    assert [(t.track_id, t.tags, t.split, t.group) for t in copy.tracks] == [
        (t.track_id, t.tags, t.split, t.group) for t in tones.tracks[:2]
    ]
    waveforms = [audio.load(track.path) for track in copy.tracks]
    np.testing.assert_allclose([len(waveform) / RATE for waveform in waveforms], [3.0, 2.0], atol=0.03)
    heard = [pitch(waveforms[0][start : start + RATE // 4]) for start in range(0, 2 * RATE, RATE // 4)]
    assert heard == sorted(heard)
    assert pitch(waveforms[1][RATE // 4 : RATE // 2]) == pytest.approx(200, abs=8)


def test_excerpts_that_are_there_are_kept(tones: Dataset, tmp_path: Path) -> None:
    for _ in range(2):
        write_excerpts(tones, tmp_path / "copy", seconds=3.0, kilobits=24)
        files = {path: path.stat().st_mtime_ns for path in (tmp_path / "copy").glob("*.opus")}
    gone = replace(tones, tracks=tuple(replace(track, path=tmp_path / "gone") for track in tones.tracks[:2]))
    assert write_excerpts(gone, tmp_path / "copy", seconds=3.0, kilobits=24) == ()
    assert files == {path: path.stat().st_mtime_ns for path in (tmp_path / "copy").glob("*.opus")}


def test_a_folder_that_cannot_be_made_is_an_error(tones: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write excerpts into"):
        write_excerpts(tones, tmp_path / "file" / "copy", seconds=3.0, kilobits=24)


def test_the_verb_names_what_it_left_out(tones: Dataset, tmp_path: Path) -> None:
    index = tmp_path / "index.csv"
    lines = [f"{track.track_id},{track.path.name},calm" for track in tones.tracks]
    index.write_text("\n".join(["track_id,path,tags", *lines]) + "\n")
    asked = ["data", "excerpt", str(index), "--audio", str(tmp_path / "tones"), "--to", str(tmp_path / "copy")]
    done = CliRunner().invoke(app, [*asked, "--seconds", "2"])
    assert done.exit_code == 1
    summary = json.loads(done.stdout)
    assert summary["written"] == 2
    assert summary["skipped"][0][0] == "bad"
