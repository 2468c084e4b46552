"""A decoder that dies, hangs or asks for all memory costs the one file at hand, which stays as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.audio import worker_tasks

from moodbook.audio.worker import Limits
from moodbook.library.filetags import Proposal, apply_tasks, build_plan, open_journal, plan_undo, read_fields
from moodbook.library.filetags.apply import choose_run
from moodbook.library.filetags.hearing import Listener

MusicFile = Callable[..., Path]
DEADLY = ("1-segfault", "2-hang", "3-memory")
REASONS = ("the decoder died on it (SIGSEGV)", "the decoder gave no sign for", "MemoryError")


def dangerous(monkeypatch: pytest.MonkeyPatch) -> Listener:
    """Give a listener that does what the names of files ask for."""
    monkeypatch.setattr("moodbook.library.filetags.hearing._objections", worker_tasks.act_on_hearing)
    return Listener(Limits(memory_bytes=1 << 30, stall_seconds=3.0))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of memory there")
def test_a_file_that_kills_its_decoder_is_left_alone_and_the_next_one_is_written(
    music_file: MusicFile, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [music_file("flac", f"{name}.flac") for name in (*DEADLY, "4-good")]
    before = [path.read_bytes() for path in paths]
    plan = build_plan([Proposal(path, ("calm",), {"calm": 0.9}, "model", "0" * 64) for path in paths])
    with dangerous(monkeypatch) as listener, open_journal(journal, "write") as run:
        results = list(apply_tasks(plan.tasks, run, listener=listener))
    assert [result.status for result in results] == ["failed", "failed", "failed", "written"]
    for result, reason in zip(results, REASONS, strict=False):
        assert result.reason.startswith("its audio cannot be decoded (")
        assert reason in result.reason
        assert result.reason.endswith("Nothing was written.")
    assert [path.read_bytes() for path in paths[:3]] == before[:3]
    assert read_fields(paths[3])["MOOD"] == ["calm"]
    assert sorted(child.name for child in paths[0].parent.glob("*.flac")) == [path.name for path in paths]
    told = choose_run(journal, None)
    assert [entry.task.path.name for entry in told.written] == ["4-good.flac"]


def test_undoing_is_heard_in_a_worker_too(
    music_file: MusicFile, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = music_file("flac", "segfault.flac")
    plan = build_plan([Proposal(path, ("calm",), {"calm": 0.9}, "model", "0" * 64)])
    with open_journal(journal, "write") as run:
        assert [result.status for result in apply_tasks(plan.tasks, run)] == ["written"]
    written = path.read_bytes()
    undo = plan_undo(choose_run(journal, None))
    with dangerous(monkeypatch) as listener, open_journal(journal, "undo") as run:
        (result,) = apply_tasks(undo.tasks, run, listener=listener)
    assert (result.status, path.read_bytes()) == ("failed", written)


PROGRAM = """
import os, sys
from pathlib import Path
from moodbook.library.filetags.hearing import Listener
from tests.audio import worker_tasks
import moodbook.library.filetags.hearing as hearing
if __name__ == "__main__":
    hearing._objections = worker_tasks.act_on_hearing
    listener = Listener()
    print(listener.objection(Path(sys.argv[1]), Path(sys.argv[1])), flush=True)
    print(listener._workers._idle[0]._process.pid, flush=True)
    listener.objection(Path("hang"), Path("hang"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_leaves_no_worker(music_file: MusicFile, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path])}
    command = [sys.executable, str(program), str(music_file("flac"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "None\n"
        worker = int(running.stdout.readline())
        os.kill(worker, 0)
        running.send_signal(signal.SIGKILL)
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker outlived its parent")


UNGUARDED = """
import sys
from pathlib import Path
from moodbook.library.filetags import Proposal, apply_tasks, build_plan, open_journal
plan = build_plan([Proposal(Path(sys.argv[1]), ("calm",), {"calm": 0.9}, "model", "0" * 64)])
with open_journal(Path(sys.argv[2]), "write") as journal:
    print(list(apply_tasks(plan.tasks, journal)))
"""


def test_a_script_without_a_guard_is_told_to_have_one(music_file: MusicFile, journal: Path, tmp_path: Path) -> None:
    program, song = tmp_path / "program.py", music_file("flac")
    program.write_text(UNGUARDED)
    before = song.read_bytes()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # A worker that waited for its parent's journal would be given up after two minutes.
    command = [sys.executable, str(program), str(song), str(journal)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    assert (ended.returncode, ended.stdout, song.read_bytes()) == (1, "", before)
    assert "this script runs again in a worker process of its own run. Start the run of a script" in ended.stderr
