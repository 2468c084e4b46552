"""The catalogue as a table for other programs: CSV, JSON lines or Parquet, one row a recording."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from moodbook.errors import DataError, DependencyError
from moodbook.files import whole_file
from moodbook.library.search import Track
from moodbook.model.writers import check_suffix
from moodbook.tags import TagSet

SUFFIXES = (".csv", ".jsonl", ".parquet")
"""Endings of a file name that say which format to write."""


def check_table(path: str | Path) -> str:
    """Give the ending of a table, which chooses its format, if that can be written here.

    Raises:
        DataError: It is none of `SUFFIXES`.
        DependencyError: It needs pyarrow, which is not installed.
    """
    suffix = check_suffix(path, SUFFIXES)
    if suffix == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise DependencyError("pyarrow", "parquet") from error
    return suffix


def export(path: Path, tracks: list[Track], tags: TagSet) -> None:
    """Write tracks to a file that appears complete, or not at all.

    Args:
        path: Its ending chooses the format.
        tracks: The rows.
        tags: The model's tags: the columns.

    Raises:
        DataError: The ending is unknown, or the file cannot be written.
        DependencyError: It needs pyarrow, which is not installed.
    """
    suffix = check_table(path)
    try:
        with whole_file(path) as part:
            if suffix == ".parquet":
                _write_parquet(part, tracks, tags)
                return
            with part.open("w", encoding="utf-8", newline="") as stream:
                if suffix == ".csv":
                    write_csv(stream, tracks, tags)
                else:
                    write_json_lines(stream, tracks)
    except OSError as error:
        raise DataError(f"cannot write '{path}': {error.strerror or error}; choose another place") from error


def write_json_lines(stream: TextIO, tracks: Iterable[Track]) -> None:
    """Write one JSON object a line."""
    for track in tracks:
        stream.write(json.dumps(track.to_dict(), ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(stream: TextIO, tracks: Iterable[Track], tags: TagSet) -> None:
    """Write a header and one row a track; several values in a field are joined with ";"."""
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(_row_names(tags))
    for track in tracks:
        rows.writerow(
            ["" if value is None else ";".join(value) if isinstance(value, list) else value for value in _row(track)]
        )


def _write_parquet(path: Path, tracks: list[Track], tags: TagSet) -> None:
    import pyarrow as pa
    import pyarrow.parquet

    text, texts = pa.string(), pa.list_(pa.string())
    kinds = {"decided": texts, "moods": texts, "duration_seconds": pa.float64(), "music": pa.float64()}
    names = _row_names(tags)
    schema = pa.schema([(name, pa.float64() if name.startswith("tag:") else kinds.get(name, text)) for name in names])
    rows = [dict(zip(names, _row(track), strict=True)) for track in tracks]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), path)


_OWN = ("payload_sha256", "artist", "title", "album", "moods", "duration_seconds", "music", "decided", "model")
"""Columns beside those of the path and the tags, in order; keys of a track's record."""


def _row_names(tags: TagSet) -> list[str]:
    # A tag may be called like a column of ours; a prefix keeps the names apart.
    return ["path", "path_bytes", *_OWN, *(f"tag:{tag}" for tag in tags)]


def _row(track: Track) -> list[Any]:
    record = track.to_dict()
    values = [record[name] for name in _OWN]
    return [record["path"], record.get("path_bytes", ""), *values, *record["probabilities"].values()]
