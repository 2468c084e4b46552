"""What a run says while it works: bars on a terminal, a plain line per epoch elsewhere. Always on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Display:
    """Shows nothing; the displays below show what they are told."""

    def note(self, text: str) -> None:
        """Say one line."""

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Start a stage of `total` parts, `done` of which are done already."""

    def advance(self, done: int, detail: str = "") -> None:
        """Say how many parts of the stage are done."""

    def epoch(self, row: Mapping[str, Any]) -> None:
        """Say how an epoch went (a row of metrics.jsonl)."""
        self.note(epoch_line(row))

    def end(self) -> None:
        """End the stage."""


class LineDisplay(Display):
    """Writes lines; for logs and pipes.

    Args:
        stream: Where to.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def note(self, text: str) -> None:
        """Write one line."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Write the title."""
        self.note(f"{title} ({done} of {total} parts done)" if done else title)


class BarDisplay(Display):
    """Draws a bar with the time left below the lines.

    Args:
        stream: A terminal.
    """

    def __init__(self, stream: IO[str]) -> None:
        self._console = Console(file=stream)
        self._progress: Progress | None = None
        self._task = TaskID(0)

    def note(self, text: str) -> None:
        """Write one line above the bar."""
        self._console.print(text, highlight=False, markup=False)

    def begin(self, title: str, total: int, done: int = 0) -> None:
        """Draw a new bar."""
        self.end()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(title, total=total, completed=done, detail="")

    def advance(self, done: int, detail: str = "") -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.update(self._task, completed=done, detail=detail)

    def end(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def display_for(stream: IO[str] | None = None) -> Display:
    """Choose bars for a terminal and lines for anything else; the default is stderr."""
    stream = sys.stderr if stream is None else stream
    return BarDisplay(stream) if stream.isatty() else LineDisplay(stream)


def epoch_line(row: Mapping[str, Any]) -> str:
    """Put a row of metrics.jsonl into one line."""
    parts = [f"step {row['step']} epoch {row['epoch']}:"]
    parts.append(", ".join(f"{name} {_figure(name, value)}" for name, value in row["train"].items()))
    parts.append("| validation " + ", ".join(f"{name} {_figure(name, v)}" for name, v in row["validation"].items()))
    parts.append(f"| {row['seconds']:.1f} s")
    if row["best"]:
        parts.append("(best)")
    return " ".join(parts)


def _figure(name: str, value: int | float) -> str:
    return f"{value:.0f}" if name == "dead_codes" else f"{value:.4g}"
