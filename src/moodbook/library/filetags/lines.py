"""The lines of a journal: one JSON object each, and nothing in it that is not expected."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from moodbook.library.filetags.fields import Fields

VERSION = 1
"""Of the lines; a journal of another version is not guessed at."""

Command = Literal["write", "undo"]
Outcome = Literal["written", "failed", "found old", "found new", "found changed"]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class RunLine(_Line):
    """The first line of a journal."""

    event: Literal["run"] = "run"
    version: Literal[1] = 1
    run: str
    command: Command
    started: str
    undoes: str | None = None


class BeginLine(_Line):
    """Before a file is touched."""

    event: Literal["begin"] = "begin"
    n: int = Field(ge=0)
    path: dict[str, str]
    copy_path: dict[str, str]
    size: int
    mtime_ns: int
    payload: str
    before: Fields
    after: Fields


class PieceLine(_Line):
    """A part of a file as it was; see `moodbook.library.filetags.wayback.Piece`."""

    start: int = Field(ge=0)
    length: int = Field(ge=1)
    data: str | None = None


class WayBackLine(_Line):
    """Before a file is replaced: how it becomes the old one again."""

    event: Literal["way back"] = "way back"
    n: int = Field(ge=0)
    new_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    old_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    pieces: list[PieceLine]


class EndLine(_Line):
    """After a file, or when a broken run was looked at again."""

    event: Literal["end"] = "end"
    n: int = Field(ge=0)
    outcome: Outcome
    reason: str = ""


class FinishLine(_Line):
    """After the last file."""

    event: Literal["finish"] = "finish"


LINES: TypeAdapter[RunLine | BeginLine | WayBackLine | EndLine | FinishLine] = TypeAdapter(
    RunLine | BeginLine | WayBackLine | EndLine | FinishLine
)
"""Reads any of them."""


class _AnyRunLine(BaseModel):
    """The first line of a journal of whatever version."""

    event: Literal["run"]
    version: int


def newer_version(line: bytes) -> int | None:
    """Give the version of the Moodbook journal that begins with a line, if it is newer than this one reads."""
    try:
        version = _AnyRunLine.model_validate_json(line).version
    except ValidationError:
        return None
    return version if version > VERSION else None
