"""What the layers of the VQ-VAE tell of the tags: probes from the first convolution to the semantic decoder.

    python benchmarks/latents.py                           the bundled model, on MacLeod's clips
    python benchmarks/latents.py --taffc-audio DIR         on the TAFFC clips too
    python benchmarks/latents.py --vqvae RUN               another step 1 of the recipe `open`

A probe is a logistic regression on one vector a track, C chosen on validation, as in `benchmarks/results.py`: of a
layer the mean and the spread of each map over a quarter of the bands and an eighth of the segment, averaged over the
track's music; of the semantic decoder what it reads. A pair is the mean of two probes' logits. Validation figures
alone: nothing here looks at a test track.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from heads import validated
from results import STRENGTHS, Bench, macleod, taffc
from torch import Tensor
from torch.nn import functional

from moodbook.datasets.cache import FeatureCache
from moodbook.datasets.dataset import Dataset, Track
from moodbook.features import DEFAULT_FEATURES
from moodbook.networks.geometry import WINDOWS
from moodbook.networks.vqvae import VQVAE
from moodbook.training.given import load_vqvae, open_vqvae
from moodbook.training.recipe import read_recipe

BATCH, BANDS = 8, 4
SEMANTIC = "semantic"
LAYERS = {
    "log-mel": "the log-mel itself",
    "E1": "E1, 64 bands",
    "E2": "E2, 32 bands",
    "E3": "E3, 16 bands",
    "E4": "E4, 8 bands",
    "latents": "latents z_e",
    "quantised": "quantised latents z_q",
    SEMANTIC: "semantic decoder",
}
Vectors = dict[str, dict[str, np.ndarray]]
"""By layer and track."""


def pooled(maps: Tensor) -> Tensor:
    """Give mean and spread of each map over a quarter of the bands and each window: batch x windows x features."""
    bands = min(BANDS, maps.shape[2])
    cells = maps.unflatten(3, (WINDOWS, -1)).unflatten(2, (bands, -1))
    both = torch.cat([cells.mean(dim=(3, 5)), cells.std(dim=(3, 5))], dim=1)
    return both.flatten(1, 2).transpose(1, 2)


def layers_of(vqvae: VQVAE, log_mel: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Give what each layer makes of segments, window by window."""
    hidden = log_mel[:, None]
    # Every band of the log-mel is kept: it has one map.
    yield "log-mel", pooled(hidden.transpose(1, 2))
    encoder = vqvae.encoder
    for number, (convolution, norm) in enumerate(zip(encoder.convolutions, encoder.norms, strict=False), start=1):
        hidden = functional.relu(norm(convolution(hidden)))
        yield f"E{number}", pooled(hidden)
    latents = vqvae.encode(log_mel)
    yield "latents", pooled(latents)
    quantized = vqvae.quantizer.lookup(vqvae.quantizer.codes(latents))
    yield "quantised", pooled(quantized)
    yield SEMANTIC, vqvae.read(quantized)


@torch.no_grad()
def vectors(vqvae: VQVAE, tracks: Sequence[Track], cache: Path) -> Vectors:
    """Give one vector of each track by layer."""
    features = FeatureCache.build(tracks, cache, DEFAULT_FEATURES, segments="all")
    heard: dict[str, dict[str, list[np.ndarray]]] = {}
    for start in range(0, len(features), BATCH):
        rows = slice(start, start + BATCH)
        log_mel = torch.from_numpy(np.array(features.log_mel[rows])).float()
        for layer, windows in layers_of(vqvae, log_mel):
            for track, filled, one in zip(features.track_ids[rows], features.filled[rows], windows, strict=True):
                music = one[: max(1, round(float(filled) * WINDOWS))].numpy()
                heard.setdefault(layer, {}).setdefault(track, []).append(music)
    return {
        layer: {track: np.concatenate(parts).mean(axis=0) for track, parts in of_tracks.items()}
        for layer, of_tracks in heard.items()
    }


def probe(dataset: Dataset, heard: dict[str, np.ndarray]) -> np.ndarray:
    """Give the logits of the validation tracks, of the C that suits them best."""
    from sklearn.linear_model import LogisticRegression

    tracks = {split: dataset.split(split) for split in ("train", "validation")}
    inputs = {s: np.stack([heard[track.track_id] for track in of_split]) for s, of_split in tracks.items()}
    truth = {split: dataset.ground_truth(of_split) for split, of_split in tracks.items()}
    mean, spread = inputs["train"].mean(axis=0), inputs["train"].std(axis=0) + 1e-6
    best, chosen = -1.0, np.zeros(0)
    for strength in STRENGTHS:
        said = np.zeros(truth["validation"].shape)
        for column in np.flatnonzero(truth["train"].any(axis=0)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Where it has not converged, validation says so.
                model = LogisticRegression(C=strength, max_iter=300)
                model.fit((inputs["train"] - mean) / spread, truth["train"][:, column])
            said[:, column] = model.decision_function((inputs["validation"] - mean) / spread)
        reached = figures(dataset, said)[0]
        if reached > best:
            best, chosen = reached, said
    return chosen


def figures(dataset: Dataset, said: np.ndarray) -> tuple[float, float]:
    """Give ROC-AUC and PR-AUC on validation."""
    return validated(torch.from_numpy(dataset.ground_truth(dataset.split("validation")).astype(np.float32)), said)


def row(title: str, bench: Bench, logits: list[np.ndarray]) -> str:
    roc, pr = np.mean([figures(part, said) for part, said in zip(bench.parts, logits, strict=True)], axis=0)
    return f"| {title} | {roc:.3f} | {pr:.3f} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqvae", default="open", help="a model, or a finished, taught step 1")
    parser.add_argument("--recipe", default="open", help="the recipe, or TOML file, of that step 1")
    parser.add_argument("--taffc-audio", type=Path, default=None, help="folder with Q1 ... Q4 of the TAFFC clips")
    parser.add_argument("--cache", type=Path, default=Path("runs/results/cache"), help="where features are")
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)
    vqvae = VQVAE(recipe.network.vqvae)
    load_vqvae(vqvae, open_vqvae(recipe, arguments.vqvae).weights)
    vqvae.fix()
    benches = [macleod()]
    if arguments.taffc_audio is not None:
        benches.append(taffc(arguments.taffc_audio))
    for bench in benches:
        found = vectors(vqvae, bench.parts[0].tracks, arguments.cache)
        print(f"### {bench.name}, validation\n\n| what is read | ROC-AUC | PR-AUC |\n|---|---|---|", flush=True)
        logits = {}
        for layer, title in LAYERS.items():
            logits[layer] = [probe(part, found[layer]) for part in bench.parts]
            print(row(title, bench, logits[layer]), flush=True)
        for layer in LAYERS:
            if layer != SEMANTIC:
                pairs = [(ours + other) / 2 for ours, other in zip(logits[SEMANTIC], logits[layer], strict=True)]
                print(row(f"{LAYERS[SEMANTIC]} and {LAYERS[layer]}", bench, pairs), flush=True)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
