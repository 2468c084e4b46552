"""The decoder for m4a, aac, wma, wavpack, ape, webm and the rest: FFmpeg's libraries, through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.stream import Disposition
from jaxtyping import Float32

from moodbook.audio.containers import Container
from moodbook.audio.declared import declared_share, is_unfinished_ogg
from moodbook.audio.decoder import BrokenStreamError, Decoder, UnsupportedCodecError, raise_failure
from moodbook.audio.downmix import downmix
from moodbook.audio.files import FileRange

av.logging.set_level(av.logging.PANIC)

_BLOCK_SAMPLES = 1 << 15  # Frames of a codec, 1,024 samples or so, are gathered into blocks of this length.
_SCALES = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
_DECLARING = frozenset({"mp4", "asf", "matroska", "ogg", "wavpack", "ape", "tta", "tak", "musepack", "dsf", "caf"})
"""Containers whose header states a length; FFmpeg estimates that of the others from the bit rate."""
_SPANNING = frozenset({"asf", "matroska"})
"""Those of them that state one length for all their tracks, from time 0 to the end of the longest."""
_OPTIONS = {"protocol_whitelist": "none"}
"""No container may make FFmpeg open another file or an address."""


class FFmpegDecoder(Decoder):
    """An audio file, decoded by FFmpeg's libraries.

    Args:
        file: The open file; it is not closed with the decoder.
        container: What it is.
        size: Its bytes.

    Raises:
        UnsupportedCodecError: FFmpeg cannot open it, or it has no audio.
    """

    def __init__(self, file: BinaryIO, container: Container, size: int) -> None:
        self._source = FileRange(file, container.start, size)
        try:
            self._container = av.open(
                self._source, "r", format=container.demuxer, options=_OPTIONS, metadata_errors="replace"
            )
        except (av.error.FFmpegError, ValueError) as error:
            if self._source.failure is not None:
                raise self._source.failure from error
            raise UnsupportedCodecError(f"FFmpeg: {_reason(error)}") from error
        if not self._container.streams.audio:
            self._container.close()
            raise UnsupportedCodecError("it has no audio track")
        if getattr(self._container.streams.audio[0], "codec_context", None) is None:
            self._container.close()
            raise UnsupportedCodecError("its codec is unknown")
        self._stream = self._container.streams.audio[0]
        self._first: AudioFrame | None = None
        self._frames = self._decode()
        self.container = container.name.split()[0]
        self.codec = str(self._stream.codec_context.name)
        self.is_unfinished = self.container == "ogg" and is_unfinished_ogg(file, size)
        self._declares = container.name in _DECLARING
        try:
            # The header of AAC can understate rate and channels: the first frame decides.
            self._first = next(self._frames, None)
        except BrokenStreamError as error:
            self._container.close()
            raise UnsupportedCodecError(str(error)) from error
        facts = self._first or self._stream.codec_context
        self.sample_rate = int(facts.sample_rate)
        self.channels = len(facts.layout.channels)
        seconds = self.duration_seconds
        # FFmpeg shortens the duration of a truncated caf file to what is there.
        share = declared_share(file, container, size) if container.name == "caf" else 1.0
        self.declared_samples = None if seconds is None else round(seconds * share * self.sample_rate)
        self.held_samples = None if seconds is None else round(seconds * self.sample_rate)

    @property
    def duration_seconds(self) -> float | None:
        """How long it plays, if the header says so."""
        if not self._declares:
            return None
        if self.container in _SPANNING:
            return self._span_seconds()
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        return None if self._container.duration is None else self._container.duration / av.time_base

    def _span_seconds(self) -> float | None:
        # A picture on the cover is a track of the container too, but no long one.
        tracks = [
            stream
            for stream in self._container.streams
            if stream.type != "attachment" and Disposition.attached_pic not in stream.disposition
        ]
        if len(tracks) > 1 or self._container.duration is None:
            return None
        return (self._container.duration - (self._container.start_time or 0)) / av.time_base

    def close(self) -> None:
        """Let go of everything but the file itself."""
        self._container.close()

    def seek(self, sample: int) -> int:
        """Stay at the start: time stamps are not exact in all containers, and the samples before are decoded fast."""
        return 0

    def blocks(self) -> Iterator[Float32[np.ndarray, " samples"]]:
        """Give what follows as mono blocks."""
        gathered: list[np.ndarray] = []
        samples = 0
        try:
            frame = self._first
            while frame is not None:
                self._check_frame(frame, samples)
                gathered.append(downmix(_as_float(frame)))
                samples += frame.samples
                if sum(map(len, gathered)) >= _BLOCK_SAMPLES:
                    yield np.concatenate(gathered)
                    gathered = []
                frame = next(self._frames, None)
        except BrokenStreamError:
            if gathered:
                yield np.concatenate(gathered)
            raise
        if gathered:
            yield np.concatenate(gathered)
        raise_failure(self._source)

    def _decode(self) -> Iterator[AudioFrame]:
        try:
            for packet in self._container.demux(self._stream):
                for frame in packet.decode():
                    if isinstance(frame, AudioFrame) and frame.samples:
                        yield frame
        except (av.error.FFmpegError, ValueError) as error:
            raise BrokenStreamError(f"FFmpeg: {_reason(error)}", at_end=self._source.at_end) from error

    def _check_frame(self, frame: AudioFrame, samples: int) -> None:
        if (frame.sample_rate, len(frame.layout.channels)) != (self.sample_rate, self.channels):
            raise BrokenStreamError(
                f"it changes to {frame.sample_rate} Hz and {len(frame.layout.channels)} channels", at_end=False
            )


def _as_float(frame: AudioFrame) -> Float32[np.ndarray, "samples channels"]:
    """Give the samples of a frame, full scale 1."""
    kind = frame.format.name
    values = frame.to_ndarray()
    values = values.T if kind.endswith("p") else values.reshape(frame.samples, -1)
    kind = kind.removesuffix("p")
    if kind == "u8":
        values = values.astype(np.float32) - np.float32(_SCALES[kind])
    samples: np.ndarray = values.astype(np.float32)
    return samples / np.float32(_SCALES[kind]) if kind in _SCALES else samples


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
