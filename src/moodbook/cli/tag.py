"""`moodbook tag`: what recordings feel like and what they are for."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.device import DeviceName, DeviceOption
from moodbook.cli.errors import SOME_FILES_FAILED, ends_with_exit_code
from moodbook.cli.output import ForceOption, bar, clock, say_list, utf8_stdout
from moodbook.cli.paths import path_argument, path_option
from moodbook.cli.personal import naming_own_words
from moodbook.cli.precision import PrecisionName, PrecisionOption
from moodbook.cli.progress import ProgressLine
from moodbook.errors import AudioError, DataError
from moodbook.model import DEFAULT_MODEL

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from moodbook.model.scores import TagFailure, TagScores
    from moodbook.model.writers import RecordWriter

_SHOWN_TAGS = 5  # Tags of a track in the table where --top does not say.
_TIMELINE_CELLS = 24


@ends_with_exit_code
def tag(
    paths: Annotated[list[Path], path_argument(metavar="PATH", help="Audio files, and folders of them.")],
    output: Annotated[
        Path | None,
        path_option(
            "--output", "-o", metavar="FILE", help="Write the records to FILE (.jsonl or .csv), when all done."
        ),
    ] = None,
    force: ForceOption = False,
    top: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the N strongest tags of each.")] = None,
    first_segment: Annotated[
        bool, typer.Option("--first-segment", help="Hear only the first 23.8 s, as the 2019 paper did.")
    ] = False,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="A model that comes with Moodbook, or a folder.")
    ] = DEFAULT_MODEL,
    precision: PrecisionOption = PrecisionName.AUTO,
    device: DeviceOption = DeviceName.AUTO,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Take what a damaged file gives up to the damage.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as when the output is piped.")] = False,
) -> None:
    """Say what recordings feel like and what they are for.

    On a terminal: the strongest tags, how strong (the full bar is 1), and how
    they come and go over the track; bold tags are above their threshold, and
    "not sure" stands where none is.
    Piped, or with --json: one JSON object a file, in UTF-8, as each is done.

    Examples:
      moodbook tag song.mp3
      moodbook tag ~/Music --top 3
      moodbook tag album/ -o moods.csv
      moodbook tag *.flac --json | jq .decided

    A file that cannot be read gives a record with an "error" and stops
    nothing. Links below a folder are not followed; they are listed on stderr
    and count as no failure: name the files they point to.
    Exit code: 0 all tagged, 1 some files failed, 2 the run failed.
    """
    from moodbook import audio
    from moodbook.model.scores import TagFailure
    from moodbook.model.tagger import Tagger
    from moodbook.model.writers import FORMATS, JsonLinesWriter, open_writer
    from moodbook.outputs import check_output

    if output is not None:
        check_output(output, FORMATS, force=force)
    unlisted: list[AudioError] = []
    links: list[Path] = []
    files = list(audio.find(paths, on_error=unlisted.append, on_link=links.append))
    if links:
        _say_links(links)
    if not files and not unlisted:
        raise DataError(
            f"found no audio below {', '.join(map(str, paths))}; a folder is searched for "
            f"{' '.join(sorted(audio.AUDIO_SUFFIXES))}, any other file must be named itself"
        )
    with naming_own_words(model):
        tagger = Tagger.load(model, precision=precision.choice, device=device.choice)
    failures: list[TagFailure] = []
    with ExitStack() as stack:
        writers: list[RecordWriter] = []
        if output is not None:
            writers.append(stack.enter_context(open_writer(output, tagger.tags, top, force=force)))
        if as_json or (output is None and not sys.stdout.isatty()):
            writers.append(JsonLinesWriter(utf8_stdout(), top))
        elif sys.stdout.isatty():
            writers.append(_TableWriter(_SHOWN_TAGS if top is None else top))
        progress = stack.enter_context(ProgressLine("tagging", len(files)).shown())

        def take(result: TagScores | TagFailure) -> None:
            if isinstance(result, TagFailure):
                failures.append(result)
            with progress.hidden():
                for writer in writers:
                    writer.write(result)

        for error in unlisted:
            take(TagFailure(Path(error.path), error.reason))
        for result in tagger.tag_files(files, first_segment=first_segment, allow_partial=allow_partial):
            take(result)
            progress.advance()
    if failures:
        _say_failures(failures, len(files) + len(unlisted))
        raise typer.Exit(SOME_FILES_FAILED)


def _say_links(links: list[Path]) -> None:
    say_list(
        f"links below folders, not followed: {len(links)}; name their targets to tag them", len(links), map(str, links)
    )


def _say_failures(failures: list[TagFailure], total: int) -> None:
    lines = (f"{failure.path}: {failure.reason}" for failure in failures)
    say_list(f"{len(failures)} of {total} could not be tagged", len(failures), lines)


class _TableWriter:
    """Prints each result as a small table, for eyes."""

    def __init__(self, top: int) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)
        self._top = top

    def write(self, result: TagScores | TagFailure) -> None:
        self._console.print(render(result, self._top, self._console))


def render(result: TagScores | TagFailure, top: int, console: Console) -> RenderableType:
    """Draw a result: words, their strength, and a timeline for each.

    Args:
        result: Of one file.
        top: How many tags.
        console: Says whether it can show block characters.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from moodbook.model.scores import TagFailure, printable

    name = printable(str(result.path))
    if isinstance(result, TagFailure):
        return Text.assemble((name, "bold"), "  ", (printable(result.reason), "red"))
    ascii_only = console.options.ascii_only
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    strengths = result.top(top)
    loudest = max(float(result.taggram[:, result.tags.column(strength.tag)].max()) for strength in strengths)
    for strength in strengths:
        timeline = result.taggram[:, result.tags.column(strength.tag)].tolist()
        table.add_row(
            Text("  " + strength.tag, style="bold" if strength.decided else "dim"),
            Text(bar(strength.probability, ascii_only), style="cyan" if strength.decided else "dim cyan"),
            Text(f"{strength.probability:.2f}"),
            Text(_timeline(timeline, loudest, ascii_only), style="magenta"),
        )
    head = Text.assemble((name, "bold"), (f"  {clock(result.duration_seconds)}", "dim"))
    unsure = ["not sure: no word is above its threshold"] if result.is_music and not result.decisions.any() else []
    notes = [*unsure, result.note] if result.note else unsure
    return Group(head, table, *(Text("  " + note, style="yellow") for note in notes))


def _timeline(values: list[float], loudest: float, ascii_only: bool) -> str:
    """Draw the course of a tag, a mark for each stretch of the track; full height is the loudest tag of the table."""
    marks = " .:-=+*#" if ascii_only else "▁▂▃▄▅▆▇█"
    cells = min(len(values), _TIMELINE_CELLS)
    drawn = []
    for cell in range(cells):
        stretch = values[cell * len(values) // cells : (cell + 1) * len(values) // cells]
        height = sum(stretch) / len(stretch) / loudest if loudest > 0 else 0.0
        drawn.append(marks[min(int(height * len(marks)), len(marks) - 1)])
    return "".join(drawn)
