"""What each precision costs: in codes, in scores, in decisions, and in ROC-AUC on the bundled model's own test tracks.

    python benchmarks/precision.py [--data FOLDER] [--card]

FOLDER is the data set macleod (tracks.csv and audio/); without it the example recordings are heard, and there is no
ROC-AUC. The reference is torch in f32, on the processor. Whole tracks, and the largest change of a single segment's
scores. --card writes what is found into the bundled model's card.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
from measuring import Table, hand_over
from music import RECORDINGS

from moodbook import audio
from moodbook.datasets import Dataset, open_dataset
from moodbook.evaluation.metrics import evaluate
from moodbook.features import segments
from moodbook.model.bundle import Bundle, write_bundle
from moodbook.model.precision import available_precisions, processor_capabilities
from moodbook.model.scores import TagScores
from moodbook.model.tagger import Tagger
from moodbook.model.torch_engine import TorchEngine

TORCH = "f32, by torch"
TEST = "macleod:4"
"""The fold that the bundled model neither learned from nor was chosen on, as its card says."""


def open_test(bundle: Bundle, folder: Path) -> Dataset:
    """Open the data set of the bundled model's card.

    Raises:
        SystemExit: It is another one.
    """
    provenance = bundle.config.card.provenance
    dataset = open_dataset(TEST, folder, min_tracks=provenance.recipe_settings["data"]["min_tracks"])
    if dataset.sha256 != provenance.data_sha256 or dataset.tags != bundle.tags:
        raise SystemExit(f"'{folder}' is not the data set of the model's card: its sha256 is {dataset.sha256}")
    return dataset


def write_card(bundle: Bundle, found: Mapping[str, Mapping[str, float]]) -> None:
    """Write the model again with what its precisions cost on its card; nothing else of it changes."""
    card = bundle.config.card
    metrics: dict[str, Mapping[str, float]] = {}
    for part, figures in card.metrics.items():
        if not part.startswith("test, "):
            metrics[part] = figures
        if part == "test":
            metrics |= {f"test, {precision}": cost for precision, cost in found.items()}
    write_bundle(
        bundle.folder,
        network=bundle.network,
        weights=bundle.weights,
        tags=bundle.tags,
        thresholds=bundle.thresholds,
        card=card.model_copy(update={"metrics": metrics}),
        features=bundle.features,
        storage=bundle.config.storage,
        decoder=bundle.config.decoder,
        embedding=bundle.embedding,
        presence=bundle.presence,
        overwrite=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("MOODBOOK_MACLEOD"))
    parser.add_argument("--card", action="store_true", help="write what is found into the bundled model's card")
    options = parser.parse_args()
    exact = Tagger.load(precision="f32")
    exact.engine = TorchEngine(exact.bundle, "f32", "cpu")
    truth = None
    paths = sorted(RECORDINGS.glob("*.opus"))
    if options.data is not None:
        dataset = open_test(exact.bundle, Path(options.data))
        paths = [track.path for track in dataset.split("test")]
        truth = dataset.ground_truth(dataset.split("test"))
    elif options.card:
        parser.error("the card's figures want the data: --data FOLDER")
    heard = [segments(audio.load(path)).log_mel for path in paths]
    reference_codes = np.concatenate([exact.engine.encode(track) for track in heard])
    reference = [scores for scores in exact.tag_files(paths) if isinstance(scores, TagScores)]
    columns = ("precision", "tracks", "codes that change", "mean change of a score", "largest")
    table = Table("precision", (*columns, "largest of a segment's", "decisions", "ROC-AUC")).begin()
    costs: dict[str, dict[str, float]] = {}
    precisions = available_precisions(processor_capabilities(), exact.bundle.network)
    for precision, tagger in ((TORCH, exact), *((name, Tagger.load(precision=name)) for name in precisions)):
        codes = np.concatenate([tagger.engine.encode(track) for track in heard])
        found = [scores for scores in tagger.tag_files(paths) if isinstance(scores, TagScores)]
        pairs = list(zip(found, reference, strict=True))
        differences = np.abs(np.stack([one.probabilities - other.probabilities for one, other in pairs]))
        of_segment = max(float(np.abs(one.taggram - other.taggram).max()) for one, other in pairs)
        flipped = np.stack([one.decisions != other.decisions for one, other in pairs])
        auc = None
        if truth is not None:
            scores = np.stack([scores.probabilities for scores in found])
            auc = evaluate(truth, scores, exact.tags).macro.roc_auc
        changed = float((codes != reference_codes).mean())
        table.add(
            (
                precision,
                str(len(found)),
                f"{changed:.2%}",
                f"{differences.mean():.5f}",
                f"{differences.max():.4f}",
                f"{of_segment:.4f}",
                f"{flipped.sum()} of {flipped.size}",
                "" if auc is None else f"{auc:.4f}",
            ),
            precision=precision,
            tracks=len(found),
            codes_changed=changed,
            mean_change=float(differences.mean()),
            largest_change=float(differences.max()),
            largest_change_of_segment=of_segment,
            decisions_changed=int(flipped.sum()),
            decisions=int(flipped.size),
            roc_auc_macro=auc,
        )
        if precision != TORCH and auc is not None:
            costs[precision] = {
                "roc_auc_macro": auc,
                "codes_changed": changed,
                "score_change_mean": float(differences.mean()),
                "score_change_largest": float(differences.max()),
                "segment_score_change_largest": of_segment,
                "decisions_changed": float(flipped.mean()),
            }
    if options.card:
        write_card(exact.bundle, costs)
    missing = [] if truth is not None else ["the model's test tracks: set MOODBOOK_MACLEOD to the data set's folder"]
    hand_over(table, missing=missing)


if __name__ == "__main__":
    main()
