"""What stands in the rows of a catalogue, read with mistrust: SQLite keeps whatever another program has put there."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32

from moodbook.errors import CatalogueError

Row = TypeVar("Row", bound=tuple[Any, ...])
Kind = type | tuple[type, ...]

_FLOAT32_BYTES = 4
# SQLite itself is content then; it is asked for what every catalogue has, or Python cannot read a text.
_SAID_OF_DAMAGE = ("no such table", "no such column", "has no column", "duplicate column", "already exists", "to UTF-8")


def damaged(catalogue: Path, what: str) -> CatalogueError:
    """Give the error that says what is wrong with a catalogue, and where."""
    return CatalogueError(
        f"the catalogue '{catalogue}' is damaged: {what}; move it away and scan again, or restore a copy"
    )


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Say whether an error of SQLite comes from a database that is sound but no catalogue."""
    return isinstance(error, sqlite3.OperationalError) and any(said in str(error) for said in _SAID_OF_DAMAGE)


def read_texts(catalogue: Path, stored: object, what: str) -> tuple[str, ...]:
    """Read a JSON list of texts.

    Args:
        catalogue: Where it stands.
        stored: What stands there.
        what: Its name in an error.

    Raises:
        CatalogueError: It is none.
    """
    texts: list[str] | None = _read_list(stored)
    if texts is None or not all(isinstance(text, str) for text in texts):
        raise damaged(catalogue, f"{what} are {_shown(stored)}, expected a JSON list of texts")
    return tuple(texts)


def read_numbers(catalogue: Path, stored: object, what: str, count: int) -> tuple[float, ...]:
    """Read a JSON list of so many numbers; see `read_texts`.

    Raises:
        CatalogueError: It is none.
    """
    numbers: list[float] | None = _read_list(stored)
    if numbers is None or len(numbers) != count or not all(type(x) in (int, float) and is_number(x) for x in numbers):
        raise damaged(catalogue, f"{what} are {_shown(stored)}, expected a JSON list of {count} numbers")
    return tuple(numbers)


def read_vectors(
    catalogue: Path, packed: Sequence[object], what: str, columns: int | None = None
) -> Float32[np.ndarray, "rows columns"]:
    """Read vectors of float32, little-endian; see `read_texts`.

    Args:
        catalogue: Where they stand.
        packed: What stands there.
        what: Their name in an error.
        columns: Numbers in each; None takes as many as the first has.

    Raises:
        CatalogueError: They are none, are not equally long, or hold what is no number.
    """
    if columns is None:
        columns = len(packed[0]) // _FLOAT32_BYTES if packed and isinstance(packed[0], bytes) else 0
    held = []
    for one in packed:
        if not isinstance(one, bytes) or len(one) != _FLOAT32_BYTES * columns or not one:
            got = f"{len(one)} bytes" if isinstance(one, bytes) else _shown(one)
            raise damaged(catalogue, f"{what} are {got}, expected {columns or 'some'} numbers of 4 bytes")
        held.append(one)
    vectors = np.frombuffer(b"".join(held), dtype="<f4").astype(np.float32).reshape(len(held), columns)
    if not np.isfinite(vectors).all():
        raise damaged(catalogue, f"{what} hold what is no finite number")
    return vectors


def pack_vector(values: Float32[np.ndarray, " values"]) -> bytes:
    """Give a vector as it is stored."""
    return values.astype("<f4").tobytes()


def check_kinds(catalogue: Path, row: Row, kinds: Sequence[Kind], what: str) -> Row:
    """Give a row back if each of its values is of its kind.

    Raises:
        CatalogueError: One is not.
    """
    if not all(map(isinstance, row, kinds)):
        wrong = next(value for value, kind in zip(row, kinds, strict=True) if not isinstance(value, kind))
        raise damaged(catalogue, f"what it keeps of {what} holds {_shown(wrong)}, which no scan wrote there")
    return row


def is_number(value: object) -> bool:
    """Say whether a value is a finite number, or nothing."""
    return value is None or (isinstance(value, (int, float)) and math.isfinite(value))


def _read_list(stored: object) -> list[Any] | None:
    try:
        value = json.loads(stored) if isinstance(stored, str) else None
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _shown(stored: object) -> str:
    text = repr(stored)
    return text if len(text) <= 40 else f"{text[:40]}..."
