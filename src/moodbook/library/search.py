"""Queries answered: which recordings of a catalogue meet a condition, in which order."""

from __future__ import annotations

import math
import os
import sqlite3
import struct
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any, NamedTuple

from moodbook.errors import CatalogueError, DataError
from moodbook.library.catalogue import Catalogue
from moodbook.library.known_model import Model
from moodbook.library.query import And, Comparison, Decided, Length, Not, Or, Query, Score, Text, TextField, parse_query
from moodbook.library.stored import check_kinds, damaged, is_number, read_texts
from moodbook.model.presence import MUSIC
from moodbook.model.scores import DECIMALS, path_fields

SORTS = ("rank", "path", "artist", "title", "album", "length")
"""What results can be sorted by, beside a tag."""

_PARAMETERS_AT_A_TIME = 500  # Old SQLite takes 999 in a statement.
_FLOAT32 = struct.Struct("<f")
# Nothing that a user has typed ever becomes SQL: only these pieces, and numbers for the parameters.
_COLUMNS: dict[TextField, str] = {
    "path": "path_text(file.path)",
    "artist": "file.artist",
    "title": "file.title",
    "album": "file.album",
    "mood": "file.moods",
}
_COMPARISONS: dict[Comparison, str] = {">": ">", ">=": ">=", "<": "<", "<=": "<=", "=": "=", "!=": "<>"}


@dataclass(frozen=True)
class Track:
    """A recording of the catalogue.

    Attributes:
        path: A file that holds it; the first by name of those that met the condition.
        payload_id: Its row in the catalogue.
        payload_sha256: What names the music.
        artist: As the file says.
        title: As the file says.
        album: As the file says.
        moods: That stand in the file.
        duration_seconds: None where it is not known.
        music: Probability that it is music at all; None where the model cannot tell.
        decided: Tags that the model decided for; none where it is no music.
        probabilities: By tag, in the order of the model.
        model: The model's name.
        rank: What it was ranked by, 0 to 1; None where nothing ranks.
    """

    path: Path
    payload_id: int
    payload_sha256: str
    artist: str
    title: str
    album: str
    moods: tuple[str, ...]
    duration_seconds: float | None
    music: float | None
    decided: tuple[str, ...]
    probabilities: dict[str, float]
    model: str
    rank: float | None

    def to_dict(self) -> dict[str, Any]:
        """Give the record that is written as JSON."""
        return {
            **path_fields(self.path),
            "payload_sha256": self.payload_sha256,
            "artist": self.artist,
            "title": self.title,
            "album": self.album,
            "moods": list(self.moods),
            "duration_seconds": None if self.duration_seconds is None else round(self.duration_seconds, DECIMALS),
            "music": None if self.music is None else round(self.music, DECIMALS),
            "decided": list(self.decided),
            "probabilities": {tag: round(value, DECIMALS) for tag, value in self.probabilities.items()},
            "model": self.model,
            "rank": None if self.rank is None else round(self.rank, DECIMALS),
        }


def search(
    catalogue: Catalogue,
    query: str | Query,
    *,
    model: Model | None = None,
    sort: str = "rank",
    reverse: bool = False,
    limit: int | None = None,
) -> list[Track]:
    """Find the recordings that meet a query; each once, however many files hold it. Missing files are left out.

    Args:
        catalogue: Where.
        query: Text, see `moodbook.library.query`, or parsed.
        model: Whose scores; None takes the model that scanned last.
        sort: "rank" (the mean score of the tags that are asked for, best first), another of `SORTS`, or a tag (highest
            first).
        reverse: The other way round.
        limit: How many at most.

    Raises:
        QueryError: The query cannot be understood.
        DataError: There is nothing such to sort by.
        CatalogueError: The catalogue is empty or cannot be read.
    """
    model = catalogue.find_model() if model is None else model
    if isinstance(query, str):
        query = parse_query(query, model.tags)
    names = (*SORTS, *model.tags)
    if sort not in names:  # A tag "Length" is still a tag.
        sort = next((name for name in names if name.casefold() == sort.casefold()), sort)
    if sort not in names:
        raise DataError(
            f"cannot sort by {sort!r}; sort by one of {', '.join(SORTS)}, or a tag: {', '.join(model.tags)}"
        )
    condition = _Condition(model)
    where = condition.sql(query)
    ranking = [sort] if sort in model.tags else sorted(set(wanted_tags(query)))
    # Sorted before they become tracks: of a large library few are wanted.
    rows = sorted(
        _rows(catalogue, model, where, condition.parameters, ranking),
        key=lambda row: _sort_key(row, sort),
        reverse=reverse,
    )
    return [_track(row, model) for row in rows[:limit]]


def track_of_file(catalogue: Catalogue, model: Model, path: Path) -> Track | None:
    """Give the recording that a file of the catalogue holds; None where the file is not there, missing or unheard."""
    return _first(catalogue, model, "file.path = ?", os.fsencode(path))


def track_of_payload(catalogue: Catalogue, model: Model, payload_sha256: str) -> Track | None:
    """Give a recording by its hash; None where no file that is there holds it, or the model has not heard it."""
    return _first(catalogue, model, "payload.sha256 = ?", payload_sha256)


def tracks_of_payloads(catalogue: Catalogue, model: Model, payload_ids: Sequence[int]) -> list[Track]:
    """Give recordings by their rows, in the same order."""
    by_id: dict[int, Track] = {}
    for start in range(0, len(payload_ids), _PARAMETERS_AT_A_TIME):
        part = payload_ids[start : start + _PARAMETERS_AT_A_TIME]
        marks = ", ".join("?" * len(part))
        for row in _rows(catalogue, model, f"payload.id IN ({marks})", list(part), []):
            by_id[row.payload_id] = _track(row, model)
    return [by_id[payload] for payload in payload_ids if payload in by_id]


def wanted_tags(query: Query, wanted: bool = True) -> Iterator[str]:
    """Name the tags that a query asks for, not those that it wants absent or low."""
    if isinstance(query, Decided):
        yield from [query.tag] if wanted else []
    elif isinstance(query, Score):
        yield from [query.tag] if wanted == (query.comparison in (">", ">=", "=")) else []
    elif isinstance(query, Not):
        yield from wanted_tags(query.part, not wanted)
    elif isinstance(query, (And, Or)):
        for part in query.parts:
            yield from wanted_tags(part, wanted)


class _Row(NamedTuple):
    """A recording as the catalogue gives it."""

    path: bytes
    payload_id: int
    payload_sha256: str
    artist: str
    title: str
    album: str
    moods: str
    duration_seconds: float | None
    music: float | None
    probabilities: bytes
    rank: float | None


_KINDS = (bytes, int, str, str, str, str, str, (int, float, NoneType), (int, float, NoneType), bytes)
"""What each column of a row must be, as SQLite gives it; the rank is ours."""


def _first(catalogue: Catalogue, model: Model, where: str, parameter: object) -> Track | None:
    row = next(_rows(catalogue, model, where, [parameter], []), None)
    return None if row is None else _track(row, model)


def _rows(
    catalogue: Catalogue, model: Model, where: str, parameters: Sequence[object], ranking: Sequence[str]
) -> Iterator[_Row]:
    places = [_FLOAT32.size * model.tags.column(tag) for tag in ranking]
    with catalogue.reading() as connection:
        refusals = _add_functions(connection, model)
        # With min() SQLite gives the other columns of the same row. `where` is made of the pieces above alone.
        statement = f"""
            SELECT min(file.path), payload.id, payload.sha256, file.artist, file.title, file.album, file.moods,
                payload.duration_seconds, analysis.music, analysis.probabilities
            FROM file JOIN payload ON payload.id = file.payload_id
            JOIN analysis ON analysis.payload_id = payload.id AND analysis.model_id = ?
            WHERE file.missing_since IS NULL AND {where} GROUP BY payload.id
        """  # noqa: S608
        for row in connection.execute(statement, (model.id, *parameters)):
            if refusals:
                break
            _check(catalogue, model, row)
            values = [_FLOAT32.unpack_from(row[-1], place)[0] for place in places]
            rank = math.fsum(values) / len(values) if values else None
            yield _Row._make((*row, rank))
        if refusals:
            raise refusals[0]


def _check(catalogue: Catalogue, model: Model, row: tuple[Any, ...]) -> None:
    """Check that a row is what a scan writes.

    Raises:
        CatalogueError: It is not.
    """
    check_kinds(catalogue.path, row, _KINDS, "a recording")
    seconds, music, probabilities = row[-3:]
    if not is_number(seconds) or not is_number(music):
        raise damaged(catalogue.path, f"the length of recording {row[1]}, or whether it is music, is no number")
    if len(probabilities) != _FLOAT32.size * len(model.tags):
        model.scores([probabilities])


def _track(row: _Row, model: Model) -> Track:
    strengths = model.strengths(row.probabilities, row.music)
    return Track(
        path=Path(os.fsdecode(row.path)),
        payload_id=row.payload_id,
        payload_sha256=row.payload_sha256,
        artist=row.artist,
        title=row.title,
        album=row.album,
        moods=read_texts(model.catalogue, row.moods, f"the moods of recording {row.payload_id}"),
        duration_seconds=row.duration_seconds,
        music=row.music,
        decided=tuple(strength.tag for strength in strengths if strength.decided),
        probabilities={strength.tag: strength.probability for strength in strengths},
        model=model.name,
        rank=row.rank,
    )


def _sort_key(row: _Row, sort: str) -> tuple[Any, ...]:
    if sort == "path":
        return (row.path,)
    if sort == "length":
        return (math.inf if row.duration_seconds is None else row.duration_seconds, row.path)
    if sort in ("artist", "title", "album"):
        text = {"artist": row.artist, "title": row.title, "album": row.album}[sort]
        return (not text, fold(text), row.path)
    return (0.0 if row.rank is None else -row.rank, row.path)


class _Condition:
    """A query as an SQL expression with parameters.

    Args:
        model: Whose columns and thresholds.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self.parameters: list[object] = []

    def sql(self, query: Query) -> str:
        """Give the expression, and note its parameters in order."""
        if isinstance(query, Decided):
            score = self._score(query.tag, ">", self._model.thresholds[self._model.tags.column(query.tag)])
            self.parameters.append(MUSIC)
            return f"({score} AND coalesce(analysis.music >= ?, 1))"
        if isinstance(query, Score):
            return self._score(query.tag, query.comparison, query.value)
        if isinstance(query, Length):
            self.parameters.append(query.seconds)
            return f"coalesce(payload.duration_seconds {_COMPARISONS[query.comparison]} ?, 0)"
        if isinstance(query, Text):
            self.parameters += [fold(typed_text(query.text)), query.whole]
            return f"{'list_matches' if query.field == 'mood' else 'text_matches'}({_COLUMNS[query.field]}, ?, ?)"
        if isinstance(query, Not):
            return f"NOT {self.sql(query.part)}"
        parts = [self.sql(part) for part in query.parts]
        if not parts:
            return "1"
        return "(" + (" AND " if isinstance(query, And) else " OR ").join(parts) + ")"

    def _score(self, tag: str, comparison: Comparison, value: float) -> str:
        self.parameters += [self._model.tags.column(tag), value]
        return f"(score(analysis.probabilities, ?) {_COMPARISONS[comparison]} ?)"


def fold(text: str) -> str:
    """Give a text as it is compared: without case, and accents in one spelling."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def name_text(name: bytes) -> str:
    r"""Give the name of a file as text, each byte that is no UTF-8 as ``\xNN``."""
    return name.decode("utf-8", "backslashreplace")


def typed_text(text: str) -> str:
    """Give a text that a user typed as names are compared: its bytes, too, may be no UTF-8."""
    return name_text(b"".join(_bytes(sign) for sign in text))


def _bytes(sign: str) -> bytes:
    return sign.encode("utf-8", "surrogateescape" if "\udc80" <= sign <= "\udcff" else "backslashreplace")


def _add_functions(connection: sqlite3.Connection, model: Model) -> list[CatalogueError]:
    """Add what the pieces of SQL call; what they refuse comes into the list, and SQLite gets NULL.

    An error must not pass through SQLite: it loses what was said, and prints it where another program in the process
    (beets) has asked for tracebacks.
    """
    refusals: list[CatalogueError] = []
    size = _FLOAT32.size * len(model.tags)

    def score(packed: object, column: int) -> float:
        if not isinstance(packed, bytes) or len(packed) != size:
            model.scores([packed])
        value: float = _FLOAT32.unpack_from(packed, _FLOAT32.size * column)[0]  # type: ignore[arg-type]
        return value

    def matches(text: object, wanted: str, whole: int) -> bool:
        if not isinstance(text, str):
            raise damaged(model.catalogue, f"the artist, title or album of a file is {text!r}, no text")
        folded = fold(text)
        return folded == wanted if whole else wanted in folded

    def list_matches(texts: object, wanted: str, whole: int) -> bool:
        return any(matches(text, wanted, whole) for text in read_texts(model.catalogue, texts, "the moods of a file"))

    def path_text(name: object) -> str:
        if not isinstance(name, bytes):
            raise damaged(model.catalogue, f"the name of a file is {name!r}, no bytes")
        return name_text(name)

    def kept(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*values: object) -> Any:
            try:
                return function(*values)
            except CatalogueError as error:
                refusals.append(error)
                return None

        return called

    connection.create_function("score", 2, kept(score), deterministic=True)
    connection.create_function("text_matches", 3, kept(matches), deterministic=True)
    connection.create_function("list_matches", 3, kept(list_matches), deterministic=True)
    connection.create_function("path_text", 1, kept(path_text), deterministic=True)
    return refusals
