"""The query language of `moodbook search`: text to a tree of conditions.

    query     = any ("," any)*                     a comma is an "and" that binds loosest
    any       = all ("or" all)*
    all       = one ("and" one)*
    one       = "not" one | "(" query ")" | condition
    condition = TAG                                the model has decided for the tag
              | TAG compare NUMBER                 its score, 0 to 1
              | "length" compare TIME              seconds, M:SS or H:MM:SS
              | FIELD (":" | "=" | "!=") TEXT      contains, is, is not
    FIELD     = "path" | "artist" | "title" | "album" | "mood"
    compare   = ">" | ">=" | "<" | "<=" | "=" | "!="

A word or TEXT with spaces or signs stands in quotes, "so" or 'so', in which a backslash takes the next character as it
is. A tag in quotes is always a tag, even one that is called like a field or like "not".
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias, cast

from moodbook.errors import QueryError
from moodbook.tags import TagSet
from moodbook.vocabularies import meant

Comparison = Literal[">", ">=", "<", "<=", "=", "!="]
TextField = Literal["path", "artist", "title", "album", "mood"]
TEXT_FIELDS: tuple[TextField, ...] = ("path", "artist", "title", "album", "mood")
LENGTH = "length"

MOST_CHARACTERS = 4_000
MOST_CONDITIONS = 200
MOST_NESTED = 50
"""A query beyond these is a mistake or an attack: SQLite's own limit on depth is 1,000."""

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      | (?P<sign>>=|<=|!=|[><=:,()])
      | (?P<word>[^\s"'<>=!:,()]+)
    )""",
    re.VERBOSE | re.DOTALL,
)
_TIME = re.compile(r"(?:(?:(\d{1,6}):)?(\d{1,6}):)?(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
_NUMBER = re.compile(r"\d{1,9}(?:\.\d{0,18})?|\.\d{1,18}", re.ASCII)
_JOINTS = ("and", "or", "not")


@dataclass(frozen=True)
class Decided:
    """The model has decided for a tag."""

    tag: str


@dataclass(frozen=True)
class Score:
    """A tag's score compares so with a number in [0, 1]."""

    tag: str
    comparison: Comparison
    value: float


@dataclass(frozen=True)
class Length:
    """The track's length compares so with a number of seconds."""

    comparison: Comparison
    seconds: float


@dataclass(frozen=True)
class Text:
    """A text field contains a text, or is it; case and accents' spelling do not matter."""

    field: TextField
    text: str
    whole: bool


@dataclass(frozen=True)
class Not:
    """The opposite."""

    part: Query


@dataclass(frozen=True)
class And:
    """All of them."""

    parts: tuple[Query, ...]


@dataclass(frozen=True)
class Or:
    """One of them at least."""

    parts: tuple[Query, ...]


Query: TypeAlias = Decided | Score | Length | Text | Not | And | Or


def parse_query(text: str, tags: TagSet) -> Query:
    """Read a query.

    Args:
        text: The query; an empty one asks for everything.
        tags: The tags that there are.

    Raises:
        QueryError: It cannot be understood; it says where and why.
    """
    if len(text) > MOST_CHARACTERS:
        raise QueryError(
            text, MOST_CHARACTERS, f"it is longer than {MOST_CHARACTERS} characters. Ask for less at once."
        )
    return _Parser(text, tags).parse()


@dataclass(frozen=True)
class _Token:
    kind: Literal["quoted", "sign", "word", "end"]
    text: str
    position: int


class _Parser:
    """A parser by recursive descent, one method a rule of the grammar."""

    def __init__(self, query: str, tags: TagSet) -> None:
        self._query = query
        self._tags = tags
        self._by_name = {name.casefold(): name for name in tags}
        self._tokens = list(self._split())
        self._next = 0
        self._conditions = 0

    def parse(self) -> Query:
        if self._peek().kind == "end":
            return And(())
        query = self._query_rule(0)
        rest = self._peek()
        if rest.kind != "end":
            if rest.text == ")":
                self._fail(rest, "this ')' closes nothing. Take it away, or open a '(' before.")
            self._fail(rest, f"expected ',', 'and' or 'or' before {rest.text!r}.")
        return query

    def _split(self) -> list[_Token]:
        tokens, position = [], 0
        end = len(self._query.rstrip())
        while position < end:
            match = _TOKEN.match(self._query, position, end)
            if match is None:
                start = position + len(self._query[position:end]) - len(self._query[position:end].lstrip())
                sign = self._query[start]
                if sign in "\"'":
                    raise QueryError(self._query, start, f"this {sign} is not closed. Put another one behind the text.")
                raise QueryError(
                    self._query, start, f"{sign!r} means nothing here; the signs are > >= < <= = != : , ( )"
                )
            kind = cast(Literal["quoted", "sign", "word"], match.lastgroup)
            value = match[kind]
            if kind == "quoted":
                value = re.sub(r"\\(.)", r"\1", value[1:-1], flags=re.DOTALL)
            tokens.append(_Token(kind, value, match.start(kind)))
            position = match.end()
        tokens.append(_Token("end", "the end", end))
        return tokens

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _take_if(self, *texts: str) -> _Token | None:
        """Take the next token if it is one of these signs or bare words."""
        token = self._peek()
        if token.kind in ("sign", "word") and token.text.lower() in texts:
            return self._take()
        return None

    def _fail(self, token: _Token, reason: str) -> NoReturn:
        raise QueryError(self._query, token.position, reason)

    def _query_rule(self, depth: int) -> Query:
        parts = [self._any(depth)]
        while self._take_if(","):
            parts.append(self._any(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _any(self, depth: int) -> Query:
        parts = [self._all(depth)]
        while self._take_if("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self, depth: int) -> Query:
        parts = [self._one(depth)]
        while self._take_if("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self, depth: int) -> Query:
        if depth > MOST_NESTED:
            self._fail(self._peek(), f"more than {MOST_NESTED} levels deep. Write it flatter.")
        if self._take_if("not"):
            return Not(self._one(depth + 1))
        opening = self._take_if("(")
        if opening is None:
            return self._condition()
        query = self._query_rule(depth + 1)
        if not self._take_if(")"):
            self._fail(opening, "this '(' is not closed. Put a ')' behind the last condition.")
        return query

    def _condition(self) -> Query:
        name = self._take()
        if name.kind in ("end", "sign") or (name.kind == "word" and name.text.lower() in _JOINTS):
            what = "the query ends here" if name.kind == "end" else f"found {name.text!r}"
            self._fail(name, f"{what}; expected a tag, or one of {', '.join((LENGTH, *TEXT_FIELDS))}.")
        self._conditions += 1
        if self._conditions > MOST_CONDITIONS:
            self._fail(name, f"more than {MOST_CONDITIONS} conditions. Ask for less at once.")
        field = name.text.lower() if name.kind == "word" else ""
        if field == LENGTH:
            return self._length()
        if field in TEXT_FIELDS:
            return self._text(field)
        tag = self._tag(name)
        comparison = self._take_if(">", ">=", "<", "<=", "=", "!=")
        if comparison is None:
            if self._peek().text == ":" and self._peek().kind == "sign":
                self._fail(name, f"{name.text!r} is a tag; a text is looked for in {', '.join(TEXT_FIELDS)}.")
            return Decided(tag)
        return Score(tag, cast(Comparison, comparison.text), self._score())

    def _tag(self, name: _Token) -> str:
        found = self._by_name.get(name.text.casefold())
        if found is not None:
            return found
        words = [*self._by_name, LENGTH, *TEXT_FIELDS]
        synonym = meant(name.text.casefold())
        near = [synonym] if synonym in self._by_name else difflib.get_close_matches(name.text.casefold(), words, n=1)
        guess = f" Did you mean {self._by_name.get(near[0], near[0])}?" if near else ""
        self._fail(name, f"there is no tag {name.text!r}.{guess} The tags: {', '.join(self._tags)}.")

    def _score(self) -> float:
        value = self._take()
        if value.kind != "word" or not _NUMBER.fullmatch(value.text):
            self._fail(value, f"expected a score from 0 to 1, such as 0.6, got {value.text!r}.")
        score = float(value.text)
        if score > 1:
            self._fail(value, f"a score lies between 0 and 1, got {value.text}.")
        return score

    def _length(self) -> Query:
        comparison = self._take_if(">", ">=", "<", "<=", "=", "!=")
        if comparison is None:
            self._fail(self._peek(), "expected > >= < <= = or != behind 'length', such as length<5:00.")
        first = self._take()
        text = first.text if first.kind == "word" else ""
        while text and self._take_if(":"):
            text += ":" + self._take().text
        match = _TIME.fullmatch(text)
        if match is None:
            self._fail(first, f"expected a time in seconds or as 5:00 or 1:02:03, got {text or first.text!r}.")
        hours, minutes, seconds = match.groups()
        if (minutes and float(seconds) >= 60) or (hours and int(minutes) >= 60):
            self._fail(first, f"seconds and minutes behind a ':' go up to 59, got {text}.")
        return Length(
            cast(Comparison, comparison.text), 3600 * int(hours or 0) + 60 * int(minutes or 0) + float(seconds)
        )

    def _text(self, field: TextField) -> Query:
        sign = self._take_if(":", "=", "!=")
        if sign is None:
            self._fail(self._peek(), f'expected : (contains), = (is) or != behind {field!r}, such as {field}:"x y".')
        value = self._take()
        if value.kind not in ("quoted", "word") or not value.text.strip():
            self._fail(value, f"expected a text behind {field!r}; put it in quotes where it holds spaces or signs.")
        condition = Text(field, value.text, whole=sign.text != ":")
        return Not(condition) if sign.text == "!=" else condition
