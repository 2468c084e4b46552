"""Print the paper's Table 2, recomputed from the published arrays, with corrected F columns and intervals.

    python benchmarks/table_2.py [FOLDER]

FOLDER holds `official/` and `baselines/` (from MTG/mtg-jamendo-dataset, `data/` and `results/mediaeval/`) and `taiinn/`
(the five submissions, from the authors' repository); default: `mediaeval2019` in the shared data beside the checkout.
Neither is part of this project. Takes about three minutes.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from moodbook.evaluation.duplicates import find_duplicates
from moodbook.evaluation.intervals import Interval, interval, resample_counts, resample_ranks
from moodbook.evaluation.judge import judge
from moodbook.evaluation.metrics import evaluate
from moodbook.evaluation.reference import Reference, read_decisions, read_predictions, read_reference
from moodbook.evaluation.submission import mean_of
from moodbook.evaluation.thresholds import read_thresholds
from moodbook.evaluation.verdict import JudgedSystem, System
from moodbook.tags import read_tags

PUBLISHED = Path(os.environ.get("MOODBOOK_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "mediaeval2019"
"""Where the arrays are looked for."""
RUNS = {
    "Run-1": "run_1_vqvae+gru",
    "Run-2": "run_3_fixed_vqvae+gru",
    "Run-3": "run_2_vqvae+cnn",
    "Run-4": "run_4_fixed_vqvae+cnn",
    "Run-5": "run_5_one_hot_gru",
}
PAIRS = [
    ("Run-1", "Run-5", "Type-1 over Type-2"),
    ("Run-4", "Run-2", "CNN over GRU, VQ-VAE fixed"),
    ("Run-3", "Run-1", "CNN over GRU, VQ-VAE updated"),
    ("Run-2", "Run-1", "fixed over updated, GRU"),
    ("Run-4", "Run-3", "fixed over updated, CNN"),
    ("VGG-ish", "Run-4", "baseline over the best run"),
    ("mean of the runs", "VGG-ish", "ensemble over the baseline"),
    ("mean of the runs", "Run-4", "ensemble over the best run"),
]


def read_published(folder: Path) -> tuple[Reference, list[System]]:
    """Read the truth and the systems with everything that was handed in: two baselines, the five runs, their mean."""
    official = folder / "official"
    reference = read_reference(
        official / "groundtruth-test.npy",
        read_tags(official / "moodtheme_split.txt"),
        tracks=official / "autotagging_moodtheme-split0-test.tsv",
    )

    def read(files: Path, prefix: str, name: str, predictions: str = "prediction") -> System:
        (scores,) = files.glob(f"{prefix}*{predictions}*.npy")
        (decisions,) = files.glob(f"{prefix}*decisions*.npy")
        thresholds = list(files.glob(f"{prefix}*thresholds*.txt"))
        return System(
            name,
            read_predictions(scores, reference).probabilities,
            read_decisions(decisions, reference),
            read_thresholds(thresholds[0]) if thresholds else None,
        )

    baselines = folder / "baselines"
    systems = [
        read(baselines, "baseline_popular", "Popularity", "decisions"),
        read(baselines, "baseline_vggish", "VGG-ish"),
        *(read(folder / "taiinn" / run, "", name) for name, run in RUNS.items()),
    ]
    ensemble = System("mean of the runs", mean_of([system.probabilities for system in systems[2:]]))
    return reference, [*systems, ensemble]


def bracket(ends: Interval, signed: bool = False) -> str:
    style = "+.3f" if signed else ".3f"
    return f"[{ends.low:{style}}, {ends.high:{style}}]"


def scores_row(system: JudgedSystem) -> str:
    macro = system.scores.macro
    cells = [system.name]
    for value, name in ((macro.roc_auc, "ROC-AUC-macro"), (macro.pr_auc, "PR-AUC-macro")):
        intervals = " ".join(bracket(system.intervals[unit][name]) for unit in ("tracks", "artists"))
        cells.append(f"{value:.4f} {intervals}")
    return "| " + " | ".join(cells) + " |"


def f_row(system: JudgedSystem) -> str:
    columns = {column.name: column for column in system.columns}
    cells = [system.name]
    for name in ("submitted", "official", "honest"):
        column = columns.get(name)
        cells.append(
            "-" if column is None else f"{column.scores['F-score-macro']:.4f} / {column.scores['F-score-micro']:.4f}"
        )
    cells.append(bracket(columns["honest"].intervals["artists"]["F-score-macro"]))
    scrambled = [f for f in system.findings if f.kind == "thresholds-in-another-order"]
    cells.append(f"{scrambled[0].evidence['differ_by_name']:,}" if scrambled else "0")
    return "| " + " | ".join(cells) + " |"


def difference_rows(reference: Reference, systems: dict[str, System], resamples: int) -> list[str]:
    tracks = len(reference.ground_truth)
    drawn: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for unit, groups in (("tracks", None), ("artists", reference.artists)):
        counts = resample_counts(tracks, resamples, 0, groups)
        for name in {name for pair in PAIRS for name in pair[:2]}:
            ranks = resample_ranks(reference.ground_truth, systems[name].probabilities, reference.tags, counts)
            drawn[unit, name] = ranks.by_name()
    official = {
        name: evaluate(reference.ground_truth, system.probabilities, reference.tags).official()
        for name, system in systems.items()
    }
    rows = []
    for first, second, what in PAIRS:
        cells = [f"{first} - {second}", what]
        for score in ("ROC-AUC-macro", "PR-AUC-macro"):
            difference = official[first][score] - official[second][score]
            ends = [
                interval(difference, drawn[unit, first][score] - drawn[unit, second][score], bounded=False)
                for unit in ("tracks", "artists")
            ]
            clear = all(one.low > 0 or one.high < 0 for one in ends)
            intervals = " ".join(bracket(one, signed=True) for one in ends)
            cells.append(f"{difference:+.4f} {intervals}{' **clear**' if clear else ''}")
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=PUBLISHED, help="official/, baselines/ and taiinn/")
    parser.add_argument("--resamples", type=int, default=1000)
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        print(f"skipped: no published arrays at {arguments.folder}")
        return
    reference, systems = read_published(arguments.folder)
    verdict = judge(
        reference.ground_truth,
        systems,
        reference.tags,
        artists=reference.artists,
        track_ids=reference.track_ids,
        resamples=arguments.resamples,
    )
    print("| system | ROC-AUC macro [tracks] [artists] | PR-AUC macro [tracks] [artists] |\n|---|---|---|")
    print("\n".join(scores_row(system) for system in verdict.systems))
    print("\n| system | F as submitted | F official (oracle) | F honest | honest macro [artists] | cells scrambled |")
    print("|---|---|---|---|---|---|")
    print("\n".join(f_row(system) for system in verdict.systems))
    print("\n| pair | what | ROC-AUC macro [tracks] [artists] | PR-AUC macro [tracks] [artists] |\n|---|---|---|---|")
    by_name = {system.name: system for system in systems}
    print("\n".join(difference_rows(reference, by_name, arguments.resamples)))
    runs = [by_name[name].probabilities for name in RUNS]
    alike, whole = find_duplicates(runs), find_duplicates(runs, reference.durations_seconds)
    print(f"\n{len(alike)} pairs of tracks with the same scores in all five runs, {len(whole)} of them of one length.")


if __name__ == "__main__":
    main()
