"""`moodbook similar`: what sounds like a track."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from moodbook.cli.catalogue import (
    CatalogueOption,
    JsonOption,
    ModelOption,
    NullOption,
    PathsOption,
    open_catalogue,
    print_tracks,
)
from moodbook.cli.errors import ends_with_exit_code
from moodbook.cli.output import counted
from moodbook.errors import DataError, ModelError

if TYPE_CHECKING:
    import numpy as np

    from moodbook.library.catalogue import Catalogue
    from moodbook.library.known_model import Model
    from moodbook.library.search import Track
    from moodbook.library.similar import TrackVectors


@ends_with_exit_code
def similar(
    seed: Annotated[str, typer.Argument(metavar="TRACK", help="A file, or a part of a title, artist or path.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many tracks.")] = 20,
    as_json: JsonOption = False,
    paths: PathsOption = False,
    null: NullOption = False,
    model: ModelOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Find what sounds like a track, in the whole library.

    The number is the cosine between what the model hears in both tracks: 1 is
    the same. A file that is not in the catalogue is heard now, and not added.
    The track itself, its copies, and tracks of its artist and title are left
    out.

    Examples:
      moodbook similar song.mp3
      moodbook similar "Orbital Elevator" --limit 5
      moodbook similar song.mp3 --paths > like-this.m3u
    """
    from moodbook.library.similar import TrackVectors
    from moodbook.library.similar import similar as similar_tracks

    with open_catalogue(catalogue, model) as (opened, chosen):
        vectors = TrackVectors.load(opened, chosen)
        track, vector = find_seed(opened, chosen, vectors, seed, model)
        matches = similar_tracks(opened, chosen, vectors, vector, without=track, limit=limit)
    if vectors.left_out:
        sys.stderr.write(f"moodbook: left out, without an embedding: {counted(vectors.left_out, 'recording')}\n")
    print_tracks(
        [match.track for match in matches],
        (match.cosine for match in matches),
        "cosine",
        as_json=as_json,
        paths=paths,
        null=null,
    )
    if not matches:
        sys.stderr.write("moodbook: the catalogue holds no other track\n")


def find_seed(
    catalogue: Catalogue, model: Model, vectors: TrackVectors, name: str, model_name: str | None
) -> tuple[Track | None, np.ndarray]:
    """Give the track that a user names, if the catalogue knows it, and its vector; what it does not know is heard now.

    Raises:
        AudioError: The file cannot be read.
        DataError: There is no such track, several, or nothing to compare it with.
        ModelError: The model that scanned is not at hand.
    """
    from moodbook.library.similar import find_track
    from moodbook.model.tagger import Tagger

    track = find_track(catalogue, model, name)
    if track is not None:
        vector = vectors.of_payload(track.payload_id)
        if vector is None:
            raise DataError(f"{name!r} has no embedding in the catalogue; scan with a model that gives one")
        return track, vector
    if model.base is not None:
        model, model_name = catalogue.hearing_model(model), None
    tagger = Tagger.load(model_name if model_name is not None else model.name)
    if tagger.bundle.sha256 != model.sha256:
        raise ModelError(
            f"the catalogue was scanned by another {model.name} ({model.sha256[:8]}) than the one at hand "
            f"({tagger.bundle.sha256[:8]}); name its folder with --model, or scan again"
        )
    return None, vectors.of_scores(tagger(name))
