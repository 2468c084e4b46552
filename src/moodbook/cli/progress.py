"""A line that says how far a run is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


class ProgressLine:
    """A line on stderr that says how far a run is, and makes way for results; none where stderr is no terminal.

    Args:
        label: What is done.
        total: How many files; None while that is not known.
        speed: Whether to say how many files a second.
    """

    def __init__(self, label: str, total: int | None, *, speed: bool = False) -> None:
        self._bars: Progress | None = None
        self._start: tuple[float, int] | None = None
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [TextColumn(label), BarColumn(), MofNCompleteColumn()]
        if speed:
            columns.append(TextColumn("{task.fields[speed]}"))
        columns.append(TimeRemainingColumn(elapsed_when_finished=True))
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._bars.add_task("", total=total, speed="")

    @contextmanager
    def shown(self) -> Iterator[ProgressLine]:
        """Show the line."""
        with self._bars or nullcontext():
            yield self

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the line away while something else is written to the same terminal."""
        if self._bars is not None:
            self._bars.stop()
        yield
        if self._bars is not None:
            self._bars.start()

    def advance(self) -> None:
        """Count one file."""
        if self._bars is not None:
            self._bars.advance(self._task)

    def update(self, done: int, total: int) -> None:
        """Say how many files are done, and of how many; the first call says how many were done before."""
        if self._bars is None:
            return
        now = time.monotonic()
        if self._start is None:
            self._start = (now, done)
        seconds, count = now - self._start[0], done - self._start[1]
        speed = f"{count / seconds:.1f} files/s" if count and seconds > 0 else ""
        self._bars.update(self._task, completed=done, total=total, speed=speed)
