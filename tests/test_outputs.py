"""What a verb may replace, whatever the verb: the same rule for all of their formats."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.library.conftest import cut

from moodbook.errors import DataError
from moodbook.library import export, playlist
from moodbook.library.filetags import build_plan, plan, save_plan
from moodbook.library.personal import Suggestion, questions
from moodbook.library.query import Decided
from moodbook.library.search import Track
from moodbook.model import writers
from moodbook.model.scores import TagFailure
from moodbook.outputs import Format, check_output, output_file
from moodbook.tags import TagSet

TAGS = TagSet(("calm",))
TRACK = Track(Path("/a.flac"), 1, "0", "A", "T", "", (), 1.0, None, (), {"calm": 0.5}, "tiny", None)
Write = Callable[..., None]


def write_records(path: Path, *, force: bool = False) -> None:
    with writers.open_writer(path, TAGS, force=force) as writer:
        writer.write(TagFailure(Path("a.mp3"), "bad"))


def write_list(path: Path, *, force: bool = False) -> None:
    if path.suffix == ".nsp":
        playlist.write_smart_playlist(path, Decided("calm"), "x", force=force)
    else:
        playlist.write_playlist(path, [TRACK], "x", force=force)


VERBS: list[tuple[Sequence[Format], Write]] = [
    (writers.FORMATS, write_records),
    (export.FORMATS, lambda path, force=False: export.export(path, [TRACK], TAGS, force=force)),
    (playlist.FORMATS, write_list),
    (plan.FORMATS, lambda path, force=False: save_plan(build_plan([]), path, force=force)),
    (
        questions.FORMATS,
        lambda path, force=False: questions.write_questions(path, [Suggestion(TRACK, 1.0, ())], force=force),
    ),
]
CASES = [
    pytest.param(write, format.suffix, id=f"{format.kind}{format.suffix}")
    for formats, write in VERBS
    for format in formats
]


@pytest.mark.parametrize(("write", "suffix"), CASES)
def test_only_what_the_verb_wrote_itself_is_replaced(tmp_path: Path, write: Write, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.touch()  # As mktemp makes it.
    write(path)
    ours = path.read_bytes()
    write(path)  # A script that runs again.
    for theirs in (
        b"#EXTM3U\n#PLAYLIST:mine\na.mp3\n",
        b"path,words\na.mp3,gym\n",
        b'{"a": 1}\n',
        b"\xff\0" * 99,
        b"[",
    ):
        path.write_bytes(theirs)
        with pytest.raises(DataError, match=r"is there already and is not .* replace it with --force"):
            write(path)
        assert path.read_bytes() == theirs
    write(path, force=True)
    assert len(path.read_bytes()) == len(ours)


@pytest.mark.parametrize(("write", "suffix"), CASES)
def test_music_and_devices_never_are(tmp_path: Path, write: Write, suffix: str) -> None:
    song = cut("lava", tmp_path / "song.flac")
    before = song.read_bytes()
    (tmp_path / f"link{suffix}").symlink_to(song)
    (tmp_path / f"folder{suffix}").mkdir()
    (tmp_path / f"null{suffix}").symlink_to(os.devnull)
    (tmp_path / f"loop{suffix}").symlink_to(f"loop{suffix}")
    names = ["song.flac", *(f"{name}{suffix}" for name in ("link", "folder", "null", "loop"))]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        names.append(f"pipe{suffix}")
    for name in names:
        for force in (False, True):
            with pytest.raises(DataError):
                write(tmp_path / name, force=force)
    assert song.read_bytes() == before
    shutil.copy(song, tmp_path / f"song{suffix}")
    with pytest.raises(DataError, match="is there already"):
        write(tmp_path / f"song{suffix}")


def test_answers_are_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    suggestions = [Suggestion(TRACK, 1.0, (("gym", 0.5),))] * 2
    questions.write_questions(path, suggestions)
    assert path.read_text().splitlines()[1] == "/a.flac,?,gym 0.50"
    path.write_text(path.read_text().replace("?", "gym", 1))
    with pytest.raises(DataError, match="is not a list of unanswered questions that Moodbook wrote"):
        questions.write_questions(path, suggestions)


def test_an_unchanged_link_to_the_right_kind_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    for _ in range(2):
        write_records(tmp_path / "link.csv")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_bytes().startswith(b"path,error")


def test_a_record_of_any_length_is_known(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    numbers = ",".join(map(str, np.linspace(0, 1, 200_000)))
    path.write_text(f'{{"path": "a", "taggram": [{numbers}]}}\n')
    assert check_output(path, writers.FORMATS) == ".jsonl"


def test_what_the_system_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in (tmp_path / "file" / "x.csv", tmp_path / ("n" * 300 + ".csv"), tmp_path / "a\0.csv"):
        with pytest.raises(DataError, match="cannot write"), output_file(name, writers.FORMATS):
            pytest.fail("there is nothing to write to")
