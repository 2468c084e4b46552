"""The paper's log-mel spectrogram: one implementation, for training and for tagging (numpy only).

A waveform becomes 128 mel bands by frames of 512 samples, compressed by a logarithm and scaled by the authors' affine
map; the network reads it in segments of 1,024 frames (23.78 s). `docs/method.md` sets the equations beside this file.

The products of matrices are done on blocks of exactly 128 frames that lie on the track's own frame grid. A frame
therefore always has the same place in a product of the same size, and its bits depend on the music alone: not on the
length of the track, not on how it was cut into chunks, not on whether the rest of the track was decoded.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64
from pydantic import BaseModel, ConfigDict

from moodbook.errors import DataError

SAMPLE_RATE = 22_050
"""Samples a second of every waveform that enters the features (paper, section 3)."""
N_FFT = 2048
"""Samples of one frame, and length of its Hann window (librosa's default in 2019 and now)."""
HOP_LENGTH = 512
"""Samples from one frame to the next (librosa's default)."""
N_MELS = 128
"""Mel bands from 0 to 11,025 Hz (librosa's default)."""
SEGMENT_FRAMES = 1024
"""Frames of one segment, the input of the network (paper, section 3)."""
SEGMENT_SECONDS = SEGMENT_FRAMES * HOP_LENGTH / SAMPLE_RATE
"""Seconds from the start of one segment to the start of the next: 23.78."""
SEGMENT_SAMPLES = (SEGMENT_FRAMES - 1) * HOP_LENGTH
"""Samples of the shortest waveform that has 1,024 centred frames: 523,776. A shorter one is padded."""
FIRST_SEGMENT_SAMPLES = SEGMENT_SAMPLES + N_FFT // 2
"""Samples that the first segment can see: 524,800. Its last frame reaches 1,024 samples past its centre."""
SILENCE = np.float32(-0.9)
"""The scaled log-mel of digital silence, and what pads the last segment of a track."""
LARGEST_SAMPLE = 1e9
"""Largest magnitude taken for a sample, where full scale is 1. The power spectrum of 1e14 overflows float32."""

_LOG_GAIN = 10_000.0  # The C of ln(1 + C mel); authors' feature script.
_LOG_RANGE = 19.0114  # Largest ln(1 + 10000 mel) in the authors' data; the affine map takes [0, it] to [-0.9, 0.9].
_BLOCK_FRAMES = 128  # Divides 1,024.
_FRAMES_A_TRANSFORM = 32  # Divides 128; 32 frames and their spectra are 1 MB, which stays in a second-level cache.
_BLOCK_HOP = _BLOCK_FRAMES * HOP_LENGTH
_BLOCK_SAMPLES = _BLOCK_HOP - HOP_LENGTH + N_FFT
_BANDS_A_PRODUCT = 8
_PADDING = N_FFT // 2


class FeatureConfig(BaseModel):
    """The dials of the features."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    center_padding: Literal["constant", "reflect"] = "constant"
    """What stands before the first and behind the last sample so that frames are centred. constant: zeros, as librosa
    has done since 0.10. reflect: the mirrored waveform, as the authors' librosa of 2019. Only the two frames at either
    end differ."""


DEFAULT_FEATURES = FeatureConfig()
"""The features where nothing else is asked for."""


@dataclass(frozen=True)
class Segments:
    """The log-mel of a track, cut into the network's inputs.

    Attributes:
        log_mel: The scaled log-mel; frames that a short last segment lacks hold silence (-0.9).
        filled: Share of real frames in each segment, in (0, 1]; the weight of a segment when a track is pooled.
    """

    log_mel: Float32[np.ndarray, "segments 128 1024"]
    filled: Float32[np.ndarray, " segments"]


def log_mel(
    waveform: Float32[np.ndarray, " samples"], config: FeatureConfig = DEFAULT_FEATURES
) -> Float32[np.ndarray, "128 frames"]:
    """Compute the scaled log-mel spectrogram of a whole waveform: ``1 + samples // 512`` frames.

    Args:
        waveform: Mono, 22,050 Hz, full scale 1.
        config: The dials of the features.

    Returns:
        ``0.09468 * ln(1 + 10000 * mel) - 0.9``, not clipped: silence is -0.9, loud music can exceed 0.9.

    Raises:
        DataError: The waveform is empty, not one row of floats, or holds NaN, infinite or absurdly large samples.
    """
    return np.concatenate(list(_log_mel_blocks([waveform], config)), axis=1)


def segments(
    waveform: Float32[np.ndarray, " samples"], config: FeatureConfig = DEFAULT_FEATURES, first_only: bool = False
) -> Segments:
    """Cut the log-mel of a waveform into segments.

    Segment ``i`` holds frames ``1024 i`` to ``1024 (i + 1)`` of the track's one centred spectrogram. The first segment
    is thus the paper's input, and it has the same bits whether the waveform is the whole track or only its first
    `FIRST_SEGMENT_SAMPLES` samples.

    Args:
        waveform: Mono, 22,050 Hz, full scale 1.
        config: The dials of the features.
        first_only: Give the first segment alone, as the paper does.

    Returns:
        At least one segment.

    Raises:
        DataError: As `log_mel`.
    """
    parts = list(stream_segments([waveform[:FIRST_SEGMENT_SAMPLES] if first_only else waveform], config))
    if first_only:
        parts = parts[:1]
    return Segments(
        log_mel=np.concatenate([part.log_mel for part in parts]), filled=np.concatenate([part.filled for part in parts])
    )


def stream_segments(
    chunks: Iterable[Float32[np.ndarray, " _"]], config: FeatureConfig = DEFAULT_FEATURES
) -> Iterator[Segments]:
    """Compute the segments of a track of any length in constant memory, one at a time.

    The results have the same bits as those of `segments`, however the track is cut into chunks.

    Args:
        chunks: Consecutive pieces of one mono waveform at 22,050 Hz; empty pieces are allowed.
        config: The dials of the features.

    Yields:
        Exactly one segment each.

    Raises:
        DataError: As `log_mel`; an error in a later chunk comes after the segments before it.
    """
    segment = np.full((1, N_MELS, SEGMENT_FRAMES), SILENCE)
    frames = 0
    for block in _log_mel_blocks(chunks, config):
        segment[0, :, frames : frames + block.shape[1]] = block
        frames += block.shape[1]
        if frames == SEGMENT_FRAMES:
            yield Segments(segment, np.ones(1, dtype=np.float32))
            segment = np.full((1, N_MELS, SEGMENT_FRAMES), SILENCE)
            frames = 0
    if frames:
        yield Segments(segment, np.full(1, frames / SEGMENT_FRAMES, dtype=np.float32))


LOG_SLOPE = 1.8 / _LOG_RANGE
"""The a of ``a ln(1 + 10000 mel) - 0.9``: 0.09468."""


@functools.cache
def mel_filters(
    sample_rate: int = SAMPLE_RATE, n_fft: int = N_FFT, n_mels: int = N_MELS
) -> Float64[np.ndarray, "n_mels bins"]:
    """Build the triangular mel filters: a power spectrum times these is a mel spectrum.

    The mel scale is linear, ``3 f / 200``, up to 1,000 Hz (15 mel) and logarithmic above, ``15 + 27 ln(f / 1000) / ln
    6.4``. The corners ``f_0 .. f_(n_mels + 1)`` lie evenly on it from 0 to half the sample rate; filter ``m`` rises
    from ``f_m`` to ``f_(m+1)``, falls to ``f_(m+2)`` and has area 1 in Hz: its peak is ``2 / (f_(m+2) - f_m)``.

    Args:
        sample_rate: Samples a second of the waveform.
        n_fft: Samples of one frame; the power spectrum has ``n_fft // 2 + 1`` bins.
        n_mels: Mel bands.

    Source:
        M. Slaney, Auditory Toolbox: A MATLAB Toolbox for Auditory Modeling Work, Technical Report 1998-010, Interval
        Research Corporation, 1998. The default of librosa's `melspectrogram`.
    """
    corners = _corners(n_mels, sample_rate / 2)
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    low, peak, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    triangles = np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak))
    filters: np.ndarray = np.maximum(triangles, 0.0) * (2.0 / (high - low))
    filters.flags.writeable = False
    return filters


def mel_centres(n_mels: int, highest: float) -> Float64[np.ndarray, " n_mels"]:
    """Give the frequency at the peak of each mel filter, in Hz.

    Args:
        n_mels: Mel bands.
        highest: Frequency at which the last filter ends, half the sample rate.
    """
    return _corners(n_mels, highest)[1:-1]


def _corners(n_mels: int, highest: float) -> Float64[np.ndarray, " corners"]:
    """Give the n_mels + 2 corners of the filters, evenly on the mel scale from 0 to `highest`."""
    linear_mels = 15.0
    mels_per_log = 27.0 / np.log(6.4)
    top = linear_mels + mels_per_log * np.log(highest / 1000.0)
    mels = np.linspace(0.0, top, n_mels + 2)
    corners: np.ndarray = np.where(
        mels < linear_mels,
        mels * 200.0 / 3.0,
        1000.0 * np.exp((np.maximum(mels, linear_mels) - linear_mels) / mels_per_log),
    )
    return corners


@dataclass(frozen=True)
class _Bands:
    """A few neighbouring mel bands: which rows of the mel spectrum, which bins they hear, with what weight."""

    rows: slice
    bins: slice
    weights: Float32[np.ndarray, "bands bins"]


@functools.cache
def _bands() -> tuple[_Bands, ...]:
    """Cut the mel filters into products of eight bands, with the gain of the logarithm folded in.

    Eight neighbouring triangles are zero on most bins, so sixteen small products do a fourteenth of the work of one
    large one. They are also so small (128 x 8 x 218 at most, below OpenBLAS's 262,144) that BLAS keeps each on one
    thread: the bits cannot depend on the number of threads, and BLAS's idle threads take no time from the network's.
    """
    bands = []
    for first in range(0, N_MELS, _BANDS_A_PRODUCT):
        rows = slice(first, first + _BANDS_A_PRODUCT)
        heard = np.flatnonzero(mel_filters()[rows].any(axis=0))
        bins = slice(int(heard[0]), int(heard[-1]) + 1)
        bands.append(_Bands(rows, bins, (_LOG_GAIN * mel_filters()[rows, bins]).astype(np.float32)))
    return tuple(bands)


@functools.cache
def _window() -> Float64[np.ndarray, " 2048"]:
    """Give the periodic Hann window, ``(1 - cos(2 pi n / N)) / 2``."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(N_FFT) / N_FFT)


def _log_mel_blocks(
    chunks: Iterable[Float32[np.ndarray, " _"]], config: FeatureConfig
) -> Iterator[Float32[np.ndarray, "128 frames"]]:
    """Yield the log-mel of a track in blocks of 128 frames; the last one is as short as the track makes it."""
    buffer, room = np.zeros(_BLOCK_SAMPLES), _Workspace()
    held = 0  # Samples in the buffer.
    for piece in _pad(_checked(chunks), config.center_padding):
        start = 0
        while start < len(piece):
            taken = min(len(piece) - start, _BLOCK_SAMPLES - held)
            buffer[held : held + taken] = piece[start : start + taken]
            held += taken
            start += taken
            if held == _BLOCK_SAMPLES:
                yield _block_log_mel(buffer, room)
                held = _BLOCK_SAMPLES - _BLOCK_HOP
                buffer[:held] = buffer[_BLOCK_HOP:]
    frames = 1 + (held - N_FFT) // HOP_LENGTH
    if frames > 0:
        buffer[held:] = 0.0
        yield _block_log_mel(buffer, room)[:, :frames]


class _Workspace:
    """Room for what is computed on the way to a block, used again for every block of a track.

    Arrays of this size that come and go are given back to the system each time, and to get them again, page by page,
    costs more than the transforms.
    """

    def __init__(self) -> None:
        bins = N_FFT // 2 + 1
        self.windowed = np.empty((_FRAMES_A_TRANSFORM, N_FFT))
        self.spectra = np.empty((_FRAMES_A_TRANSFORM, bins), dtype=np.complex128)
        self.squares = np.empty((_FRAMES_A_TRANSFORM, bins)), np.empty((_FRAMES_A_TRANSFORM, bins))
        self.power = np.empty((_BLOCK_FRAMES, bins), dtype=np.float32)


def _block_log_mel(samples: Float64[np.ndarray, " 67072"], room: _Workspace) -> Float32[np.ndarray, "128 128"]:
    """Compute ``a ln(1 + C M |rfft(w x)|^2) + b`` of 128 frames.

    The transform is in float64, as librosa's is (its window is float64): numpy's float32 transform is no faster.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, N_FFT)[::HOP_LENGTH]
    real, imaginary = room.squares
    for first in range(0, _BLOCK_FRAMES, _FRAMES_A_TRANSFORM):
        part = slice(first, first + _FRAMES_A_TRANSFORM)
        np.multiply(frames[part], _window(), out=room.windowed)
        np.fft.rfft(room.windowed, axis=1, out=room.spectra)
        np.square(room.spectra.real, out=real)
        np.square(room.spectra.imag, out=imaginary)
        real += imaginary
        room.power[part] = real
    mel = np.empty((N_MELS, _BLOCK_FRAMES), dtype=np.float32)
    for band in _bands():
        np.matmul(band.weights, room.power[:, band.bins].T, out=mel[band.rows])
    mel += np.float32(1.0)
    np.log(mel, out=mel)
    mel *= np.float32(LOG_SLOPE)
    mel += SILENCE
    return mel


def _pad(chunks: Iterable[np.ndarray], mode: Literal["constant", "reflect"]) -> Iterator[np.ndarray]:
    """Put 1,024 samples before and behind a track that comes in chunks."""
    source = iter(chunks)
    head = np.zeros(0, dtype=np.float32)
    for chunk in source:
        head = np.concatenate([head, chunk]) if len(head) else chunk
        if len(head) > _PADDING:
            break
    if not len(head):
        raise DataError("the waveform is empty; give at least one sample")
    if mode == "constant":
        yield np.zeros(_PADDING, dtype=np.float32)
    else:
        # A mirror needs 1,025 samples; where the whole track is shorter, numpy mirrors it again and again.
        yield np.pad(head[: _PADDING + 1], (_PADDING, 0), mode="reflect")[:_PADDING]
    yield head
    tail = head[-_PADDING - 1 :]
    for chunk in source:
        yield chunk
        tail = np.concatenate([tail, chunk[-_PADDING - 1 :]])[-_PADDING - 1 :]
    if mode == "constant":
        yield np.zeros(_PADDING, dtype=np.float32)
    else:
        yield np.pad(tail, (0, _PADDING), mode="reflect")[len(tail) :]


def _checked(chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Refuse what is no waveform, chunk by chunk."""
    for chunk in chunks:
        if chunk.ndim != 1 or chunk.dtype.kind != "f":
            raise DataError(
                f"expected a mono waveform, one row of float32 samples; got shape {chunk.shape}, {chunk.dtype}"
            )
        # NaN fails every comparison, so one test refuses NaN, infinity and what would overflow.
        if len(chunk) and not max(float(chunk.max()), -float(chunk.min())) <= LARGEST_SAMPLE:
            raise DataError(
                f"the waveform holds NaN, infinite or absurdly large samples (above {LARGEST_SAMPLE:.0e}, where full "
                "scale is 1); decode the recording again, or repair it"
            )
        yield chunk
