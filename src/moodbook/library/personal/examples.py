"""Statements about files become examples: recordings with their embeddings, labels, and groups for cross-validation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int64

from moodbook.errors import AudioError, DataError
from moodbook.library.catalogue import Catalogue
from moodbook.library.known_model import Model
from moodbook.library.lookup import find_payload
from moodbook.library.personal.sources import Statement
from moodbook.library.search import fold, tracks_of_payloads
from moodbook.library.similar import TrackVectors
from moodbook.model.scores import TagFailure

MOST_OTHERS = 2_000
"""Recordings without a statement that stand for "not this word" where that is asked for; more teach nothing new."""
COPY_COSINE = 0.9
"""Recordings as alike as this are one recording in two files, or as good as. Measured with the bundled model: 39
tracks and their own copies as MP3 of 64 and 128 kbit/s and Opus of 48 have 0.91 at least (median 0.98); of 153 tracks
by one composer one pair of different ones has more than 0.9."""
_ROWS_AT_A_TIME = 1_000
_NAMED_CONTRADICTIONS = 5  # The others are counted.


@dataclass(frozen=True, eq=False)
class Examples:
    """What a head is learned from, in the order of the recordings' hashes.

    Attributes:
        words: The owner's words, in the order in which they were first said.
        sha256s: Hash of each recording.
        labels: Which recordings have which words.
        embeddings: Of each recording, of unit length.
        groups: A number for each recording; those of one album, and copies of one recording, share it.
        others: How many at the end of the rows are others, about which nothing was said.
        unheard: Recordings that cannot be examples: the model has not heard them, or their files are missing.
    """

    words: tuple[str, ...]
    sha256s: tuple[str, ...]
    labels: Bool[np.ndarray, "recordings words"]
    embeddings: Float32[np.ndarray, "recordings dimensions"]
    groups: Int64[np.ndarray, " recordings"]
    others: int
    unheard: int

    def by_hash(self) -> dict[str, tuple[str, ...]]:
        """Give the words of each recording about which something was said."""
        said = len(self.sha256s) - self.others
        return {
            sha256: tuple(word for word, has in zip(self.words, row, strict=True) if has)
            for sha256, row in zip(self.sha256s[:said], self.labels[:said], strict=True)
        }


def resolve(
    catalogue: Catalogue, statements: Iterable[Statement]
) -> tuple[dict[str, tuple[str, ...]], tuple[TagFailure, ...]]:
    """Find the recordings that statements are about; the words of several about one recording add up.

    Returns:
        The words by the hash of the recording, and the files that the catalogue does not know.

    Raises:
        DataError: Of one recording it is said that it has words, and that it has none.
        CatalogueError: The catalogue cannot be read.
    """
    with catalogue.reading() as connection:
        sha256s: dict[int, str] = dict(connection.execute("SELECT id, sha256 FROM payload"))
    words: dict[str, tuple[str, ...]] = {}
    wordless: dict[str, Path] = {}
    worded: dict[str, Path] = {}
    left_out = []
    for statement in statements:
        try:
            payload_id = find_payload(catalogue, statement.path)
        except (AudioError, OSError) as error:
            reason = error.reason if isinstance(error, AudioError) else str(error.strerror)
            left_out.append(TagFailure(statement.path, reason))
            continue
        if payload_id is None:
            left_out.append(TagFailure(statement.path, "it is not in the catalogue. Scan it first."))
        else:
            sha256 = sha256s[payload_id]
            words[sha256] = (*words.get(sha256, ()), *statement.words)
            (worded if statement.words else wordless).setdefault(sha256, statement.path)
    contradictions = [
        f"'{worded[sha256]}' has {', '.join(words[sha256])} in one place, '{path}' nothing in another"
        for sha256, path in wordless.items()
        if sha256 in worded
    ]
    if contradictions:
        more = len(contradictions) - _NAMED_CONTRADICTIONS
        listed = "; ".join(contradictions[:_NAMED_CONTRADICTIONS]) + (f"; and {more} more" if more > 0 else "")
        raise DataError(
            f"of {len(contradictions)} recordings it is said that they have words and that they have none (the same "
            f"music may be in two files): {listed}. Take one of the two away"
        )
    return words, tuple(left_out)


def gather(catalogue: Catalogue, model: Model, said: Mapping[str, Sequence[str]], *, others: bool = False) -> Examples:
    """Make examples of what is said about recordings.

    A recording about which something was said has its words and no other one.

    Args:
        catalogue: Where their embeddings are.
        model: Whose.
        said: Words by the hash of the recording.
        others: Take recordings about which nothing was said as having none of the words, `MOST_OTHERS` at most, drawn
            by their hashes.

    Raises:
        DataError: The model gives no embedding, or no word was said of anything that it has heard.
        CatalogueError: The catalogue cannot be read.
    """
    vectors = TrackVectors.load(catalogue, model)
    if vectors.from_scores or not len(vectors.payload_ids):
        raise DataError(
            f"the catalogue holds no embedding by {model.name}, which words of your own stand on; "
            "scan with a model that gives one"
        )
    with catalogue.reading() as connection:
        ids: dict[str, int] = dict(connection.execute("SELECT sha256, id FROM payload"))
    rows = {payload: row for row, payload in enumerate(vectors.payload_ids.tolist())}
    known = {sha256: rows[ids[sha256]] for sha256 in sorted(said) if ids.get(sha256) in rows}
    spelling: dict[str, str] = {}  # The first spelling of a word stands for all.
    for sha256 in said:
        for word in said[sha256]:
            spelling.setdefault(fold(word), word)
    words = tuple(spelling.values())
    if not said:
        raise DataError("none of the files that were named is in the catalogue; check their names, and scan them first")
    if not words:
        raise DataError("what was named says no word of any file; name what does: moodbook personal fit --help")
    if not known:
        raise DataError("no word was said of any recording that the catalogue has heard; scan the music first")
    drawn: dict[str, int] = {}
    if others:
        unsaid = sorted((sha256 for sha256 in ids if sha256 not in said and ids[sha256] in rows), key=_draw)
        drawn = {sha256: rows[ids[sha256]] for sha256 in sorted(unsaid[:MOST_OTHERS])}
    chosen = {**known, **drawn}
    labels = np.zeros((len(chosen), len(words)), dtype=bool)
    for row, sha256 in enumerate(known):
        for word in said[sha256]:
            labels[row, words.index(spelling[fold(word)])] = True
    embeddings = vectors.vectors[list(chosen.values())]
    payloads = vectors.payload_ids[list(chosen.values())].tolist()
    return Examples(
        words,
        tuple(chosen),
        labels,
        embeddings,
        _groups(catalogue, model, payloads, embeddings),
        others=len(drawn),
        unheard=len(said) - len(known),
    )


def _draw(sha256: str) -> bytes:
    """Shuffle, the same way on every machine."""
    return hashlib.sha256(f"others {sha256}".encode()).digest()


def _groups(
    catalogue: Catalogue,
    model: Model,
    payloads: Sequence[int],
    embeddings: Float32[np.ndarray, "recordings dimensions"],
) -> Int64[np.ndarray, " recordings"]:
    """Put recordings that must not stand on two sides of a fold into one group: an album, a song, a copy."""
    leader = list(range(len(payloads)))

    def find(row: int) -> int:
        while leader[row] != row:
            leader[row] = leader[leader[row]]
            row = leader[row]
        return row

    def join(one: int, other: int) -> None:
        first, second = sorted((find(one), find(other)))
        leader[second] = first

    tracks = {track.payload_id: track for track in tracks_of_payloads(catalogue, model, payloads)}
    seen: dict[tuple[str, str, str], int] = {}
    for row, payload in enumerate(payloads):
        track = tracks[payload]
        for kind, name in (("album", track.album), ("title", track.title)):
            if track.artist and name:
                join(seen.setdefault((kind, fold(track.artist), fold(name)), row), row)
    for start in range(0, len(payloads), _ROWS_AT_A_TIME):
        alike = embeddings[start : start + _ROWS_AT_A_TIME] @ embeddings.T >= COPY_COSINE
        for one, other in zip(*np.nonzero(alike), strict=True):
            join(start + int(one), int(other))
    return np.array([find(row) for row in range(len(payloads))], dtype=np.int64)
