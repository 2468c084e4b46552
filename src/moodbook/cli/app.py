"""The root of the command line; each verb is one module beside this one.

The verbs' modules import nothing heavy, so that `moodbook --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

# Most of the time before a verb runs goes into these.
try:
    import typer

    from moodbook import __version__
    from moodbook.cli.data import data
    from moodbook.cli.errors import INTERRUPTED
    from moodbook.cli.evaluate import EvaluateCommand, evaluate
    from moodbook.cli.info import info
    from moodbook.cli.reproduce import reproduce
    from moodbook.cli.tag import tag
    from moodbook.cli.train import train_app
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


app.command("tag")(tag)
app.command("info")(info)
app.command("evaluate", cls=EvaluateCommand)(evaluate)
app.command("reproduce")(reproduce)
app.add_typer(train_app, name="train")
app.add_typer(data, name="data")


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        sys.stderr.write("moodbook: stopped by the user\n")
        raise SystemExit(INTERRUPTED) from None
