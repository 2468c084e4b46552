"""Findings about decisions and thresholds: applied in another order, under other names, fitted on the truth itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from moodbook.evaluation import threshold_traces as trace
from moodbook.evaluation.findings import Evidence, Finding, f_scores, honest_decisions
from moodbook.evaluation.thresholds import decide, fit_thresholds
from moodbook.tags import TagSet


def audit_decisions(truth: np.ndarray, probabilities: np.ndarray, tags: TagSet, evidence: Evidence) -> list[Finding]:
    """Look where the decisions and thresholds of a submission come from.

    Args:
        truth: Which tracks have which tags.
        probabilities: Finite scores, float64.
        tags: Names of the columns.
        evidence: What else was handed in.

    Raises:
        DependencyError: scikit-learn is not installed.
    """
    decisions, thresholds = evidence.decisions, evidence.thresholds
    findings: list[Finding] = []
    if decisions is not None and thresholds is not None:
        findings += _explained(truth, probabilities, tags, decisions, thresholds)
    elif decisions is not None:
        findings += _axis_of_decisions(truth, probabilities, tags, decisions)
    fits = {"the ground truth": fit_thresholds(truth, probabilities, tags, without_positives="never")}
    if evidence.validation is not None:
        fits["the validation part"] = fit_thresholds(
            evidence.validation.ground_truth,
            evidence.validation.probabilities,
            tags,
            without_positives="never",
        )
    if not findings:
        findings += _renamed(truth, probabilities, tags, decisions, thresholds, fits)
    findings += _fitted_on_truth(truth, probabilities, tags, evidence, fits["the ground truth"], findings)
    return findings


def _explained(
    truth: np.ndarray,
    probabilities: np.ndarray,
    tags: TagSet,
    decisions: np.ndarray,
    thresholds: Mapping[str, float],
) -> list[Finding]:
    found = trace.explain_decisions(probabilities, decisions, thresholds, tags)
    if found.description == trace.BY_NAME or (
        found.description != trace.NOT_STRICT and found.differ_by_name <= trace.DIFFERENT_SHARE * found.cells
    ):
        return []
    evidence: dict[str, float | int | str | list[str]] = {
        "cells": found.cells,
        "differ_by_name": found.differ_by_name,
        "reading": found.description,
        "differ_by_reading": found.differ_explained,
    }
    right = f_scores(truth, decide(probabilities, thresholds, tags), probabilities, tags)
    differ = f"{found.differ_by_name:,} of {found.cells:,} cells"
    if found.differ_explained > trace.EXACT_SHARE * found.cells:
        return [
            Finding(
                "decisions-unexplained",
                "warning",
                f"the decisions are not predictions > thresholds: {differ} differ by tag name, and at least "
                f"{found.differ_explained:,} in any other order",
                evidence,
                right,
            )
        ]
    if found.description == trace.NOT_STRICT:
        return [
            Finding(
                "decisions-not-strict",
                "warning",
                f"the decisions are predictions >= thresholds ({found.differ_explained:,} cells differ); the protocol "
                f"is a strict >, from which {differ} differ",
                evidence,
                right,
            )
        ]
    return [
        Finding(
            "thresholds-in-another-order",
            "error",
            f"the thresholds were applied {found.description}: so read, {found.differ_explained:,} of {found.cells:,} "
            f"cells differ from the decisions, by tag name {found.differ_by_name:,} do. Precision, recall and F are "
            "those of scrambled thresholds",
            evidence,
            right,
        )
    ]


def _axis_of_decisions(
    truth: np.ndarray, probabilities: np.ndarray, tags: TagSet, decisions: np.ndarray
) -> list[Finding]:
    found = trace.compare_axes(probabilities, decisions)
    if found.unexplained_as_named <= trace.DIFFERENT_SHARE * found.cells:
        return []
    evidence: dict[str, float | int | str | list[str]] = {
        "cells": found.cells,
        "unexplained_as_named": found.unexplained_as_named,
        "unexplained_assigned": found.unexplained_assigned,
    }
    if found.unexplained_assigned > trace.EXACT_SHARE * found.cells:
        return [
            Finding(
                "decisions-unexplained",
                "note",
                f"no threshold a tag gives the decisions ({found.unexplained_as_named:,} of {found.cells:,} cells "
                "differ at the least): they were made otherwise, such as the top tags of each track, or from other "
                "predictions",
                evidence,
            )
        ]
    # Column j of the predictions explains column k of the decisions: those decisions belong to tag j.
    restored = np.zeros_like(decisions)
    restored[:, found.column_of_tag] = decisions
    return [
        Finding(
            "decisions-in-another-order",
            "error",
            f"the columns of the decisions stand in another order than those of the predictions: "
            f"{found.unexplained_as_named:,} of {found.cells:,} cells fit no threshold on their own column, "
            f"{found.unexplained_assigned:,} once reordered",
            evidence,
            f_scores(truth, restored, probabilities, tags),
        )
    ]


def _renamed(
    truth: np.ndarray,
    probabilities: np.ndarray,
    tags: TagSet,
    decisions: np.ndarray | None,
    thresholds: Mapping[str, float] | None,
    fits: Mapping[str, Mapping[str, float]],
) -> list[Finding]:
    """Look for thresholds under wrong names, where the decisions do not give them away."""
    if thresholds is not None:
        for source, fitted in fits.items():
            found = trace.find_renamed(thresholds, fitted, source)
            if found is not None:
                return [
                    Finding(
                        "thresholds-in-another-order",
                        "error",
                        f"the thresholds are those fitted on {source}, under other tags' names: "
                        f"{found.same_under_other_names} of {found.tags} values are the same, {found.same_by_name} "
                        "under their own name",
                        {
                            "tags": found.tags,
                            "same_under_other_names": found.same_under_other_names,
                            "same_by_name": found.same_by_name,
                        },
                        f_scores(truth, decide(probabilities, fitted, tags), probabilities, tags),
                    )
                ]
    elif decisions is not None:
        for source, fitted in fits.items():
            read = trace.explain_decisions(probabilities, decisions, fitted, tags)
            few = read.differ_explained <= trace.EXACT_SHARE * read.cells
            if few and "order" in read.description and read.differ_by_name > trace.DIFFERENT_SHARE * read.cells:
                return [
                    Finding(
                        "thresholds-in-another-order",
                        "error",
                        f"the decisions are those of thresholds fitted on {source} in another tag order: "
                        f"{read.differ_explained:,} of {read.cells:,} cells differ, in the right order "
                        f"{read.differ_by_name:,}",
                        {
                            "cells": read.cells,
                            "differ_by_name": read.differ_by_name,
                            "differ_by_reading": read.differ_explained,
                        },
                        f_scores(truth, decide(probabilities, fitted, tags), probabilities, tags),
                    )
                ]
    return []


def _fitted_on_truth(
    truth: np.ndarray,
    probabilities: np.ndarray,
    tags: TagSet,
    evidence: Evidence,
    fitted: Mapping[str, float],
    so_far: Sequence[Finding],
) -> list[Finding]:
    """Look for thresholds chosen on the very truth they are scored on."""
    found = None
    if evidence.thresholds is not None:
        by_name = decide(probabilities, evidence.thresholds, tags)
        found = trace.compare_with_fit(truth, probabilities, by_name, tags)
    if (found is None or not trace.is_fitted(found)) and evidence.decisions is not None:
        found = trace.compare_with_fit(truth, probabilities, evidence.decisions, tags)
    scrambled = any("fitted on the ground truth" in finding.message for finding in so_far)
    if found is None or not (trace.is_fitted(found) or scrambled):
        return []
    honest = [
        f_scores(truth, decisions, probabilities, tags)
        for decisions in honest_decisions(truth, probabilities, tags, evidence.validation, evidence.artists)
    ]
    what = (
        f"for {found.same_tags} of {found.tags} tags they decide exactly the tracks that thresholds fitted there do "
        f"({found.differ:,} of {found.cells:,} cells differ)"
        if trace.is_fitted(found)
        else "their values are those of a fit there, in another tag order"
    )
    return [
        Finding(
            "thresholds-fitted-on-truth",
            "warning",
            f"the thresholds were fitted on the ground truth they are scored on: {what}. Precision, recall and F are "
            "an oracle's, which no system reaches on new tracks; the honest figures are fitted elsewhere",
            {"tags": found.tags, "same_tags": found.same_tags, "cells": found.cells, "differ": found.differ},
            {name: float(np.mean([scores[name] for scores in honest])) for name in honest[0]} if honest else {},
        )
    ]
