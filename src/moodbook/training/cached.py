"""What a fixed VQ-VAE makes of every segment, before step 2: codes, and what its semantic decoder reads of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Integer, Shaped
from torch import Tensor

from moodbook.datasets.cache import CodeCache, FeatureCache
from moodbook.errors import TrainingError
from moodbook.model.embedding import segment_statistics
from moodbook.networks.config import SemanticConfig
from moodbook.networks.vqvae import VQVAE
from moodbook.training.checkpoint import weights_sha256
from moodbook.training.given import load_vqvae
from moodbook.training.machine import Machine
from moodbook.training.progress import Display
from moodbook.training.readings import Readings
from moodbook.training.recipe import Recipe


@dataclass(frozen=True)
class Cached:
    """What step 2 learns from in place of log-mel.

    Args:
        codes: The codes of every segment.
        readings: What the semantic decoder reads from them; None for a classifier that does not listen to it, or that
            learns from stretches which begin anywhere.
    """

    codes: CodeCache
    readings: Readings | None

    @property
    def inputs(self) -> Shaped[np.ndarray, "cached height width"]:
        """The inputs of the classifier, row for row."""
        return self.codes.codes if self.readings is None else self.readings.windows


def cache_segments(
    features: FeatureCache,
    recipe: Recipe,
    weights: Mapping[str, Tensor],
    folder: Path,
    machine: Machine,
    display: Display,
) -> Cached:
    """Run a fixed VQ-VAE over segments, as far as that has not been done before.

    Args:
        features: The segments.
        recipe: Says which VQ-VAE, and what the classifier reads.
        weights: The VQ-VAE's, by name.
        folder: Where caches are kept.
        machine: The device.
        display: Shows the progress.

    Raises:
        TrainingError: The recipe has no VQ-VAE, or the weights are of another one.
        DataError: The disk has no room.
    """
    if recipe.vqvae is None:
        raise TrainingError(f"recipe '{recipe.name}' has no VQ-VAE, so it has no codes")
    vqvae = VQVAE(recipe.vqvae)
    load_vqvae(vqvae, weights)
    vqvae.fix()
    vqvae.to(machine.device)
    # What reads the codes has no part in them, nor have batch norm's counters.
    readers = ("decoder.", "semantic.")
    encoding = {
        name: value for name, value in weights.items() if not name.startswith(readers) and value.is_floating_point()
    }
    batch_size = recipe.step_2.batch_size
    display.begin(f"codes of {len(features)} segments", total=len(features))
    codes = CodeCache.build(
        features,
        folder,
        lambda log_mel: encode_codes(vqvae, log_mel, machine.device),
        weights_sha256=weights_sha256(encoding),
        bands=recipe.vqvae.bands,
        batch_size=batch_size,
        progress=lambda done, _: display.advance(done),
    )
    display.end()
    if not isinstance(recipe.classifier, SemanticConfig) or recipe.step_2.random_crops:
        return Cached(codes, None)
    display.begin(f"reading the codes of {len(features)} segments", total=len(features))
    readings = Readings.build(
        codes, vqvae, folder, batch_size=batch_size, progress=lambda done, _: display.advance(done)
    )
    display.end()
    return Cached(codes, readings)


def encode_codes(
    vqvae: VQVAE, log_mel: Float32[np.ndarray, "batch n_mels frames"], device: torch.device
) -> Int64[np.ndarray, "batch bands steps"]:
    """Give the codes of segments under a fixed VQ-VAE, in float32."""
    return vqvae.codes(torch.from_numpy(log_mel).to(device)).cpu().numpy()


def statistics_of(
    vqvae: VQVAE, codes: Integer[np.ndarray, "batch bands steps"]
) -> Float32[np.ndarray, "batch statistics"]:
    """Give the statistics of the latents that codes stand for (`segment_statistics`)."""
    codebook = vqvae.quantizer.codebook.detach().float().cpu().numpy()
    return segment_statistics(codes.astype(np.int16, copy=False), codebook)


def encode_statistics(
    vqvae: VQVAE, log_mel: Float[np.ndarray, "batch n_mels frames"], device: torch.device
) -> Float32[np.ndarray, "batch statistics"]:
    """Give the statistics of segments under a fixed VQ-VAE."""
    return statistics_of(vqvae, encode_codes(vqvae, np.asarray(log_mel, dtype=np.float32), device))
