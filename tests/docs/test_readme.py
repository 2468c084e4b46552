"""What the README prints is what the program prints."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from moodbook import Tagger, audio
from moodbook.cli.tag import render

ROOT = Path(__file__).parents[2]
NUMBER = re.compile(r"\d\.\d\d")
DRAWN = re.compile(r"[█░]+|[▁▂▃▄▅▆▇█]+")


def blocks(page: str) -> list[list[str]]:
    """Give the lines of each console block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [block.rstrip("\n").split("\n") for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL)]


def printed_tags(folder: str, top: int) -> list[str]:
    """Give what `moodbook tag FOLDER --top N` prints on a terminal, in the root of the project."""
    stream = io.StringIO()
    console = Console(file=stream, width=100, highlight=False)
    for result in Tagger.load(precision="f32").tag_files(audio.find([Path(folder)])):
        console.print(render(result, top, console))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_the_first_screen_shows_real_output(monkeypatch: pytest.MonkeyPatch) -> None:
    command, *shown = blocks("README.md")[0]
    words = re.fullmatch(r"\$ moodbook tag (examples/recordings) --top (\d)", command)
    assert words is not None
    monkeypatch.chdir(ROOT)
    printed = printed_tags(words[1], int(words[2]))

    assert [DRAWN.sub("~", NUMBER.sub("#", line)) for line in shown] == [
        DRAWN.sub("~", NUMBER.sub("#", line)) for line in printed
    ]
    # Another processor may round a code the other way: a hundredth, or a mark of a bar, is no other result.
    for ours, theirs in zip(shown, printed, strict=True):
        pairs = zip(NUMBER.findall(ours), NUMBER.findall(theirs), strict=True)
        assert all(abs(float(one) - float(other)) < 0.015 for one, other in pairs), (ours, theirs)


def test_every_recipe_and_verb_that_the_readme_names_exists() -> None:
    from moodbook.cli.app import app
    from moodbook.training.recipe import list_recipes

    verbs = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\$ moodbook ([a-z]+)", text, re.MULTILINE))
    assert named
    assert named <= verbs
    recipes = set(re.findall(r"moodbook reproduce ([a-z0-9-]+)", text))
    assert recipes <= {*list_recipes(), "table-2"}
