"""A head's words for every recording of a catalogue, so that search, playlists, numbers and tables know them."""

from __future__ import annotations

import numpy as np

from moodbook.errors import CatalogueError, ModelError
from moodbook.library.catalogue import Catalogue
from moodbook.library.known_model import Model
from moodbook.library.personal.head import Head, read_head
from moodbook.library.search import fold
from moodbook.library.stored import read_vectors
from moodbook.tags import TagSet

_ROWS_AT_A_TIME = 5_000


def apply_head(catalogue: Catalogue, head: Head) -> tuple[Model, int]:
    """Enter the owner's words for all recordings that the head's model has heard and that do not have them yet.

    In the catalogue they are a model of their own whose words are the owner's, then those of the model that hears; an
    own word takes the place of a word of the same name. It becomes the one that is used where none is named. What an
    earlier head of the same name has said is dropped.

    Args:
        catalogue: Opened with `create`.
        head: The words.

    Returns:
        The model, and the number of recordings that got their words now.

    Raises:
        CatalogueError: The head's model has not scanned this catalogue, or it cannot be written.
        ModelError: The embeddings in the catalogue do not fit the head.
    """
    base = _base(catalogue, head)
    own = {fold(word) for word in head.words}
    kept = [column for column, tag in enumerate(base.tags) if fold(tag) not in own]
    tags = TagSet((*head.words, *(base.tags.names[column] for column in kept)))
    thresholds = dict(zip(base.tags, base.thresholds, strict=True)) | head.thresholds
    for earlier in catalogue.models():
        if earlier.name == head.name and earlier.base is not None and earlier.sha256 != head.sha256:
            catalogue.drop_model(earlier)
    model = catalogue.enter_model(
        head.name, head.sha256, tags, {tag: thresholds[tag] for tag in tags}, base=base.sha256
    )
    return model, _enter_scores(catalogue, head, base, model, kept)


def refresh_heads(catalogue: Catalogue, model: Model) -> list[str]:
    """Give new recordings the words of every head that was applied to this catalogue and stands on a model.

    Words that were fitted again are applied as they are now. Where a head cannot be used, what it said before stays.

    Args:
        catalogue: Opened with `create`.
        model: What has scanned.

    Returns:
        Why a head could not be applied, one line each.

    Raises:
        CatalogueError: The catalogue cannot be written.
    """
    problems = []
    # The last one that was used comes last again, and so stays the one that is used.
    for applied in reversed(catalogue.models()):
        if applied.base == model.sha256:
            try:
                head = read_head(applied.name)
                if head.config.base_sha256 != model.sha256:
                    raise ModelError(
                        f"the words '{applied.name}' were fitted again on what another model hears; fit them again "
                        f"on {model.name}, or scan with {head.config.base_name}"
                    )
                apply_head(catalogue, head)
            except ModelError as error:
                problems.append(str(error))
                thresholds = dict(zip(applied.tags, applied.thresholds, strict=True))
                catalogue.enter_model(applied.name, applied.sha256, applied.tags, thresholds, base=applied.base)
    return problems


def _base(catalogue: Catalogue, head: Head) -> Model:
    for model in catalogue.models():
        if model.sha256 == head.config.base_sha256:
            return model
    raise CatalogueError(
        f"the words '{head.name}' stand on what {head.config.base_name} ({head.config.base_sha256[:8]}) hears, which "
        f"has not scanned into the catalogue '{catalogue.path}'; scan with it, or fit the words again"
    )


def _enter_scores(catalogue: Catalogue, head: Head, base: Model, model: Model, kept: list[int]) -> int:
    # Missing, or made of what the base heard in another precision before.
    missing = (
        "SELECT payload_id, probabilities, embedding, music, precision FROM analysis AS heard WHERE model_id = ?"
        " AND embedding IS NOT NULL AND NOT EXISTS (SELECT 1 FROM analysis"
        " WHERE payload_id = heard.payload_id AND model_id = ? AND precision IS heard.precision) LIMIT ?"
    )
    entered = 0
    while True:
        with catalogue.transaction() as connection:
            rows = connection.execute(missing, (base.id, model.id, _ROWS_AT_A_TIME)).fetchall()
            if not rows:
                return entered
            what = f"the embedding of a recording by {base.name!r}"
            embeddings = read_vectors(catalogue.path, [embedding for _, _, embedding, _, _ in rows], what)
            heard = base.scores([packed for _, packed, _, _, _ in rows])
            scores = np.concatenate([head.probabilities(embeddings), heard[:, kept]], axis=1).astype("<f4")
            connection.executemany(
                "INSERT OR REPLACE INTO analysis (payload_id, model_id, probabilities, note, music, precision)"
                " VALUES (?, ?, ?, '', ?, ?)",
                [
                    (payload_id, model.id, row.tobytes(), music, precision)
                    for (payload_id, _, _, music, precision), row in zip(rows, scores, strict=True)
                ],
            )
            entered += len(rows)
