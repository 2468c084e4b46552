"""`moodbook write`: moods into the tags of music files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moodbook.cli.catalogue import CatalogueOption
from moodbook.cli.errors import SOME_FILES_FAILED, JobOutput, ends_with_exit_code
from moodbook.cli.filetags import (
    ask,
    command_line,
    say_findings,
    say_waiting,
    show_plan,
    show_results,
    undo_named,
)
from moodbook.cli.output import counted, say_list
from moodbook.cli.paths import path_argument, path_option
from moodbook.cli.progress import ProgressLine
from moodbook.errors import AudioError, CatalogueError, DataError
from moodbook.model import DEFAULT_MODEL

if TYPE_CHECKING:
    from moodbook.library.catalogue import Catalogue
    from moodbook.library.filetags import Plan, Policy, Proposal, Skipped
    from moodbook.library.recall import Scores
    from moodbook.model.scores import TagFailure
    from moodbook.tags import TagSet


@ends_with_exit_code
def write(
    paths: Annotated[
        list[Path] | None,
        path_argument(metavar="PATH", help="Audio files, and folders of them."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="A model that comes with Moodbook, a folder, or words of your own by name.",
            show_default=DEFAULT_MODEL,
        ),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, metavar="N", help="The N strongest words of each file.")] = None,
    minimum: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="P", help="The words with at least this probability.")
    ] = None,
    words: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help='Your words for the model\'s: TOML lines, dark = "gloomy". Or a vocabulary by name: allmusic '
            "(moods that players fetch), mediaeval (tags of the task).",
        ),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Add to the moods that files have.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the moods that files have.")] = False,
    plan: Annotated[
        Path | None,
        path_option("--plan", metavar="FILE", help="Save what would be written as FILE (.json), and write nothing."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Let --plan replace FILE, even if it is no plan or was edited.")
    ] = False,
    apply: Annotated[
        Path | None, path_option("--apply", metavar="FILE", help="Write what a saved plan says; no model listens.")
    ] = None,
    catalogue: CatalogueOption = None,
    listen: Annotated[
        bool, typer.Option("--listen", help="Listen to every file, even where the catalogue knows its scores.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
    touch: Annotated[
        bool, typer.Option("--touch", help="Let the files' time of change be now, for programs that look at it.")
    ] = False,
    journal: Annotated[
        Path | None,
        path_option(metavar="DIR", help="Keep the journal there, not in your data folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as when the output is piped.")] = False,
) -> None:
    """Write moods into the tags of music files.

    Each file's words are those above their thresholds, unless --top or
    --minimum say otherwise. They go where other programs look for them (TMOO,
    MOOD, WM/Mood ...), as separate values. A file that has a mood keeps it; one
    in which no music is heard gets none.

    What `moodbook scan` has heard is not heard again: the scores of such files
    come from the catalogue, known by their music, whatever their names are.

    First you see what would be written; then you are asked. Without a terminal
    to ask on, nothing is written unless --yes is given. Everything else in a
    file stays as it is, byte by byte, and `moodbook undo` puts back what was
    there. For `moodbook search mood:...` to find what was written, scan again.

    Examples:
      moodbook write ~/Music
      moodbook write album/ --top 3 --words mine.toml
      moodbook write ~/Music --words allmusic    # dark becomes gloomy ...
      moodbook write ~/Music --model mine        # words of your own, see personal
      moodbook write ~/Music --plan moods.json   # look at it, then
      moodbook write --apply moods.json --yes
      moodbook undo

    Exit code: 0 all good, 1 some files failed, 2 the run failed.
    """
    if merge and overwrite:
        raise typer.BadParameter("--merge and --overwrite exclude each other")
    if bool(paths) == (apply is not None):
        raise typer.BadParameter("name files or folders, or a saved plan with --apply FILE, one of the two")
    if apply is not None and plan is not None:
        raise typer.BadParameter("--plan and --apply exclude each other")
    if words == "":
        raise typer.BadParameter("--words: the name is empty; name a file or a vocabulary")
    settled = {"top": top, "minimum": minimum, "words": words, "model": model}
    given = [f"--{name}" for name, value in settled.items() if value is not None]
    given += [name for name, flag in (("--merge", merge), ("--overwrite", overwrite), ("--listen", listen)) if flag]
    if apply is not None and given:
        raise typer.BadParameter(
            f"a saved plan says already what is written: leave out {', '.join(given)}, or make another plan with it"
        )
    from moodbook.library.filetags import load_plan, look_again, read_words, save_plan
    from moodbook.library.filetags.plan import FORMATS
    from moodbook.outputs import check_output

    if plan is not None:
        check_output(plan, FORMATS, force=force)
    if apply is not None:
        made = load_plan(apply)
        made.failures.clear()  # They were told when the plan was made.
        look_again(made)
    else:
        policy: Policy = "merge" if merge else "overwrite" if overwrite else "empty"
        with _open_source(DEFAULT_MODEL if model is None else model, catalogue, listen=listen) as (tags, scores):
            choice = {"top": top, "minimum": minimum, "words": None if words is None else read_words(words, tags)}
            made = _make_plan(paths or [], policy, choice, scores)
    if plan is not None:
        save_plan(made, plan, force=force)
        show_plan(made, JobOutput(confirmed=False), as_json=as_json)
        again = command_line("moodbook", "write", "--apply", str(plan))
        sys.stderr.write(f"moodbook: saved; to write it: {again}\n")
        failed = len(made.failures)
    else:
        failed = _write(made, yes=yes, touch=touch, journal=journal, as_json=as_json)
    if failed:
        raise typer.Exit(SOME_FILES_FAILED)


@contextmanager
def _open_source(name: str, catalogue: Path | None, *, listen: bool) -> Iterator[tuple[TagSet, Scores]]:
    """Give the words of a model, or of the owner, and what gives the scores of files."""
    from moodbook.library.recall import Memory, Scores, Voice

    voice = Voice(name)
    with ExitStack() as stack:
        opened = None if listen else _open_default(catalogue, stack)
        memory = None if opened is None else Memory.of(opened, voice)
        yield voice.words, Scores(voice, memory)


def _open_default(path: Path | None, stack: ExitStack) -> Catalogue | None:
    """Open the catalogue that was named, or the user's own where there is one that can be used."""
    from moodbook.files import is_there
    from moodbook.library.catalogue import Catalogue, catalogue_path
    from moodbook.library.check import check_catalogue
    from moodbook.model.scores import printable

    if path is not None:
        named = stack.enter_context(Catalogue(path))
        check_catalogue(named)
        return named
    if not is_there(catalogue_path()):
        return None
    try:
        own = stack.enter_context(Catalogue(catalogue_path()))
        check_catalogue(own)  # Now, while the files can still all be listened to.
        return own
    except CatalogueError as error:
        sys.stderr.write(f"moodbook: every file is listened to: {printable(str(error))}\n")
        return None


def _make_plan(paths: list[Path], policy: Policy, choice: Mapping[str, Any], scores: Scores) -> Plan:
    """Take the scores of the files to which something may be written from the catalogue, or let the model listen."""
    from moodbook import audio
    from moodbook.library.filetags import Skipped, build_plan, check_early, propose
    from moodbook.model.scores import TagFailure

    unlisted: list[AudioError] = []
    links: list[Path] = []
    found = list(audio.find(paths, on_error=unlisted.append, on_link=links.append))
    if links:
        say_list(
            f"links below folders, not followed: {len(links)}; name their targets to tag them",
            len(links),
            map(str, links),
        )
    if not found and not unlisted:
        raise DataError(
            f"found no audio below {', '.join(map(str, paths))}; a folder is searched for "
            f"{' '.join(sorted(audio.AUDIO_SUFFIXES))}, any other file must be named itself"
        )

    def proposals() -> Iterator[Proposal | Skipped | TagFailure]:
        yield from (TagFailure(Path(error.path), error.reason) for error in unlisted)
        with ProgressLine("looking", len(found)).shown() as progress:
            early = {}
            for path in found:
                early[path] = check_early(path, policy)
                progress.advance()
        with ProgressLine("listening", len(found)).shown() as progress:
            said = scores.of_files([path for path in found if early[path] is None])
            for path in found:
                result = early[path] or next(said)
                if isinstance(result, (Skipped, TagFailure)):
                    yield result
                else:
                    yield propose(result, **choice)
                progress.advance()

    plan = build_plan(proposals(), policy)
    if scores.recalled:
        sys.stderr.write(
            f"moodbook: the catalogue knew {counted(scores.recalled, 'file')}, {scores.heard} listened to\n"
        )
    return plan


def _write(plan: Plan, *, yes: bool, touch: bool, journal: Path | None, as_json: bool) -> int:
    """Show, ask, write; give the number of files that failed."""
    from moodbook.library.filetags import apply_tasks, journal_folder, open_journal, recover

    output = JobOutput(confirmed=yes)
    show_plan(plan, output, as_json=as_json, tasks=not yes)
    if not plan.tasks:
        sys.stderr.write("moodbook: nothing to write\n")
        output.end("nothing to do")
        return len(plan.failures)
    if not yes and not ask(f"Write {counted(len(plan.tasks), 'file')}?", as_json=as_json):
        return len(plan.failures)
    output.confirmed = True
    folder = journal or journal_folder()
    say_findings(recover(folder))
    with open_journal(folder, "write", on_wait=say_waiting) as run, undo_named(run, journal):
        results = apply_tasks(plan.tasks, run, touch=touch)
        failed = show_results(results, "writing", len(plan.tasks), output, as_json=as_json)
    return failed + len(plan.failures)
