"""`moodbook stats` and `moodbook export`: the library in numbers, and as a table."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.catalogue import CatalogueOption, ModelOption, open_catalogue, pointing_at_mistakes
from moodbook.cli.errors import ends_with_exit_code
from moodbook.cli.output import ForceOption, bar, counted, utf8_stdout
from moodbook.cli.paths import path_option

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from moodbook.library.stats import LibraryStats, ModelStats


@ends_with_exit_code
def stats(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    model: ModelOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Say what the library holds, in numbers and a picture of its moods.

    The bar is the share of recordings that have the tag; then their number,
    and the mean score over all recordings.

    Examples:
      moodbook stats
      moodbook stats --json | jq '.tags[0]'
    """
    from moodbook.library.stats import measure

    with open_catalogue(catalogue, model) as (opened, chosen):
        measured = measure(opened, chosen)
    if as_json:
        utf8_stdout().write(json.dumps(measured.to_dict(), ensure_ascii=False) + "\n")
        return
    from rich.console import Console

    console = Console(highlight=False)
    console.print(render(measured, console))


def render(measured: LibraryStats, console: Console) -> RenderableType:
    """Draw a library: a few lines of numbers, and a bar for each tag."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from moodbook.model.scores import printable

    lines = [
        f"{counted(measured.recordings, 'recording')} in {counted(measured.files, 'file')}, {measured.hours:.1f} hours",
        f"{measured.heard} heard by {printable(measured.model)}, {measured.failed} could not be heard, "
        f"{counted(measured.duplicates, 'duplicate')}, {counted(measured.missing, 'missing file')}",
    ]
    if len(measured.models) > 1 or any(len(model.precisions) > 1 for model in measured.models):
        lines.append(f"models: {', '.join(_describe(model) for model in measured.models)}")
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for tag in measured.tags:
        share = tag.decided / measured.heard if measured.heard else 0.0
        table.add_row(
            Text(tag.tag, style="bold" if tag.decided else "dim"),
            Text(bar(share, console.options.ascii_only), style="cyan"),
            Text(str(tag.decided), justify="right"),
            Text(f"{tag.mean:.2f}", style="dim"),
        )
    return Group(*(Text(line) for line in lines), table)


def _describe(model: ModelStats) -> str:
    from moodbook.model.scores import printable

    precisions = "".join(f", {count} in {precision}" for precision, count in model.precisions.items())
    return f"{printable(model.name)} {model.sha256} ({model.recordings}{precisions})"


@ends_with_exit_code
def export(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="As in moodbook search; nothing is everything.")] = "",
    output: Annotated[
        Path | None,
        path_option("--output", "-o", metavar="FILE", help="Where to: .csv, .jsonl or .parquet. Else JSON lines here."),
    ] = None,
    force: ForceOption = False,
    model: ModelOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Write the catalogue as a table, one row a recording.

    A column "tag:NAME" for each tag's score, and what was decided. Parquet
    needs pyarrow: pip install 'moodbook[parquet]'.

    Examples:
      moodbook export -o library.csv
      moodbook export 'epic' -o epic.parquet
      moodbook export | jq -r .title
    """
    from moodbook.library import export as tables
    from moodbook.library.search import search

    if output is not None:
        tables.check_table(output, force=force)
    with pointing_at_mistakes(), open_catalogue(catalogue, model) as (opened, chosen):
        tracks = search(opened, query, model=chosen, sort="path")
    if output is None:
        tables.write_json_lines(utf8_stdout(), tracks)
    else:
        tables.export(output, tracks, chosen.tags, force=force)
        sys.stderr.write(f"moodbook: wrote {counted(len(tracks), 'recording')} to {output}\n")
