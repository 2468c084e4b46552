"""The loop itself: it learns, stops, restores the best epoch, repeats itself, and refuses what cannot work."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from moodbook.errors import TrainingError
from moodbook.networks.config import CNNConfig, GRUConfig, NetworkConfig, VGGishConfig, VQVAEConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.examples import Examples
from moodbook.training.loop import train_step
from moodbook.training.machine import Machine
from moodbook.training.progress import Display
from moodbook.training.recipe import Step1Config, Step2Config
from moodbook.training.run_folder import MetricsLog
from moodbook.training.step import Plan, StepSummary, read_weights
from moodbook.training.tagger import Step2, predict
from moodbook.training.vqvae import Step1

NARROW = VQVAEConfig(width=8, codebook_size=16)
CNN = NetworkConfig(vqvae=NARROW, classifier=CNNConfig(channels=2, hidden=12, dense=12, dropout=0.0))
VGGISH = NetworkConfig(classifier=VGGishConfig(maps=(4, 4, 4, 4, 8), dropout=0.0))
EIGHT = np.array([[1, 0], [0, 1]] * 4, dtype=bool)


def run_step_1(plan: Plan, examples: Examples, machine: Machine, seed: int = 0) -> tuple[Step1, StepSummary]:
    step = Step1(NARROW, seed, examples, examples, plan.config)
    summary = train_step(step, plan, machine, MetricsLog(plan.folder.parent / "metrics.jsonl"), Display())
    return step, summary


def metrics_of(plan: Plan) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (plan.folder.parent / "metrics.jsonl").read_text().splitlines()]


def test_eight_clips_are_learned_by_heart(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    codes = np.random.default_rng(0).integers(0, 16, (8, 4, 512)).astype(np.int16)
    examples = make_examples(EIGHT).with_inputs(codes)
    torch.manual_seed(0)
    weights = VQVAE(NARROW).state_dict()
    weights["quantizer.codebook"] *= 16  # As large as a trained one.
    plan = make_plan(Step2Config(batch_size=8, learning_rate=0.02, max_epochs=25, patience=25))
    step = Step2(CNN, 2, 0, examples, examples, 8, weights, update_vqvae=False)
    summary = train_step(step, plan, machine, MetricsLog(plan.folder.parent / "metrics.jsonl"), Display())
    assert summary.best == 1.0
    assert metrics_of(plan)[-1]["train"]["loss"] < 0.25 < metrics_of(plan)[0]["train"]["loss"]
    probabilities = predict(step.network, examples, 8, machine, 8)
    for column in range(2):
        has = EIGHT[:, column]
        assert probabilities[has, column].min() > probabilities[~has, column].max()


def test_step_1_learns_to_reconstruct(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    examples = make_examples(None, count=4)
    plan = make_plan(Step1Config(batch_size=2, learning_rate=0.01, max_epochs=8, patience=8))
    run_step_1(plan, examples, machine)
    rows = metrics_of(plan)
    assert rows[-1]["validation"]["reconstruction"] < 0.6 * rows[0]["validation"]["reconstruction"]
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    for row in rows:
        train = row["train"]
        assert train["loss"] == pytest.approx(train["reconstruction"] + train["codebook"] + train["commitment"])
        assert 1 <= train["perplexity"] <= 16 - train["dead_codes"]
        assert row["learning_rate"] == 0.01


def test_the_best_epoch_is_restored(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    examples = make_examples(None, count=2)
    # A learning rate this large makes the loss go up and down.
    plan = make_plan(Step1Config(batch_size=2, learning_rate=0.05, max_epochs=6, patience=6))
    step, summary = run_step_1(plan, examples, machine)
    losses = [row["validation"]["reconstruction"] for row in metrics_of(plan)]
    assert min(losses) < losses[-1], "the test needs a last epoch that is not the best"
    assert summary.best == min(losses)
    assert summary.best_epoch == 1 + losses.index(min(losses))
    assert [row["best"] for row in metrics_of(plan)].index(True) == 0
    step.loss.eval()
    with torch.no_grad():
        assert step.validate(machine, "float32")["reconstruction"] == pytest.approx(summary.best, rel=1e-6)
    stored = read_weights(plan.folder).tensors
    assert all(torch.equal(value, stored[name]) for name, value in step.network.state_dict().items())


def test_it_stops_when_patience_is_over(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    plan = make_plan(Step1Config(batch_size=2, learning_rate=1e-30, max_epochs=50, patience=2))
    _, summary = run_step_1(plan, make_examples(None, count=2), machine)
    losses = [row["validation"]["reconstruction"] for row in metrics_of(plan)]
    # Nothing is learned, but the running statistics of batch norm still settle for some epochs.
    assert summary.epochs == summary.best_epoch + 2 < 50
    assert len(losses) == summary.epochs


def test_one_seed_one_result(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine, tmp_path: Path
) -> None:
    examples = make_examples(None, count=4)
    config = Step1Config(batch_size=2, max_epochs=1)

    def weights(name: str, seed: int) -> dict[str, torch.Tensor]:
        plan = make_plan(config, folder=tmp_path / name / "step", seed=seed)
        run_step_1(plan, examples, machine, seed)
        return read_weights(plan.folder).tensors

    first, again, other = weights("a", 0), weights("b", 0), weights("c", 1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["quantizer.codebook"], other["quantizer.codebook"])


def test_a_loss_that_is_not_finite_ends_the_run(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    examples = make_examples(None, count=4)
    examples.inputs[2] = np.nan
    plan = make_plan(Step1Config(batch_size=4, max_epochs=2))
    with pytest.raises(TrainingError) as caught:
        run_step_1(plan, examples, machine)
    assert str(caught.value) == "step 1: the loss is nan in epoch 1, batch 1. Lower step_1.learning_rate"
    assert not (plan.folder / "step.json").exists()


def test_batch_norm_needs_two_examples(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    plan = make_plan(Step1Config(batch_size=2))
    with pytest.raises(TrainingError, match="1 training examples in batches of 2 leave a process fewer than the 2"):
        run_step_1(plan, make_examples(None, count=1), machine)


def test_a_validation_that_cannot_be_measured_is_refused(make_examples: Callable[..., Examples]) -> None:
    everybody = make_examples(np.ones((4, 2), dtype=bool))
    with pytest.raises(TrainingError, match="no tag divides the 4 validation tracks"):
        Step2(VGGISH, 2, 0, everybody, everybody, 4, None, False)


def test_a_fixed_vqvae_does_not_move_and_is_not_run(
    make_examples: Callable[..., Examples],
    make_plan: Callable[..., Plan],
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.manual_seed(3)
    weights = {name: value.clone() for name, value in VQVAE(NARROW).state_dict().items()}
    examples = make_examples(EIGHT)
    codes = np.random.default_rng(0).integers(0, 16, (8, 4, 512)).astype(np.int16)
    monkeypatch.setattr(VQVAE, "encode", lambda *_: pytest.fail("the encoder ran"))
    plan = make_plan(Step2Config(batch_size=4, max_epochs=2))
    coded = examples.with_inputs(codes)
    step = Step2(CNN, 2, 0, coded, coded, 4, weights, update_vqvae=False)
    train_step(step, plan, machine, MetricsLog(plan.folder / "m.jsonl"), Display())
    stored = read_weights(plan.folder).tensors
    assert all(torch.equal(stored[f"vqvae.{name}"], value) for name, value in weights.items())
    moved = [name for name in stored if name.startswith("classifier.")]
    fresh = Step2(CNN, 2, 0, coded, coded, 4, weights, update_vqvae=False).network.state_dict()
    assert any(not torch.equal(stored[name], fresh[name]) for name in moved)


def test_an_updated_vqvae_moves_and_its_decoder_does_not(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    weights = {name: value.clone() for name, value in VQVAE(NARROW).state_dict().items()}
    examples = make_examples(EIGHT[:4])
    plan = make_plan(Step2Config(batch_size=4, max_epochs=1, update_vqvae=True))
    step = Step2(CNN, 2, 0, examples, examples, 4, weights, update_vqvae=True)
    train_step(step, plan, machine, MetricsLog(plan.folder / "m.jsonl"), Display())
    stored = read_weights(plan.folder).tensors
    changed = {name.split(".")[0] for name, value in weights.items() if not torch.equal(stored[f"vqvae.{name}"], value)}
    assert changed == {"encoder", "quantizer"}
    row = json.loads((plan.folder / "m.jsonl").read_text())
    assert set(row["train"]) == {"loss", "cross_entropy", "codebook", "commitment", "perplexity", "dead_codes"}
    assert math.isfinite(row["validation"]["roc_auc"])


def test_weights_of_another_vqvae_are_refused(make_examples: Callable[..., Examples]) -> None:
    examples = make_examples(EIGHT)
    weights = VQVAE(VQVAEConfig(width=4, codebook_size=16)).state_dict()
    with pytest.raises(TrainingError, match="the weights of step 1 do not fit a VQ-VAE of VQVAEConfig"):
        Step2(CNN, 2, 0, examples, examples, 4, weights, update_vqvae=True)


def test_bfloat16_trains_too(
    make_examples: Callable[..., Examples], make_plan: Callable[..., Plan], machine: Machine
) -> None:
    plan = make_plan(Step1Config(batch_size=2, max_epochs=2), precision="bfloat16")
    step, _ = run_step_1(plan, make_examples(None, count=2), machine)
    rows = metrics_of(plan)
    assert rows[1]["train"]["loss"] < rows[0]["train"]["loss"]
    # Weights and look-up stay float32; only products are reduced.
    assert {value.dtype for value in step.network.state_dict().values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("classifier", [CNN.classifier, GRUConfig(hidden=4, dense=(4,)), VGGishConfig(maps=(2,) * 5)])
def test_an_output_at_the_prior_says_the_tags_shares_of_anything(
    classifier: Any, make_examples: Callable[..., Examples]
) -> None:
    examples = make_examples(np.array([[1, 0], [1, 0], [1, 0], [0, 0]]))
    system = NetworkConfig(vqvae=None if classifier.kind == "vggish" else NARROW, classifier=classifier)
    weights = None if system.vqvae is None else VQVAE(NARROW).state_dict()
    validation = make_examples(EIGHT)
    step = Step2(system, 2, 0, examples, validation, 4, weights, update_vqvae=True, start_at_prior=True)
    logits = step.network.eval()(torch.from_numpy(examples.inputs.astype(np.float32))).logits
    # 3 of 4 and 0 of 4, with half an example of each kind added.
    torch.testing.assert_close(logits.sigmoid(), torch.tensor([[3.5 / 5, 0.5 / 5]]).repeat(4, 1))
