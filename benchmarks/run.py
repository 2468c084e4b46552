"""Run every benchmark in turn, each in a process of its own; their tables go to standard output.

python benchmarks/run.py [NAME ...]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NO_BENCHMARKS = {"run", "results"}
"""This file, and what measures accuracy in hours (`make results`)."""


def main() -> int:
    available = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NO_BENCHMARKS)
    chosen = sys.argv[1:] or available
    unknown = sorted(set(chosen) - set(available))
    if unknown:
        sys.stderr.write(f"unknown benchmarks: {', '.join(unknown)}; there are: {', '.join(available)}\n")
        return 2
    failed = []
    for name in chosen:
        print(f"\n## {name}\n", flush=True)
        if subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False).returncode:
            failed.append(name)
    if failed:
        sys.stderr.write(f"these benchmarks failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
