"""Harmony: which pitches sound in each window, seen from the key, how tonal it is and how fast chords change.

A teacher without weights: what it says is counted from the log-mel itself. Of codes that have to reconstruct log-mel
the decoder gives back no pitch (docs/experiments.md, 18), and pitch tells moods.

The formula, for loudness ``X = ln(1 + 10000 mel)`` of 128 bands and 1,024 frames:

    H = mean of X over 9 frames            0.2 s
    C = max(0, H - mean of H over 9 bands) what stands out of its surroundings: partials
    chroma = P C                           12 pitch classes a frame; band b counts for the classes near its centre

28 numbers a window of 128 frames:

    0-11   its mean chroma, as shares, from the tonic of the segment upwards
    12-14  how well the segment fits its best major key, its best minor key, and the first less the second
    15     ln of the mean of C
    16-19  ln of the mean of C less that of X, for four parts of the range
    20     standard deviation of C by its mean
    21-24  cosine of the chroma of frames 0.12, 0.26, 0.51 and 1.0 s apart, mean over the window
    25-27  the same 2, 4 and 8 s apart, over the segment

The tonic is the one whose key fits the segment best, by correlation with the profile of major or minor keys.

Source:
    C. L. Krumhansl and E. J. Kessler: Tracing the dynamic changes in perceived tonal organization, 1982 (the profiles);
    that statistics of pitch may stand among a codec's targets: ours.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from torch import Tensor, nn
from torch.nn import functional

from moodbook.features import LOG_SLOPE, N_MELS, SAMPLE_RATE, SEGMENT_FRAMES, SILENCE, mel_centres
from moodbook.networks.geometry import WINDOWS

PITCH_CLASSES = 12
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
_LOWEST, _HIGHEST = 180.0, 4200.0
"""Hz between which bands have a pitch: below, one spans more than five semitones; above, few tones have a partial."""
_SMOOTHED = 9
"""Frames, and bands, of the means."""
_RANGE_ENDS = (0, 16, 40, 70, N_MELS)
"""Bands that part the range: at 425, 1,050 and 2,330 Hz."""
_NEAR, _FAR = (5, 11, 22, 43), (86, 172, 344)
"""Frames between those that are compared, in a window and in the segment."""
_LARGEST = 6.0
"""Standard deviations from the mean at which what is said is cut."""
_QUIET = 1e-6
_SILENT = 0.01
"""Loudness up to which a frame is silence: features are kept in half precision, which does not hold it exactly."""

# fmt: off
_MEAN = (
    0.145, 0.068, 0.076, 0.084, 0.077, 0.088, 0.061, 0.117, 0.075, 0.067, 0.071, 0.071, 0.655, 0.655,
    0.0, -1.085, -2.908, -2.722, -2.686, -2.764, 1.882, 0.957, 0.903, 0.865, 0.824, 0.787, 0.77, 0.77,
)
_DEVIATION = (
    0.057, 0.03, 0.038, 0.043, 0.034, 0.046, 0.026, 0.049, 0.037, 0.032, 0.036, 0.029, 0.147, 0.142,
    0.154, 0.454, 0.523, 0.613, 0.747, 0.842, 0.371, 0.027, 0.058, 0.076, 0.096, 0.08, 0.086, 0.093,
)
# fmt: on
"""Of each number over 20,236 windows of the collection `open`."""


class Harmony(nn.Module):
    """What it says of each window of a batch; nothing of it is learned, or part of a module's state."""

    def __init__(self) -> None:
        super().__init__()
        keys = np.stack([np.roll(_standard(np.array(mode)), tonic) for mode in (_MAJOR, _MINOR) for tonic in range(12)])
        for name, value in (
            ("pitch_classes", pitch_classes()),
            ("keys", keys / PITCH_CLASSES),
            ("mean", np.array(_MEAN)),
            ("deviation", np.array(_DEVIATION)),
        ):
            self.register_buffer(name, torch.from_numpy(value).float(), persistent=False)

    @torch.no_grad()
    def forward(
        self, log_mel: Float[Tensor, "batch n_mels frames"]
    ) -> Float32[Tensor, "batch windows harmony_features"]:
        """Say it at mean 0 and variance 1 over the collection `open`; NaN where less than half of a window sounds.

        Args:
            log_mel: Scaled log-mel of whole segments.
        """
        with torch.autocast(log_mel.device.type, enabled=False):
            counted, sounding = self.count(log_mel.float())
            said = (counted - self.get_buffer("mean")) / self.get_buffer("deviation")
            return said.clamp(-_LARGEST, _LARGEST).masked_fill(~sounding[..., None], torch.nan)

    def count(
        self, log_mel: Float32[Tensor, "batch n_mels frames"]
    ) -> tuple[Float32[Tensor, "batch windows harmony_features"], Tensor]:
        """Count the 28 numbers as the formula has them, and say which windows sound for half of their time or more."""
        batch = len(log_mel)
        loudness = ((log_mel - float(SILENCE)) / LOG_SLOPE).clamp(min=0.0)
        partials = _above_surroundings(loudness)
        chroma = self.get_buffer("pitch_classes") @ partials
        direction = chroma / (chroma.norm(dim=1, keepdim=True) + _QUIET)
        windows = (batch, -1, WINDOWS, SEGMENT_FRAMES // WINDOWS)

        # The key of the segment.
        fits = _standard_rows(chroma.mean(dim=2)) @ self.get_buffer("keys").T
        major, minor = fits[:, :PITCH_CLASSES], fits[:, PITCH_CLASSES:]
        tonic = torch.maximum(major, minor).argmax(dim=1)
        best = torch.stack([major.amax(dim=1), minor.amax(dim=1)], dim=1)
        key = torch.cat([best, best[:, :1] - best[:, 1:]], dim=1)

        # Chroma of the windows, from the tonic upwards.
        shares = chroma.reshape(windows).mean(dim=3)
        shares = shares / (shares.sum(dim=1, keepdim=True) + _QUIET)
        upwards = (torch.arange(PITCH_CLASSES, device=log_mel.device) + tonic[:, None]) % PITCH_CLASSES
        shares = shares.gather(1, upwards[..., None].expand(-1, -1, WINDOWS))

        # How tonal: partials beside all that sounds.
        parted, whole = partials.reshape(windows), loudness.reshape(windows)
        mean = parted.mean(dim=(1, 3))
        ranges = [_log_mean(parted[:, low:high]) - _log_mean(whole[:, low:high]) for low, high in pairwise(_RANGE_ENDS)]
        spread = parted.std(dim=(1, 3), correction=0) / (mean + _QUIET)

        # How steady.
        near = [_alike(direction.reshape(windows), frames) for frames in _NEAR]
        far = [_alike(direction, frames)[:, None].expand(-1, WINDOWS) for frames in _FAR]

        tonal = [_log_mean(parted), *ranges, spread, *near, *far]
        counted = torch.cat(
            [shares.transpose(1, 2), key[:, None].expand(-1, WINDOWS, -1), torch.stack(tonal, dim=2)], dim=2
        )
        sounding = (whole.amax(dim=1) > _SILENT).float().mean(dim=2) >= 0.5
        return counted, sounding


def pitch_classes() -> Float64[np.ndarray, "12 128"]:
    """Give how much each mel band counts for each pitch class (0: C), in shares; 0 for bands without a pitch.

    A band counts for the classes round its centre as a normal curve does that is as wide as the band is in semitones,
    for low bands span several.
    """
    centres = mel_centres(N_MELS, SAMPLE_RATE / 2)
    below = np.concatenate([[2 * centres[0] - centres[1]], centres[:-1]])
    above = np.concatenate([centres[1:], [2 * centres[-1] - centres[-2]]])
    pitched = (centres >= _LOWEST) & (centres <= _HIGHEST)
    shares = np.zeros((PITCH_CLASSES, N_MELS))
    pitch = 69 + 12 * np.log2(centres[pitched] / 440.0)  # As MIDI numbers it.
    deviation = 12 * np.log2(above[pitched] / below[pitched]) / 4 + 0.15
    away = (pitch - np.arange(PITCH_CLASSES)[:, None] + 6) % 12 - 6
    curve = np.exp(-0.5 * np.square(away / deviation))
    shares[:, pitched] = curve / curve.sum(axis=0)
    return shares


def _above_surroundings(loudness: Float32[Tensor, "batch n_mels frames"]) -> Float32[Tensor, "batch n_mels frames"]:
    steady = _mean_around(loudness)
    return functional.relu(steady - _mean_around(steady.transpose(1, 2)).transpose(1, 2))


def _mean_around(values: Float32[Tensor, "batch rows places"]) -> Float32[Tensor, "batch rows places"]:
    """Average along the last axis over the places round each, of those that there are."""
    return functional.avg_pool1d(values, _SMOOTHED, stride=1, padding=_SMOOTHED // 2, count_include_pad=False)


def _alike(direction: Tensor, frames: int) -> Tensor:
    """Give the mean cosine of chroma so many frames apart, over those pairs that both have pitch."""
    earlier, later = direction[..., :-frames], direction[..., frames:]
    both = (earlier.amax(dim=1) > 0) & (later.amax(dim=1) > 0)
    return (earlier * later).sum(dim=(1, -1)) / both.sum(dim=-1).clamp(min=1)


def _log_mean(values: Float32[Tensor, "batch bands windows frames"]) -> Float32[Tensor, "batch windows"]:
    return (values.mean(dim=(1, 3)) + 1e-3).log()


def _standard(values: Float64[np.ndarray, " classes"]) -> Float64[np.ndarray, " classes"]:
    standard: np.ndarray = (values - values.mean()) / values.std()
    return standard


def _standard_rows(values: Float32[Tensor, "batch classes"]) -> Float32[Tensor, "batch classes"]:
    centred = values - values.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True).sqrt() + _QUIET)
