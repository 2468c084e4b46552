"""Small audio files of every kind that the test machine's own libraries can write."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

SOUNDFILE_KINDS = {  # Name: container, subtype, rate.
    "wav": ("WAV", "PCM_16", 44_100),
    "wav-u8": ("WAV", "PCM_U8", 44_100),
    "wav-24": ("WAV", "PCM_24", 44_100),
    "wav-32": ("WAV", "PCM_32", 44_100),
    "wav-float": ("WAV", "FLOAT", 44_100),
    "wav-double": ("WAV", "DOUBLE", 48_000),
    "wav-alaw": ("WAV", "ALAW", 44_100),
    "wav-adpcm": ("WAV", "MS_ADPCM", 44_100),
    "rf64": ("RF64", "PCM_16", 44_100),
    "w64": ("W64", "PCM_16", 44_100),
    "aiff": ("AIFF", "PCM_16", 44_100),
    "aiff-s8": ("AIFF", "PCM_S8", 44_100),
    "au": ("AU", "PCM_16", 44_100),
    "caf": ("CAF", "PCM_16", 44_100),
    "flac": ("FLAC", "PCM_16", 44_100),
    "ogg": ("OGG", "VORBIS", 44_100),
    "opus": ("OGG", "OPUS", 48_000),
    "mp3": ("MP3", "MPEG_LAYER_III", 44_100),
}
AV_KINDS = {  # Name: container, codec.
    "m4a": ("ipod", "aac"),
    "alac": ("ipod", "alac"),
    "aac": ("adts", "aac"),
    "wma": ("asf", "wmav2"),
    "wavpack": ("wv", "wavpack"),
    "webm": ("webm", "libopus"),
    "mka": ("matroska", "flac"),
    "tta": ("tta", "tta"),
    "ac3": ("ac3", "ac3"),
    "oga-flac": ("ogg", "flac"),
    "avi": ("avi", "pcm_s16le"),
    "wav-wma": ("wav", "wmav2"),
}
LOSSLESS = {
    *("wav", "wav-24", "wav-32", "wav-float", "wav-double", "rf64", "w64", "aiff", "au", "caf", "flac"),
    *("alac", "wavpack", "mka", "tta", "oga-flac", "avi"),
}


def music(seconds: float, rate: int = 44_100, channels: int = 2) -> np.ndarray:
    """Notes, their harmonics and some breath: (samples, channels), below full scale."""
    t = np.arange(round(seconds * rate)) / rate
    pitch = 220 * 2 ** (np.floor(2 * t) % 12 / 12)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    rng = np.random.default_rng(7)
    envelope = np.exp(-3 * (2 * t % 1))
    voices = [
        envelope * (0.3 * np.sin(phase + c) + 0.15 * np.sin(3 * phase) + 0.01 * rng.standard_normal(len(t)))
        for c in range(channels)
    ]
    return np.stack(voices, axis=1).astype(np.float32)


def write(path: Path, kind: str, samples: np.ndarray, rate: int | None = None) -> Path:
    """Write a file of a kind; the name of the file is the caller's."""
    if kind in SOUNDFILE_KINDS:
        container, subtype, own_rate = SOUNDFILE_KINDS[kind]
        with soundfile.SoundFile(
            path, "w", rate or own_rate, samples.shape[1], subtype=subtype, format=container
        ) as sound:
            for start in range(0, len(samples), 16_384):
                sound.write(samples[start : start + 16_384])
        return path
    container, codec = AV_KINDS[kind]
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate or 48_000, layout="stereo")
        if codec == "wavpack":
            stream.format = "s16p"  # PyAV would take the encoder's first choice, 8 bits.
        if codec == "tta":
            stream.format = "s16"
        if codec == "wmav2":
            stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = rate or 48_000
        resampler = av.AudioResampler(
            format=stream.format, layout="stereo", rate=stream.rate, frame_size=stream.frame_size or 1024
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        # The last packet of the FLAC encoder is empty and has no time: the header again, with the checksum.
        output.mux([packet for packet in stream.encode(None) if packet.size])
    return path


@pytest.fixture(scope="session")
def audio_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Give a file of a kind, written once: `audio_files("flac", seconds=3)`."""
    folder = tmp_path_factory.mktemp("audio")
    made: dict[tuple[str, float, int], Path] = {}

    def make(kind: str, seconds: float = 3.0, channels: int = 2) -> Path:
        key = (kind, seconds, channels)
        if key not in made:
            rate = SOUNDFILE_KINDS[kind][2] if kind in SOUNDFILE_KINDS else 48_000
            made[key] = write(folder / f"{kind}-{seconds}-{channels}", kind, music(seconds, rate, channels))
        return made[key]

    return make


@pytest.fixture(scope="session")
def mp3_without_header(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A variable-rate mp3 that begins loud and has no Xing header: 2 s of noise, then 8 s of almost nothing."""
    path = tmp_path_factory.mktemp("mp3") / "vbr.mp3"
    rng = np.random.default_rng(0)
    level = np.repeat([0.3, 1e-4], [2 * 44_100, 8 * 44_100])[:, None]
    samples = (level * rng.standard_normal((10 * 44_100, 2))).astype(np.float32)
    with av.open(str(path), "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=44_100, layout="stereo")
        stream.codec_context.options = {"q": "4"}
        stream.codec_context.flags |= 2  # Constant quality, not constant rate.
        stream.codec_context.global_quality = 4 * 118
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), format="fltp", layout="stereo")
        frame.sample_rate = 44_100
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=44_100, frame_size=stream.frame_size or 1152)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="session")
def ape_tag() -> bytes:
    """An APEv2 tag with header and footer, as volume scanners hang it on mp3 files."""
    items = b"x" * 1_500
    size = len(items) + 32
    head = b"APETAGEX" + struct.pack("<IIII", 2000, size, 1, 0xA000_0000) + bytes(8)
    foot = b"APETAGEX" + struct.pack("<IIII", 2000, size, 1, 0x8000_0000) + bytes(8)
    return head + items + foot
