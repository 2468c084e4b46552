"""`moodbook data`: list, fetch, check and copy data sets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moodbook.cli.errors import SOME_FILES_FAILED, ends_with_exit_code
from moodbook.cli.paths import path_option
from moodbook.errors import FetchError

if TYPE_CHECKING:
    from moodbook.datasets.check import Finding
    from moodbook.datasets.fetching import Progress

data = typer.Typer(name="data", help="List, fetch, check and copy data sets.", no_args_is_help=True)

_SHOWN_IDS = 3

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines, as when the output is piped.")]


class Quality(StrEnum):
    """Which audio of MTG-Jamendo."""

    AUDIO = "audio"
    AUDIO_LOW = "audio-low"


@data.command("list")
@ends_with_exit_code
def list_sets(as_json: AsJson = False) -> None:
    """List the data sets that have a name: size, licence, use, and whether they are here."""
    from moodbook.datasets.fetch import fetchable
    from moodbook.datasets.registry import SOURCES, folder_of

    rows: list[dict[str, Any]] = []
    for source in SOURCES.values():
        folder = folder_of(source)
        rows.append(
            {
                "name": source.name,
                "tracks": source.tracks,
                "hours": source.hours,
                "licence": source.licence,
                "use": source.use,
                "variants": list(source.variants),
                "here": source.present(folder),
                "folder": str(folder),
                "fetchable": source.name in fetchable(),
                "citation": source.citation,
            }
        )
    if _wants_json(as_json):
        _print_json_lines(rows)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Data sets", title_justify="left")
    for heading, justify in (("name", "left"), ("tracks", "right"), ("hours", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for heading in ("licence", "may be used for", "here"):
        table.add_column(heading)
    for row in rows:
        here = (
            "yes" if row["here"] else (f"moodbook data fetch {row['name']}" if row["fetchable"] else "bring your own")
        )
        table.add_row(row["name"], f"{row['tracks']:,}", f"{row['hours']:,g}", row["licence"], row["use"], here)
    Console().print(table)


@data.command("check")
@ends_with_exit_code
def check_set(
    name_or_index: Annotated[str, typer.Argument(metavar="NAME_OR_INDEX", help="A name, an index (CSV) or a folder.")],
    audio_root: Annotated[Path | None, path_option("--audio", metavar="DIR", help="Where its audio lies.")] = None,
    tag_list: Annotated[Path | None, path_option("--tags", metavar="FILE", help="Tag list, one a line.")] = None,
    decode: Annotated[bool, typer.Option("--decode", help="Decode every file to its end.")] = False,
    compare: Annotated[bool, typer.Option(help="Decode 10 s of every file to find the same recording twice.")] = True,
    as_json: AsJson = False,
) -> None:
    """Check a data set; exit code 1 where tracks cannot be used as they are."""
    from moodbook.datasets.check import check
    from moodbook.datasets.registry import read_dataset
    from moodbook.tags import read_tags

    dataset = read_dataset(name_or_index, audio_root, tags=read_tags(tag_list) if tag_list is not None else None)
    with _counted("checking", len(dataset)) as advance:
        findings = check(dataset, decode=decode, compare=compare, progress=lambda done, _: advance(done))
    errors = sum(finding.level == "error" for finding in findings)
    summary: dict[str, Any] = {
        "dataset": dataset.name,
        "tracks": len(dataset),
        "tags": len(dataset.tags),
        "errors": errors,
        "warnings": len(findings) - errors,
        "sha256": dataset.sha256,
    }
    if _wants_json(as_json):
        lines = [{**vars(finding), "track_ids": list(finding.track_ids)} for finding in findings]
        _print_json_lines([summary, *lines])
    else:
        _print_findings(summary, findings)
    if errors:
        raise typer.Exit(SOME_FILES_FAILED)


@data.command("fetch")
@ends_with_exit_code
def fetch_set(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which data set (see: moodbook data list).")],
    to: Annotated[Path | None, path_option("--to", metavar="DIR", help="Where to put it.")] = None,
    mirror: Annotated[
        str | None, typer.Option(metavar="URL", help="Fetch the audio from here instead (immich: a package index).")
    ] = None,
    lists: Annotated[str | None, typer.Option(metavar="URL", help="Fetch the lists from here instead.")] = None,
    quality: Annotated[Quality, typer.Option(help="MTG-Jamendo: full quality, or a third of the size.")] = (
        Quality.AUDIO_LOW
    ),
    parts: Annotated[str | None, typer.Option(metavar="0-9,42", help="MTG-Jamendo: only these archives.")] = None,
    lists_only: Annotated[bool, typer.Option("--lists-only", help="Fetch no audio.")] = False,
    discard_archives: Annotated[
        bool, typer.Option("--discard-archives", help="Remove each archive once it is unpacked and verified.")
    ] = False,
    parallel: Annotated[int, typer.Option(min=1, max=16, help="Archives fetched at once.")] = 2,
    archive: Annotated[Path | None, path_option(metavar="WHEEL", help="immich: a wheel you have already.")] = None,
    small: Annotated[bool, typer.Option("--small", help="open: 16 hours instead of 32.")] = False,
    full: Annotated[bool, typer.Option("--full", help="open: all 44 hours.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a data set, or what is missing of it; what is there and right is kept."""
    from moodbook.datasets.fetch import fetch
    from moodbook.datasets.fetching import FetchOptions

    if small and full:
        raise FetchError("--small and --full exclude each other; give one, or neither for 32 hours")
    options = FetchOptions(
        mirror=mirror,
        lists=lists,
        quality=quality.value,
        parts=_numbers(parts) if parts is not None else None,
        lists_only=lists_only,
        discard_archives=discard_archives,
        parallel=parallel,
        archive=archive,
        size="small" if small else "full" if full else "standard",
    )
    with _byte_progress() as progress:
        result = fetch(name, to, options, progress)
    if _wants_json(as_json):
        _print_json_lines(
            [{"dataset": name, "folder": str(result.folder), "placed": result.placed, "present": result.present}]
        )
    else:
        typer.echo(f"{name}: {result.placed} tracks fetched, {result.present} were there, in {result.folder}")


@data.command("excerpt")
@ends_with_exit_code
def excerpt_set(
    name_or_index: Annotated[str, typer.Argument(metavar="NAME_OR_INDEX", help="A name, an index (CSV) or a folder.")],
    to: Annotated[Path, path_option("--to", metavar="DIR", help="Where the copy goes.")],
    audio_root: Annotated[Path | None, path_option("--audio", metavar="DIR", help="Where its audio lies.")] = None,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of an excerpt.")] = 40.0,
    kilobits: Annotated[int, typer.Option(min=6, max=256, help="Thousand bits a second.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Copy an excerpt of each track, in Opus, to carry a data set to another machine; what is there is kept.

    At 20 kb/s an hour is 9 MB. The copy is an index beside its audio: train on it there with --data DIR/index.csv.
    Exit code 1 where tracks cannot be read.
    """
    from moodbook.datasets.excerpts import INDEX, write_excerpts
    from moodbook.datasets.registry import read_dataset

    dataset = read_dataset(name_or_index, audio_root)
    with _counted("copying", len(dataset)) as advance:
        skipped = write_excerpts(
            dataset, to, seconds=seconds, kilobits=kilobits, progress=lambda done, _: advance(done)
        )
    written = len(dataset) - len(skipped)
    if _wants_json(as_json):
        _print_json_lines([{"index": str(to / INDEX), "written": written, "skipped": [list(one) for one in skipped]}])
    else:
        typer.echo(f"{dataset.name}: excerpts of {written} tracks, named in {to / INDEX}")
        for track_id, reason in skipped:
            typer.echo(f"left out: {track_id}: {reason}", err=True)
    if skipped:
        raise typer.Exit(SOME_FILES_FAILED)


def _numbers(text: str) -> frozenset[int]:
    """Read ``0-9,42``."""
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) > 99:
            raise FetchError(f"parts {text!r}: write numbers and ranges from 0 to 99, such as 0-9,42")
        numbers.update(range(int(first), int(last or first) + 1))
    return frozenset(numbers)


def _wants_json(as_json: bool) -> bool:
    return as_json or not sys.stdout.isatty()


def _print_json_lines(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")


def _print_findings(summary: dict[str, Any], findings: list[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if findings:
        table = Table("level", "kind", "tracks", "what and what to do", title_justify="left")
        for finding in findings:
            shown = ", ".join(finding.track_ids[:_SHOWN_IDS])
            further = len(finding.track_ids) - _SHOWN_IDS
            ids = f"{shown} and {further} more" if further > 0 else shown
            colour = "red" if finding.level == "error" else "yellow"
            table.add_row(f"[{colour}]{finding.level}[/]", finding.kind, escape(ids), escape(finding.message))
        console.print(table)
    console.print(
        f"{escape(summary['dataset'])}: {summary['tracks']} tracks, {summary['tags']} tags, "
        f"{summary['errors']} errors, {summary['warnings']} warnings"
    )


@contextmanager
def _counted(text: str, total: int) -> Iterator[Any]:
    """Show a bar on stderr; gives a function that is told how much is done."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    with Bars(console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(text, total=total)
        yield lambda done: bars.update(task, completed=done)


@contextmanager
def _byte_progress() -> Iterator[Progress]:
    """Show a bar of bytes on stderr, and the stages above it."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        yield _Bytes(bars, console)


class _Bytes:
    def __init__(self, bars: Any, console: Any) -> None:
        self._bars = bars
        self._console = console
        self._task: Any = None

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def expect(self, count: int) -> None:
        if count:
            self._task = self._bars.add_task("", total=count)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, count)
