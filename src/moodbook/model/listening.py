"""Files become segments, ahead of the engine and in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from moodbook import audio
from moodbook.audio.worker import Lost, WorkerPool
from moodbook.errors import AudioError, MoodbookError
from moodbook.features import (
    FIRST_SEGMENT_SAMPLES,
    SAMPLE_RATE,
    FeatureConfig,
    Segments,
    segments,
    stream_segments,
)

T = TypeVar("T")

SEGMENTS_AT_A_TIME = 8
"""Most segments that are handed to the engine at a time: 4 MiB."""
MOST_DECODERS = 4
"""Threads that decode; more are never behind one engine."""
_SEGMENTS_AHEAD = 16
"""Segments of one file that wait for the engine: 8 MiB. As many files are held as there are decoders, and one more."""
_POLL_SECONDS = 0.1  # How often a waiting decoder looks whether anybody still listens.


@dataclass(frozen=True)
class Hearing:
    """How files are heard.

    Attributes:
        features: The features of the model.
        first_segment: Only the first 23.8 s, as the paper does; otherwise the whole track.
        allow_partial: Take what a damaged file gives up to the damage.
    """

    features: FeatureConfig
    first_segment: bool = False
    allow_partial: bool = False


@dataclass(frozen=True)
class Heard:
    """A piece of a file, or its end.

    Attributes:
        path: The file.
        segments: One segment; None at the end of the file.
        duration_seconds: Of the track, at its end; None before it, and where only reading the rest would tell.
        failure: At the end of a file that could not be read: what is wrong and what to do.
    """

    path: Path
    segments: Segments | None = None
    duration_seconds: float | None = None
    failure: str | None = None


def listen(path: str | Path, hearing: Hearing) -> Iterator[Heard]:
    """Decode one file piece by piece; the last piece says how long the track is.

    Raises:
        AudioError: The file cannot be read.
        DataError: Its samples are no music.
    """
    if hearing.first_segment:
        # A track may be far longer than what is decoded of it.
        waveform = audio.load_first_segment(path, allow_partial=hearing.allow_partial)
        yield Heard(Path(path), segments(waveform, hearing.features, first_only=True))
        heard_all = len(waveform) < FIRST_SEGMENT_SAMPLES
        seconds = len(waveform) / SAMPLE_RATE if heard_all else audio.probe(path, count=False).duration_seconds
        yield Heard(Path(path), duration_seconds=seconds)
        return
    counter = _Counted(audio.stream(path, allow_partial=hearing.allow_partial))
    for segment in stream_segments(counter, hearing.features):
        yield Heard(Path(path), segment)
    yield Heard(Path(path), duration_seconds=counter.samples / SAMPLE_RATE)


def listen_ahead(
    paths: Iterable[str | Path], hearing: Hearing, decoders: int = 1, *, strict: bool = False
) -> Generator[list[Heard]]:
    """Decode files in threads of their own, a few segments ahead of who asks.

    A file that cannot be read ends with its `failure`; whatever goes wrong inside one file never reaches another. The
    threads start with the first question; close the generator to end them.

    Args:
        paths: The files; a generator is read by one thread at a time.
        hearing: How they are heard.
        decoders: Files that are decoded at the same time.
        strict: Raise what goes wrong with a file instead of ending it with its `failure`.

    Yields:
        First an empty list, when the threads have begun; then the pieces that are ready, one at least and
        `SEGMENTS_AT_A_TIME` at most. The files are in order, and so are the pieces of each.

    Raises:
        Exception: Whatever `paths` itself raises; and what goes wrong with a file, where `strict`.
    """
    ahead = _Ahead(iter(paths), hearing, decoders)
    try:
        ahead.start()
        yield []
        with closing(ahead.pieces(strict)) as pieces:
            yield from pieces
    finally:
        ahead.stop()


@dataclass(frozen=True)
class _File:
    """A file that is being decoded, and what of it waits for the engine."""

    path: str | Path
    waiting: queue.Queue[Heard | Exception] = field(default_factory=lambda: queue.Queue(_SEGMENTS_AHEAD))


class _Ahead:
    """Threads that decode files, each one file at a time, and the files in their order."""

    def __init__(self, paths: Iterator[str | Path], hearing: Hearing, decoders: int) -> None:
        self._paths = paths
        self._hearing = hearing
        # Each thread has one file here that it works on; so many files ahead, and no more, are taken up.
        self._files: queue.Queue[_File | BaseException | None] = queue.Queue(decoders)
        self._turn = threading.Lock()  # To take the next path; held until its file stands in line.
        self._all_taken = False
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=self._decode, name="moodbook-decode", daemon=True) for _ in range(decoders)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._closed.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def pieces(self, strict: bool) -> Generator[list[Heard]]:
        """Give what is ready, in the order of the files."""
        ready: list[Heard] = []
        while True:
            # With something in hand nobody is waited for.
            if ready and self._files.empty():
                yield ready
                ready = []
            file = self._files.get()
            if file is None or isinstance(file, BaseException):
                if ready:
                    yield ready
                if file is not None:
                    raise file
                return
            ended = False
            while not ended:
                if ready and (file.waiting.empty() or len(ready) == SEGMENTS_AT_A_TIME):
                    yield ready
                    ready = []
                heard = file.waiting.get()
                if isinstance(heard, Exception):
                    if strict:
                        raise heard
                    heard = Heard(Path(file.path), failure=reason(heard))
                ready.append(heard)
                ended = heard.segments is None

    def _decode(self) -> None:
        while (file := self._next_file()) is not None:
            try:
                for heard in listen(file.path, self._hearing):
                    if not self._put(file.waiting, heard):
                        return
            except Exception as error:  # noqa: BLE001 (one bad file never stops a run, not even by a mistake of ours)
                self._put(file.waiting, error)

    def _next_file(self) -> _File | None:
        with self._turn:
            if self._all_taken or self._closed.is_set():
                return None
            try:
                file = _File(next(self._paths))
            except StopIteration:
                self._all_taken = True
                self._put(self._files, None)
                return None
            except BaseException as error:  # noqa: BLE001 (raised again where the results are read)
                self._all_taken = True
                self._put(self._files, error)
                return None
            return file if self._put(self._files, file) else None

    def _put(self, line: queue.Queue[T], item: T) -> bool:
        """Put something in a line as soon as there is room; say whether anybody still listens."""
        while not self._closed.is_set():
            try:
                line.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def listen_isolated(paths: Iterable[Path], hearing: Hearing, pool: WorkerPool) -> Generator[list[Heard]]:
    """Decode files in worker processes; the pieces of different files mix, and come one at a time.

    A file on which a decoder dies or hangs ends with a `failure` that says so. Close the generator to drop what is
    being decoded.

    Raises:
        WorkerError: A worker cannot start.
    """
    tasks = ((path, hearing) for path in paths)
    for (path, _), heard in pool.run(_listen_for_pool, tasks):
        yield [Heard(path, failure=heard.reason) if isinstance(heard, Lost) else heard]


def _listen_for_pool(task: tuple[Path, Hearing]) -> Iterator[Heard]:
    try:
        yield from listen(*task)
    except MemoryError:
        yield Heard(task[0], failure="decoding it takes more memory than a worker may have. Re-encode it.")
    except Exception as error:  # noqa: BLE001 (one bad file never stops a run, not even by a mistake of ours)
        yield Heard(task[0], failure=reason(error))


def reason(error: Exception) -> str:
    """Say in one line why a file could not be tagged, without its path."""
    if isinstance(error, AudioError):
        return error.reason
    if isinstance(error, MoodbookError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error}"


class _Counted:
    """A stream of waveform chunks that counts its samples."""

    def __init__(self, chunks: Iterable[np.ndarray]) -> None:
        self._chunks = chunks
        self.samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for chunk in self._chunks:
            self.samples += len(chunk)
            yield chunk
