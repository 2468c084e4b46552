"""How well a track's embedding tells moods apart, for ways of making it: the table of experiment 12.

    python benchmarks/embedding.py [--model NAME_OR_FOLDER] [--work FOLDER] [--taffc-audio FOLDER]

Three figures for each way and each bench of `results.py`:

- words: mean ROC-AUC of its tags, told by a logistic regression from the embedding, five parts with no artist (on
  `macleod`: piece) in two of them, the best of five C;
- nearest, five nearest: the moods that a track shares with the most similar one, or five, of other artists (Jaccard),
  on average; beside it what any other track shares.

A way is how far the principal components of the codes' statistics are whitened, and whether the statistics are
standardised first. They are fitted on the bench's own tracks, without their words.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from results import Bench, macleod, taffc

from moodbook.datasets.cache import FeatureCache
from moodbook.features import DEFAULT_FEATURES
from moodbook.model import DEFAULT_MODEL
from moodbook.model.embedding import WHITENING, fit_embedding, segment_statistics
from moodbook.model.scores import pool
from moodbook.model.tagger import Tagger

STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
PARTS, NEAREST = 5, 5


@dataclass(frozen=True)
class Tracks:
    """The tracks of a bench.

    Attributes:
        statistics: Of each segment.
        of_track: The rows of each track in it, and how much of each segment is music.
        truth: Tracks x tags.
        groups: Number of each track's artist or piece.
    """

    statistics: np.ndarray
    of_track: list[tuple[np.ndarray, np.ndarray]]
    truth: np.ndarray
    groups: np.ndarray


def hear(bench: Bench, tagger: Tagger, work: Path) -> Tracks:
    dataset = bench.parts[0]
    features = FeatureCache.build(dataset.tracks, work / "cache", DEFAULT_FEATURES, segments="all")
    rows = []
    for index in range(len(features.log_mel)):
        codes = tagger.engine.encode(np.array(features.log_mel[index : index + 1], dtype=np.float32))
        rows.append(segment_statistics(codes, tagger.engine.codebook)[0])
    ids, filled = np.array(features.track_ids), np.asarray(features.filled)
    of_track = [(np.flatnonzero(ids == t.track_id), filled[ids == t.track_id]) for t in dataset.tracks]
    _, groups = np.unique([t.group or t.track_id for t in dataset.tracks], return_inverse=True)
    return Tracks(np.stack(rows), of_track, dataset.ground_truth(dataset.tracks).astype(bool), groups)


def embed(tracks: Tracks, whitening: float, standardise: bool) -> np.ndarray:
    statistics = tracks.statistics
    if standardise:
        statistics = statistics / np.maximum(statistics.std(axis=0), 1e-6)
    embedding = fit_embedding(statistics, whitening=whitening)
    return np.stack([embedding(pool(statistics[rows], filled)) for rows, filled in tracks.of_track])


def words(tracks: Tracks, vectors: np.ndarray) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    parts = list(GroupKFold(PARTS, shuffle=True, random_state=0).split(vectors, groups=tracks.groups))
    told = []
    for strength in STRENGTHS:
        scores = np.zeros(tracks.truth.shape)
        for learn, ask in parts:
            for column, truth in enumerate(tracks.truth.T):
                if truth[learn].any():
                    model = LogisticRegression(C=strength, max_iter=1000).fit(vectors[learn], truth[learn])
                    scores[ask, column] = model.decision_function(vectors[ask])
        told.append(float(roc_auc_score(tracks.truth, scores, average="macro")))
    return max(told)


def shared(tracks: Tracks, vectors: np.ndarray) -> tuple[float, float, float]:
    """Give the share of moods in common with the nearest, the five nearest, and all tracks of other artists."""
    both = tracks.truth.astype(int) @ tracks.truth.T.astype(int)
    counts = tracks.truth.sum(axis=1)
    jaccard = both / np.maximum(counts[:, None] + counts - both, 1)
    other = tracks.groups[:, None] != tracks.groups
    order = np.argsort(-np.where(other, vectors @ vectors.T, -np.inf), axis=1)
    nearest = np.take_along_axis(jaccard, order[:, :NEAREST], axis=1)
    return float(nearest[:, 0].mean()), float(nearest.mean()), float(jaccard[other].mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=DEFAULT_MODEL, help="whose codes")
    parser.add_argument("--work", type=Path, default=Path("runs/results"), help="where features are kept")
    parser.add_argument("--taffc-audio", type=Path, default=None, help="folder with Q1 ... Q4 of the TAFFC clips")
    arguments = parser.parse_args()
    tagger = Tagger.load(arguments.model, precision="f32")
    benches = [macleod(), *([taffc(arguments.taffc_audio)] if arguments.taffc_audio else [])]
    for bench in benches:
        tracks = hear(bench, tagger, arguments.work)
        print(f"| {bench.name} | words | nearest | five nearest | any other |\n|---|---|---|---|---|")
        for standardise in (False, True):
            for whitening in sorted({0.0, WHITENING, 1.0}):
                vectors = embed(tracks, whitening, standardise)
                name = f"{'standardised, ' if standardise else ''}whitening {whitening:g}"
                nearest, five, other = shared(tracks, vectors)
                print(
                    f"| {name} | {words(tracks, vectors):.3f} | {nearest:.3f} | {five:.3f} | {other:.3f} |", flush=True
                )
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
