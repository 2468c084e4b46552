from __future__ import annotations

import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from moodbook.errors import DataError
from moodbook.model.scores import TagFailure, TagScores
from moodbook.model.writers import FORMATS, JsonLinesWriter, open_writer
from moodbook.outputs import check_output
from moodbook.tags import TagSet

TAGS = TagSet(("calm", 'da"rk', "path"))
SCORES = TagScores(
    path=Path("sóng, 1.mp3"),
    tags=TAGS,
    probabilities=np.array([0.25, 0.75, 0.5], dtype=np.float32),
    decisions=np.array([True, True, False]),
    taggram=np.array([[0.25, 0.75, 0.5]], dtype=np.float32),
    music=None,
    embedding=None,
    filled=np.array([1.0], dtype=np.float32),
    segment_seconds=23.777,
    duration_seconds=23.777,
    padded=False,
    note="",
    model_name="tiny",
    model_sha256="ab" * 32,
    precision="f32",
)
FAILURE = TagFailure(Path("bad\nname.mp3"), "it is empty")


def test_json_lines_are_the_records_in_utf8(tmp_path):
    with open_writer(tmp_path / "out.jsonl", TAGS) as writer:
        writer.write(SCORES)
        writer.write(FAILURE)

    lines = (tmp_path / "out.jsonl").read_bytes().decode("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [SCORES.to_dict(), FAILURE.to_dict()]
    assert "sóng" in lines[0]


def test_csv_has_a_column_a_tag(tmp_path):
    with open_writer(tmp_path / "OUT.CSV", TAGS, top=2) as writer:
        writer.write(SCORES)
        writer.write(FAILURE)

    with (tmp_path / "OUT.CSV").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "path": "sóng, 1.mp3",
        "error": "",
        "duration_seconds": "23.777",
        "padded": "False",
        "decided": 'calm;da"rk',
        "tag:calm": "",
        'tag:da"rk': "0.75",
        "tag:path": "0.5",
    }
    assert rows[1]["path"] == "bad\nname.mp3"
    assert rows[1]["error"] == "it is empty"
    assert rows[1]["tag:calm"] == ""


def test_a_record_can_be_read_as_soon_as_it_is_written(tmp_path):
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        JsonLinesWriter(stream).write(FAILURE)

        assert json.loads((tmp_path / "log").read_text("utf-8")) == FAILURE.to_dict()


def test_the_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    with open_writer(target, TAGS, force=True) as writer:
        writer.write(SCORES)
        assert target.read_text() == "old"

    assert json.loads(target.read_text("utf-8")) == SCORES.to_dict()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_run_that_breaks_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("old")

    def break_off() -> None:
        with open_writer(target, TAGS, force=True) as writer:
            writer.write(SCORES)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()

    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_what_a_killed_run_left_is_removed(tmp_path):
    (tmp_path / "out.jsonl.part").write_text("the user's own")
    script = f"""
import os, signal
from pathlib import Path
from moodbook.model.scores import TagFailure
from moodbook.model.writers import open_writer
from moodbook.tags import TagSet
with open_writer({str(tmp_path / "out.jsonl")!r}, TagSet(("calm",))) as writer:
    writer.write(TagFailure(Path("a"), "bad" * 100_000))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode != 0
    left, own = sorted(path.name for path in tmp_path.iterdir())
    assert left.startswith(".out.jsonl.")
    assert own == "out.jsonl.part"

    with open_writer(tmp_path / "out.jsonl", TAGS) as writer:
        writer.write(FAILURE)

    assert json.loads((tmp_path / "out.jsonl").read_text("utf-8")) == FAILURE.to_dict()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.part"]
    assert (tmp_path / "out.jsonl.part").read_text() == "the user's own"


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_says_so(tmp_path, monkeypatch, call):
    target = tmp_path / "out.jsonl"
    target.write_text("old")

    def fail(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), fail)
    with (
        pytest.raises(DataError, match=r"cannot write '.*out\.jsonl': No space left"),
        open_writer(target, TAGS, force=True) as writer,
    ):
        writer.write(SCORES)
    monkeypatch.undo()

    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_disk_that_is_full_while_it_is_written_to_is_named_too(tmp_path, name):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def write_too_much():
        with open_writer(tmp_path / name, TAGS) as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
            for _ in range(1000):
                writer.write(SCORES)

    try:
        with pytest.raises(DataError, match=rf"cannot write '.*{name}': File too large"):
            write_too_much()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert list(tmp_path.iterdir()) == []


def test_errors_of_others_are_not_taken_for_its_own(tmp_path):
    with pytest.raises(BrokenPipeError), open_writer(tmp_path / "out.jsonl", TAGS):
        raise BrokenPipeError


def test_a_folder_that_is_not_there_is_named(tmp_path):
    writer = open_writer(tmp_path / "nowhere" / "out.csv", TAGS)

    with pytest.raises(DataError, match=r"cannot write '.*nowhere.out\.csv': No such file or directory"):
        writer.__enter__()


@pytest.mark.parametrize("name", ["out.txt", "out", "out.json", ".csv"])
def test_an_unknown_ending_lists_the_known(name):
    with pytest.raises(DataError, match=r"use one of \.jsonl, \.csv"):
        check_output(name, FORMATS)
