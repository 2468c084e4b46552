"""`moodbook search`: recordings by mood, length, artist and the like."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from moodbook.cli.catalogue import (
    CatalogueOption,
    JsonOption,
    LimitOption,
    ModelOption,
    NullOption,
    PathsOption,
    open_catalogue,
    pointing_at_mistakes,
    print_tracks,
)
from moodbook.cli.errors import ends_with_exit_code


@ends_with_exit_code
def search(
    query: Annotated[str, typer.Argument(metavar="[QUERY]", help="What to look for; nothing finds everything.")] = "",
    limit: LimitOption = None,
    sort: Annotated[
        str, typer.Option(metavar="BY", help="rank, path, artist, title, album, length, or a tag.")
    ] = "rank",
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="Sort the other way round.")] = False,
    as_json: JsonOption = False,
    paths: PathsOption = False,
    null: NullOption = False,
    model: ModelOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Find recordings of the library by what they feel like.

    A tag alone means that the model has decided for it; with a comparison it
    is the score, 0 to 1. A comma is an "and"; "or", "not" and parentheses work
    as in English. Texts: path, artist, title, album, mood (what stands in the
    file) with : (contains) or = (is). Quotes hold spaces together.

    Examples:
      moodbook search 'calming and not dark, epic>0.6, length<5:00'
      moodbook search 'epic or intense, artist:"kevin macleod"'
      moodbook search 'dark, path:soundtracks' --sort length
      moodbook search 'uplifting>0.3' --sort uplifting --limit 10
      moodbook search 'relaxed' -0 | xargs -0 -n1 mpv

    Ranked by the mean score of the tags that are asked for. Each recording
    comes once, however many files hold it. `moodbook stats` lists the tags.
    """
    from moodbook.library.search import search as search_library

    with pointing_at_mistakes(), open_catalogue(catalogue, model) as (opened, chosen):
        tracks = search_library(opened, query, model=chosen, sort=sort, reverse=reverse, limit=limit)
    print_tracks(tracks, (track.rank for track in tracks), "rank", as_json=as_json, paths=paths, null=null)
    if not tracks:
        sys.stderr.write("moodbook: nothing in the catalogue is like this\n")
