"""The owner's own words for those of a model, or somebody else's."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path

from moodbook.errors import DataError
from moodbook.vocabularies import VOCABULARIES, translate

MOST_CHARACTERS = 100
"""Of a word of the owner's own."""


def read_words(source: str | Path, tags: Iterable[str]) -> dict[str, str]:
    """Read a TOML file that maps words of a model to words of the owner, or take a vocabulary by name.

    Args:
        source: A file of lines such as ``dark = "gloomy"``; an empty word drops the model's. Or the name of a
            vocabulary (`moodbook.vocabularies`), which comes before a file of that name (``./allmusic`` is the file):
            words that it has none for are dropped.
        tags: The words that the model knows.

    Raises:
        DataError: The file cannot be read, names a word that the model does not know, or maps to what is no word; or
            the vocabulary has none of the words.
    """
    known = list(tags)
    if isinstance(source, str) and source in VOCABULARIES:
        return translate(known, source)
    path = Path(source)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"cannot read the words {str(path)!r}: {error.strerror}. Name a file, or a vocabulary: "
            f"{', '.join(VOCABULARIES)}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f'{str(path)!r} is no TOML file of lines like dark = "gloomy": {error}') from error
    for word, own in document.items():
        if word not in known:
            raise DataError(f"{str(path)!r}: the model does not know {word!r}; it knows {', '.join(known)}")
        if not isinstance(own, str) or not own.isprintable() or len(own) > MOST_CHARACTERS:
            raise DataError(
                f'{str(path)!r}: expected a word of up to {MOST_CHARACTERS} characters for {word!r}, or "" to drop it, '
                f"got {own!r:.120}"
            )
    return {word: own.strip() for word, own in document.items()}
