"""Kevin MacLeod's music with the composer's own 19 feels.

Moodbook does not fetch it: the user names a folder with the index ``tracks.csv`` (columns track_id, path, tags, fold,
group, ...) and the audio that it names. Folds keep pieces that belong together (`group`) on one side.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from moodbook.datasets.dataset import Dataset
from moodbook.datasets.index import read_index
from moodbook.datasets.source import Source

INDEX = "tracks.csv"


def open_macleod(folder: Path, variant: str = "0") -> Dataset:
    """Read the set; the fold named by `variant` is test, the next one validation, the rest train.

    Raises:
        DataError: The index is missing or wrong.
    """
    dataset = read_index(folder / INDEX, test_fold=int(variant), name=MACLEOD.name)
    return replace(dataset, licence=MACLEOD.licence, citation=MACLEOD.citation)


MACLEOD = Source(
    name="macleod",
    folder="macleod",
    tracks=153,
    hours=2.5,
    licence="CC BY 3.0 (music and the composer's tags)",
    use="train, publish models and redistribute, with credit to Kevin MacLeod (incompetech.com)",
    citation="Kevin MacLeod, incompetech.com. Licensed under Creative Commons: By Attribution 3.0.",
    variants=("0", "1", "2", "3", "4"),
    open=open_macleod,
    present=lambda folder: (folder / INDEX).is_file(),
    remedy=(
        "put its index tracks.csv and its audio there, or name the folder that holds them "
        "(--audio DIR); Moodbook does not fetch it"
    ),
)
