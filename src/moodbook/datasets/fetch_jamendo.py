"""Fetch MTG-Jamendo: its lists, and its archives, each unpacked and verified while the next ones load.

The lists are pinned by git's ids of their content (`jamendo_pins`). They in turn pin the SHA-256 of each archive and of
each track. A track gets its final name only after its checksum fitted. So a track that is there is right, and a second
run fetches only archives of which a track is missing.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import threading
from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from moodbook.datasets.dataset import SPLITS
from moodbook.datasets.download import Pin, download, git_blob_of, place_whole
from moodbook.datasets.fetching import FetchOptions, FetchResult, Progress, join_address, require_room, run_jobs
from moodbook.datasets.index import read_text
from moodbook.datasets.jamendo import PUBLISHED_SPLITS, SUBSETS, Subset
from moodbook.datasets.jamendo_pins import COMMIT, LIST_BLOBS
from moodbook.datasets.web import remote_bytes
from moodbook.errors import DataError, FetchError

ARCHIVES = "archives"
_CHUNK_BYTES = 2**20
_ARCHIVE = re.compile(r"[A-Za-z0-9_-]+-([0-9]{2})\.tar")
_TRACK = re.compile(r"([0-9]{2})/[0-9]+(?:\.low)?\.mp3")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Release:
    """Where the data set lives, and what its lists must be.

    Args:
        lists_url: Base address of its repository's files.
        audio_url: Base address of its archives.
        list_blobs: Git blob id of each list.
    """

    lists_url: str = f"https://raw.githubusercontent.com/MTG/mtg-jamendo-dataset/{COMMIT}"
    audio_url: str = "https://cdn.freesound.org/mtg-jamendo"
    list_blobs: Mapping[str, str] = field(default_factory=lambda: LIST_BLOBS)


@dataclass(frozen=True)
class _Archive:
    name: str
    sha256: str
    tracks: Mapping[str, str]
    size_bytes: int = 0


def fetch_jamendo(
    name: str, folder: Path, options: FetchOptions, progress: Progress, release: Release | None = None
) -> FetchResult:
    """Fetch one of the four subsets; what is there and right is kept.

    Args:
        name: ``jamendo-moodtheme``, ``jamendo-genre``, ``jamendo-instrument`` or ``jamendo-top50``.
        folder: Where to put it: lists below ``data/``, tracks below ``audio/`` or ``audio-low/``.
        options: Mirror, quality, parts, and whether archives are kept.
        progress: Told of stages and bytes.
        release: The data set's addresses and pins.

    Raises:
        FetchError: A list, an archive or a track cannot be had or is not the pinned one, or the disk has no room.
    """
    release = release or Release()
    release = replace(
        release, lists_url=options.lists or release.lists_url, audio_url=options.mirror or release.audio_url
    )
    subset = SUBSETS[name]
    progress.say(f"lists of {name}")
    for path in list_paths(subset, options.quality):
        pin = Pin(release.list_blobs[path], git_blob_of)
        download(join_address(release.lists_url, path), folder / path, pin, patience=options.patience)
    if options.lists_only:
        return FetchResult(folder, 0, 0)
    archives = _read_archives(folder, subset, options)
    audio = folder / options.quality
    missing = [archive for archive in archives if not all((audio / track).is_file() for track in archive.tracks)]
    present = sum((audio / track).is_file() for archive in archives for track in archive.tracks)
    base = join_address(release.audio_url, f"{subset.archives}/{options.quality}")
    missing = _with_sizes(missing, base, options)
    _require_room(folder, missing, options)
    progress.say(f"{len(missing)} of {len(archives)} archives of {name}")
    progress.expect(sum(archive.size_bytes for archive in missing))

    def fetch_one(archive: _Archive, stop: threading.Event) -> int:
        place = folder / ARCHIVES / archive.name
        download(
            join_address(base, archive.name),
            place,
            Pin(archive.sha256),
            patience=options.patience,
            advance=progress.advance,
            stop=stop,
        )
        placed = unpack(place, audio, archive.tracks)
        if options.discard_archives:
            place.unlink()
        return placed

    placed = run_jobs(missing, fetch_one, options.parallel)
    return FetchResult(folder, placed, present)


def list_paths(subset: Subset, quality: str) -> list[str]:
    """Name the lists that a subset needs, as paths in the data set's repository."""
    paths = [subset.list_path(variant, split) for variant in PUBLISHED_SPLITS for split in SPLITS]
    if subset.tag_list is not None:
        paths.append(f"data/tags/{subset.tag_list}")
    return [*paths, *(_checksum_list(subset, quality, kind) for kind in ("tars", "tracks"))]


def unpack(archive: Path, audio: Path, tracks: Mapping[str, str]) -> int:
    """Unpack the tracks of an archive, each verified before it gets its name; tracks that are there are kept.

    Args:
        archive: An uncompressed tar.
        audio: Where its paths start.
        tracks: SHA-256 of each track by its path: the only names that are ever written.

    Returns:
        Tracks placed.

    Raises:
        FetchError: The archive is damaged, holds something that is not listed, lacks a track, or a track is not the
            pinned one.
    """
    placed = 0
    found: set[str] = set()
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.isdir():
                    continue
                if member.name not in tracks or not member.isfile():
                    raise FetchError(f"'{archive}' holds {member.name!r}, which the list of tracks does not name")
                found.add(member.name)
                target = audio / member.name
                if not target.is_file():
                    _place(tar, member, target, tracks[member.name])
                    placed += 1
    except (tarfile.TarError, EOFError, OSError) as error:
        raise FetchError(f"cannot unpack '{archive}': {error}; make room or delete it, and fetch again") from error
    absent = sorted(set(tracks) - found)
    if absent:
        raise FetchError(f"'{archive}' lacks {len(absent)} of {len(tracks)} tracks, first {absent[0]!r}")
    return placed


def _place(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, sha256: str) -> None:
    temporary = target.with_name(target.name + ".part")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    content = tar.extractfile(member)
    digest = hashlib.sha256()
    with temporary.open("wb") as file:
        while content is not None and (chunk := content.read(_CHUNK_BYTES)):
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != sha256:
        temporary.unlink()
        raise FetchError(
            f"{tar.name!r}: track {target.name} has checksum {digest.hexdigest()}, its list says {sha256}; "
            "delete the archive and fetch again"
        )
    place_whole(temporary, target)


def _read_archives(folder: Path, subset: Subset, options: FetchOptions) -> list[_Archive]:
    tracks_of: dict[str, dict[str, str]] = defaultdict(dict)
    for path, sha256 in read_checksums(folder / _checksum_list(subset, options.quality, "tracks"), _TRACK).items():
        tracks_of[path[:2]][path] = sha256
    archives = []
    for name, sha256 in read_checksums(folder / _checksum_list(subset, options.quality, "tars"), _ARCHIVE).items():
        number = name[-6:-4]
        if options.parts is None or int(number) in options.parts:
            archives.append(_Archive(name, sha256, tracks_of[number]))
    if not archives:
        raise FetchError(f"no archive has one of the numbers {sorted(options.parts or ())}; they go from 0 to 99")
    return archives


def read_checksums(path: Path, name_pattern: re.Pattern[str]) -> dict[str, str]:
    """Read a list of ``SHA256 NAME`` lines.

    Raises:
        DataError: The file cannot be read, or a line is not of that form.
    """
    checksums: dict[str, str] = {}
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        sha256, _, name = text.partition(" ")
        if not _SHA256.fullmatch(sha256) or not name_pattern.fullmatch(name) or name in checksums:
            raise DataError(f"{path}, line {line}: expected a SHA-256 and a new name, got {text[:100]!r}")
        checksums[name] = sha256
    return checksums


def _with_sizes(archives: list[_Archive], base: str, options: FetchOptions) -> list[_Archive]:
    with ThreadPoolExecutor(max(1, options.parallel)) as pool:
        sizes = pool.map(lambda archive: remote_bytes(join_address(base, archive.name), options.patience), archives)
        return [replace(archive, size_bytes=size or 0) for archive, size in zip(archives, sizes, strict=True)]


def _require_room(folder: Path, archives: list[_Archive], options: FetchOptions) -> None:
    sizes = sorted((archive.size_bytes for archive in archives), reverse=True)
    kept = sum(sizes[: options.parallel]) if options.discard_archives else sum(sizes)
    here = sum(
        path.stat().st_size
        for archive in archives
        for path in (folder / ARCHIVES / archive.name, folder / ARCHIVES / f"{archive.name}.part")
        if path.is_file()
    )
    # An archive is not compressed: its tracks take the same room again.
    require_room(folder, max(0, sum(sizes) + kept - here))


def _checksum_list(subset: Subset, quality: str, kind: str) -> str:
    return f"data/download/{subset.archives}_{quality}_sha256_{kind}.txt"
