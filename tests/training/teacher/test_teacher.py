"""The teacher computes what its authors' network does, its targets are kept, and step 1 learns from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor
from torch.nn import functional

from moodbook.datasets import Dataset
from moodbook.datasets.cache import FeatureCache
from moodbook.errors import ModelError, TrainingError
from moodbook.features import DEFAULT_FEATURES
from moodbook.networks.config import VQVAEConfig
from moodbook.tags import TagSet
from moodbook.training import experiment as experiment_module
from moodbook.training.experiment import Experiment
from moodbook.training.losses import ReconstructionLoss
from moodbook.training.machine import Machine
from moodbook.training.progress import Display
from moodbook.training.recipe import Recipe
from moodbook.training.reproduce import reproduce
from moodbook.training.step import read_weights
from moodbook.training.teacher import musicnn, targets
from moodbook.training.teacher.head import teacher_error
from moodbook.training.teacher.musicnn import MusiCNN, musicnn_log_mel
from moodbook.training.teacher.targets import TeacherTargets, windows_with_music

KERNELS = [(7, 38, 204), (7, 67, 204), (128, 1, 51), (64, 1, 51), (32, 1, 51), (7, 561, 64), (7, 64, 64), (7, 64, 64)]
NORMS = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]


def random_weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of the right shapes; every other scale of a batch norm is negative."""
    random = np.random.default_rng(seed)
    weights: dict[str, np.ndarray] = {}
    for number, (frames, bands, maps) in enumerate(KERNELS):
        name = f"conv2d_{number}" if number else "conv2d"
        weights[f"{name}/kernel"] = random.normal(0, (frames * bands) ** -0.5, (frames, bands, 1, maps))
        weights[f"{name}/bias"] = random.normal(0, 0.1, maps)
    for number, maps in enumerate(NORMS):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        signs = np.where(np.arange(maps) % 2, -1.0, 1.0)
        weights[f"{name}/gamma"] = signs * random.uniform(0.5, 1.5, maps)
        weights[f"{name}/beta"] = random.normal(0, 0.1, maps)
        weights[f"{name}/moving_mean"] = random.normal(0, 0.1, maps)
        weights[f"{name}/moving_variance"] = random.uniform(0.5, 1.5, maps)
    weights["dense/kernel"] = random.normal(0, 1506**-0.5, (1506, 200))
    weights["dense/bias"] = random.normal(0, 0.1, 200)
    return {name: weight.astype(np.float32) for name, weight in weights.items()}


def as_published(weights: dict[str, np.ndarray], log_mel: Tensor) -> Tensor:
    """The network in the published order of operations: convolution, ReLU, batch norm, max."""

    def norm(number: int, hidden: Tensor) -> Tensor:
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        gamma, beta, mean, variance = (
            torch.from_numpy(weights[f"{name}/{part}"]) for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return functional.batch_norm(hidden, mean, variance, gamma, beta, eps=1e-3)

    def convolved(number: int, image: Tensor) -> Tensor:
        name = f"conv2d_{number}" if number else "conv2d"
        kernel = torch.from_numpy(weights[f"{name}/kernel"]).permute(3, 2, 0, 1)
        return norm(
            number + 1, functional.relu(functional.conv2d(image, kernel, torch.from_numpy(weights[f"{name}/bias"])))
        )

    image = norm(0, log_mel.unsqueeze(1))
    maps = [convolved(number, functional.pad(image, (0, 0, 3, 3))).amax(3) for number in (0, 1)]
    for number, frames in ((2, 128), (3, 64), (4, 32)):
        maps.append(convolved(number, functional.pad(image, (0, 0, frames // 2 - 1, frames // 2))).amax(3))
    front = torch.cat(maps, 1)
    middle = [front]
    for number in (5, 6, 7):
        hidden = convolved(number, functional.pad(middle[-1].transpose(1, 2).unsqueeze(1), (0, 0, 3, 3))).squeeze(3)
        middle.append(hidden if number == 5 else hidden + middle[-1])
    everything = torch.cat(middle, 1)
    pooled = norm(9, torch.stack([everything.amax(2), everything.mean(2)], 2).flatten(1))
    dense = pooled @ torch.from_numpy(weights["dense/kernel"]) + torch.from_numpy(weights["dense/bias"])
    return norm(10, functional.relu(dense))


def test_the_network_is_the_published_one() -> None:
    weights = random_weights()
    log_mel = torch.rand(2, musicnn.PATCH_FRAMES, musicnn.N_MELS, generator=torch.Generator().manual_seed(0)) * 4
    np.testing.assert_allclose(MusiCNN(weights)(log_mel), as_published(weights, log_mel), atol=2e-5)


def test_its_log_mel_is_that_of_the_package_in_float32() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 30_000).astype(np.float32)
    mel = librosa.feature.melspectrogram(y=waveform, sr=16_000, n_fft=512, hop_length=256, n_mels=96).T
    np.testing.assert_allclose(musicnn_log_mel(waveform), np.log10(10_000 * mel + 1), atol=1e-5)


def test_a_checkpoint_without_a_layer_and_a_missing_package_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = random_weights()
    del weights["conv2d_3/bias"]
    with pytest.raises(ModelError, match=r"lacks 'conv2d_3/bias'; get musicnn==0\.1\.0 again"):
        MusiCNN(weights)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"Run: pip install --no-deps musicnn==0\.1\.0"):
        musicnn.load_musicnn()


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "musicnn" / "MSD_musicnn").mkdir(parents=True)
    (tmp_path / "musicnn" / "__init__.py").touch()
    (tmp_path / "musicnn" / "MSD_musicnn" / ".data-00000-of-00001").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="is not the pinned file: SHA-256"):
        musicnn.find_weights()


@pytest.fixture(scope="module")
def six_seconds(small_set: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The tones of the other tests, six times as long: two windows and a bit each."""
    folder = tmp_path_factory.mktemp("longer")
    tracks = []
    for track in small_set.tracks:
        waveform, rate = soundfile.read(track.path)
        soundfile.write(folder / track.path.name, np.tile(waveform, 6), rate)
        tracks.append(replace(track, path=folder / track.path.name))
    return replace(small_set, tracks=tuple(tracks))


@pytest.fixture
def features(six_seconds: Dataset, tmp_path: Path) -> FeatureCache:
    return FeatureCache.build(six_seconds.tracks, tmp_path, DEFAULT_FEATURES, segments="all")


@pytest.fixture
def small_teacher(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a cheap function stand for the network; the list grows with each batch that it hears."""
    heard: list[int] = []

    def hear(log_mel: Tensor) -> Tensor:
        heard.append(len(log_mel))
        return log_mel.mean(1).repeat(1, 3)[:, : musicnn.EMBEDDING]

    monkeypatch.setattr(targets, "load_musicnn", lambda: hear)
    return heard


def test_targets_are_computed_once_and_go_on_where_they_stopped(
    six_seconds: Dataset, features: FeatureCache, small_teacher: list[int], tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    whole = TeacherTargets.build(features, six_seconds.tracks, tmp_path / "whole").embeddings
    assert whole.shape == (12, targets.WINDOWS, musicnn.EMBEDDING)
    del small_teacher[:]
    with pytest.raises(KeyboardInterrupt):
        TeacherTargets.build(features, six_seconds.tracks, tmp_path / "stopped", stop)
    resumed = TeacherTargets.build(features, six_seconds.tracks, tmp_path / "stopped").embeddings
    assert len(small_teacher) == 12
    np.testing.assert_array_equal(whole, resumed)
    TeacherTargets.build(features, six_seconds.tracks, tmp_path / "stopped")
    assert len(small_teacher) == 12


def test_windows_without_music_have_no_target(
    six_seconds: Dataset, features: FeatureCache, small_teacher: list[int], tmp_path: Path
) -> None:
    built = TeacherTargets.build(features, six_seconds.tracks, tmp_path)
    assert windows_with_music(features.filled).sum(axis=1).tolist() == [2] * 12  # 6.0 of 23.8 s.
    with pytest.raises(TrainingError, match="too short for a teacher"):
        built.normalised(np.arange(6), np.full(12, 0.02, dtype=np.float32))
    filled = np.full(12, 0.5, dtype=np.float32)
    told = built.normalised(np.arange(6), filled).astype(np.float32)
    assert np.isnan(told[:, 4:]).all()
    assert not np.isnan(told[:, :4]).any()
    np.testing.assert_allclose(told[:6, :4].mean(axis=(0, 1)), 0, atol=0.02)


def test_the_error_counts_only_windows_with_a_target() -> None:
    told, wanted = torch.zeros(1, 3, 2), torch.tensor([[[1.0, 1.0], [torch.nan, torch.nan], [3.0, 1.0]]])
    assert teacher_error(told, wanted).item() == pytest.approx((1 + 1 + 9 + 1) / 4)
    assert teacher_error(told, torch.full_like(told, torch.nan)).item() == 0


def test_the_teacher_teaches_the_encoder_and_not_the_codebook() -> None:
    from moodbook.networks.vqvae import VQVAE

    torch.manual_seed(0)
    loss = ReconstructionLoss(VQVAE(VQVAEConfig(width=4, codebook_size=8)), teacher_weight=0.1)
    log_mel, wanted = torch.rand(2, 128, 1024), torch.rand(2, targets.WINDOWS, musicnn.EMBEDDING)
    loss(log_mel, wanted).parts["teacher"].backward()
    assert loss.head is not None
    gradients = {name: p.grad for name, p in loss.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert "head.output.weight" in gradients
    assert any(name.startswith("network.encoder") for name in gradients)
    assert not any(name.startswith(("network.decoder", "network.quantizer")) for name in gradients)
    with pytest.raises(TrainingError, match="has a teacher and got no targets"):
        loss(log_mel)


def taught(narrow: Callable[..., Recipe]) -> Recipe:
    recipe = narrow("fixed-cnn", data={"segments": "all"})
    assert recipe.step_1 is not None
    step_1 = recipe.step_1.model_copy(update={"teacher": "musicnn", "random_crops": True, "max_epochs": 3})
    return recipe.model_copy(update={"step_1": step_1})


def test_a_taught_run_reports_the_teacher_and_leaves_a_plain_vqvae(
    six_seconds: Dataset, narrow: Callable[..., Recipe], small_teacher: list[int], tmp_path: Path, machine: Machine
) -> None:
    report = reproduce(taught(narrow), six_seconds, tmp_path / "run")
    assert report.steps[0].watched == "teacher"
    assert (tmp_path / "run" / "bundle" / "config.json").is_file()
    names = read_weights(tmp_path / "run" / "step-1").tensors.keys()
    assert not any("head" in name for name in names)


def test_a_taught_step_that_is_stopped_and_resumed_equals_one_that_was_not(
    six_seconds: Dataset, narrow: Callable[..., Recipe], small_teacher: list[int], tmp_path: Path, machine: Machine
) -> None:
    class StopsAfter(Display):
        left = 3

        def advance(self, done: int, detail: str = "") -> None:
            if detail:
                self.left -= 1
                if not self.left:
                    raise KeyboardInterrupt

    def train(folder: Path, display: Display, resume: bool) -> dict[str, Tensor]:
        experiment = Experiment(
            taught(narrow),
            six_seconds,
            folder,
            machine,
            display,
            resume=resume,
            cache=None,
            vqvae=None,
            checkpoint_seconds=0.0,
        )
        experiment.step_1(experiment.prepare(("train", "validation"), labelled=False))
        return read_weights(folder / "step-1").tensors

    unbroken = train(tmp_path / "unbroken", Display(), resume=False)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped", StopsAfter(), resume=False)
    resumed = train(tmp_path / "stopped", Display(), resume=True)
    for name, tensor in unbroken.items():
        assert torch.equal(tensor, resumed[name]), name


def test_step_1_learns_from_a_data_set_of_its_own(
    six_seconds: Dataset,
    small_set: Dataset,
    narrow: Callable[..., Recipe],
    small_teacher: list[int],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    recipe = taught(narrow)
    assert recipe.step_1 is not None
    elsewhere = recipe.model_copy(
        update={
            "step_1": recipe.step_1.model_copy(update={"data": "immich"}),
            "data": recipe.data.model_copy(update={"min_tracks": 2}),
        }
    )
    unlabelled = replace(six_seconds, tags=TagSet(()), tracks=tuple(replace(t, tags=()) for t in six_seconds.tracks))
    opened: list[str] = []

    def open_other(name: str, seed: int) -> Dataset:
        opened.append(name)
        return unlabelled

    monkeypatch.setattr(experiment_module, "open_dataset", open_other)
    reproduce(elsewhere, small_set, tmp_path / "run")
    assert opened == ["immich"]
    record = json.loads((tmp_path / "run" / "step-1" / "run.json").read_text())
    assert record["data"]["name"] == unlabelled.name
    credits = json.loads((tmp_path / "run" / "bundle" / "config.json").read_text())["card"]["credits"]
    assert any(credit.startswith("Step 1 learned from 'immich'") for credit in credits)
    assert any("musicnn" in credit for credit in credits)

    # Its VQ-VAE is found by the folder of the run, and a finished run goes on from there.
    again = reproduce(recipe, small_set, tmp_path / "again", vqvae=tmp_path / "run")
    assert again.test.macro.roc_auc == reproduce(elsewhere, small_set, tmp_path / "run", resume=True).test.macro.roc_auc
