"""Resample to 22,050 Hz as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
from jaxtyping import Float32

from moodbook.features import SAMPLE_RATE


def resample(
    blocks: Iterable[Float32[np.ndarray, " _"]], sample_rate: int
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Resample consecutive blocks of one waveform to 22,050 Hz, in constant memory.

    The filter is soxr's HQ (linear phase, stop band from the Nyquist frequency): lower qualities move the log-mel by
    up to 3.7. The samples do not depend on how the waveform is cut into blocks, and those that have come do not depend
    on the ones that follow.

    Args:
        blocks: The waveform at `sample_rate`.
        sample_rate: Samples a second of the blocks.

    Yields:
        Blocks of any length, `samples * 22050 / sample_rate` together, rounded.
    """
    if sample_rate == SAMPLE_RATE:
        yield from blocks
        return
    stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    for block in blocks:
        resampled = stream.resample_chunk(block, last=False)
        if len(resampled):
            yield resampled
    resampled = stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
    if len(resampled):
        yield resampled
