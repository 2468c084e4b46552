"""`moodbook playlist`: tracks in an order, as a file that players read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.catalogue import CatalogueOption, ModelOption, open_catalogue, pointing_at_mistakes
from moodbook.cli.errors import ends_with_exit_code
from moodbook.cli.output import ForceOption, counted
from moodbook.cli.paths import path_option
from moodbook.cli.similar import find_seed
from moodbook.errors import DataError

if TYPE_CHECKING:
    from moodbook.library.catalogue import Catalogue
    from moodbook.library.known_model import Model
    from moodbook.library.search import Track

_LIMIT = 50


@ends_with_exit_code
def playlist(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="As in moodbook search.")] = "",
    output: Annotated[
        Path, path_option("--output", "-o", metavar="FILE", help="Where to: .m3u8, .xspf, or .nsp for Navidrome.")
    ] = ...,  # type: ignore[assignment]  # typer's mark of an option that must be given.
    like: Annotated[
        str | None, typer.Option("--like", metavar="TRACK", help="Begin with TRACK, then what sounds like it.")
    ] = None,
    from_tag: Annotated[str | None, typer.Option("--from", metavar="TAG", help="Lead from this mood ...")] = None,
    to_tag: Annotated[str | None, typer.Option("--to", metavar="TAG", help="... to this one.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="At most N tracks; 50 where it is not said.")
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Its name. Else that of the file.")] = None,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Name files from the root, not from the playlist's folder.")
    ] = False,
    force: ForceOption = False,
    model: ModelOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Write a playlist: what a query finds, what sounds like a track, or an arc.

    An arc begins where one mood outweighs the other most, ends where it is the
    other way round, and takes the nearest track at each step between them.
    A query narrows what a playlist by --like or an arc may take.

    Examples:
      moodbook playlist 'relaxed and not dark' -o evening.m3u8
      moodbook playlist --like song.mp3 --limit 30 -o more.xspf
      moodbook playlist --from calming --to epic -o arc.m3u8
      moodbook playlist 'length<6:00' --from dark --to bright -o dawn.m3u8
      moodbook playlist 'epic, length>3:00' -o epic.nsp

    A .nsp holds the query as rules that Navidrome applies to what stands in
    your files, so it follows the library; it can ask for tags, not for scores.
    """
    from moodbook.library.playlist import FORMATS, write_playlist, write_smart_playlist
    from moodbook.library.query import parse_query
    from moodbook.library.search import search
    from moodbook.outputs import check_output

    suffix = check_output(output, FORMATS, force=force)
    if (from_tag is None) != (to_tag is None):
        raise DataError("an arc needs both --from and --to")
    if like is not None and from_tag is not None:
        raise DataError("choose either --like or an arc with --from and --to")
    name = output.stem if title is None else title
    with pointing_at_mistakes(), open_catalogue(catalogue, model) as (opened, chosen):
        condition = parse_query(query, chosen.tags)
        if suffix == ".nsp":
            if like is not None or from_tag is not None:
                raise DataError("Navidrome's rules have no --like and no arc; write an .m3u8 or .xspf")
            write_smart_playlist(output, condition, name, limit, force=force)
            sys.stderr.write(f"moodbook: wrote the rules to {output}\n")
            return
        tracks = search(opened, condition, model=chosen)
        if like is not None:
            tracks = _like(opened, chosen, tracks, like, limit or _LIMIT, model)
        elif from_tag is not None and to_tag is not None:
            tracks = _arc(opened, chosen, tracks, from_tag, to_tag, limit or _LIMIT)
        tracks = tracks[: limit or _LIMIT]
        if not tracks:
            raise DataError(
                f"no track of the catalogue meets the query {query!r}, so there is no playlist; name fewer conditions, "
                "or scan more music"
            )
        write_playlist(output, tracks, name, absolute=absolute, force=force)
    sys.stderr.write(f"moodbook: wrote {counted(len(tracks), 'track')} to {output}\n")


def _like(
    catalogue: Catalogue, model: Model, among: Sequence[Track], name: str, limit: int, model_name: str | None
) -> list[Track]:
    from moodbook.library.similar import TrackVectors, similar

    vectors = TrackVectors.load(catalogue, model)
    seed, vector = find_seed(catalogue, model, vectors, name, model_name)
    allowed = {track.payload_id for track in among}
    matches = similar(catalogue, model, vectors, vector, without=seed, among=allowed, limit=limit)
    return [*([] if seed is None else [seed]), *(match.track for match in matches)]


def _arc(
    catalogue: Catalogue, model: Model, among: Sequence[Track], source: str, target: str, limit: int
) -> list[Track]:
    from moodbook.library.search import tracks_of_payloads
    from moodbook.library.similar import TrackVectors, arc, ends_of_arc, restrict

    for tag in (source, target):
        model.tags.column(tag)  # Says which tags there are, where it is none.
    first, last = ends_of_arc(list(among), source, target)
    vectors = restrict(TrackVectors.load(catalogue, model), [track.payload_id for track in among])
    return tracks_of_payloads(catalogue, model, list(arc(vectors, first.payload_id, last.payload_id, limit)))
