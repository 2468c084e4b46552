"""The page for owners of music says what the code does."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moodbook.cli.app import app
from moodbook.library.filetags import formats, id3
from moodbook.library.filetags.fields import FieldNames

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "writing-tags.md").read_text(encoding="utf-8")


def test_the_table_of_fields_is_that_of_the_code() -> None:
    rows = re.findall(r"^\| ([^|]+) \| `([^`]+)` \| `([^`]+)` \|$", PAGE, re.MULTILINE)
    said = {FieldNames(mood, scores) for _, mood, scores in rows if "SCORES" in scores}
    written = {*id3._FORMAT_OF_VERSION.values()}
    for name, tags in formats._FORMATS.items():
        if not isinstance(tags, id3._Id3Tags):
            written.add(tags.names(Path(name)))
    assert said == written


def test_every_kind_that_is_written_is_named() -> None:
    table = PAGE[PAGE.index("| kind of file") : PAGE.index("Every word is a value")].lower()
    words = {"ogg vorbis": "vorbis", "mp4": "m4a", "asf": "wma", "musepack": "mpc"}
    for name in formats._FORMATS:
        assert words.get(name, name.removeprefix("ogg ")) in table, name


def test_the_preview_is_what_the_bundled_model_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    music = tmp_path / "music"
    music.mkdir()
    for name in ("golden-fields", "lava", "taiko"):
        shutil.copy(ROOT / "examples" / "recordings" / f"{name}.opus", music)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["write", "music", "--top", "2"])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] in PAGE
    for row in re.findall(r"^(music/\S+) +-  +(\S+), (\S+)$", PAGE, re.MULTILINE):
        path, *words = row
        assert f'"path": "{path}"' in done.stdout
        assert f'"after": ["{words[0]}", "{words[1]}"]' in done.stdout


def test_every_option_that_the_page_names_exists() -> None:
    text = "".join(
        CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).output for verb in ("write", "undo")
    )
    for option in set(re.findall(r"(--[a-z]+)", PAGE)):
        assert option in text, option
