"""Read licence and credits of a file from a Debian package's copyright file (DEP-5, machine-readable).

The patterns of such a file name paths of the *source* package; a track is known by the path it is *installed* at. The
two share their ends (``data/music/a.ogg`` becomes ``usr/share/games/NAME/music/a.ogg``), so a pattern may match from
any of its folders on, as long as something literal is left of it. What this finds is a finding aid; the copyright file
itself decides.

Source:
    https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NOT_STATED = "not stated"
WITHOUT_NAME = "a licence without a short name"
"""The paragraph holds the text of a licence, and does not call it anything."""

_FIELD = re.compile(r"([!-9;-~]+):[ \t]*(.*)")
"""A field's name is printable ASCII without blank and colon."""
_WILDCARDS = ("*", "?")


@dataclass(frozen=True)
class Terms:
    """What a copyright file says of one file.

    Args:
        licence: Short name of the licence, such as ``CC-BY-SA-3.0``.
        credits: Its copyright notices, joined by ``; ``.
    """

    licence: str
    credits: str


@dataclass(frozen=True)
class Stanza:
    """One paragraph about files.

    Args:
        patterns: The files that it is about.
        terms: What it says of them.
    """

    patterns: tuple[str, ...]
    terms: Terms


def parse_copyright(text: str) -> tuple[Stanza, ...] | None:
    """Read the paragraphs about files, in order; None where the text is free-form."""
    paragraphs = list(_paragraphs(text))
    if not paragraphs or not any(name.startswith("format") for name in paragraphs[0]):
        return None
    return tuple(
        Stanza(
            patterns=tuple(" ".join(fields["files"]).split()),
            terms=Terms(
                licence=_short_name(fields.get("license") or fields.get("licence", ())),
                credits="; ".join(line for line in fields.get("copyright", ()) if line) or NOT_STATED,
            ),
        )
        for fields in paragraphs
        if "files" in fields
    )


def find_terms(path: str, stanzas: Sequence[Stanza] | None, see: str) -> Terms:
    """Give the terms of an installed file: those of the last paragraph that matches it.

    Args:
        path: Where the package installs it, without a leading slash.
        stanzas: From `parse_copyright`.
        see: What to say where the copyright file is free-form or names nobody for this file.
    """
    if stanzas is None:
        return Terms(see, see)
    for stanza in reversed(stanzas):
        if any(matches(pattern, path) for pattern in stanza.patterns):
            return stanza.terms
    return Terms(f"{NOT_STATED} for this file", see)


def matches(pattern: str, path: str) -> bool:
    r"""Whether a pattern of source paths is about an installed file.

    ``*`` stands for any characters, slashes included, ``?`` for one; a backslash takes the next of these, or
    itself, literally.
    """
    folders = pattern.removeprefix("./").split("/")
    for cut in range(len(folders)):
        tail = "/".join(folders[cut:])
        if cut and tail.startswith(_WILDCARDS):
            continue
        # Of "data/a*" no more than the file's own name may match "a*".
        any_characters = "[^/]*" if cut and "/" not in tail else ".*"
        if re.fullmatch(f"(?:.*/)?{_to_regex(tail, any_characters)}", path, re.DOTALL):
            return True
    return False


def _short_name(lines: Sequence[str]) -> str:
    text = [line for line in lines if line]
    if not text:
        return NOT_STATED
    # The name stands on the field's own line; some files have it alone on the next.
    return text[0] if lines[0] or len(text) == 1 else WITHOUT_NAME


def _to_regex(pattern: str, any_characters: str) -> str:
    parts = []
    for token in re.findall(r"\\[*?\\]|.", pattern, re.DOTALL):
        parts.append({"*": any_characters, "?": "."}.get(token) or re.escape(token[-1]))
    return "".join(parts)


def _paragraphs(text: str) -> Iterator[dict[str, tuple[str, ...]]]:
    """Give each paragraph's fields: the lines of the value by name in lower case, blanks at their ends removed."""
    fields: dict[str, list[str]] = {}
    begun, name = False, ""
    for line in [*text.replace("\0", "").splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if begun:
                yield {key: tuple(value) for key, value in fields.items()}
            fields, begun, name = {}, False, ""
            continue
        begun = True
        if line[0] in " \t":
            if name:
                fields[name].append(" ".join(line.split()))
        elif field := _FIELD.fullmatch(line):
            name = field[1].lower()
            fields[name] = [" ".join(field[2].split())]
