"""Whether two files sound alike, heard in a process of its own: a decoder that dies or hangs costs one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from moodbook import audio
from moodbook.audio.worker import DEFAULT_LIMITS, Limits, Lost, WorkerPool
from moodbook.errors import AudioError

_HEARD_SECONDS = 1.0


class Listener:
    """Decodes the beginnings of files and compares them; use it in a ``with`` statement, one for a run.

    Args:
        limits: What decoding may take.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._workers = WorkerPool(1, limits)

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workers.close()

    def objection(self, old: Path, new: Path) -> str | None:
        """Say what is wrong with the beginning of either file, or that they differ; None where they sound alike.

        Raises:
            WorkerError: No worker can start.
        """
        for _, said in self._workers.run(_objections, [(str(old), str(new))]):
            return _undecodable(said.reason) if isinstance(said, Lost) else said
        return None


def _objections(files: tuple[str, str]) -> Iterator[str]:
    """Compare two files: what a worker runs."""
    heard = []
    for file in files:
        try:
            heard.append(audio.load(file, duration_seconds=_HEARD_SECONDS, allow_partial=True))
        except AudioError as error:
            yield _undecodable(error.reason)
            return
    if not np.array_equal(heard[0], heard[1]):
        yield "its audio would not have sounded the same."


def _undecodable(reason: str) -> str:
    return f"its audio cannot be decoded ({reason})"
