"""The root of the command line."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from moodbook import __version__
from moodbook.cli.app import app

VERBS = (
    "tag",
    "scan",
    "search",
    "similar",
    "playlist",
    "stats",
    "export",
    "write",
    "undo",
    "doctor",
    "info",
    "evaluate",
    "reproduce",
    "train",
    "data",
)


def test_the_help_lists_every_verb() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for verb in VERBS:
        assert f" {verb} " in result.output


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str) -> None:
    result = CliRunner().invoke(app, [verb, "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"moodbook {__version__}\n")


def test_an_unknown_verb_is_a_failed_run() -> None:
    assert CliRunner().invoke(app, ["sing"]).exit_code == 2


def test_the_help_imports_nothing_heavy() -> None:
    code = "import sys, moodbook.cli.app; print(*(sorted(set(sys.modules) & {'torch', 'openvino', 'sklearn', 'av'})))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []
