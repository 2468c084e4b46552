"""Fetch a collection: Debian packages from a mirror, of each only the listed recordings and its copyright file.

The SHA-256 of each package is pinned. A track gets its final name when it is whole, and a line in the manifest when its
package is done. So what the manifest names is right as long as its checksum fits, and the rest is fetched again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from moodbook.datasets.collection import (
    COPYRIGHT,
    ManifestRow,
    Package,
    read_manifest,
    read_packages,
    write_manifest,
)
from moodbook.datasets.debian_copyright import find_terms, parse_copyright
from moodbook.datasets.debian_package import unpack_deb
from moodbook.datasets.download import Pin, download
from moodbook.datasets.fetching import FetchOptions, FetchResult, Progress, join_address, require_room, run_jobs
from moodbook.datasets.index import resolve_inside
from moodbook.errors import FetchError

MIRROR_URL = "https://deb.debian.org/debian"
ARCHIVES = "archives"


def fetch_collection(
    name: str,
    folder: Path,
    options: FetchOptions,
    progress: Progress,
    packages: Sequence[Package] | None = None,
) -> FetchResult:
    """Fetch one size of the collection; what is there and right is kept, of other sizes too.

    Args:
        name: ``open`` or ``speech``.
        folder: Where to put it: ``manifest.csv``, and a folder a package.
        options: Size, mirror, and whether the packages' files are kept (in ``archives/``).
        progress: Told of stages and bytes.
        packages: What to fetch; default: the packages of ``options.size``.

    Raises:
        FetchError: A package cannot be had, is not the pinned one or lacks a track, or the disk has no room.
    """
    packages = packages if packages is not None else read_packages(options.size, name)
    listed = read_manifest(folder)
    kept = {package.name: _right_rows(package, folder, listed) for package in packages}
    present = sum(map(len, kept.values()))
    missing = [package for package in packages if not _is_complete(package, folder, kept[package.name])]
    if options.lists_only or not missing:
        return FetchResult(folder, 0, present)
    _require_room(folder, missing, options)
    progress.say(f"{len(missing)} of {len(packages)} packages of {name}")
    progress.expect(sum(package.size_bytes for package in missing))
    manifest = threading.Lock()

    def fetch_one(package: Package, stop: threading.Event) -> int:
        archive = folder / ARCHIVES / Path(package.file).name
        download(
            join_address(options.mirror or MIRROR_URL, package.file),
            archive,
            Pin(package.sha256),
            patience=options.patience,
            advance=progress.advance,
            stop=stop,
        )
        rows = _unpack(archive, package, folder, kept[package.name], stop)
        try:
            with manifest:
                others = [row for row in read_manifest(folder) if row.package != package.name]
                write_manifest(folder, [*others, *rows])
            if options.discard_archives:
                archive.unlink()
        except OSError as error:
            raise FetchError(f"cannot write in '{folder}': {error.strerror or error}") from error
        return len(package.tracks) - len(kept[package.name])

    placed = run_jobs(missing, fetch_one, options.parallel)
    return FetchResult(folder, placed, present)


def _right_rows(package: Package, folder: Path, listed: Sequence[ManifestRow]) -> dict[str, ManifestRow]:
    """Give the rows of the tracks that are there, right and of the pinned version, by path in the package."""
    rows = {row.path: row for row in listed if (row.package, row.version) == (package.name, package.version)}
    return {
        track: rows[path]
        for track in package.tracks
        if (path := f"{package.name}/{track}") in rows and Pin(rows[path].sha256).fits(folder / path)
    }


def _is_complete(package: Package, folder: Path, rows: dict[str, ManifestRow]) -> bool:
    return len(rows) == len(package.tracks) and (folder / package.name / COPYRIGHT).is_file()


def _unpack(
    archive: Path, package: Package, folder: Path, kept: dict[str, ManifestRow], stop: threading.Event
) -> list[ManifestRow]:
    copyright_path = f"usr/share/doc/{package.name}/{COPYRIGHT}"
    wanted = {
        track: resolve_inside(folder / package.name, track, f"package {package.name}")
        for track in package.tracks
        if track not in kept
    }
    sha256s = unpack_deb(archive, {copyright_path: folder / package.name / COPYRIGHT, **wanted}, stop)
    text = (folder / package.name / COPYRIGHT).read_text(encoding="utf-8", errors="replace")
    stanzas = parse_copyright(text)
    rows = []
    for track, seconds in package.tracks.items():
        terms = find_terms(track, stanzas, see=f"see {package.name}/{COPYRIGHT}")
        path = f"{package.name}/{track}"
        rows.append(
            ManifestRow(
                track_id=path,
                path=path,
                package=package.name,
                version=package.version,
                seconds=f"{seconds:g}",
                sha256=kept[track].sha256 if track in kept else sha256s[track],
                licence=terms.licence,
                credits=terms.credits,
            )
        )
    return rows


def _require_room(folder: Path, packages: list[Package], options: FetchOptions) -> None:
    sizes = sorted((package.size_bytes for package in packages), reverse=True)
    kept = sum(sizes[: options.parallel]) if options.discard_archives else sum(sizes)
    archives = [folder / ARCHIVES / Path(package.file).name for package in packages]
    here = sum(
        path.stat().st_size
        for archive in archives
        for path in (archive, archive.with_name(archive.name + ".part"))
        if path.is_file()
    )
    # Music hardly gets smaller in a package: its tracks need the same room again, at most.
    require_room(folder, max(0, sum(sizes) + kept - here), fewer="fetch less (--small)")
