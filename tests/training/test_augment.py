"""Mixing and equalising: the arithmetic of mel power, alike for the network and for the teacher."""

from __future__ import annotations

import numpy as np
import torch

from moodbook.features import LOG_SLOPE, SILENCE, mel_centres, mel_filters
from moodbook.training.augment import Changes, change_hearing, change_log_mel, draw_changes


def of_power(power: torch.Tensor) -> torch.Tensor:
    return LOG_SLOPE * torch.log1p(power) + float(SILENCE)


def test_mixing_adds_power_and_gain_scales_it() -> None:
    power = torch.rand(2, 128, 8, generator=torch.Generator().manual_seed(0)) * 100
    changes = Changes(torch.tensor([0.0, 0.5]), torch.tensor([10.0, 0.0]), torch.zeros(2, 3))
    changed = change_log_mel(of_power(power), changes)
    torch.testing.assert_close(changed[0], of_power(10 * power[0]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(changed[1], of_power(power[1] + 0.5 * power[0]), rtol=1e-4, atol=1e-5)


def test_the_teacher_hears_the_same_change_and_silence_stays_silence() -> None:
    power = torch.full((2, 6, 96), 50.0)
    hearing = torch.log10(1 + power)
    hearing[1, 4:] = torch.nan
    changes = Changes(torch.tensor([1.0, 1.0]), torch.zeros(2), torch.zeros(2, 3))
    changed = change_hearing(hearing, changes)
    torch.testing.assert_close(changed[0, :4], torch.full((4, 96), 101.0).log10())
    torch.testing.assert_close(changed[0, 4:], torch.full((2, 96), 51.0).log10())
    assert changed[1, 4:].isnan().all()
    assert not changed[1, :4].isnan().any()


def test_a_curve_is_the_same_at_the_same_frequency() -> None:
    changes = Changes(torch.zeros(1), torch.zeros(1), torch.tensor([[3.0, -2.0, 1.0]]))
    ours, teachers = mel_centres(128, 11_025.0), mel_centres(96, 8_000.0)
    expected = np.interp(teachers, ours, changes.decibels(ours)[0].numpy())
    np.testing.assert_allclose(changes.decibels(teachers)[0].numpy(), expected, atol=0.02)


def test_centres_are_where_the_filters_peak() -> None:
    peaks = mel_filters().argmax(axis=1) * 22_050 / 2048
    np.testing.assert_allclose(mel_centres(128, 11_025.0), peaks, atol=22_050 / 2048)


def test_changes_are_drawn_within_their_ranges() -> None:
    torch.manual_seed(0)
    changes = draw_changes(400, torch.device("cpu"))
    assert 0.4 < float((changes.other > 0).float().mean()) < 0.6
    assert 10**-1.8 <= float(changes.other[changes.other > 0].min()) <= float(changes.other.max()) <= 1
    assert -15 <= float(changes.gain.min()) < -13
    assert 3 < float(changes.gain.max()) <= 5
