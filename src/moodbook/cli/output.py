"""What several verbs print alike."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from itertools import islice
from typing import Annotated, TextIO

import typer

ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file even where Moodbook has not written it.")]

_BAR_CELLS = 20
_LISTED_LINES = 10


def utf8_stdout() -> TextIO:
    """Give stdout set to UTF-8 with bare newlines, whatever the locale and the system say."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="strict", newline="\n")
    return stream


def say_list(what: str, count: int, lines: Iterable[str]) -> None:
    """Write what there is, and the first of its lines, to stderr; `count` is how many there are."""
    from moodbook.model.scores import printable

    sys.stderr.write(f"moodbook: {what}\n")
    for line in islice(lines, _LISTED_LINES):
        sys.stderr.write(f"  {printable(line)}\n")
    if count > _LISTED_LINES:
        sys.stderr.write(f"  and {count - _LISTED_LINES} more\n")


def counted(count: int, noun: str) -> str:
    """Write how many of something there are: "1 file", "2 files"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def clock(seconds: float | None) -> str:
    """Write a length as minutes and seconds; nothing where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def bar(share: float, ascii_only: bool) -> str:
    """Draw a share of 1."""
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    cells = round(share * _BAR_CELLS)
    return full * cells + empty * (_BAR_CELLS - cells)
