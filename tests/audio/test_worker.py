"""A worker may die, hang or ask for all memory: it costs one task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest
from tests.audio.worker_tasks import act, count

from moodbook.audio import worker
from moodbook.audio.worker import Limits, Lost, WorkerPool
from moodbook.errors import WorkerError

ROOT = Path(__file__).parents[2]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def by_task(pool: WorkerPool, tasks: list[str]) -> dict[str, list[object]]:
    given = defaultdict(list)
    for task, item in pool.run(act, tasks):
        given[task].append(item)
    return given


def test_results_come_in_order_and_from_several_workers() -> None:
    with WorkerPool(2) as pool:
        given = defaultdict(list)
        for task, item in pool.run(count, [3, 0, 1000, 2]):
            given[task].append(item)
        pids = {item for _, item in pool.run(act, ["hang-not"] * 4) if isinstance(item, int)}
    assert given == {3: [0, 1, 2], 1000: list(range(1000)), 2: [0, 1]}
    assert 1 <= len(pids) <= 2


ENDS = {
    "segfault": "the decoder died on it (SIGSEGV). Re-encode it.",
    "kill": "the decoder died on it (SIGKILL). Re-encode it.",
    "exit": "the decoder died on it (exit code 7). Re-encode it.",
    "raise": "unexpected ValueError: a mistake of ours",
}


def test_what_ends_a_worker_costs_one_task() -> None:
    with WorkerPool(1) as pool:
        given = by_task(pool, [*ENDS, "after"])
    assert given.pop("after")[1:] == ["done"]
    assert {what: items[1:] for what, items in given.items()} == {what: [Lost(said)] for what, said in ENDS.items()}


def test_memory_is_limited() -> None:
    with WorkerPool(1) as pool:
        given = by_task(pool, ["memory", "after"])
    (lost,) = given["memory"][1:]
    assert isinstance(lost, Lost)
    assert "MemoryError" in lost.reason
    assert given["after"][1:] == ["done"]


def test_what_gives_no_sign_is_stopped() -> None:
    with WorkerPool(2, Limits(stall_seconds=6.0)) as pool:
        given = by_task(pool, ["hang", "spin", "after"])
    for pid, lost in (given["hang"], given["spin"]):
        assert isinstance(lost, Lost)
        assert "gave no sign" in lost.reason
        assert not is_running(pid)
    assert given["after"][1:] == ["done"]


def test_what_never_ends_is_stopped_though_it_gives_signs() -> None:
    with WorkerPool(1, Limits(task_seconds=6.0)) as pool:
        given = by_task(pool, ["drip"])
    assert len(given["drip"]) > 5
    assert isinstance(given["drip"][-1], Lost)


def test_patience_is_asked_for_by_task() -> None:
    with WorkerPool(1, Limits(stall_seconds=600.0)) as pool:
        given = [item for _, item in pool.run(act, ["hang"], lambda task: 1.0)]
    assert isinstance(given[-1], Lost)


def test_a_worker_that_waited_for_a_busy_caller_has_not_hung() -> None:
    with WorkerPool(2, Limits(stall_seconds=6.0)) as pool:
        given = []
        for _, item in pool.run(count, [4_000, 4_001]):
            if not given:
                time.sleep(8.0)  # The engine at work; both workers wait with full pipes meanwhile.
            given.append(item)
    assert not any(isinstance(item, Lost) for item in given)
    assert len(given) == 8_001


def test_what_a_library_prints_goes_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    with WorkerPool(1) as pool:
        by_task(pool, ["print"])
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_sent_is_said() -> None:
    with WorkerPool(1) as pool:
        given = by_task(pool, ["unpicklable", "after"])
    assert isinstance(given["unpicklable"][1], Lost)
    assert given["after"][1:] == ["done"]


def test_a_closed_run_leaves_no_process() -> None:
    with WorkerPool(1) as pool, closing(pool.run(act, ["hang"])) as results:
        _, pid = next(results)
        assert is_running(pid)
        results.close()
        assert not is_running(pid)
        assert by_task(pool, ["after"])["after"][1:] == ["done"]


def test_a_worker_that_cannot_start_fails_the_run_and_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_serve", os._exit)
    with WorkerPool(1) as pool, pytest.raises(WorkerError, match="before its first file"):
        list(pool.run(act, ["never"]))


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_workers_end_when_their_parent_is_killed() -> None:
    code = (
        "import os, signal\n"
        "from moodbook.audio.worker import WorkerPool\n"
        "from tests.audio.worker_tasks import act\n"
        "if __name__ == '__main__':\n"
        "    for _, pid in WorkerPool(1).run(act, ['hang']):\n"
        "        print(pid, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    pid = int(ended.stdout)
    for _ in range(600):
        if not is_running(pid):
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent by a minute")


def test_a_worker_that_cannot_be_replaced_at_once_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = worker._Worker, []

    def start_but_once(limits: Limits) -> worker._Worker:
        started.append(limits)
        if len(started) == 2:
            raise WorkerError("no memory")
        return start(limits)

    monkeypatch.setattr(worker, "_Worker", start_but_once)
    with WorkerPool(1) as pool:
        given = by_task(pool, ["kill", "after"])
    assert (given["after"][1:], len(started)) == (["done"], 3)


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize("closed", ["2>&-", "<&-", "<&- 2>&-"])
def test_streams_that_were_closed_cost_no_task(closed: str) -> None:
    code = (
        "from moodbook.audio.worker import WorkerPool\n"
        "from tests.audio.worker_tasks import act\n"
        "if __name__ == '__main__':\n"
        "    with WorkerPool(2) as pool:\n"
        "        print([item for _, item in pool.run(act, ['print'] * 6) if not isinstance(item, int)])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    command = ["sh", "-c", f'exec "$0" "$@" {closed}', sys.executable, "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert (ended.returncode, ended.stdout) == (0, f"{['done'] * 6}\n"), ended.stderr
