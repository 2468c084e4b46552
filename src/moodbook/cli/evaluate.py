"""`moodbook evaluate`: score, audit and compare submissions."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from moodbook.cli.errors import ends_with_exit_code
from moodbook.cli.paths import path_option
from moodbook.errors import DataError, MoodbookError, UnscorableError

if TYPE_CHECKING:
    import numpy as np

    from moodbook.evaluation.reference import Reference
    from moodbook.evaluation.verdict import System
    from moodbook.tags import TagSet

_SEVERAL = ("--compare", "--mean", "--decisions", "-d", "--thresholds", "-t", "--validation-predictions")
_NONE = "-"  # Stands for a system that has no file of the kind.
_EACH = "Of several systems one each, in order; - for none."
_NAMED = 2  # A mean of more systems is called by their number.
_PLAIN_WIDTH = 100  # Columns of the tables where the output is no terminal.


class Protocol(StrEnum):
    """Rules of evaluation that Moodbook knows."""

    MEDIAEVAL2019 = "mediaeval2019"


class EvaluateCommand(TyperCommand):
    """Lets `--compare A B` stand for `--compare A --compare B`, and likewise for what each system may bring."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values."""
        spread: list[str] = []
        option = ""
        for arg in args:
            if arg.startswith("-") and arg != _NONE:
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
        Path, path_option("--ground-truth", "-g", help="npy, CSV or TSV of 0 and 1, or a track list with tags.")
    ],
    tags: Annotated[Path, path_option("--tags", "-l", help="The tags in column order, one a line.")],
    predictions: Annotated[
        Path | None, path_option("--predictions", "-p", help="The system's scores: npy, or CSV or TSV with names.")
    ] = None,
    decisions: Annotated[
        list[Path] | None,
        path_option("--decisions", "-d", help=f"Its decisions, 0 and 1, in a file of the same kinds. {_EACH}"),
    ] = None,
    thresholds: Annotated[
        list[Path] | None,
        path_option("--thresholds", "-t", help=f"Its thresholds by tag name: JSON or the official txt. {_EACH}"),
    ] = None,
    tracks: Annotated[
        Path | None, path_option("--tracks", help="Track list that names the rows of the ground truth.")
    ] = None,
    protocol: Annotated[Protocol, typer.Option(help="Rules of evaluation.")] = Protocol.MEDIAEVAL2019,
    validation_ground_truth: Annotated[
        Path | None, path_option("--validation-ground-truth", help="Truth of the validation part.")
    ] = None,
    validation_predictions: Annotated[
        list[Path] | None,
        path_option("--validation-predictions", help=f"Its scores on the validation part. {_EACH}"),
    ] = None,
    artists: Annotated[
        Path | None, path_option("--artists", help="Table of track_id and artist, where the track list has none.")
    ] = None,
    compare: Annotated[
        list[Path] | None, path_option("--compare", help="Scores of other systems: every pair is compared.")
    ] = None,
    mean: Annotated[
        list[Path] | None,
        path_option("--mean", help="Systems whose mean scores are a further system, or the one judged."),
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
    report: Annotated[Path | None, path_option("--report", help="Write an HTML report to this file.")] = None,
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

    Several systems are judged at once, and every pair of them compared. Their
    order is --predictions, --compare, --mean (first where it is the one judged);
    in that order each may bring its decisions, thresholds and validation
    predictions, with - for a system that has none.

    Examples:
      moodbook evaluate -g test.tsv -l tags.txt -p scores.csv -t thresholds.json
      moodbook evaluate -g truth.npy -l tags.txt -p a.npy --compare b.npy c.npy
      moodbook evaluate -g truth.npy -l tags.txt -p a.npy --compare b.npy -t - b.txt
      moodbook evaluate -g test.tsv -l tags.txt --mean a.npy b.npy --report r.html

    Exit code: 0 judged (whatever the audit found), 2 it could not be scored.
    """
    from rich.console import Console

    from moodbook.evaluation.judge import judge
    from moodbook.evaluation.reference import read_reference
    from moodbook.evaluation.tables import verdict_tables
    from moodbook.tags import read_tags

    with _errors_as_document(as_json):
        tag_set = read_tags(tags)
        reference = read_reference(ground_truth, tag_set, tracks=tracks, artists=artists)
        if reference.left_out_tags:
            sys.stderr.write(
                f"moodbook: {len(reference.left_out_tags)} tags of '{ground_truth}' are not in '{tags}' and left out: "
                f"{', '.join(reference.left_out_tags)}\n"
            )
        systems = _read_systems(predictions, compare or [], mean or [], reference)
        systems = _with_decisions(systems, decisions or [], thresholds or [], reference)
        systems = _with_validation(systems, validation_ground_truth, validation_predictions or [], tag_set)
        keep = _keep(count_duplicates_once, systems, reference)
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
        _print_document(verdict.to_json())
        return
    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    console.print(verdict_tables(verdict), highlight=False)
    if report is not None:
        console.print(f"\nreport: {report}", highlight=False, markup=False)


@contextmanager
def _errors_as_document(wanted: bool) -> Iterator[None]:
    """Print what went wrong as a document too, with the findings that forbid scoring: a program reads no stderr."""
    try:
        yield
    except MoodbookError as error:
        if wanted:
            systems = error.systems if isinstance(error, UnscorableError) else {}
            _print_document(
                {"error": str(error), "systems": [{"name": name, "audit": found} for name, found in systems.items()]}
            )
        raise


def _print_document(document: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


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
    everyone = paths + [path for path in dict.fromkeys(mean) if path not in paths]
    names = distinct_names(everyone)
    systems = []
    for name, path in zip(names[: len(paths)], paths, strict=True):
        read = read_predictions(path, reference)
        systems.append(System(name, read.probabilities, keyed=read.keyed))
    if mean:
        members = [read_predictions(path, reference) for path in mean]
        ensemble = System(
            f"mean of {len(mean)} systems"
            if len(mean) > _NAMED
            else f"mean of {' and '.join(names[everyone.index(path)] for path in mean)}",
            mean_of([member.probabilities for member in members]),
            keyed=all(member.keyed for member in members),
        )
        systems.insert(0 if predictions is None else len(systems), ensemble)
    return systems


def _of_each(option: str, paths: list[Path], systems: list[System]) -> list[Path | None]:
    """Give each system its file: they stand in the order of the systems, and the last ones may have none."""
    if len(paths) > len(systems):
        raise DataError(
            f"{option}: expected a file each for {len(systems)} systems at most "
            f"({', '.join(system.name for system in systems)}), got {len(paths)}"
        )
    given = [None if str(path) == _NONE else path for path in paths]
    return given + [None] * (len(systems) - len(given))


def _with_decisions(
    systems: list[System], decisions: list[Path], thresholds: list[Path], reference: Reference
) -> list[System]:
    from dataclasses import replace

    from moodbook.evaluation.reference import read_decisions
    from moodbook.evaluation.thresholds import read_thresholds

    complete = []
    for system, decided, threshold in zip(
        systems,
        _of_each("--decisions", decisions, systems),
        _of_each("--thresholds", thresholds, systems),
        strict=True,
    ):
        by_name = None
        if threshold is not None:
            by_name = read_thresholds(threshold)
            reference.tags.vector(by_name)  # Refuses thresholds that name other tags.
        matrix = None if decided is None else read_decisions(decided, reference)
        complete.append(replace(system, decisions=matrix, thresholds=by_name))
    return complete


def _with_validation(
    systems: list[System], ground_truth: Path | None, predictions: list[Path], tags: TagSet
) -> list[System]:
    from dataclasses import replace

    from moodbook.evaluation.findings import Validation
    from moodbook.evaluation.metrics import validate
    from moodbook.evaluation.reference import read_predictions, read_reference

    if ground_truth is None and not predictions:
        return systems
    if ground_truth is None or not predictions:
        raise DataError("give --validation-ground-truth and --validation-predictions together")
    reference = read_reference(ground_truth, tags)
    complete = []
    for system, path in zip(systems, _of_each("--validation-predictions", predictions, systems), strict=True):
        validation = None
        if path is not None:
            read = read_predictions(path, reference)
            validate(reference.ground_truth, read.probabilities, tags)
            validation = Validation(reference.ground_truth, read.probabilities)
        complete.append(replace(system, validation=validation))
    return complete


def _keep(count_duplicates_once: str | None, systems: list[System], reference: Reference) -> np.ndarray | None:
    """Say which tracks count; None for all of them."""
    from moodbook.evaluation.duplicates import find_duplicates, keep_first, read_duplicates

    if count_duplicates_once is None:
        return None
    groups = (
        find_duplicates([system.probabilities for system in systems], reference.durations_seconds)
        if count_duplicates_once == "auto"
        else read_duplicates(count_duplicates_once, reference.track_ids)
    )
    return keep_first(groups, len(reference.ground_truth))
