"""A model as the catalogue knows it, and what it reads from the numbers that are stored of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from moodbook.library import stored
from moodbook.model.presence import is_music
from moodbook.model.scores import TagStrength
from moodbook.tags import TagSet

_ROUNDING = 1e-3
"""How far from 0 to 1 a mean of probabilities may come out, and more."""


@dataclass(frozen=True)
class Model:
    """A model as the catalogue knows it.

    Attributes:
        id: Its row.
        name: On its card.
        sha256: Its hash.
        tags: Names of the columns of its scores.
        thresholds: In the same order.
        base: Hash of the model that hears for it, where its words are the owner's own; None where it hears itself.
        catalogue: The file that knows it.
    """

    id: int
    name: str
    sha256: str
    tags: TagSet
    thresholds: tuple[float, ...]
    base: str | None
    catalogue: Path

    def scores(self, packed: Sequence[object]) -> Float32[np.ndarray, "recordings tags"]:
        """Read the scores of recordings as they are stored.

        Raises:
            CatalogueError: They are none.
        """
        what = f"the scores of a recording by {self.name!r}"
        scores = stored.read_vectors(self.catalogue, packed, what, len(self.tags))
        if len(scores) and not (scores.min() >= -_ROUNDING and scores.max() <= 1 + _ROUNDING):
            raise stored.damaged(self.catalogue, f"{what} are not from 0 to 1")
        return scores

    def is_music(self, music: object) -> bool:
        """Say whether a recording is music, by what is stored of it.

        Raises:
            CatalogueError: It is no probability.
        """
        if not stored.is_number(music):
            raise stored.damaged(self.catalogue, f"whether a recording is music is {music!r}, no probability")
        return is_music(music)  # type: ignore[arg-type]

    def strengths(self, probabilities: bytes, music: float | None) -> tuple[TagStrength, ...]:
        """Read what the catalogue keeps of a recording: every tag with its strength, in the model's order.

        Args:
            probabilities: As they are stored.
            music: Probability that it is music at all; below one half nothing is decided.

        Raises:
            CatalogueError: That is not what the catalogue must keep.
        """
        values = self.scores([probabilities])[0].tolist()
        is_music = self.is_music(music)
        named = zip(self.tags, values, self.thresholds, strict=True)
        return tuple(TagStrength(tag, value, value > threshold and is_music) for tag, value, threshold in named)
