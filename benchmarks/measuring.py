"""How every benchmark measures: side by side, on the same files, as ratios; and how it hands its figures over.

A shared machine slows down and speeds up from second to second. Each round therefore runs every side once, and a ratio
is the median of the ratios of the rounds: what hits one round drops out. A neighbour that is there all the time does
not: it hits a side whose threads wait for each other at every layer harder than the other, and threads that wait by
spinning take processor time for it. Every side carries its processor time (user and system) beside its wall time, and
`run.py` keeps the load average from before and after, and how many processors other programs took in between.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

RESULT_MARK = "RESULT "
"""What the line begins with on which a benchmark prints its tables for `run.py`."""
_FLAGS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_vnni": "AVX-512 VNNI", "avx512_bf16": "AVX-512 BF16"}
_MATRIX_FLAGS = {"amx_bf16": "AMX bf16", "amx_int8": "AMX int8"}


@dataclass
class Table:
    """What a benchmark found.

    Attributes:
        name: Of its place in docs/performance.md.
        columns: Headings.
        rows: Cells, as they are shown.
        figures: The same as numbers, and more, for programs.
    """

    name: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, cells: Sequence[str], **figures: Any) -> None:
        self.rows.append(cells)
        self.figures.append(figures)
        print("| " + " | ".join(cells) + " |", flush=True)

    def begin(self) -> Table:
        print("| " + " | ".join(self.columns) + " |")
        print("|" + "---|" * len(self.columns), flush=True)
        return self


def hand_over(*tables: Table, missing: Sequence[str] = ()) -> None:
    """Print tables for `run.py`, with what they were measured on.

    Args:
        tables: What was found.
        missing: What was not here to be measured, a sentence each; `run.py` then keeps the tables that it has.
    """
    found = {"machine": machine(), "tables": [asdict(table) for table in tables], "missing": list(missing)}
    print(RESULT_MARK + json.dumps(found))


def machine() -> dict[str, Any]:
    """Name this machine by its features alone."""
    flags: set[str] = set()
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                flags = set(line.split(":")[1].split())
                break
    has = [name for flag, name in (_FLAGS | _MATRIX_FLAGS).items() if flag in flags]
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    return {
        "processor": platform.machine(),
        "cores": cores,
        "instructions": has,
        "matrix_units": bool(flags & _MATRIX_FLAGS.keys()),
        "system": platform.system(),
        "python": platform.python_version(),
    }


@dataclass(frozen=True)
class Cost:
    """What a piece of work took.

    Attributes:
        seconds: By the clock.
        processor_seconds: Of all processors, user and system.
    """

    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Finished(Cost):
    """What a program took from its start to its end, its children's time included.

    Attributes:
        peak_mib: Most memory that it had at once.
    """

    peak_mib: float


@dataclass(frozen=True)
class Ratio:
    """How many times as much one side took as the other.

    Attributes:
        seconds: By the clock.
        processor_seconds: In processor time.
    """

    seconds: float
    processor_seconds: float


SomeCost = TypeVar("SomeCost", bound=Cost)


def interleave(sides: Mapping[str, Callable[[], SomeCost]], rounds: int) -> dict[str, list[SomeCost]]:
    """Run every side once a round; give what each took, by side. Every second round goes the other way round."""
    found: dict[str, list[SomeCost]] = {side: [] for side in sides}
    for number in range(rounds):
        for side in list(sides) if number % 2 == 0 else list(sides)[::-1]:
            found[side].append(sides[side]())
    return found


def median(costs: Sequence[Cost]) -> Cost:
    """Give the medians over the rounds."""
    return Cost(
        statistics.median(cost.seconds for cost in costs), statistics.median(cost.processor_seconds for cost in costs)
    )


def ratio(slower: Sequence[Cost], faster: Sequence[Cost]) -> Ratio:
    """Give the medians over the rounds of how many times as much one side took as the other."""
    rounds = list(zip(slower, faster, strict=True))
    return Ratio(
        statistics.median(a.seconds / b.seconds for a, b in rounds),
        statistics.median(a.processor_seconds / b.processor_seconds for a, b in rounds),
    )


def timed(call: Callable[[], object]) -> Callable[[], Cost]:
    """Make a side of a call in this process."""

    def measured() -> Cost:
        start, processor = time.perf_counter(), time.process_time()
        call()
        return Cost(time.perf_counter() - start, time.process_time() - processor)

    return measured


def run_program(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
    """Run a program to its end, without its output.

    Raises:
        RuntimeError: It fails; with the end of what it said.
    """
    launcher = [sys.executable, "-S", str(Path(__file__).with_name("launch.py"))]
    # An installed program has its modules compiled; one that runs from a checkout may be forbidden to keep them.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(_compiled_modules())}
    everything = {**os.environ, **compiled, **(environment or {})}
    done = subprocess.run([*launcher, *command], check=True, stdout=subprocess.PIPE, env=everything)
    figures = json.loads(done.stdout)
    if figures["code"] != 0:
        raise RuntimeError(f"{command[0]} ended with {figures['code']}: {figures['said']}")
    return Finished(figures["seconds"], figures["processor_seconds"], figures["peak_mib"])


@functools.cache
def _compiled_modules() -> Path:
    """Make a folder for compiled modules that is gone when this process ends."""
    folder = tempfile.mkdtemp(prefix="moodbook-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
