"""Fetch MagnaTagATune: the annotations, and three parts that joined are one zip of clips.

The data set publishes no checksums. What guards it: the announced length of each part, the CRC-32 of each clip inside
the zip, and the annotations, which name every clip that must be there (and are the only names that are ever written).
"""

from __future__ import annotations

import io
import threading
import zipfile
import zlib
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from moodbook.datasets.download import download, place_whole
from moodbook.datasets.fetching import FetchOptions, FetchResult, Progress, join_address, require_room, run_jobs
from moodbook.datasets.magnatagatune import ANNOTATIONS, read_annotations
from moodbook.datasets.web import remote_bytes
from moodbook.errors import FetchError

HOME_URL = "https://mirg.city.ac.uk/datasets/magnatagatune"
PARTS = ("mp3.zip.001", "mp3.zip.002", "mp3.zip.003")
ARCHIVES = "archives"
_CHUNK_BYTES = 2**20


def fetch_magnatagatune(name: str, folder: Path, options: FetchOptions, progress: Progress) -> FetchResult:
    """Fetch annotations and clips; clips that are there are kept.

    Args:
        name: ``magnatagatune``.
        folder: Where to put it: the annotations, and the clips in folders 0 to f.
        options: Mirror, and whether the parts are kept.
        progress: Told of stages and bytes.

    Raises:
        FetchError: A part cannot be had, the zip is damaged or lacks a clip, or the disk has no room.
    """
    base = options.mirror or HOME_URL
    progress.say(f"annotations of {name}")
    lists = options.lists or base
    download(join_address(lists, ANNOTATIONS), folder / ANNOTATIONS, patience=options.patience)
    clips = read_annotations(folder / ANNOTATIONS).keys()
    present = sum((folder / clip).is_file() for clip in clips)
    if options.lists_only or present == len(clips):
        return FetchResult(folder, 0, present)

    places = [folder / ARCHIVES / part for part in PARTS]
    sizes = [remote_bytes(join_address(base, part), options.patience) or 0 for part in PARTS]
    here = sum(place.stat().st_size for place in places if place.is_file())
    # The clips are mp3: the zip hardly makes them smaller.
    require_room(folder, max(0, 2 * sum(sizes) - here))
    progress.say(f"{len(PARTS)} parts of {name}")
    progress.expect(sum(size for size, place in zip(sizes, places, strict=True) if not place.is_file()))

    def fetch_part(place: Path, stop: threading.Event) -> int:
        download(join_address(base, place.name), place, patience=options.patience, advance=progress.advance, stop=stop)
        return 0

    run_jobs(places, fetch_part, options.parallel)
    progress.say(f"unpacking {name}")
    placed = unpack_joined(places, folder, clips)
    if options.discard_archives:
        for place in places:
            place.unlink()
    return FetchResult(folder, placed, present)


def unpack_joined(parts: Sequence[Path], folder: Path, clips: Collection[str]) -> int:
    """Unpack the clips of a zip that was cut into parts, without joining them on the disk.

    Args:
        parts: The parts, in order.
        folder: Where the clips' paths start.
        clips: The clips that must be there; nothing else is written.

    Returns:
        Clips placed.

    Raises:
        FetchError: The zip is damaged or lacks a clip.
    """
    remedy = f"delete {', '.join(map(str, parts))} and fetch again"
    placed = 0
    try:
        with ExitStack() as files:
            joined = JoinedFiles([files.enter_context(part.open("rb")) for part in parts])
            archive = files.enter_context(zipfile.ZipFile(io.BufferedReader(joined, _CHUNK_BYTES)))
            # Some copies of the archive have a folder above the sixteen.
            entries = {"/".join(info.filename.split("/")[-2:]): info for info in archive.infolist()}
            absent = sorted(clip for clip in clips if clip not in entries)
            if absent:
                raise FetchError(f"the zip lacks {len(absent)} of {len(clips)} clips, first {absent[0]!r}; {remedy}")
            for clip in clips:
                if not (folder / clip).is_file():
                    _place(archive, entries[clip], folder / clip)
                    placed += 1
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise FetchError(f"cannot unpack the joined parts: {error}; make room, or {remedy}") from error
    return placed


def _place(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    temporary = target.with_name(target.name + ".part")
    temporary.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as content, temporary.open("wb") as file:
        # Reading to the end checks the CRC-32.
        while chunk := content.read(_CHUNK_BYTES):
            file.write(chunk)
    place_whole(temporary, target)


class JoinedFiles(io.RawIOBase):
    """Several open files read as if they were one."""

    def __init__(self, files: Sequence[IO[bytes]]) -> None:
        super().__init__()
        self._files = list(files)
        self._ends: list[int] = []
        end = 0
        for file in self._files:
            end += file.seek(0, io.SEEK_END)
            self._ends.append(end)
        self._position = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be searched."""
        return True

    def tell(self) -> int:
        """Give the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ends[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read up to the end of the file that holds the position."""
        begin = 0
        for file, end in zip(self._files, self._ends, strict=True):
            if self._position < end:
                file.seek(self._position - begin)
                chunk = file.read(min(len(buffer), end - self._position))
                buffer[: len(chunk)] = chunk
                self._position += len(chunk)
                return len(chunk)
            begin = end
        return 0
