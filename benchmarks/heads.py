"""What else could read the codes: dials of step 2, one at a time, on the benches of `docs/results.md`.

    python benchmarks/heads.py --taffc-audio DIR                  what validation says of each, on the bundled model
    python benchmarks/heads.py --vqvae RUN --test mean hidden     on another step 1; what test says of these

Each head reads what the semantic decoder of a finished, taught step 1 reads from the codes of a track, eight windows a
segment, all segments. It learns from the train part of a bench by Adam, stops early on the validation part and is
scored as in `benchmarks/results.py`; three seeds. The first one, `mean`, is the classifier of the
recipe `open`. Nothing is kept but features and codes: it takes minutes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from results import SEEDS, Bench, macleod, mean_of, table, taffc
from torch import Tensor, nn
from torch.nn import functional

from moodbook.datasets import Dataset
from moodbook.datasets.cache import CodeCache, FeatureCache
from moodbook.evaluation.metrics import pr_auc, roc_auc
from moodbook.features import DEFAULT_FEATURES
from moodbook.networks.vqvae import VQVAE
from moodbook.training.cached import encode_codes
from moodbook.training.checkpoint import weights_sha256
from moodbook.training.given import load_vqvae, open_vqvae
from moodbook.training.recipe import read_recipe

BATCH, EPOCHS, PATIENCE = 12, 60, 10
Loss = Callable[[Tensor, Tensor], Tensor]


class Pooled(nn.Module):
    """Statistics of the windows -> batch norm -> dropout -> tags, with a hidden layer or none."""

    def __init__(
        self, n_tags: int, features: int, *, spread: bool = False, largest: bool = False, hidden: int = 0
    ) -> None:
        super().__init__()
        self.spread, self.largest = spread, largest
        features *= 1 + spread + largest
        self.norm, self.dropout = nn.BatchNorm1d(features, affine=False), nn.Dropout(0.2)
        self.hidden = nn.Linear(features, hidden) if hidden else None
        self.output = nn.Linear(hidden or features, n_tags)

    def forward(self, windows: Tensor, heard: Tensor) -> Tensor:
        weights = heard[..., None] / heard.sum(dim=1)[:, None, None]
        mean = (windows * weights).sum(dim=1)
        parts = [mean]
        if self.spread:
            parts.append((((windows - mean[:, None]).square() * weights).sum(dim=1) + 1e-5).sqrt())
        if self.largest:
            parts.append(windows.masked_fill(heard[..., None] == 0, -torch.inf).amax(dim=1))
        read = self.dropout(self.norm(torch.cat(parts, dim=1)))
        if self.hidden is not None:
            read = self.dropout(functional.relu(self.hidden(read)))
        logits: Tensor = self.output(read)
        return logits


class Attention(nn.Module):
    """Each tag listens to windows of its own choice.

    Source:
        Ilse, Tomczak, Welling: Attention-based Deep Multiple Instance Learning, 2018, section 2.4, one attention a tag
        and no gate.
    """

    def __init__(self, n_tags: int, features: int) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm1d(features, affine=False), nn.Dropout(0.2)
        self.attention = nn.Linear(features, n_tags)
        self.output = nn.Linear(features, n_tags)
        nn.init.zeros_(self.attention.weight)

    def forward(self, windows: Tensor, heard: Tensor) -> Tensor:
        read = torch.zeros_like(windows)
        read[heard > 0] = self.norm(windows[heard > 0])
        read = self.dropout(read)
        weights = self.attention(read).masked_fill(heard[..., None] == 0, -torch.inf).softmax(dim=1)
        logits: Tensor = (weights * self.output(read)).sum(dim=1)
        return logits


def asymmetric(logits: Tensor, targets: Tensor) -> Tensor:
    """Count what is easily said to be absent for little.

    Source:
        Ridnik et al.: Asymmetric Loss For Multi-Label Classification, 2021, equations 4 to 7, with their gammas of 0
        and 4 and margin of .05.
    """
    present = functional.logsigmoid(logits) * targets
    shifted = (torch.sigmoid(logits) - 0.05).clamp(min=0)
    absent = torch.log1p(-shifted.clamp(max=1 - 1e-6)) * shifted.pow(4) * (1 - targets)
    return -(present + absent).mean()


@dataclass(frozen=True)
class Head:
    """One dial turned: what is built, what is lowered, and whether tracks are mixed in pairs."""

    title: str
    build: Callable[[int, int], nn.Module]
    loss: Loss = functional.binary_cross_entropy_with_logits
    mixed: bool = False
    rate: float = 1e-3


HEADS = {
    "mean": Head("mean over the windows, one dense layer (ours)", Pooled),
    "spread": Head("mean and spread", lambda n, f: Pooled(n, f, spread=True)),
    "largest": Head("mean and maximum", lambda n, f: Pooled(n, f, largest=True)),
    "attention": Head("attention over the windows, one a tag", Attention),
    "hidden": Head("a hidden layer of 128", lambda n, f: Pooled(n, f, hidden=128)),
    "asymmetric": Head("asymmetric loss", Pooled, asymmetric),
    "mixup": Head("mixup of tracks", Pooled, mixed=True),
    "spread-mixup": Head("mean and spread, mixup", lambda n, f: Pooled(n, f, spread=True), mixed=True),
    "hidden-asymmetric": Head(
        "a hidden layer of 128, asymmetric loss", lambda n, f: Pooled(n, f, hidden=128), asymmetric
    ),
    "hidden-mixup": Head(
        "a hidden layer of 128, asymmetric loss, mixup", lambda n, f: Pooled(n, f, hidden=128), asymmetric, mixed=True
    ),
    "hidden-32": Head("a hidden layer of 32, asymmetric loss", lambda n, f: Pooled(n, f, hidden=32), asymmetric),
    "hidden-512": Head("a hidden layer of 512, asymmetric loss", lambda n, f: Pooled(n, f, hidden=512), asymmetric),
    "slow": Head("rate 3e-4", Pooled, rate=3e-4),
    "fast": Head("rate 3e-3", Pooled, rate=3e-3),
}


@dataclass(frozen=True)
class Read:
    """What is read of the tracks of one split, and their tags; shorter tracks are filled up with windows not heard."""

    windows: Tensor
    heard: Tensor
    truth: Tensor


def read_tracks(dataset: Dataset, vqvae: VQVAE, sha256: str, cache: Path) -> dict[str, Read]:
    """Read every window of the tracks of a data set, split by split."""
    features = FeatureCache.build(dataset.tracks, cache, DEFAULT_FEATURES, segments="all")
    codes = CodeCache.build(
        features,
        cache,
        lambda log_mel: encode_codes(vqvae, log_mel, torch.device("cpu")),
        weights_sha256=sha256,
        bands=vqvae.config.bands,
    ).codes
    windows: dict[str, list[Tensor]] = {}
    for track_id, filled, one in zip(features.track_ids, features.filled, codes, strict=True):
        read = vqvae.read(vqvae.quantizer.lookup(torch.from_numpy(np.array(one))[None]))[0]
        windows.setdefault(track_id, []).append(read[: max(1, round(float(filled) * len(read)))])
    splits = {}
    for split in ("train", "validation", "test"):
        tracks = dataset.split(split)
        joined = [torch.cat(windows[track.track_id]) for track in tracks]
        heard = nn.utils.rnn.pad_sequence([torch.ones(len(one)) for one in joined], batch_first=True)
        truth = torch.from_numpy(dataset.ground_truth(tracks).astype(np.float32))
        splits[split] = Read(nn.utils.rnn.pad_sequence(joined, batch_first=True), heard, truth)
    return splits


def validated(truth: Tensor, scores: np.ndarray) -> tuple[float, float]:
    """Give macro ROC-AUC and PR-AUC over the tags that some tracks have and others lack."""
    wanted = truth.numpy() > 0
    both = [column for column in range(wanted.shape[1]) if 0 < wanted[:, column].sum() < len(wanted)]
    measures = [[measure(wanted[:, c], scores[:, c]) for c in both] for measure in (roc_auc, pr_auc)]
    return float(np.mean(measures[0])), float(np.mean(measures[1]))


def train(head: Head, splits: dict[str, Read], seed: int) -> tuple[tuple[float, float], np.ndarray]:
    """Train a head; give the validation figures of its best epoch and what it says of the test tracks."""
    torch.manual_seed(seed)
    learned, watched = splits["train"], splits["validation"]
    network = head.build(learned.truth.shape[1], learned.windows.shape[2])
    share = (learned.truth.sum(dim=0) + 0.5) / (len(learned.truth) + 1)
    nn.init.zeros_(network.output.weight)
    with torch.no_grad():
        network.output.bias.copy_((share / (1 - share)).log())
    optimizer = torch.optim.Adam(network.parameters(), lr=head.rate)
    best, chosen, waited = (-1.0, 0.0), np.zeros(0), 0
    for _ in range(EPOCHS):
        network.train()
        # As even as can be: batch norm learns nothing from a batch of one.
        for rows in torch.randperm(len(learned.truth)).tensor_split(-(-len(learned.truth) // BATCH)):
            windows, heard, truth = learned.windows[rows], learned.heard[rows], learned.truth[rows]
            if head.mixed:
                windows, heard, truth = mixed(windows, heard, truth)
            optimizer.zero_grad()
            head.loss(network(windows, heard), truth).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            figures = validated(watched.truth, torch.sigmoid(network(watched.windows, watched.heard)).numpy())
            waited += 1
            if figures[0] > best[0]:
                said = torch.sigmoid(network(splits["test"].windows, splits["test"].heard))
                best, chosen, waited = figures, said.numpy(), 0
        if waited == PATIENCE:
            break
    return best, chosen


def mixed(windows: Tensor, heard: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Lay the windows of another track of the batch beside each track's own, with a share of its tags.

    Source:
        Zhang et al.: mixup, 2018, with alpha = 0.4; the windows are pooled with the shares as weights.
    """
    share = torch.distributions.Beta(0.4, 0.4).sample((len(windows), 1))
    own, other = heard / heard.sum(dim=1, keepdim=True), heard.roll(1, 0) / heard.roll(1, 0).sum(dim=1, keepdim=True)
    return (
        torch.cat([windows, windows.roll(1, 0)], dim=1),
        torch.cat([own * share, other * (1 - share)], dim=1),
        truth * share + truth.roll(1, 0) * (1 - share),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vqvae", default="open", help="a finished, taught step 1, or a model")
    parser.add_argument("--recipe", default="open", help="the recipe, or TOML file, of that step 1")
    parser.add_argument("--taffc-audio", type=Path, default=None, help="folder with Q1 ... Q4 of the TAFFC clips")
    parser.add_argument("--cache", type=Path, default=Path("runs/results/cache"), help="where features and codes are")
    parser.add_argument("--only", nargs="*", choices=tuple(HEADS), default=tuple(HEADS), help="train these alone")
    parser.add_argument("--test", nargs="*", choices=tuple(HEADS), default=(), help="score these on test too")
    parser.add_argument("--bench", choices=("macleod", "taffc"), help="this one alone")
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)
    weights = open_vqvae(recipe, arguments.vqvae).weights
    encoding = {name: value for name, value in weights.items() if not name.startswith(("decoder.", "semantic."))}
    vqvae = VQVAE(recipe.network.vqvae)
    load_vqvae(vqvae, weights)
    vqvae.fix()
    benches: list[Bench] = []
    if arguments.bench != "taffc":
        benches.append(macleod())
    if arguments.bench != "macleod" and arguments.taffc_audio is not None:
        benches.append(taffc(arguments.taffc_audio))
    for bench in benches:
        parts = [read_tracks(part, vqvae, weights_sha256(encoding), arguments.cache) for part in bench.parts]
        predictions = {}
        print(
            f"### {bench.name}, validation\n\n| head | ROC-AUC of each seed | mean | PR-AUC, mean |\n|---|---|---|---|"
        )
        for name, head in ((name, HEADS[name]) for name in arguments.only):
            runs = [[train(head, splits, seed) for splits in parts] for seed in SEEDS]
            seeds = np.array([np.mean([figures for figures, _ in run], axis=0) for run in runs])
            each = " ".join(f"{one:.3f}" for one in seeds[:, 0])
            print(f"| {head.title} | {each} | {seeds[:, 0].mean():.3f} | {seeds[:, 1].mean():.3f} |", flush=True)
            if name in arguments.test:
                predictions[name] = [np.concatenate([said for _, said in run]) for run in runs]
                predictions[f"{name}-together"] = [mean_of(predictions[name])]
        if predictions:
            rows = {name: HEADS[name].title for name in arguments.test}
            rows |= {f"{name}-together": f"{HEADS[name].title}: mean of its seeds' logits" for name in arguments.test}
            print("\n" + table(bench, predictions, rows))
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
