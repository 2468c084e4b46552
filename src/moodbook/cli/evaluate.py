"""`moodbook evaluate`: score, audit and compare submissions."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from moodbook.cli.errors import ends_with_exit_code
from moodbook.errors import DataError

if TYPE_CHECKING:
    from moodbook.evaluation.findings import Validation
    from moodbook.evaluation.reference import Reference
    from moodbook.evaluation.verdict import System
    from moodbook.tags import TagSet

_SEVERAL = ("--compare", "--mean")
_NAMED = 2  # A mean of more systems is called by their number.
_PLAIN_WIDTH = 100  # Columns of the tables where the output is no terminal.


class Protocol(StrEnum):
    """Rules of evaluation that Moodbook knows."""

    MEDIAEVAL2019 = "mediaeval2019"


class EvaluateCommand(TyperCommand):
    """Lets `--compare A B` stand for `--compare A --compare B`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values."""
        spread: list[str] = []
        option = ""
        for arg in args:
            if arg.startswith("-"):
                option = arg if arg in _SEVERAL else ""
                if not option:
                    spread.append(arg)
            elif option:
                spread += [option, arg]
            else:
                spread.append(arg)
        return super().parse_args(ctx, spread)


@ends_with_exit_code
def evaluate(
    ground_truth: Annotated[
        Path, typer.Option("--ground-truth", "-g", help="npy, CSV or TSV of 0 and 1, or a track list with tags.")
    ],
    tags: Annotated[Path, typer.Option("--tags", "-l", help="The tags in column order, one a line.")],
    predictions: Annotated[
        Path | None, typer.Option("--predictions", "-p", help="The system's scores: npy, or CSV or TSV with names.")
    ] = None,
    decisions: Annotated[
        Path | None, typer.Option("--decisions", "-d", help="Its decisions, 0 and 1, in a file of the same kinds.")
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option("--thresholds", "-t", help="Its thresholds by tag name: JSON or the official txt.")
    ] = None,
    tracks: Annotated[
        Path | None, typer.Option("--tracks", help="Track list that names the rows of the ground truth.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="Rules of evaluation.")] = Protocol.MEDIAEVAL2019,
    validation_ground_truth: Annotated[
        Path | None, typer.Option("--validation-ground-truth", help="Truth of the validation part.")
    ] = None,
    validation_predictions: Annotated[
        Path | None, typer.Option("--validation-predictions", help="Scores on the validation part.")
    ] = None,
    artists: Annotated[
        Path | None, typer.Option("--artists", help="Table of track_id and artist, where the track list has none.")
    ] = None,
    compare: Annotated[
        list[Path] | None, typer.Option("--compare", help="Scores of other systems to compare with.")
    ] = None,
    mean: Annotated[
        list[Path] | None,
        typer.Option("--mean", help="Systems whose mean scores are a further system, or the one judged."),
    ] = None,
    count_duplicates_once: Annotated[
        str | None,
        typer.Option(
            "--count-duplicates-once",
            metavar="FILE|auto",
            help="Groups of track ids that are one recording, a group a line; or auto: tracks with the same scores.",
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(min=0, help="Bootstrap resamples behind the intervals; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Fixes the resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
    report: Annotated[Path | None, typer.Option("--report", help="Write an HTML report to this file.")] = None,
) -> None:
    """Score a submission as MediaEval 2019 does, audit it, and compare it.

    Prints the ten official scores with 95 % intervals; three readings of F
    (official: thresholds fitted on this truth, an oracle; as submitted;
    honest: fitted on validation, or on the other half of the tracks); and
    what the audit found: thresholds in another tag order, exchanged columns,
    shuffled rows, thresholds fitted on test, with the evidence.

    Rows and columns are matched by name where the files have names: a CSV
    with a first column track_id and a header of tags. A bare npy is taken by
    position, in the order of --tracks and --tags.

    Examples:
      moodbook evaluate -g test.tsv -l tags.txt -p scores.csv -t thresholds.json
      moodbook evaluate -g truth.npy -l tags.txt -p a.npy --compare b.npy c.npy
      moodbook evaluate -g test.tsv -l tags.txt --mean a.npy b.npy --report r.html

    Exit code: 0 judged (whatever the audit found), 2 it could not be scored.
    """
    from rich.console import Console

    from moodbook.evaluation.duplicates import find_duplicates, keep_first, read_duplicates
    from moodbook.evaluation.judge import judge
    from moodbook.evaluation.reference import read_reference
    from moodbook.evaluation.tables import verdict_tables
    from moodbook.tags import read_tags

    tag_set = read_tags(tags)
    reference = read_reference(ground_truth, tag_set, tracks=tracks, artists=artists)
    if reference.left_out_tags:
        sys.stderr.write(
            f"moodbook: {len(reference.left_out_tags)} tags of '{ground_truth}' are not in '{tags}' and left out: "
            f"{', '.join(reference.left_out_tags)}\n"
        )
    systems = _read_systems(predictions, compare or [], mean or [], reference)
    systems[0] = _with_decisions(systems[0], decisions, thresholds, reference)
    systems[0] = _with_validation(systems[0], validation_ground_truth, validation_predictions, tag_set)
    keep = None
    if count_duplicates_once is not None:
        groups = (
            find_duplicates([system.probabilities for system in systems], reference.durations_seconds)
            if count_duplicates_once == "auto"
            else read_duplicates(count_duplicates_once, reference.track_ids)
        )
        keep = keep_first(groups, len(reference.ground_truth))
    verdict = judge(
        reference.ground_truth,
        systems,
        tag_set,
        artists=reference.artists,
        track_ids=reference.track_ids,
        keep=keep,
        resamples=resamples,
        seed=seed,
        protocol=protocol.value,
    )
    if report is not None:
        from moodbook.evaluation.report import write_report

        write_report(report, verdict, reference, systems[0], keep)
    if as_json:
        sys.stdout.write(json.dumps(verdict.to_json(), indent=2, allow_nan=False) + "\n")
        return
    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    console.print(verdict_tables(verdict), highlight=False)
    if report is not None:
        console.print(f"\nreport: {report}", highlight=False, markup=False)


def _read_systems(
    predictions: Path | None, compare: list[Path], mean: list[Path], reference: Reference
) -> list[System]:
    """Read the judged system first, then those it is compared with, then the mean."""
    from moodbook.evaluation.reference import distinct_names, read_predictions
    from moodbook.evaluation.submission import mean_of
    from moodbook.evaluation.verdict import System

    if predictions is None and not mean:
        raise DataError("nothing to judge: give --predictions, or systems to average by --mean")
    if len(mean) == 1:
        raise DataError(f"--mean needs two systems at least, got one ('{mean[0]}')")
    paths = ([] if predictions is None else [predictions]) + compare
    everyone = list(dict.fromkeys([*paths, *mean]))
    names = dict(zip(everyone, distinct_names(everyone), strict=True))
    systems = []
    for path in paths:
        read = read_predictions(path, reference)
        systems.append(System(names[path], read.probabilities, keyed=read.keyed))
    if mean:
        members = [read_predictions(path, reference) for path in mean]
        ensemble = System(
            f"mean of {len(mean)} systems"
            if len(mean) > _NAMED
            else f"mean of {' and '.join(names[path] for path in mean)}",
            mean_of([member.probabilities for member in members]),
            keyed=all(member.keyed for member in members),
        )
        systems.insert(0 if predictions is None else len(systems), ensemble)
    return systems


def _with_decisions(system: System, decisions: Path | None, thresholds: Path | None, reference: Reference) -> System:
    from dataclasses import replace

    from moodbook.evaluation.reference import read_decisions
    from moodbook.evaluation.thresholds import read_thresholds

    by_name = None
    if thresholds is not None:
        by_name = read_thresholds(thresholds)
        reference.tags.vector(by_name)  # Refuses thresholds that name other tags.
    decided = None if decisions is None else read_decisions(decisions, reference)
    return replace(system, decisions=decided, thresholds=by_name)


def _with_validation(system: System, ground_truth: Path | None, predictions: Path | None, tags: TagSet) -> System:
    from dataclasses import replace

    from moodbook.evaluation.findings import Validation
    from moodbook.evaluation.metrics import validate
    from moodbook.evaluation.reference import read_predictions, read_reference

    if ground_truth is None and predictions is None:
        return system
    if ground_truth is None or predictions is None:
        raise DataError("give --validation-ground-truth and --validation-predictions together")
    reference = read_reference(ground_truth, tags)
    read = read_predictions(predictions, reference)
    validate(reference.ground_truth, read.probabilities, tags)
    validation: Validation = Validation(reference.ground_truth, read.probabilities)
    return replace(system, validation=validation)
