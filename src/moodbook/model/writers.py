"""Records of tagged files, as JSON lines or CSV; to a stream as they come, or to a file that appears when complete."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol, TextIO, runtime_checkable

from moodbook.errors import DataError
from moodbook.files import link_target, part_beside, place
from moodbook.model.scores import TagFailure, TagScores
from moodbook.outputs import Format, begins, check_output, first_line
from moodbook.tags import TagSet

_OWN_COLUMNS = ("path", "error", "duration_seconds", "padded", "decided")
"""Columns of a CSV table before those of the tags."""


@runtime_checkable
class RecordWriter(Protocol):
    """Takes the results of tagging, one at a time."""

    def write(self, result: TagScores | TagFailure) -> None:
        """Write one record."""


class JsonLinesWriter:
    """One JSON object a line, UTF-8, the same bytes for the same music and model.

    Args:
        stream: Where to.
        top: Keep only so many tags of each track; None keeps all.
    """

    def __init__(self, stream: TextIO, top: int | None = None) -> None:
        self._stream = stream
        self._top = top

    def write(self, result: TagScores | TagFailure) -> None:
        """Write one record and flush it, so that a reader sees it at once."""
        record = result.to_dict(self._top) if isinstance(result, TagScores) else result.to_dict()
        self._stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        self._stream.flush()


class CsvWriter:
    """One row a file: path, error, what was decided, and a column for each tag's probability.

    Args:
        stream: Where to.
        tags: The tags of the model: the columns.
        top: Fill only the columns of so many tags of each track; None fills all.
    """

    def __init__(self, stream: TextIO, tags: TagSet, top: int | None = None) -> None:
        self._top = top
        self._rows = csv.writer(stream, lineterminator="\n")
        self._names = tags.names
        # A tag may be called like a column of ours; a prefix keeps the names apart.
        columns = (f"tag:{name}" for name in self._names)
        self._rows.writerow([*_OWN_COLUMNS, *columns])

    def write(self, result: TagScores | TagFailure) -> None:
        """Write one row."""
        record = result.to_dict(self._top) if isinstance(result, TagScores) else result.to_dict()
        probabilities = record.get("probabilities", {})
        self._rows.writerow(
            [
                record["path"],
                record.get("error", ""),
                record.get("duration_seconds", ""),
                record.get("padded", ""),
                ";".join(record.get("decided", [])),
                *(probabilities.get(name, "") for name in self._names),
            ]
        )


def _is_ours(path: Path) -> bool:
    try:
        record = json.loads(first_line(path))
    except ValueError:
        return False
    return isinstance(record, dict) and "path" in record and ("error" in record or "taggram" in record)


_KIND = "a table of tagged files"
FORMATS = (Format(".jsonl", _KIND, _is_ours), Format(".csv", _KIND, begins(",".join(_OWN_COLUMNS))))
"""What records can be written as."""


@contextmanager
def open_writer(
    path: str | Path, tags: TagSet, top: int | None = None, *, force: bool = False
) -> Iterator[RecordWriter]:
    """Write records to a file that appears under its name complete and on disk, or not at all.

    Until then they stand in a hidden part beside it; see `moodbook.files`.

    Args:
        path: Where to; its ending, .jsonl or .csv, chooses the format.
        tags: The tags of the model.
        top: Keep only so many tags of each track; None keeps all.
        force: Replace a file that is no table of this kind.

    Raises:
        DataError: The ending is unknown, the file must not be replaced, or it cannot be written.
    """
    target = Path(path)
    suffix = check_output(target, FORMATS, force=force)
    real = link_target(target)
    with ExitStack() as stack:
        with _errors_name(target):
            draft = stack.enter_context(part_beside(real))
            stream = draft.open("w", encoding="utf-8", newline="")
        try:
            with _errors_name(target):
                writer = JsonLinesWriter(stream, top) if suffix == ".jsonl" else CsvWriter(stream, tags, top)
            yield _FileWriter(writer, target)
            with _errors_name(target):
                stream.flush()
        finally:
            # A full disk refuses again what it refused before, in words that name no file.
            with suppress(OSError):
                stream.close()
        with _errors_name(target):
            place(draft, real)


class _FileWriter:
    """A writer whose failures name the file that they belong to."""

    def __init__(self, writer: RecordWriter, target: Path) -> None:
        self._writer = writer
        self._target = target

    def write(self, result: TagScores | TagFailure) -> None:
        with _errors_name(self._target):
            self._writer.write(result)


@contextmanager
def _errors_name(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write '{target}': {error.strerror or error}") from error
