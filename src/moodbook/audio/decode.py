"""File to blocks of mono samples at the file's own rate."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32

from moodbook.audio.containers import Container, identify
from moodbook.audio.declared import is_chained_ogg
from moodbook.audio.decoder import TRUNCATION_SECONDS, BrokenStreamError, Decoder, UnsupportedCodecError
from moodbook.audio.files import open_file
from moodbook.audio.soundfile_decoder import SoundfileDecoder
from moodbook.errors import EmptyAudioError, InvalidSamplesError, UnreadableAudioError
from moodbook.features import LARGEST_SAMPLE

LOWEST_RATE = 1_000
HIGHEST_RATE = 768_000
"""Sample rates outside of these bounds are taken for a damaged header."""
MOST_CHANNELS = 64
"""More channels than this are taken for a damaged header."""

_PARTIAL = "Re-encode it; `moodbook tag --allow-partial` (allow_partial=True) takes what is before that."


@contextlib.contextmanager
def open_decoder(path: str | Path) -> Iterator[Decoder]:
    """Open an audio file with the decoder that its bytes ask for.

    Raises:
        UnreadableAudioError: The file cannot be opened, is no audio, or its header is damaged.
        EmptyAudioError: The file is empty or holds tags alone.
    """
    with open_file(path) as file, contextlib.ExitStack() as stack:
        size = os.fstat(file.fileno()).st_size
        name = "audio"
        try:
            container = identify(file, str(path))
            name = container.name
            decoder = _choose_decoder(file, container, size)
            stack.callback(decoder.close)
        except UnsupportedCodecError as error:
            raise UnreadableAudioError(
                path, f"damaged or truncated {name} file ({error}). Copy or download it again."
            ) from error
        except OSError as error:
            raise UnreadableAudioError(path, f"{error.strerror}. Check the disk or the network folder.") from error
        _check_header(decoder, path)
        yield decoder


def _choose_decoder(file: BinaryIO, container: Container, size: int) -> Decoder:
    if container.name in ("ogg vorbis", "ogg opus") and is_chained_ogg(file, container.start, size):
        # libsndfile ends with the first stream. Where FFmpeg goes on, no header tells the length of the whole.
        container = replace(container, name="ogg chain", decoder="ffmpeg", demuxer="ogg")
    if container.decoder == "soundfile":
        try:
            return SoundfileDecoder(file, container, size)
        except UnsupportedCodecError:
            if container.demuxer is None:
                raise
    # FFmpeg's libraries take a while to load, and most files need none of them.
    from moodbook.audio.ffmpeg_decoder import FFmpegDecoder

    return FFmpegDecoder(file, container, size)


def _check_header(decoder: Decoder, path: str | Path) -> None:
    if not LOWEST_RATE <= decoder.sample_rate <= HIGHEST_RATE:
        raise UnreadableAudioError(
            path,
            f"its header says {decoder.sample_rate} samples a second; expected {LOWEST_RATE} to {HIGHEST_RATE}. "
            "Re-encode it.",
        )
    if not 1 <= decoder.channels <= MOST_CHANNELS:
        raise UnreadableAudioError(
            path, f"its header says {decoder.channels} channels; expected 1 to {MOST_CHANNELS}. Re-encode it."
        )


def decode(
    decoder: Decoder, path: str | Path, *, start: int = 0, allow_partial: bool = False
) -> Iterator[Float32[np.ndarray, " samples"]]:
    """Decode from a sample on, check every block, and check at the end that all was there that the file promised.

    Args:
        decoder: The open file.
        path: Its name, for messages.
        start: First sample wanted.
        allow_partial: Give what a truncated or damaged file holds instead of raising.

    Yields:
        Mono blocks at the rate of the file.

    Raises:
        UnreadableAudioError: The file is truncated or damaged, and not `allow_partial`.
        InvalidSamplesError: The file holds NaN, infinite or absurdly large samples.
        EmptyAudioError: The file holds no sample.
    """
    position = decoder.seek(start)
    damage: BrokenStreamError | None = None
    try:
        for block in decoder.blocks():
            _check_samples(block, position, decoder.sample_rate, path)
            skipped = max(0, start - position)
            position += len(block)
            if skipped < len(block):
                yield block[skipped:]
    except BrokenStreamError as error:
        damage = error
    if not allow_partial:
        _check_end(decoder, path, position, damage)
    if position == 0:
        raise EmptyAudioError(path, "it holds no audio sample. Copy or download it again.")


def _check_samples(block: Float32[np.ndarray, " samples"], position: int, sample_rate: int, path: str | Path) -> None:
    # NaN fails every comparison, so one test finds NaN, infinity and what would overflow later.
    if len(block) and not max(float(block.max()), -float(block.min())) <= LARGEST_SAMPLE:
        bad = int(np.flatnonzero(~(np.abs(block) <= LARGEST_SAMPLE))[0])
        seconds = (position + bad) / sample_rate
        raise InvalidSamplesError(
            path,
            f"sample {position + bad} (at {seconds:.1f} s) is {block[bad]}, no sound pressure; full scale is 1. Repair "
            "or re-encode it.",
        )


def _check_end(decoder: Decoder, path: str | Path, position: int, damage: BrokenStreamError | None) -> None:
    decoded = position / decoder.sample_rate
    declared = None if decoder.declared_samples is None else decoder.declared_samples / decoder.sample_rate
    missing = declared is not None and declared - decoded > TRUNCATION_SECONDS
    if declared is not None and not missing:
        # All is there. FFmpeg reports an error for the tags behind a wavpack file, for one.
        damage = None
    if damage is None and not missing and not decoder.is_unfinished:
        return
    what = "truncated" if damage is None or damage.at_end else f"damaged ({damage})"
    whole = f" of {declared:.1f} s" if missing else ""
    raise UnreadableAudioError(path, f"{what} after {decoded:.1f} s{whole}. {_PARTIAL}")
