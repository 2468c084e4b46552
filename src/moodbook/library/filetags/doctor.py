"""After a crash: remove the copies that it left, and find out of each file whether it is the old or the new one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from moodbook.errors import AudioError, JournalError, TagError
from moodbook.library.filetags.journal import Entry, Journal, list_runs, read_run, reopen_journal
from moodbook.library.filetags.lines import Outcome
from moodbook.library.filetags.rewrite import is_copy_name, read_fields

Kind = Literal[
    "copy removed",
    "file is old",
    "file is new",
    "file was changed",
    "run goes on",
    "journal damaged",
    "journal removed",
]

_KINDS: dict[Outcome, Kind] = {
    "found old": "file is old",
    "found new": "file is new",
    "found changed": "file was changed",
}


@dataclass(frozen=True)
class Finding:
    """What was found and done.

    Attributes:
        kind: What it is.
        path: The file, the copy or the journal.
        run: The run that was cut off.
        message: For a person.
    """

    kind: Kind
    path: Path
    run: str
    message: str

    @property
    def needs_care(self) -> bool:
        """Whether a person should look at it."""
        return self.kind in ("file was changed", "journal damaged")


def recover(folder: Path) -> Iterator[Finding]:
    """Look at every run that was cut off, clean up behind it, and close its journal.

    The files themselves are only read. Runs that still go on are left alone.

    Args:
        folder: Of the journals.

    Yields:
        What was found, as it is dealt with.

    Raises:
        JournalError: A journal cannot be written.
    """
    for name in list_runs(folder):
        path = folder / f"{name}.jsonl"
        try:
            if read_run(folder, name).finished:
                continue
        except JournalError as error:
            yield Finding("journal damaged", path, name, f"{error}. It is left as it is.")
            continue
        with reopen_journal(folder, name) as journal:
            if journal is None:
                yield Finding("run goes on", path, name, "another moodbook writes it now. It is left alone.")
                continue
            # Read again: only now nobody else can have written to it.
            run = read_run(folder, name)
            if run.is_empty:
                journal.remove()
                yield Finding(
                    "journal removed", path, name, "it has no whole line: the run was cut off before any file"
                )
                continue
            for entry in run.entries:
                yield from _recover_entry(entry, name, journal)
            if all(_is_settled(entry) for entry in run.entries):
                journal.finish()


def _is_settled(entry: Entry) -> bool:
    """Whether it is known how a file ended; not where its disk is not there now."""
    return entry.outcome is not None or entry.task.path.parent.is_dir()


def _recover_entry(entry: Entry, run: str, journal: Journal) -> Iterator[Finding]:
    if is_copy_name(entry.copy) and entry.copy.is_file() and not entry.copy.is_symlink():
        try:
            entry.copy.unlink()
        except OSError as error:
            message = f"an unfinished copy that cannot be removed: {error.strerror}. Remove it"
            yield Finding("file was changed", entry.copy, run, message)
        else:
            yield Finding("copy removed", entry.copy, run, "an unfinished copy; the file itself is beside it, whole")
    if entry.outcome is None:
        if not _is_settled(entry):
            return
        outcome, message = _look(entry)
        journal.end(entry.n, outcome, message)
        yield Finding(_KINDS[outcome], entry.task.path, run, message)


def _look(entry: Entry) -> tuple[Outcome, str]:
    try:
        fields = read_fields(entry.task.path)
    except (AudioError, TagError) as error:
        return "found changed", f"it cannot be looked at: {error.reason}"
    if fields == entry.task.after:
        return "found new", "it had got its new tags before the run was cut off"
    if fields == entry.task.before:
        return "found old", "it was not written before the run was cut off"
    return "found changed", "it holds neither the old nor the new tags: somebody else changed it since"
