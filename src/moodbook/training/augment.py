"""Other music out of the same: segments are mixed, equalised and made louder or softer, as a loudspeaker would.

All of it is done to the mel power that a log-mel stands for, where sounds that have nothing to do with each other add
up. What a teacher hears of a segment is changed in the same way, so that it can be asked about music that nobody wrote.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from moodbook.features import LOG_SLOPE, N_MELS, SAMPLE_RATE, SILENCE, mel_centres
from moodbook.training.teacher import musicnn

MIXED = 0.5
"""Share of the segments that another one is mixed into."""
SOFTEST_MIX = -18.0
"""The other one is softer by up to this many dB, and by 0 at the least."""
GAIN = (-15.0, 5.0)
"""Range of the change of loudness, in dB."""
EQUALISER = 4.0
"""Standard deviation in dB of each of the waves that an equaliser's curve is the sum of."""
WAVES = 3
"""Waves of that curve: half a period over the mel axis, a whole one, one and a half."""


@dataclass(frozen=True)
class Changes:
    """What happens to each segment of a batch; drawn once, done to all that is heard of it.

    Args:
        other: Loudness of the segment that is mixed in, the one before it in the batch, as a factor of power; 0: none.
        gain: Change of loudness in dB.
        waves: Amplitudes of the equaliser's waves in dB.
    """

    other: Float32[Tensor, " batch"]
    gain: Float32[Tensor, " batch"]
    waves: Float32[Tensor, "batch waves"]

    def decibels(self, centres: Float[np.ndarray, " bands"]) -> Float32[Tensor, "batch bands"]:
        """Give the change of each band in dB.

        Args:
            centres: Frequency of each band in Hz.
        """
        # Nyquist of the features is the end of the axis for everybody.
        place = np.log1p(centres / 700.0) / math.log1p(SAMPLE_RATE / 2 / 700.0)
        orders = np.arange(1, WAVES + 1)
        waves = torch.from_numpy(np.cos(np.pi * orders[:, None] * place)).to(self.waves)
        return self.gain[:, None] + self.waves @ waves


def draw_changes(batch: int, device: torch.device) -> Changes:
    """Draw the changes of a batch from torch's random numbers of the processor, alike on every device."""
    mixed = torch.rand(batch) < MIXED
    other = 10 ** (torch.rand(batch) * SOFTEST_MIX / 10) * mixed
    gain = GAIN[0] + torch.rand(batch) * (GAIN[1] - GAIN[0])
    waves = torch.randn(batch, WAVES) * EQUALISER
    return Changes(other.to(device), gain.to(device), waves.to(device))


def change_log_mel(
    log_mel: Float32[Tensor, "batch n_mels frames"], changes: Changes
) -> Float32[Tensor, "batch n_mels frames"]:
    """Change the log-mel that the network hears."""
    # x = a ln(1 + C mel) + b.
    power = torch.expm1((log_mel - float(SILENCE)) / LOG_SLOPE)
    power = _changed(power, changes, mel_centres(N_MELS, SAMPLE_RATE / 2)[None, :, None])
    return LOG_SLOPE * torch.log1p(power) + float(SILENCE)


def change_hearing(
    log_mel: Float32[Tensor, "batch frames bands"], changes: Changes
) -> Float32[Tensor, "batch frames bands"]:
    """Change what the teacher hears; where a segment holds no music (NaN), what is mixed in is none either."""
    # x = log10(1 + C mel).
    power = torch.expm1(log_mel * math.log(10.0))
    power = _changed(power, changes, mel_centres(musicnn.N_MELS, musicnn.SAMPLE_RATE / 2)[None, None, :])
    return torch.log1p(power) / math.log(10.0)


def _changed(
    power: Float32[Tensor, "batch height width"], changes: Changes, centres: Float[np.ndarray, ...]
) -> Float32[Tensor, "batch height width"]:
    mixed = power + changes.other[:, None, None] * power.roll(1, dims=0).nan_to_num()
    factors = 10 ** (changes.decibels(centres.ravel()) / 10)
    return mixed * factors.reshape(len(power), *centres.shape[1:])
