"""The verdict as one HTML file that needs nothing else: no network, no script, light and dark, phone and desk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from moodbook.errors import DataError
from moodbook.evaluation.calibration import expected_calibration_error, reliability_curve
from moodbook.evaluation.charts import confusion_plot, precision_recall_panel, reliability_diagram
from moodbook.evaluation.errors_seen import find_confusions, rank_tracks
from moodbook.evaluation.reference import Reference
from moodbook.evaluation.report_style import STYLE
from moodbook.evaluation.tables import AVERAGES, COLUMN_TITLES, SCORES, compared, describe, ends, figure, would_be
from moodbook.evaluation.verdict import JudgedSystem, System, Verdict
from moodbook.files import whole_file
from moodbook.tags import TagSet

WORST_TRACKS = 20
CONFUSED_PAIRS = 12


def write_report(
    path: str | Path,
    verdict: Verdict,
    reference: Reference,
    system: System,
    keep: Bool[np.ndarray, " tracks"] | None = None,
) -> None:
    """Write the report on the first system of a verdict.

    Args:
        path: The HTML file.
        verdict: What the judge said.
        reference: The ground truth it was said about.
        system: The submission of the verdict's first system.
        keep: Which tracks counted.

    Raises:
        DataError: The file cannot be written.
        DependencyError: scikit-learn is not installed.
    """
    path = Path(path)
    try:
        with whole_file(path) as part:
            part.write_text(report_page(verdict, reference, system, keep), encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write the report '{path}': {error}") from error


def report_page(
    verdict: Verdict, reference: Reference, system: System, keep: Bool[np.ndarray, " tracks"] | None = None
) -> str:
    """Give the report as an HTML page.

    Raises:
        DependencyError: scikit-learn is not installed.
    """
    kept = np.ones(len(reference.ground_truth), dtype=bool) if keep is None else keep
    truth, probabilities = reference.ground_truth[kept], system.probabilities[kept]
    ids = [
        f"row {row}" if reference.track_ids is None else reference.track_ids[row]
        for row in np.flatnonzero(kept).tolist()
    ]
    judged = verdict.systems[0]
    body = [
        f"<h1>{escape(judged.name)}</h1><p class=muted>{escape(describe(verdict))}</p>",
        _audit(verdict),
        _scores(verdict),
        _differences(verdict),
        _details_of(verdict),
        _per_tag(judged),
        _curves(truth, probabilities, judged, verdict.tags),
        _calibration_and_confusions(truth, probabilities, verdict.tags),
        _worst(truth, probabilities, ids, verdict.tags),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>{escape(judged.name)}: evaluation</title><style>{STYLE}</style></head>'
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _section(title: str, explanation: str, *content: str) -> str:
    lead = f"<p class=muted>{escape(explanation)}</p>" if explanation else ""
    return f"<section><h2>{escape(title)}</h2>{lead}{''.join(content)}</section>"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> str:
    """Build a table of cells that are HTML already; the first columns are text, the others numbers."""

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}>{cell}</{tag}>" if k < text_columns else f"<{tag} class=number>{cell}</{tag}>"
            for k, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<div class=scroll><table><thead><tr>{cells(header, 'th')}</tr></thead><tbody>{body}</tbody></table></div>"


def _audit(verdict: Verdict) -> str:
    parts = []
    for judged in verdict.systems:
        title = f"<h3>{escape(judged.name)}</h3>" if len(verdict.systems) > 1 else ""
        parts.append(title + (_findings(judged) if judged.findings else "<p class=muted>Nothing found.</p>"))
    return _section("Audit", "", *parts)


def _findings(judged: JudgedSystem) -> str:
    items = []
    for finding in judged.findings:
        corrected = f"<p>It would be: <strong>{escape(would_be(finding))}</strong></p>" if finding.would_be else ""
        items.append(
            f'<li class="{finding.level}"><strong>{escape(finding.level)}: '
            f"{escape(finding.kind.replace('-', ' '))}</strong><p>{escape(_sentence(finding.message))}</p>"
            f"{corrected}</li>"
        )
    return f"<ul class=findings>{''.join(items)}</ul>"


def _sentence(message: str) -> str:
    return message[:1].upper() + message[1:] + "."


def _scores(verdict: Verdict) -> str:
    parts = []
    for judged in verdict.systems:
        official = judged.scores.official()
        rows = [
            [score]
            + [
                _with_intervals(
                    figure(official[name]),
                    [(unit, ends(named[name])) for unit, named in judged.intervals.items() if name in named],
                )
                for name in (f"{score}-{average}" for average in AVERAGES)
            ]
            for score in SCORES
        ]
        title = f"<h3>{escape(judged.name)}</h3>" if len(verdict.systems) > 1 else ""
        note = f"<p class=muted>Precision, recall and F: {escape(judged.decided_by)}.</p>"
        scores = f"<div>{_table(['score', *AVERAGES], rows)}{note}</div>"
        parts += [title, f"<div class=side>{scores}<div>{_f_columns(judged)}</div></div>"]
        parts += [f"<p class=muted>{escape(warning)}.</p>" for warning in judged.scores.warnings]
    return _section("Scores", "", *parts)


def _with_intervals(value: str, intervals: Sequence[tuple[str, str]]) -> str:
    """Write a figure and, small below it, its intervals."""
    small = "".join(f"<small>{ends_text} {escape(unit)}</small>" for unit, ends_text in intervals)
    return f"<strong>{value}</strong>{small}"


def _f_columns(judged: JudgedSystem) -> str:
    rows, meanings = [], []
    for column in judged.columns:
        cells = [escape(COLUMN_TITLES[column.name])]
        for average in AVERAGES:
            name = f"F-score-{average}"
            shown = [(unit, ends(named[name])) for unit, named in column.intervals.items()]
            cells.append(_with_intervals(figure(column.scores[name]), shown))
        rows.append(cells)
        meanings.append(f"<li>{escape(COLUMN_TITLES[column.name])}: {escape(column.meaning)}</li>")
    return _table(["F", *AVERAGES], rows) + f"<ul class=muted>{''.join(meanings)}</ul>"


def _differences(verdict: Verdict) -> str:
    if not verdict.differences:
        return ""
    parts = []
    for (first, second), differences in groupby(verdict.differences, lambda one: (one.first, one.second)):
        rows = [
            [
                compared(difference),
                _with_intervals(
                    f"{difference.difference:+.4f}",
                    [(unit, ends(interval, signed=True)) for unit, interval in difference.intervals.items()],
                ),
                ("clear" if difference.clear else "not clear") if difference.intervals else "",
            ]
            for difference in differences
        ]
        title = f"<h3>{escape(first)} minus {escape(second)}</h3>"
        parts.append(f"<div>{title}{_table(['score', 'difference', ''], rows)}</div>")
    return _section(
        "Differences",
        "Every pair of systems, both on the same resamples. Clear: no interval holds zero.",
        f"<div class=side>{''.join(parts)}</div>",
    )


def _details_of(verdict: Verdict) -> str:
    if len(verdict.systems) == 1:
        return ""
    first = escape(verdict.systems[0].name)
    return f"<p class=only>What follows is about <strong>{first}</strong> alone, the first of the systems.</p>"


def _per_tag(judged: JudgedSystem) -> str:
    rows = []
    ordered = sorted(
        judged.scores.per_tag, key=lambda one: -1.0 if math.isnan(one.roc_auc) else one.roc_auc, reverse=True
    )
    for one in ordered:
        interval = judged.per_tag[one.tag].roc_auc
        if math.isnan(one.roc_auc):
            bar = "<span class=muted>undefined</span>"
        else:
            low, high = (one.roc_auc, one.roc_auc) if math.isnan(interval.low) else (interval.low, interval.high)
            bar = (
                f'<i class=range style="left:{_place(low):.1f}%;right:{100 - _place(high):.1f}%"></i>'
                f'<i class=point style="left:{_place(one.roc_auc):.1f}%"></i>'
            )
        numbers = "".join(
            f"<span class=number>{figure(value)}<small>{ends(surety)}</small></span>"
            for value, surety in ((one.roc_auc, interval), (one.pr_auc, judged.per_tag[one.tag].pr_auc))
        )
        rows.append(
            f"<div class=tag><span title='{escape(one.tag)}'>{escape(one.tag)}</span><span class=bar>{bar}</span>"
            f"{numbers}<span class=number>{one.support}</span></div>"
        )
    units = list(judged.intervals)
    with_intervals = f"With their 95 % intervals over {units[-1]}. " if units else ""
    head = (
        "<div class='tag head'><span>tag</span><span class=axis><span>0.3</span><span>0.5</span><span>1</span></span>"
        "<span class=number>ROC-AUC</span><span class=number>PR-AUC</span><span class=number>tracks</span></div>"
    )
    return _section(
        "ROC-AUC and PR-AUC of each tag",
        f"{with_intervals}The bar shows ROC-AUC; its line is chance, 0.5.",
        f"<div class=tags>{head}{''.join(rows)}</div>",
    )


def _place(value: float) -> float:
    """Place a ROC-AUC on the bar, which runs from 0.3 to 1."""
    return 100 * min(1.0, max(0.0, (value - 0.3) / 0.7))


def _curves(truth: np.ndarray, probabilities: np.ndarray, judged: JudgedSystem, tags: TagSet) -> str:
    panels = []
    for one in sorted(judged.scores.per_tag, key=lambda one: 0.0 if math.isnan(one.pr_auc) else -one.pr_auc):
        k = tags.column(one.tag)
        interval = judged.per_tag[one.tag].pr_auc
        hover = f"{one.tag}: PR-AUC {figure(one.pr_auc)} {ends(interval)}, frequency {one.support / len(truth):.4f}"
        panels.append(
            f'<figure title="{escape(hover)}">'
            f"{precision_recall_panel(truth[:, k], probabilities[:, k], figure(one.pr_auc), hover)}"
            f"<figcaption>{escape(one.tag)}</figcaption></figure>"
        )
    return _section(
        "Precision and recall of each tag",
        "Recall to the right, precision upwards, both from 0 to 1, precision on a square-root scale; dashed: the tag's "
        "frequency, which chance gives. The number is PR-AUC.",
        f"<div class=panels>{''.join(panels)}</div>",
    )


def _calibration_and_confusions(truth: np.ndarray, probabilities: np.ndarray, tags: TagSet) -> str:
    if probabilities.min() < 0 or probabilities.max() > 1:
        calibration = "<p>The scores lie outside [0, 1]: they are no probabilities, and calibration is undefined.</p>"
    else:
        curve = reliability_curve(truth, probabilities)
        each = [expected_calibration_error(truth[:, k], probabilities[:, k]) for k in range(len(tags))]
        worst = tags.names[int(np.argmax(each))]
        calibration = (
            f"<p>Expected calibration error <strong>{curve.expected_error:.4f}</strong> over all cells, "
            f"<strong>{float(np.mean(each)):.4f}</strong> as the mean of the tags "
            f"(worst: {escape(worst)}, {max(each):.4f}). The mean probability is {probabilities.mean():.4f}, the tags' "
            f"mean frequency {truth.mean():.4f}.</p>{reliability_diagram(curve)}"
            "<p class=muted>Bins of equally many cells; on the dashed line probabilities come true.</p>"
        )
    return (
        "<div class=pair>"
        + _section("Calibration", "", calibration)
        + _confusions(truth, probabilities, tags)
        + "</div>"
    )


def _confusions(truth: np.ndarray, probabilities: np.ndarray, tags: TagSet) -> str:
    found = find_confusions(truth, probabilities)
    known = np.argwhere(~np.isnan(found.pull) & ~np.isnan(found.lift))
    if not len(known):
        return _section("Tags that mislead", "Too few tracks for each pair of tags.")
    names = [f"{tags.names[a]} draws {tags.names[b]}" for a, b in known]
    lift = np.array([found.lift[a, b] for a, b in known])
    pull = np.array([found.pull[a, b] for a, b in known])
    strongest = np.argsort(-pull, kind="stable")[:CONFUSED_PAIRS]
    rows = [
        [escape(names[k]), f"{pull[k]:.3f}", f"{lift[k]:.1f}", f"{int(found.tracks[known[k][0], known[k][1]])}"]
        for k in strongest
    ]
    return _section(
        "Tag co-occurrence against errors",
        "Each dot is a pair of tags. Upwards: how surely having the one raises the score of the other on tracks that "
        "do not have it (0.5: not at all). To the right: how often they truly go together.",
        f"<p>Errors follow co-occurrence with a rank correlation of <strong>{found.correlation():.2f}</strong>.</p>",
        confusion_plot(lift, pull, names),
        _table(["strongest", "pull", "together", "tracks"], rows),
    )


def _worst(truth: np.ndarray, probabilities: np.ndarray, ids: Sequence[str], tags: TagSet) -> str:
    def written(pairs: Sequence[tuple[int, float]]) -> str:
        return ", ".join(f"{escape(tags.names[k])} <span class=muted>{100 * share:.0f}</span>" for k, share in pairs)

    rows = [
        [escape(ids[track.row]), f"{100 * track.mean_percentile:.1f}", written(track.tags), written(track.instead)]
        for track in rank_tracks(truth, probabilities, WORST_TRACKS)
    ]
    return _section(
        "The worst tracks",
        "How a track's own tags score, in percent of tracks that score lower for the same tag (50: no skill), and "
        "which other tags score highest instead.",
        _table(["track", "percentile", "its tags", "instead"], rows, text_columns=4),
    )
