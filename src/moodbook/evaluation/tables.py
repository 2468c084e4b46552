"""A verdict as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from moodbook.evaluation.findings import Finding
from moodbook.evaluation.intervals import Interval
from moodbook.evaluation.verdict import Difference, JudgedSystem, Verdict

SCORES = ("ROC-AUC", "PR-AUC", "precision", "recall", "F-score")
AVERAGES = ("macro", "micro")
COLUMN_TITLES = {"official": "official (oracle)", "submitted": "as submitted", "honest": "honest"}
LEVEL_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def verdict_tables(verdict: Verdict) -> RenderableType:
    """Lay the verdict out: for each system its scores, the readings of F and the audit; then the comparisons."""
    return Group(*_parts(verdict))


def describe(verdict: Verdict) -> str:
    """Say in one line what was judged."""
    parts = [
        f"protocol {verdict.protocol}",
        f"{verdict.tracks:,} tracks",
        f"{len(verdict.tags)} tags",
    ]
    if verdict.artists is not None:
        parts.append(f"{verdict.artists:,} artists")
    if verdict.duplicates_left_out:
        parts.append(f"{verdict.duplicates_left_out} duplicates left out")
    if units := list(verdict.systems[0].intervals):
        drawn = ", and of ".join(units)
        parts.append(f"95 % intervals from {verdict.resamples:,} resamples of {drawn} (seed {verdict.seed})")
    return "; ".join([", ".join(parts)] + ([] if verdict.too_narrow is None else [verdict.too_narrow]))


def figure(value: float) -> str:
    """Write a score with four digits, an undefined one as a dash."""
    return "-" if math.isnan(value) else f"{value:.4f}"


def ends(interval: Interval, signed: bool = False) -> str:
    """Write an interval; three digits, for its own ends are no surer."""
    if math.isnan(interval.low):
        return "-"
    return f"[{interval.low:+.3f}, {interval.high:+.3f}]" if signed else f"[{interval.low:.3f}, {interval.high:.3f}]"


def _parts(verdict: Verdict) -> Iterator[RenderableType]:
    yield Text(describe(verdict))
    for system in verdict.systems:
        yield Text()
        yield Text(system.name, style="bold")
        yield _scores(system)
        yield Text(f"  precision, recall and F: {system.decided_by}", style="dim")
        yield Text()
        yield _f_columns(system)
        for column in system.columns:
            yield Text(f"  {COLUMN_TITLES[column.name]}: {column.meaning}", style="dim")
        for warning in system.scores.warnings:
            yield Text(f"  {warning}", style="dim")
        yield _audit(system)
    for (first, second), differences in groupby(verdict.differences, lambda one: (one.first, one.second)):
        yield Text()
        yield Text(f"{first} - {second}", style="bold")
        yield _differences(list(differences))


def _scores(system: JudgedSystem) -> Table:
    """One line a score: with two averages side by side the table would not fit 80 columns."""
    table = Table(box=None, pad_edge=False, header_style="dim", collapse_padding=True)
    table.add_column("  score")
    table.add_column("", justify="right")
    for unit in system.intervals:
        table.add_column(f"over {unit}")
    official = system.scores.official()
    for average in AVERAGES:
        for score in SCORES:
            name = f"{score}-{average}"
            shown = [_interval_of(named, name) for named in system.intervals.values()]
            table.add_row(f"  {score} {average}", figure(official[name]), *shown)
    return table


def _f_columns(system: JudgedSystem) -> Table:
    """The readings of F side by side."""
    table = Table(box=None, pad_edge=False, header_style="dim", collapse_padding=True)
    table.add_column("  F")
    for column in system.columns:
        table.add_column(COLUMN_TITLES[column.name])
    for average in AVERAGES:
        name = f"F-score-{average}"
        table.add_row(f"  {average}", *(figure(column.scores[name]) for column in system.columns))
        for unit in system.columns[0].intervals:
            shown = [_interval_of(column.intervals[unit], name) for column in system.columns]
            table.add_row(f"    over {unit}", *shown)
    return table


def _interval_of(named: Mapping[str, Interval], name: str) -> str:
    return escape(ends(named[name])) if name in named else ""


def _audit(system: JudgedSystem) -> RenderableType:
    if not system.findings:
        return Text("  audit: nothing found")
    lines: list[RenderableType] = [Text()]
    for finding in system.findings:
        line = Text()
        line.append(f"{finding.level} ", style=LEVEL_STYLES[finding.level])
        line.append(f"{finding.kind}: ", style="bold")
        line.append(finding.message)
        if finding.would_be:
            line.append(f". It would be: {would_be(finding)}")
        lines.append(Padding(line, (0, 0, 0, 2)))
    return Group(*lines)


def would_be(finding: Finding) -> str:
    """Write what the scores would be without the fault."""
    return ", ".join(f"{name} {figure(value)}" for name, value in finding.would_be.items())


def compared(difference: Difference) -> str:
    """Say which score is compared, and of whose decisions."""
    return difference.score if difference.reading is None else f"{difference.score} {COLUMN_TITLES[difference.reading]}"


def _differences(differences: Sequence[Difference]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", collapse_padding=True)
    units = list(differences[0].intervals)
    # As wide in every pair's table, so that the columns stand under each other.
    table.add_column("  difference", min_width=len("  F-score-macro as submitted"))
    table.add_column("", justify="right")
    for unit in units:
        table.add_column(f"over {unit}")
    if units:
        table.add_column("")
    for difference in differences:
        cells = [escape(ends(difference.intervals[unit], signed=True)) for unit in units]
        if units:
            cells.append("clear" if difference.clear else "not clear")
        table.add_row(f"  {compared(difference)}", f"{difference.difference:+.4f}", *cells)
    return table
