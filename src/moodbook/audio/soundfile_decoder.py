"""The decoder for wav, aiff, au, caf, flac, ogg, opus and mp3: libsndfile."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile
from jaxtyping import Float32

from moodbook.audio import mpeg
from moodbook.audio.containers import Container
from moodbook.audio.declared import declared_share, is_unfinished_ogg
from moodbook.audio.decoder import BrokenStreamError, Decoder, UnsupportedCodecError, raise_failure
from moodbook.audio.downmix import downmix
from moodbook.audio.files import FileRange

_BLOCK_VALUES = 1 << 16  # Samples of all channels in a block: 0.74 s of stereo at 44.1 kHz.
_READ_SAMPLES = 4096  # Read at once: of a read that fails libsndfile gives nothing, so this much is lost before damage.
_NO_COUNT = 1 << 62  # libsndfile's "unknown number of frames" is above this.


class _Sound(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types.
    """A file that is read from front to back.

    soundfile seeks after every read of a file that can seek, to where it already is. That fails in truncated flac
    files, and hides that a damaged page of an Ogg file was skipped.
    """

    def seekable(self) -> bool:
        return False


class SoundfileDecoder(Decoder):
    """An audio file, decoded by libsndfile.

    Args:
        file: The open file; it is not closed with the decoder.
        container: What it is.
        size: Its bytes.

    Raises:
        UnsupportedCodecError: libsndfile cannot open it.
    """

    def __init__(self, file: BinaryIO, container: Container, size: int) -> None:
        self._file = file
        self._mpeg = mpeg.read_stream(file, container.start, size) if container.name == "mp3" else None
        if self._mpeg is None:
            self._source = FileRange(file, container.start, size)
        else:
            self._source = mpeg.clean_view(file, self._mpeg)
        self._sound = self._open()
        self._position = 0
        if self._mpeg is None and self._sound.subtype.startswith("MPEG"):
            self._sound.close()
            raise UnsupportedCodecError("mp3 inside another container, whose length libsndfile only estimates")
        self.container = container.name.split()[0]
        self.codec = str(self._sound.subtype).lower() if self._mpeg is None else f"mp{self._mpeg.first.layer}"
        self.sample_rate = int(self._sound.samplerate)
        self.channels = int(self._sound.channels)
        share = declared_share(file, container, size)
        self.is_unfinished = share == math.inf or (self.container == "ogg" and is_unfinished_ogg(file, size))
        # Samples that libsndfile will give. Of an mp3 it knows them by a Xing header, else it only estimates them.
        self._samples = int(self._sound.frames)
        is_estimate = self._mpeg is not None and self._mpeg.declared_frames is None
        self.declared_samples = self.held_samples = None
        if self._samples < _NO_COUNT and share < math.inf and not is_estimate:
            self.declared_samples = round(self._samples * share)
            self.held_samples = self._samples

    def _open(self) -> _Sound:
        self._source.seek(0)
        try:
            return _Sound(self._source)
        except soundfile.LibsndfileError as error:
            if self._source.failure is not None:
                raise self._source.failure from error
            raise UnsupportedCodecError(_reason(error)) from error

    @property
    def duration_seconds(self) -> float | None:
        """How long it plays by its header; None where that does not tell."""
        return None if self.declared_samples is None else self.declared_samples / self.sample_rate

    def count_seconds(self) -> float | None:
        """How long it plays; for an mp3 without a header its frames are counted."""
        if self.duration_seconds is None and self._mpeg is not None:
            return mpeg.count_samples(self._file, self._mpeg) / self.sample_rate
        return self.duration_seconds

    def close(self) -> None:
        """Let go of everything but the file itself."""
        self._sound.close()

    def seek(self, sample: int) -> int:
        """Move to `sample`; to the start where the codec cannot seek exactly."""
        # libsndfile's seek in Vorbis can land elsewhere near the end of a file.
        if sample == 0 or self.codec == "vorbis":
            return 0
        try:
            self._position = int(self._sound.seek(sample))
        except soundfile.LibsndfileError:
            # The codec needs the end of the file for it, and the end is missing. The decoder is of no use any more.
            self._sound.close()
            self._sound = self._open()
        return self._position

    def blocks(self) -> Iterator[Float32[np.ndarray, " samples"]]:
        """Give what follows as mono blocks."""
        length = max(_READ_SAMPLES, _BLOCK_VALUES // self.channels)
        buffer = np.empty((length, self.channels), dtype=np.float32)
        filled = 0
        while True:
            # Asked for more than there is, the FLAC decoder stumbles over tags at the end of the file.
            wanted = min(_READ_SAMPLES, length - filled, self._samples - self._position)
            try:
                count = self._sound.buffer_read_into(buffer[filled : filled + wanted], "float32")
            except soundfile.LibsndfileError as error:
                yield downmix(buffer[:filled])
                raise BrokenStreamError(_reason(error), at_end=self._source.at_end) from error
            filled += count
            self._position += count
            if filled == length or not count:
                yield downmix(buffer[:filled])
                filled = 0
            if not count:
                raise_failure(self._source)
                return


def _reason(error: soundfile.LibsndfileError) -> str:
    return "libsndfile: " + str(error.error_string).removeprefix("Error : ").rstrip(".")
