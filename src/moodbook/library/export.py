"""The catalogue as a table for other programs: CSV, JSON lines or Parquet, one row a recording."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from moodbook.errors import DependencyError
from moodbook.library.search import Track
from moodbook.outputs import Format, begins, check_output, first_line, output_file
from moodbook.tags import TagSet

_OWN = ("payload_sha256", "artist", "title", "album", "moods", "duration_seconds", "music", "decided", "model")
"""Columns beside those of the path and the tags, in order; keys of a track's record."""
_PATH = ("path", "path_bytes")
"""Columns of the path, before all others."""


def check_table(path: str | Path, *, force: bool = False) -> str:
    """Give the ending of a table, which chooses its format, if that can be written here.

    Raises:
        DataError: It is none of `FORMATS`, or something must not be replaced.
        DependencyError: It needs pyarrow, which is not installed.
    """
    if Path(path).suffix.lower() == ".parquet":
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise DependencyError("pyarrow", "parquet") from error
    return check_output(path, FORMATS, force=force)


def export(path: Path, tracks: list[Track], tags: TagSet, *, force: bool = False) -> None:
    """Write tracks to a file that appears complete, or not at all.

    Args:
        path: Its ending chooses the format.
        tracks: The rows.
        tags: The model's tags: the columns.
        force: Replace a file that is no such table.

    Raises:
        DataError: The ending is unknown, the file must not be replaced, or it cannot be written.
        DependencyError: It needs pyarrow, which is not installed.
    """
    suffix = check_table(path, force=force)
    with output_file(path, FORMATS, force=force) as part:
        if suffix == ".parquet":
            _write_parquet(part, tracks, tags)
            return
        with part.open("w", encoding="utf-8", newline="") as stream:
            if suffix == ".csv":
                write_csv(stream, tracks, tags)
            else:
                write_json_lines(stream, tracks)


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


def _row_names(tags: TagSet) -> list[str]:
    # A tag may be called like a column of ours; a prefix keeps the names apart.
    return [*_PATH, *_OWN, *(f"tag:{tag}" for tag in tags)]


def _row(track: Track) -> list[Any]:
    record = track.to_dict()
    values = [record[name] for name in _OWN]
    return [record["path"], record.get("path_bytes", ""), *values, *record["probabilities"].values()]


def _is_json_lines(path: Path) -> bool:
    try:
        record = json.loads(first_line(path))
    except ValueError:
        return False
    return isinstance(record, dict) and {"path", *_OWN} <= record.keys()


def _is_parquet(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(path).names
    except pa.ArrowInvalid:
        return False
    return bool(names[: len(_PATH + _OWN)] == [*_PATH, *_OWN])


_KIND = "a table of the catalogue"
FORMATS = (
    Format(".csv", _KIND, begins(",".join(_PATH + _OWN))),
    Format(".jsonl", _KIND, _is_json_lines),
    Format(".parquet", _KIND, _is_parquet),
)
"""What the catalogue can be written as."""
