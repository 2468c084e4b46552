"""The fields that Moodbook reads and writes, whatever the container calls them.

Two of them: the mood, a list of plain words that other programs read, and the scores behind it, in a namespace of
Moodbook's own. A field is kept under the very name that it has in the file (``TMOO``, ``TXXX:mood``, ``mood``), so that
what was there before can be put back exactly.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from moodbook.errors import TagError

SCORES = "MOODBOOK_SCORES"
"""Name of the field with the scores, in every container."""

Fields = dict[str, list[str]]
"""Values by the name of the field in the file; a field that is not there has no entry."""

Others = Counter[tuple[str, str]]
"""Name and hash of everything in a file that is neither audio nor one of the fields."""

_ID3V1_BYTES = 128
_BLOCK_BYTES = 1 << 20
_MOST_CHARACTERS = 1 << 16  # Of all words of a mood; nobody's are a tenth as long.


@dataclass(frozen=True)
class FieldNames:
    """What the two fields are called in one file.

    Attributes:
        mood: Where programs look for the mood.
        scores: Where Moodbook keeps its scores.
    """

    mood: str
    scores: str


@runtime_checkable
class TagFormat(Protocol):
    """How one kind of file holds its tags. Every method may raise what mutagen raises; `typed_errors` types it."""

    def names(self, path: Path) -> FieldNames:
        """Say what the fields are called in this file."""

    def read(self, path: Path) -> Fields:
        """Read the fields."""

    def write(self, path: Path, fields: Fields) -> None:
        """Replace the fields by these, in place. Only ever called on a copy."""

    def others(self, path: Path) -> Others:
        """Tell everything else that must be in the file before and after."""

    def owns(self, name: str) -> bool:
        """Whether a field of this name is one of the two; no other is ever written."""


def is_scores(name: str) -> bool:
    """Whether a field holds scores."""
    return name.upper().endswith(SCORES)


def moods(fields: Mapping[str, list[str]]) -> list[str]:
    """Give the words of the mood, each once; they may stand in several fields."""
    words = [word for name, values in fields.items() if not is_scores(name) for word in values]
    return list(dict.fromkeys(word for word in words if word.strip()))


def scores(fields: Mapping[str, list[str]]) -> str | None:
    """Give the field of the scores as it stands in the file."""
    return next((values[0] for name, values in fields.items() if is_scores(name) and values), None)


def unreadable(path: Path, name: str) -> TagError:
    """Give the error of a field that is there and cannot be read: nobody knows what writing would take away."""
    return TagError(path, f"its field {name!r} cannot be read as text. Correct or remove it with a tag editor first.")


def check_length(path: Path, words: Iterable[str]) -> None:
    """Refuse a mood that is too long to be words: it would stand in plans, previews and journals.

    Raises:
        TagError: It is.
    """
    length = sum(map(len, words))
    if length > _MOST_CHARACTERS:
        raise TagError(
            path, f"its mood is a text of {length:,} characters. Shorten or remove it with a tag editor first."
        )


def text_hash(data: bytes) -> str:
    """Hash something short."""
    return hashlib.sha256(data).hexdigest()


def range_hash(file: BinaryIO, start: int, end: int) -> str:
    """Hash the bytes of a file from `start` to `end`, or to its end if that comes first."""
    digest = hashlib.sha256()
    file.seek(start)
    while start < end and (data := file.read(min(_BLOCK_BYTES, end - start))):
        digest.update(data)
        start += len(data)
    return digest.hexdigest()


@contextmanager
def without_id3v1(path: Path) -> Iterator[None]:
    """Take the ID3v1 tag off the end of a file and hang the same bytes on again: mutagen would rewrite or drop it."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _ID3V1_BYTES))
        tag = file.read()
        has_tag = len(tag) == _ID3V1_BYTES and tag.startswith(b"TAG")
        if has_tag:
            file.truncate(size - _ID3V1_BYTES)
    yield
    if has_tag:
        with path.open("ab") as file:
            file.write(tag)
