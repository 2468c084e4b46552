"""What bf16 and int8 cost: in codes, in scores, in decisions, and in ROC-AUC on the bundled model's own test tracks.

    python benchmarks/precision.py [--data FOLDER] [--folds FOLD ...]

FOLDER is the data set macleod (tracks.csv and audio/); without it the example recordings are heard, and there is no
ROC-AUC. The reference is the engine in f32. Whole tracks.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Sequence
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from measuring import Table, hand_over
from music import RECORDINGS

from moodbook import audio
from moodbook.features import segments
from moodbook.model.precision import available_precisions, processor_capabilities
from moodbook.model.scores import TagScores
from moodbook.model.tagger import Tagger

TEST_FOLDS = ("4",)
"""Of macleod: the one that the bundled model neither learned from nor was chosen on (its card: macleod:4)."""


def ground_truth(rows: Sequence[dict[str, str]], tags: Sequence[str]) -> np.ndarray:
    """Read which tracks have which tags."""
    return np.array([[tag in row["tags"].split(";") for tag in tags] for row in rows])


def macro_auc(truth: np.ndarray, scores: np.ndarray) -> float:
    """Give the mean ROC-AUC of the tags that are there and not everywhere."""
    from sklearn.metrics import roc_auc_score

    columns = [tag for tag in range(truth.shape[1]) if 0 < truth[:, tag].sum() < len(truth)]
    return float(np.mean([roc_auc_score(truth[:, tag], scores[:, tag]) for tag in columns]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("MOODBOOK_MACLEOD"))
    parser.add_argument("--folds", nargs="+", default=TEST_FOLDS)
    options = parser.parse_args()
    rows: list[dict[str, str]] = []
    if options.data is None:
        paths = sorted(RECORDINGS.glob("*.opus"))
    else:
        with (options.data / "tracks.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["fold"] in options.folds]
        paths = [options.data / row["path"] for row in rows]
    exact = Tagger.load(precision="f32")
    truth = ground_truth(rows, exact.tags.names) if rows else None
    heard = [segments(audio.load(path)).log_mel for path in paths]
    reference_codes = np.concatenate([exact.engine.encode(track) for track in heard])
    reference = [scores for scores in exact.tag_files(paths) if isinstance(scores, TagScores)]
    columns = ("precision", "tracks", "codes that change", "mean change of a score", "largest", "decisions", "ROC-AUC")
    table = Table("precision", columns).begin()
    for precision in available_precisions(processor_capabilities(), exact.bundle.network):
        tagger = Tagger.load(precision=precision)
        codes = np.concatenate([tagger.engine.encode(track) for track in heard])
        found = [scores for scores in tagger.tag_files(paths) if isinstance(scores, TagScores)]
        pairs = list(zip(found, reference, strict=True))
        differences = np.abs(np.stack([one.probabilities - other.probabilities for one, other in pairs]))
        flipped = np.stack([one.decisions != other.decisions for one, other in pairs])
        auc = None if truth is None else macro_auc(truth, np.stack([scores.probabilities for scores in found]))
        changed = float((codes != reference_codes).mean())
        table.add(
            (
                precision,
                str(len(found)),
                f"{changed:.2%}",
                f"{differences.mean():.5f}",
                f"{differences.max():.4f}",
                f"{flipped.sum()} of {flipped.size}",
                "" if auc is None else f"{auc:.4f}",
            ),
            precision=precision,
            tracks=len(found),
            codes_changed=changed,
            mean_change=float(differences.mean()),
            largest_change=float(differences.max()),
            decisions_changed=int(flipped.sum()),
            decisions=int(flipped.size),
            roc_auc_macro=auc,
        )
    hand_over(table)


if __name__ == "__main__":
    main()
