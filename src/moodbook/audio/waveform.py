"""File to waveform: mono, 22,050 Hz, float32, and only as much of it as is asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from moodbook.audio.decode import decode, open_decoder
from moodbook.audio.resample import resample
from moodbook.errors import AudioError, EmptyAudioError
from moodbook.features import FIRST_SEGMENT_SAMPLES, SAMPLE_RATE

_LEAD_SECONDS = 1
"""Decoding begins this much before the start that was asked for: longer than the memory of every codec (opus: 80 ms,
mp3: 9 frames) and of the resampling filter."""


@dataclass(frozen=True)
class AudioInfo:
    """What the header of an audio file says.

    Attributes:
        path: The file.
        duration_seconds: How long it plays; None where the header does not tell, see `probe`.
        sample_rate: Samples a second and channel.
        channels: Number of channels.
        container: Such as "ogg".
        codec: Such as "vorbis".
        is_truncated: Whether the header promises more audio than the file can hold, or the end is not marked as one.
            Only decoding finds every file that breaks off: many containers promise nothing.
    """

    path: Path
    duration_seconds: float | None
    sample_rate: int
    channels: int
    container: str
    codec: str
    is_truncated: bool


def probe(path: str | Path, *, count: bool = True) -> AudioInfo:
    """Read what the header of an audio file says, without decoding it.

    Args:
        path: The file.
        count: Read an mp3 without a header to its end, to count its frames; else its duration is None.

    Raises:
        UnreadableAudioError: The file cannot be opened, is no audio, or its header is damaged.
        EmptyAudioError: The file is empty or holds tags alone.
    """
    with open_decoder(path) as decoder:
        return AudioInfo(
            path=Path(path),
            duration_seconds=decoder.count_seconds() if count else decoder.duration_seconds,
            sample_rate=decoder.sample_rate,
            channels=decoder.channels,
            container=decoder.container,
            codec=decoder.codec,
            is_truncated=decoder.is_truncated,
        )


def load(
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    allow_partial: bool = False,
) -> Float32[np.ndarray, " samples"]:
    """Read an audio file as one mono waveform at 22,050 Hz.

    Only what is asked for is decoded. With `start_seconds` the samples equal those of a full load from there on, to
    1e-3: decoding begins a second earlier, or at the start of the file for codecs in which one cannot seek exactly.

    Args:
        path: The file; its bytes decide how it is read, not its name.
        start_seconds: Where to begin.
        duration_seconds: How much to read; None reads to the end. Less comes where the file ends earlier.
        allow_partial: Take what a truncated or damaged file holds instead of raising.

    Returns:
        The waveform, full scale 1, C-contiguous.

    Raises:
        UnreadableAudioError: The file is missing, no audio, truncated or damaged.
        EmptyAudioError: There is no sample, in the file or behind `start_seconds`.
        InvalidSamplesError: The file holds NaN, infinite or absurdly large samples.
        AudioError: `start_seconds` or `duration_seconds` is not a possible time.
    """
    chunks = stream(path, start_seconds=start_seconds, duration_seconds=duration_seconds, allow_partial=allow_partial)
    return np.concatenate(list(chunks))


def load_first_segment(path: str | Path, *, allow_partial: bool = False) -> Float32[np.ndarray, " samples"]:
    """Read as much of a file as the first segment of its features can see: 23.8 s.

    The samples are the first ones of `load`, bit for bit. A file that is damaged further on is not noticed.

    Raises:
        AudioError: As `load`.
    """
    return np.concatenate(list(_take(path, 0, FIRST_SEGMENT_SAMPLES, allow_partial)))


def stream(
    path: str | Path,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    allow_partial: bool = False,
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Read an audio file of any length in constant memory: the samples of `load`, bit for bit, in chunks.

    The file is opened when the first chunk is asked for.

    Args:
        path: As in `load`.
        start_seconds: As in `load`.
        duration_seconds: As in `load`.
        allow_partial: As in `load`.

    Yields:
        Consecutive chunks, none of them empty, at least one.

    Raises:
        AudioError: As `load`; an error further on in the file comes after the chunks before it.
    """
    if not (math.isfinite(start_seconds) and start_seconds >= 0):
        raise AudioError(path, f"start_seconds is {start_seconds}; expected 0 or more")
    if duration_seconds is not None and not duration_seconds > 0:
        raise AudioError(path, f"duration_seconds is {duration_seconds}; expected more than 0, or None")
    count = None
    if duration_seconds is not None and math.isfinite(duration_seconds):
        count = max(1, round(duration_seconds * SAMPLE_RATE))
    yield from _take(path, round(start_seconds * SAMPLE_RATE), count, allow_partial)


def _take(
    path: str | Path, start: int, count: int | None, allow_partial: bool
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Give the samples `[start, start + count)` of the waveform at 22,050 Hz."""
    taken = 0
    with open_decoder(path) as decoder:
        # Both rates have a sample at the same time every `step` samples: there the resampling may begin.
        step = SAMPLE_RATE // math.gcd(SAMPLE_RATE, decoder.sample_rate)
        lead = max(0, start - _LEAD_SECONDS * SAMPLE_RATE) // step * step
        blocks = decode(decoder, path, start=lead * decoder.sample_rate // SAMPLE_RATE, allow_partial=allow_partial)
        skip = start - lead
        for chunk in resample(blocks, decoder.sample_rate):
            wanted = chunk[skip : None if count is None else skip + count - taken]
            skip = max(0, skip - len(chunk))
            if len(wanted):
                taken += len(wanted)
                yield wanted
            if taken == count:
                return
    if not taken and start:
        raise EmptyAudioError(path, f"nothing follows after {start / SAMPLE_RATE:.1f} s. Begin earlier.")
    if not taken:
        raise EmptyAudioError(path, f"it lasts less than one sample at {SAMPLE_RATE} Hz. Record it again.")
