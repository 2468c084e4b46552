"""What was written, and what was there before: one append-only file a run, synced before the first byte of each file.

Each line is one JSON object. The first says what run it is; then every file has a line ``begin`` before it is touched
and a line ``end`` behind it. A run that was cut off lacks the last ones: `moodbook.library.filetags.doctor` looks at
the files themselves and adds them.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from moodbook.audio.worker import refuse_in_worker
from moodbook.errors import JournalError, PlanError
from moodbook.files import sync_folder
from moodbook.library.filetags.lines import (
    LINES,
    VERSION,
    BeginLine,
    Command,
    EndLine,
    FinishLine,
    Outcome,
    PieceLine,
    RunLine,
    WayBackLine,
    newer_version,
)
from moodbook.library.filetags.locks import lock, write_lock
from moodbook.library.filetags.paths import decode_path, encode_path
from moodbook.library.filetags.rewrite import FileState, Rewrite
from moodbook.library.filetags.wayback import Piece, WayBack, pack, unpack

_RUN_NAME = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9]{6}-[0-9a-f]{6}")
_SUFFIX, _UNBEGUN_SUFFIX = ".jsonl", ".begins"  # Of a journal, and of one that has no first line yet.

_IS_WRITTEN = ("written", "found new")


@dataclass
class Entry:
    """One file of a run.

    Attributes:
        n: Its number in the run.
        task: What was to be done.
        copy: Where its copy was made.
        outcome: How it ended; None where the run was cut off.
        reason: Why it failed, if it did.
        way_back: How it becomes what it was, to the byte; None where that is not known.
    """

    n: int
    task: Rewrite
    copy: Path
    outcome: Outcome | None = None
    reason: str = ""
    way_back: WayBack | None = None

    @property
    def is_written(self) -> bool:
        """Whether the file got its new fields."""
        return self.outcome in _IS_WRITTEN


@dataclass
class Run:
    """A run as its journal tells it.

    Attributes:
        name: Its name, which sorts by time.
        command: What it did.
        started: When, as ISO 8601 in UTC.
        undoes: The run that it undid, if it did.
        entries: Its files, in order.
        finished: Whether it came to its end, or was looked at again since.
    """

    name: str
    command: Command
    started: str
    undoes: str | None
    entries: list[Entry] = field(default_factory=list)
    finished: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether it was cut off before it could even say what it is, and so before any file."""
        return not self.started

    @property
    def written(self) -> list[Entry]:
        """The files that got new fields."""
        return [entry for entry in self.entries if entry.is_written]


class Journal:
    """An open journal; every line is on the disk when its call returns.

    Attributes:
        path: Its file.
        name: Of the run.
        written: How many files got their new fields.

    Raises:
        JournalError: The disk refuses a line.
    """

    def __init__(self, path: Path, descriptor: int, name: str, *, torn: bool = False) -> None:
        self.path = path
        self.name = name
        self._descriptor = descriptor
        self._torn = torn  # Its last line was cut off, and ends where the next one is written.
        self._count = 0
        self.written = 0

    def begin(self, task: Rewrite, copy: Path) -> int:
        """Say what will be done to a file, before it is; give its number.

        Of a link, its target is named: that is what is written, wherever the link points later.
        """
        n = self._count
        self._count += 1
        self._append(
            BeginLine(
                n=n,
                path=encode_path(Path(os.path.realpath(task.path))),
                copy_path=encode_path(copy),
                size=task.state.size,
                mtime_ns=task.state.mtime_ns,
                payload=task.payload,
                before=task.before,
                after=task.after,
            )
        )
        return n

    def keep(self, n: int, way_back: WayBack) -> None:
        """Say how the new file becomes the old one again, before it takes its place."""
        pieces = [
            PieceLine(start=piece.start, length=piece.length, data=None if piece.data is None else pack(piece.data))
            for piece in way_back.pieces
        ]
        self._append(WayBackLine(n=n, new_sha256=way_back.new_sha256, old_sha256=way_back.old_sha256, pieces=pieces))

    def end(self, n: int, outcome: Outcome, reason: str = "") -> None:
        """Say how it ended."""
        self.written += outcome in _IS_WRITTEN
        # The reason may quote a file's name, which may be no Unicode.
        self._append(EndLine(n=n, outcome=outcome, reason=reason.encode("utf-8", "backslashreplace").decode()))

    def finish(self) -> None:
        """Say that the run has come to its end."""
        self._append(FinishLine())

    def remove(self) -> None:
        """Take the journal of a run away that did not come to its first line."""
        with suppress(OSError):
            self.path.unlink()

    def _append(self, line: BaseModel) -> None:
        data = (json.dumps(line.model_dump(), ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
        data = b"\n" + data if self._torn else data
        self._torn = False
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            raise JournalError(
                f"cannot write the journal {str(self.path)!r}: {error.strerror}. Nothing more is written without it; "
                "name another folder with --journal"
            ) from error


def wait_quietly(holder: str) -> None:
    """Wait for another process that writes, and tell nobody."""


@contextmanager
def open_journal(
    folder: Path, command: Command, undoes: str | None = None, *, on_wait: Callable[[str], None] = wait_quietly
) -> Iterator[Journal]:
    """Begin the journal of a run, once no other run writes, and let no other one begin as long as it goes on.

    Args:
        folder: Of the journals; it is made where it is missing.
        command: What the run does.
        undoes: The run that it undoes.
        on_wait: Told which process writes now and is waited for.

    Raises:
        JournalError: The folder or the file cannot be written.
        WorkerError: This is a worker of the process that has it open, which would wait for it for ever.
    """
    refuse_in_worker()
    with ExitStack() as held:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(write_lock(folder, on_wait))
            _remove_unbegun(folder)
            now = datetime.now(UTC)
            # Microseconds, so that runs of one second stand in the order in which they began.
            name = f"{now:%Y%m%d-%H%M%S-%f}-{secrets.token_hex(3)}"
            path = folder / f"{name}{_SUFFIX}"
            # Only what has its first line, and is locked, has the name of a journal. Windows renames no open file.
            unbegun = path.with_suffix(_UNBEGUN_SUFFIX) if os.name == "posix" else path
            descriptor = os.open(unbegun, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise _cannot_write(folder, error) from error
        held.callback(os.close, descriptor)
        journal = Journal(path, descriptor, name)
        _begin(
            journal,
            unbegun,
            RunLine(run=name, command=command, started=now.isoformat(timespec="seconds"), undoes=undoes),
        )
        yield journal


def _remove_unbegun(folder: Path) -> None:
    """Remove the journals of runs that were cut off in their first line; only one who may write calls it."""
    for path in folder.iterdir():
        if (
            _is_named(path, _UNBEGUN_SUFFIX)
            and path.is_file()
            and _is_cut_first_line(path.read_bytes().rstrip(b"\n"), path.stem)
        ):
            path.unlink()


def _begin(journal: Journal, unbegun: Path, line: RunLine) -> None:
    """Lock a journal, write its first line, and give it its name."""
    try:
        if not lock(journal._descriptor):
            raise JournalError(
                f"another process holds the new journal {str(unbegun)!r}. Nothing was written; try again"
            )
        journal._append(line)
        if unbegun != journal.path:
            unbegun.rename(journal.path)
        sync_folder(journal.path.parent)
    except BaseException as error:
        with suppress(OSError):
            unbegun.unlink()
        if isinstance(error, OSError):
            raise _cannot_write(journal.path, error) from error
        raise


@contextmanager
def reopen_journal(folder: Path, name: str) -> Iterator[Journal | None]:
    """Open the journal of a run that was cut off, to add to it; None where the run still goes on.

    Raises:
        JournalError: The file cannot be written.
    """
    path = folder / f"{name}.jsonl"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        if not lock(descriptor):
            yield None
            return
        try:
            size = os.fstat(descriptor).st_size
            os.lseek(descriptor, max(0, size - 1), os.SEEK_SET)
            torn = size > 0 and os.read(descriptor, 1) != b"\n"
        except OSError as error:
            raise _cannot_write(path, error) from error
        yield Journal(path, descriptor, name, torn=torn)
    finally:
        os.close(descriptor)


def list_runs(folder: Path) -> list[str]:
    """Give the names of the runs that have a journal, oldest first; files of other names are somebody else's.

    Raises:
        JournalError: The folder cannot be listed.
    """
    try:
        return sorted(path.stem for path in folder.iterdir() if _is_named(path, _SUFFIX))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(
            f"cannot list the journals in {str(folder)!r}: {error.strerror}. Name their folder with --journal"
        ) from error


def _is_named(path: Path, suffix: str) -> bool:
    return path.suffix == suffix and _RUN_NAME.fullmatch(path.stem) is not None


def read_run(folder: Path, name: str) -> Run:
    """Read the journal of a run.

    A line that was cut off by a crash counts as not written; it can only be followed by what a doctor added: what it
    found, and the end. Any other line that is none, or that speaks of a file that was not begun, is damage.

    Raises:
        JournalError: There is no such run, or its journal is damaged.
    """
    path = folder / f"{name}.jsonl"
    if Path(name).name != name:
        raise JournalError(f"{name!r} is no name of a run")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")  # Reading a pipe can wait forever.
        whole = path.read_bytes()
    except FileNotFoundError as error:
        raise JournalError(f"there is no run {name!r} in {str(folder)!r}; `moodbook undo --list` lists them") from error
    except OSError as error:
        raise JournalError(f"cannot read the journal {str(path)!r}: {error.strerror}") from error
    if _is_cut_first_line(whole, name):
        return Run(name, "write", "", None)
    lines = whole.rstrip(b"\n").split(b"\n")
    if (version := newer_version(lines[0])) is not None:
        raise JournalError(
            f"the journal {str(path)!r} is of a newer Moodbook (version {version}; this one reads {VERSION}). Update "
            "Moodbook to use it"
        )
    run: Run | None = None
    by_number: dict[int, Entry] = {}
    broken = 0  # Number of the line that was cut off.
    for number, data in enumerate(lines, 1):
        if not data:
            continue
        try:
            line = LINES.validate_json(data)
        except (ValidationError, ValueError) as error:
            if broken or _is_json(data) or (number == 1 and len(lines) > 1):
                what = "is no line of a journal" if data.startswith(b"{") else "is no JSON object"
                raise _damaged(path, number, what) from error
            broken = number
            continue
        if broken and not _is_of_doctor(line):
            raise _damaged(path, broken, "is no JSON object")
        if isinstance(line, RunLine):
            run = Run(name, line.command, line.started, line.undoes)
        elif run is None:
            break
        elif isinstance(line, BeginLine):
            entry = _entry(line, path)
            by_number[line.n] = entry
            run.entries.append(entry)
        elif isinstance(line, FinishLine):
            run.finished = True
        elif line.n not in by_number:
            raise _damaged(path, number, f"speaks of file {line.n}, which was not begun")
        elif isinstance(line, WayBackLine):
            by_number[line.n].way_back = _way_back(line, path)
        else:
            by_number[line.n].outcome, by_number[line.n].reason = line.outcome, line.reason
    if run is not None and run.finished and any(entry.outcome is None for entry in run.entries):
        raise JournalError(
            f"the journal {str(path)!r} is damaged: it ends, and does not say how it went with each file"
        )
    if run is None:
        raise JournalError(f"the journal {str(path)!r} is damaged: its first line is missing")
    return run


def _damaged(path: Path, number: int, what: str) -> JournalError:
    return JournalError(f"the journal {str(path)!r} is damaged in line {number}: it {what}")


def _is_json(data: bytes) -> bool:
    """Whether a line is whole: a crash cuts one off, and then it is no JSON."""
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _is_of_doctor(line: RunLine | BeginLine | WayBackLine | EndLine | FinishLine) -> bool:
    """Whether a doctor adds such a line to a run that was cut off."""
    return isinstance(line, FinishLine) or (isinstance(line, EndLine) and line.outcome.startswith("found"))


def _is_cut_first_line(data: bytes, name: str) -> bool:
    """Whether this is all that a run leaves that was cut off in its first line, and so before any file."""
    line = json.dumps(RunLine(run=name, command="write", started="").model_dump())
    beginning = line[: line.index('"command"')].encode()
    return b"\n" not in data and (beginning.startswith(data) or data.startswith(beginning))


def _entry(line: BeginLine, path: Path) -> Entry:
    try:
        file, copy = decode_path(line.path, str(path)), decode_path(line.copy_path, str(path))
    except PlanError as error:
        raise JournalError(f"the journal is damaged: {error}") from error
    state = FileState(line.size, line.mtime_ns)
    return Entry(line.n, Rewrite(file, state, line.payload, line.before, line.after), copy)


def _way_back(line: WayBackLine, path: Path) -> WayBack:
    try:
        pieces = tuple(
            Piece(piece.start, piece.length, None if piece.data is None else unpack(piece.data, piece.length))
            for piece in line.pieces
        )
    except ValueError as error:
        raise JournalError(f"the journal {str(path)!r} is damaged: {error}") from error
    return WayBack(line.new_sha256, line.old_sha256, pieces)


def _cannot_write(path: Path, error: OSError) -> JournalError:
    return JournalError(
        f"cannot write the journal {str(path)!r}: {error.strerror}. Nothing is written without it; name another folder "
        "with --journal"
    )
