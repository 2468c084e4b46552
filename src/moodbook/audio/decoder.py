"""What every decoder is, and what it tells `decode`, which knows the path and makes the public errors of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from moodbook.audio.files import FileRange


class UnsupportedCodecError(Exception):
    """The decoder cannot open this file."""


class BrokenStreamError(Exception):
    """The decoder cannot go on.

    Args:
        reason: In the decoder's words.
        at_end: Whether it had come to the last byte of the file.
    """

    def __init__(self, reason: str, *, at_end: bool) -> None:
        self.at_end = at_end
        super().__init__(reason)


TRUNCATION_SECONDS = 0.25
"""A file that gives less than it declares by more than this is truncated. Encoders' own padding is shorter."""


class Decoder(ABC):
    """An open audio file.

    Attributes:
        sample_rate: Samples a second and channel.
        channels: Number of channels.
        container: Name of the container, such as "ogg".
        codec: Name of the codec, such as "vorbis".
        declared_samples: Samples a channel that the file promises; None where it promises nothing.
        held_samples: Those of them that can be there by the size of the file; None where only decoding tells.
        is_unfinished: Whether the file lacks the mark that closes it.
    """

    sample_rate: int
    channels: int
    container: str
    codec: str
    declared_samples: int | None
    held_samples: int | None
    is_unfinished: bool

    @property
    @abstractmethod
    def duration_seconds(self) -> float | None:
        """How long it plays by its header; None where that does not tell."""

    @property
    def is_truncated(self) -> bool:
        """Whether the file is shorter than it says."""
        if self.declared_samples is None or self.held_samples is None:
            return self.is_unfinished
        missing = (self.declared_samples - self.held_samples) / self.sample_rate
        return self.is_unfinished or missing > TRUNCATION_SECONDS

    def count_seconds(self) -> float | None:
        """How long it plays, if need be by reading the whole file; None where only decoding it tells."""
        return self.duration_seconds

    @abstractmethod
    def seek(self, sample: int) -> int:
        """Move to `sample`, or to some sample before it, and tell which."""

    @abstractmethod
    def blocks(self) -> Iterator[Float32[np.ndarray, " samples"]]:
        """Give what follows as mono blocks.

        Raises:
            BrokenStreamError: The rest cannot be decoded; the blocks before are good.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of everything but the file itself."""


def raise_failure(source: FileRange) -> None:
    """Tell that the file ended for the decoder because it could not be read.

    Raises:
        BrokenStreamError: It could not be read.
    """
    if source.failure is not None:
        raise BrokenStreamError(str(source.failure.strerror), at_end=False)
