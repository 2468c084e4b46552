"""Folds hold every track out once, and the mean of their classifiers is a classifier."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from moodbook import Tagger
from moodbook.datasets import Dataset, Track
from moodbook.errors import TrainingError
from moodbook.networks.config import GRUConfig, NetworkConfig, SemanticConfig, StatisticsConfig, VQVAEConfig
from moodbook.networks.tagger import TaggingNetwork, build_network
from moodbook.training.examples import Examples
from moodbook.training.folds import HeldOut, become_mean, folds_of, join
from moodbook.training.recipe import Recipe
from moodbook.training.reproduce import reproduce
from moodbook.training.run_folder import CACHE, STEP_1

STATISTICS = {"classifier": {"kind": "statistics"}}


def tracks(first: int, count: int, group_of: int = 2) -> tuple[Track, ...]:
    return tuple(
        Track(f"t{number}", Path(f"{number}.wav"), ("high",), group=f"g{number // group_of}")
        for number in range(first, first + count)
    )


def test_every_track_is_held_out_once_and_groups_stay_together() -> None:
    train, validation = tracks(0, 20), tracks(100, 6)
    cut = folds_of(train, validation, 4, seed=0)

    assert (cut[0].train, cut[0].held_out) == (train, validation)
    held_out = [track.track_id for fold in cut for track in fold.held_out]
    assert sorted(held_out) == sorted(track.track_id for track in (*train, *validation))
    for fold in cut:
        assert {t.group for t in fold.train}.isdisjoint(t.group for t in fold.held_out)
        assert len(fold.train) + len(fold.held_out) == 26
    assert sorted(len(fold.held_out) for fold in cut[1:]) == [6, 6, 8]
    assert folds_of(train, validation, 4, seed=0) == cut
    assert folds_of(train, validation, 4, seed=1) != cut
    assert len(folds_of(train, validation, 1, seed=0)) == 1


def test_more_folds_than_groups_are_refused() -> None:
    with pytest.raises(TrainingError, match="it has 2 groups"):
        folds_of(tracks(0, 4), tracks(100, 2), 4, seed=0)


def test_held_out_tracks_are_scored_by_their_own_segments() -> None:
    def part(first: int, logits: list[float], of_tracks: list[int]) -> HeldOut:
        nothing = np.zeros((9, 1, 1), dtype=np.float16)
        rows = np.arange(first, first + len(logits))
        examples = Examples(nothing, rows, np.array(of_tracks), np.ones(len(logits), np.float32), None)
        return HeldOut(tracks(first, max(of_tracks) + 1), examples, np.array(logits, np.float32)[:, None])

    both = join([part(0, [0.0, 2.0, -1.0], [0, 0, 1]), part(5, [3.0], [0])])
    sigmoid = 1 / (1 + np.exp(-np.array([0.0, 2.0, -1.0, 3.0])))
    expected = [sigmoid[:2].mean(), sigmoid[2], sigmoid[3]]
    np.testing.assert_allclose(both.probabilities()[:, 0], expected, atol=1e-6)
    assert [track.track_id for track in both.tracks] == ["t0", "t1", "t5"]


@pytest.mark.parametrize("classifier", [StatisticsConfig(), SemanticConfig()], ids=lambda config: config.kind)
def test_the_mean_of_classifiers_says_the_mean_of_what_they_say(classifier: StatisticsConfig | SemanticConfig) -> None:
    vqvae = VQVAEConfig(width=4, codebook_size=8, semantic_width=16 if classifier.kind == "semantic" else 0)
    networks = [_heard(NetworkConfig(vqvae=vqvae, classifier=classifier), seed) for seed in range(3)]
    for network in networks[1:]:
        network.vqvae.load_state_dict(networks[0].vqvae.state_dict())
    codes = torch.randint(0, 8, (3, 4, 512), generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        expected = torch.stack([network.logits_from_codes(codes) for network in networks]).mean(dim=0)
        become_mean(networks[0], networks[1:])
        np.testing.assert_allclose(networks[0].logits_from_codes(codes), expected, atol=1e-4)


def test_a_classifier_that_is_not_linear_has_no_mean(narrow: Callable[..., Recipe]) -> None:
    network = build_network(NetworkConfig(vqvae=VQVAEConfig(width=4), classifier=GRUConfig(hidden=4, dense=(4,))), 3)
    with pytest.raises(TrainingError, match=r"set step_2\.folds = 1"):
        become_mean(network, [network])
    with pytest.raises(ValidationError, match="set folds = 1"):
        narrow("fixed-cnn", step_2={"folds": 2})


def test_a_run_on_folds_stands_on_all_its_tracks_and_can_be_resumed(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    plain = narrow("fixed-cnn", **STATISTICS)
    folds = {"folds": 3, "calibrate": True}
    recipe = plain.model_copy(update={"step_2": plain.step_2.model_copy(update=folds), "storage": "float16"})
    report = reproduce(recipe, small_set, tmp_path / "run")

    with (tmp_path / "run" / "validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    learned_from = {track.track_id for split in ("train", "validation") for track in small_set.split(split)}
    assert {row["track_id"] for row in rows} == learned_from
    assert [step.step for step in report.steps] == [1, 2, 2, 2]
    assert "Thresholds: fitted on the parts that 3 folds left out." in report.to_text()
    assert (tmp_path / "run" / "step-2" / "fold-3" / "weights.safetensors").is_file()
    assert "The mean of 3 classifiers" in (tmp_path / "run" / "bundle" / "README.md").read_text()

    track = small_set.split("test")[0]
    row = (tmp_path / "run" / "test.csv").read_text().splitlines()[1].split(",")
    scores = Tagger.load(tmp_path / "run" / "bundle")(track.path)
    # The report's scores are those of the weights as the bundle holds them, in half precision.
    np.testing.assert_allclose(scores.probabilities, [float(value) for value in row[1:]], atol=1e-4)
    assert '"storage": "float16"' in (tmp_path / "run" / "bundle" / "config.json").read_text()

    again = reproduce(recipe, small_set, tmp_path / "run", resume=True)
    assert again.to_json() == report.to_json()


def test_folds_that_cannot_be_are_refused_before_any_listening(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    plain = narrow("fixed-cnn", **STATISTICS)
    for folds, message in (
        (20, r"step_2\.folds = 20 cuts the train split into 19 parts, and it has 6 groups"),
        # Five parts of six tracks: one has two tracks and the others one, which nothing divides.
        (
            6,
            r"no tag divides the [12] tracks that fold \d of 6 leaves out .*; lower step_2\.folds, or give more tracks",
        ),
    ):
        recipe = plain.model_copy(update={"step_2": plain.step_2.model_copy(update={"folds": folds})})
        with pytest.raises(TrainingError, match=message):
            reproduce(recipe, small_set, tmp_path / f"{folds}")
        assert not (tmp_path / f"{folds}" / CACHE).exists()


def test_folds_that_unreadable_tracks_leave_undivided_are_refused_before_step_1(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    plain = narrow("fixed-cnn", **STATISTICS)
    recipe = plain.model_copy(update={"step_2": plain.step_2.model_copy(update={"folds": 3})})
    # Of the six train tracks three can be read: two parts of two tracks and of one.
    tracks = [
        replace(track, path=tmp_path / "missing.wav") if number in (1, 2, 3) else track
        for number, track in enumerate(small_set.tracks)
    ]
    with pytest.raises(TrainingError, match=r"tracks that fold \d of 3 leaves out"):
        reproduce(recipe, replace(small_set, tracks=tuple(tracks)), tmp_path / "run")
    assert (tmp_path / "run" / CACHE).exists()
    assert not (tmp_path / "run" / STEP_1).exists()


def _heard(config: NetworkConfig, seed: int) -> TaggingNetwork:
    """Make a network whose batch norm has seen something of its own."""
    torch.manual_seed(seed)
    network = build_network(config, 3)
    network.fix_vqvae()
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network.logits_from_codes(torch.randint(0, 8, (4, 4, 512)))
    return network.eval()
