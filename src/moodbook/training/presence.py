"""Learn what is no music: from noise and silence that are made here, and from recordings of speech."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from moodbook import audio
from moodbook.datasets.dataset import Track
from moodbook.errors import AudioError, TrainingError
from moodbook.features import (
    FIRST_SEGMENT_SAMPLES,
    N_MELS,
    SAMPLE_RATE,
    SEGMENT_SAMPLES,
    SILENCE,
    FeatureConfig,
    mel_filters,
    segments,
)
from moodbook.model.presence import MUSIC, Presence

LogMel = Float32[np.ndarray, "segments 128 1024"]
Statistics = Float32[np.ndarray, "segments statistics"]

MUSIC_SEGMENTS, NOISE_SEGMENTS, SPEECH_SEGMENTS = 400, 90, 150
"""Most segments of each kind that are learned from (of music: of each data set)."""
_TELEPHONE_HZ = 3400.0  # Upper end of the telephone band: speech of telephones must not be known by what it lacks.
_STRENGTH = 0.1  # C of the logistic regression.
_FEWEST = 20
_GAP_SECONDS = (0.1, 0.8)  # Between two sentences.


@dataclass(frozen=True)
class PresenceReport:
    """How well music and no music are told apart, on segments of which none was learned from.

    Args:
        music_kept: Share of music that is taken for music.
        speech_found: Share of speech, by other speakers in other languages, that is not.
        noise_found: Share of noise and silence that is not.
    """

    music_kept: float
    speech_found: float
    noise_found: float


def require_music(train: int, validation: int) -> None:
    """Refuse music that is too little to learn from, before anything is learned.

    Args:
        train: Whole segments to learn from; every other one is learned from as a telephone passes it, too.
        validation: Whole segments of other music, of which a half draws the border.

    Raises:
        TrainingError: There are too few of one kind.
    """
    fewest_train, fewest_validation = math.ceil((2 * _FEWEST - 1) / 3), 2 * _FEWEST - 1
    if train < fewest_train or validation < fewest_validation:
        raise TrainingError(
            f"telling music from noise and speech wants {fewest_train} whole segments of train music and "
            f"{fewest_validation} of validation music, got {train} and {validation}; give more tracks, take "
            'data.segments = "all", or leave [presence] out'
        )


def noise_segments(count: int, seed: int, config: FeatureConfig) -> LogMel:
    """Make segments of what is no music: coloured noise, swelling noise, mains hum, clicks, silence; at any level."""
    random = np.random.default_rng([seed, 7])
    made = [segments(_noise(kind % 6, random), config, first_only=True).log_mel for kind in range(count)]
    return np.concatenate(made)


def _noise(kind: int, random: np.random.Generator) -> Float32[np.ndarray, " samples"]:
    samples = FIRST_SEGMENT_SAMPLES
    seconds = np.arange(samples) / SAMPLE_RATE
    level = 10 ** random.uniform(-4, -0.5)
    if kind < 3:
        # Power falls with frequency^(2 x colour): 0 white, 0.5 pink, 1 brown.
        spectrum = np.fft.rfft(random.normal(size=samples))
        waveform = np.fft.irfft(spectrum / np.maximum(1, np.arange(len(spectrum))) ** random.uniform(0, 1.2), samples)
        waveform /= waveform.std()
        if kind == 2:
            waveform *= 1 + 0.5 * np.sin(2 * np.pi * seconds * random.uniform(0.05, 0.5))
    elif kind == 3:
        mains = random.choice([50.0, 60.0])
        waveform = 0.05 * random.normal(size=samples)
        for harmonic in range(1, 8):
            waveform += random.uniform(0, 1) / harmonic * np.sin(2 * np.pi * mains * harmonic * seconds)
    elif kind == 4:
        waveform = (random.random(samples) < 10 ** random.uniform(-4.5, -3)) * random.normal(0, 5, samples)
    else:
        waveform = random.choice([0.0, 1e-3]) * random.normal(size=samples)
    samples_of_noise: np.ndarray = (level * waveform).astype(np.float32)
    return samples_of_noise


def speech_segments(tracks: Sequence[Track], count: int, seed: int, config: FeatureConfig) -> LogMel:
    """Join recordings of speech, in random order and at random levels, and cut them into segments.

    Raises:
        TrainingError: They make no segment together.
    """
    random = np.random.default_rng([seed, 8])
    pieces: list[np.ndarray] = []
    samples = 0
    for index in random.permutation(len(tracks)).tolist():
        if samples >= (count + 1) * SEGMENT_SAMPLES:
            break
        try:
            waveform = audio.load(tracks[index].path)
        except AudioError:
            continue
        gap = np.zeros(round(random.uniform(*_GAP_SECONDS) * SAMPLE_RATE), dtype=np.float32)
        pieces += [waveform * np.float32(random.uniform(0.3, 1.5)), gap]
        samples += len(waveform) + len(gap)
    if samples < FIRST_SEGMENT_SAMPLES:
        raise TrainingError("the speech makes no whole segment; fetch the data set again")
    cut = segments(np.concatenate(pieces), config)
    whole: np.ndarray = cut.log_mel[cut.filled == 1][:count]
    return whole


def telephone_band(log_mel: LogMel) -> LogMel:
    """Give the same music as a telephone would pass it on: silence above 3.4 kHz."""
    peaks = mel_filters().argmax(axis=1) * (SAMPLE_RATE / 2) / (mel_filters().shape[1] - 1)
    passed = log_mel.copy()
    passed[:, np.arange(N_MELS)[peaks > _TELEPHONE_HZ]] = SILENCE
    return passed


def sampled(log_mel: np.ndarray, rows: np.ndarray, count: int, seed: int) -> LogMel:
    """Draw some rows of a cache, in their order."""
    drawn = np.random.default_rng([seed, 9]).permutation(rows)[:count]
    return np.asarray(log_mel[np.sort(drawn)], dtype=np.float32)


def fit_presence(
    music: Float32[np.ndarray, "music statistics"],
    others: Float32[np.ndarray, "others statistics"],
    held_out: Float32[np.ndarray, "held_out statistics"],
    refused: float,
) -> Presence:
    """Fit the linear layer, and move its bias so that hardly any music is refused.

    Args:
        music: Of segments of music.
        others: Of segments of noise and speech.
        held_out: Of other segments of music, to move the bias by.
        refused: Share of them that may fall below one half.

    Raises:
        TrainingError: There are too few segments of one kind.
    """
    from sklearn.linear_model import LogisticRegression

    if min(len(music), len(others), len(held_out)) < _FEWEST:
        raise TrainingError(
            f"telling music from noise and speech wants {_FEWEST} segments of each, got {len(music)} and "
            f"{len(held_out)} of music, {len(others)} of the others; give more tracks, or leave [presence] out"
        )
    inputs = np.concatenate([music, others]).astype(np.float64)
    is_music = np.arange(len(inputs)) < len(music)
    centre, spread = inputs.mean(axis=0), np.maximum(inputs.std(axis=0), 1e-6)
    model = LogisticRegression(C=_STRENGTH, max_iter=2000, class_weight="balanced")
    model.fit((inputs - centre) / spread, is_music)
    weight = model.coef_[0] / spread
    bias = model.intercept_[0] - weight @ centre
    lowest = np.quantile(held_out.astype(np.float64) @ weight + bias, refused)
    # Never moved up: music that is far from the border must not make the border stricter.
    return Presence(weight.astype(np.float32), np.array([bias - min(0.0, lowest)], dtype=np.float32))


class PresenceLearner:
    """Gathers the segments, runs the encoder over them and fits the layer.

    Args:
        encode: Log-mel segments to statistics of their latents.
        config: The features of the model.
        seed: The recipe's seed.
        batch_size: Segments encoded at once.
    """

    def __init__(
        self,
        encode: Callable[[LogMel], Statistics],
        config: FeatureConfig,
        seed: int,
        batch_size: int,
    ) -> None:
        self._encode, self._config, self._seed = encode, config, seed
        self._batch_size = batch_size

    def learn(
        self, music: LogMel, held_out: LogMel, speech: Sequence[Track], other_speech: Sequence[Track], refused: float
    ) -> tuple[Presence, PresenceReport]:
        """Fit the layer and measure it.

        Args:
            music: Segments of music to learn from.
            held_out: Segments of other music: the border is drawn by a half of them and measured on the other.
            speech: Recordings to learn from.
            other_speech: Recordings of other speakers, to measure by.
            refused: Share of music that may be taken for something else.

        Raises:
            TrainingError: There are too few segments of one kind.
        """
        with_telephone = np.concatenate([music, telephone_band(music[::2])])
        others = np.concatenate(
            [
                noise_segments(NOISE_SEGMENTS, self._seed, self._config),
                speech_segments(speech, SPEECH_SEGMENTS, self._seed, self._config),
            ]
        )
        border, measured = self._statistics(held_out[::2]), self._statistics(held_out[1::2])
        presence = fit_presence(self._statistics(with_telephone), self._statistics(others), border, refused)
        noise = self._statistics(noise_segments(NOISE_SEGMENTS, self._seed + 1, self._config))
        heard = self._statistics(speech_segments(other_speech, SPEECH_SEGMENTS, self._seed, self._config))
        return presence, PresenceReport(
            music_kept=float((presence(measured) >= MUSIC).mean()),
            speech_found=float((presence(heard) < MUSIC).mean()),
            noise_found=float((presence(noise) < MUSIC).mean()),
        )

    def _statistics(self, log_mel: LogMel) -> Statistics:
        rows = []
        for start in range(0, len(log_mel), self._batch_size):
            batch = log_mel[start : start + self._batch_size]
            rows.append(self._encode(batch))
        return np.concatenate(rows)
