"""The teacher computes what its authors' network does, its targets are kept, and step 1 learns from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from moodbook.model.bundle import read_bundle
from moodbook.networks.config import SemanticConfig, VQVAEConfig
from moodbook.networks.geometry import WINDOWS
from moodbook.tags import TagSet
from moodbook.training import experiment as experiment_module
from moodbook.training.examples import Examples
from moodbook.training.experiment import Experiment
from moodbook.training.losses import ReconstructionLoss
from moodbook.training.machine import Machine
from moodbook.training.progress import Display
from moodbook.training.recipe import Recipe
from moodbook.training.reproduce import reproduce
from moodbook.training.run_folder import CACHE
from moodbook.training.step import read_weights
from moodbook.training.teacher import musicnn
from moodbook.training.teacher import teacher as teacher_module
from moodbook.training.teacher.hearing import FRAMES_A_FRAME, ROW_FRAMES, TeacherHearing
from moodbook.training.teacher.musicnn import MusiCNN, musicnn_log_mel
from moodbook.training.teacher.names import EMBEDDING, NETWORKS, TeacherName
from moodbook.training.teacher.sayings import TeacherSayings
from moodbook.training.teacher.teacher import Teacher, teacher_error

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
    np.testing.assert_allclose(MusiCNN(weights).embedding(log_mel), as_published(weights, log_mel), atol=2e-5)


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
        musicnn.load_musicnn("MSD_musicnn")


def test_altered_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "musicnn" / "MSD_musicnn").mkdir(parents=True)
    (tmp_path / "musicnn" / "__init__.py").touch()
    (tmp_path / "musicnn" / "MSD_musicnn" / ".data-00000-of-00001").write_bytes(b"other")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match="is not the pinned file: SHA-256"):
        musicnn.find_weights("MSD_musicnn")


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


class CheapTeacher(MusiCNN):
    """Stands for musicnn; `heard` grows with each batch."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)  # None of its weights.
        self.heard: list[int] = []

    def forward(self, log_mel: Tensor) -> Tensor:
        self.heard.append(len(log_mel))
        return log_mel.mean(1).repeat(1, 3)[:, :EMBEDDING] - 1.0


@pytest.fixture
def small_teacher(monkeypatch: pytest.MonkeyPatch) -> CheapTeacher:
    teacher = CheapTeacher()
    monkeypatch.setattr(teacher_module, "load_musicnn", lambda network: teacher)
    return teacher


def test_what_it_hears_is_computed_once_and_goes_on_where_it_stopped(
    six_seconds: Dataset, features: FeatureCache, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    whole = TeacherHearing.build(features, six_seconds.tracks, tmp_path / "whole").log_mel
    assert whole.shape == (12, ROW_FRAMES, musicnn.N_MELS)
    with pytest.raises(KeyboardInterrupt):
        TeacherHearing.build(features, six_seconds.tracks, tmp_path / "stopped", stop)
    resumed = TeacherHearing.build(features, six_seconds.tracks, tmp_path / "stopped").log_mel
    np.testing.assert_array_equal(whole, resumed)
    waveform, rate = soundfile.read(six_seconds.tracks[0].path)
    frames = round(len(waveform) / rate * musicnn.SAMPLE_RATE) // musicnn.HOP_LENGTH + 1
    assert abs(int((~np.isnan(whole[0, :, 0])).sum()) - frames) <= 1


def test_a_stretch_goes_on_in_the_next_row() -> None:
    track = np.arange(3 * 1486, dtype=np.float16) % 1000
    starts = [round(row * 1024 * FRAMES_A_FRAME) for row in range(2)]
    rows = np.stack([track[start : start + ROW_FRAMES] for start in starts])[:, :, None].repeat(musicnn.N_MELS, 2)
    hearing = TeacherHearing(Path(), rows)
    np.testing.assert_array_equal(hearing.stretch(1024), rows[1])
    for first in (1, 500, 1023):
        begin = round(first * FRAMES_A_FRAME)
        np.testing.assert_array_equal(hearing.stretch(first)[:, 1], track[begin : begin + ROW_FRAMES])


def test_what_it_says_is_computed_once_and_goes_on_where_it_stopped(
    six_seconds: Dataset, features: FeatureCache, tmp_path: Path, small_teacher: CheapTeacher, machine: Machine
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    def says(folder: str, teacher: TeacherName = "musicnn", **more: Any) -> TeacherSayings:
        return TeacherSayings.build(features, hear, teacher, tmp_path / folder, machine, "float32", **more)

    def hear() -> TeacherHearing:
        asked.append(1)
        return hearing

    asked: list[int] = []
    hearing = TeacherHearing.build(features, six_seconds.tracks, tmp_path)
    whole = says("whole").windows
    assert whole.shape == (12, WINDOWS, EMBEDDING)
    directly = Teacher(small_teacher)(torch.from_numpy(np.array(hearing.log_mel))).numpy()
    assert np.isnan(whole[:, 2:]).all()  # Six seconds are two windows.
    np.testing.assert_array_equal(whole, directly.astype(np.float16))
    with pytest.raises(KeyboardInterrupt):
        says("stopped", progress=stop)
    small_teacher.heard.clear()
    resumed = says("stopped")
    assert small_teacher.heard == [4 * WINDOWS]
    np.testing.assert_array_equal(whole, resumed.windows)
    asked.clear()
    says("stopped")
    assert small_teacher.heard == [4 * WINDOWS]
    assert not asked
    both = says("stopped", "two-musicnn")
    assert both.windows.shape == (12, WINDOWS, 2 * EMBEDDING)


def test_a_stretch_of_sayings_begins_with_a_window() -> None:
    windows = np.arange(3 * WINDOWS, dtype=np.float16).reshape(3, WINDOWS, 1)
    sayings = TeacherSayings(Path(), windows)
    assert sayings.grid == 128
    assert sayings.stretch(1024)[:, 0].tolist() == list(range(8, 16))
    assert sayings.stretch(1024 + 3 * 128)[:, 0].tolist() == list(range(11, 19))


def test_music_and_sayings_are_cut_alike() -> None:
    rows, width, windows = 3, 1024, np.arange(3 * WINDOWS, dtype=np.float16).reshape(3, WINDOWS, 1)
    inputs = np.arange(rows * width, dtype=np.float32).reshape(rows, 1, width)
    examples = Examples(
        inputs=inputs,
        rows=np.arange(rows),
        tracks=np.zeros(rows, dtype=np.int64),
        filled=np.array([1.0, 1.0, 0.5]),
        ground_truth=None,
        lesson=TeacherSayings(Path(), windows),
    )
    starts = np.array([0.0, 0.3, 0.62, 0.99])
    batch = examples.batch(np.zeros(4, dtype=np.int64), torch.device("cpu"), starts)
    assert batch.targets is not None
    # Half a segment of the third row: 1536 frames in which to begin, every 128 of them.
    assert batch.inputs[:, 0, 0].tolist() == [0.0, 384.0, 1024.0, 1536.0]
    assert (batch.targets[:, 0, 0] * 128).tolist() == batch.inputs[:, 0, 0].tolist()


def test_it_says_nothing_of_windows_without_music(small_teacher: CheapTeacher) -> None:
    heard = torch.full((2, ROW_FRAMES, musicnn.N_MELS), 2.0)
    heard[1, 500:] = torch.nan  # 8 s: two windows and most of the third.
    said = Teacher(small_teacher)(heard)
    assert said.shape == (2, WINDOWS, EMBEDDING)
    assert torch.equal(said[0], torch.ones(WINDOWS, EMBEDDING))
    assert said[1].isnan().any(dim=1).tolist() == [False] * 3 + [True] * 5


def test_two_networks_stand_one_behind_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = torch.rand(1, ROW_FRAMES, musicnn.N_MELS, generator=torch.Generator().manual_seed(0))
    networks = {name: MusiCNN(random_weights(seed)) for seed, name in enumerate(NETWORKS["two-musicnn"])}
    assert list(networks) == ["MSD_musicnn", "MTT_musicnn"]
    monkeypatch.setattr(teacher_module, "load_musicnn", networks.__getitem__)
    said = Teacher.load("two-musicnn")(heard)
    assert said.shape == (1, WINDOWS, 2 * EMBEDDING)
    for number, network in enumerate(networks.values()):
        torch.testing.assert_close(said[..., number * EMBEDDING :][..., :EMBEDDING], Teacher(network)(heard))
    assert not torch.allclose(said[..., :EMBEDDING], said[..., EMBEDDING:])


def test_standardising_undoes_the_scale_and_shift_of_the_last_layer() -> None:
    weights = random_weights()
    network = MusiCNN(weights)
    heard = torch.rand(3, musicnn.PATCH_FRAMES, musicnn.N_MELS, generator=torch.Generator().manual_seed(0))
    last = "batch_normalization_10"
    expected = (network.embedding(heard).numpy() - weights[f"{last}/beta"]) / weights[f"{last}/gamma"]
    np.testing.assert_allclose(network(heard), expected, rtol=1e-5)


def test_the_error_counts_only_windows_with_a_target() -> None:
    told, wanted = torch.zeros(1, 3, 2), torch.tensor([[[1.0, 1.0], [torch.nan, torch.nan], [3.0, 1.0]]])
    assert teacher_error(told, wanted).item() == pytest.approx((1 + 1 + 9 + 1) / 4)
    assert teacher_error(told, torch.full_like(told, torch.nan)).item() == 0


def test_the_teacher_teaches_the_encoder_and_not_the_codebook() -> None:
    from moodbook.networks.vqvae import VQVAE

    torch.manual_seed(0)
    vqvae = VQVAE(VQVAEConfig(width=4, codebook_size=8, semantic_width=8))
    loss = ReconstructionLoss(vqvae, Teacher(CheapTeacher()), teacher_weight=0.1)
    log_mel, heard = torch.rand(2, 128, 1024), torch.rand(2, ROW_FRAMES, musicnn.N_MELS)
    loss(log_mel, heard).parts["teacher"].backward()
    gradients = {name: p.grad for name, p in loss.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert "network.semantic.output.weight" in gradients
    assert any(name.startswith("network.encoder") for name in gradients)
    assert not any(name.startswith(("network.decoder", "network.quantizer")) for name in gradients)
    with pytest.raises(TrainingError, match="a teacher wants to hear the music"):
        loss(log_mel)


def taught(narrow: Callable[..., Recipe], augment: bool = True) -> Recipe:
    recipe = narrow("fixed-cnn", data={"segments": "all"})
    assert recipe.step_1 is not None
    step_1 = recipe.step_1.model_copy(
        update={"teacher": "musicnn", "random_crops": True, "augment": augment, "schedule": "cosine", "max_epochs": 3}
    )
    assert recipe.vqvae is not None
    vqvae = recipe.vqvae.model_copy(update={"semantic_width": 8})
    return recipe.model_copy(update={"step_1": step_1, "vqvae": vqvae})


def test_a_taught_run_reports_the_teacher_and_keeps_what_it_taught(
    six_seconds: Dataset, narrow: Callable[..., Recipe], small_teacher: CheapTeacher, tmp_path: Path, machine: Machine
) -> None:
    report = reproduce(taught(narrow), six_seconds, tmp_path / "run")
    assert report.steps[0].watched == "teacher"
    assert (tmp_path / "run" / "bundle" / "config.json").is_file()
    names = read_weights(tmp_path / "run" / "step-1").tensors.keys()
    assert "semantic.output.weight" in names
    assert not any("teacher" in name for name in names)


@pytest.mark.parametrize("augment", [True, False])
def test_a_teacher_hears_anew_only_what_is_changed(
    augment: bool,
    six_seconds: Dataset,
    narrow: Callable[..., Recipe],
    small_teacher: CheapTeacher,
    tmp_path: Path,
    machine: Machine,
) -> None:
    report = reproduce(taught(narrow, augment), six_seconds, tmp_path / "run")
    segments = sum(small_teacher.heard) // WINDOWS
    cached = FeatureCache.build(
        [track for track in six_seconds.tracks if track.split != "test"], tmp_path, DEFAULT_FEATURES, segments="all"
    )
    assert report.steps[0].epochs == 3
    assert segments >= 3 * len(cached) if augment else segments == len(six_seconds.tracks)
    identity = json.loads((tmp_path / "run" / "run.json").read_text())["identity"]
    assert identity.get("teacher_is_asked") == (None if augment else "once")


def test_two_teachers_are_told_and_credited(
    six_seconds: Dataset, narrow: Callable[..., Recipe], small_teacher: CheapTeacher, tmp_path: Path, machine: Machine
) -> None:
    recipe = taught(narrow)
    assert recipe.step_1 is not None
    assert recipe.vqvae is not None
    both = {
        "step_1": recipe.step_1.model_copy(update={"teacher": "two-musicnn"}),
        "vqvae": recipe.vqvae.model_copy(update={"semantic_features": 2 * EMBEDDING}),
        "classifier": SemanticConfig(),
    }
    reproduce(recipe.model_copy(update=both), six_seconds, tmp_path / "run")
    bundle = read_bundle(tmp_path / "run" / "bundle")
    assert bundle.weights["vqvae.semantic.output.bias"].shape == (2 * EMBEDDING,)
    assert bundle.weights["classifier.output.weight"].shape[1] == 2 * EMBEDDING
    assert any("(MSD_musicnn, MTT_musicnn, ISC licence)" in credit for credit in bundle.config.card.credits)


def test_a_taught_step_that_is_stopped_and_resumed_equals_one_that_was_not(
    six_seconds: Dataset, narrow: Callable[..., Recipe], small_teacher: CheapTeacher, tmp_path: Path, machine: Machine
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
    small_teacher: CheapTeacher,
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
    unlabelled = replace(
        six_seconds, name="immich", tags=TagSet(()), tracks=tuple(replace(t, tags=()) for t in six_seconds.tracks)
    )
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

    assert credits[1] == "Step 1 learned from 'immich', licence: CC0-1.0. The tests."

    # Its VQ-VAE is found by the folder of the run, and a finished run goes on from there.
    again = reproduce(recipe, small_set, tmp_path / "again", vqvae=tmp_path / "run")
    assert again.test.macro.roc_auc == reproduce(elsewhere, small_set, tmp_path / "run", resume=True).test.macro.roc_auc


def test_a_teacher_that_is_not_here_is_missed_before_any_listening_and_only_where_it_will_teach(
    six_seconds: Dataset,
    narrow: Callable[..., Recipe],
    small_teacher: CheapTeacher,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    machine: Machine,
) -> None:
    recipe = taught(narrow)
    first = reproduce(recipe, six_seconds, tmp_path / "first", cache=tmp_path / "cache")

    def missing(network: str) -> MusiCNN:
        raise ModelError("the teacher's weights are not here")

    monkeypatch.setattr(teacher_module, "load_musicnn", missing)
    with pytest.raises(ModelError, match="the teacher's weights are not here"):
        reproduce(recipe, six_seconds, tmp_path / "run")
    assert not (tmp_path / "run" / CACHE).exists()
    given = reproduce(recipe, six_seconds, tmp_path / "given", cache=tmp_path / "cache", vqvae=tmp_path / "first")
    resumed = reproduce(recipe, six_seconds, tmp_path / "first", cache=tmp_path / "cache", resume=True)
    assert given.test == resumed.test == first.test
