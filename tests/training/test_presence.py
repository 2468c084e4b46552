"""What is no music is learned from noise and speech, and hardly any music is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from moodbook import Tagger
from moodbook.datasets import Dataset, Track
from moodbook.errors import DataError, TrainingError
from moodbook.features import DEFAULT_FEATURES, N_MELS, SAMPLE_RATE, SEGMENT_FRAMES, SILENCE, mel_filters
from moodbook.model.bundle import read_bundle
from moodbook.model.presence import MUSIC
from moodbook.tags import TagSet
from moodbook.training import experiment as experiment_module
from moodbook.training.presence import (
    fit_presence,
    noise_segments,
    require_music,
    sampled,
    speech_segments,
    telephone_band,
)
from moodbook.training.recipe import Recipe
from moodbook.training.reproduce import reproduce, train_tagger, train_vqvae
from moodbook.training.run_folder import STEP_1


@pytest.fixture(scope="module")
def murmurs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Stands for speech: forty bursts of three seconds that rise and fall, an eighth of them to check with."""
    folder = tmp_path_factory.mktemp("murmurs")
    random = np.random.default_rng(4)
    seconds = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    tracks = []
    for number in range(64):
        pitch = np.cumsum(120 + 40 * np.sin(2 * np.pi * random.uniform(2, 5) * seconds)) / SAMPLE_RATE
        loud = np.abs(np.sin(2 * np.pi * random.uniform(1, 3) * seconds))
        path = folder / f"{number}.wav"
        soundfile.write(path, 0.3 * loud * np.sign(np.sin(2 * np.pi * pitch)), SAMPLE_RATE)
        tracks.append(Track(f"m{number}", path, (), "train" if number % 2 else "validation"))
    return Dataset("murmurs", tuple(tracks), TagSet(()))


def test_noise_is_what_it_is_called_and_the_same_every_time() -> None:
    made = noise_segments(6, 0, DEFAULT_FEATURES)
    assert made.shape == (6, N_MELS, SEGMENT_FRAMES)
    np.testing.assert_array_equal(made, noise_segments(6, 0, DEFAULT_FEATURES))
    assert not np.array_equal(made, noise_segments(6, 1, DEFAULT_FEATURES))
    # Steady noise hardly changes over time; mains hum lies below 500 Hz; the last kind is silence, or nearly.
    assert np.diff(made[0], axis=1).std() < 0.2
    assert made[3, :10].mean() > made[3, 60:].mean()
    assert np.abs(made[5] - SILENCE).max() < 0.5


def test_speech_is_joined_to_whole_segments(murmurs: Dataset, tmp_path: Path) -> None:
    spoken = speech_segments(murmurs.split("train"), 2, 0, DEFAULT_FEATURES)
    assert spoken.shape == (2, N_MELS, SEGMENT_FRAMES)
    broken = Track("broken", tmp_path / "nowhere.wav", (), "train")
    with_broken = speech_segments([*murmurs.split("train"), broken], 2, 0, DEFAULT_FEATURES)
    assert with_broken.shape == spoken.shape
    with pytest.raises(TrainingError, match="makes no whole segment"):
        speech_segments(murmurs.split("train")[:2], 2, 0, DEFAULT_FEATURES)


def test_a_telephone_passes_nothing_above_its_band() -> None:
    loud = np.zeros((1, N_MELS, SEGMENT_FRAMES), dtype=np.float32)
    passed = telephone_band(loud)[0, :, 0]
    highest = np.flatnonzero(passed == 0).max()
    hertz = mel_filters()[highest].argmax() * SAMPLE_RATE / 2048
    assert 3000 < hertz <= 3400
    assert (passed[highest + 1 :] == SILENCE).all()
    assert loud.max() == 0


def test_rows_are_drawn_once_each_in_their_order() -> None:
    cache = (np.arange(10)[:, None, None] * np.ones((1, N_MELS, SEGMENT_FRAMES))).astype(np.float16)
    drawn = sampled(cache, np.array([1, 3, 5, 7, 9]), 3, seed=0)
    assert drawn.dtype == np.float32
    assert len(set(drawn[:, 0, 0].tolist())) == 3
    assert drawn[:, 0, 0].tolist() == sorted(drawn[:, 0, 0].tolist())
    assert set(drawn[:, 0, 0].tolist()) <= {1, 3, 5, 7, 9}


def clusters(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    music, others, held_out = (random.normal(size=(300, 8)).astype(np.float32) for _ in range(3))
    others[:, 0] += 2.0
    return music * 100, others * 100, held_out * 100


@pytest.mark.parametrize("refused", [0.01, 0.05])
def test_hardly_any_music_is_refused(refused: float) -> None:
    music, others, held_out = clusters()
    presence = fit_presence(music, others, held_out, refused)
    assert (presence(held_out) < MUSIC).mean() == pytest.approx(refused, abs=0.01)
    assert (presence(others) < MUSIC).mean() > 3 * refused


def test_music_that_is_far_off_makes_nothing_stricter() -> None:
    music, others, held_out = clusters()
    far = held_out.copy()
    far[:, 0] -= 2000
    others[:, 0] += 2000
    presence = fit_presence(music, others, far, 0.02)
    assert (presence(far) >= MUSIC).all()
    assert (presence(music) >= MUSIC).all()


def test_too_little_to_learn_from_is_said() -> None:
    music, others, held_out = clusters()
    with pytest.raises(TrainingError, match="wants 20 segments of each, got 300 and 5 of music, 300 of the others"):
        fit_presence(music, others, held_out[:5], 0.02)


def test_too_little_music_is_said_before_anything_is_trained(
    small_set: Dataset,
    murmurs: Dataset,
    narrow: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(experiment_module, "open_dataset", lambda name, seed: murmurs)
    with pytest.raises(TrainingError, match="wants 13 whole segments of train music and 39 of validation music, got 0"):
        reproduce(narrow("fixed-cnn", presence={}), small_set, tmp_path / "run")
    assert not (tmp_path / "run" / STEP_1).exists()


def test_what_is_enough_music_is_enough_for_the_fit() -> None:
    music, others, held_out = clusters()
    for train, validation in ((13, 39), (12, 39), (13, 38)):
        # As `PresenceLearner.learn` cuts them.
        learned_from = np.concatenate([music[:train], music[:train][::2]])
        if (train, validation) == (13, 39):
            require_music(train, validation)
            fit_presence(learned_from, others, held_out[:validation][::2], 0.02)
            continue
        with pytest.raises(TrainingError, match=f"got {train} and {validation}"):
            require_music(train, validation)
        with pytest.raises(TrainingError, match="wants 20 segments of each"):
            fit_presence(learned_from, others, held_out[:validation][::2], 0.02)


@pytest.mark.parametrize("given", [False, True])
def test_the_other_music_is_missed_before_any_listening(
    small_set: Dataset,
    murmurs: Dataset,
    narrow: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    given: bool,
) -> None:
    recipe = narrow("fixed-cnn", presence={})
    assert recipe.step_1 is not None
    vqvae = None
    if given:
        vqvae = tmp_path / "one"
        train_vqvae(recipe, small_set, vqvae)
    recipe = recipe.model_copy(update={"step_1": recipe.step_1.model_copy(update={"data": "elsewhere"})})

    def open_known(name: str, seed: int) -> Dataset:
        if name == "speech":
            return murmurs
        raise DataError(f"data set '{name}' is not here")

    monkeypatch.setattr(experiment_module, "open_dataset", open_known)
    with pytest.raises(DataError, match="data set 'elsewhere' is not here"):
        reproduce(recipe, small_set, tmp_path / "run", vqvae=vqvae)
    assert not (tmp_path / "run").exists()
    if not given:
        with pytest.raises(DataError, match="data set 'elsewhere' is not here"):
            train_tagger(recipe, small_set, tmp_path / "tagger")
        assert not (tmp_path / "tagger").exists()

    # What was refused before it began can be begun when the music is there.
    monkeypatch.setattr(
        experiment_module, "open_dataset", lambda name, seed: murmurs if name == "speech" else small_set
    )
    with pytest.raises(TrainingError, match="whole segments of train music"):
        reproduce(recipe, small_set, tmp_path / "run", vqvae=vqvae)


def test_a_model_that_has_learned_it_says_no_music(
    small_set: Dataset,
    murmurs: Dataset,
    narrow: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    random = np.random.default_rng(0)
    tracks = []
    for number in range(15):
        seconds = np.arange(50 * SAMPLE_RATE) / SAMPLE_RATE
        steps = random.choice([220.0, 277.2, 329.6, 440.0], 100)[(seconds * 2).astype(int)]
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * np.cumsum(steps) / SAMPLE_RATE), SAMPLE_RATE)
        split = ("train", "train", "validation", "validation", "test")[number % 5]
        tracks.append(Track(f"t{number}", path, ("high", "low")[number % 2 :], split))  # type: ignore[arg-type]
    music = replace(small_set, tracks=tuple(tracks))
    monkeypatch.setattr(experiment_module, "open_dataset", lambda name, seed: murmurs)
    # Narrow as it is, a codebook that is not restarted has one code, and nothing tells one code from another.
    recipe = narrow("fixed-cnn", data={"segments": "all"}, presence={})
    assert recipe.step_1 is not None
    step_1 = recipe.step_1.model_copy(update={"restart_dead_codes": True, "max_epochs": 1})
    recipe = recipe.model_copy(update={"step_1": step_1})

    monkeypatch.setattr("moodbook.training.presence._FEWEST", 4)
    monkeypatch.setattr("moodbook.training.presence.NOISE_SEGMENTS", 12)
    report = reproduce(recipe, music, tmp_path / "run")

    assert report.presence is not None
    assert "Taken for music, of segments not learned from" in report.to_text()
    credit = f"What is no music was learned from '{murmurs.name}', licence: {murmurs.licence}."
    assert any(line.startswith(credit) for line in read_bundle(tmp_path / "run" / "bundle").config.card.credits)
    stored = json.loads((tmp_path / "run" / "report.json").read_text())
    assert stored["presence"] == vars(report.presence)
    tagger = Tagger.load(tmp_path / "run" / "bundle")
    assert tagger.bundle.config.presence
    soundfile.write(tmp_path / "silence.wav", np.zeros(30 * SAMPLE_RATE), SAMPLE_RATE)
    silence, song = tagger(tmp_path / "silence.wav"), tagger(tracks[0].path)
    assert silence.music is not None
    assert silence.music < MUSIC
    assert "no music heard" in silence.note
    assert not silence.decisions.any()
    assert song.music is not None
    assert song.music > silence.music
    assert silence.to_dict()["music"] == round(silence.music, 6)


def test_a_recipe_without_codes_cannot_ask_for_it(narrow: Callable[..., Recipe]) -> None:
    with pytest.raises(ValidationError, match=r"\[presence\] is learned from latents"):
        narrow("vggish", presence={})
