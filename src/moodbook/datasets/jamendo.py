"""MTG-Jamendo: full tracks with genre, instrument and mood/theme tags; the data of MediaEval 2019.

The lists are TSV files with CRLF line ends and a variable number of trailing tag columns (``mood/theme---happy``). They
are read from the layout of the data set's own repository (``data/splits/split-0/autotagging_moodtheme-train.tsv``) or
side by side in one folder (``autotagging_moodtheme-split0-train.tsv``). Audio lies in ``audio/NN/ID.mp3`` (full
quality) or ``audio-low/NN/ID.low.mp3`` below the same folder, or in ``NN/`` directly.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moodbook.datasets.dataset import SPLITS, Dataset, Split, Track, tag_set_of
from moodbook.datasets.index import read_text
from moodbook.datasets.source import Source
from moodbook.errors import DataError
from moodbook.tags import TagSet, read_tags

HEADER = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")
FOLDER = "mtg-jamendo"
PUBLISHED_SPLITS = ("0", "1", "2", "3", "4")
_PATH = re.compile(r"[0-9]{2}/[0-9]+\.mp3")
_SAMPLED_TRACKS = 100

LICENCE = "audio: a Creative Commons licence for each track (audio_licenses.txt); lists and tags: CC BY-NC-SA 4.0"
USE = "research; the tags are non-commercial and share-alike, so is what is derived from them"
CITATION = (
    "Bogdanov, Won, Tovstogan, Porter, Serra: The MTG-Jamendo Dataset for Automatic Music Tagging. "
    "Machine Learning for Music Discovery Workshop, ICML 2019."
)


@dataclass(frozen=True)
class Subset:
    """One family of lists.

    Args:
        lists: How its list files begin.
        archives: The set of archives that holds its audio.
        tag_list: The file of its tag axis, below ``data/tags``; None: the tags that occur, sorted.
    """

    lists: str
    archives: str
    tag_list: str | None

    def list_path(self, variant: str, split: Split) -> str:
        """Give the path of a list in the data set's repository."""
        return f"data/splits/split-{variant}/{self.lists}-{split}.tsv"


SUBSETS: Mapping[str, Subset] = {
    "jamendo-moodtheme": Subset("autotagging_moodtheme", "autotagging_moodtheme", "moodtheme_split.txt"),
    "jamendo-genre": Subset("autotagging_genre", "raw_30s", None),
    "jamendo-instrument": Subset("autotagging_instrument", "raw_30s", None),
    "jamendo-top50": Subset("autotagging_top50tags", "raw_30s", "top50.txt"),
}


def read_split_lists(
    lists: Mapping[Split, Path],
    audio_folder: Path,
    *,
    tags: TagSet | None = None,
    name: str = "jamendo",
) -> Dataset:
    """Read one list a split.

    Args:
        lists: The list of each split.
        audio_folder: Folder of the audio; the quality that is there is found out (see the module).
        tags: The tag axis; default: the tags that occur, sorted.
        name: Name of the data set.

    Raises:
        DataError: A list cannot be read, a line is wrong, a track stands twice, or a tag is not on the axis.
    """
    paths: list[str] = []
    rows: list[tuple[Split, list[str], tuple[str, ...]]] = []
    seen: dict[str, str] = {}
    for split, path in lists.items():
        for line, fields in _read_list(path):
            where = f"{path}, line {line}"
            track_id = fields[0]
            if track_id in seen:
                raise DataError(
                    f"{where}: track {track_id!r} stands in {seen[track_id]} already; fetch the lists again"
                )
            seen[track_id] = where
            if not _PATH.fullmatch(fields[3]):
                raise DataError(f"{where}: the path {fields[3]!r} is not NN/ID.mp3; fetch the lists again")
            names = tuple(dict.fromkeys(tag.split("---")[-1] for tag in fields[5:] if tag))
            unknown = [tag for tag in names if tags is not None and tag not in tags]
            if unknown:
                raise DataError(f"{where}: the tag {unknown[0]!r} is not in the tag list; fetch the lists again")
            paths.append(fields[3])
            rows.append((split, fields, names))
    audio = _AudioLayout.found_in(audio_folder, paths)
    tracks = tuple(Track(fields[0], audio.path(fields[3]), names, split, fields[1]) for split, fields, names in rows)
    return Dataset(name, tracks, tags if tags is not None else tag_set_of(tracks), LICENCE, CITATION)


def open_jamendo(folder: Path, variant: str, *, name: str) -> Dataset:
    """Read one of the four subsets in one of its five published splits.

    Raises:
        DataError: A list is missing or wrong.
    """
    subset = SUBSETS[name]
    tags = None
    if subset.tag_list is not None:
        beside, in_repository = folder / subset.tag_list, folder / "data" / "tags" / subset.tag_list
        tags = read_tags(in_repository if in_repository.is_file() else beside)
    lists = {split: _find_list(folder, subset, variant, split) for split in SPLITS}
    return read_split_lists(lists, folder, tags=tags, name=name)


def has_lists(folder: Path, *, name: str) -> bool:
    """Tell whether the lists of split 0 are there."""
    return all(_find_list(folder, SUBSETS[name], "0", split).is_file() for split in SPLITS)


@dataclass(frozen=True)
class _AudioLayout:
    root: Path
    suffix: str

    def path(self, listed: str) -> Path:
        return self.root / (listed.removesuffix(".mp3") + self.suffix)

    @classmethod
    def found_in(cls, folder: Path, listed: list[str]) -> _AudioLayout:
        """Choose the layout that holds most of a sample of the tracks; full quality if none does or on a tie."""
        layouts = [
            cls(folder / "audio", ".mp3"),
            cls(folder / "audio-low", ".low.mp3"),
            cls(folder, ".mp3"),
            cls(folder, ".low.mp3"),
        ]
        sample = listed[:: max(1, len(listed) // _SAMPLED_TRACKS)]
        return max(layouts, key=lambda layout: sum(layout.path(path).is_file() for path in sample))


def _find_list(folder: Path, subset: Subset, variant: str, split: Split) -> Path:
    beside = folder / f"{subset.lists}-split{variant}-{split}.tsv"
    return beside if beside.is_file() else folder / subset.list_path(variant, split)


def _read_list(path: Path) -> list[tuple[int, list[str]]]:
    lines = read_text(path).split("\n")
    header = lines[0].rstrip("\r").split("\t")
    if tuple(header) != HEADER:
        raise DataError(f"{path}, line 1: the header is {header}, expected {list(HEADER)}; fetch the lists again")
    rows = []
    for line, text in enumerate(lines[1:], start=2):
        fields = text.rstrip("\r").split("\t")
        if fields == [""]:
            continue
        if len(fields) < len(HEADER):
            raise DataError(f"{path}, line {line}: {len(fields)} fields, expected at least {len(HEADER)}")
        rows.append((line, fields))
    if not rows:
        raise DataError(f"{path}: there is a header and no track; fetch the lists again")
    return rows


def _source(name: str, tracks: int, hours: float) -> Source:
    return Source(
        name=name,
        folder=FOLDER,
        tracks=tracks,
        hours=hours,
        licence=LICENCE,
        use=USE,
        citation=CITATION,
        variants=PUBLISHED_SPLITS,
        open=functools.partial(open_jamendo, name=name),
        present=functools.partial(has_lists, name=name),
    )


JAMENDO_SOURCES = (
    _source("jamendo-moodtheme", 17_982, 1_095.0),
    _source("jamendo-genre", 55_094, 3_735.0),
    _source("jamendo-instrument", 24_976, 1_628.0),
    _source("jamendo-top50", 54_380, 3_688.0),
)
