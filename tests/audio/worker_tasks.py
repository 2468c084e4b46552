"""What the tests let worker processes do."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from moodbook.library.filetags.hearing import _objections
from moodbook.library.identity import Identity, identify
from moodbook.model.listening import Heard, Hearing, _listen_for_pool


def count(to: int) -> Iterator[int]:
    yield from range(to)


def act(what: str) -> Iterator[object]:
    """Give one item, then do what is asked."""
    yield os.getpid()
    if what == "segfault":
        ctypes.string_at(0)
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "exit":
        os._exit(7)
    elif what == "hang":
        time.sleep(600)
    elif what == "spin":
        # C code that holds Python's lock: no signal and no other thread of it gets a turn.
        sum(range(1 << 40))
    elif what == "drip":
        while True:
            time.sleep(0.05)
            yield os.getpid()
    elif what == "memory":
        bytearray(4 << 30)
    elif what == "print":
        os.write(1, b"a decoder's chatter")
        os.write(2, b"a decoder's chatter")
        sys.stderr.write("a warning")
    elif what == "raise":
        raise ValueError("a mistake of ours")
    elif what == "unpicklable":
        yield lambda: None
    yield "done"


def die_on_identity(path: Path) -> Iterator[Identity]:
    if "deadly" in path.name:
        os.kill(os.getpid(), signal.SIGSEGV)
    yield from identify(path)


def die_on_listening(task: tuple[Path, Hearing]) -> Iterator[Heard]:
    for heard in _listen_for_pool(task):
        yield heard
        if "deadly" in task[0].name:
            os.kill(os.getpid(), signal.SIGSEGV)
        if "hanging" in task[0].name:
            time.sleep(600)


def grow_while_listening(task: tuple[Path, Hearing]) -> Iterator[Heard]:
    for heard in _listen_for_pool(task):
        if "growing" in task[0].name:
            with task[0].open("ab") as file:
                file.write(bytes(8))
        yield heard


def act_on_hearing(files: tuple[str, str]) -> Iterator[str]:
    """Do what the name of the file asks for, and hear any other."""
    name = Path(files[0]).name
    for what in ("segfault", "hang", "memory"):
        if what in name:
            for _ in act(what):
                pass
    yield from _objections(files)
