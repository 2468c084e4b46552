"""Which recordings to label next: those whose answer would tell most about the words.

The examples leave the weights of a word open with the covariance S = (Hessian)^-1, as
`moodbook.library.personal.logistic` has it. Labelling a recording x, which has the word with probability p, narrows
them; the information gained is, to second order,

    gain(x) = 1/2 log2(1 + p (1 - p) x' S x)   bits

large where the word is in doubt (p near one half) and where nothing like x was labelled yet (x' S x large). The gains
of the words add up. The recordings are taken one after the other, each as if those before it had been answered, S
becoming S - v S x x' S / (1 + v x' S x) with v = p (1 - p), so that no two are asked that would tell the same (MacKay,
Information-based objective functions for active data selection, Neural Computation 4, 1992).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from moodbook.errors import DataError
from moodbook.library.catalogue import Catalogue
from moodbook.library.known_model import Model
from moodbook.library.personal.examples import gather
from moodbook.library.personal.head import Head
from moodbook.library.personal.logistic import features, hessian, probabilities
from moodbook.library.search import Track, tracks_of_payloads
from moodbook.library.similar import TrackVectors
from moodbook.model.presence import MUSIC

_ASKED_WORDS = 3


@dataclass(frozen=True)
class Suggestion:
    """A recording whose label would teach something.

    Attributes:
        track: The recording.
        bits: What its label is expected to tell, over all words.
        doubts: The words that it would tell most about, with their probabilities, most first.
    """

    track: Track
    bits: float
    doubts: tuple[tuple[str, float], ...]


def suggest(catalogue: Catalogue, model: Model, head: Head, count: int) -> list[Suggestion]:
    """Choose recordings to label.

    Args:
        catalogue: Where.
        model: The one that the head stands on.
        head: The words, with their examples.
        count: How many recordings, at most.

    Raises:
        DataError: The catalogue has none of the examples any more.
        CatalogueError: It cannot be read.
    """
    examples = gather(catalogue, model, head.config.examples, others=head.config.with_others)
    vectors = TrackVectors.load(catalogue, model)
    said = set(head.config.examples)
    with catalogue.reading() as connection:
        unsaid = {
            payload_id
            for payload_id, sha256 in connection.execute(
                "SELECT id, sha256 FROM payload JOIN analysis ON payload_id = id AND model_id = ?"
                " WHERE coalesce(music, 1) >= ?",
                (model.id, MUSIC),
            )
            if sha256 not in said
        }
    places = np.flatnonzero(np.isin(vectors.payload_ids, list(unsaid)))
    if not len(places):
        raise DataError("every recording of the catalogue is labelled, so there is nothing to suggest")
    candidates, learned = features(vectors.vectors[places]), features(examples.embeddings)
    doubts = [
        _Doubt(candidates, learned, weights.astype(np.float64), facts.penalty)
        for facts, weights in zip(head.config.words, head.weights, strict=True)
    ]
    chosen: list[tuple[int, float, Float[np.ndarray, " words"]]] = []
    for _ in range(min(count, len(places))):
        gains = np.stack([doubt.bits() for doubt in doubts])
        total = gains.sum(axis=0)
        total[[row for row, _, _ in chosen]] = -1
        best = int(np.argmax(total))
        chosen.append((best, float(total[best]), gains[:, best]))
        for doubt in doubts:
            doubt.answer(best)
    payloads = [int(vectors.payload_ids[places[row]]) for row, _, _ in chosen]
    tracks = {track.payload_id: track for track in tracks_of_payloads(catalogue, model, payloads)}
    names = head.words.names
    return [
        Suggestion(
            tracks[payload],
            bits,
            tuple((names[word], float(doubts[word].p[row])) for word in np.argsort(-gains)[:_ASKED_WORDS].tolist()),
        )
        for payload, (row, bits, gains) in zip(payloads, chosen, strict=True)
    ]


class _Doubt:
    """What is still open about one word."""

    def __init__(self, candidates: np.ndarray, learned: np.ndarray, weights: np.ndarray, penalty: float) -> None:
        self._candidates = candidates
        self.p = probabilities(candidates, weights)
        self._covariance = np.linalg.inv(hessian(learned, weights, penalty))
        self._spread = np.einsum("cf,cf->c", candidates @ self._covariance, candidates)

    def bits(self) -> Float[np.ndarray, " candidates"]:
        """Give what the label of each candidate would tell."""
        gain: np.ndarray = 0.5 * np.log2(1 + self.p * (1 - self.p) * np.maximum(self._spread, 0))
        return gain

    def answer(self, row: int) -> None:
        """Go on as if a candidate had been labelled."""
        towards = self._covariance @ self._candidates[row]
        v = float(self.p[row] * (1 - self.p[row]))
        share = v / (1 + v * float(self._candidates[row] @ towards))
        self._covariance = self._covariance - share * np.outer(towards, towards)
        self._spread = self._spread - share * (self._candidates @ towards) ** 2
