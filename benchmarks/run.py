"""Run the benchmarks, each in a process of its own, and keep what they find: `make bench`.

    python benchmarks/run.py                     those of docs/performance.md
    python benchmarks/run.py encoder training    some of them
    python benchmarks/run.py --no-write ...      only print
    python benchmarks/run.py --rounds 1 scaling  fewer rounds, or more, for benchmarks that have them

The tables go to standard output and, where a benchmark hands them over, into docs/performance.md between the lines
``<!-- NAME -->`` and ``<!-- end -->``; the figures behind them go to docs/performance.json, with the features of the
machine, its load average before and after, and how many processors other programs took meanwhile. A benchmark that
lacks something to measure (MOODBOOK_MACLEOD: the folder of the data set macleod; MOODBOOK_PEERS: see end_to_end.py)
says what, and the tables that are there stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measuring import RESULT_MARK

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
FIGURES = HERE.parent / "docs" / "performance.json"
STAT = Path("/proc/stat")
BENCHMARKS = (
    "front_end",
    "encoder",
    "recurrent_head",
    "precision",
    "warm",
    "end_to_end",
    "training",
    "sub_pixel",
    "scaling",
    "install",
)
OTHERS = ("audit_power", "load_lists", "similar", "table_2", "teacher", "training_step")
"""Slow, or about something else: run when they are named."""


def run(name: str, arguments: list[str]) -> dict[str, Any] | None:
    """Run a benchmark, show what it prints, and give what it hands over; None where it fails."""
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    before, others = load_average(), OtherPrograms()
    found: dict[str, Any] = {"tables": []}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(RESULT_MARK):
                found = json.loads(line.removeprefix(RESULT_MARK))
            else:
                sys.stdout.write(line)
                sys.stdout.flush()
    if process.returncode != 0:
        return None
    taken = others.processors()
    if taken is not None:
        print(f"\nother programs took {taken:.2f} processors meanwhile")
    return {**found, "load_average": {"before": before, "after": load_average()}, "processors_of_others": taken}


class OtherPrograms:
    """How busy the machine is with what this program has not started, from now on."""

    def __init__(self) -> None:
        self._start, self._busy, self._own = time.perf_counter(), busy_seconds(), own_seconds()

    def processors(self) -> float | None:
        """Give how many processors others took on average; None where the system does not say."""
        busy = busy_seconds()
        if busy is None or self._busy is None:
            return None
        others = busy - self._busy - (own_seconds() - self._own)
        return round(max(0.0, others) / (time.perf_counter() - self._start), 2)


def busy_seconds() -> float | None:
    """Read what all processors have done, what other guests of the host have stolen included; None if not on Linux."""
    if not STAT.is_file():
        return None
    user, nice, system, _, _, interrupts, soft, stolen = map(int, STAT.read_text().split()[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Give the processor time of this program and of what it has started and seen end."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def load_average() -> list[float]:
    """Give how many programs wanted a processor over the last 1, 5 and 15 minutes; nothing where the system cannot."""
    return [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else []


def fill_in(page: str, table: dict[str, Any]) -> str:
    """Put a table between its marks on the page."""
    lines = ["| " + " | ".join(table["columns"]) + " |", "|" + "---|" * len(table["columns"])]
    lines += ["| " + " | ".join(row) + " |" for row in table["rows"]]
    pattern = re.compile(rf"(<!-- {re.escape(table['name'])} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{PAGE.name} has no place for the table {table['name']!r}: a line <!-- {table['name']} -->")
    return pattern.sub(lambda match: match[1] + "\n".join(lines) + "\n" + match[2], page)


def keep(name: str, found: dict[str, Any]) -> None:
    """Write a benchmark's tables into the page and its figures beside it."""
    page = PAGE.read_text()
    for table in found["tables"]:
        page = fill_in(page, table)
    PAGE.write_text(page)
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    figures[name] = {
        "machine": found["machine"],
        "load_average": found["load_average"],
        "processors_of_others": found["processors_of_others"],
        "tables": {table["name"]: table["figures"] for table in found["tables"]},
    }
    FIGURES.write_text(json.dumps(figures, indent=1, sort_keys=True) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--rounds", type=int, metavar="N", help="of the named benchmarks, instead of their own number")
    parser.add_argument("--no-write", action="store_true", help="leave docs/performance.md as it is")
    options = parser.parse_args()
    if unknown := sorted({*options.names} - {*BENCHMARKS, *OTHERS}):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join((*BENCHMARKS, *OTHERS))}")
    arguments = ["--rounds", str(options.rounds)] if options.rounds else []
    failed, incomplete = [], []
    for name in options.names or BENCHMARKS:
        print(f"\n## {name}\n", flush=True)
        found = run(name, arguments)
        if found is None:
            failed.append(name)
        elif found["tables"] and found["missing"]:
            incomplete += [f"{name}: {what}" for what in found["missing"]]
        elif found["tables"] and not options.no_write:
            keep(name, found)
    if failed:
        sys.stderr.write(f"these benchmarks failed: {', '.join(failed)}\n")
    for what in incomplete:
        sys.stderr.write(f"not kept, the tables stay as they are: {what}\n")
    return 1 if failed or incomplete else 0


if __name__ == "__main__":
    sys.exit(main())
