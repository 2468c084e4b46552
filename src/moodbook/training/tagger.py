"""Step 2: the classifier learns the tags, with a VQ-VAE that learns on or stays fixed, or without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.nn import functional

from moodbook.errors import TrainingError
from moodbook.evaluation.metrics import pr_auc, roc_auc
from moodbook.networks.config import NetworkConfig
from moodbook.networks.tagger import TaggingNetwork, build_network
from moodbook.training.cached import Cached
from moodbook.training.examples import Examples, in_order, positions_in_turn
from moodbook.training.folds import HeldOut
from moodbook.training.given import load_vqvae
from moodbook.training.losses import TaggingLoss
from moodbook.training.machine import Machine, Precision, reduced
from moodbook.training.order import step_seed
from moodbook.training.step import StepSummary, TrainingStep


@dataclass(frozen=True)
class LearnedTagger:
    """What step 2 learned.

    Args:
        network: The network with the weights of the best epoch; of folds, the mean.
        summaries: How the step ended, fold by fold.
        cached: What it learned from; None unless the VQ-VAE is fixed.
        held_out: What is said of the tracks that stopped the training, of the validation split or by fold; None where
            it was neither calibrated nor trained on folds.
    """

    network: TaggingNetwork
    summaries: tuple[StepSummary, ...]
    cached: Cached | None
    held_out: HeldOut | None


class Step2(TrainingStep):
    """What step 2 brings to the loop; early stopping watches the macro ROC-AUC of the validation tracks.

    Args:
        config: The whole system.
        n_tags: Number of tags.
        seed: The recipe's seed; it fixes the initial weights of the classifier.
        train: Segments of the training tracks with their tags: codes or readings where the VQ-VAE is fixed, else
            log-mel.
        validation: The same of the validation tracks.
        batch_size: Segments scored at once on validation.
        vqvae_weights: What step 1 learned; None for a classifier without a VQ-VAE.
        update_vqvae: Whether the VQ-VAE learns on.
        start_at_prior: Whether the output layer starts at the tags' shares; see `Step2Config`.

    Raises:
        TrainingError: The weights are not those of this VQ-VAE, or validation has no tag that some tracks have and
            others lack, so that ROC-AUC cannot be measured.
    """

    number: ClassVar[Literal[1, 2]] = 2
    watched = "roc_auc"
    higher_is_better: ClassVar[bool] = True

    def __init__(
        self,
        config: NetworkConfig,
        n_tags: int,
        seed: int,
        train: Examples,
        validation: Examples,
        batch_size: int,
        vqvae_weights: Mapping[str, Tensor] | None,
        update_vqvae: bool,
        start_at_prior: bool = False,
    ) -> None:
        torch.manual_seed(step_seed(seed, self.number))
        self.network = build_network(config, n_tags)
        self.codebook_size = None
        if self.network.vqvae is not None and vqvae_weights is not None:
            load_vqvae(self.network.vqvae, vqvae_weights)
            if update_vqvae or np.issubdtype(train.inputs.dtype, np.integer):  # Readings have no codes to count.
                self.codebook_size = self.network.vqvae.config.codebook_size
            if update_vqvae:
                # Step 2 does not reconstruct; what has no gradient must not wait for one on other processes.
                self.network.vqvae.decoder.requires_grad_(False)
            else:
                self.network.fix_vqvae()
        self.loss = TaggingLoss(self.network)
        self.examples = train.to_learn_from()
        if start_at_prior and self.examples.ground_truth is not None:
            set_output_to_prior(self.network, self.examples.ground_truth[self.examples.tracks])
        self._validation = validation
        self._batch_size = batch_size
        self._truth = _truth_of(validation)

    def validate(self, machine: Machine, precision: Precision) -> dict[str, int | float]:
        """Score the validation tracks: loss over segments, ROC-AUC and PR-AUC over tracks, macro."""
        examples = self._validation
        logits = segment_logits(self.network, examples, machine, self._batch_size, precision)
        targets = torch.from_numpy(self._truth[examples.tracks].astype(np.float32))
        loss = functional.binary_cross_entropy_with_logits(torch.from_numpy(logits), targets)
        scores = examples.pool(_sigmoid(logits), len(self._truth))
        both = [column for column in range(self._truth.shape[1]) if 0 < self._truth[:, column].sum() < len(self._truth)]
        return {
            "loss": float(loss),
            "roc_auc": float(np.mean([roc_auc(self._truth[:, column], scores[:, column]) for column in both])),
            "pr_auc": float(np.mean([pr_auc(self._truth[:, column], scores[:, column]) for column in both])),
        }


@torch.no_grad()
def set_output_to_prior(network: TaggingNetwork, ground_truth: Float32[np.ndarray, "examples tags"]) -> None:
    """Let a fresh network say the share of each tag, whatever it hears.

    Args:
        network: Its output layer gets weights of zero and the log odds of the tags as its bias.
        ground_truth: The tags of the training examples.

    Source:
        Lin et al.: Focal Loss for Dense Object Detection, 2017, section 4.1, there with one share for all classes. Half
        an example with the tag and half of one without it are added, so that no tag starts at 0 or 1.
    """
    share = (ground_truth.sum(axis=0) + 0.5) / (len(ground_truth) + 1)
    output = network.classifier.output
    torch.nn.init.zeros_(output.weight)
    output.bias.copy_(torch.from_numpy(np.log(share / (1 - share))))


@torch.no_grad()
def segment_logits(
    network: TaggingNetwork,
    examples: Examples,
    machine: Machine,
    batch_size: int,
    precision: Precision,
    progress: Callable[[int], None] | None = None,
) -> Float32[np.ndarray, "examples tags"]:
    """Score segments, sharing them between the processes; codes or readings where the VQ-VAE is fixed, else log-mel.

    `progress` is told after each batch how many segments are done.
    """
    was_training = network.training
    network.eval()
    cached = network.vqvae is not None and network.vqvae.fixed
    parts = []
    for positions in positions_in_turn(len(examples), batch_size, machine.processes, machine.process):
        inputs = examples.batch(positions, machine.device).inputs
        with reduced(precision, machine.device):
            logits = network.logits_from_cached(inputs) if cached else network(inputs).logits
        parts.append(logits.float())
        if progress is not None:
            progress(min(len(examples), batch_size * len(parts) * machine.processes))
    network.train(was_training)
    gathered = machine.gather(torch.cat(parts)).cpu().numpy()
    return in_order(gathered, len(examples), machine.processes)


def predict(
    network: TaggingNetwork,
    examples: Examples,
    tracks: int,
    machine: Machine,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> Float32[np.ndarray, "tracks tags"]:
    """Score tracks in float32: the mean of their segments' probabilities, weighted by `filled`."""
    logits = segment_logits(network, examples, machine, batch_size, "float32", progress)
    return examples.pool(_sigmoid(logits), tracks)


def popularity(ground_truth: Bool[np.ndarray, "tracks tags"]) -> Float32[np.ndarray, " tags"]:
    """Give 1 to the tag with most training tracks (the first of equals) and 0 to the others.

    Source:
        The popularity baseline of MediaEval 2019.
    """
    scores = np.zeros(ground_truth.shape[1], dtype=np.float32)
    scores[int(np.argmax(ground_truth.sum(axis=0)))] = 1.0
    return scores


def _sigmoid(logits: Float32[np.ndarray, "examples tags"]) -> Float32[np.ndarray, "examples tags"]:
    return torch.sigmoid(torch.from_numpy(logits)).numpy()


def require_measurable(truth: Bool[np.ndarray, "tracks tags"], fold: int = 1, folds: int = 1) -> None:
    """Refuse tracks on which ROC-AUC cannot be measured.

    Args:
        truth: The tags of the tracks that stop the training.
        fold: Which fold they are left out by, counted from 1; the first leaves out the validation split.
        folds: How many there are.

    Raises:
        TrainingError: No tag is on some of the tracks and not on others.
    """
    if (truth.any(axis=0) & ~truth.all(axis=0)).any():
        return
    if fold == 1:
        tracks, remedy = "validation tracks", "give more validation tracks"
    else:
        tracks, remedy = f"tracks that fold {fold} of {folds} leaves out", "lower step_2.folds, or give more tracks"
    raise TrainingError(
        f"no tag divides the {len(truth)} {tracks} (each is on all of them or on none), so ROC-AUC cannot be measured; "
        f"{remedy}"
    )


def _truth_of(validation: Examples) -> Bool[np.ndarray, "tracks tags"]:
    if validation.ground_truth is None:
        raise TrainingError("step 2 needs validation tracks with tags, and they have none")
    truth: np.ndarray = validation.ground_truth > 0
    require_measurable(truth)
    return truth
