"""Where data sets and caches lie on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def data_root() -> Path:
    """Give the folder of fetched data sets: ``$MOODBOOK_DATA``, or ``moodbook`` in the user's data folder."""
    named = os.environ.get("MOODBOOK_DATA")
    if named:
        return Path(named).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "moodbook"
