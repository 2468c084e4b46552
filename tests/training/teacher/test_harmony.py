from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from moodbook.datasets import Dataset
from moodbook.errors import TrainingError
from moodbook.features import FIRST_SEGMENT_SAMPLES, N_MELS, SAMPLE_RATE, SILENCE, segments
from moodbook.networks.config import SemanticConfig, VQVAEConfig
from moodbook.networks.geometry import WINDOWS
from moodbook.networks.vqvae import VQVAE
from moodbook.training.losses import ReconstructionLoss
from moodbook.training.recipe import Recipe
from moodbook.training.reproduce import reproduce
from moodbook.training.teacher.harmony import Harmony, pitch_classes
from moodbook.training.teacher.names import HARMONY_FEATURES, features_said
from moodbook.training.teacher.teacher import Teacher, teacher_error

SHARES, MAJOR, MINOR, DIFFERENCE, PARTIALS, RANGES, NEAR, FAR = (
    slice(0, 12), 12, 13, 14, 15, slice(16, 20), slice(21, 25), slice(25, 28),
)  # fmt: skip
MAJOR_CHORD, MINOR_CHORD = (0, 4, 7), (0, 3, 7)


def music(chords: Sequence[Sequence[int]], root: int = 72) -> Tensor:
    """A segment of chords of equal length, each tone with five partials; `root` as MIDI numbers it."""
    time = np.arange(FIRST_SEGMENT_SAMPLES) / SAMPLE_RATE
    sound = np.zeros(FIRST_SEGMENT_SAMPLES)
    ends = np.linspace(0, FIRST_SEGMENT_SAMPLES, len(chords) + 1).astype(int)
    for chord, (start, end) in zip(chords, pairwise(ends), strict=True):
        for tone in chord:
            frequency = 440 * 2 ** ((root + tone - 69) / 12)
            for partial in range(1, 6):
                sound[start:end] += 0.1 / partial * np.sin(2 * np.pi * frequency * partial * time[start:end])
    return torch.from_numpy(segments(sound.astype(np.float32)).log_mel[:1])


def counted(log_mel: Tensor) -> Tensor:
    """The numbers of a segment as the formula has them, mean over its windows."""
    numbers, sounding = Harmony().count(log_mel)
    assert bool(sounding.all())
    return numbers[0].mean(0)


def test_every_band_with_a_pitch_counts_once() -> None:
    shares = pitch_classes()
    assert shares.shape == (12, N_MELS)
    assert set(shares.sum(axis=0).round(9)) == {0.0, 1.0}
    peak = pitch_classes().argmax(axis=0)
    assert [peak[band] for band in (33, 50)] == [9, 5]  # 878 Hz is A, 1,394 Hz is F.


@pytest.mark.parametrize("root", [76, 79, 82, 84, 87])
def test_major_and_minor_are_told_apart_in_every_key(root: int) -> None:
    """From E5 up, where two semitones do not share a band."""
    major = counted(music([(0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)] * 3, root))
    minor = counted(music([(0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7)] * 3, root))
    assert major[DIFFERENCE] > 0.05
    assert minor[DIFFERENCE] < -0.2
    assert major[MAJOR] > 0.85
    assert minor[MINOR] > 0.8
    for numbers in (major, minor):
        assert numbers[DIFFERENCE] == pytest.approx(float(numbers[MAJOR] - numbers[MINOR]), abs=1e-6)
        assert numbers[SHARES].sum() == pytest.approx(1, abs=1e-3)
        assert set(numbers[SHARES].topk(2).indices.tolist()) == {0, 7}  # The tonic comes first, the fifth eighth.


def test_changing_chords_are_less_steady_than_a_held_one() -> None:
    held = counted(music([MAJOR_CHORD]))
    fourth = tuple(tone + 5 for tone in MAJOR_CHORD)
    changing = counted(music([MAJOR_CHORD, fourth] * 12))  # A second each.
    assert float(held[NEAR].min()) > 0.95
    assert float(held[FAR].min()) > 0.95
    assert float(changing[NEAR][-1]) < 0.8  # 1.0 s apart.
    assert float(changing[NEAR][0]) > float(changing[NEAR][-1])
    assert float(changing[FAR][0]) > float(changing[NEAR][-1])  # 2 s apart the first chord is back.


def test_noise_is_less_tonal_than_a_chord() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, FIRST_SEGMENT_SAMPLES).astype(np.float32)
    assert float(counted(torch.from_numpy(segments(noise).log_mel[:1]))[PARTIALS]) < float(
        counted(music([MAJOR_CHORD]))[PARTIALS]
    )


def test_loudness_does_not_change_what_is_said_of_pitch() -> None:
    loud, soft = music([MAJOR_CHORD, MINOR_CHORD]), music([MAJOR_CHORD, MINOR_CHORD])
    mel = torch.expm1((soft - SILENCE) / 0.09468)
    soft = torch.log1p(mel / 10) * 0.09468 + SILENCE
    torch.testing.assert_close(counted(loud)[SHARES], counted(soft)[SHARES], atol=0.02, rtol=0)
    torch.testing.assert_close(counted(loud)[NEAR], counted(soft)[NEAR], atol=0.05, rtol=0)


def test_windows_without_sound_are_left_out() -> None:
    harmony, log_mel = Harmony(), music([MAJOR_CHORD])
    log_mel[:, :, 320:] = float(SILENCE)  # Two and a half windows are left.
    said = harmony(log_mel)
    kept = harmony(log_mel.half().float())  # As features are cached: silence is not quite silence then.
    torch.testing.assert_close(kept, said, atol=0.2, rtol=0, equal_nan=True)
    assert said.shape == (1, WINDOWS, HARMONY_FEATURES)
    assert said[0].isnan().any(dim=1).tolist() == [False] * 3 + [True] * 5
    assert bool(harmony(torch.full((1, N_MELS, 1024), float(SILENCE))).isnan().all())
    assert float(said[0, :3].abs().max()) <= 6
    assert dict(harmony.state_dict()) == {}


def test_the_semantic_decoder_is_taught_the_numbers_behind_the_teachers() -> None:
    torch.manual_seed(0)
    vqvae = VQVAE(
        VQVAEConfig(width=8, codebook_size=16, semantic_width=8, semantic_features=features_said(None, harmony=True))
    )
    loss = ReconstructionLoss(vqvae, harmony_weight=0.5)
    assert loss.part_names == ("reconstruction", "codebook", "commitment", "harmony")
    log_mel = torch.cat([music([MAJOR_CHORD]), music([MINOR_CHORD])])
    losses, output = loss.eval()(log_mel), vqvae(log_mel)
    assert output.semantic is not None
    expected = teacher_error(output.semantic, Harmony()(log_mel))
    torch.testing.assert_close(losses.parts["harmony"], expected)
    plain = ReconstructionLoss(vqvae).eval()(log_mel)
    torch.testing.assert_close(losses.total, plain.total + 0.5 * expected)
    loss(log_mel).parts["harmony"].backward()
    gradient = vqvae.encoder.convolutions[0].weight.grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0
    with pytest.raises(TrainingError, match="harmony wants a VQ-VAE with a semantic decoder"):
        ReconstructionLoss(VQVAE(VQVAEConfig(width=8, codebook_size=16)), harmony_weight=0.5)(log_mel)


def test_a_teacher_is_told_first_and_harmony_behind_it() -> None:
    torch.manual_seed(0)

    class Plain(Teacher):
        def forward(self, log_mel: Tensor) -> Tensor:
            return torch.full((len(log_mel), WINDOWS, features_said("musicnn")), 0.25)

    said = features_said("musicnn", harmony=True)
    vqvae = VQVAE(VQVAEConfig(width=8, codebook_size=16, semantic_width=8, semantic_features=said))
    loss = ReconstructionLoss(vqvae, Plain(), teacher_weight=2.0, harmony_weight=0.5).eval()
    log_mel = music([MAJOR_CHORD])
    losses, told = loss(log_mel, torch.zeros(1, 3, 4)), vqvae(log_mel).semantic
    assert told is not None
    assert list(losses.parts) == list(loss.part_names)
    of_teacher, of_harmony = losses.parts["teacher"], losses.parts["harmony"]
    torch.testing.assert_close(of_teacher, (told[..., :200] - 0.25).square().mean())
    torch.testing.assert_close(of_harmony, teacher_error(told[..., 200:], Harmony()(log_mel)))
    plain = ReconstructionLoss(vqvae).eval()(log_mel)
    torch.testing.assert_close(losses.total, plain.total + 2.0 * of_teacher + 0.5 * of_harmony)


def test_a_run_learns_harmony_without_a_teacher(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = narrow("fixed-cnn")
    assert recipe.step_1 is not None
    assert recipe.vqvae is not None
    both = {
        "step_1": recipe.step_1.model_copy(update={"harmony_weight": 0.3}),
        "vqvae": recipe.vqvae.model_copy(update={"semantic_width": 8, "semantic_features": HARMONY_FEATURES}),
        "classifier": SemanticConfig(),
    }
    report = reproduce(recipe.model_copy(update=both), small_set, tmp_path / "run")
    assert report.steps[0].watched == "reconstruction"
    assert '"harmony":' in (tmp_path / "run" / "metrics.jsonl").read_text()
