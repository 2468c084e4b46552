"""The log-mel: parity with librosa, segments, streaming, hostile numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from pydantic import ValidationError

from moodbook import features
from moodbook.errors import DataError
from moodbook.features import (
    FIRST_SEGMENT_SAMPLES,
    HOP_LENGTH,
    N_FFT,
    SAMPLE_RATE,
    SEGMENT_FRAMES,
    SEGMENT_SAMPLES,
    FeatureConfig,
    log_mel,
    segments,
    stream_segments,
)

CONSTANT = FeatureConfig()
REFLECT = FeatureConfig(center_padding="reflect")


def noise(samples: int, seed: int = 0, level: float = 0.3) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def librosa_log_mel(waveform: np.ndarray, padding: str) -> np.ndarray:
    power = librosa.feature.melspectrogram(y=waveform, sr=SAMPLE_RATE, pad_mode=padding)
    return np.float32(1.8 / 19.0114) * np.log(1 + 10_000 * power) - np.float32(0.9)


def synthetic(kind: str) -> np.ndarray:
    samples = 6 * SAMPLE_RATE
    t = np.arange(samples) / SAMPLE_RATE
    signals = {
        "noise": noise(samples),
        "tone": 0.9 * np.sin(2 * np.pi * 440 * t),
        "sweep": 0.5 * np.sin(2 * np.pi * (50 * t + 900 * t**2)),
        "square": np.sign(np.sin(2 * np.pi * 100 * t + 0.1)),
        "dc": np.ones(samples),
        "silence": np.zeros(samples),
        "click": np.eye(1, samples, 70_000)[0],
        "denormal": np.full(samples, 1e-42),
        "faint": noise(samples, level=1e-6),
        "huge": noise(samples, level=1e6),
    }
    return signals[kind].astype(np.float32)


class TestParity:
    @pytest.mark.parametrize("padding", ["constant", "reflect"])
    @pytest.mark.parametrize(
        "kind", ["noise", "tone", "sweep", "square", "dc", "silence", "click", "denormal", "faint", "huge"]
    )
    def test_equals_librosa_on_synthetic_sound(self, kind: str, padding: str) -> None:
        waveform = synthetic(kind)
        ours = log_mel(waveform, FeatureConfig(center_padding=padding))
        difference = np.abs(ours - librosa_log_mel(waveform, padding))
        assert difference.max() < 1e-5
        assert difference.mean() < 1e-6

    @pytest.mark.parametrize("padding", ["constant", "reflect"])
    def test_equals_librosa_on_real_music(self, shared_data: Path, padding: str) -> None:
        for path in sorted((shared_data / "macleod" / "audio").glob("*.opus"))[:3]:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
            waveform = soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE, "HQ")
            ours = log_mel(waveform, FeatureConfig(center_padding=padding))
            difference = np.abs(ours - librosa_log_mel(waveform, padding))
            assert difference.max() < 1e-4
            assert difference.mean() < 1e-6

    @pytest.mark.parametrize("samples", [2048, 2049, 65_536, 67_072, 67_073])
    def test_equals_librosa_at_the_seams_of_blocks(self, samples: int) -> None:
        waveform = noise(samples)
        ours = log_mel(waveform, REFLECT)
        assert ours.shape == (128, 1 + samples // HOP_LENGTH)
        np.testing.assert_allclose(ours, librosa_log_mel(waveform, "reflect"), atol=1e-5, rtol=0)

    def test_filters_equal_librosa(self) -> None:
        expected = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=N_FFT, dtype=np.float64)
        np.testing.assert_allclose(features.mel_filters(), expected, atol=1e-15, rtol=0)

    def test_filters_have_area_one(self) -> None:
        # The bands at the top are wide enough for the sum over bins to be the integral.
        area = features.mel_filters()[60:].sum(axis=1) * SAMPLE_RATE / N_FFT
        np.testing.assert_allclose(area, 1.0, atol=0.02)

    def test_only_the_outer_two_frames_know_the_padding(self) -> None:
        waveform = noise(20 * HOP_LENGTH)
        differs = (log_mel(waveform, CONSTANT) != log_mel(waveform, REFLECT)).any(axis=0)
        assert np.flatnonzero(differs).tolist() == [0, 1, 19, 20]

    def test_a_tone_is_heard_in_its_band(self) -> None:
        spectrum = log_mel(synthetic("tone"), CONSTANT).mean(axis=1)
        peaks = features.mel_filters().argmax(axis=1) * SAMPLE_RATE / N_FFT
        assert abs(peaks[spectrum.argmax()] - 440) < 30

    @pytest.mark.parametrize("mode", ["constant", "reflect"])
    @given(samples=st.integers(1, 3000))
    @settings(max_examples=50, deadline=None)
    def test_short_waveforms_are_padded_as_numpy_pads(self, mode: str, samples: int) -> None:
        waveform = noise(samples, seed=samples)
        padded = np.pad(waveform, N_FFT // 2, mode=mode)
        frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
        power = np.abs(np.fft.rfft(frames * np.hanning(N_FFT + 1)[:-1])) ** 2
        expected = np.log1p(10_000 * features.mel_filters() @ power.T) * (1.8 / 19.0114) - 0.9
        np.testing.assert_allclose(log_mel(waveform, FeatureConfig(center_padding=mode)), expected, atol=1e-6, rtol=0)


class TestSegments:
    def test_constants_of_the_paper(self) -> None:
        assert SEGMENT_SAMPLES == 523_776
        assert 1 + SEGMENT_SAMPLES // HOP_LENGTH == SEGMENT_FRAMES
        assert SEGMENT_SAMPLES // HOP_LENGTH < SEGMENT_FRAMES
        assert round(features.SEGMENT_SECONDS, 2) == 23.78

    def test_segments_are_the_frames_of_one_spectrogram(self) -> None:
        waveform = noise(2 * SEGMENT_FRAMES * HOP_LENGTH + 99 * HOP_LENGTH)
        whole = log_mel(waveform)
        cut = segments(waveform)
        assert cut.log_mel.shape == (3, 128, SEGMENT_FRAMES)
        assert cut.log_mel.dtype == np.float32
        joined = np.concatenate(list(cut.log_mel), axis=1)
        assert np.array_equal(joined[:, : whole.shape[1]], whole)
        assert (joined[:, whole.shape[1] :] == np.float32(-0.9)).all()
        np.testing.assert_array_equal(cut.filled, np.float32([1, 1, 100 / 1024]))

    @pytest.mark.parametrize("config", [CONSTANT, REFLECT])
    def test_first_segment_needs_only_its_own_samples(self, config: FeatureConfig) -> None:
        waveform = noise(3 * SEGMENT_SAMPLES + 777)
        whole = segments(waveform, config)
        first = segments(waveform[:FIRST_SEGMENT_SAMPLES], config, first_only=True)
        assert first.log_mel.shape == (1, 128, SEGMENT_FRAMES)
        assert first.log_mel.tobytes() == whole.log_mel[:1].tobytes()
        assert first.filled.tolist() == [1.0]
        assert segments(waveform, config, first_only=True).log_mel.tobytes() == first.log_mel.tobytes()

    def test_one_sample_less_changes_the_first_segment(self) -> None:
        waveform = noise(FIRST_SEGMENT_SAMPLES)
        shorter = segments(waveform[:-2], first_only=True)
        assert not np.array_equal(shorter.log_mel, segments(waveform, first_only=True).log_mel)

    @pytest.mark.parametrize(
        ("samples", "count", "last"),
        [(SEGMENT_SAMPLES - 1, 1, 1023), (SEGMENT_SAMPLES, 1, 1024), (SEGMENT_SAMPLES + HOP_LENGTH, 2, 1), (1, 1, 1)],
    )
    def test_filled_counts_frames(self, samples: int, count: int, last: int) -> None:
        cut = segments(noise(samples))
        assert len(cut.log_mel) == count
        assert cut.filled[-1] == np.float32(last / 1024)

    def test_silence_is_the_padding_value(self) -> None:
        cut = segments(np.zeros(100_000, dtype=np.float32))
        assert (cut.log_mel == features.SILENCE).all()

    @pytest.mark.parametrize("config", [CONSTANT, REFLECT])
    @given(data=st.data())
    @settings(max_examples=50, deadline=None)
    def test_any_chunking_gives_the_same_bits(self, config: FeatureConfig, data: st.DataObject) -> None:
        waveform = noise(data.draw(st.integers(1, 200_000)), seed=3)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(waveform)), max_size=12)))
        chunks = np.split(waveform, cuts)
        parts = list(stream_segments(iter(chunks), config))
        whole = segments(waveform, config)
        assert b"".join(part.log_mel.tobytes() for part in parts) == whole.log_mel.tobytes()
        assert [float(part.filled[0]) for part in parts] == whole.filled.tolist()

    def test_streaming_crosses_segments(self) -> None:
        waveform = noise(SEGMENT_SAMPLES + 300_000)
        chunks = [waveform[i : i + 9_999] for i in range(0, len(waveform), 9_999)]
        parts = list(stream_segments(chunks))
        assert [part.log_mel.shape for part in parts] == [(1, 128, 1024)] * 2
        assert np.array_equal(np.concatenate([part.log_mel for part in parts]), segments(waveform).log_mel)

    def test_streaming_is_lazy(self) -> None:
        def endless():
            while True:
                yield noise(100_000)

        stream = stream_segments(endless())
        assert next(stream).filled[0] == 1
        assert next(stream).filled[0] == 1

    def test_threads_do_not_change_the_bits(self, tmp_path: Path) -> None:
        code = (
            "import sys, numpy as np; from moodbook.features import log_mel;"
            "w = np.random.default_rng(0).standard_normal(200_000).astype(np.float32);"
            "sys.stdout.buffer.write(log_mel(w).tobytes())"
        )
        outputs = {
            subprocess.run(
                [sys.executable, "-c", code],
                check=True,
                capture_output=True,
                env=os.environ | {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            ).stdout
            for threads in ("1", "2")
        }
        assert len(outputs) == 1


class TestHostileNumbers:
    @given(
        values=st.lists(
            st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**29), max_value=2.0**29),
            min_size=1,
            max_size=50,
        ),
        repeats=st.integers(1, 200),
    )
    @settings(max_examples=50, deadline=None)
    def test_finite_samples_give_finite_features(self, values: list[float], repeats: int) -> None:
        result = log_mel(np.tile(np.array(values, dtype=np.float32), repeats))
        assert np.isfinite(result).all()
        assert (result >= np.float32(-0.9)).all()

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, -1e30])
    def test_refuses_samples_that_are_no_sound(self, bad: float) -> None:
        waveform = noise(50_000)
        waveform[31_000] = bad
        with pytest.raises(DataError, match=r"NaN, infinite or absurdly large samples \(above 1e\+09"):
            log_mel(waveform)

    def test_refuses_an_empty_waveform(self) -> None:
        with pytest.raises(DataError, match="the waveform is empty; give at least one sample"):
            log_mel(np.zeros(0, dtype=np.float32))
        with pytest.raises(DataError, match="the waveform is empty"):
            list(stream_segments([]))

    @pytest.mark.parametrize("array", [np.zeros((2, 5000), np.float32), np.zeros(5000, np.int16)])
    def test_refuses_what_is_no_mono_waveform(self, array: np.ndarray) -> None:
        with pytest.raises(TypeCheckError):
            log_mel(array)
        # Chunks are not seen by the type checker: their own check speaks.
        with pytest.raises(DataError, match="expected a mono waveform, one row of float32 samples; got shape"):
            list(stream_segments(iter([array])))


class TestConfig:
    def test_refuses_unknown_keys_and_values(self) -> None:
        with pytest.raises(ValidationError, match="hop_length"):
            FeatureConfig(hop_length=256)
        with pytest.raises(ValidationError, match="'constant' or 'reflect'"):
            FeatureConfig(center_padding="edge")

    def test_is_frozen(self) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            CONSTANT.center_padding = "reflect"
