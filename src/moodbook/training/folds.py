"""Step 2 on folds: several classifiers, each of which leaves out another part of the tracks, and their mean.

Thirty validation tracks say little about how sure a classifier may be. On folds every track of the train and validation
splits is left out once, so that calibration and thresholds stand on all of them.

Source:
    L. Breiman: Stacked Regressions, 1996, section 2, for scores by cross-validation; the mean of classifiers that
    learned from different parts is his bagging (Bagging Predictors, 1996), with parts instead of draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from moodbook.datasets.dataset import Track
from moodbook.errors import TrainingError
from moodbook.networks.semantic import SemanticClassifier
from moodbook.networks.statistics import StatisticsClassifier
from moodbook.networks.tagger import TaggingNetwork
from moodbook.training.calibration import Scaling
from moodbook.training.examples import Examples


@dataclass(frozen=True)
class Fold:
    """What one of the classifiers learns from, and what it is held out of."""

    train: tuple[Track, ...]
    held_out: tuple[Track, ...]


@dataclass(frozen=True)
class HeldOut:
    """What is said of tracks by classifiers that did not learn from them.

    Args:
        tracks: The tracks.
        examples: Their segments.
        logits: Of each segment.
    """

    tracks: tuple[Track, ...]
    examples: Examples
    logits: Float32[np.ndarray, "examples tags"]

    def scaled(self, scaling: Scaling) -> HeldOut:
        """Give the same after calibration."""
        return replace(self, logits=self.logits * np.float32(scaling.slope) + np.float32(scaling.shift))

    def probabilities(self) -> Float32[np.ndarray, "tracks tags"]:
        """Score the tracks: the mean of their segments' probabilities, weighted by `filled`."""
        return self.examples.pool(torch.sigmoid(torch.from_numpy(self.logits)).numpy(), len(self.tracks))


def folds_of(train: Sequence[Track], validation: Sequence[Track], folds: int, seed: int) -> tuple[Fold, ...]:
    """Cut the tracks into parts of about one size; what belongs together (`Track.group`) stays together.

    The first fold is the data set's own: it learns from the train split and is held out of the validation split. The
    parts of the others are cut from the train split.

    Raises:
        TrainingError: The train split has fewer groups than parts.
    """
    own = Fold(tuple(train), tuple(validation))
    if folds == 1:
        return (own,)
    groups: dict[str, list[Track]] = {}
    for track in train:
        groups.setdefault(track.group or track.track_id, []).append(track)
    if len(groups) < folds - 1:
        raise TrainingError(
            f"step_2.folds = {folds} cuts the train split into {folds - 1} parts, and it has {len(groups)} groups of "
            "tracks that belong together; ask for fewer folds"
        )
    parts: list[list[Track]] = [[] for _ in range(folds - 1)]
    names = sorted(groups)
    for index in np.random.default_rng(seed).permutation(len(names)):
        min(parts, key=len).extend(groups[names[index]])
    cut = [own]
    for part in parts:
        left_out = {track.track_id for track in part}
        learned_from = (track for track in (*train, *validation) if track.track_id not in left_out)
        cut.append(Fold(tuple(learned_from), tuple(part)))
    return tuple(cut)


def join(parts: Sequence[HeldOut]) -> HeldOut:
    """Put the held-out tracks of all folds beside each other."""
    before = np.cumsum([0, *(len(part.tracks) for part in parts)])
    examples = replace(
        parts[0].examples,
        rows=np.concatenate([part.examples.rows for part in parts]),
        tracks=np.concatenate([part.examples.tracks + start for part, start in zip(parts, before[:-1], strict=True)]),
        filled=np.concatenate([part.examples.filled for part in parts]),
        ground_truth=None,
    )
    tracks = tuple(track for part in parts for track in part.tracks)
    return HeldOut(tracks, examples, np.concatenate([part.logits for part in parts]))


@torch.no_grad()
def become_mean(network: TaggingNetwork, others: Sequence[TaggingNetwork]) -> None:
    """Turn a network into the mean, in logits, of itself and others on the same fixed VQ-VAE.

    Their classifiers are linear after batch norm, so the mean is a classifier of the same kind and costs nothing.

    Raises:
        TrainingError: A classifier is not linear.
    """
    lines = [_line(one) for one in (network, *others)]
    weight = torch.stack([weight for weight, _ in lines]).mean(dim=0)
    bias = torch.stack([bias for _, bias in lines]).mean(dim=0)
    scale, centre = _norm(network)
    output = network.classifier.output
    output.weight.copy_(weight / scale)
    output.bias.copy_(bias + weight @ centre)


def _line(network: TaggingNetwork) -> tuple[Tensor, Tensor]:
    """Give weights and bias of a linear classifier with the batch norm before it made part of them, in float64."""
    scale, centre = _norm(network)
    weight = network.classifier.output.weight.double() * scale
    return weight, network.classifier.output.bias.double() - weight @ centre


def _norm(network: TaggingNetwork) -> tuple[Tensor, Tensor]:
    classifier = network.classifier
    if not isinstance(classifier, SemanticClassifier | StatisticsClassifier):
        raise TrainingError(
            f"a mean of {network.config.classifier.kind!r} classifiers is no such classifier; set step_2.folds = 1"
        )
    norm = classifier.norm
    if norm.running_var is None or norm.running_mean is None:
        raise TrainingError("a classifier whose batch norm keeps no statistics cannot be averaged")
    return (norm.running_var.double() + norm.eps).rsqrt(), norm.running_mean.double()
