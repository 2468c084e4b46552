"""The pages on words of one's own and on beets name what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moodbook.cli.app import app

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "personal.md").read_text(encoding="utf-8")


def test_every_option_and_verb_of_the_page_exists() -> None:
    verbs = {
        *(("personal", verb) for verb in re.findall(r"moodbook personal ([a-z]+)", PAGE)),
        *((verb,) for verb in re.findall(r"^\$ moodbook ([a-z]+)", PAGE, re.MULTILINE) if verb != "personal"),
    }
    helps = ""
    for verb in verbs:
        done = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "200"})
        assert done.exit_code == 0, verb
        helps += done.output
    for option in set(re.findall(r"(--[a-z]+)", PAGE)):
        assert option in helps, option


def test_no_command_of_the_page_writes_what_another_has_learned_from() -> None:
    commands = re.findall(r"^\$ moodbook (.*)$", PAGE, re.MULTILINE)
    written = {name for command in commands for name in re.findall(r"-o (\S+)", command)}
    examples = {
        name for command in commands if "-o" not in command for name in re.findall(r"\S+\.(?:m3u8|csv)", command)
    }
    listed = set(re.findall(r"`(\S+\.csv)`", PAGE))
    assert len(written) == 2
    assert not written & (examples | listed)


def test_the_columns_of_the_page_are_those_of_the_table() -> None:
    (head,) = re.findall(r"^word .*$", PAGE, re.MULTILINE)
    source = (DOCS.parent / "src" / "moodbook" / "cli" / "personal.py").read_text(encoding="utf-8")
    for column in re.split(r"  +", head):
        assert f'"{column}"' in source, column


def test_the_options_of_the_plugin_are_those_of_the_page() -> None:
    pytest.importorskip("beets", reason="beets is not installed (pip install 'moodbook[beets]')")
    from beetsplug import moodbook as plugin

    page = (DOCS / "beets.md").read_text(encoding="utf-8")
    options = re.findall(r"^    ([a-z]+):", page, re.MULTILINE)
    source = Path(plugin.__file__).read_text(encoding="utf-8")
    (defaults,) = re.findall(r"config\.add\((\{.*\})\)", source)
    assert options == re.findall(r'"([a-z]+)":', defaults)
    for short in ("-f", "-w"):
        assert f'"{short}", "--' in source
