"""Calibration finds the scaling that was planted, and folding it in changes nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from moodbook.datasets import Dataset
from moodbook.evaluation.calibration import expected_calibration_error
from moodbook.networks.config import CNNConfig, GRUConfig, NetworkConfig, StatisticsConfig, VGGishConfig, VQVAEConfig
from moodbook.networks.tagger import build_network
from moodbook.training.calibration import Scaling, fit_scaling, fold_in
from moodbook.training.examples import Examples
from moodbook.training.recipe import Recipe
from moodbook.training.reproduce import reproduce

VQVAE = VQVAEConfig(width=4, codebook_size=8)


def one_segment_each(tracks: int) -> Examples:
    nothing = np.zeros((tracks, 1, 1), dtype=np.float16)
    return Examples(nothing, np.arange(tracks), np.arange(tracks), np.ones(tracks, dtype=np.float32), None)


def test_a_classifier_that_is_too_sure_is_taken_back() -> None:
    random = np.random.default_rng(0)
    honest = random.normal(-1, 1, (3000, 5))
    truth = random.random(honest.shape) < 1 / (1 + np.exp(-honest))
    sure = (3 * honest + 0.6).astype(np.float32)

    scaling = fit_scaling(sure, one_segment_each(3000), truth)

    assert scaling.slope == pytest.approx(1 / 3, abs=0.02)
    assert scaling.shift == pytest.approx(-0.2, abs=0.05)
    mended = 1 / (1 + np.exp(-(sure * scaling.slope + scaling.shift)))
    before = expected_calibration_error(truth, 1 / (1 + np.exp(-sure)))
    assert expected_calibration_error(truth, mended) < before / 5


def test_a_ranking_is_never_turned_round() -> None:
    truth = np.random.default_rng(0).random((200, 2)) < 0.5
    against = np.where(truth, -2, 2).astype(np.float32)
    assert fit_scaling(against, one_segment_each(200), truth).slope > 0


@pytest.mark.parametrize(
    "classifier",
    [
        CNNConfig(channels=1, hidden=6, dense=6),
        GRUConfig(hidden=4, dense=(4,)),
        StatisticsConfig(),
        VGGishConfig(maps=(2, 2, 2, 2, 2), input="latents"),
    ],
    ids=lambda config: config.kind,
)
def test_folded_in_it_scales_the_logits(classifier: object) -> None:
    network = build_network(NetworkConfig(vqvae=VQVAE, classifier=classifier), 3).eval()
    network.fix_vqvae()
    codes = torch.randint(0, 8, (2, 4, 512), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network.logits_from_codes(codes)
        fold_in(network, Scaling(0.5, -0.25))
        after = network.logits_from_codes(codes)
    np.testing.assert_allclose(after, 0.5 * before - 0.25, atol=1e-6)


def test_a_calibrated_run_has_one_threshold_and_its_bundle_gives_the_reports_scores(
    small_set: Dataset, narrow: Callable[..., Recipe], tmp_path: Path
) -> None:
    plain = narrow("fixed-cnn")
    step_2 = plain.step_2.model_copy(update={"calibrate": True, "decision_precision": 0.5})
    report = reproduce(plain.model_copy(update={"step_2": step_2}), small_set, tmp_path / "run")
    uncalibrated = reproduce(plain, small_set, tmp_path / "plain", vqvae=tmp_path / "run")

    thresholds = json.loads((tmp_path / "run" / "thresholds.json").read_text())
    assert len(set(thresholds.values())) == 1
    assert report.calibration_error != uncalibrated.calibration_error
    stored = json.loads((tmp_path / "run" / "report.json").read_text())
    assert stored["calibration_error"] == report.calibration_error

    from moodbook import Tagger

    track = small_set.split("test")[0]
    scores = Tagger.load(tmp_path / "run" / "bundle")(track.path)
    row = (tmp_path / "run" / "test.csv").read_text().splitlines()[1].split(",")
    np.testing.assert_allclose(scores.probabilities, [float(value) for value in row[1:]], atol=1e-4)


def test_one_threshold_wants_calibrated_probabilities(narrow: Callable[..., Recipe]) -> None:
    with pytest.raises(ValidationError, match=r"set step_2\.calibrate = true"):
        narrow("fixed-cnn", step_2={"decision_precision": 0.5})
