"""The query language: what it means, and what it says about what means nothing."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moodbook.errors import QueryError
from moodbook.library.query import (
    MOST_CHARACTERS,
    And,
    Decided,
    Length,
    Not,
    Or,
    Query,
    Score,
    Text,
    parse_query,
)
from moodbook.tags import TagSet

TAGS = TagSet(("calm", "dark", "epic", "no music", "length", "Happy", "not", "drum'n'bass", "sci-fi"))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", And(())),
        ("  \n ", And(())),
        ("calm", Decided("calm")),
        ("CALM", Decided("calm")),
        ("happy", Decided("Happy")),
        ("sci-fi", Decided("sci-fi")),
        ('"no music"', Decided("no music")),
        ("'no music'", Decided("no music")),
        ("\"drum'n'bass\"", Decided("drum'n'bass")),
        (r"'drum\'n\'bass'", Decided("drum'n'bass")),
        ('"length" >= .5', Score("length", ">=", 0.5)),
        ("'not'", Decided("not")),
        ("epic>0.6", Score("epic", ">", 0.6)),
        ("epic != 1", Score("epic", "!=", 1.0)),
        ("length<5:00", Length("<", 300.0)),
        ("length <= 1:02:03.5", Length("<=", 3723.5)),
        ("LENGTH=90", Length("=", 90.0)),
        ("artist:x", Text("artist", "x", False)),
        ('path: "a b/c"', Text("path", "a b/c", False)),
        ('title="Élan"', Text("title", "Élan", True)),
        ("album!=x", Not(Text("album", "x", True))),
        ("mood:calm", Text("mood", "calm", False)),
        ("not calm", Not(Decided("calm"))),
        ("not not calm", Not(Not(Decided("calm")))),
        ("calm and dark or epic", Or((And((Decided("calm"), Decided("dark"))), Decided("epic")))),
        ("calm or dark and epic", Or((Decided("calm"), And((Decided("dark"), Decided("epic")))))),
        ("calm or dark, epic", And((Or((Decided("calm"), Decided("dark"))), Decided("epic")))),
        ("(calm,dark) or epic", Or((And((Decided("calm"), Decided("dark"))), Decided("epic")))),
        ("not (calm or dark)", Not(Or((Decided("calm"), Decided("dark"))))),
        (
            "calm AND NOT dark, epic>0.6, length<5:00",
            And((And((Decided("calm"), Not(Decided("dark")))), Score("epic", ">", 0.6), Length("<", 300.0))),
        ),
    ],
)
def test_what_a_query_means(text: str, query: Query) -> None:
    assert parse_query(text, TAGS) == query


@pytest.mark.parametrize(
    ("text", "position", "said"),
    [
        ("clam", 0, "there is no tag 'clam'. Did you mean calm?"),
        ("calm and epci>0.5", 9, "Did you mean epic?"),
        ("lenght<5", 0, "Did you mean length?"),
        ("xyzzy", 0, "there is no tag 'xyzzy'. The tags: calm, dark,"),
        ("epic and gloomy", 9, "there is no tag 'gloomy'. Did you mean dark?"),
        ("soothing", 0, "there is no tag 'soothing'. The tags: calm, dark,"),
        ("calm dark", 5, "expected ',', 'and' or 'or' before 'dark'"),
        ("calm and", 8, "the query ends here; expected a tag"),
        ("calm,", 5, "the query ends here; expected a tag"),
        (", calm", 0, "found ','; expected a tag"),
        ("and calm", 0, "found 'and'; expected a tag"),
        ("(calm", 0, "this '(' is not closed"),
        ("calm)", 4, "this ')' closes nothing"),
        ("()", 1, "found ')'; expected a tag"),
        ('artist:"x', 7, 'this " is not closed'),
        ("calm; dark", 0, "there is no tag 'calm;'. Did you mean calm?"),
        ("calm ! dark", 5, "'!' means nothing here"),
        ("epic>", 5, "expected a score from 0 to 1, such as 0.6, got 'the end'"),
        ("epic>high", 5, "expected a score from 0 to 1"),
        ("epic>1.5", 5, "a score lies between 0 and 1, got 1.5"),
        ("epic>nan", 5, "expected a score from 0 to 1"),
        ("epic>1e-3", 5, "expected a score from 0 to 1"),
        ("epic>-1", 5, "expected a score from 0 to 1"),
        ("epic:yes", 0, "'epic' is a tag; a text is looked for in path, artist"),
        ("length", 6, "expected > >= < <= = or != behind 'length'"),
        ("length:5", 6, "expected > >= < <= = or != behind 'length'"),
        ("length<soon", 7, "expected a time in seconds or as 5:00 or 1:02:03, got 'soon'"),
        ("length<1:2:3:4", 7, "expected a time"),
        ("length<5:99", 7, "go up to 59, got 5:99"),
        ("length<1:60:00", 7, "go up to 59, got 1:60:00"),
        ("length<٣", 7, "expected a time"),
        ("artist>x", 6, "expected : (contains), = (is) or != behind 'artist'"),
        ("artist:", 7, "expected a text behind 'artist'"),
        ('artist:" "', 7, "expected a text behind 'artist'"),
        ("not " * 60 + "calm", 204, "more than 50 levels deep"),
        ("(" * 60 + "calm", 51, "more than 50 levels deep"),
        (",".join(["calm"] * 201), 1_000, "more than 200 conditions"),
        ("calm," * 1_000, MOST_CHARACTERS, "longer than 4000 characters"),
    ],
)
def test_what_cannot_be_understood(text: str, position: int, said: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_query(text, TAGS)
    assert said in caught.value.reason
    assert caught.value.position == position
    assert str(caught.value) == f"the query {text!r} is wrong at character {position + 1}: {caught.value.reason}"


PIECES = st.sampled_from(
    [
        *("calm", "epic", "'no music'", "length", "artist", "path", "and", "or", "not", "(", ")", ",", ":", ">", "<="),
        *("!=", "=", "0.5", "5:00", '"', "'", "\\", " ", "\n", "x y", "\x00", "\ud800", "é", "1" * 30),
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=30).map(" ".join), st.lists(PIECES).map("".join)))
@example("not" * 2_000)
@example("(" * 4_000)
@settings(max_examples=500, deadline=None)
def test_any_text_is_understood_or_refused(text: str) -> None:
    error = None
    try:
        parse_query(text, TAGS)
    except QueryError as caught:
        error = caught
    assert error is None or (0 <= error.position <= len(text) and error.reason)


def write(query: Query) -> str:
    """Write a tree as a query with all its parentheses."""
    if isinstance(query, Decided):
        return quote(query.tag)
    if isinstance(query, Score):
        return f"{quote(query.tag)}{query.comparison}{query.value:.6f}"
    if isinstance(query, Length):
        return f"length{query.comparison}{query.seconds:.3f}"
    if isinstance(query, Text):
        return f"{query.field}{'=' if query.whole else ':'}{quote(query.text)}"
    if isinstance(query, Not):
        return f"not {write(query.part)}"
    return "(" + (" and " if isinstance(query, And) else " or ").join(map(write, query.parts)) + ")"


def quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


COMPARISONS = st.sampled_from([">", ">=", "<", "<=", "=", "!="])
CONDITIONS: st.SearchStrategy[Query] = st.one_of(
    st.builds(Decided, st.sampled_from(TAGS.names)),
    st.builds(Score, st.sampled_from(TAGS.names), COMPARISONS, st.integers(0, 10**6).map(lambda n: n / 10**6)),
    st.builds(Length, COMPARISONS, st.integers(0, 10**8).map(lambda n: n / 1_000)),
    st.builds(
        Text,
        st.sampled_from(["path", "artist", "title", "album", "mood"]),
        st.text(min_size=1, max_size=10).filter(lambda text: bool(text.strip())),
        st.booleans(),
    ),
)
QUERIES: st.SearchStrategy[Query] = st.recursive(
    CONDITIONS,
    lambda parts: st.one_of(
        st.builds(Not, parts),
        st.builds(And, st.lists(parts, min_size=2, max_size=4).map(tuple)),
        st.builds(Or, st.lists(parts, min_size=2, max_size=4).map(tuple)),
    ),
    max_leaves=12,
)


@given(QUERIES)
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_what_is_read(query: Query) -> None:
    text = write(query)
    if len(text) <= MOST_CHARACTERS:
        assert parse_query(text, TAGS) == query
