"""Scans a tree in child processes that are killed: everything is imported once, so that a kill costs little.

Reads lines from stdin: a catalogue, and when to kill the scan: after so many seconds ("0.3 s"), before so many
statements to the catalogue ("17"), or "never". Writes for each the seconds that the child lived, the statements that
it made, and how it ended (0, or minus the signal).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time

from moodbook.library.catalogue import Catalogue
from moodbook.library.scan import scan
from moodbook.model.tagger import Tagger


def main(folder: str, root: str) -> None:
    statements = multiprocessing.Value("q", 0)
    for line in sys.stdin:
        path, when = line.rstrip("\n").split("\t")
        last = int(when) if when.isdecimal() else None
        statements.value = 0

        def trace(statement: str, last: int | None = last) -> None:
            if statements.value == last:
                os.kill(os.getpid(), signal.SIGKILL)
            statements.value += 1

        started = time.monotonic()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with Catalogue(path, create=True) as catalogue:
                    catalogue.connection.set_trace_callback(trace)
                    scan(catalogue, [root], Tagger.load(folder, threads=1))
                code = 0
            finally:
                os._exit(code)
        if when.endswith("s"):
            time.sleep(float(when.removesuffix("s")))
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        print(time.monotonic() - started, statements.value, os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
