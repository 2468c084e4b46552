"""What tagging a file gives."""

from __future__ import annotations

import os
import re
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32

from moodbook.model.presence import is_music
from moodbook.tags import TagSet

if TYPE_CHECKING:
    from moodbook.model.precision import Precision

DECIMALS = 6
"""Decimals of every number in a record: finer than the noise between two machines' rounding is worth."""


@dataclass(frozen=True)
class TagStrength:
    """One tag of a track.

    Attributes:
        tag: Its name.
        probability: In [0, 1].
        decided: Whether the probability is above the tag's threshold.
    """

    tag: str
    probability: float
    decided: bool


@dataclass(frozen=True, eq=False)
class TagScores:
    """The tags of one track.

    Attributes:
        path: The file, as it was named.
        tags: Names of the columns.
        probabilities: Of the whole track: the mean over its segments, weighted by `filled`.
        decisions: Which probabilities are above their thresholds.
        music: Probability that it is music at all, below one half where nothing is decided for that; None where the
            model cannot tell.
        taggram: The probabilities of each segment.
        embedding: What the track sounds like, of unit length: tracks are as alike as the cosine of their embeddings
            under one model. None where the model gives none. It is not in the record.
        filled: Share of music in each segment; below 1 where the last one was filled up with silence.
        segment_seconds: From the start of one segment to the start of the next.
        duration_seconds: Of the track; None where only the first segment was heard and the file does not say.
        padded: Whether the track is shorter than one segment, so that silence was part of all that was heard.
        note: What is special about the result, for a person; empty where nothing is.
        model_name: The model on whose word this stands.
        model_sha256: Its hash.
        precision: How finely its network was computed.
    """

    path: Path
    tags: TagSet
    probabilities: Float32[np.ndarray, " tags"]
    decisions: Bool[np.ndarray, " tags"]
    music: float | None
    taggram: Float32[np.ndarray, "segments tags"]
    embedding: Float32[np.ndarray, " dimensions"] | None
    filled: Float32[np.ndarray, " segments"]
    segment_seconds: float
    duration_seconds: float | None
    padded: bool
    note: str
    model_name: str
    model_sha256: str
    precision: Precision

    @property
    def is_music(self) -> bool:
        """Whether it is taken for music."""
        return is_music(self.music)

    @property
    def strengths(self) -> tuple[TagStrength, ...]:
        """Every tag with its strength, in the model's order."""
        columns = zip(self.tags, self.probabilities.tolist(), self.decisions.tolist(), strict=True)
        return tuple(TagStrength(*column) for column in columns)

    def top(self, n: int | None = None) -> tuple[TagStrength, ...]:
        """Give the strongest tags, strongest first; all of them where `n` is None. Equals keep the model's order."""
        return strongest(self.strengths)[:n]

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """Give the record that is written as JSON: the same keys in the same order for every track.

        Every value along the tag axis stands under its tag's name. Numbers have 6 decimals.

        Args:
            top: Keep the probabilities and the taggram of only so many of the strongest tags, strongest first; None
                keeps all, in the model's order. What was decided is told whole in either case.
        """
        names = self.tags.names if top is None else tuple(strength.tag for strength in self.top(top))
        columns = [self.tags.column(name) for name in names]
        return {
            **path_fields(self.path),
            "duration_seconds": None if self.duration_seconds is None else _rounded(self.duration_seconds),
            "padded": self.padded,
            "note": self.note,
            "music": None if self.music is None else _rounded(self.music),
            "decided": [name for name, decided in zip(self.tags, self.decisions, strict=True) if decided],
            "probabilities": {
                name: _rounded(self.probabilities[column]) for name, column in zip(names, columns, strict=True)
            },
            "segment_seconds": _rounded(self.segment_seconds),
            "filled": [_rounded(share) for share in self.filled],
            "taggram": {
                name: [_rounded(value) for value in self.taggram[:, column]]
                for name, column in zip(names, columns, strict=True)
            },
            "model": self.model_name,
            "model_sha256": self.model_sha256,
            "precision": self.precision,
        }


@dataclass(frozen=True)
class TagFailure:
    """A file that could not be tagged.

    Attributes:
        path: The file, as it was named.
        reason: What is wrong and what to do.
    """

    path: Path
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Give the record that is written as JSON."""
        return {**path_fields(self.path), "error": printable(self.reason)}


def strongest(strengths: Iterable[TagStrength]) -> tuple[TagStrength, ...]:
    """Sort by strength, strongest first; equals keep their order."""
    return tuple(sorted(strengths, key=lambda strength: -strength.probability))


def pool(
    taggram: Float32[np.ndarray, "segments columns"], filled: Float32[np.ndarray, " segments"]
) -> Float32[np.ndarray, " columns"]:
    """Average figures of segments over their track, each segment weighted by its share of music."""
    weights = filled.astype(np.float64)
    mean: np.ndarray = weights @ taggram.astype(np.float64) / weights.sum()
    return mean.astype(np.float32)


def path_fields(path: Path) -> dict[str, str]:
    r"""Write a path into a record, whatever bytes its name is made of.

    ``path`` is always valid Unicode. Where a file name is not (its bytes are no UTF-8), each stray byte is written as
    ``\xNN``, and ``path_bytes`` gives the exact name, percent-encoded as in a URL.
    """
    raw = os.fsencode(path)
    try:
        return {"path": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"path": raw.decode("utf-8", "backslashreplace"), "path_bytes": urllib.parse.quote_from_bytes(raw)}


def printable(text: str) -> str:
    r"""Write stray bytes and control characters (a newline, an escape sequence) as ``\xNN``, for a line of text."""
    whole = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: f"\\x{ord(match[0]):02x}", whole)


def _rounded(value: float | np.floating[Any]) -> float:
    return round(float(value), DECIMALS)
