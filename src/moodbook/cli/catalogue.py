"""What the verbs that ask the catalogue have in common."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.errors import RUN_FAILED
from moodbook.cli.output import clock, utf8_stdout
from moodbook.cli.paths import path_option
from moodbook.errors import QueryError

if TYPE_CHECKING:
    from moodbook.library.catalogue import Catalogue
    from moodbook.library.known_model import Model
    from moodbook.library.search import Track

CatalogueOption = Annotated[
    Path | None,
    path_option(
        "--catalogue",
        metavar="FILE",
        help="The catalogue. Else $MOODBOOK_CATALOGUE, else one in your data folder.",
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME",
        help="Whose scores: name, start of the hash, or folder. Else the last one that scanned.",
    ),
]
LimitOption = Annotated[int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="At most N tracks.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON lines, as when the output is piped.")]
PathsOption = Annotated[bool, typer.Option("--paths", help="Print the files alone, one a line.")]
NullOption = Annotated[
    bool, typer.Option("-0", "--null", help="Print the files alone, each ended by a null byte, for xargs -0.")
]

_SHOWN_TAGS = 4


@contextmanager
def open_catalogue(path: Path | None, model_name: str | None) -> Iterator[tuple[Catalogue, Model]]:
    """Open the catalogue that a verb was given, and choose the model whose scores are asked for."""
    from moodbook.files import is_folder
    from moodbook.library.catalogue import Catalogue, catalogue_path
    from moodbook.library.personal.head import find_head
    from moodbook.model.bundle import read_bundle

    with Catalogue(path or catalogue_path()) as catalogue:
        if model_name is not None and is_folder(model_name) and find_head(model_name) is None:
            model_name = read_bundle(model_name).sha256
        yield catalogue, catalogue.find_model(model_name)


@contextmanager
def pointing_at_mistakes() -> Iterator[None]:
    """Show a query that cannot be understood with a mark under the place."""
    try:
        yield
    except QueryError as error:
        from rich.cells import cell_len

        from moodbook.model.scores import printable

        place = cell_len(printable(error.query[: error.position]))
        sys.stderr.write(f"moodbook: {printable(error.reason)}\n  {printable(error.query)}\n  {' ' * place}^\n")
        raise typer.Exit(RUN_FAILED) from error


def write_paths(paths: Iterable[Path], end: bytes) -> None:
    """Write the exact bytes of names to stdout."""
    sys.stdout.flush()
    for path in paths:
        sys.stdout.buffer.write(os.fsencode(path) + end)
    sys.stdout.buffer.flush()


def print_tracks(
    tracks: Iterable[Track], strengths: Iterable[float | None], label: str, *, as_json: bool, paths: bool, null: bool
) -> None:
    """Print tracks as a table on a terminal, JSON lines when piped, or names.

    Args:
        tracks: In order.
        strengths: A number for each, shown in front of it.
        label: The number's name in a record.
        as_json: JSON lines on a terminal too.
        paths: Names, one a line.
        null: Names, each ended by a null byte.
    """
    if paths or null:
        write_paths((track.path for track in tracks), b"\0" if null else b"\n")
    elif as_json or not sys.stdout.isatty():
        stream = utf8_stdout()
        for track, strength in zip(tracks, strengths, strict=True):
            record = {**track.to_dict(), label: None if strength is None else round(strength, 6)}
            stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        _print_table(tracks, strengths)


def _print_table(tracks: Iterable[Track], strengths: Iterable[float | None]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from moodbook.model.scores import printable

    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    for _ in range(2):
        table.add_column(justify="right", no_wrap=True)
    # A name that is cut by the end of a line cannot be copied; the moods wrap first.
    table.add_column(no_wrap=True, overflow="fold")
    table.add_column()
    for track, strength in zip(tracks, strengths, strict=True):
        strongest = sorted(track.decided, key=lambda tag: -track.probabilities[tag])[:_SHOWN_TAGS]
        table.add_row(
            Text("" if strength is None else f"{strength:.2f}", style="cyan"),
            Text(clock(track.duration_seconds), style="dim"),
            Text(printable(shown_path(track.path))),
            Text(" ".join(strongest), style="bold"),
        )
    Console(highlight=False).print(table)


def shown_path(path: Path) -> str:
    """Give a name from the working folder where the file lies below it, else from the root."""
    here = Path(os.path.realpath(os.curdir))
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
