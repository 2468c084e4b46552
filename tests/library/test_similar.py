"""What sounds alike, against brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.library.conftest import cut, enter

from moodbook.audio.payload import payload_hash
from moodbook.errors import AudioError, DataError
from moodbook.library.catalogue import Catalogue
from moodbook.library.known_model import Model
from moodbook.library.metadata import Metadata
from moodbook.library.search import search, track_of_file
from moodbook.library.similar import TrackVectors, arc, ends_of_arc, find_track, restrict, similar
from moodbook.model.tagger import Tagger


@pytest.fixture
def vectors() -> TrackVectors:
    rng = np.random.default_rng(5)
    raw = rng.normal(size=(1_000, 32)).astype(np.float32)
    raw[7] = raw[3]  # The same twice.
    raw[11] = 0
    return TrackVectors(np.arange(10, 1_010, dtype=np.int64), raw)


def brute(vectors: TrackVectors, query: np.ndarray, count: int, without: set[int] = frozenset()) -> list[int]:
    """The nearest by float64 and a full sort."""
    matrix, vector = vectors.vectors.astype(np.float64), query.astype(np.float64)
    cosines = [
        (-float(row @ vector) / max(np.linalg.norm(row) * np.linalg.norm(vector), 1e-30), int(payload))
        for row, payload in zip(matrix, vectors.payload_ids, strict=True)
        if int(payload) not in without
    ]
    return [payload for _, payload in sorted(cosines)[:count]]


@pytest.mark.parametrize("count", [1, 10, 999, 1_000, 5_000])
def test_the_nearest_are_those_of_brute_force(vectors: TrackVectors, count: int) -> None:
    rng = np.random.default_rng(6)
    for _ in range(5):
        query = rng.normal(size=32).astype(np.float32)
        query /= np.linalg.norm(query)
        without = set(rng.choice(vectors.payload_ids, 20).tolist())
        found = vectors.nearest(query, count, without)
        # Beyond the first hundreds cosines are closer than float32 can tell.
        assert [payload for payload, _ in found][:100] == brute(vectors, query, count, without)[:100]
        cosines = [cosine for _, cosine in found]
        assert cosines == sorted(cosines, reverse=True)
        assert len(found) == min(count, 1_000 - len(without))


def test_equals_keep_their_order_and_zeros_are_like_nothing(vectors: TrackVectors) -> None:
    found = vectors.nearest(vectors.of_payload(13), 2)
    assert [payload for payload, _ in found] == [13, 17]
    assert [cosine for _, cosine in found] == pytest.approx([1, 1])
    assert dict(vectors.nearest(vectors.of_payload(13), 1_000))[21] == 0
    assert vectors.nearest(vectors.of_payload(13), 0) == []
    assert vectors.of_payload(9) is None
    assert vectors.of_payload(5_000) is None


def test_embeddings_come_from_the_catalogue(catalogue: Catalogue, model: Model) -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(30, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    payloads = [enter(catalogue, model, f"/{n:02d}", [0.5] * 4, embedding=row) for n, row in enumerate(rows)]
    enter(catalogue, model, "/without", [0.5] * 4)
    catalogue.set_missing([catalogue.known_files()[Path("/05")]])

    loaded = TrackVectors.load(catalogue, model)

    assert (loaded.from_scores, loaded.left_out) == (False, 1)
    assert loaded.payload_ids.tolist() == payloads[:5] + payloads[6:]
    seed = track_of_file(catalogue, model, Path("/03"))
    matches = similar(catalogue, model, loaded, loaded.of_payload(seed.payload_id), without=seed, limit=10)
    expected = [n for n in np.argsort(-(rows @ rows[3]), kind="stable") if n not in (3, 5)][:10]
    assert [int(match.track.path.name) for match in matches] == expected
    assert [match.cosine for match in matches] == pytest.approx((rows @ rows[3])[expected].tolist(), abs=1e-6)


def test_without_embeddings_the_scores_stand_in(catalogue: Catalogue, model: Model) -> None:
    # Everything is calm; what stands out is what counts.
    for path, scores in {
        "/dark1": [0.9, 0.8, 0.1, 0.1],
        "/dark2": [0.85, 0.7, 0.1, 0.1],
        "/epic": [0.9, 0.1, 0.8, 0.1],
        "/fast": [0.9, 0.1, 0.1, 0.8],
    }.items():
        enter(catalogue, model, path, scores)
    loaded = TrackVectors.load(catalogue, model)
    seed = track_of_file(catalogue, model, Path("/dark1"))

    matches = similar(catalogue, model, loaded, loaded.of_payload(seed.payload_id), without=seed)

    assert loaded.from_scores
    assert matches[0].track.path.name == "dark2"
    assert matches[0].cosine > 0.9
    assert all(match.cosine < 0.5 for match in matches[1:])
    assert np.linalg.norm(loaded.vectors, axis=1) == pytest.approx(np.ones(4))


def test_copies_of_the_seed_are_left_out(catalogue: Catalogue, model: Model) -> None:
    same, half = Metadata("Artist", "Song"), np.full(4, 0.5, np.float32)
    for path, metadata in {
        "/seed": same,
        "/other encoding": Metadata("ARTIST", "song"),
        "/cover": Metadata("Another", "Song"),
        "/untitled": Metadata(),
    }.items():
        enter(catalogue, model, path, [0.9, 0.2, 0.3, 0.4], metadata=metadata, embedding=half)
    enter(catalogue, model, "/copy", [0.9, 0.2, 0.3, 0.4], sha256=b"/seed".hex(), metadata=same, embedding=half)
    loaded = TrackVectors.load(catalogue, model)
    seed = track_of_file(catalogue, model, Path("/seed"))
    matches = similar(catalogue, model, loaded, loaded.of_payload(seed.payload_id), without=seed)
    assert [match.track.path.name for match in matches] == ["cover", "untitled"]


def test_only_some_may_be_chosen(catalogue: Catalogue, model: Model) -> None:
    payloads = [enter(catalogue, model, f"/{n}", [0.1 * n, 0.5, 0.5, 0.5]) for n in range(1, 9)]
    loaded = TrackVectors.load(catalogue, model)
    matches = similar(catalogue, model, loaded, loaded.vectors[0], among=payloads[4:6])
    assert {match.track.payload_id for match in matches} == set(payloads[4:6])


def test_a_track_is_found_by_what_it_is_called(
    catalogue: Catalogue, model: Model, tmp_path: Path, tagger: Tagger
) -> None:
    enter(catalogue, model, "/music/a.flac", [0.1] * 4, metadata=Metadata("Somebody", "Night"))
    enter(catalogue, model, "/music/b.flac", [0.1] * 4, metadata=Metadata("Somebody", "Night Train"))
    path = cut("lava", tmp_path / "lava.flac")

    assert find_track(catalogue, model, "night").title == "Night"
    assert find_track(catalogue, model, "TRAIN").title == "Night Train"
    assert find_track(catalogue, model, "b.flac").title == "Night Train"
    assert find_track(catalogue, model, "/music/a.flac").title == "Night"
    with pytest.raises(DataError, match=r"several tracks are called 'somebody': /music/a\.flac; /music/b\.flac\. Name"):
        find_track(catalogue, model, "somebody")
    with pytest.raises(DataError, match="has no name"):
        find_track(catalogue, model, " ")
    for nothing in ("nobody", "x\0y"):
        with pytest.raises(DataError, match="no track of the catalogue is called so"):
            find_track(catalogue, model, nothing)
    assert find_track(catalogue, model, str(path)) is None
    # Its music is known under another name.
    enter(catalogue, model, "/elsewhere", [0.1] * 4, sha256=payload_hash(path))
    assert find_track(catalogue, model, str(path)).path == Path("/elsewhere")
    with pytest.raises(AudioError):
        find_track(catalogue, model, str(tmp_path))


def test_a_file_that_is_not_in_the_catalogue_is_compared(
    catalogue: Catalogue, model: Model, tmp_path: Path, tagger: Tagger
) -> None:
    scores = tagger(cut("taiko", tmp_path / "x.flac"))
    with pytest.raises(DataError, match="holds nothing that this can be compared with"):
        TrackVectors.load(catalogue, model).of_scores(scores)
    same = enter(catalogue, model, "/same", scores.probabilities.tolist())
    enter(catalogue, model, "/other", [1 - value for value in scores.probabilities.tolist()])
    loaded = TrackVectors.load(catalogue, model)
    ((first, cosine), _) = loaded.nearest(loaded.of_scores(scores), 2)
    assert first == same
    assert cosine == pytest.approx(1, abs=1e-6)


def test_an_arc_leads_from_one_mood_to_the_other(catalogue: Catalogue, model: Model) -> None:
    rng = np.random.default_rng(4)
    order = rng.permutation(40)
    for n in order:
        share = float(n) / 39
        angle = share * np.pi / 2
        embedding = np.array([np.cos(angle), np.sin(angle), 0.05 * rng.normal(), 0], dtype=np.float32)
        enter(
            catalogue,
            model,
            f"/{n:02d}",
            [0.05 + 0.9 * (1 - share), 0.5, 0.05 + 0.9 * share, 0.5],
            embedding=embedding / np.linalg.norm(embedding),
        )
    tracks = search(catalogue, "")
    first, last = ends_of_arc(tracks, "calm", "epic")
    assert (first.path.name, last.path.name) == ("00", "39")
    loaded = TrackVectors.load(catalogue, model)
    by_id = {track.payload_id: int(track.path.name) for track in tracks}

    way = [by_id[payload] for payload in arc(loaded, first.payload_id, last.payload_id, 10)]

    assert way[0] == 0
    assert way[-1] == 39
    assert len(set(way)) == 10
    assert all(abs(step - 39 * n / 9) < 4 for n, step in enumerate(way))
    everything = list(arc(loaded, first.payload_id, last.payload_id, 1_000))
    assert sorted(everything) == sorted(by_id)
    few = restrict(loaded, [first.payload_id, last.payload_id])
    assert list(arc(few, first.payload_id, last.payload_id, 10)) == [first.payload_id, last.payload_id]
    assert list(arc(few, first.payload_id, -1, 10)) == []
    with pytest.raises(DataError, match="both are 'calm'"):
        ends_of_arc(tracks, "calm", "calm")
    with pytest.raises(DataError, match="there is no tag 'sad'"):
        ends_of_arc(tracks, "sad", "calm")
    with pytest.raises(DataError, match="needs two tracks of the catalogue that meet the query, and there are 1"):
        ends_of_arc(tracks[:1], "calm", "epic")
