"""How a verb ends when something goes wrong that no verb foresees."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from moodbook.cli import app as app_module
from moodbook.cli.errors import SOME_FILES_FAILED, ends_with_exit_code
from moodbook.errors import DataError

VERB = """
import os, sys, typer
from moodbook.cli.errors import ends_with_exit_code
app = typer.Typer()
@app.command()
@ends_with_exit_code
def verb(bytes: int, code: int, flush: bool = False):
    sys.stdout.write("x" * bytes)
    if flush:
        sys.stdout.flush()
    raise typer.Exit(code)
app()
"""


def run_verb(arguments: tuple[str, ...], stdout: Any, unbuffered: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", VERB, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )


def ends_with(error: BaseException, **environment: str):
    app = typer.Typer()

    @app.command()
    @ends_with_exit_code
    def verb() -> None:
        raise error

    return CliRunner().invoke(app, env=environment)


def test_a_mistake_of_ours_is_one_line_and_exit_2() -> None:
    done = ends_with(ValueError("not\nthis"), MOODBOOK_DEBUG="")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == (
        "moodbook: unexpected: ValueError: not this; this is a bug, please report it; "
        "MOODBOOK_DEBUG=1 shows the traceback\n"
    )


def test_a_name_in_a_message_cannot_command_the_terminal() -> None:
    done = ends_with(DataError("found nothing below 'a\x1b[31m\nb'"))

    assert (done.exit_code, done.stderr) == (2, r"moodbook: found nothing below 'a\x1b[31m\x0ab'" + "\n")


def test_the_traceback_is_shown_when_asked_for() -> None:
    lines = ends_with(KeyError("x"), MOODBOOK_DEBUG="1").stderr.splitlines()

    assert lines[0] == "Traceback (most recent call last):"
    assert any("raise error" in line for line in lines)
    assert lines[-1].startswith("moodbook: unexpected: KeyError: 'x'; this is a bug")


def test_a_system_error_that_is_not_of_the_output_is_a_mistake_too() -> None:
    done = ends_with(PermissionError(13, "Permission denied", "weights"), MOODBOOK_DEBUG="")

    assert done.exit_code == 2
    assert "unexpected: PermissionError: [Errno 13] Permission denied: 'weights'" in done.stderr


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        (typer.Exit(SOME_FILES_FAILED), 1),
        (typer.BadParameter("no"), 2),
        (KeyboardInterrupt(), 130),
        (typer.Abort(), 130),
    ],
)
def test_a_deliberate_end_is_let_through(ending: BaseException, code: int) -> None:
    done = ends_with(ending)

    assert done.exit_code == code
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
@pytest.mark.parametrize("arguments", [("9", "0"), ("9", "1"), ("9", "0", "--flush"), ("99999", "0")])
def test_an_output_that_cannot_be_written_is_a_failed_run(arguments: tuple[str, ...], unbuffered: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = run_verb(arguments, full, unbuffered)

    assert (done.returncode, done.stderr) == (2, "moodbook: cannot write the output: No space left on device\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
@pytest.mark.parametrize("arguments", [("9", "0"), ("9", "0", "--flush"), ("999999", "0")])
def test_an_output_that_nobody_reads_ends_quietly(arguments: tuple[str, ...], unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run_verb(arguments, writer, unbuffered)
    os.close(writer)

    assert (done.returncode, done.stderr) == (2, "")


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("closed", "recipe", "code", "stdout", "stderr"),
    [
        (">&-", "run-4", 2, "", "moodbook: cannot write the output: Bad file descriptor\n"),
        ("2>&-", "run-4", 0, '"name": "run-4"', ""),
        ("2>&-", "absent", 2, "", ""),
    ],
)
def test_streams_that_the_caller_closed(closed: str, recipe: str, code: int, stdout: str, stderr: str) -> None:
    program = [sys.executable, "-c", "from moodbook.cli.app import main; main()", "info", "--recipe", recipe]
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {closed}', *program], capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stderr) == (code, stderr)
    assert stdout in done.stdout


@pytest.mark.parametrize("module", ["typer", "moodbook.cli.tag"])
def test_ctrl_c_during_start_up_is_no_traceback(module: str) -> None:
    code = f"""
import sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
from moodbook.cli.app import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout, done.stderr) == (130, "", "moodbook: stopped by the user\n")


def test_ctrl_c_outside_of_a_verb_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(app_module, "app", stop)
    with pytest.raises(SystemExit) as caught:
        app_module.main()
    assert caught.value.code == 130
    assert capsys.readouterr().err == "moodbook: stopped by the user\n"
