"""Open a data set by name, by index or by folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moodbook.datasets.dataset import Dataset
from moodbook.datasets.immich import IMMICH
from moodbook.datasets.index import read_folder, read_index
from moodbook.datasets.jamendo import JAMENDO_SOURCES
from moodbook.datasets.macleod import MACLEOD
from moodbook.datasets.magnatagatune import MAGNATAGATUNE
from moodbook.datasets.msd import MSD
from moodbook.datasets.open_collection import OPEN
from moodbook.datasets.places import data_root
from moodbook.datasets.source import Source
from moodbook.datasets.speech import SPEECH
from moodbook.datasets.splits import assign_splits
from moodbook.errors import DataError
from moodbook.files import is_folder, is_there
from moodbook.tags import TagSet

SOURCES: Mapping[str, Source] = {
    source.name: source for source in (IMMICH, MACLEOD, *JAMENDO_SOURCES, MAGNATAGATUNE, MSD, OPEN, SPEECH)
}
"""The data sets that have a name."""

INDEX_NAMES = ("index.csv", "tracks.csv")
"""A folder that holds one of these is read by it, not by the names of its sub-folders."""


@dataclass(frozen=True)
class NamedSet:
    """A name as the user writes it, taken apart: ``jamendo-moodtheme:2`` is variant 2 of ``jamendo-moodtheme``."""

    source: Source
    variant: str


def open_dataset(
    name_or_path: str | Path,
    audio_root: str | Path | None = None,
    *,
    seed: int = 0,
    tags: TagSet | None = None,
    min_tracks: int = 0,
    test_fold: int | None = None,
) -> Dataset:
    """Open a data set; every track of the result has a split.

    Args:
        name_or_path: A name (``immich``, ``macleod``, ``jamendo-moodtheme``, ..., with a variant of its published
            splits after a colon: ``magnatagatune:clean``), an index (CSV), or a folder whose sub-folders name the
            tags (or that holds index.csv or tracks.csv).
        audio_root: For a name: the folder of the data set, default ``$MOODBOOK_DATA/NAME`` or the user's data folder.
            For an index: the folder its paths start from, default its own.
        seed: Seed of the splits that are made where the data set brings none.
        tags: The tag axis of an index or folder; default: the tags that occur, sorted.
        min_tracks: Leave out tags with fewer tracks (see `Dataset.with_min_tracks`).
        test_fold: For an index with a column ``fold``: take the splits from it (see `read_index`).

    Raises:
        DataError: There is no such data set, it was not fetched, or it is not in order.
    """
    dataset = read_dataset(name_or_path, audio_root, tags=tags, test_fold=test_fold).with_min_tracks(min_tracks)
    if any(track.split is None for track in dataset.tracks):
        dataset = assign_splits(dataset, seed)
    return dataset


def read_dataset(
    name_or_path: str | Path,
    audio_root: str | Path | None = None,
    *,
    tags: TagSet | None = None,
    test_fold: int | None = None,
) -> Dataset:
    """Open a data set as it is: where it brings no splits, its tracks have none.

    Args:
        name_or_path: As in `open_dataset`.
        audio_root: As in `open_dataset`.
        tags: As in `open_dataset`.
        test_fold: As in `open_dataset`.

    Raises:
        DataError: As in `open_dataset`.
    """
    named = find_source(str(name_or_path))
    if named is None:
        return _open_path(Path(name_or_path), audio_root, tags, test_fold)
    if tags is not None or test_fold is not None:
        raise DataError(
            f"data set '{name_or_path}' brings its own tags and splits; leave tags and test_fold out"
            + (f", or choose one of its variants: {_variants(named.source)}" if named.source.variants else "")
        )
    return _open_named(named, audio_root)


def find_source(name: str) -> NamedSet | None:
    """Find a named data set and its variant; None if no data set has that name.

    Raises:
        DataError: The data set has no such variant.
    """
    base, colon, variant = name.partition(":")
    source = SOURCES.get(base)
    if source is None:
        return None
    if not colon:
        return NamedSet(source, source.variants[0] if source.variants else "")
    if variant not in source.variants:
        offered = f"its variants are: {_variants(source)}" if source.variants else "it has no variants"
        raise DataError(f"data set '{base}' has no variant {variant!r}; {offered}")
    return NamedSet(source, variant)


def folder_of(source: Source, folder: str | Path | None = None) -> Path:
    """Give the folder of a named data set: the one given, or the one below the data root."""
    return Path(folder) if folder is not None else data_root() / source.folder


def _open_named(named: NamedSet, audio_root: str | Path | None) -> Dataset:
    source = named.source
    folder = folder_of(source, audio_root)
    if not source.present(folder):
        remedy = source.remedy.format(name=source.name, folder=folder)
        raise DataError(f"data set '{source.name}' is not in '{folder}'; {remedy}")
    return source.open(folder, named.variant)


def _open_path(path: Path, audio_root: str | Path | None, tags: TagSet | None, test_fold: int | None) -> Dataset:
    if is_folder(path):
        index = next((path / name for name in INDEX_NAMES if (path / name).is_file()), None)
        if index is not None:
            return read_index(index, audio_root, tags=tags, test_fold=test_fold, name=path.resolve().name)
        if audio_root is not None or test_fold is not None:
            raise DataError(f"'{path}' is read by its folder names; an audio root or a fold needs an index (CSV)")
        return read_folder(path, tags=tags)
    if is_there(path):
        return read_index(path, audio_root, tags=tags, test_fold=test_fold)
    raise DataError(
        f"there is no data set '{path}'; name one of {', '.join(SOURCES)}, an index (CSV), or a folder with one "
        "sub-folder a tag"
    )


def _variants(source: Source) -> str:
    return ", ".join(f"{source.name}:{variant}" for variant in source.variants)
