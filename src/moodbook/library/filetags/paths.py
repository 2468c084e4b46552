"""Names of files in plans and journals: whatever bytes they are made of, they come back as they were."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from moodbook.errors import PlanError
from moodbook.model.scores import path_fields


def encode_path(path: Path) -> dict[str, str]:
    """Write a path as JSON text: ``path``, and ``path_bytes`` where that alone would not be the name."""
    return path_fields(path)


def decode_path(document: Mapping[str, str], where: str) -> Path:
    """Read what `encode_path` wrote.

    Raises:
        PlanError: It names no file.
    """
    exact = document.get("path_bytes")
    name = os.fsdecode(urllib.parse.unquote_to_bytes(exact)) if exact is not None else document.get("path", "")
    if not name or "\0" in name or not set(document) <= {"path", "path_bytes"}:
        raise PlanError(f"{where}: {dict(document)!r} names no file")
    return Path(name)
