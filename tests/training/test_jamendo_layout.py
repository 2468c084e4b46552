"""The way of the paper's data from end to end: MTG-Jamendo's lists and folders, filled with real music as MP3."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from tests.datasets.synthetic import MOODS, write_jamendo
from typer.testing import CliRunner

from moodbook import audio
from moodbook.cli.app import app
from moodbook.datasets import open_dataset
from moodbook.evaluation.submission import read_table
from moodbook.features import SAMPLE_RATE, SEGMENT_SECONDS
from moodbook.training.recipe import Recipe
from moodbook.training.reproduce import reproduce
from moodbook.training.table_2 import PUBLISHED

RECORDINGS = Path(__file__).parents[2] / "examples" / "recordings"
COUNTS = (6, 6, 6)


@pytest.fixture(scope="module")
def jamendo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small copy of the data set: its list format, excerpts of the recordings that ship with the project."""
    folder = tmp_path_factory.mktemp("mtg-jamendo")
    paths = write_jamendo(folder, counts=COUNTS, audio=False)
    recordings = sorted(RECORDINGS.glob("*.opus"))
    assert recordings, f"no recordings in {RECORDINGS}"
    for path, (start, recording) in zip(paths, itertools.product((0.0, 12.0), recordings), strict=False):
        excerpt = audio.load(recording, start_seconds=start, duration_seconds=SEGMENT_SECONDS + 1)
        target = folder / "audio-low" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, excerpt, SAMPLE_RATE, format="MP3")
    return folder


def test_a_fixed_run_goes_from_the_lists_to_the_report(
    jamendo: Path, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    dataset = open_dataset("jamendo-moodtheme", jamendo)
    rules = {"features": {"center_padding": "reflect"}, "data": {"short_tracks": "drop"}}
    report = reproduce(narrow("fixed-cnn", **rules), dataset, tmp_path / "run")
    assert report.tracks == {"train": 6, "validation": 6, "test": 6}
    assert report.tags.names == tuple(sorted(MOODS))
    assert report.unreadable == report.dropped == ()
    table = read_table(tmp_path / "run" / "test.csv")
    assert table.tags == report.tags
    assert table.track_ids == tuple(track.track_id for track in dataset.split("test"))
    assert "mood/theme" not in (tmp_path / "run" / "thresholds.json").read_text()


@pytest.mark.slow
def test_every_row_of_the_table_runs_from_one_command(jamendo: Path, tmp_path: Path) -> None:
    command = ["reproduce", "table-2", "--smoke", "--data", "jamendo-moodtheme", "--audio", str(jamendo)]
    result = CliRunner().invoke(app, [*command, "--run", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines[3:17:2]] == [row.title for row in PUBLISHED.values()]
    assert lines[-1].endswith("other data do not compare.")
    for recipe in PUBLISHED:
        assert (tmp_path / "run" / recipe / "bundle" / "config.json").is_file()
