"""Print how often the audit finds what is planted, and how often it accuses a submission that is honest.

    python benchmarks/audit_power.py [FOLDER] [--honest 1000]

FOLDER holds the published arrays as for `table_2.py`; default: `mediaeval2019` in the shared data beside the checkout.
Without them only simulated submissions are audited, which are those of the tests. Takes about fifteen minutes of
processor time.
"""

from __future__ import annotations

import argparse
import runpy
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from table_2 import PUBLISHED, RUNS, read_published

from moodbook.evaluation.audit import audit
from moodbook.evaluation.findings import Evidence
from moodbook.evaluation.metrics import evaluate

REPOSITORY = Path(__file__).parents[1]
DRAWS = 20
"""Random frauds of a kind planted in each published system."""
PLANTED_SIMULATIONS = 200
"""Simulated submissions in which frauds are planted."""
QUALITIES = (0.65, 0.60, 0.0)
"""Lower ends of the classes of macro ROC-AUC in which simulated frauds are counted."""

Fraud = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def permute_columns(scores: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return scores[:, generator.permutation(scores.shape[1])]


def exchange_two_columns(scores: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    order = np.arange(scores.shape[1])
    pair = generator.choice(len(order), size=2, replace=False)
    order[pair] = pair[::-1]
    return scores[:, order]


def shuffle_rows(scores: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return scores[generator.permutation(len(scores))]


PLANTED: tuple[tuple[str, str, int, Fraud], ...] = (
    ("tag axis permuted at random", "tag-axis-permuted", DRAWS, permute_columns),
    ("first column lost, the rest shifted by one", "tag-axis-permuted", 1, lambda scores, _: np.roll(scores, -1, 1)),
    ("two columns exchanged at random", "tag-axis-permuted", DRAWS, exchange_two_columns),
    ("rows shuffled", "rows-unrelated", DRAWS, shuffle_rows),
    ("rows shifted by one", "rows-in-another-order", 1, lambda scores, _: np.roll(scores, 1, 0)),
    ("rows reversed", "rows-in-another-order", 1, lambda scores, _: scores[::-1]),
)
"""What is planted, the finding that must name it, how often, and the fraud itself."""


def say(progress: str) -> None:
    sys.stderr.write(f"audit_power: {progress}\n")


def print_published(folder: Path) -> None:
    """Plant frauds in the systems with published scores, and count those that are found."""
    reference, everyone = read_published(folder)
    systems = [system for system in everyone if system.thresholds is not None]
    found: Counter[str] = Counter()
    for system in systems:
        evidence = Evidence(system.decisions, system.thresholds, None, reference.artists, reference.track_ids)
        found.update(f.kind for f in audit(reference.ground_truth, system.probabilities, reference.tags, evidence))
        generator = np.random.default_rng(0)
        for what, kind, draws, fraud in PLANTED:
            for _ in range(draws):
                planted = fraud(system.probabilities, generator)
                evidence = Evidence(artists=reference.artists, track_ids=reference.track_ids)
                findings = audit(reference.ground_truth, planted, reference.tags, evidence)
                found[what] += any(finding.kind == kind for finding in findings)
            say(f"{system.name}: {what}")
    count = len(systems)
    scrambled, fitted = found["thresholds-in-another-order"], found["thresholds-fitted-on-truth"]
    print(f"Planted in {count} published systems, {len(reference.ground_truth):,} tracks:\n")
    print("| planted | found |\n|---|---|")
    # VGG-ish applied its thresholds in the right order.
    print(f"| thresholds stored in another order (as published, five runs) | {scrambled} of {len(RUNS)} |")
    print(f"| thresholds fitted on the test truth (as published) | {fitted} of {count} |")
    for what, _, draws, _ in PLANTED:
        print(f"| {what} | {found[what]} of {draws * count} |")


def print_simulated(honest: int) -> None:
    """Audit honest simulated submissions, and the first of them once more with frauds planted."""
    simulate = runpy.run_path(str(REPOSITORY / "tests" / "evaluation" / "conftest.py"))["simulate"]
    accused: dict[int, set[str]] = {}
    found: Counter[tuple[str, float]] = Counter()
    audited: Counter[float] = Counter()
    for seed in range(honest):
        given = simulate(seed)
        findings = audit(given.ground_truth, given.probabilities, given.tags, given.handed_in(seed))
        if kinds := {finding.kind for finding in findings if finding.level != "note"}:
            accused[seed] = kinds
        if seed < PLANTED_SIMULATIONS:
            area = evaluate(given.ground_truth, given.probabilities, given.tags).macro.roc_auc
            quality = next(least for least in QUALITIES if area >= least)
            audited[quality] += 1
            for what, kind, _, fraud in (PLANTED[0], PLANTED[3]):
                planted = fraud(given.probabilities, np.random.default_rng(seed))
                findings = audit(given.ground_truth, planted, given.tags, Evidence(artists=given.artists))
                found[what, quality] += any(finding.kind == kind for finding in findings)
        if (seed + 1) % 20 == 0:
            say(f"simulated: {seed + 1} of {honest}, accused {len(accused)}")
    print(f"\nHonest simulated submissions accused: {len(accused)} of {honest}\n")
    for seed, kinds in accused.items():
        print(f"- seed {seed}: {', '.join(sorted(kinds))}")
    print("| planted in simulated submissions | macro ROC-AUC from .65 | .60 to .65 | below .60 |\n|---|---|---|---|")
    for what in (PLANTED[0][0], PLANTED[3][0]):
        print(f"| {what} | " + " | ".join(f"{found[what, least]} of {audited[least]}" for least in QUALITIES) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=PUBLISHED)
    parser.add_argument("--honest", type=int, default=1000, help="how many honest submissions to simulate")
    arguments = parser.parse_args()
    if arguments.folder.is_dir():
        print_published(arguments.folder)
    else:
        print(f"no published arrays at {arguments.folder}: nothing planted in them")
    print_simulated(arguments.honest)


if __name__ == "__main__":
    main()
