"""The root of the command line; each verb is one module beside this one.

The verbs' modules import nothing heavy, so that `moodbook --help` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Annotated, cast

# Most of the time before a verb runs goes into these.
try:
    import typer

    from moodbook import __version__
    from moodbook.cli.data import data
    from moodbook.cli.doctor import doctor
    from moodbook.cli.errors import INTERRUPTED
    from moodbook.cli.evaluate import EvaluateCommand, evaluate
    from moodbook.cli.info import info
    from moodbook.cli.personal import personal
    from moodbook.cli.playlist import playlist
    from moodbook.cli.reproduce import reproduce
    from moodbook.cli.scan import scan
    from moodbook.cli.search import search
    from moodbook.cli.similar import similar
    from moodbook.cli.stats import export, stats
    from moodbook.cli.tag import tag
    from moodbook.cli.train import train_app
    from moodbook.cli.undo import undo
    from moodbook.cli.write import write
except KeyboardInterrupt:
    sys.stderr.write("moodbook: stopped by the user\n")
    raise SystemExit(130) from None

app = typer.Typer(name="moodbook", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=True)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"moodbook {__version__}")
        raise typer.Exit()
    return wanted


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Hear what a piece of music feels like and what it is for.

    Exit codes: 0 all good, 1 some files failed, 2 the run failed.
    """
    # For numpy's matrix library, which is loaded later: more threads have nothing to do and cost a tenth of a start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


app.command("tag")(tag)
app.command("scan")(scan)
app.command("search")(search)
app.command("similar")(similar)
app.command("playlist")(playlist)
app.command("stats")(stats)
app.command("export")(export)
app.add_typer(personal, name="personal")
app.command("write")(write)
app.command("undo")(undo)
app.command("doctor")(doctor)
app.command("info")(info)
app.command("evaluate", cls=EvaluateCommand)(evaluate)
app.command("reproduce")(reproduce)
app.add_typer(train_app, name="train")
app.add_typer(data, name="data")


def _replace_closed_streams() -> None:
    """Put something in the place of streams that were closed by whoever started the program: Python has None there."""
    if cast(object, sys.stdout) is None:
        # What cannot be written to: a run that prints has lost its output and says so, any other one goes well.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if cast(object, sys.stderr) is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (for as long as the program runs)


def main() -> None:
    """Run the command line."""
    _replace_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # The name of a file may hold characters that the terminal's encoding lacks.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app()
    except KeyboardInterrupt:
        sys.stderr.write("moodbook: stopped by the user\n")
        raise SystemExit(INTERRUPTED) from None
