"""Read an index: a CSV of tracks, or a folder whose sub-folders name the tags."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from moodbook import audio
from moodbook.datasets.dataset import SPLITS, Dataset, Split, Track, tag_set_of
from moodbook.errors import DataError
from moodbook.tags import TagSet

REQUIRED_COLUMNS = ("track_id", "path", "tags")
TAG_SEPARATOR = ";"


@dataclass(frozen=True)
class Row:
    """One record of a delimited text file.

    Args:
        line: The line on which it begins, counted from 1.
        fields: Its values by column name, without surrounding blanks.
    """

    line: int
    fields: Mapping[str, str]


def read_index(
    csv_path: str | Path,
    audio_root: str | Path | None = None,
    *,
    tags: TagSet | None = None,
    test_fold: int | None = None,
    name: str | None = None,
) -> Dataset:
    """Read an index ``track_id,path,tags[,split,group]``; further columns are ignored.

    Tags are joined by ``;``. Paths are relative to the audio root and stay inside it. UTF-8, with or without a byte
    order mark, LF or CRLF.

    Args:
        csv_path: The index.
        audio_root: The folder that the paths start from; default: the folder of the index.
        tags: The tag axis; default: the tags that occur, sorted.
        test_fold: Take the splits from the column ``fold`` instead: this fold is test, the next one (in numerical
            order, after the last comes the first) validation, all others train.
        name: Name of the data set; default: the file name.

    Raises:
        DataError: The file cannot be read or a line is wrong; the message names the file, the line and the remedy.
    """
    csv_path = Path(csv_path)
    root = Path(audio_root) if audio_root is not None else csv_path.parent
    required = (*REQUIRED_COLUMNS, "fold") if test_fold is not None else REQUIRED_COLUMNS
    tracks: list[Track] = []
    folds: list[int] = []
    line_of: dict[str, int] = {}
    for row in read_rows(csv_path, required):
        where = f"{csv_path}, line {row.line}"
        track_id = row.fields["track_id"]
        if not track_id:
            raise DataError(f"{where}: the track_id is empty; give every track an id of its own")
        if track_id in line_of:
            raise DataError(
                f"{where}: track_id {track_id!r} stands on line {line_of[track_id]} already; "
                "give every track an id of its own"
            )
        line_of[track_id] = row.line
        split: Split | None = None
        if test_fold is not None:
            folds.append(_fold(row.fields["fold"], where))
        elif "split" in row.fields:
            split = _split(row.fields["split"], where)
        tracks.append(
            Track(
                track_id=track_id,
                path=resolve_inside(root, row.fields["path"], where),
                tags=_tags(row.fields["tags"]),
                split=split,
                group=row.fields.get("group") or None,
            )
        )
    if not tracks:
        raise DataError(f"{csv_path}: there is a header and no track; write one track a line below it")
    if test_fold is not None:
        tracks = _split_by_fold(tracks, folds, test_fold, csv_path)
    return Dataset(
        name=name or csv_path.stem,
        tracks=tuple(tracks),
        tags=tags if tags is not None else tag_set_of(tracks),
    )


def read_folder(path: str | Path, *, tags: TagSet | None = None, name: str | None = None) -> Dataset:
    """Read a folder whose sub-folders name the tags: ``calm/one.mp3`` has the tag ``calm``.

    Audio files are found at any depth below a tag's folder. A track's id is its path below `path`, with ``/``. Files
    beside the tag folders have no tag and are refused; so are links, which would be followed out of the folder.

    Raises:
        DataError: It is no folder, holds no audio or links, or has audio files outside any tag's folder.
    """
    root = Path(path)
    if not root.is_dir():
        raise DataError(f"'{root}' is no folder; give a folder with one sub-folder a tag, or an index (CSV)")
    tracks = []
    for found in audio.find([root], on_link=_refuse_link):
        below = Path(os.path.relpath(found, root))
        if len(below.parts) < 2:
            raise DataError(
                f"'{found}' lies beside the tag folders and would have no tag; move it into the folder of its tag, "
                "or write an index (CSV)"
            )
        tracks.append(Track(track_id=below.as_posix(), path=Path(found), tags=(below.parts[0],)))
    if not tracks:
        raise DataError(f"'{root}' holds no audio file; put the files into one sub-folder a tag")
    tracks.sort(key=lambda track: track.track_id)
    return Dataset(
        name=name or root.resolve().name,
        tracks=tuple(tracks),
        tags=tags if tags is not None else tag_set_of(tracks),
    )


def _refuse_link(path: Path) -> None:
    raise DataError(
        f"'{path}' is a link; links below a folder are not followed, so its music would be left out: put the files "
        "themselves there, or write an index (CSV)"
    )


def read_rows(path: Path, required: tuple[str, ...], delimiter: str = ",") -> Iterator[Row]:
    """Read a delimited text file with a header, row by row, with line numbers.

    Raises:
        DataError: The file cannot be read, is not UTF-8, has no header, lacks a required column, names a column twice,
            or has a row with another number of fields than its header.
    """
    text = read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] | None = None
    begins = 1
    try:
        for values in reader:
            line, begins = begins, reader.line_num + 1
            if not any(value.strip() for value in values):
                continue
            if header is None:
                header = _header(values, required, path, line)
                continue
            if len(values) != len(header):
                raise DataError(
                    f"{path}, line {line}: {len(values)} fields, expected {len(header)} as in the header; "
                    "put quotes around a value that holds the separator"
                )
            yield Row(line, dict(zip(header, (value.strip() for value in values), strict=True)))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV ({error}); check its quotes") from error
    if header is None:
        raise DataError(f"{path}: the file is empty; its first line must name the columns {', '.join(required)}")


def read_text(path: Path) -> str:
    """Read a UTF-8 text, without its byte order mark.

    Raises:
        DataError: It cannot be read, is not UTF-8 or holds a NUL character; the message names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 (byte 0x{content[error.start]:02x}); save the file as UTF-8"
        ) from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(f"{path}, line {line}: a NUL character; save the file as UTF-8 text")
    return text


def resolve_inside(root: Path, relative: str, where: str) -> Path:
    """Join a path of an index to its root.

    Raises:
        DataError: The path is empty, absolute, or leads out of the root.
    """
    if not relative:
        raise DataError(f"{where}: the path is empty; name the audio file, relative to '{root}'")
    pure = PurePosixPath(relative)
    if pure.is_absolute() or PureWindowsPath(relative).drive or relative.startswith("\\"):
        raise DataError(f"{where}: the path {relative!r} is absolute; write it relative to the audio root '{root}'")
    inside = os.path.normpath(relative)
    if inside.split(os.sep, 1)[0] == os.pardir or inside == os.curdir:
        raise DataError(
            f"{where}: the path {relative!r} leads out of the audio root '{root}'; name a higher root (--audio DIR)"
        )
    return root / inside


def _header(values: list[str], required: tuple[str, ...], path: Path, line: int) -> list[str]:
    header = [value.strip() for value in values]
    missing = [column for column in required if column not in header]
    if missing:
        raise DataError(
            f"{path}, line {line}: no column {', '.join(map(repr, missing))}; the header must name "
            f"{', '.join(required)}, got {', '.join(header)}"
        )
    for column in header:
        if column and header.count(column) > 1:
            raise DataError(f"{path}, line {line}: the column {column!r} stands twice; name every column once")
    return header


def _tags(text: str) -> tuple[str, ...]:
    """Take a cell of tags apart; a tag that stands twice counts once (published lists have such cells)."""
    return tuple(dict.fromkeys(tag for tag in (part.strip() for part in text.split(TAG_SEPARATOR)) if tag))


def _split(value: str, where: str) -> Split:
    for split in SPLITS:
        if value == split:
            return split
    raise DataError(
        f"{where}: unknown split {value!r}; write one of {', '.join(SPLITS)} on every line, "
        "or leave the column out to have splits made"
    )


def _fold(value: str, where: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise DataError(f"{where}: the fold {value!r} is no number; number the folds from 0")
    return int(value)


def _split_by_fold(tracks: list[Track], folds: list[int], test_fold: int, path: Path) -> list[Track]:
    known = sorted(set(folds))
    if len(known) < 3:
        raise DataError(f"{path}: {len(known)} folds; three are needed for train, validation and test")
    if test_fold not in known:
        raise DataError(f"{path}: no fold {test_fold}; the folds are {', '.join(map(str, known))}")
    validation_fold = known[(known.index(test_fold) + 1) % len(known)]
    split_of: dict[int, Split] = {test_fold: "test", validation_fold: "validation"}
    return [
        Track(track.track_id, track.path, track.tags, split_of.get(fold, "train"), track.group)
        for track, fold in zip(tracks, folds, strict=True)
    ]
