"""Plans become tags, file by file, each in the journal before it is touched; and what that journal says is undone.

Undoing is a plan like any other, the other way round: it is applied by the same code, has a journal of its own, and can
be undone.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from moodbook import audio
from moodbook.datasets.places import data_root
from moodbook.errors import AudioError, JournalError, TagError
from moodbook.files import is_there
from moodbook.library.filetags.fields import SCORES, Fields, moods, scores
from moodbook.library.filetags.hearing import Listener
from moodbook.library.filetags.journal import Entry, Journal, Run, list_runs, read_run
from moodbook.library.filetags.rewrite import (
    Rewrite,
    check_may_be_written,
    new_copy_name,
    read_fields,
    read_state,
    rewrite,
)

Status = Literal["written", "failed", "unchanged"]

_NAMED_RUNS = 5  # How many a message names.


@dataclass(frozen=True)
class Written:
    """What became of one file.

    Attributes:
        path: The file.
        status: "written"; "unchanged" where it was so already; "failed", and then the file is as it was.
        before: Its mood before.
        after: Its mood now.
        reason: What went wrong and what to do, or why nothing was done.
    """

    path: Path
    status: Status
    before: list[str]
    after: list[str]
    reason: str = ""


def journal_folder() -> Path:
    """Give the folder of the journals: ``journal`` in the user's data folder of Moodbook."""
    return data_root() / "journal"


def apply_tasks(
    tasks: Iterable[Rewrite], journal: Journal, *, touch: bool = False, listener: Listener | None = None
) -> Iterator[Written]:
    """Write what a plan says, file by file. A file that cannot be written stops nothing.

    Args:
        tasks: What to do, from a plan.
        journal: An open one, see `moodbook.library.filetags.journal.open_journal`.
        touch: Let the time of change of the files be now.
        listener: Hears whether a file still sounds the same; None: one of its own, for this run.

    Yields:
        One result a file, in order.

    Raises:
        JournalError: The journal cannot be written; the files that were not yielded are as they were.
        WorkerError: The process that hears whether a file still sounds the same cannot start; as above.
    """
    with Listener() if listener is None else nullcontext(listener) as hearing:
        for task in tasks:
            yield _write(task, journal, touch, hearing)
    journal.finish()


def _write(task: Rewrite, journal: Journal, touch: bool, listener: Listener) -> Written:
    before, after = moods(task.before), moods(task.after)
    try:
        check_may_be_written(task.path)
    except (AudioError, TagError) as error:
        return Written(task.path, "failed", before, before, error.reason)
    copy = new_copy_name(task.path)
    n = journal.begin(task, copy)
    try:
        rewrite(task, copy, listener, touch=touch, keep=lambda way_back: journal.keep(n, way_back))
    except (AudioError, TagError) as error:
        # An error behind the exchange (the folder could not be synced) leaves the new file.
        holds_new = _fields_or_none(task.path) == task.after
        journal.end(n, "found new" if holds_new else "failed", error.reason)
        return Written(task.path, "failed", before, after if holds_new else before, error.reason)
    except BaseException as error:
        holds_new = _fields_or_none(task.path) == task.after
        journal.end(n, "found new" if holds_new else "failed", f"interrupted: {type(error).__name__}")
        raise
    journal.end(n, "written")
    return Written(task.path, "written", before, after)


def _fields_or_none(path: Path) -> Fields | None:
    try:
        return read_fields(path)
    except (AudioError, TagError):
        return None


@dataclass(frozen=True)
class UndoPlan:
    """What undoing a run would do.

    Attributes:
        run: The run.
        tasks: The files that would get back what they had.
        others: The files to which nothing is done, and why.
    """

    run: Run
    tasks: list[Rewrite]
    others: list[Written]


def undone_files(runs: Sequence[Run]) -> dict[str, set[Path]]:
    """Tell of each run which of its files a later run put back; an undoing that was itself undone does not count.

    Args:
        runs: All of them, oldest first.
    """
    undone: dict[str, set[str]] = {run.name: set() for run in runs}
    # By the names that they have now: a folder may have become a link to another disk between the two runs.
    written = {run.name: {entry.task.path: os.path.realpath(entry.task.path) for entry in run.written} for run in runs}
    # The newest first: whether an undoing stands is known before it is asked what it undid.
    for run in reversed(runs):
        if run.undoes in undone:
            undone[run.undoes] |= set(written[run.name].values()) - undone[run.name]
    return {name: {path for path, real in paths.items() if real in undone[name]} for name, paths in written.items()}


def read_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """Read every journal of a folder, oldest first, and say which could not be read.

    Raises:
        JournalError: The folder cannot be listed.
    """
    runs, damaged = _read_runs(folder)
    return runs, list(damaged.values())


def _read_runs(folder: Path) -> tuple[list[Run], dict[str, str]]:
    """Give the runs, oldest first, and by the names of the others what is wrong with their journals."""
    runs: list[Run] = []
    damaged: dict[str, str] = {}
    for name in list_runs(folder):
        try:
            run = read_run(folder, name)
        except JournalError as error:
            damaged[name] = str(error)
        else:
            runs += [] if run.is_empty else [run]
    return runs, damaged


def choose_run(folder: Path, name: str | None) -> Run:
    """Give the run of a name, or the last one of which something can still be undone.

    A file that its owner gave another mood since is settled: nobody wants it back. One that is gone may have another
    name now, or be on a disk that is not there; it is settled once an undoing has told so.

    Raises:
        JournalError: There is no such run; the journal of a later run, which may be the last one, cannot be read; or
            files of the last one are gone.
    """
    if name is not None:
        return read_run(folder, name)
    runs, damaged = _read_runs(folder)
    undone = undone_files(runs)
    written = [run for run in runs if run.command == "write" and run.written]
    while written:
        run = written.pop()
        left = [entry for entry in run.written if entry.task.path not in undone[run.name]]
        if any(_holds_what_was_written(entry) for entry in left):
            _check_is_last(run, written, damaged)
            return run
        gone = [entry for entry in left if _is_gone(entry, told=bool(undone[run.name]))]
        if gone:
            raise JournalError(
                f"run {run.name} is the last one, and {len(gone)} of the {len(left)} files that it wrote and that are "
                f"not undone are not there any more, such as {str(gone[0].task.path)!r}. Give them their names back, "
                f"connect their disk, or name another run: {_earlier(written)}"
            )
    rest = "".join(f"; {reason}" for reason in damaged.values())
    raise JournalError(f"there is nothing to undo in {str(folder)!r}{rest}")


def _check_is_last(run: Run, earlier: Sequence[Run], damaged: Mapping[str, str]) -> None:
    """Refuse a run as the last one where a later one has a journal that cannot be read."""
    later = [name for name in damaged if name > run.name]
    if later:
        raise JournalError(
            f"run {later[-1]} is later than any that can be undone, and {damaged[later[-1]]}. Nothing was undone. To "
            f"undo another run, name it (moodbook undo RUN): {_earlier([*earlier, run])}"
        )


def _holds_what_was_written(entry: Entry) -> bool:
    return entry.task.before != entry.task.after and _fields_or_none(entry.task.path) == entry.task.after


def _is_gone(entry: Entry, *, told: bool) -> bool:
    """Whether a file is not there, or another has its name; of a folder that is, only as long as nobody was told."""
    path = entry.task.path
    return not path.parent.is_dir() or not (told or (is_there(path) and _is_same_music(entry)))


def _is_same_music(entry: Entry) -> bool:
    try:
        return audio.payload_hash(entry.task.path) == entry.task.payload
    except AudioError:
        return True  # It cannot be told; whose mood it holds is settled otherwise.


def _earlier(runs: Sequence[Run]) -> str:
    """Name the last of some runs."""
    names = [run.name for run in reversed(runs)]
    rest = f" and {len(names) - _NAMED_RUNS} before" if len(names) > _NAMED_RUNS else ""
    return ", ".join(names[:_NAMED_RUNS]) + rest if names else "there is none before it"


def plan_undo(run: Run, undone: Collection[Path] = ()) -> UndoPlan:
    """See which files of a run still hold what it wrote, and can have back what they had.

    Args:
        run: What to undo.
        undone: Those of its files that are put back already, from `undone_files`.
    """
    tasks: list[Rewrite] = []
    others: list[Written] = []
    for entry in reversed(run.written):
        step = _undo_step(entry)
        if isinstance(step, Written) and step.status == "failed" and entry.task.path in undone:
            step = replace(step, status="unchanged", reason="already undone")
        if isinstance(step, Rewrite):
            tasks.append(step)
        else:
            others.append(step)
    return UndoPlan(run, tasks, others)


def _what_differs(now: Fields, written: Fields) -> str:
    """Say why a file is not put back."""
    if moods(now) != moods(written):
        what = f"it no longer holds what was written, but {', '.join(moods(now)) or 'nothing'}"
    elif scores(now) != scores(written):
        what = f"it holds the mood that was written, but other scores ({SCORES})"
    else:
        what = f"it holds the mood and the scores that were written, but other fields or values ({', '.join(now)})"
    return f"{what}. It is left alone."


def _undo_step(entry: Entry) -> Rewrite | Written:
    task = entry.task
    old, new = moods(task.before), moods(task.after)
    try:
        state = read_state(task.path)
        now = read_fields(task.path)
        if now == task.before:
            return Written(task.path, "unchanged", old, old, "it holds again what it held before")
        if now != task.after:
            return Written(task.path, "failed", moods(now), moods(now), _what_differs(now, task.after))
        # Its audio may have been edited since: what counts is that undoing does not change it.
        payload = audio.payload_hash(task.path)
        return replace(
            task, state=state, payload=payload, before=task.after, after=task.before, way_back=entry.way_back
        )
    except (AudioError, TagError) as error:
        return Written(task.path, "failed", new, new, error.reason)
