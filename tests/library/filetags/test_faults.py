"""R4: the n-th write, rename or fsync fails, for every n: the file is old or new, and somebody is told."""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moodbook import audio
from moodbook.errors import JournalError
from moodbook.library.filetags import Proposal, apply_tasks, build_plan, open_journal, read_fields, recover, rewrite
from moodbook.library.filetags.exchange import exchange
from moodbook.library.filetags.hearing import Listener
from moodbook.library.filetags.journal import read_run
from moodbook.library.filetags.plan import Plan

MusicFile = Callable[..., Path]
ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES)
CALLS = ("write", "fsync", "open", "replace", "rename", "chmod", "utime", "unlink", "mkdir")
"""System calls that change something. Python's files write through `_FailingFile`."""


class Faults:
    """Counts what changes the disk, and lets the n-th of it fail."""

    def __init__(self, fatal: int, code: int) -> None:
        self.count = 0
        self.fatal = fatal
        self.code = code
        self.hit = ""

    def step(self, what: str) -> None:
        self.count += 1
        if self.count == self.fatal:
            self.hit = what
            raise OSError(self.code, os.strerror(self.code))


class FailingFile(io.FileIO):
    """A file of which a write may fail."""

    faults: Faults

    def write(self, data: Any) -> int:
        self.faults.step("file.write")
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self.faults.step("file.truncate")
        return super().truncate(size)


@contextmanager
def faults(monkeypatch: pytest.MonkeyPatch, root: Path, fatal: int, code: int) -> Iterator[Faults]:
    """Let the n-th change below a folder fail: in this process's own calls, and in mutagen's."""
    found = Faults(fatal, code)
    real_open = builtins.open

    def open_file(file: Any, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        is_ours = isinstance(file, (str, os.PathLike)) and str(root) in str(file)
        if not is_ours or "b" not in mode or not set(mode) & set("wax+"):
            return real_open(file, mode, *arguments, **keywords)
        found.step(f"open {mode}")
        raw = FailingFile(file, mode.replace("b", ""))
        raw.faults = found
        return io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", open_file)
        patch.setattr(io, "open", open_file)
        for name in CALLS:
            patch.setattr(os, name, _counted(getattr(os, name), name, found))
        if rewrite.exchange is exchange:
            patch.setattr(rewrite, "exchange", _counted(exchange, "exchange", found))
        yield found


def _counted(call: Callable[..., Any], name: str, found: Faults) -> Callable[..., Any]:
    def counted(*arguments: Any, **keywords: Any) -> Any:
        reads = name == "open" and not arguments[1] & (os.O_WRONLY | os.O_RDWR)
        # Cleaning up is tried after a failure: it may go well or not, but it is not what is tested.
        if not reads and not found.hit:
            found.step(name)
        return call(*arguments, **keywords)

    return counted


def plan_of(path: Path) -> Plan:
    plan = build_plan([Proposal(path, ("calm", "dark"), {"calm": 0.5, "x" * 3_000: 0.1}, "model", "0" * 64)])
    assert not plan.failures
    return plan


def fail_at_every_step(
    music_file: MusicFile, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> int:
    """Let each step fail in its turn; give the number of steps."""
    original = music_file(kind, "original")
    # Its worker is started here: what starting a process writes to pipes is no step of writing a file.
    assert listener.objection(original, original) is None
    payload, before, data = audio.payload_hash(original), read_fields(original), original.read_bytes()
    outcomes = set()
    step = 0
    while True:
        step += 1
        root = tmp_path / "run"
        root.mkdir()
        path = root / "song"
        shutil.copy2(original, path)
        plan = plan_of(path)
        results = []
        raised: JournalError | None = None
        with faults(monkeypatch, root, step, ERRORS[step % len(ERRORS)]) as found:
            try:
                with open_journal(root / "journal", "write") as journal:
                    results += apply_tasks(plan.tasks, journal)
            except JournalError as error:
                raised = error
        fields = read_fields(path)
        assert audio.payload_hash(path) == payload
        assert fields in (before, plan.tasks[0].after)
        if fields == before:
            assert path.read_bytes() == data
        if not found.hit:
            break
        # Somebody is told: the file's own failure, or the whole run's.
        assert raised is not None or [result.status for result in results] == ["failed"], found.hit
        message = str(raised) if raised is not None else results[0].reason
        assert os.strerror(ERRORS[step % len(ERRORS)]) in message, (found.hit, message)
        outcomes.add((found.hit, "new" if fields != before else "old"))
        # What the failure left the doctor finds, and afterwards the journal tells how each file ended.
        list(recover(root / "journal")) if (root / "journal").is_dir() else None
        assert sorted(child.name for child in root.iterdir()) in (["journal", "song"], ["song"]), found.hit
        for journal_file in (root / "journal").glob("*.jsonl"):
            run = read_run(root / "journal", journal_file.stem)
            assert all(entry.is_written == (fields != before) for entry in run.entries)
        shutil.rmtree(root)
    place = "exchange" if rewrite.exchange is exchange and sys.platform == "linux" else "replace"
    assert {"write", "fsync", "open", place, "utime", "file.write"} <= {what.split(" ")[0] for what, _ in outcomes}
    assert ("fsync", "new") in outcomes  # The folder's: the file has changed place already.
    assert {(place, "old"), ("rename", "old")} <= outcomes
    return step - 1


def test_every_step_of_an_mp3_fails(
    music_file: MusicFile, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fail_at_every_step(music_file, listener, tmp_path, monkeypatch, "mp3-2.4") > 15


def test_every_step_fails_where_names_cannot_be_exchanged(
    music_file: MusicFile, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "exchange", lambda copy, target: False)
    assert fail_at_every_step(music_file, listener, tmp_path, monkeypatch, "mp3-2.4") > 15


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["mp3-2.3", "flac", "vorbis", "opus", "ogg-flac", "aac", "alac", "wma", "wav", "aiff", "wavpack"]
)
def test_every_step_of_every_container_fails(
    kind: str, music_file: MusicFile, listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fail_at_every_step(music_file, listener, tmp_path, monkeypatch, kind) > 15


def test_a_journal_that_cannot_be_written_stops_the_run_before_the_next_file(
    music_file: MusicFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [music_file("flac", f"{n}.flac") for n in range(3)]
    proposals = [Proposal(path, ("calm",), {"calm": 0.5}, "model", "0" * 64) for path in paths]
    plan = build_plan(proposals)
    real_write = os.write
    lines = 0

    def write(descriptor: int, data: bytes) -> int:
        nonlocal lines
        lines += b'"begin"' in data
        if lines == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    results = []
    with open_journal(tmp_path / "journal", "write") as journal:  # noqa: SIM117
        with pytest.raises(JournalError, match=r"No space left on device\. Nothing more is written"):
            results += apply_tasks(plan.tasks, journal)
    assert [bool(read_fields(path)) for path in paths] == [True, False, False]
