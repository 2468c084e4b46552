"""`moodbook personal`: words of your own, learned from your own examples."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.catalogue import CatalogueOption, JsonOption, ModelOption, open_catalogue, shown_path
from moodbook.cli.errors import ends_with_exit_code
from moodbook.cli.output import ForceOption, counted, say_list, utf8_stdout
from moodbook.cli.paths import path_option
from moodbook.cli.progress import ProgressLine
from moodbook.errors import DataError, ModelError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from moodbook.library.catalogue import Catalogue
    from moodbook.library.personal import Figure, Head, Suggestion

personal = typer.Typer(
    name="personal",
    help="Teach Moodbook words of your own: from your playlists, folders, labels.",
    no_args_is_help=True,
)

_NAME = "mine"
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="What the words are called together, or their folder (with a / in it).")
]


@personal.command("fit")
@ends_with_exit_code
def fit(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE", help="A playlist, a folder of folders, a CSV file, or WORD=PLAYLIST, WORD=FOLDER."
        ),
    ] = None,
    moods: Annotated[
        bool,
        typer.Option("--moods", help="Also learn the moods that stand in your files (not those that Moodbook wrote)."),
    ] = False,
    others: Annotated[
        bool, typer.Option("--others", help="Take all other music of the library as having none of the words.")
    ] = False,
    add: Annotated[
        bool, typer.Option("--add", help="Keep the examples of the last time (and its --others), and add these.")
    ] = False,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the words are called together.")] = _NAME,
    journal: Annotated[
        Path | None,
        path_option(metavar="DIR", help="For --moods: where `moodbook write --journal` kept what it wrote."),
    ] = None,
    as_json: JsonOption = False,
    model: ModelOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Learn words of your own from examples: which of your music has them.

    Nothing is listened to: scan the music first. What was learned before under
    the same name is replaced, or kept with --add; where examples, answers or
    words would be lost, a copy of what was stays (NAME.before-1). Examples are
      a playlist         gym.m3u8: all of it has the word "gym"
      a folder           its folders' names are the words of what is in them
      a CSV file         columns path and words ("gym;loud"; nothing: none)
      WORD=PLACE         the word for all of a playlist or folder
      --moods            what stands in the MOOD field of your files
    Music with other words counts as not having a word; with only one word, add
    --others. A word needs ten examples with it and ten without, of five albums.

    Then you see how well each word was learned, measured on music that took no
    part in learning it (five parts, each guessed from the other four; an album
    and copies of a recording are never on both sides):
      tells apart    how often music with the word is put above music without;
                     a guess gives 0.50
      right          of ten tracks given the word, so many have it
      found          of ten that have the word, so many are given it
    In brackets, where it lies with 95 % confidence. They hold for music like
    your examples. A word that may be no better than a guess is marked with "?":
    it can be searched by score, but is never decided or written.

    Examples:
      moodbook personal fit gym.m3u8 sunday.m3u8 --others
      moodbook personal fit ~/Music/by-mood
      moodbook personal fit labels.csv --add
      moodbook personal fit --moods

    Then: moodbook personal apply, and to get better: moodbook personal suggest.
    """
    from moodbook.library import personal as words
    from moodbook.library.filetags import journal_folder
    from moodbook.model.bundle import list_models

    if not (sources or moods or add):
        raise typer.BadParameter("name playlists, folders or CSV files, or give --moods")
    if journal is not None and not moods:
        raise typer.BadParameter("--journal tells Moodbook's moods from yours: it wants --moods")
    if name in list_models():
        raise DataError(f"{name!r} is the name of a model; choose another for your words")
    folder = words.head_folder(name)
    statements = [statement for source in sources or () for statement in words.read_source(source)]
    with open_catalogue(catalogue, model) as (opened, chosen):
        base = opened.hearing_model(chosen)
        if moods:
            found = words.read_moods(opened, journal or journal_folder())
            statements += found.statements
            if found.written:
                sys.stderr.write(
                    f"moodbook: left out, for Moodbook wrote all of its mood: {counted(found.written, 'file')}\n"
                )
            if found.unclear:
                lines = (f"{failure.path}: {failure.reason}" for failure in found.unclear)
                what = f"left out, for nobody can tell whose moods they have: {counted(len(found.unclear), 'file')}"
                say_list(what, len(found.unclear), lines)
        if not (statements or add):
            raise DataError("no mood of your own stands in your files; name playlists, folders or CSV files")
        said, unknown = words.resolve(opened, statements)
        if unknown:
            lines = (f"{failure.path}: {failure.reason}" for failure in unknown)
            say_list(f"{counted(len(unknown), 'example')} left out", len(unknown), lines)
        if add:
            before = words.read_head(name).config
            said = {**before.examples, **said}
            if before.with_others and not others:
                others = True
                sys.stderr.write("moodbook: --others was given the last time, so it goes on\n")
        examples = words.gather(opened, base, said, others=others)
        in_use = any(model.name == name and model.base is not None for model in opened.models())
    if examples.unheard:
        sys.stderr.write(
            f"moodbook: {counted(examples.unheard, 'example')} left out: {base.name} has not heard them, or their "
            "files are missing; scan them\n"
        )
    with ProgressLine("learning", len(examples.words)).shown() as progress:
        fitted = words.fit_words(examples, on_progress=progress.update)
    facts = fitted.facts(name, base, examples)
    _keep_what_goes(folder, examples.by_hash(), [word.word for word in fitted.words], added=add)
    head = words.write_head(folder, facts, fitted.weights)
    if fitted.refused:
        lines = (f"{refused.word}: {refused.reason}" for refused in fitted.refused)
        say_list(f"{counted(len(fitted.refused), 'word')} cannot be learned yet", len(fitted.refused), lines)
    _show(head, as_json)
    if in_use:
        _apply(head, catalogue)
    else:
        sys.stderr.write(f"moodbook: to use these words: moodbook personal apply{_named(name)}\n")


@personal.command("show")
@ends_with_exit_code
def show(name: NameArgument = _NAME, as_json: JsonOption = False) -> None:
    """Show words of your own and how well each was learned; see `personal fit --help` for what the numbers mean."""
    from moodbook.library.personal import read_head

    _show(read_head(name), as_json)


@personal.command("apply")
@ends_with_exit_code
def apply(name: NameArgument = _NAME, catalogue: CatalogueOption = None) -> None:
    """Give every recording of the library its scores for your words.

    From then on search, playlist, stats and export know them, beside the words
    of the model; a word of yours takes the place of the model's of the same
    name. Scans keep them up to date. `moodbook write --model NAME` writes your
    words, and only them, into files. Fitting again brings them up to date, and
    `moodbook personal forget` takes them out again.

    Examples:
      moodbook personal apply
      moodbook search 'gym and not dark'
      moodbook search 'sunday>0.3' --sort sunday
      moodbook write ~/Music --model mine
    """
    from moodbook.library.personal import read_head

    _apply(read_head(name), catalogue)


@personal.command("forget")
@ends_with_exit_code
def forget(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the words are called together.")],
    catalogue: CatalogueOption = None,
) -> None:
    """Take words of your own out of the catalogue; what was learned stays on the disk.

    Search, playlist, stats and export then know the words of the model again.
    `moodbook personal apply` brings yours back.

    Example:
      moodbook personal forget mine
    """
    from moodbook.model.scores import printable

    with _writing(catalogue) as opened:
        models = opened.models()
        found = [model for model in models if model.base is not None and model.name == name]
        if not found:
            listed = ", ".join(model.name for model in models if model.base is not None) or "none"
            raise DataError(f"no words called {name!r} are in the catalogue (there are: {listed})")
        for model in found:
            opened.drop_model(model)
        used = opened.find_model().name
    sys.stderr.write(f"moodbook: the words {printable(name)} are forgotten; {printable(used)} is used now\n")


@personal.command("suggest")
@ends_with_exit_code
def suggest(
    name: NameArgument = _NAME,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1_000, metavar="N", help="How many tracks.")] = 20,
    output: Annotated[
        Path | None,
        path_option("--output", "-o", metavar="FILE", help="Write a CSV file to fill in, for personal fit --add."),
    ] = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    catalogue: CatalogueOption = None,
) -> None:
    """Name the tracks whose label would teach your words most.

    They are those about which the words are in doubt and of whose kind nothing
    is labelled yet; no two that would tell the same. Listen to them, write the
    words that they have behind them in the file (several with ";" between;
    leave nothing where none fits; "?" means not answered), and fit again.

    Examples:
      moodbook personal suggest --limit 10 -o questions.csv
      moodbook personal fit questions.csv --add

    A file with answers in it is not replaced unless --force is given.
    """
    from moodbook.library.personal import read_head
    from moodbook.library.personal import suggest as choose
    from moodbook.library.personal.questions import FORMATS, write_questions
    from moodbook.outputs import check_output

    if output is not None:
        check_output(output, FORMATS, force=force)
    head = read_head(name)
    with open_catalogue(catalogue, head.config.base_sha256) as (opened, base):
        suggestions = choose(opened, base, head, limit)
    if output is not None:
        write_questions(output, suggestions, force=force)
        sys.stderr.write(
            f"moodbook: {counted(len(suggestions), 'track')} in {output}: put their words in the place of the "
            f"question marks, then: moodbook personal fit {output} --add{_named(name, ' --name')}\n"
        )
    elif as_json or not sys.stdout.isatty():
        for suggestion in suggestions:
            record = {
                **suggestion.track.to_dict(),
                "bits": round(suggestion.bits, 6),
                "doubts": {word: round(probability, 6) for word, probability in suggestion.doubts},
            }
            utf8_stdout().write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        _print_suggestions(suggestions)


@contextmanager
def naming_own_words(name: str) -> Iterator[None]:
    """Where a model is wanted and words of one's own are named, say so in place of "there is no model"."""
    try:
        yield
    except ModelError as error:
        from moodbook.library.personal import find_head, read_head

        if find_head(name) is not None:
            shown = name
        elif find_head(Path(name)) is not None:
            shown = f".{os.sep}{name}"  # A folder of the working folder.
        else:
            raise
        base = read_head(shown).config.base_name
        raise ModelError(
            f"'{shown}' are words of your own and no model: they stand on what the model {base} hears. What they are: "
            f"moodbook personal show {shown}; for the library, after a scan with {base}: moodbook personal apply "
            f"{shown}; into files: moodbook write FOLDER --model {shown}"
        ) from error


@contextmanager
def _writing(path: Path | None) -> Iterator[Catalogue]:
    """Open a catalogue that is there for writing, alone."""
    from moodbook.library.catalogue import Catalogue, catalogue_path

    place = path or catalogue_path()
    with Catalogue(place):  # It must be there: only a scan makes one.
        pass
    with Catalogue(place, create=True) as opened, opened.scan_lock():
        yield opened


def _apply(head: Head, catalogue: Path | None) -> None:
    from moodbook.library.personal import apply_head
    from moodbook.model.scores import printable

    with _writing(catalogue) as opened:
        known = opened.models()
        used, entered = apply_head(opened, head)
        count = len(opened.heard_payloads(used))
    words = printable(", ".join(head.words))
    if entered:
        new = f" ({entered} new)" if entered < count else ""
        sys.stderr.write(f"moodbook: scores for {words} now in {counted(count, 'recording')}{new}\n")
    elif known and known[0].sha256 == used.sha256:
        sys.stderr.write(f"moodbook: nothing changed: {counted(count, 'recording')} with scores for {words} already\n")
    else:
        sys.stderr.write(f"moodbook: scores for {words} already in {counted(count, 'recording')}; used from now on\n")


def _keep_what_goes(folder: Path, examples: dict[str, tuple[str, ...]], words: list[str], *, added: bool) -> None:
    """Set the head that is replaced aside where it knows what the new one does not, and say so."""
    from moodbook.library.personal import find_head, find_losses, read_head, set_aside
    from moodbook.model.scores import printable

    if find_head(folder) is None:
        return
    try:
        losses = find_losses(read_head(folder).config, examples, words)
    except ModelError as error:
        sys.stderr.write(f"moodbook: {printable(str(error))}; what is left of them is kept as {set_aside(folder)}\n")
        return
    if not losses:
        return
    kinds = []
    if losses.dropped:
        kinds.append(f"{counted(losses.dropped, 'example')} dropped")
    if losses.changed:
        kinds.append(f"{counted(losses.changed, 'example')} with other words now")
    if losses.words:
        kinds.append(f"no longer learned: {printable(', '.join(losses.words))}")
    hint = "" if added or not losses.dropped else ". To have both, fit with --add"
    sys.stderr.write(
        f"moodbook: of the last time {'; '.join(kinds)}; all that was is kept as {set_aside(folder)}{hint}\n"
    )


def _named(name: str, option: str = "") -> str:
    return "" if name == _NAME else f"{option} {name}"


def _show(head: Head, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        for facts in head.config.words:
            record = {**facts.model_dump(mode="json"), "decided": facts.is_decided, "name": head.name}
            utf8_stdout().write(json.dumps(record, ensure_ascii=False) + "\n")
        return
    from rich.console import Console

    Console(highlight=False).print(render(head))


def render(head: Head) -> RenderableType:
    """Draw how well each word was learned."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("word", overflow="fold")
    for heading in ("with", "without", "tells apart", "right", "found"):
        table.add_column(heading, justify="right", no_wrap=True)
    for facts in head.config.words:
        table.add_row(
            Text(facts.word + ("" if facts.is_decided else " ?"), style="bold" if facts.is_decided else "dim"),
            str(facts.having),
            str(facts.lacking),
            *(_figure(figure) for figure in (facts.roc_auc, facts.precision, facts.recall)),
        )
    return table


def _figure(figure: Figure) -> str:
    # Without its zeros, so that a line of 80 columns has room for the word.
    low, high = (f"{end:.2f}".removeprefix("0") for end in (figure.low, figure.high))
    return f"{figure.value:.2f} [{low}-{high}]"


def _print_suggestions(suggestions: list[Suggestion]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from moodbook.model.scores import printable

    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(no_wrap=True, overflow="fold")
    table.add_column()
    for suggestion in suggestions:
        doubts = "  ".join(f"{word}? {probability:.2f}" for word, probability in suggestion.doubts)
        table.add_row(Text(printable(shown_path(suggestion.track.path))), Text(doubts, style="dim"))
    Console(highlight=False).print(table)
