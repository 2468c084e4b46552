"""Files become segments, ahead of the engine and in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

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

SEGMENTS_AT_A_TIME = 8
"""Segments that are handed to the engine at a time: 4 MiB."""
_BATCHES_AHEAD = 4
"""Batches that wait for the engine: at most 16 MiB, whatever the files are."""
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
        segments: At most `SEGMENTS_AT_A_TIME` segments; None at the end of the file.
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
    for batch in _batches(stream_segments(counter, hearing.features)):
        yield Heard(Path(path), batch)
    yield Heard(Path(path), duration_seconds=counter.samples / SAMPLE_RATE)


def listen_ahead(paths: Iterable[str | Path], hearing: Hearing) -> Generator[Heard]:
    """Decode files one after the other in a thread of their own, a few batches ahead of who asks.

    A file that cannot be read ends with its `failure`; whatever goes wrong inside one file never reaches another. Close
    the generator to end the thread.

    Raises:
        Exception: Whatever `paths` itself raises.
    """
    waiting: queue.Queue[Heard | BaseException | None] = queue.Queue(_BATCHES_AHEAD)
    closed = threading.Event()

    def put(item: Heard | BaseException | None) -> bool:
        while not closed.is_set():
            try:
                waiting.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def decode() -> None:
        try:
            for path in paths:
                for heard in _listen_or_say_why(path, hearing):
                    if not put(heard):
                        return
            put(None)
        except BaseException as error:  # noqa: BLE001 (raised again where the results are read)
            put(error)

    thread = threading.Thread(target=decode, name="moodbook-decode", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        closed.set()
        thread.join()


def listen_isolated(paths: Iterable[Path], hearing: Hearing, pool: WorkerPool) -> Generator[Heard]:
    """Decode files in worker processes; the pieces of different files mix.

    A file on which a decoder dies or hangs ends with a `failure` that says so. Close the generator to drop what is
    being decoded.

    Raises:
        WorkerError: A worker cannot start.
    """
    tasks = ((path, hearing) for path in paths)
    for (path, _), heard in pool.run(_listen_for_pool, tasks):
        yield Heard(path, failure=heard.reason) if isinstance(heard, Lost) else heard


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


def _listen_or_say_why(path: str | Path, hearing: Hearing) -> Iterator[Heard]:
    try:
        yield from listen(path, hearing)
    except Exception as error:  # noqa: BLE001 (one bad file never stops a run, not even by a mistake of ours)
        yield Heard(Path(path), failure=reason(error))


def _batches(parts: Iterator[Segments]) -> Iterator[Segments]:
    """Join single segments to batches for the engine."""
    held: list[Segments] = []
    for part in parts:
        held.append(part)
        if len(held) == SEGMENTS_AT_A_TIME:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(parts: list[Segments]) -> Segments:
    return Segments(np.concatenate([part.log_mel for part in parts]), np.concatenate([part.filled for part in parts]))


class _Counted:
    """A stream of waveform chunks that counts its samples."""

    def __init__(self, chunks: Iterable[np.ndarray]) -> None:
        self._chunks = chunks
        self.samples = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        for chunk in self._chunks:
            self.samples += len(chunk)
            yield chunk
