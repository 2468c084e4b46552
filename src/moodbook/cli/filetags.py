"""What `write` and `undo` show alike: what would be done, what was done, and the question between them."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.errors import JobOutput
from moodbook.cli.output import counted, say_list, utf8_stdout
from moodbook.cli.paths import path_option
from moodbook.cli.progress import ProgressLine
from moodbook.errors import JournalError

if TYPE_CHECKING:
    from moodbook.library.filetags import Finding, Plan, Rewrite, Written
    from moodbook.library.filetags.journal import Journal

JournalOption = Annotated[
    Path | None,
    path_option(
        "--journal",
        metavar="DIR",
        help="Where the journal is, if not in your data folder.",
    ),
]

_SHOWN_ROWS = 50


def prints_json(as_json: bool) -> bool:
    """Whether records are printed, not tables."""
    return as_json or not sys.stdout.isatty()


def print_record(path: Path, status: str, before: list[str], after: list[str], reason: str = "") -> None:
    """Print what is or was done to a file as a line of JSON."""
    from moodbook.model.scores import path_fields, printable

    record: dict[str, object] = {**path_fields(path), "status": status, "before": before, "after": after}
    if reason:
        record["reason"] = printable(reason)
    utf8_stdout().write(json.dumps(record, ensure_ascii=False) + "\n")


def show_plan(plan: Plan, output: JobOutput, *, as_json: bool, tasks: bool = True) -> None:
    """Show what would be done to each file; the files to be written only if `tasks`."""
    from moodbook.library.filetags import moods

    if prints_json(as_json):
        with output.kept_going():
            for task in plan.tasks if tasks else ():
                print_record(task.path, "planned", moods(task.before), moods(task.after))
            for skipped in plan.skipped:
                print_record(skipped.path, "unchanged", skipped.moods, skipped.moods, skipped.reason)
            for failure in plan.failures:
                print_record(failure.path, "failed", [], [], failure.reason)
    elif tasks and plan.tasks:
        show_tasks(plan.tasks)
    if plan.skipped and not prints_json(as_json):
        lines = (f"{shown_path(skipped.path)}: {skipped.reason}" for skipped in plan.skipped)
        say_list(f"{len(plan.skipped)} need nothing", len(plan.skipped), lines)
    if plan.failures:
        total = len(plan.tasks) + len(plan.skipped) + len(plan.failures)
        lines = (f"{failure.path}: {failure.reason}" for failure in plan.failures)
        say_list(f"{len(plan.failures)} of {total} cannot be written", len(plan.failures), lines)


def show_tasks(tasks: list[Rewrite]) -> None:
    """Print a table of what each file has and would have."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from moodbook.library.filetags import moods
    from moodbook.model.scores import printable

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("mood now", overflow="fold")
    table.add_column("mood then", overflow="fold")
    for task in tasks[:_SHOWN_ROWS]:
        before, after = moods(task.before), moods(task.after)
        table.add_row(
            Text(printable(shown_path(task.path))),
            Text(printable(", ".join(before)) or "-", style="dim"),
            Text(printable(", ".join(after)) or "-", style="" if before == after else "green"),
        )
    console = Console(highlight=False)
    console.print(table)
    if len(tasks) > _SHOWN_ROWS:
        console.print(f"and {len(tasks) - _SHOWN_ROWS} more")


def shown_path(path: Path) -> str:
    """Give a path as one would type it here."""
    here = Path(os.path.abspath(os.curdir))  # noqa: PTH100 (a folder that was removed has no resolved name)
    return str(path.relative_to(here)) if path.is_absolute() and path.is_relative_to(here) else str(path)


def ask(question: str, *, as_json: bool) -> bool:
    """Ask on a terminal; without one, say that nothing is done."""
    if as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        sys.stderr.write("moodbook: this was a dry run: nothing was written; --yes writes\n")
        return False
    try:
        if typer.confirm(question):
            return True
    except typer.Abort:
        sys.stderr.write("\nmoodbook: nothing was written\n")
        raise
    sys.stderr.write("moodbook: nothing was written\n")
    return False


def open_folder(journal: Path | None) -> Path:
    """Give the folder of the journals: the one that was named, or the user's own, which may not be there yet.

    Raises:
        JournalError: The one that was named is not there.
    """
    from moodbook.files import is_there
    from moodbook.library.filetags import journal_folder

    if journal is not None and not is_there(journal):
        raise JournalError(f"there is no folder {str(journal)!r}. Name the one of the journals, or leave --journal out")
    return journal or journal_folder()


def say_waiting(holder: str) -> None:
    """Say on stderr that another run is waited for."""
    sys.stderr.write(f"moodbook: another moodbook ({holder}) writes into files now; waiting until it is done\n")


def say_findings(findings: Iterable[Finding]) -> None:
    """Say on stderr what a run that was cut off has left, and which journals cannot be read."""
    left: list[Finding] = []
    damaged: list[Finding] = []
    for finding in findings:
        if finding.kind != "run goes on":
            (damaged if finding.kind == "journal damaged" else left).append(finding)
    if left:
        lines = (f"{finding.path}: {finding.message}" for finding in left)
        say_list(f"{len(left)} left by a run that was cut off", len(left), lines)
    if damaged:
        messages = (finding.message for finding in damaged)
        say_list(f"{counted(len(damaged), 'journal')} cannot be read", len(damaged), messages)


def show_results(results: Iterable[Written], label: str, total: int, output: JobOutput, *, as_json: bool) -> int:
    """Show what became of each file as it is done; give the number of those that failed.

    Where the output cannot be written any more the work goes on, and how it ended is said on stderr.

    Args:
        results: As they come.
        label: What is done, for the line of progress.
        total: How many results will come.
        output: Where they are printed.
        as_json: Print records even on a terminal.
    """
    counts = {"written": 0, "unchanged": 0, "failed": 0}
    failures: list[Written] = []
    with ProgressLine(label, total).shown() as progress:
        for result in results:
            counts[result.status] += 1
            if result.status == "failed":
                failures.append(result)
            if prints_json(as_json):
                with progress.hidden(), output.kept_going():
                    print_record(result.path, result.status, result.before, result.after, result.reason)
            progress.advance()
    ended = ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing to do"
    if not prints_json(as_json):
        with output.kept_going():
            sys.stdout.write(f"{ended}\n")
    if failures:
        lines = (f"{failure.path}: {failure.reason}" for failure in failures)
        say_list(f"{len(failures)} of {sum(counts.values())} failed", len(failures), lines)
    output.end(ended)
    return counts["failed"]


@contextmanager
def undo_named(run: Journal, journal: Path | None) -> Iterator[None]:
    """Say on stderr at the end, however it comes, how what was written is undone."""
    try:
        yield
    finally:
        if run.written:
            where = ["--journal", str(journal)] if journal else []
            sys.stderr.write(f"moodbook: to undo this: {command_line('moodbook', 'undo', run.name, *where)}\n")


def command_line(*words: str) -> str:
    """Write a command as a shell takes it."""
    from moodbook.model.scores import printable

    return printable(shlex.join(words))
