"""Undo gives back the very bytes; where it cannot, the fields."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import mutagen
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.library.filetags.conftest import KINDS

from moodbook.errors import JournalError, TagError
from moodbook.library.filetags import (
    apply_tasks,
    build_plan,
    choose_run,
    open_journal,
    plan_undo,
    read_fields,
    read_runs,
)
from moodbook.library.filetags.plan import Proposal
from moodbook.library.filetags.wayback import MOST_BYTES, WayBack, find_way_back, pack, unpack

MusicFile = Callable[..., Path]
SCORES = {f"word-{n}": 0.5 for n in range(60)}


def write(path: Path, journal: Path, words: tuple[str, ...] = ("epic", "dark")) -> None:
    plan = build_plan([Proposal(path, words, SCORES, "open", "0" * 64)], "overwrite")
    with open_journal(journal, "write") as run:
        assert [written.status for written in apply_tasks(plan.tasks, run)] == ["written"]


def undo(journal: Path, name: str | None = None) -> list[str]:
    plan = plan_undo(choose_run(journal, name))
    with open_journal(journal, "undo", undoes=plan.run.name) as run:
        return [written.status for written in apply_tasks(plan.tasks, run)]


@pytest.mark.parametrize("rich", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_byte_is_as_it_was(music_file: MusicFile, journal: Path, kind: str, rich: bool) -> None:
    path = music_file(kind, rich=rich)
    before = path.read_bytes()
    write(path, journal)
    after = path.read_bytes()
    assert after != before
    assert undo(journal) == ["written"]
    assert path.read_bytes() == before
    # An undoing is undone to the byte too.
    assert undo(journal, read_runs(journal)[0][-1].name) == ["written"]
    assert path.read_bytes() == after


def test_writing_twice_is_undone_step_by_step(music_file: MusicFile, journal: Path) -> None:
    path = music_file("mp3-2.4", rich=False)
    states = [path.read_bytes()]
    for words in (("epic",), ("dark", "calm"), ("x" * 3_000,)):
        write(path, journal, words)
        states.append(path.read_bytes())
    for state in states[-2::-1]:
        undo(journal)
        assert path.read_bytes() == state


def test_a_file_whose_title_was_changed_since_gets_its_mood_back(music_file: MusicFile, journal: Path) -> None:
    path = music_file("flac")
    write(path, journal)
    file = mutagen.File(path)
    file["TITLE"] = "Another"
    file.save()
    assert undo(journal) == ["written"]
    assert read_fields(path) == {}
    assert mutagen.File(path)["TITLE"] == ["Another"]


def test_what_the_journal_keeps_is_small(music_file: MusicFile, journal: Path) -> None:
    for kind in KINDS:
        write(music_file(kind), journal)
    # Files of 100 to 600 KB, each with a picture of 60 KB.
    assert all(path.stat().st_size < 16_000 for path in journal.glob("*.jsonl"))


def way_back(old: bytes, new: bytes, folder: Path) -> WayBack | None:
    (folder / "old").write_bytes(old)
    (folder / "new").write_bytes(new)
    found = find_way_back(folder / "old", folder / "new")
    if found is not None:
        assert found.fits(folder / "new")
        found.restore(folder / "new", folder / "back")
        assert (folder / "back").read_bytes() == old
    return found


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_two_files(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes) -> None:
    assert way_back(old, new, tmp_path_factory.getbasetemp()) is not None


def test_parts_that_have_moved_are_found(tmp_path: Path) -> None:
    rng = random.Random(2)
    picture, lyrics, music = (rng.randbytes(size) for size in (80_000, 3_000, 200_000))
    old = b"ID3 900" + b"title" + picture + lyrics + bytes(300) + music
    new = b"ID3 950" + lyrics + picture + b"mood and scores" * 20 + bytes(1_024) + music
    found = way_back(old, new, tmp_path)
    assert found is not None
    assert sum(piece.length for piece in found.pieces if piece.data is not None) < 300


def test_large_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moodbook.library.filetags.wayback._MOST_MATCHED_BYTES", MOST_BYTES)
    music = random.Random(0).randbytes(3 * MOST_BYTES)
    kept = []
    for new in (b"tag" + music, music + b"tag", b"RIFF" + b"size" + music + b"tags", music[:-5], music):
        old = b"RIFF" + b"SIZE" + music if new[:4] == b"RIFF" else music
        found = way_back(old, new, tmp_path)
        assert found is not None
        kept.append(sum(piece.length for piece in found.pieces if piece.data is not None))
    assert kept == [0, 0, 4_096, 5, 0]
    assert way_back(music, random.Random(1).randbytes(3 * MOST_BYTES), tmp_path) is None


def test_what_would_take_too_much_room_is_undone_by_its_fields(
    music_file: MusicFile, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moodbook.library.filetags.wayback.MOST_BYTES", 10)
    path = music_file("flac")
    write(path, journal)
    assert "way back" not in next(journal.glob("*.jsonl")).read_text()
    assert undo(journal) == ["written"]
    assert read_fields(path) == {}


@pytest.mark.parametrize("change", ["data", "length", "start"])
def test_a_damaged_record_never_harms_the_file(music_file: MusicFile, journal: Path, change: str) -> None:
    path = music_file("flac")
    write(path, journal)
    after = path.read_bytes()
    (log,) = journal.glob("*.jsonl")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (record,) = [line for line in lines if line["event"] == "way back"]
    if change == "data":
        piece = next(piece for piece in record["pieces"] if piece["data"])
        piece["data"] = pack(bytes(piece["length"]))
    elif change == "length":
        record["pieces"][0]["length"] += 1
    else:
        record["pieces"][-1]["start"] += 7
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert undo(journal) == ["failed"]
    assert path.read_bytes() == after
    assert not list(path.parent.glob("*.part"))


def test_packed_bytes_are_checked() -> None:
    assert unpack(pack(b"abc"), 3) == b"abc"
    for text, length in ((pack(b"abc"), 2), (pack(b"abc"), 4), ("!", 1), ("AAAA", 3), (pack(b""), MOST_BYTES + 1)):
        with pytest.raises(ValueError, match=r"bytes|base64|encoded|padding"):
            unpack(text, length)
    with pytest.raises(TagError, match="damaged"):
        WayBack("0" * 64, "1" * 64, ()).restore(Path(__file__), Path("/dev/null"))


def test_a_record_that_is_no_record(music_file: MusicFile, journal: Path) -> None:
    write(music_file("flac"), journal)
    (log,) = journal.glob("*.jsonl")
    text = log.read_text()
    log.write_text(text.replace('"data": "', '"data": "!!'))
    with pytest.raises(JournalError, match="damaged"):
        choose_run(journal, log.stem)
