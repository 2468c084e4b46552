"""Names of files and folders on the command line."""

from __future__ import annotations

from pathlib import Path

import typer


def named_path(name: str) -> Path:
    """Make a path of what was typed.

    Raises:
        typer.BadParameter: It is empty, as from a variable that is not set; Python takes that for the current folder.
    """
    if not name:
        raise typer.BadParameter("the name is empty; name a file or a folder, '.' for the current one")
    return Path(name)
