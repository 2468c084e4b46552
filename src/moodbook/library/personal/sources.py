"""Where the owner's words stand already: playlists, folders, a CSV file, moods in the files."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from moodbook import audio
from moodbook.errors import AudioError, DataError, TagError, UnsupportedTagsError
from moodbook.files import is_folder, is_there
from moodbook.library.catalogue import Catalogue
from moodbook.library.filetags.apply import read_runs, undone_files
from moodbook.library.filetags.fields import Fields, moods, scores
from moodbook.library.filetags.rewrite import read_fields
from moodbook.library.filetags.words import MOST_CHARACTERS
from moodbook.library.playlist import read_m3u8
from moodbook.library.scan import absolute
from moodbook.model.scores import TagFailure

UNANSWERED = "?"
"""What stands for the words of a track that nobody has listened to yet; such a row says nothing."""
SEPARATOR = ";"
"""Between the words of a track in a CSV file."""
PLAYLISTS = (".m3u8", ".m3u")
_UNTOLD = (
    "Moodbook has written into its mood, and the journal does not tell which words. Name those of yours in a CSV file."
)


@dataclass(frozen=True)
class Statement:
    """What the owner says about a file: it has these of the words, and no other one.

    Attributes:
        path: The file.
        words: Its words; none is a statement too.
    """

    path: Path
    words: tuple[str, ...]


@dataclass(frozen=True)
class MoodsFound:
    """What the moods that stand in files say.

    Attributes:
        statements: The owner's words.
        written: How many files have no words but Moodbook's.
        unclear: Files of which it cannot be told whose words they have, and why.
    """

    statements: list[Statement]
    written: int
    unclear: list[TagFailure]


def read_source(source: str) -> list[Statement]:
    """Read the owner's words for files from a place that a user names.

    Args:
        source: A playlist (.m3u8, .m3u), whose name is the word; a folder, whose sub-folders' names are the words; a
            CSV file with the columns path and words; or ``WORD=PLACE``, which gives the word to all of a playlist or
            folder.

    Raises:
        DataError: It cannot be read, holds nothing, or a word cannot be one.
    """
    word, mark, place = source.partition("=")
    named = bool(mark) and not is_there(source)
    if not (place if named else source):  # To the system it would be the working folder.
        raise DataError(
            f"{source!r} names no place; give a playlist, a folder or a CSV file, or WORD=PLAYLIST, WORD=FOLDER"
        )
    path = Path(place if named else source).expanduser()
    if not is_there(path):
        raise DataError(f"there is no '{path}'; name a playlist (.m3u8), a folder, a CSV file, or WORD=PLACE")
    if is_folder(path):
        statements = _of_folder(path, word) if named else _of_folders(path)
    elif path.suffix.lower() in PLAYLISTS:
        statements = [Statement(file, (word if named else path.stem,)) for file in read_m3u8(path)]
    elif path.suffix.lower() == ".csv" and not named:
        statements = list(_of_csv(path))
    else:
        wanted = f"a folder or {', '.join(PLAYLISTS)}" if named else f"a folder, {', '.join(PLAYLISTS)} or .csv"
        raise DataError(f"cannot take words from '{path}': expected {wanted}")
    if not statements:
        hint = ""
        if is_folder(path) and not named:
            hint = f"; its folders' names would be the words. For one word for all of it: WORD='{path}'"
        elif path.suffix.lower() in PLAYLISTS:
            hint = "; what it names on the network is left out"
        raise DataError(f"'{path}' names no music, so nothing can be learned from it{hint}")
    return [Statement(found.path, tuple(check_word(word, path) for word in found.words)) for found in statements]


def check_word(word: str, where: object) -> str:
    """Give a word without the spaces around it.

    Raises:
        DataError: It is empty, too long, or holds what no search could ask for.
    """
    clean = word.strip()
    if clean == UNANSWERED:
        raise DataError(f"'{where}': {UNANSWERED!r} stands beside words; take it away, or leave it alone there")
    if not clean or len(clean) > MOST_CHARACTERS or not clean.isprintable() or SEPARATOR in clean:
        raise DataError(
            f"'{where}': {word!r:.120} is no word; take 1 to {MOST_CHARACTERS} characters, without {SEPARATOR!r}"
        )
    return clean


def read_moods(catalogue: Catalogue, journals: Path) -> MoodsFound:
    """Take the moods that stand in the files of the catalogue as the owner's words.

    Words that Moodbook has written would teach a model its own words again. A file that holds its scores has them; the
    journal tells them from the owner's.

    Args:
        catalogue: Whose files.
        journals: The folder of the journals of what was written.

    Raises:
        CatalogueError: It cannot be read.
        JournalError: The folder cannot be listed.
    """
    statements: list[Statement] = []
    unclear: list[TagFailure] = []
    written = 0
    put = _WordsPut(journals)
    for path, sha256, held in catalogue.files_with_moods():
        words = [word for word in _words(held) if word not in ("", UNANSWERED)]
        if not words:
            continue  # A field without a word says nothing, not that none of them fits.
        try:
            fields = read_fields(path)
        except UnsupportedTagsError:
            fields = {}  # Moodbook writes no tags of this kind.
        except (AudioError, TagError) as error:
            unclear.append(TagFailure(path, error.reason))
            continue
        if scores(fields) is not None:
            theirs = put.into(path, sha256, fields)
            if theirs is None:
                unclear.append(TagFailure(path, _UNTOLD))
                continue
            words = [word for word in words if word.casefold() not in theirs]
            written += not words
        if words:
            statements.append(Statement(path, tuple(word[:MOST_CHARACTERS] for word in words)))
    return MoodsFound(statements, written, unclear)


class _WordsPut:
    """The words that Moodbook put into files, as journals tell it; of damaged journals, none.

    Args:
        journals: Their folder.
    """

    def __init__(self, journals: Path) -> None:
        runs, damaged = read_runs(journals)
        undone = undone_files(runs)
        self._by_music: defaultdict[str, set[str]] = defaultdict(set)
        self._by_file: defaultdict[tuple[Path, str], set[str]] = defaultdict(set)
        self._last: dict[tuple[Path, str], Fields] = {}
        self._untold: set[str] = set()  # Music into which something was put that no journal here tells of.
        for run in () if damaged else runs:
            for entry in run.entries if run.command == "write" else ():
                task = entry.task
                before, after = (
                    {word.casefold() for word in _words(moods(side))} for side in (task.before, task.after)
                )
                if scores(task.before) is not None and task.payload not in self._by_music:
                    self._untold.add(task.payload)
                self._by_music[task.payload] |= after - before
                if task.path not in undone[run.name]:
                    file = absolute(task.path), task.payload
                    self._by_file[file] |= after - before
                    self._last[file] = task.after

    def into(self, path: Path, sha256: str, held: Fields) -> set[str] | None:
        """Give the words, in lower case, that were put into a file; None where no journal tells.

        A file that is as it was written has the words that were put under its name and not taken out by undoing. Any
        other one may be a copy of another file with this music, from before an undoing too, or have its name.
        """
        if sha256 not in self._by_music or sha256 in self._untold:
            return None
        file = path, sha256
        return self._by_file[file] if self._last.get(file) == held else self._by_music[sha256]


def _words(found: Iterable[str]) -> list[str]:
    """Give the words of moods, each once; many programs write several into one value."""
    return list(dict.fromkeys(word.strip() for mood in found for word in mood.split(SEPARATOR)))


def _of_folder(folder: Path, word: str) -> list[Statement]:
    return [Statement(path, (word,)) for path in _files(folder)]


def _of_folders(folder: Path) -> list[Statement]:
    return [
        Statement(path, (path.relative_to(folder).parts[0],))
        for path in _files(folder)
        if len(path.relative_to(folder).parts) > 1
    ]


def _files(folder: Path) -> Iterable[Path]:
    # What cannot be listed is not in the catalogue either: the scan has said so.
    return audio.find([folder], on_error=lambda _: None)


def _of_csv(path: Path) -> Iterator[Statement]:
    try:
        # Names of files may be no UTF-8; they come back as the bytes that they are.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file)
            if not {"path", "words"} <= set(rows.fieldnames or ()):
                raise DataError(f"'{path}' lacks the columns path and words; its first line must name them")
            for row in rows:
                name, words = row["path"], row["words"]
                if not name or words is None or "\0" in name:
                    raise DataError(f"'{path}', line {rows.line_num}: expected a path and words, got {row!r:.200}")
                if words.strip() != UNANSWERED:
                    listed = tuple(word for word in words.split(SEPARATOR) if word.strip())
                    yield Statement(path.parent / name, listed)
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror or error}") from error
    except csv.Error as error:
        raise DataError(f"'{path}' is no CSV file: {error}") from error
