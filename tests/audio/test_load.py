"""Good files of every format: right samples, the same ones however they are asked for."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from moodbook import audio
from moodbook.errors import AudioError, EmptyAudioError
from moodbook.features import FIRST_SEGMENT_SAMPLES, SAMPLE_RATE, segments, stream_segments

LOSSLESS_KINDS = [
    *("wav", "wav-24", "wav-32", "wav-float", "wav-double", "rf64", "w64", "aiff", "au", "caf", "flac"),
    *("alac", "wavpack", "mka", "tta", "oga-flac", "avi"),
]
LOSSY_KINDS = [
    *("wav-u8", "wav-alaw", "wav-adpcm", "aiff-s8", "ogg", "opus", "mp3"),
    *("m4a", "aac", "wma", "webm", "ac3", "wav-wma"),
]
KINDS = LOSSLESS_KINDS + LOSSY_KINDS
AudioFiles = Callable[..., Path]


def reference(samples: np.ndarray, rate: int) -> np.ndarray:
    return soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE, "HQ")


def best_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation at the best shift: codecs start up to 3,000 samples apart."""
    size = 1 << 18
    spectrum = np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size))
    return float(np.fft.irfft(spectrum).max() / np.linalg.norm(one) / np.linalg.norm(other))


def remuxed(source: Path, path: Path, container: str, delay_seconds: int = 0, film_seconds: int = 0) -> Path:
    """Copy the packets of a recording, later by some seconds, into a container beside a film of some length."""
    with av.open(str(source)) as recording, av.open(str(path), "w", format=container) as output:
        stream = output.add_stream_from_template(recording.streams.audio[0])
        if film_seconds:
            film = output.add_stream("mpeg4", rate=1, width=16, height=16, pix_fmt="yuv420p")
            for _ in range(film_seconds):
                output.mux(film.encode(av.VideoFrame(16, 16, "yuv420p")))
            output.mux(film.encode(None))
        for packet in recording.demux(recording.streams.audio[0]):
            if packet.dts is not None and packet.size:
                delay = round(delay_seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts + delay, packet.dts + delay
                packet.stream = stream
                output.mux(packet)
    return path


class TestFormats:
    @pytest.mark.parametrize("kind", LOSSLESS_KINDS)
    def test_lossless_formats_give_the_samples_that_were_written(self, audio_files: AudioFiles, kind: str) -> None:
        path = audio_files(kind)
        info = audio.probe(path)
        original, rate = soundfile.read(audio_files("wav-double" if info.sample_rate == 48_000 else "wav-float"))
        waveform = audio.load(path)
        assert waveform.dtype == np.float32
        assert waveform.flags.c_contiguous
        assert len(waveform) == 3 * SAMPLE_RATE
        np.testing.assert_allclose(waveform, reference(original, rate), atol=5e-5, rtol=0)

    @pytest.mark.parametrize("kind", LOSSY_KINDS)
    def test_lossy_formats_sound_like_what_was_written(self, audio_files: AudioFiles, kind: str) -> None:
        path = audio_files(kind)
        original, rate = soundfile.read(audio_files("wav-double"))
        waveform = audio.load(path)
        assert abs(len(waveform) / SAMPLE_RATE - 3) < 0.05
        assert best_correlation(waveform, reference(original, rate)) > 0.95

    @pytest.mark.parametrize("kind", KINDS)
    def test_probe_tells_rate_channels_and_duration(self, audio_files: AudioFiles, kind: str) -> None:
        info = audio.probe(audio_files(kind))
        assert info.path == audio_files(kind)
        assert info.sample_rate in (44_100, 48_000)
        assert info.channels == 2
        if kind in ("aac", "ac3", "avi", "wav-wma"):
            assert info.duration_seconds is None
        else:
            assert info.duration_seconds == pytest.approx(3, abs=0.05)

    def test_probe_names_container_and_codec(self, audio_files: AudioFiles) -> None:
        names = {
            kind: (audio.probe(audio_files(kind)).container, audio.probe(audio_files(kind)).codec)
            for kind in ("wav", "mp3", "ogg", "opus", "flac", "m4a", "alac", "webm", "oga-flac")
        }
        assert names == {
            "wav": ("wav", "pcm_16"),
            "mp3": ("mp3", "mp3"),
            "ogg": ("ogg", "vorbis"),
            "opus": ("ogg", "opus"),
            "flac": ("flac", "pcm_16"),
            "m4a": ("mp4", "aac"),
            "alac": ("mp4", "alac"),
            "webm": ("matroska", "opus"),
            "oga-flac": ("ogg", "flac"),
        }

    @pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "opus", "mp3"])
    def test_equals_soundfile(self, audio_files: AudioFiles, kind: str) -> None:
        samples, rate = soundfile.read(audio_files(kind), dtype="float32")
        np.testing.assert_allclose(audio.load(audio_files(kind)), reference(samples, rate), atol=1e-6, rtol=0)

    def test_real_music_equals_soundfile(self, shared_data: Path) -> None:
        for path in sorted((shared_data / "macleod" / "audio").glob("*.opus"))[:2]:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            np.testing.assert_allclose(audio.load(path), reference(samples, rate), atol=1e-6, rtol=0)

    @pytest.mark.parametrize("kind", ["mp3", "flac", "m4a", "aac"])
    @pytest.mark.parametrize("name", ["song.wav", "song.mp3", "song.txt", "song"])
    def test_the_name_decides_nothing(self, audio_files: AudioFiles, tmp_path: Path, kind: str, name: str) -> None:
        path = tmp_path / name
        path.write_bytes(audio_files(kind).read_bytes())
        assert np.array_equal(audio.load(path), audio.load(audio_files(kind)))

    @pytest.mark.skipif(os.name == "nt", reason="file names are Unicode there")
    def test_names_that_are_no_utf8(self, audio_files: AudioFiles, tmp_path: Path) -> None:
        for kind in ("wav", "m4a"):
            path = tmp_path / os.fsdecode(b"\xff\xfe caf\xe9\n.x")
            path.write_bytes(audio_files(kind).read_bytes())
            assert np.array_equal(audio.load(path), audio.load(audio_files(kind)))

    @pytest.mark.parametrize("kind", ["flac", "m4a", "aac", "tta"])
    def test_id3_tags_in_front_are_skipped(self, audio_files: AudioFiles, tmp_path: Path, kind: str) -> None:
        tag = b"ID3\x04\x00\x00\x00\x00\x10\x00" + bytes(2048)
        path = tmp_path / "song"
        path.write_bytes(tag + tag + audio_files(kind).read_bytes())
        assert np.array_equal(audio.load(path), audio.load(audio_files(kind)))

    @pytest.mark.parametrize("kind", ["flac", "wav", "ogg", "mp3", "wavpack", "tta", "aac"])
    def test_tags_behind_are_skipped(self, audio_files: AudioFiles, tmp_path: Path, ape_tag: bytes, kind: str) -> None:
        path = tmp_path / "song"
        path.write_bytes(audio_files(kind).read_bytes() + ape_tag + b"TAG" + bytes(125))
        assert np.array_equal(audio.load(path), audio.load(audio_files(kind)))

    @pytest.mark.parametrize("kind", ["ogg", "opus"])
    def test_ogg_streams_one_behind_the_other_are_one_track(
        self, audio_files: AudioFiles, tmp_path: Path, kind: str
    ) -> None:
        first, second = audio_files(kind), audio_files(kind, seconds=2.0)
        path = tmp_path / "radio"
        path.write_bytes(first.read_bytes() + second.read_bytes())
        chained, parts = audio.load(path), [audio.load(first), audio.load(second)]
        # The first stream ends with a whole frame of its codec.
        assert len(chained) / SAMPLE_RATE == pytest.approx(5.0, abs=0.03)
        # FFmpeg decodes such a file, and the resampler hears no end between the parts.
        assert np.abs(chained[: len(parts[0])] - parts[0])[:-100].max() < 2e-3
        assert best_correlation(chained[len(parts[0]) :], parts[1]) > 0.99
        assert audio.probe(path).duration_seconds is None
        assert audio.probe(path).container == "ogg"

    @pytest.mark.parametrize(("kind", "container"), [("mka", "matroska"), ("wma", "asf")])
    def test_a_recording_that_does_not_begin_at_time_0_is_whole(
        self, audio_files: AudioFiles, tmp_path: Path, kind: str, container: str
    ) -> None:
        path = remuxed(audio_files(kind), tmp_path / "later", container, delay_seconds=4)
        assert np.array_equal(audio.load(path), audio.load(audio_files(kind)))
        assert audio.probe(path).duration_seconds == pytest.approx(3.0, abs=0.1)

    @pytest.mark.parametrize(("kind", "container"), [("mka", "matroska"), ("wma", "asf")])
    def test_music_that_ends_before_its_film_is_whole(
        self, audio_files: AudioFiles, tmp_path: Path, kind: str, container: str
    ) -> None:
        path = remuxed(audio_files(kind), tmp_path / "film", container, film_seconds=8)
        assert np.array_equal(audio.load(path), audio.load(audio_files(kind)))
        assert audio.probe(path).duration_seconds is None

    def test_files_are_closed(self, audio_files: AudioFiles) -> None:
        descriptors = Path("/proc/self/fd")
        if not descriptors.is_dir():
            pytest.skip("no /proc here")
        files = [audio_files(kind) for kind in ("wav", "mp3", "ogg", "m4a")]
        gc.disable()
        try:
            before = len(list(descriptors.iterdir()))
            for path in files:
                audio.load(path)
                audio.probe(path)
                audio.load_first_segment(path)
                next(audio.stream(path))
            assert len(list(descriptors.iterdir())) == before
        finally:
            gc.enable()


class TestParts:
    @pytest.mark.parametrize("kind", KINDS)
    def test_stream_is_load(self, audio_files: AudioFiles, kind: str) -> None:
        chunks = list(audio.stream(audio_files(kind)))
        assert len(chunks) > 1
        assert all(len(chunk) for chunk in chunks)
        assert np.concatenate(chunks).tobytes() == audio.load(audio_files(kind)).tobytes()

    @pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "opus", "mp3", "m4a", "wma"])
    def test_first_segment_is_the_start_of_load(self, audio_files: AudioFiles, kind: str) -> None:
        path = audio_files(kind, seconds=27.0)
        first = audio.load_first_segment(path)
        whole = audio.load(path)
        assert len(first) == FIRST_SEGMENT_SAMPLES
        assert first.tobytes() == whole[:FIRST_SEGMENT_SAMPLES].tobytes()
        features = segments(first, first_only=True).log_mel
        assert features.tobytes() == segments(whole).log_mel[:1].tobytes()
        assert features.tobytes() == next(stream_segments(audio.stream(path))).log_mel.tobytes()

    def test_first_segment_of_a_short_file_is_the_file(self, audio_files: AudioFiles) -> None:
        assert np.array_equal(audio.load_first_segment(audio_files("ogg")), audio.load(audio_files("ogg")))

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_later_start_gives_the_same_samples(self, audio_files: AudioFiles, kind: str) -> None:
        whole = audio.load(audio_files(kind))
        for start, duration in ((0.0, 0.5), (0.3, 0.1), (1.7321, 0.5), (2.9, 9.0)):
            first = round(start * SAMPLE_RATE)
            part = audio.load(audio_files(kind), start_seconds=start, duration_seconds=duration)
            assert len(part) == min(round(duration * SAMPLE_RATE), len(whole) - first)
            np.testing.assert_allclose(part, whole[first : first + len(part)], atol=1e-3, rtol=0)

    @pytest.mark.parametrize("kind", ["ogg", "opus", "mp3", "flac", "m4a"])
    def test_a_start_far_in_gives_the_same_samples(self, audio_files: AudioFiles, kind: str) -> None:
        path = audio_files(kind, seconds=27.0)
        whole = audio.load(path)
        for start in (5.0, 12.34567, 26.0, 26.9):
            first = round(start * SAMPLE_RATE)
            np.testing.assert_allclose(audio.load(path, start_seconds=start), whole[first:], atol=1e-3, rtol=0)

    @given(rate=st.integers(1_000, 96_000), start=st.floats(0, 2.5), duration=st.floats(0.01, 1))
    @settings(max_examples=50, deadline=None)
    def test_any_rate_and_start(
        self, tmp_path_factory: pytest.TempPathFactory, rate: int, start: float, duration: float
    ) -> None:
        path = tmp_path_factory.getbasetemp() / "any-rate.wav"
        samples = np.sin(np.arange(3 * rate) * (2 * np.pi * 100 / rate)).astype(np.float32)
        soundfile.write(path, samples, rate, subtype="FLOAT")
        whole = audio.load(path)
        assert abs(len(whole) - 3 * SAMPLE_RATE) <= 1
        first = round(start * SAMPLE_RATE)
        part = audio.load(path, start_seconds=start, duration_seconds=duration)
        np.testing.assert_allclose(part, whole[first : first + len(part)], atol=1e-3, rtol=0)
        assert abs(len(part) - min(duration, 3 - start) * SAMPLE_RATE) <= 2

    def test_only_what_is_needed_is_read(self, audio_files: AudioFiles, tmp_path: Path) -> None:
        # The rest of the file is destroyed: who does not read it does not notice.
        data = bytearray(audio_files("flac", seconds=60.0).read_bytes())
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        path = tmp_path / "half.flac"
        path.write_bytes(data)
        assert len(audio.load_first_segment(path)) == FIRST_SEGMENT_SAMPLES
        assert len(audio.load(path, start_seconds=2.0, duration_seconds=3.0)) == 3 * SAMPLE_RATE
        with pytest.raises(AudioError, match="damaged"):
            audio.load(path)

    def test_memory_does_not_grow_with_the_file(self, audio_files: AudioFiles) -> None:
        peaks = []
        for seconds in (27.0, 60.0):
            tracemalloc.start()
            for _ in stream_segments(audio.stream(audio_files("flac", seconds=seconds))):
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.1 * peaks[0]
        assert peaks[1] < 20e6

    @pytest.mark.parametrize(
        ("times", "message"),
        [
            ({"start_seconds": -1.0}, r"start_seconds is -1.0; expected 0 or more"),
            ({"start_seconds": float("nan")}, r"start_seconds is nan; expected 0 or more"),
            ({"duration_seconds": 0.0}, r"duration_seconds is 0.0; expected more than 0, or None"),
            ({"duration_seconds": float("nan")}, r"duration_seconds is nan; expected more than 0"),
        ],
    )
    def test_impossible_times(self, audio_files: AudioFiles, times: dict[str, float], message: str) -> None:
        with pytest.raises(AudioError, match=message):
            audio.load(audio_files("wav"), **times)

    @pytest.mark.parametrize("kind", ["wav", "mp3", "ogg", "m4a"])
    def test_a_start_behind_the_end(self, audio_files: AudioFiles, kind: str) -> None:
        with pytest.raises(EmptyAudioError, match=r"nothing follows after 70\.0 s\. Begin earlier\."):
            audio.load(audio_files(kind), start_seconds=70.0)


class TestNumbers:
    @pytest.mark.parametrize("channels", [1, 2, 3, 6, 8, 32])
    def test_channels_are_averaged(self, tmp_path: Path, channels: int) -> None:
        samples = np.random.default_rng(channels).uniform(-1, 1, (5000, channels)).astype(np.float32)
        path = tmp_path / "many.wav"
        soundfile.write(path, samples, SAMPLE_RATE, subtype="FLOAT")
        np.testing.assert_allclose(audio.load(path), samples.mean(axis=1), atol=1e-6, rtol=0)

    @pytest.mark.parametrize(
        ("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("FLOAT", 0), ("DOUBLE", 0)]
    )
    def test_every_width_has_the_same_full_scale(self, tmp_path: Path, subtype: str, step: float) -> None:
        samples = np.linspace(-1, 1, 4001)[:-1]
        path = tmp_path / "width.wav"
        soundfile.write(path, samples, SAMPLE_RATE, subtype=subtype)
        np.testing.assert_allclose(audio.load(path), samples, atol=step + 1e-7, rtol=0)

    def test_samples_above_full_scale_are_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "loud.wav"
        soundfile.write(path, np.array([1.5, -3.0, 0.25]), SAMPLE_RATE, subtype="FLOAT")
        assert audio.load(path).tolist() == [1.5, -3.0, 0.25]

    @pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 22_050, 44_100, 96_000, 192_000, 768_000])
    def test_a_tone_keeps_pitch_and_level(self, tmp_path: Path, rate: int) -> None:
        pitch = 100 if rate < 3_000 else 1_000
        path = tmp_path / "tone.wav"
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch / rate * np.arange(rate)), rate, subtype="FLOAT")
        spectrum = np.abs(np.fft.rfft(audio.load(path)[:SAMPLE_RATE] * np.hanning(SAMPLE_RATE)))
        assert spectrum.argmax() == pitch
        assert spectrum.max() == pytest.approx(0.5 * SAMPLE_RATE / 4, rel=0.01)

    def test_a_tone_above_the_new_nyquist_frequency_is_gone(self, tmp_path: Path) -> None:
        path = tmp_path / "high.wav"
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * 13_000 / 44_100 * np.arange(44_100)), 44_100, subtype="FLOAT")
        waveform = audio.load(path)
        assert np.abs(waveform[1_000:-1_000]).max() < 1e-5

    def test_one_sample(self, tmp_path: Path) -> None:
        path = tmp_path / "one.wav"
        soundfile.write(path, np.array([0.5]), SAMPLE_RATE, subtype="FLOAT")
        assert audio.load(path).tolist() == [0.5]
        assert audio.load_first_segment(path).tolist() == [0.5]
        soundfile.write(path, np.array([0.5]), 96_000, subtype="FLOAT")
        with pytest.raises(EmptyAudioError, match="it lasts less than one sample at 22050 Hz"):
            audio.load(path)
