"""Work on files that nobody vouches for, in processes of their own.

A decoder is C code that reads what strangers wrote. In a worker it may die, hang or ask for all memory: that costs the
one file it was working on, the worker is replaced, and the run goes on. What a worker makes comes back over a pipe, and
a worker that is ahead waits there, so nothing piles up.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from moodbook.errors import WorkerError

T = TypeVar("T")
R = TypeVar("R")

# A fork would copy the locks of the engine's threads, held or not.
_CONTEXT = multiprocessing.get_context("spawn")
_START_SECONDS = 120.0  # A cold disk and a busy machine: importing has taken 20 s.
_END_SECONDS = 5.0
_WORKER_NAME = "moodbook-worker"
_GUARD = "Start the run of a script of your own below `if __name__ == '__main__':`"


@dataclass(frozen=True)
class Limits:
    """What a worker may take.

    Attributes:
        memory_bytes: Address space beyond that of a worker that has just started. Decoding takes a tenth of it.
        stall_seconds: Longest time without a result or an end. Half a minute of a processor decodes hours of music.
        task_seconds: Longest time for one file, whatever it gives: a megabyte can unpack to months of silence.
    """

    memory_bytes: int = 1 << 30
    stall_seconds: float = 30.0
    task_seconds: float = 7_200.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True)
class Lost:
    """The end of a task whose worker died, hung or failed.

    Attributes:
        reason: What happened and what to do.
    """

    reason: str


@dataclass
class _Running(Generic[T]):
    """A task that a worker is at."""

    task: T
    patience_seconds: float
    started: float
    last_sign: float

    def deadline(self, limits: Limits) -> float:
        return min(self.last_sign + self.patience_seconds, self.started + limits.task_seconds)


class WorkerPool:
    """Workers that live as long as the pool; use it in a ``with`` statement.

    Args:
        size: Workers at a time; each is started when it is first needed.
        limits: What each may take.
    """

    def __init__(self, size: int = 1, limits: Limits = DEFAULT_LIMITS) -> None:
        self._size = size
        self._limits = limits
        self._idle: list[_Worker] = []
        self._can_start = False  # Whether one has: then it is no mistake of the program's if another one does not.

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        while self._idle:
            self._idle.pop().end()

    def run(
        self,
        function: Callable[[T], Iterable[R]],
        tasks: Iterable[T],
        patience_seconds: Callable[[T], float] | None = None,
    ) -> Iterator[tuple[T, R | Lost]]:
        """Call a function for every task in the workers and give what it yields, as it comes.

        The results of one task come in order; those of different tasks mix. Close the generator to drop what is
        running.

        Args:
            function: A generator function of a module, so that a worker can import it.
            tasks: What to call it with; read as they are needed.
            patience_seconds: Longest time without a sign, by task; without it `Limits.stall_seconds`.

        Yields:
            A task and one result of it. A `Lost` ends a task before its time.

        Raises:
            WorkerError: A worker cannot even start.
        """
        waiting = iter(tasks)
        active: dict[Connection, tuple[_Worker, _Running[T]]] = {}
        try:
            while True:
                while len(active) < self._size:
                    try:
                        task = next(waiting)
                    except StopIteration:
                        break
                    worker = self._idle.pop() if self._idle else self._start()
                    now = time.monotonic()
                    patience = self._limits.stall_seconds if patience_seconds is None else patience_seconds(task)
                    active[worker.connection] = (worker, _Running(task, patience, now, now))
                    worker.send((function, task))
                if not active:
                    return
                deadline = min(running.deadline(self._limits) for _, running in active.values())
                wait(list(active), max(0.0, deadline - time.monotonic()))
                for connection in list(active):
                    worker, running = active[connection]
                    # Asked before the clock: a worker may have waited with its result while the engine was busy.
                    if connection.poll():
                        kind, value = worker.receive()
                        if kind == "end":
                            del active[connection]
                            self._idle.append(worker)
                            continue
                        if kind == "lost":
                            del active[connection]
                    elif time.monotonic() < running.deadline(self._limits):
                        continue
                    else:
                        del active[connection]
                        value = worker.stop_hanging(time.monotonic() - running.last_sign)
                    yield running.task, value
                    running.last_sign = time.monotonic()
        finally:
            for worker, _ in active.values():
                worker.kill()

    def _start(self) -> _Worker:
        try:
            worker = _Worker(self._limits)
        except WorkerError:
            if not self._can_start:
                raise
            worker = _Worker(self._limits)  # What ended the one before, such as a lack of memory, may be over.
        self._can_start = True
        return worker


def refuse_in_worker() -> None:
    """Refuse what no worker does: a script without a guard, which its worker runs again before it begins to work.

    Raises:
        WorkerError: This is a worker.
    """
    if multiprocessing.current_process().name == _WORKER_NAME:
        raise WorkerError(f"this script runs again in a worker process of its own run. {_GUARD}")


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, limits: Limits) -> None:
        _occupy_standard_descriptors()
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_serve, args=(theirs, limits.memory_bytes), name=_WORKER_NAME, daemon=True
        )
        try:
            self._process.start()
        except OSError as error:
            raise WorkerError(f"cannot start a worker process: {error.strerror or error}") from error
        finally:
            theirs.close()
        if not self.connection.poll(_START_SECONDS) or self.receive()[0] != "ready":
            self.kill()
            raise WorkerError(f"a worker process ended or hung before its first file; it needs about 200 MB. {_GUARD}")

    def send(self, message: object) -> None:
        with suppress(OSError):  # It is dead; reading from it says how.
            self.connection.send(message)

    def receive(self) -> tuple[Literal["ready", "item", "end", "lost"], Any]:
        try:
            reply: tuple[Literal["ready", "item", "end"], Any] = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(_END_SECONDS)
            code = self._process.exitcode
            self.kill()
            return "lost", Lost(f"the decoder died on it ({_name_exit(code)}). Re-encode it.")
        return reply

    def stop_hanging(self, seconds: float) -> Lost:
        self.kill()
        return Lost(f"the decoder gave no sign for {seconds:.0f} s, or took too long, and was stopped. Re-encode it.")

    def end(self) -> None:
        """Let it end by itself; it does as soon as nobody is at the other end of the pipe."""
        self.connection.close()
        self._process.join(_END_SECONDS)
        self.kill()

    def kill(self) -> None:
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self.connection.close()


def _name_exit(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _serve(connection: Connection, memory_bytes: int) -> None:
    """Do tasks until the other end of the pipe is closed: what a worker process runs."""
    # Ctrl-C reaches the whole group; the process that has the pool decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit_memory(memory_bytes)
    _silence()
    try:
        connection.send(("ready", None))
        while True:
            function, task = connection.recv()
            try:
                for item in function(task):
                    connection.send(("item", item))
            except (BrokenPipeError, ConnectionError):
                return
            except Exception as error:  # noqa: BLE001 (one bad file never stops a run)
                connection.send(("item", Lost(f"unexpected {type(error).__name__}: {error}")))
            connection.send(("end", None))
    except (EOFError, OSError):
        return


def _occupy_standard_descriptors() -> None:
    """Hand something down under each of the numbers 0, 1 and 2, also where whoever started this program closed them.

    A worker would give a free one to a pipe of its own, and lose it when it silences what C libraries print to.
    """
    for descriptor in range(3):
        try:
            os.set_inheritable(descriptor, True)
        except OSError:
            # The lowest free number, so this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _end_with_parent() -> None:
    """End at once when the parent has died, however it died and whatever the decoder is at."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _limit_memory(memory_bytes: int) -> None:
    """Limit the address space to what is in use now and so much more, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        used = pages * resource.getpagesize()
    except (OSError, ValueError):
        return  # Not Linux: the system there does not keep such limits either.
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = used + memory_bytes
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    # A dump of a gigabyte beside every file that kills a decoder helps nobody.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _silence() -> None:
    """Send what C libraries print to nowhere: the output of the run is for records."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
