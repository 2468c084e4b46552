"""The processors that Moodbook may use, and who of it uses them."""

from __future__ import annotations

import os
import sys


def usable_processors() -> int:
    """Count the processors that this process may use."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return len(os.sched_getaffinity(0))


def leave_to_engine() -> None:
    """Keep numpy's matrix library to one thread: its threads would spin beside the engine's and slow both down.

    It is asked once, when numpy is loaded. What the user has set stays.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
