"""Suggestions as a file to fill in: a table of tracks with a question mark where the owner's words go."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from moodbook.library.personal.sources import UNANSWERED
from moodbook.library.personal.suggest import Suggestion
from moodbook.outputs import Format, output_file

_COLUMNS = ["path", "words", "in doubt"]


def write_questions(path: Path, suggestions: Sequence[Suggestion], *, force: bool = False) -> None:
    """Write the tracks whose words are asked for.

    Args:
        path: Where to, ending in .csv.
        suggestions: The tracks.
        force: Replace any table, also one with answers.

    Raises:
        DataError: The ending is another, the file must not be replaced, or it cannot be written.
    """
    with (
        output_file(path, FORMATS, force=force) as part,
        # Names of files may be no UTF-8; they stay the bytes that they are.
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for suggestion in suggestions:
            doubts = " ".join(f"{word} {probability:.2f}" for word, probability in suggestion.doubts)
            rows.writerow([suggestion.track.path, UNANSWERED, doubts])


def _is_unanswered(path: Path) -> bool:
    """Whether a file holds our questions and no answer yet: an answer is the owner's work."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        try:
            return next(rows) == _COLUMNS and all(len(row) == len(_COLUMNS) and row[1] == UNANSWERED for row in rows)
        except csv.Error:
            return False


FORMATS = (Format(".csv", "a list of unanswered questions", _is_unanswered),)
"""What questions are written as."""
