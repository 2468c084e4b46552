"""The words of the bundled model in those of others.

A word stands for another's where it is the same word, else a form of it, else one that a dictionary gives for it; what
has none is left out. The pairs are chosen by their names alone. That two people mean the same music by a word does not
follow: `benchmarks/words.py` measures the pairs of `allmusic` (docs/results.md).

Source:
    MediaEval 2019, Emotion and Theme Recognition in Music Using Jamendo: its 56 tags. AllMusic's moods, which players
    such as Kodi fetch, as Panda et al. list them: Novel Audio Features for Music Emotion Recognition, 2018.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from moodbook.errors import DataError

VOCABULARIES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "mediaeval": {
            "action": "action",
            "calming": "calm",
            "dark": "dark",
            "driving": "energetic",
            "epic": "epic",
            "grooving": "groovy",
            "humorous": "funny",
            "relaxed": "relaxing",
            "uplifting": "uplifting",
        },
        "allmusic": {
            "aggressive": "aggressive",
            "bouncy": "lively",
            "bright": "bright",
            "calming": "calm",
            "dark": "gloomy",
            "driving": "energetic",
            "eerie": "eerie",
            "epic": "epic",
            "humorous": "humorous",
            "intense": "intense",
            "mysterious": "enigmatic",
            "mystical": "mystical",
            "relaxed": "relaxed",
            "unnerving": "unsettling",
            "uplifting": "uplifting",
        },
    }
)
"""By name: the model's word, and the other's for it."""


def translate(tags: Iterable[str], vocabulary: str) -> dict[str, str]:
    """Give each tag's word in a vocabulary, itself where it is in it; "" for one that has none there.

    Raises:
        DataError: None of the tags has one.
    """
    words = VOCABULARIES[vocabulary]
    translated = {tag: tag if tag in words.values() else words.get(tag, "") for tag in tags}
    if not any(translated.values()):
        raise DataError(
            f"none of the words {', '.join(translated)} has a counterpart in the vocabulary '{vocabulary}'; these have "
            f"one: {', '.join(words)}"
        )
    return translated


def meant(word: str) -> str | None:
    """Give the model's word for one of another vocabulary; None where it is in none, or is the model's own."""
    for words in VOCABULARIES.values():
        for tag, other in words.items():
            if other == word != tag:
                return tag
    return None
