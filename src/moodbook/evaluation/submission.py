"""Read what a system handed in, and put it into the rows and columns of the ground truth.

Arrays come as npy (never a pickle), CSV or TSV. A table in text has a header of tag names and, in its first column, the
track id; then rows and columns find their place by name. A bare npy has neither: its rows and columns are taken by
position, and the audit says so.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Shaped

from moodbook.errors import DataError, UnscorableError
from moodbook.evaluation.findings import wrong_shape
from moodbook.tags import TagSet

DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
ID_HEADERS = ("track_id", "track", "id")
"""Headers of the column that names the track, in any case."""


@dataclass(frozen=True)
class Table:
    """An array as a file gives it."""

    path: Path
    values: np.ndarray
    """Numbers or bool of any shape; `align` checks it."""
    track_ids: tuple[str, ...] | None = None
    """Track of each row; None where rows are known by position only."""
    tags: TagSet | None = None
    """Tag of each column; None where columns are known by position only."""


@dataclass(frozen=True)
class TrackList:
    """The tracks of a part of a data set, in order, with what the list says about them."""

    path: Path
    track_ids: tuple[str, ...]
    artists: tuple[str, ...] | None = None
    durations_seconds: tuple[float, ...] | None = None
    tags: tuple[tuple[str, ...], ...] | None = None
    paths: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.track_ids)

    def ground_truth(self, tags: TagSet) -> Bool[np.ndarray, "tracks tags"]:
        """Mark which tracks have which of `tags`; tags of the list outside them are left out.

        Raises:
            DataError: The list holds no tags.
        """
        if self.tags is None:
            raise DataError(f"the track list '{self.path}' holds no tags, so it is no ground truth")
        truth = np.zeros((len(self), len(tags)), dtype=bool)
        column = {name: k for k, name in enumerate(tags)}
        for row, names in enumerate(self.tags):
            truth[row, [column[name] for name in names if name in column]] = True
        return truth


def read_table(path: str | Path) -> Table:
    """Read a matrix from npy, CSV or TSV.

    Raises:
        DataError: The file is missing, of another kind, damaged, or holds something that is no number.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return Table(path, _read_npy(path))
    if suffix not in DELIMITERS:
        raise DataError(f"'{path}': expected a file ending in .npy, .csv or .tsv")
    rows = read_rows(path)
    header = [_tag_name(cell) for cell in rows[0]]
    # pandas writes an index without a name: a column without a header, before the others.
    keyed = header[0].lower() in ID_HEADERS or (not header[0] and len(header) > 1)
    names = header[1:] if keyed else header
    if len(header) == 1 and any(delimiter in header[0] for delimiter in ",;\t"):
        separator = "tabs" if DELIMITERS[suffix] == "\t" else "commas"
        raise DataError(f"'{path}': expected fields separated by {separator}, got the line {rows[0][0][:60]!r}")
    # Without a header the first column may still be track ids.
    if not names or (not keyed and all(_is_number(name) for name in names[1:] or names)):
        raise DataError(
            f"'{path}': expected a header line with tag names (track_id,happy,sad), got {','.join(rows[0])[:60]!r}"
        )
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise DataError(f"'{path}', line {number}: expected {len(header)} fields as in the header, got {len(row)}")
    values = np.array([_numbers(path, number, row[keyed:]) for number, row in enumerate(rows[1:], start=2)])
    try:
        tags = TagSet(tuple(names))
    except DataError as error:
        raise DataError(f"'{path}', header: {error}") from error
    track_ids = _distinct(path, [row[0].strip() for row in rows[1:]]) if keyed else None
    if not header[0] and track_ids == tuple(str(row) for row in range(len(rows) - 1)):
        raise DataError(
            f"'{path}': the first column has no name and counts the rows from 0, as the index that pandas writes; put "
            "the track ids there under the header track_id, or leave it out (index=False)"
        )
    return Table(path, values.reshape(len(rows) - 1, len(names)), track_ids, tags)


def read_track_list(path: str | Path) -> TrackList:
    """Read a list of tracks: an official TSV, a CSV or TSV with a column ``track_id``, or one id a line.

    The official lists end their lines with CR LF and have as many trailing columns as the track has tags. A column
    ``tags`` of other tables holds the tags joined by ``;``; ``artist`` or ``group`` names the artist.

    Raises:
        DataError: The file cannot be read, a line is incomplete, or a track stands twice.
    """
    path = Path(path)
    rows = read_rows(path)
    header = [cell.strip().lower() for cell in rows[0]]
    if "track_id" not in header:
        if any(len(row) > 1 for row in rows):
            raise DataError(f"'{path}': expected a column 'track_id', got the header {', '.join(rows[0])[:80]!r}")
        if header[0] in ID_HEADERS:
            del rows[0]
        return TrackList(path, _distinct(path, [row[0].strip() for row in rows]))
    official = header[-1] == "tags" and path.suffix.lower() == ".tsv" and "path" in header
    body = rows[1:]
    for number, row in enumerate(body, start=2):
        if len(row) < len(header) or (len(row) > len(header) and not official):
            raise DataError(f"'{path}', line {number}: expected {len(header)} fields as in the header, got {len(row)}")

    def column(*names: str) -> tuple[str, ...] | None:
        for name in names:
            if name in header:
                return tuple(row[header.index(name)].strip() for row in body)
        return None

    tags: tuple[tuple[str, ...], ...] | None = None
    if "tags" in header:
        first = header.index("tags")
        cells = [row[first:] if official else row[first].split(";") for row in body]
        tags = tuple(tuple(_tag_name(cell) for cell in row if cell.strip()) for row in cells)
    durations = column("duration", "duration_seconds")
    track_ids = _distinct(path, list(column("track_id") or ()))
    artists = column("artist_id", "artist", "group")
    return TrackList(
        path,
        track_ids,
        # A track of unknown artist stands alone; one empty name for all of them would make them one artist.
        artists=None if artists is None else tuple(a or f"track {t}" for a, t in zip(artists, track_ids, strict=True)),
        durations_seconds=None if durations is None else _durations(path, durations),
        tags=tags,
        paths=column("path"),
    )


def to_bool(table: Table, what: str) -> Table:
    """Turn a table of 0 and 1 into bool.

    Raises:
        DataError: A value is neither 0 nor 1.
    """
    values = table.values
    if values.dtype != np.bool_:
        other = ~np.isin(values, (0, 1))
        if other.any():
            raise DataError(
                f"{what} '{table.path}': expected only 0 and 1, got {values[other][0]:g} and {int(other.sum()) - 1} "
                "more of that kind; probabilities belong to --predictions"
            )
    return Table(table.path, values.astype(bool), table.track_ids, table.tags)


def to_float(table: Table) -> Table:
    """Turn a table into float64, which holds every float32 exactly."""
    return Table(table.path, table.values.astype(np.float64), table.track_ids, table.tags)


def align(
    table: Table, tags: TagSet, track_ids: Sequence[str] | None, rows: int, what: str
) -> Shaped[np.ndarray, "tracks tags"]:
    """Put a table into the rows and columns of the ground truth, by name wherever the table has names.

    Args:
        table: What was read.
        tags: The columns wanted.
        track_ids: The rows wanted; None where the ground truth is not keyed by track.
        rows: How many rows are wanted.
        what: What the table is, for messages.

    Raises:
        DataError: Tracks or tags are missing or unexpected.
        UnscorableError: The shape does not fit.
    """
    values = table.values
    where = f"{what} '{table.path}'"
    if values.ndim != 2:
        raise UnscorableError({where: [wrong_shape((rows, len(tags)), values.shape).to_json()]})
    if table.tags is not None:
        try:
            values = tags.align(values, table.tags)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    if table.track_ids is not None and track_ids is not None:
        values = values[_rows_of(table.track_ids, track_ids, where)]
    elif table.track_ids is not None:
        raise DataError(
            f"{where} names its tracks, but the ground truth does not: give the track list of the ground truth "
            "(--tracks), or a ground truth that names its tracks, so that the rows can be matched"
        )
    if values.shape != (rows, len(tags)):
        raise UnscorableError({where: [wrong_shape((rows, len(tags)), values.shape).to_json()]})
    return values


def read_artists(path: str | Path, track_ids: Sequence[str] | None) -> tuple[str, ...]:
    """Read the artist of each track from a CSV or TSV with the columns ``track_id`` and ``artist``.

    Raises:
        DataError: The file has no artists, the ground truth is not keyed by track, or a track is missing.
    """
    listed = read_track_list(path)
    if listed.artists is None:
        raise DataError(f"'{path}': expected a column 'artist', 'artist_id' or 'group' beside 'track_id'")
    if track_ids is None:
        raise DataError("artists are given by track, but the ground truth names no tracks: give --tracks")
    artist = dict(zip(listed.track_ids, listed.artists, strict=True))
    missing = [track for track in track_ids if track not in artist]
    if missing:
        raise DataError(f"'{path}' lacks the artist of {len(missing)} tracks, for example {missing[0]!r}")
    return tuple(artist[track] for track in track_ids)


def mean_of(arrays: Sequence[Float[np.ndarray, "tracks tags"]]) -> Float[np.ndarray, "tracks tags"]:
    """Average the predictions of several systems: the plain ensemble."""
    mean: np.ndarray = np.mean(np.stack(arrays), axis=0)
    return mean


def _rows_of(given: Sequence[str], wanted: Sequence[str], where: str) -> list[int]:
    place = {track: row for row, track in enumerate(given)}
    missing = [track for track in wanted if track not in place]
    extra = sorted(set(given) - set(wanted))
    if missing or extra:
        raise DataError(
            f"{where}: expected {len(wanted)} tracks, got {len(given)}; {len(missing)} missing"
            f"{f' (for example {missing[0]!r})' if missing else ''}, {len(extra)} unexpected"
            f"{f' (for example {extra[0]!r})' if extra else ''}"
        )
    return [place[track] for track in wanted]


def _read_npy(path: Path) -> np.ndarray:
    try:
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise DataError(f"'{path}' is no npy file; save the array with numpy.save")
        # Mapped, not read: a header that promises more than the file holds is refused before memory is taken.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        array = np.array(mapped)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, OverflowError, MemoryError) as error:
        raise DataError(f"cannot read '{path}': {str(error) or type(error).__name__}") from error
    if array.dtype.kind not in "biuf":
        raise DataError(f"'{path}': expected an array of numbers or bool, got {array.dtype}")
    return array


def read_rows(path: Path) -> list[list[str]]:
    """Read a text table as lists of fields; blank lines are passed over.

    Raises:
        DataError: The file cannot be read as text, is malformed or empty.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, delimiter=DELIMITERS.get(path.suffix.lower(), "\t"), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read '{path}': {error}") from error
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if not rows:
        raise DataError(f"'{path}' is empty")
    return rows


def _numbers(path: Path, number: int, cells: list[str]) -> list[float]:
    words = {"true": 1.0, "false": 0.0}
    try:
        return [words[cell.strip().lower()] if cell.strip().lower() in words else float(cell) for cell in cells]
    except ValueError as error:
        raise DataError(f"'{path}', line {number}: expected a number in every field; {error}") from None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", text.strip().lower()) is not None


def _tag_name(cell: str) -> str:
    return cell.strip().split("---")[-1]


def _durations(path: Path, cells: tuple[str, ...]) -> tuple[float, ...]:
    try:
        return tuple(float(cell) for cell in cells)
    except ValueError as error:
        raise DataError(f"'{path}': expected durations in seconds; {error}") from None


def _distinct(path: Path, track_ids: list[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    for track in track_ids:
        if not track:
            raise DataError(f"'{path}': a track id is empty")
        if track in seen:
            raise DataError(f"'{path}': track {track!r} stands twice; give every track once")
        seen.add(track)
    return tuple(track_ids)
