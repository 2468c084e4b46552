"""A catalogue looked through before it is relied on."""

from __future__ import annotations

from moodbook.library.catalogue import Catalogue
from moodbook.library.known_model import Model
from moodbook.library.stored import damaged, read_vectors

_ROWS_AT_A_TIME = 10_000


def check_catalogue(catalogue: Catalogue) -> None:
    """Read all that a catalogue says of music, so that nothing in it fails later.

    Raises:
        CatalogueError: It is damaged, or cannot be read.
    """
    with catalogue.reading() as connection:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damaged(catalogue.path, " ".join(str(found).split()))
    for model in catalogue.models():
        catalogue.failed_payloads(model)
        _check_analyses(catalogue, model)
    # Not as files are listed: of a large library that takes longer than all else here.
    wrong = "SELECT id FROM file WHERE typeof(path) <> 'blob' OR typeof(payload_id) <> 'integer' LIMIT 1"
    with catalogue.reading() as connection:
        for (row,) in connection.execute(wrong):
            raise damaged(catalogue.path, f"row {row} of its files holds values of another kind")


def _check_analyses(catalogue: Catalogue, model: Model) -> None:
    dims = None
    with catalogue.reading() as connection:
        cursor = connection.execute(
            "SELECT probabilities, music, embedding FROM analysis WHERE model_id = ?", (model.id,)
        )
        while rows := cursor.fetchmany(_ROWS_AT_A_TIME):
            model.scores([packed for packed, _, _ in rows])
            for _, music, _ in rows:
                model.is_music(music)
            embeddings = [embedding for _, _, embedding in rows if embedding is not None]
            if embeddings:
                what = f"the embedding of a recording by {model.name!r}"
                dims = read_vectors(catalogue.path, embeddings, what, dims).shape[1]
