"""Every command of docs/library.md runs, in its order, on the recordings that come with the project."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from moodbook.audio.payload import KNOWN_WHOLE
from moodbook.cli.app import app

ROOT = Path(__file__).parents[2]


def test_the_kinds_whose_music_is_not_known_whatever_their_tags_are_named() -> None:
    page = " ".join((ROOT / "docs" / "library.md").read_text(encoding="utf-8").split())
    said = re.search(r"Only ([a-z0-9, ]+) and ([a-z]+) are known by all of their bytes", page)
    endings = {"matroska": ["webm", "mka"], "dsdiff": ["dff"], "real": ["rm"], "unknown": []}
    whole = [ending for name in KNOWN_WHOLE for ending in endings.get(name, [name])]
    assert sorted([*said[1].split(", "), said[2]]) == sorted(whole)


def test_every_command_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    commands = [line.removeprefix("$ moodbook ") for line in page.splitlines() if line.startswith("$ moodbook ")]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MOODBOOK_CATALOGUE", str(tmp_path / "catalogue.sqlite"))
    codes = {}
    for command in commands:
        done = CliRunner().invoke(app, shlex.split(command))
        codes[command] = done.exit_code
        if done.exit_code:
            assert "there is no tag" in done.stderr, (command, done.stderr)
        else:
            assert done.stdout or "wrote" in done.stderr, (command, done.stderr)
    # The word that the model does not know is the one mistake that is shown.
    assert [command for command, code in codes.items() if code] == ["search 'calm'"]
    assert len(codes) >= 10
    written = sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".m3u8", ".xspf", ".nsp", ".csv"))
    assert written == ["bright.m3u8", "build-up.m3u8", "drums.xspf", "epic.nsp", "library.csv"]
