"""Run the benchmarks, each in a process of its own, and keep what they find: `make bench`.

    python benchmarks/run.py                     those of docs/performance.md
    python benchmarks/run.py encoder training    some of them
    python benchmarks/run.py --no-write ...      only print
    python benchmarks/run.py --rounds 1 scaling  fewer rounds, or more, for benchmarks that have them

The tables go to standard output and, where a benchmark hands them over, into docs/performance.md between the lines
``<!-- NAME -->`` and ``<!-- end -->``; the figures behind them go to docs/performance.json, with the features of the
machine.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from measuring import RESULT_MARK

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"
FIGURES = HERE.parent / "docs" / "performance.json"
BENCHMARKS = ("front_end", "encoder", "recurrent_head", "precision", "end_to_end", "training", "scaling", "install")
OTHERS = ("audit_power", "load_lists", "similar", "table_2", "training_step")
"""Slow, or about something else: run when they are named."""


def run(name: str, rounds: int | None) -> dict[str, Any] | None:
    """Run a benchmark, show what it prints, and give what it hands over; None where it fails."""
    command = [sys.executable, str(HERE / f"{name}.py"), *(["--rounds", str(rounds)] if rounds else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)
    assert process.stdout is not None
    found: dict[str, Any] = {"tables": []}
    for line in process.stdout:
        if line.startswith(RESULT_MARK):
            found = json.loads(line.removeprefix(RESULT_MARK))
        else:
            sys.stdout.write(line)
            sys.stdout.flush()
    return found if process.wait() == 0 else None


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
    failed = []
    for name in options.names or BENCHMARKS:
        print(f"\n## {name}\n", flush=True)
        found = run(name, options.rounds)
        if found is None:
            failed.append(name)
        elif found["tables"] and not options.no_write:
            keep(name, found)
    if failed:
        sys.stderr.write(f"these benchmarks failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
