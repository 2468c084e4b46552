"""`moodbook scan`: a tree of music into the catalogue."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.catalogue import CatalogueOption
from moodbook.cli.device import DeviceName, DeviceOption
from moodbook.cli.errors import SOME_FILES_FAILED, ends_with_exit_code
from moodbook.cli.output import counted, say_list, utf8_stdout
from moodbook.cli.paths import path_argument
from moodbook.cli.personal import naming_own_words
from moodbook.cli.precision import PrecisionName, PrecisionOption
from moodbook.cli.progress import ProgressLine
from moodbook.errors import CatalogueInUseError
from moodbook.model import DEFAULT_MODEL

if TYPE_CHECKING:
    from moodbook.library.catalogue import Catalogue
    from moodbook.library.scan import ScanSummary
    from moodbook.model.precision import Precision
    from moodbook.model.tagger import Tagger

_ASK_AGAIN_SECONDS = 1.0


@ends_with_exit_code
def scan(
    folders: Annotated[list[Path], path_argument(metavar="DIR", help="Folders of music, and single files.")],
    catalogue: CatalogueOption = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A model that comes with Moodbook, or a folder.")
    ] = DEFAULT_MODEL,
    precision: PrecisionOption = PrecisionName.AUTO,
    device: DeviceOption = DeviceName.AUTO,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=256,
            metavar="N",
            help="Processes that decode, at most one a processor; else up to 4.",
        ),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what could not be read before.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Drop files that are gone from these folders from the catalogue.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and scan again whenever something changes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, one line a scan.")] = False,
) -> None:
    """Hear a music library and remember it in a catalogue.

    What has not changed is not read again, a renamed or retagged file is not
    heard again, and what cannot be read is remembered with its reason. A scan
    that was stopped, however hard, goes on where it was: run it again. Nothing
    is written to your music. With --precision f32, bf16 or int8 what was heard
    in another one is heard again; auto leaves it.

    Examples:
      moodbook scan ~/Music
      moodbook scan ~/Music --jobs 8
      moodbook scan /mnt/nas/music --catalogue nas.sqlite
      moodbook scan ~/Music --watch
      moodbook scan ~/Music --retry --forget --json

    Then: moodbook search, similar, playlist, stats, export.
    Files that are gone are only marked as missing; --forget drops them, but not
    where their disk may only be away.
    Exit code: 0 all read, 1 some files failed, 2 the run failed.
    """
    from moodbook.library.catalogue import Catalogue, catalogue_path
    from moodbook.model.listening import MOST_DECODERS
    from moodbook.model.tagger import Tagger
    from moodbook.processors import usable_processors

    processors = usable_processors()
    if jobs is not None and jobs > processors:
        sys.stderr.write(
            f"moodbook: --jobs {jobs}: as many processes decode as processors may be used here, which is {processors}\n"
        )
    with naming_own_words(model):
        tagger = Tagger.load(model, precision=precision.choice, device=device.choice)
    wanted = None if precision is PrecisionName.AUTO else tagger.engine.precision
    with Catalogue(catalogue or catalogue_path(), create=True) as opened:
        run = _Run(opened, tagger, wanted, folders, min(jobs or MOST_DECODERS, processors), as_json)
        if watch:
            _watch(run, retry, forget)
        else:
            summary = run.scan(retry, forget)
            if summary.failed or summary.absent:
                raise typer.Exit(SOME_FILES_FAILED)


class _Run:
    """What every scan of a run has in common."""

    def __init__(
        self,
        catalogue: Catalogue,
        tagger: Tagger,
        precision: Precision | None,
        folders: list[Path],
        jobs: int,
        as_json: bool,
    ) -> None:
        self.catalogue = catalogue
        self.folders = folders
        self._tagger = tagger
        self._precision = precision
        self._jobs = jobs
        self._as_json = as_json
        self._absent: list[Path] = []

    def scan(self, retry: bool, forget: bool, again: bool = False) -> ScanSummary:
        """Scan once and say what was found; `again`, and a scan that found everything as it was says nothing."""
        from moodbook.library.personal import refresh_heads
        from moodbook.library.scan import scan as scan_library

        with ProgressLine("scanning", None, speed=True).shown() as progress:
            summary = scan_library(
                self.catalogue,
                self.folders,
                self._tagger,
                jobs=self._jobs,
                precision=self._precision,
                retry=retry,
                forget=forget,
                were_there=again,
                on_progress=progress.update,
            )
        behind = refresh_heads(self.catalogue, self.catalogue.find_model(self._tagger.bundle.sha256))
        if behind:
            say_list(f"not brought up to date: {counted(len(behind), 'set')} of your own words", len(behind), behind)
        news = summary.found - summary.unchanged - summary.failed + summary.gone + summary.heard + summary.forgotten
        if news or summary.absent != self._absent or not again:
            _say(summary, self._as_json, forget)
        self._absent = summary.absent
        return summary


def _watch(run: _Run, retry: bool, forget: bool) -> None:
    from moodbook.library.watch import changes

    for count, _ in enumerate(changes(run.folders, run.catalogue)):
        _scan_in_turn(run, retry and count == 0, forget, again=count > 0)
        if count == 0:
            sys.stderr.write("moodbook: watching; Ctrl-C ends it\n")


def _scan_in_turn(run: _Run, retry: bool, forget: bool, again: bool) -> None:
    """Scan, after another scan that is writing to the catalogue: it ends some time, and a watch does not."""
    is_told = False
    while True:
        try:
            run.scan(retry, forget, again)
        except CatalogueInUseError:
            if not is_told:
                sys.stderr.write("moodbook: another scan is writing to the catalogue; waiting for it\n")
            is_told = True
            time.sleep(_ASK_AGAIN_SECONDS)
        else:
            return


def _say(summary: ScanSummary, as_json: bool, forget: bool) -> None:
    from moodbook.model.scores import printable

    if as_json:
        stream = utf8_stdout()
        stream.write(json.dumps(summary.to_dict(), ensure_ascii=False) + "\n")
        stream.flush()
    else:
        for line in describe(summary, forget=forget):
            sys.stdout.write(printable(line) + "\n")
        sys.stdout.flush()
    if summary.links:
        say_list(
            f"links below folders, not followed: {len(summary.links)}; name their targets to scan them",
            len(summary.links),
            map(str, summary.links),
        )
    if summary.absent:
        say_list(
            f"not there: {len(summary.absent)} of what was named; connect its disk, or check the name",
            len(summary.absent),
            map(str, summary.absent),
        )
    if summary.failures:
        lines = (f"{failure.path}: {failure.reason}" for failure in summary.failures)
        say_list(f"{len(summary.failures)} of {summary.found} could not be read", len(summary.failures), lines)


def describe(summary: ScanSummary, *, forget: bool = False) -> list[str]:
    """Say in lines what a scan found; kinds of which there are none are left out.

    Args:
        summary: What it found.
        forget: Whether it was to drop what is gone.
    """
    kinds = ("new", "moved", "changed", "retagged", "unchanged", "failed")
    counts = [f"{getattr(summary, kind)} {kind}" for kind in kinds if getattr(summary, kind)]
    lines = [f"{counted(summary.found, 'file')}: {', '.join(counts) or 'no audio below these folders'}"]
    if summary.heard:
        speed = summary.heard / summary.seconds if summary.seconds > 0 else 0.0
        lines.append(f"heard {counted(summary.heard, 'recording')} in {summary.seconds:.0f} s, {speed:.1f} a second")
    if summary.duplicates:
        spare = sum(len(group) - 1 for group in summary.duplicates)
        lines.append(
            f"{counted(spare, 'duplicate')}: the same music under {spare + len(summary.duplicates)} names, such as"
        )
        lines += [f"  {path}" for path in summary.duplicates[0][:2]]
    if summary.gone:
        hint = "" if forget else "; --forget drops them"
        lines.append(f"{summary.gone} gone: marked as missing{hint}")
    if summary.forgotten:
        lines.append(f"{counted(summary.forgotten, 'missing file')} dropped from the catalogue")
    if summary.kept:
        lines.append(f"{counted(summary.kept, 'missing file')} not dropped: they may be on a disk that is not mounted")
    return lines
