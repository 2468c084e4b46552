"""The words of others: each stands for one word of the bundled model, and is one of theirs."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from moodbook.errors import DataError
from moodbook.model.bundle import read_bundle
from moodbook.vocabularies import VOCABULARIES, meant, translate


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
def test_each_stands_for_one_word_of_the_bundled_model(vocabulary: str) -> None:
    words = VOCABULARIES[vocabulary]
    assert words.keys() <= set(read_bundle("open").tags)
    assert len(set(words.values())) == len(words)


def test_words_without_one_are_left_out() -> None:
    assert translate(("calming", "eerie"), "mediaeval") == {"calming": "calm", "eerie": ""}
    assert translate(("calm", "funny", "sofa"), "mediaeval") == {"calm": "calm", "funny": "funny", "sofa": ""}
    with pytest.raises(DataError, match="none of the words eerie has a counterpart in the vocabulary 'mediaeval'; "):
        translate(("eerie",), "mediaeval")


def test_what_is_meant_by_a_word_of_others() -> None:
    assert meant("gloomy") == "dark"
    assert meant("funny") == "humorous"
    assert meant("dark") is None  # The model's own.
    assert meant("brunch") is None


def test_they_are_words_of_the_others(shared_data: Path) -> None:
    listed = (shared_data / "mediaeval2019" / "official" / "moodtheme.txt").read_text(encoding="utf-8").splitlines()
    assert set(VOCABULARIES["mediaeval"].values()) <= {line.removeprefix("mood/theme---").strip() for line in listed}
    with (shared_data / "taffc4q" / "tracks.csv").open(encoding="utf-8", newline="") as lines:
        moods = {mood for row in csv.DictReader(lines) for mood in row["tags"].split(";")}
    assert set(VOCABULARIES["allmusic"].values()) <= moods
