"""immich-memories-music: 28 short pieces in five moods, in a wheel that any machine can install.

Machine-made music; the label is the prompt it was made from. Large enough to prove that every stage works, too small to
score on.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from moodbook.datasets.dataset import Dataset
from moodbook.datasets.index import read_folder
from moodbook.datasets.source import Source
from moodbook.errors import DataError
from moodbook.tags import TagSet

MOODS = ("calm", "energetic", "happy", "nostalgic", "tender")
TRACKS = 28
REQUIREMENT = "immich-memories-music==0.1.0"
WHEEL_SHA256 = "1b702f617250ed8ffe3dc2bba4d2105f842b6d5da08e8ff9a10110f54b7bd06a"


def open_immich(folder: Path, variant: str = "") -> Dataset:
    """Read the set: one folder a mood; it has no published splits.

    Raises:
        DataError: A file is missing or there is one too many.
    """
    del variant
    dataset = read_folder(folder, tags=TagSet(MOODS), name=IMMICH.name)
    if len(dataset) != TRACKS:
        raise DataError(f"'{folder}' holds {len(dataset)} tracks, expected {TRACKS}; fetch the data set again")
    return replace(dataset, licence=IMMICH.licence, citation=IMMICH.citation)


IMMICH = Source(
    name="immich",
    folder="immich",
    tracks=TRACKS,
    hours=0.24,
    licence="MIT",
    use="prove that training and tagging work; train and redistribute; too small to score on",
    citation="immich-memories-music 0.1.0, Immich Memories Contributors (made with ACE-Step 1.5), MIT.",
    variants=(),
    open=open_immich,
    present=lambda folder: all((folder / mood).is_dir() for mood in MOODS),
)
