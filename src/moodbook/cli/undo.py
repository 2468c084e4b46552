"""`moodbook undo`: what was written into tags goes back to what it was."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.errors import SOME_FILES_FAILED, JobOutput, ends_with_exit_code
from moodbook.cli.filetags import (
    JournalOption,
    ask,
    open_folder,
    print_record,
    prints_json,
    say_findings,
    say_waiting,
    show_results,
    show_tasks,
)
from moodbook.cli.output import counted, say_list, utf8_stdout

if TYPE_CHECKING:
    from moodbook.library.filetags import UndoPlan
    from moodbook.library.filetags.journal import Run


@ends_with_exit_code
def undo(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="A run, as --list names it; the last one if none is named.")
    ] = None,
    show_list: Annotated[bool, typer.Option("--list", help="List the runs, oldest first, and undo nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Undo without asking.")] = False,
    touch: Annotated[bool, typer.Option("--touch", help="Let the files' time of change be now.")] = False,
    journal: JournalOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as when the output is piped.")] = False,
) -> None:
    """Put back the moods that files had before `moodbook write`.

    Only where a file still holds what was written: one that somebody has
    changed since is left alone, and told. Undoing is a run of its own, so it
    can be undone by its name.

    Examples:
      moodbook undo                 # the last run that can be undone
      moodbook undo --list
      moodbook undo 20261126-010203-405060-a1b2c3 --yes

    Exit code: 0 all good, 1 some files failed, 2 the run failed.
    """
    from moodbook.library.filetags import (
        apply_tasks,
        choose_run,
        moods,
        open_journal,
        plan_undo,
        read_runs,
        recover,
        undone_files,
    )

    folder = open_folder(journal)
    if show_list:
        _show_runs(folder, as_json=as_json)
        return
    say_findings(recover(folder))
    chosen = choose_run(folder, run)
    plan = plan_undo(chosen, undone_files(read_runs(folder)[0]).get(chosen.name, ()))
    output = JobOutput(confirmed=yes)
    failed = _show_others(plan, output, as_json=as_json)
    if prints_json(as_json) and not yes:
        for task in plan.tasks:
            print_record(task.path, "planned", moods(task.before), moods(task.after))
    elif plan.tasks and not yes:
        show_tasks(plan.tasks)
    if not plan.tasks:
        sys.stderr.write(f"moodbook: nothing to undo in run {plan.run.name}\n")
        output.end("nothing to do")
    elif yes or ask(f"Undo run {plan.run.name} in {counted(len(plan.tasks), 'file')}?", as_json=as_json):
        output.confirmed = True
        with open_journal(folder, "undo", undoes=plan.run.name, on_wait=say_waiting) as opened:
            results = apply_tasks(plan.tasks, opened, touch=touch)
            failed += show_results(results, "undoing", len(plan.tasks), output, as_json=as_json)
    if failed:
        raise typer.Exit(SOME_FILES_FAILED)


def _show_others(plan: UndoPlan, output: JobOutput, *, as_json: bool) -> int:
    """Say to which files nothing is done; give the number of those that should have been undone."""
    if prints_json(as_json):
        for other in plan.others:
            with output.kept_going():
                print_record(other.path, other.status, other.before, other.after, other.reason)
    failures = [other for other in plan.others if other.status == "failed"]
    if failures:
        lines = (f"{other.path}: {other.reason}" for other in failures)
        say_list(f"{len(failures)} of {len(plan.run.written)} cannot be undone", len(failures), lines)
    return len(failures)


def _show_runs(folder: Path, *, as_json: bool) -> None:
    from moodbook.library.filetags import read_runs, undone_files

    runs, damaged = read_runs(folder)
    undone = undone_files(runs)
    rows = [_row(run, len(undone[run.name])) for run in runs]
    if prints_json(as_json):
        for row in rows:
            utf8_stdout().write(json.dumps(row, ensure_ascii=False) + "\n")
    elif rows:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("run", "started", "what", "written", "failed", "state"):
            table.add_column(
                name, justify="right" if name in ("written", "failed") else "left", no_wrap=name in ("run", "started")
            )
        for row in rows:
            row["started"] = str(row["started"])[:16].replace("T", " ") + " UTC"
            table.add_row(*(str(value) for value in row.values()))
        Console(highlight=False).print(table)
    else:
        sys.stderr.write(f"moodbook: no run has a journal in {folder}\n")
    if damaged:
        say_list(f"{counted(len(damaged), 'journal')} cannot be read", len(damaged), damaged)
        raise typer.Exit(SOME_FILES_FAILED)


def _row(run: Run, undone: int) -> dict[str, object]:
    what = "write" if run.command == "write" else f"undo of {run.undoes}"
    state = "done" if run.finished else "cut off: run moodbook doctor"
    if undone:
        state = "undone" if undone == len(run.written) else f"{undone} of {len(run.written)} undone"
    failed = sum(entry.outcome == "failed" for entry in run.entries)
    return {
        "run": run.name,
        "started": run.started,
        "what": what,
        "written": len(run.written),
        "failed": failed,
        "state": state,
    }
