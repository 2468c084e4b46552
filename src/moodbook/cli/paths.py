"""Names of files and folders on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer


def path_option(*names: str, metavar: str = "PATH", **settings: Any) -> Any:
    """Declare an option that names a file or a folder, as `typer.Option`."""
    return typer.Option(*names, parser=_named_path, metavar=metavar, **settings)


def path_argument(*, metavar: str = "PATH", **settings: Any) -> Any:
    """Declare an argument that names a file or a folder, as `typer.Argument`."""
    return typer.Argument(parser=_named_path, metavar=metavar, **settings)


def _named_path(name: str) -> Path:
    """Make a path of what was typed.

    Raises:
        typer.BadParameter: It is empty, as from a variable that is not set; Python takes that for the current folder.
    """
    if not name:
        raise typer.BadParameter("the name is empty; name a file or a folder, '.' for the current one")
    return Path(name)
