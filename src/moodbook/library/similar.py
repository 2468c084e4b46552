"""Tracks that sound alike: the cosine between what the model hears in whole tracks."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from moodbook.audio.payload import payload_hash
from moodbook.errors import DataError
from moodbook.files import is_there
from moodbook.library.catalogue import Catalogue
from moodbook.library.known_model import Model
from moodbook.library.query import Or, Query, Text
from moodbook.library.scan import absolute
from moodbook.library.search import Track, fold, search, track_of_file, track_of_payload, tracks_of_payloads
from moodbook.library.stored import damaged, read_vectors
from moodbook.model.scores import TagScores

_ROWS_AT_A_TIME = 10_000
_SMALLEST_PROBABILITY = 1e-6
_BLOCK = 256
_SPARE = 64  # Looked at beyond what is asked for, where duplicates are left out.
_LISTED = 5


@dataclass(frozen=True)
class Match:
    """A track that sounds like another.

    Attributes:
        track: The track.
        cosine: How alike, from -1 to 1 (the same).
    """

    track: Track
    cosine: float


class TrackVectors:
    """One vector of unit length for every recording of a catalogue, in one matrix that is searched exactly.

    The vectors are the model's embeddings. Of a model that gives none they are its scores, as log-odds less their mean
    over the library, so that tracks are alike when the same tags stand out of the library's mean.

    Args:
        payload_ids: The recordings, in rising order.
        vectors: A row for each; brought to unit length here.
        centre: What was taken from each.
        from_scores: Whether they are log-odds.
        left_out: Recordings without an embedding, beside others that have one.
    """

    def __init__(
        self,
        payload_ids: Int64[np.ndarray, " tracks"],
        vectors: Float32[np.ndarray, "tracks dims"],
        centre: Float32[np.ndarray, " dims"] | None = None,
        *,
        from_scores: bool = False,
        left_out: int = 0,
    ) -> None:
        self.payload_ids = payload_ids
        self.centre = np.zeros(vectors.shape[1], dtype=np.float32) if centre is None else centre
        self.vectors = _unit(vectors)
        self.from_scores = from_scores
        self.left_out = left_out

    @classmethod
    def load(cls, catalogue: Catalogue, model: Model) -> TrackVectors:
        """Read the vectors of all recordings that are there; for the owner's own words those of the model that hears.

        Raises:
            CatalogueError: The catalogue cannot be read.
        """
        model = catalogue.hearing_model(model)
        present = (
            "FROM analysis WHERE model_id = ?"
            " AND EXISTS (SELECT 1 FROM file WHERE file.payload_id = analysis.payload_id AND missing_since IS NULL)"
        )
        with catalogue.reading() as connection:
            total, embedded, scored = connection.execute(
                "SELECT count(*), count(embedding),"
                f" count(*) FILTER (WHERE typeof(probabilities) = 'blob' AND length(probabilities) = ?) {present}",
                (4 * len(model.tags), model.id),
            ).fetchone()
            if scored < total:  # Whoever takes the embeddings goes on to the scores beside them.
                raise damaged(
                    catalogue.path,
                    f"the scores of {total - scored} recordings by {model.name!r} are not {len(model.tags)} numbers",
                )
            column = "embedding" if embedded else "probabilities"
            cursor = connection.execute(
                f"SELECT payload_id, {column} {present} AND {column} IS NOT NULL ORDER BY payload_id",
                (model.id,),
            )
            what = f"what {model.name!r} says of a recording ({column})"
            dims = None
            ids, parts = [np.zeros(0, np.int64)], []
            while rows := cursor.fetchmany(_ROWS_AT_A_TIME):
                ids.append(np.array([payload for payload, _ in rows], dtype=np.int64))
                packed = [one for _, one in rows]
                parts.append(read_vectors(catalogue.path, packed, what, dims) if embedded else model.scores(packed))
                dims = parts[0].shape[1]
        vectors = np.concatenate(parts) if parts else np.zeros((0, 1), np.float32)
        if embedded or not len(vectors):
            return cls(np.concatenate(ids), vectors, left_out=total - embedded if embedded else 0)
        odds = _log_odds(vectors)
        centre = odds.mean(axis=0, dtype=np.float64).astype(np.float32)
        return cls(np.concatenate(ids), odds - centre, centre, from_scores=True)

    def of_scores(self, scores: TagScores) -> Float32[np.ndarray, " dims"]:
        """Give the vector of a track that is not in the catalogue.

        Raises:
            DataError: The catalogue holds no recording that it could be compared with.
        """
        raw = _log_odds(scores.probabilities) if self.from_scores else scores.embedding
        if raw is None or raw.shape != self.centre.shape:
            raise DataError(
                "the catalogue holds nothing that this can be compared with; scan with the same model first"
            )
        vector: Float32[np.ndarray, " dims"] = _unit((raw - self.centre)[None])[0]
        return vector

    def of_payload(self, payload_id: int) -> Float32[np.ndarray, " dims"] | None:
        """Give the vector of a recording; None where it has none."""
        rows = self._rows([payload_id])
        return self.vectors[rows[0]] if len(rows) else None

    def _rows(self, payload_ids: Collection[int]) -> Int64[np.ndarray, " found"]:
        """Give the rows of those recordings that have one."""
        wanted = np.fromiter(payload_ids, dtype=np.int64)
        rows = np.minimum(np.searchsorted(self.payload_ids, wanted), len(self.payload_ids) - 1)
        found: np.ndarray = rows[self.payload_ids[rows] == wanted] if len(self.payload_ids) else rows[:0]
        return found

    def nearest(
        self, vector: Float32[np.ndarray, " dims"], count: int, without: Collection[int] = ()
    ) -> list[tuple[int, float]]:
        """Find the recordings with the largest cosine, exactly.

        Args:
            vector: Of unit length.
            count: How many at most.
            without: Recordings that are not wanted.

        Returns:
            Recording and cosine, largest first; equals in the order of their rows.
        """
        cosines = self.vectors @ vector
        cosines[self._rows(without)] = -np.inf
        rows = np.flatnonzero(cosines >= _lower_bound(cosines, count))
        rows = rows[np.argsort(-cosines[rows], kind="stable")][:count]
        return [(int(self.payload_ids[row]), float(cosines[row])) for row in rows if cosines[row] > -np.inf]


def similar(
    catalogue: Catalogue,
    model: Model,
    vectors: TrackVectors,
    seed: Float32[np.ndarray, " dims"],
    *,
    without: Track | None = None,
    among: Collection[int] | None = None,
    limit: int = 20,
) -> list[Match]:
    """Find the tracks that sound most like a seed.

    Args:
        catalogue: Where.
        model: Whose ears.
        vectors: Of the catalogue and the model.
        seed: The seed's vector.
        without: The seed itself: it, and tracks with its artist and title, are left out.
        among: Recordings to choose from; None takes all.
        limit: How many.
    """
    unwanted = set() if without is None else {without.payload_id}
    if among is not None:
        unwanted |= set(vectors.payload_ids.tolist()) - set(among)
    found: dict[int, float] = dict(vectors.nearest(seed, limit + _SPARE, unwanted))
    matches = [
        Match(track, min(1.0, found[track.payload_id]))
        for track in tracks_of_payloads(catalogue, model, list(found))
        if without is None or not _is_same_song(track, without)
    ]
    return matches[:limit]


def find_track(catalogue: Catalogue, model: Model, name: str) -> Track | None:
    """Find the track that a user names: a file, or a part of a title, artist or path.

    Returns:
        None for a file whose music the catalogue does not know.

    Raises:
        AudioError: The file cannot be read.
        DataError: No track has that name, or several have.
    """
    if not name.strip():
        raise DataError("the track has no name; name a file, or a part of a title, artist or path")
    if is_there(name):
        return track_of_file(catalogue, model, absolute(name)) or track_of_payload(catalogue, model, payload_hash(name))
    known = track_of_file(catalogue, model, absolute(name)) if "\0" not in name else None
    if known is not None:
        return known  # A file of a disk that is not there now, named in full.
    exact: Query = Text("title", name, whole=True)
    loose: Query = Or((Text("title", name, False), Text("artist", name, False), Text("path", name, False)))
    for query in (exact, loose):
        found = search(catalogue, query, model=model, sort="path", limit=_LISTED + 1)
        if len(found) == 1:
            return found[0]
        if found:
            listed = "; ".join(os.fsdecode(os.fsencode(track.path)) for track in found[:_LISTED])
            more = "; and more" if len(found) > _LISTED else ""
            raise DataError(f"several tracks are called {name!r}: {listed}{more}. Name one of these files")
    raise DataError(f"there is no file {name!r}, and no track of the catalogue is called so; check the name")


def arc(vectors: TrackVectors, start: int, end: int, count: int) -> Iterator[int]:
    """Lead from one recording to another: for each step on the straight way between them the nearest one not yet used.

    Args:
        vectors: Of the recordings to choose from.
        start: The first recording.
        end: The last.
        count: How many in all, two at least; fewer come where there are fewer.

    Yields:
        The recordings in order.
    """
    first, last = vectors.of_payload(start), vectors.of_payload(end)
    if first is None or last is None:
        return
    used = {start, end}
    yield start
    for share in np.linspace(0, 1, min(count, len(vectors.payload_ids)))[1:-1]:
        target = _unit(((1 - share) * first + share * last).astype(np.float32)[None])[0]
        for payload, _ in vectors.nearest(target, 1, used):
            used.add(payload)
            yield payload
    yield end


def ends_of_arc(tracks: list[Track], source: str, target: str) -> tuple[Track, Track]:
    """Choose where an arc begins and ends: where one tag most outweighs the other.

    Raises:
        DataError: There are fewer than two tracks, the tags are one, or a tag is unknown.
    """
    for tag in (source, target):
        if tracks and tag not in tracks[0].probabilities:
            raise DataError(f"there is no tag {tag!r}; the tags: {', '.join(tracks[0].probabilities)}")
    if source == target:
        raise DataError(f"an arc leads from one tag to another, and both are {source!r}; choose two")
    if len(tracks) < 2:
        raise DataError(
            f"an arc needs two tracks of the catalogue that meet the query, and there are {len(tracks)}; name fewer "
            "conditions, or scan more music"
        )
    ordered = sorted(tracks, key=lambda track: track.probabilities[target] - track.probabilities[source])
    return ordered[0], ordered[-1]


def restrict(vectors: TrackVectors, payload_ids: Collection[int]) -> TrackVectors:
    """Keep only some recordings."""
    rows = np.isin(vectors.payload_ids, list(payload_ids))
    return TrackVectors(
        vectors.payload_ids[rows], vectors.vectors[rows], vectors.centre, from_scores=vectors.from_scores
    )


def _is_same_song(one: Track, other: Track) -> bool:
    if one.payload_id == other.payload_id:
        return True
    named = bool(one.artist and one.title)
    return named and (fold(one.artist), fold(one.title)) == (fold(other.artist), fold(other.title))


def _lower_bound(values: Float32[np.ndarray, " values"], count: int) -> float:
    """Give a number that at least `count` values reach, not far below the smallest of the largest `count`."""
    blocks = len(values) // _BLOCK
    if not count or blocks <= count:
        return -np.inf
    # So many blocks hold a value as large as this. Maxima are ten times faster than a partition of everything.
    maxima = values[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
    return float(np.partition(maxima, -count)[-count])


def _log_odds(probabilities: Float32[np.ndarray, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    kept = np.clip(probabilities.astype(np.float64), _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    odds: np.ndarray = np.log(kept / (1 - kept)).astype(np.float32)
    return odds


def _unit(vectors: Float32[np.ndarray, "tracks dims"]) -> Float32[np.ndarray, "tracks dims"]:
    """Bring rows to unit length; zeros stay zeros."""
    lengths = np.sqrt(np.einsum("td,td->t", vectors, vectors, dtype=np.float64))
    unit: np.ndarray = (vectors / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32)
    return unit
