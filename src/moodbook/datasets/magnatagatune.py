"""MagnaTagATune: 25,863 clips of 29 s with 188 tags from a game; used with its 50 most frequent tags.

Clips lie in sixteen folders ``0`` to ``f``. There are three published ways to part them; scores on different ones do
not compare:

- ``taiinn``: folders 0-c / d / e-f, clips with a top-50 tag, as the 2019 system. Its paper counts 16,776 / 1,339 /
  2,651 clips: train with the three unreadable clips, test without 342 of the 2,993 in e-f, unexplained. Here:
  16,773 / 1,339 / 2,993.
- ``standard``: folders 0-b / c / d-f, all clips, those without a top-50 tag included.
- ``clean``: as ``standard``, clips with a top-50 tag only.

All three were made by folder: artists stand on both sides (45 of the 75 in d-f are also in 0-b). `data check` says so.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from moodbook.datasets.dataset import Dataset, Split, Track
from moodbook.datasets.index import read_text
from moodbook.datasets.source import Source
from moodbook.errors import DataError
from moodbook.tags import TagSet

ANNOTATIONS = "annotations_final.csv"
CLIPS = 25_863
TOP_TAGS = 50
UNREADABLE = (
    "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
    "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
    "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_couperin-88-117.mp3",
)
"""Clips that are empty in the published archive (clip ids 35644, 55753, 57881); they are left out, and named."""
_CLIP_PATH = re.compile(r"[0-9a-f]/[^/\\\0]+\.mp3")
_FOLDERS: Mapping[str, Mapping[Split, str]] = {
    "taiinn": {"train": "0123456789abc", "validation": "d", "test": "ef"},
    "standard": {"train": "0123456789ab", "validation": "c", "test": "def"},
    "clean": {"train": "0123456789ab", "validation": "c", "test": "def"},
}


def open_magnatagatune(folder: Path, variant: str = "taiinn") -> Dataset:
    """Read the set in one of its published splits; the tag axis is the top 50, the most frequent first.

    The artist, as the file name gives it, is the group.

    Raises:
        DataError: The annotations are missing or wrong.
    """
    annotated = read_annotations(folder / ANNOTATIONS)
    counts = Counter(tag for tags in annotated.values() for tag in tags)
    top = TagSet(tuple(sorted(counts, key=lambda tag: (-counts[tag], tag))[:TOP_TAGS]))
    names = frozenset(top)
    split_of: dict[str, Split] = {letter: split for split, letters in _FOLDERS[variant].items() for letter in letters}
    tracks = []
    for path, tags in annotated.items():
        kept = tuple(tag for tag in tags if tag in names)
        if path in UNREADABLE or (not kept and variant != "standard"):
            continue
        tracks.append(Track(path.removesuffix(".mp3"), folder / path, kept, split_of[path[0]], artist_of(path)))
    return Dataset(
        MAGNATAGATUNE.name,
        tuple(tracks),
        top,
        MAGNATAGATUNE.licence,
        MAGNATAGATUNE.citation,
        dropped_tags=tuple(sorted(set(counts) - names)),
        dropped_tracks=tuple(path.removesuffix(".mp3") for path in UNREADABLE if path in annotated),
    )


def read_annotations(path: Path) -> dict[str, tuple[str, ...]]:
    """Read ``annotations_final.csv`` (tabs, quoted, a 0/1 column a tag): the tags of each clip by its path.

    Raises:
        DataError: The file cannot be read or a line is wrong.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter="\t")
    header = next(reader, [])
    if len(header) < 3 or header[0] != "clip_id" or header[-1] != "mp3_path":
        raise DataError(
            f"{path}, line 1: expected the columns clip_id, one a tag, mp3_path, separated by tabs; fetch it again"
        )
    names = header[1:-1]
    annotated: dict[str, tuple[str, ...]] = {}
    for fields in reader:
        where = f"{path}, line {reader.line_num}"
        if len(fields) != len(header):
            raise DataError(f"{where}: {len(fields)} fields, expected {len(header)}; fetch it again")
        clip = fields[-1]
        if not _CLIP_PATH.fullmatch(clip) or clip in annotated:
            raise DataError(f"{where}: the clip {clip!r} is not FOLDER/NAME.mp3, or stands twice; fetch it again")
        annotated[clip] = tuple(name for name, mark in zip(names, fields[1:-1], strict=True) if mark == "1")
    if not annotated:
        raise DataError(f"{path}: there is a header and no clip; fetch it again")
    return annotated


def artist_of(path: str) -> str:
    """Give the artist's part of a clip's file name: ``f/ARTIST-ALBUM-NN-TITLE-FROM-TO.mp3``."""
    return path.split("/", 1)[1].split("-", 1)[0]


MAGNATAGATUNE = Source(
    name="magnatagatune",
    folder="magnatagatune",
    tracks=CLIPS,
    hours=209.0,
    licence="audio: Magnatune, CC BY-NC-SA 1.0; annotations: free for research",
    use="research, non-commercial; do not ship models trained on it for commercial use",
    citation=(
        "Law, West, Mandel, Bay, Downie: Evaluation of algorithms using games: the case of music tagging. ISMIR 2009."
    ),
    variants=("taiinn", "standard", "clean"),
    open=open_magnatagatune,
    present=lambda folder: (folder / ANNOTATIONS).is_file(),
)
