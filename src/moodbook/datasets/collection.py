"""Collections of recordings out of Debian packages: what is pinned, what was fetched, and how it is opened.

Two tables stand beside this module for each collection. ``NAME_packages.csv`` pins each package (version, file below a
mirror, bytes, SHA-256: what ``apt-cache show PACKAGE`` says on Debian 12.15). ``NAME_tracks.csv`` names the recordings
in each; ``open_credits.csv`` sums up whose they are. Every collection is for training without labels: there are no
tags, and the splits are by package and fixed.
"""

from __future__ import annotations

import csv
import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from moodbook.datasets.dataset import Dataset, Split, Track
from moodbook.datasets.index import read_rows, resolve_inside
from moodbook.datasets.source import Source
from moodbook.errors import DataError
from moodbook.files import whole_file
from moodbook.tags import TagSet

Size = Literal["small", "standard", "full"]
SIZES: tuple[Size, ...] = get_args(Size)
"""How much of the collection to fetch; each size holds the ones before it."""

_PACKAGE_COLUMNS = ("package", "version", "file", "bytes", "sha256", "tier", "split")
MANIFEST = "manifest.csv"
COPYRIGHT = "copyright"


@dataclass(frozen=True)
class Package:
    """A Debian package with music.

    Args:
        name: Its name.
        version: The pinned version.
        file: Its file, relative to the address of a mirror.
        size_bytes: The length of the file.
        sha256: The SHA-256 of the file.
        tier: The smallest size of the collection that holds it.
        split: The part that its music belongs to.
        tracks: Seconds of each track by its path in the package (see `debian_package.unpack_deb`).
    """

    name: str
    version: str
    file: str
    size_bytes: int
    sha256: str
    tier: Size
    split: Split
    tracks: Mapping[str, float]


@dataclass(frozen=True)
class ManifestRow:
    """A track that was fetched: one line of ``manifest.csv``.

    Args:
        track_id: Its name in the data set.
        path: Where it lies, relative to the folder of the collection.
        package: The package it comes from.
        version: The version of that package.
        seconds: Its length.
        sha256: The SHA-256 of the file.
        licence: What the package's copyright file says of it.
        credits: Whom the package's copyright file names for it.
    """

    track_id: str
    path: str
    package: str
    version: str
    seconds: str
    sha256: str
    licence: str
    credits: str


COLUMNS = tuple(field.name for field in fields(ManifestRow))


@functools.cache
def read_packages(size: Size = "full", collection: str = "open") -> tuple[Package, ...]:
    """Give the packages of a size of a collection, sorted by name."""
    tracks: dict[str, dict[str, float]] = defaultdict(dict)
    beside = Path(__file__).parent
    for row in read_rows(beside / f"{collection}_tracks.csv", ("package", "path", "seconds")):
        tracks[row.fields["package"]][row.fields["path"]] = float(row.fields["seconds"])
    tiers = SIZES[: SIZES.index(size) + 1]
    return tuple(
        Package(
            name=row.fields["package"],
            version=row.fields["version"],
            file=row.fields["file"],
            size_bytes=int(row.fields["bytes"]),
            sha256=row.fields["sha256"],
            tier=tier,
            split="validation" if row.fields["split"] == "validation" else "train",
            tracks=tracks[row.fields["package"]],
        )
        for row in read_rows(
            beside / f"{collection}_packages.csv", ("package", "version", "file", "bytes", "sha256", "tier", "split")
        )
        for tier in tiers
        if tier == row.fields["tier"]
    )


def read_manifest(folder: Path) -> tuple[ManifestRow, ...]:
    """Read which tracks were fetched; none where there is no manifest.

    Raises:
        DataError: The manifest cannot be read, or names a track twice or outside the folder.
    """
    path = folder / MANIFEST
    if not path.exists():
        return ()
    rows: dict[str, ManifestRow] = {}
    for row in read_rows(path, COLUMNS):
        where = f"{path}, line {row.line}"
        track = ManifestRow(**{column: row.fields[column] for column in COLUMNS})
        resolve_inside(folder, track.path, where)
        if track.track_id in rows:
            raise DataError(
                f"{where}: the track {track.track_id!r} stands there twice; delete the file and fetch again"
            )
        rows[track.track_id] = track
    return tuple(rows.values())


def write_manifest(folder: Path, rows: Iterable[ManifestRow]) -> None:
    """Write the manifest, sorted by package and path.

    Raises:
        OSError: The system refuses; the old manifest is untouched.
    """
    with whole_file(folder / MANIFEST) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in sorted(rows, key=lambda row: (row.package, row.path)))


def collection_source(*, name: str, tracks: int, hours: float, licence: str, use: str, citation: str) -> Source:
    """Give a collection its place among the data sets: it lies below its own name and has no variants."""
    source = Source(
        name=name,
        folder=name,
        tracks=tracks,
        hours=hours,
        licence=licence,
        use=use,
        citation=citation,
        variants=(),
        open=lambda folder, variant: open_collection(folder, source),
        present=lambda folder: (folder / MANIFEST).is_file(),
    )
    return source


def open_collection(folder: Path, source: Source) -> Dataset:
    """Read what was fetched of a collection, whatever its size; a track's id is its path.

    Args:
        folder: Where it lies.
        source: The collection.

    Raises:
        DataError: The manifest is wrong, or a part is empty because too little was fetched.
    """
    split_of = {package.name: package.split for package in read_packages(collection=source.name)}
    rows = read_manifest(folder)
    unknown = sorted({row.package for row in rows} - set(split_of))
    if unknown:
        raise DataError(
            f"'{folder / MANIFEST}' names the package {unknown[0]!r}, which is not in the collection; "
            "delete the file and fetch again"
        )
    tracks = tuple(
        Track(row.track_id, folder / row.path, (), split_of[row.package], row.package)
        for row in sorted(rows, key=lambda row: row.track_id)
    )
    lacking = [split for split in ("train", "validation") if not any(track.split == split for track in tracks)]
    if lacking:
        raise DataError(
            f"'{folder}' holds {len(tracks)} tracks and none for {' and '.join(lacking)}; fetch the rest with: "
            f"moodbook data fetch {source.name}"
        )
    return Dataset(source.name, tracks, TagSet(()), source.licence, source.citation)
