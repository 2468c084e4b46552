"""Is the submission what it claims to be? Findings with their evidence, and what the numbers would be.

A finding states what is seen, not who is to blame: a column that learned another tag and a column under a wrong name
look the same. Levels: ``error``, the numbers are wrong or cannot be had; ``warning``, they do not mean what they seem
to; ``note``, something cannot be checked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from moodbook.evaluation.decision_audit import audit_decisions
from moodbook.evaluation.findings import Evidence, Finding, rank_scores, some, wrong_shape
from moodbook.evaluation.row_order import find_row_order, find_unrelated_rows
from moodbook.evaluation.tag_axis import find_tag_permutation
from moodbook.tags import TagSet


def audit(
    ground_truth: np.ndarray, probabilities: np.ndarray, tags: TagSet, evidence: Evidence | None = None
) -> tuple[Finding, ...]:
    """Look for every fault a submission is known to have had.

    Args:
        ground_truth: Which tracks have which tags, bool (tracks, tags).
        probabilities: What was submitted, of any shape and any values.
        tags: Names of the columns.
        evidence: What else is known.

    Returns:
        The findings, the gravest first. Where the shape is wrong or a score is not finite, the submission cannot be
        scored, and nothing else is looked for.

    Raises:
        DependencyError: scikit-learn is not installed.
    """
    evidence = evidence or Evidence()
    faults = unscorable(ground_truth, probabilities, tags)
    if faults:
        return tuple(faults)
    probabilities = probabilities.astype(np.float64)
    findings = [
        *_values(ground_truth, probabilities, tags),
        *_tag_axis(ground_truth, probabilities, tags, evidence),
        *_rows(ground_truth, probabilities, tags, evidence),
        *audit_decisions(ground_truth, probabilities, tags, evidence),
    ]
    grave = {"error": 0, "warning": 1, "note": 2}
    return tuple(sorted(findings, key=lambda finding: grave[finding.level]))


def unscorable(truth: np.ndarray, probabilities: np.ndarray, tags: TagSet) -> list[Finding]:
    """Find what forbids scoring at all: a wrong shape, or scores that are not finite."""
    if probabilities.shape != truth.shape:
        return [wrong_shape(truth.shape, probabilities.shape)]
    bad = ~np.isfinite(probabilities)
    if not bad.any():
        return []
    columns = [name for k, name in enumerate(tags) if bad[:, k].any()]
    message = (
        f"{int(bad.sum()):,} of {bad.size:,} predictions are not finite numbers, in {len(columns)} of {len(tags)} "
        f"tags ({some(columns)}): hand in a number for every track and tag"
    )
    return [Finding("not-finite", "error", message, {"cells": int(bad.sum()), "tags": columns})]


def _values(truth: np.ndarray, probabilities: np.ndarray, tags: TagSet) -> list[Finding]:
    findings = []
    constant = [name for k, name in enumerate(tags) if np.ptp(probabilities[:, k]) == 0]
    if constant:
        findings.append(
            Finding(
                "constant-column",
                "warning",
                f"{len(constant)} of {len(tags)} columns hold one value for every track ({some(constant)}): their "
                "ROC-AUC is 0.5 and their PR-AUC the tag's frequency, whatever the value",
                {"tags": constant},
            )
        )
    outside = int(((probabilities < 0) | (probabilities > 1)).sum())
    if outside:
        findings.append(
            Finding(
                "outside-unit-interval",
                "warning",
                f"{outside:,} of {probabilities.size:,} scores lie outside [0, 1] (from {probabilities.min():g} to "
                f"{probabilities.max():g}): they are no probabilities. ROC-AUC and PR-AUC a tag need only their order; "
                "micro averages compare tags with each other, and calibration is undefined",
                {"cells": outside, "lowest": float(probabilities.min()), "highest": float(probabilities.max())},
            )
        )
    empty = [name for k, name in enumerate(tags) if not truth[:, k].any()]
    if empty:
        findings.append(
            Finding(
                "tag-without-positives",
                "warning",
                f"no track has {some(empty)}: ROC-AUC and PR-AUC are undefined for {len(empty)} of {len(tags)} tags "
                "and the macro averages leave them out; their F counts as 0",
                {"tags": empty},
            )
        )
    return findings


def _tag_axis(truth: np.ndarray, probabilities: np.ndarray, tags: TagSet, evidence: Evidence) -> list[Finding]:
    found = find_tag_permutation(truth, probabilities, evidence.artists)
    if found is None:
        return []
    names = [f"{tags.names[found.column_of_tag[k]]} -> {tags.names[k]}" for k in found.tags]
    return [
        Finding(
            "tag-axis-permuted",
            "error",
            f"{len(found.tags)} of {len(tags)} columns predict each other's tags ({some(names, 4)}): mean ROC-AUC "
            f"{found.roc_auc_as_named:.3f} as named, {found.roc_auc_assigned:.3f} reassigned ({found.z:.1f} standard "
            "errors). Store columns with their names. The reassigned figures are chosen on the truth: an upper bound",
            {
                "moved": names,
                "roc_auc_as_named": found.roc_auc_as_named,
                "roc_auc_assigned": found.roc_auc_assigned,
                "z": found.z,
            },
            rank_scores(truth, probabilities[:, list(found.column_of_tag)], tags),
        )
    ]


def _rows(truth: np.ndarray, probabilities: np.ndarray, tags: TagSet, evidence: Evidence) -> list[Finding]:
    findings = []
    if not evidence.keyed:
        findings.append(
            Finding(
                "rows-not-keyed",
                "note",
                "the predictions do not name their tracks: their order is taken on trust. Hand in a CSV with a column "
                "track_id and a header of tags",
            )
        )
    ordered = find_row_order(truth, probabilities, _orders(evidence.track_ids))
    if ordered is not None:
        findings.append(
            Finding(
                "rows-in-another-order",
                "error",
                f"the rows fit the tracks far better {ordered.description}: macro ROC-AUC {ordered.roc_auc_ordered:.3f}"
                f" instead of {ordered.roc_auc_given:.3f}, {ordered.z:.1f} standard deviations of chance more",
                {
                    "order": ordered.description,
                    "roc_auc_given": ordered.roc_auc_given,
                    "roc_auc_ordered": ordered.roc_auc_ordered,
                    "z": ordered.z,
                },
                rank_scores(truth, probabilities[ordered.rows], tags),
            )
        )
        return findings
    unrelated = find_unrelated_rows(truth, probabilities)
    if unrelated is not None:
        findings.append(
            Finding(
                "rows-unrelated",
                "error",
                f"the rows say nothing about their tracks (macro ROC-AUC {unrelated.roc_auc:.3f}, within chance), yet "
                "they are a trained model's: columns go together as the tags do (correlation "
                f"{unrelated.structure_correlation:.2f}, {unrelated.z_structure:.1f} standard deviations) and their "
                f"means follow the tags' frequencies (rank correlation {unrelated.frequency_correlation:.2f}). The "
                "rows are shuffled or belong to other tracks, or the model learned which tags go together and nothing "
                "else. What they would score in order cannot be known"
                + (
                    ""
                    if np.isnan(unrelated.roc_auc_expected)
                    else f"; by their own spread they promise a ROC-AUC of about {unrelated.roc_auc_expected:.2f}"
                ),
                {
                    "roc_auc": unrelated.roc_auc,
                    "z_chance": unrelated.z_chance,
                    "structure_correlation": unrelated.structure_correlation,
                    "z_structure": unrelated.z_structure,
                    "frequency_correlation": unrelated.frequency_correlation,
                },
            )
        )
    return findings


def _orders(track_ids: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Give the orders in which a table is often written instead of that of the list."""
    if track_ids is None:
        return {}
    by_text = np.argsort(np.argsort(np.array(track_ids), kind="stable"), kind="stable")
    orders = {"sorted by track id": by_text}
    digits = ["".join(c for c in track if c in "0123456789") for track in track_ids]
    if all(digits):
        numbers = np.argsort(np.array([int(number[-18:]) for number in digits]), kind="stable")
        orders["sorted by track number"] = np.argsort(numbers, kind="stable")
        short = np.argsort(np.array([number.lstrip("0") for number in digits]), kind="stable")
        orders["sorted by track number as text"] = np.argsort(short, kind="stable")
    return {name: rows for name, rows in orders.items() if (rows != np.arange(len(rows))).any()}
