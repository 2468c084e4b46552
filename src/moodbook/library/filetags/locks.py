"""Who may write: one process a journal, and one process at a time for all the files of a journal folder.

The locks are the system's own (flock): they end with the process that holds them, however it ends. Windows and file
systems without them hold nothing back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_NAME = ".lock"
"""Of the file in the journal folder that is locked while a run writes; it holds the number of the process."""

_LONGEST_NUMBER = 20  # Digits of a process's number, and more.


def lock(descriptor: int, *, wait: bool = False) -> bool:
    """Hold an open file for this process until it is closed.

    Args:
        descriptor: Of the file.
        wait: Wait for another process that holds it.

    Returns:
        False where another process holds it.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return True  # A file system without locks.
    return True


@contextmanager
def write_lock(folder: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Be the only process that writes into files under the journals of a folder; wait for one that does.

    Args:
        folder: Of the journals.
        on_wait: Told which process is waited for, such as "process 4711".

    Raises:
        OSError: The system refuses the file.
    """
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not lock(descriptor):
            number = os.read(descriptor, _LONGEST_NUMBER).decode("ascii", "replace").strip()
            on_wait(f"process {number}" if number.isdigit() else "another process")
            lock(descriptor, wait=True)
            os.lseek(descriptor, 0, os.SEEK_SET)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
