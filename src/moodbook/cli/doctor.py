"""`moodbook doctor`: what a crash left behind."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.errors import SOME_FILES_FAILED, ends_with_exit_code
from moodbook.cli.filetags import JournalOption, open_folder, prints_json
from moodbook.cli.output import utf8_stdout

if TYPE_CHECKING:
    from moodbook.library.filetags import Finding


@ends_with_exit_code
def doctor(
    journal: JournalOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as when the output is piped.")] = False,
) -> None:
    """Find and clean up what a run left that was cut off.

    A crash or a power cut while `moodbook write` or `moodbook undo` ran leaves
    every file old or new, never half, and at most one unfinished copy beside
    the file it was at. The copy is removed, and the journal is told which files
    are old and which are new. Your files are only looked at.

    Examples:
      moodbook doctor
      moodbook doctor --json

    Exit code: 0 all is well now, 1 something needs your eyes, 2 the run failed.
    """
    from moodbook.library.filetags import read_runs, recover

    folder = open_folder(journal)
    findings = list(recover(folder))
    if prints_json(as_json):
        for finding in findings:
            _print_record(finding)
    else:
        from moodbook.model.scores import printable

        for finding in findings:
            sys.stdout.write(printable(f"{finding.kind}: {finding.path}: {finding.message}") + "\n")
        if not findings:
            sys.stdout.write(f"All is well. Runs on record: {len(read_runs(folder)[0])}, none of them cut off.\n")
    if any(finding.needs_care for finding in findings):
        raise typer.Exit(SOME_FILES_FAILED)


def _print_record(finding: Finding) -> None:
    from moodbook.model.scores import path_fields, printable

    record = {
        **path_fields(finding.path),
        "kind": finding.kind,
        "run": finding.run,
        "message": printable(finding.message),
    }
    utf8_stdout().write(json.dumps(record, ensure_ascii=False) + "\n")
