"""What a query finds, against the same query answered in plain Python."""

from __future__ import annotations

import operator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tests.library import test_query
from tests.library.conftest import enter

from moodbook.errors import CatalogueError, DataError, QueryError
from moodbook.library.catalogue import Catalogue
from moodbook.library.known_model import Model
from moodbook.library.metadata import Metadata
from moodbook.library.query import And, Decided, Length, Not, Or, Query, Score, parse_query
from moodbook.library.query import Text as TextIs
from moodbook.library.search import Track, search, track_of_file, track_of_payload, tracks_of_payloads
from moodbook.library.stats import measure
from moodbook.tags import TagSet

COMPARE = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}
ARTISTS = ("", "Ælfric", "AELFRIC", "björk", "BJÖRK", "a'b", "%", "_x", "x;--")


@pytest.fixture
def library(catalogue: Catalogue, model: Model) -> list[Track]:
    """Sixty recordings whose scores, lengths and texts collide."""
    rng = np.random.default_rng(1)
    for number in range(60):
        enter(
            catalogue,
            model,
            f"/music/{number % 7}/{number:02d} ü.flac",
            np.round(rng.uniform(0, 1, 4), 1).tolist(),
            seconds=None if number == 5 else float(rng.integers(60, 400)),
            metadata=Metadata(
                ARTISTS[number % len(ARTISTS)], f"T{number % 5}", "Album", ("calm", "Dark")[: number % 3]
            ),
        )
    return search(catalogue, "", model=model)


def holds(query: Query, track: Track) -> bool:
    """Answer a query about one track."""
    if isinstance(query, Decided):
        return track.probabilities[query.tag] > 0.5
    if isinstance(query, Score):
        return COMPARE[query.comparison](track.probabilities[query.tag], query.value)
    if isinstance(query, Length):
        return track.duration_seconds is not None and COMPARE[query.comparison](track.duration_seconds, query.seconds)
    if isinstance(query, TextIs):
        texts = track.moods if query.field == "mood" else [str(getattr(track, query.field))]
        wanted = query.text.casefold()
        return any(wanted == text.casefold() if query.whole else wanted in text.casefold() for text in texts)
    if isinstance(query, Not):
        return not holds(query.part, track)
    return (all if isinstance(query, And) else any)(holds(part, track) for part in query.parts)


@pytest.mark.parametrize(
    "text",
    [
        "calm",
        "not calm and dark",
        "calm or dark, epic>0.5",
        "epic>=0.5 and epic<=0.7",
        "length<2:00 or length>=5:00",
        "not length<2:00",
        "artist:ÆL",
        "artist=ælfric or artist:BJÖ",
        "artist:'%'",
        "artist:_",
        'artist:"a\'b"',
        "artist:';--'",
        "path:'/3/' and not title=t1",
        "mood=DARK",
        "not (calm or dark or epic or fast)",
    ],
)
def test_a_query_finds_what_it_says(catalogue: Catalogue, model: Model, library: list[Track], text: str) -> None:
    query = parse_query(text, model.tags)
    expected = {track.path for track in library if holds(query, track)}
    assert {track.path for track in search(catalogue, text, model=model)} == expected
    assert 0 < len(expected) < len(library)


TO_TINY = dict(zip(test_query.TAGS, ("calm", "dark", "epic", "fast") * 3, strict=False))


def translated(query: Query) -> Query:
    """Put the tags of the tiny model in the place of others."""
    if isinstance(query, Decided):
        return Decided(TO_TINY[query.tag])
    if isinstance(query, Score):
        return Score(TO_TINY[query.tag], query.comparison, round(query.value, 1))
    if isinstance(query, Not):
        return Not(translated(query.part))
    if isinstance(query, (And, Or)):
        return type(query)(tuple(translated(part) for part in query.parts))
    return query


@given(query=test_query.QUERIES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_query_finds_what_it_says(catalogue: Catalogue, model: Model, library: list[Track], query: Query) -> None:
    wanted = translated(query)
    found = {track.payload_id for track in search(catalogue, wanted, model=model)}
    # A score is a float32: 0.6 is not quite 0.6, in both ways of asking.
    assert found == {track.payload_id for track in library if holds(wanted, track)}


def test_results_are_ranked_by_what_is_asked_for(catalogue: Catalogue, model: Model) -> None:
    enter(catalogue, model, "/a", [0.9, 0.1, 0.6, 0.0])
    enter(catalogue, model, "/b", [0.6, 0.0, 0.9, 0.0])
    enter(catalogue, model, "/c", [0.8, 0.4, 0.8, 0.0])

    def names(query: str, **options: object) -> list[str]:
        return [track.path.name for track in search(catalogue, query, model=model, **options)]

    assert names("calm") == ["a", "c", "b"]
    assert names("calm and epic") == ["c", "a", "b"]
    # What is not wanted does not rank.
    assert names("epic and not dark") == ["b", "c", "a"]
    assert names("epic, calm>0.1, dark<0.9") == ["c", "a", "b"]
    assert names("not fast") == ["a", "b", "c"]
    assert names("calm", sort="dark") == ["c", "a", "b"]
    assert names("calm", sort="path", reverse=True, limit=2) == ["c", "b"]
    (best,) = search(catalogue, "calm", model=model, limit=1)
    assert best.rank == pytest.approx(0.9)
    assert best.decided == ("calm", "epic")
    assert search(catalogue, "", model=model)[0].rank is None


def test_sorting_by_text_and_length(catalogue: Catalogue, model: Model) -> None:
    for path, artist, seconds in (("/1", "b", 9.0), ("/2", "", None), ("/3", "A", 30.0)):
        enter(catalogue, model, path, [0.1] * 4, seconds=seconds, metadata=Metadata(artist=artist))
    assert [track.artist for track in search(catalogue, "", sort="artist")] == ["A", "b", ""]
    assert [track.duration_seconds for track in search(catalogue, "", sort="length")] == [9.0, 30.0, None]
    with pytest.raises(DataError, match=r"cannot sort by 'size'; sort by one of rank, path, .*, or a tag: calm"):
        search(catalogue, "", sort="size")


def test_what_is_missing_is_not_found(catalogue: Catalogue, model: Model) -> None:
    payload = enter(catalogue, model, "/gone", [0.9] * 4, sha256="x")
    enter(catalogue, model, "/there", [0.9] * 4, sha256="y")
    catalogue.set_missing([catalogue.known_files()[Path("/gone")]])

    assert [str(track.path) for track in search(catalogue, "")] == ["/there"]
    assert track_of_file(catalogue, model, Path("/gone")) is None
    assert track_of_payload(catalogue, model, "x") is None
    assert track_of_payload(catalogue, model, "y").path == Path("/there")
    assert tracks_of_payloads(catalogue, model, [payload]) == []


def test_rows_come_in_the_order_that_was_asked_for(catalogue: Catalogue, model: Model) -> None:
    payloads = [enter(catalogue, model, f"/{number}", [0.1] * 4) for number in range(1_200)]
    wanted = payloads[::-1]
    assert [track.payload_id for track in tracks_of_payloads(catalogue, model, wanted)] == wanted


def test_a_tag_of_another_model_is_unknown(catalogue: Catalogue, model: Model) -> None:
    assert model.tags == TagSet(("calm", "dark", "epic", "fast"))
    with pytest.raises(QueryError, match="there is no tag 'sad'"):
        search(catalogue, "sad", model=model)


def test_an_empty_catalogue_says_what_to_do(catalogue: Catalogue) -> None:
    with pytest.raises(CatalogueError, match="is empty; fill it with: moodbook scan FOLDER"):
        search(catalogue, "calm")


def test_nothing_is_decided_where_there_is_no_music(catalogue: Catalogue, model: Model) -> None:
    enter(catalogue, model, "/song", [0.9, 0.1, 0.1, 0.1], music=0.8)
    enter(catalogue, model, "/talk", [0.95, 0.1, 0.1, 0.1], music=0.2)
    enter(catalogue, model, "/older", [0.8, 0.1, 0.1, 0.1])
    assert [track.path.name for track in search(catalogue, "calm")] == ["song", "older"]
    assert [track.path.name for track in search(catalogue, "not calm")] == ["talk"]
    talk, *_ = search(catalogue, "calm>0.5")
    assert (talk.path.name, talk.decided, talk.music) == ("talk", (), 0.2)
    assert talk.to_dict()["music"] == 0.2
    assert {tag.tag: tag.decided for tag in measure(catalogue, model).tags}["calm"] == 2


def test_a_text_that_is_no_utf8_finds_the_name_that_is_none(catalogue: Catalogue, model: Model) -> None:
    enter(catalogue, model, "/caf\udce9.mp3", [0.5] * 4)
    enter(catalogue, model, "/cafe.mp3", [0.5] * 4)
    assert [track.path.name for track in search(catalogue, "path:caf\udce9")] == ["caf\udce9.mp3"]
    for text in ("artist:\udce9", "mood:\udcff", "path:\ud800", "album=\udfff"):
        assert search(catalogue, text) == []
    with pytest.raises(QueryError):
        search(catalogue, "caf\udce9")


def test_a_sort_is_named_in_any_case(catalogue: Catalogue, model: Model) -> None:
    enter(catalogue, model, "/a", [0.5, 0.1, 0.5, 0.5])
    enter(catalogue, model, "/b", [0.5, 0.9, 0.5, 0.5])
    for name in ("dark", "DARK", "Dark"):
        assert [str(track.path) for track in search(catalogue, "", sort=name)] == ["/b", "/a"]
    assert [str(track.path) for track in search(catalogue, "", sort="PATH")] == ["/a", "/b"]
    with pytest.raises(DataError, match="cannot sort by 'darker'"):
        search(catalogue, "", sort="darker")
