"""The processors that Moodbook may use."""

from __future__ import annotations

import os
import sys


def usable_processors() -> int:
    """Count the processors that this process may use."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    return len(os.sched_getaffinity(0))
