"""A tree of music into the catalogue.

Files that stand in the catalogue with the same size, times and inode are not opened. The others are identified by the
hash of their music, and only music that this model has never heard is decoded. Every result is written as it comes, so
a scan that is killed goes on where it was: what it would do again is what it had not finished.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moodbook import audio
from moodbook.audio.worker import DEFAULT_LIMITS, Limits, Lost, WorkerPool
from moodbook.errors import AudioError, DataError
from moodbook.files import is_folder, is_there
from moodbook.library.catalogue import Catalogue
from moodbook.library.disks import Disks
from moodbook.library.identity import CHANGED_MEANWHILE, KnownFile, Stat, identify
from moodbook.library.known_model import Model
from moodbook.model.listening import Hearing, listen_isolated
from moodbook.model.precision import Precision
from moodbook.model.scores import TagFailure, path_fields, printable
from moodbook.model.tagger import Tagger

_FILES_AT_A_TIME = 64  # Hashed, then heard while the disk's cache still has them.
_SLOWEST_BYTES_PER_SECOND = 1 << 20  # A network folder over a bad line; hashing gives no sign before its end.


@dataclass
class ScanSummary:
    """What a scan found; `found` is the sum of the six kinds.

    Attributes:
        found: Files below the folders, by their endings, and files that were named.
        new: Not in the catalogue before, and no other name for music that has gone.
        moved: New names of music whose old name has gone.
        changed: Files with other music in them than before.
        retagged: Files that were written, or touched in another way (other rights, say), with the same music in them.
        unchanged: Files that were left alone.
        failed: Files and folders that cannot be read, now or, of the same content, before.
        gone: Files of the catalogue that are not there any more, other than moved ones; they are marked as missing.
        forgotten: Missing files that were dropped from the catalogue.
        kept: Missing files that were to be dropped and were not, for their disk may not be there now.
        heard: Recordings that the model heard in this scan.
        absent: Folders and files that were named and are not there, but for files that were to be dropped and were.
        failures: Path and reason of each that failed.
        duplicates: Names of the same music, for music with several.
        links: Links below a folder that were not followed.
        seconds: How long it took.
    """

    found: int = 0
    new: int = 0
    moved: int = 0
    changed: int = 0
    retagged: int = 0
    unchanged: int = 0
    failed: int = 0
    gone: int = 0
    forgotten: int = 0
    kept: int = 0
    heard: int = 0
    absent: list[Path] = field(default_factory=list)
    failures: list[TagFailure] = field(default_factory=list)
    duplicates: list[tuple[Path, ...]] = field(default_factory=list)
    links: list[Path] = field(default_factory=list)
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give the record that is written as JSON."""
        kinds = ("new", "moved", "changed", "retagged", "unchanged", "failed")
        return {
            **{name: getattr(self, name) for name in ("found", *kinds, "gone", "forgotten", "kept", "heard")},
            "seconds": round(self.seconds, 3),
            "absent": [path_fields(path) for path in self.absent],
            "failures": [failure.to_dict() for failure in self.failures],
            "duplicates": [[path_fields(path) for path in group] for group in self.duplicates],
            "links": [path_fields(link) for link in self.links],
        }


def absolute(path: str | Path) -> Path:
    """Give the one name under which the catalogue knows a file: links in its folders resolved, its own name kept."""
    folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100 (Path.absolute keeps "..")
    return Path(os.path.realpath(folder), name)


def scan(
    catalogue: Catalogue,
    roots: Iterable[str | Path],
    tagger: Tagger,
    *,
    jobs: int = 1,
    precision: Precision | None = None,
    retry: bool = False,
    forget: bool = False,
    were_there: bool = False,
    limits: Limits = DEFAULT_LIMITS,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScanSummary:
    """Bring the catalogue up to what lies below folders.

    Args:
        catalogue: Opened with `create`.
        roots: Folders, and files.
        tagger: What hears the music.
        jobs: Worker processes that read and decode.
        precision: That of the tagger: music that was heard in another one is heard again. None leaves it as it is.
        retry: Hear music again that could not be heard before.
        forget: Drop files below the roots that are missing, and what was known of their music if no other file has it;
            not where a disk may not be mounted: below a root under which nothing at all was found, in an empty folder,
            or where a disk was mounted when they were found and none is now.
        were_there: The roots are known to have been there, so none of them is a mistake.
        limits: What a worker may take.
        on_progress: Called with the number of files that are done and of all.

    Raises:
        CatalogueInUseError: Another scan is running.
        CatalogueError: The catalogue cannot be written.
        WorkerError: No worker process can start.
        DataError: No root was named; or nothing is there of what was named, nor was, as far as the catalogue knows.
    """
    started = time.monotonic()
    # The files below a folder that is a link stand in the catalogue by the folder that it points to.
    places = [_place(catalogue, root) for root in roots]
    if not places:
        raise DataError("no folder was named; name the folders that hold the music")
    if not were_there:
        _check_named(catalogue, places)
    with catalogue.scan_lock(), WorkerPool(jobs, limits) as pool:
        run = _Scan(catalogue, tagger, pool, precision, on_progress)
        absent = [place for place in places if not (place.is_symlink() or is_there(place))]
        run.look([place for place in places if place not in absent])
        run.read(retry)
        run.settle(places, absent, forget)
    run.summary.seconds = time.monotonic() - started
    return run.summary


def _place(catalogue: Catalogue, root: str | Path) -> Path:
    """Give the name under which the catalogue knows a root, be its disk there or not."""
    target = Path(os.path.realpath(root))
    if is_folder(root) or (not is_there(root) and any(target in path.parents for path in catalogue.known_files())):
        return target
    return absolute(root)


def _check_named(catalogue: Catalogue, roots: list[Path]) -> None:
    """Tell a mistyped name from music that has gone, which the catalogue knows."""
    if any(root.is_symlink() or is_there(root) for root in roots):
        return
    if not any(path.is_relative_to(root) for path in catalogue.known_files() for root in roots):
        raise DataError(f"there is no '{roots[0]}'; name the folders that hold the music")


class _Scan:
    """One scan while it runs."""

    def __init__(
        self,
        catalogue: Catalogue,
        tagger: Tagger,
        pool: WorkerPool,
        precision: Precision | None,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        self.summary = ScanSummary()
        self._catalogue = catalogue
        self._tagger = tagger
        self._pool = pool
        self._disks = Disks()
        self._on_progress = on_progress
        self._model: Model = catalogue.use_model(tagger.bundle)
        self._before = catalogue.known_files()
        self._heard = catalogue.heard_payloads(self._model, precision)
        self._heard_before = catalogue.heard_payloads(self._model)  # In whatever precision.
        self._failed = catalogue.failed_payloads(self._model)
        self._looked_at = {_content(file) for file in self._before.values() if file.payload_id in self._failed}
        self._untried: set[Path] = set()  # What damage beside the music did to another file says nothing of these.
        self._unread: list[Path] = []  # New, or not what the catalogue knows.
        self._now: dict[Path, KnownFile] = {}  # What was found and could be identified.
        self._unlisted: list[Path] = []
        self._lost: dict[Path, str] = {}  # What could not be read this time, for a reason that is not in its content.

    def look(self, roots: list[Path]) -> None:
        """Walk the tree and see what has changed, without opening a file."""
        unlisted: list[AudioError] = []
        for path in audio.find(roots, on_error=unlisted.append, on_link=self.summary.links.append):
            name = absolute(path)
            known = self._before.get(name)
            stat = _stat(name)
            if known is not None and stat is not None and known.stat.is_still(stat):
                self._hold(replace(known, stat=stat, mount=self._disks.mount_of(name), is_missing=False))
            else:
                self._unread.append(name)
        for error in unlisted:
            self._unlisted.append(Path(os.path.realpath(error.path)))
            self._lost[absolute(error.path)] = error.reason
        self._catalogue.set_present(file for path, file in self._now.items() if file != self._before[path])

    def read(self, retry: bool) -> None:
        """Identify what has changed and hear what is new to the model, a batch at a time."""
        if retry:
            self._looked_at.clear()
            self._untried.update(path for path, file in self._now.items() if file.payload_id in self._failed)
        unheard = [path for path, file in self._now.items() if not self._is_known(file)]
        todo = sorted({*self._unread, *unheard})
        unread = set(self._unread)
        total = len(self._now) + len(self._unread)
        done = total - len(todo)
        self._tell(done, total)
        for batch in _batches(todo, _FILES_AT_A_TIME):
            self._identify([path for path in batch if path in unread])
            for path in batch:
                # A payload of another file of the batch is heard once.
                if path not in self._now or self._is_known(self._now[path]):
                    done += 1
            self._tell(done, total)
            for count in self._hear([self._now[path] for path in batch if path in self._now]):
                done += count
                self._tell(done, total)

    def settle(self, roots: list[Path], not_there: list[Path], forget: bool) -> None:
        """Mark what has gone, and count."""
        summary, before = self.summary, self._before
        absent = [
            file
            for path, file in before.items()
            if path not in self._now
            and (path not in self._lost or _is_gone(path))
            and any(path.is_relative_to(root) for root in roots)
            and not any(path.is_relative_to(folder) for folder in self._unlisted)
            # Below a folder no link is followed: one that was named by itself is as it was.
            and not (path not in roots and path.is_symlink() and file.stat.is_still(_stat(path)))
        ]
        went = [file for file in absent if not file.is_missing]
        self._catalogue.set_missing(went)
        left = Counter(file.payload_id for file in absent)
        moved: set[int] = set()
        for path, file in self._now.items():
            old = before.get(path)
            if file.payload_id in self._failed or path in self._lost:
                continue
            if old is None and left[file.payload_id]:
                left[file.payload_id] -= 1
                moved.add(file.payload_id)
                summary.moved += 1
            elif old is None:
                summary.new += 1
            elif old.payload_id != file.payload_id:
                summary.changed += 1
            elif not old.stat.is_still(file.stat):
                summary.retagged += 1
            else:
                summary.unchanged += 1
        summary.gone = sum(file.payload_id not in moved for file in went)
        if forget:
            # Below a root without any file a disk is not mounted, more likely than all its music deleted; a file that
            # was named is meant.
            alive = [root for root in roots if root in before or any(path.is_relative_to(root) for path in self._now)]
            disks = Disks()  # Asked anew: a disk may have gone while it was read.
            dropped = [
                file
                for file in absent
                if any(file.path.is_relative_to(root) for root in alive)
                # A file that was named is meant, also where it was the last one in its folder.
                and not (disks.is_unmounted(file) if file.path in roots else disks.is_away(file))
            ]
            self._catalogue.forget_files(dropped)
            not_there = [path for path in not_there if path not in {file.path for file in dropped}]
            summary.forgotten, summary.kept = len(dropped), len(absent) - len(dropped)
        reasons = {path: self._failed[f.payload_id] for path, f in self._now.items() if f.payload_id in self._failed}
        summary.failures = [TagFailure(path, why) for path, why in sorted({**reasons, **self._lost}.items())]
        summary.absent, summary.failed = not_there, len(summary.failures)
        summary.found = len({*self._now, *self._lost})
        summary.duplicates = _duplicates(self._now.values())

    def _hold(self, file: KnownFile) -> None:
        self._now[file.path] = file
        if file.payload_id not in self._heard and _content(file) not in self._looked_at:
            self._untried.add(file.path)

    def _is_known(self, file: KnownFile) -> bool:
        return file.payload_id in self._heard or (file.payload_id in self._failed and file.path not in self._untried)

    def _identify(self, paths: list[Path]) -> None:
        for path, identity in self._pool.run(identify, paths, self._patience_seconds):
            if isinstance(identity, Lost):
                # It has no content to be remembered by: the next scan tries again.
                self._lost[path] = identity.reason
            elif identity.stat is None:
                self._lost[path] = identity.failure
            else:
                place = self._disks.mount_of(path)
                self._hold(
                    self._catalogue.enter_file(path, identity.stat, identity.payload_sha256, identity.metadata, place)
                )

    def _patience_seconds(self, path: Path) -> float:
        stat = _stat(path)
        return DEFAULT_LIMITS.stall_seconds + (0 if stat is None else stat.size / _SLOWEST_BYTES_PER_SECOND)

    def _hear(self, files: list[KnownFile]) -> Iterator[int]:
        """Hear the music of files that the model has not heard; give, as they are done, how many files are.

        Of several files with one music the first is heard, the next only if that cannot be.
        """
        waiting: dict[int, list[KnownFile]] = defaultdict(list)
        for file in files:
            if not self._is_known(file):
                waiting[file.payload_id].append(file)
        while waiting:
            speakers = {names[0].path: names for names in waiting.values()}
            waiting.clear()
            for names in self._hear_each(speakers):
                if rest := [file for file in names[1:] if not self._is_known(file)]:
                    waiting[rest[0].payload_id] = rest
                yield len(names) - len(rest)

    def _hear_each(self, speakers: dict[Path, list[KnownFile]]) -> Iterator[list[KnownFile]]:
        """Hear one file of each piece of music; give the files that hold it, as each is done."""
        hearing = Hearing(self._tagger.bundle.features)
        with closing(listen_isolated(speakers, hearing, self._pool)) as pieces:
            for result in self._tagger.tag_heard(pieces):
                names = speakers[result.path]
                payload = names[0].payload_id
                self._untried.discard(result.path)
                if _stat(result.path) != names[0].stat:
                    self._lost[result.path] = CHANGED_MEANWHILE
                elif isinstance(result, TagFailure) and payload in self._heard_before:
                    self._lost[result.path] = printable(result.reason)  # What was heard before stands.
                elif isinstance(result, TagFailure):
                    self._catalogue.enter_failure(payload, self._model, printable(result.reason))
                    self._failed[payload] = printable(result.reason)
                else:
                    self._catalogue.enter_scores(payload, self._model, result)
                    self._heard.add(payload)
                    self._failed.pop(payload, None)
                    self.summary.heard += 1
                yield names

    def _tell(self, done: int, total: int) -> None:
        if self._on_progress is not None:
            self._on_progress(done, total)


def _batches(paths: list[Path], size: int) -> Iterator[list[Path]]:
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


def _stat(path: Path) -> Stat | None:
    try:
        return Stat.of(path.stat())
    except (OSError, ValueError):
        return None


def _content(file: KnownFile) -> tuple[int, Stat]:
    """Give what a failure is held against; a file that only got another name is the one that failed."""
    return file.payload_id, replace(file.stat, ctime_ns=None)


def _is_gone(path: Path) -> bool:
    """Whether nothing has this name; where that cannot be told, it is not."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return False


def _duplicates(files: Iterable[KnownFile]) -> list[tuple[Path, ...]]:
    names: dict[int, list[Path]] = defaultdict(list)
    for file in files:
        names[file.payload_id].append(file.path)
    return sorted(tuple(sorted(group)) for group in names.values() if len(group) > 1)
