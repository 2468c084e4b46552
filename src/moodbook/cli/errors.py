"""How a verb ends: the exit code never lies."""

from __future__ import annotations

import errno
import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import typer

from moodbook.errors import MoodbookError

ALL_GOOD = 0
SOME_FILES_FAILED = 1
RUN_FAILED = 2
INTERRUPTED = 130

# What an open stream can answer to a write; such an error names no file. Without a buffer (PYTHONUNBUFFERED=1) the
# verb's own write fails, and nothing is left for the last flush.
_OUTPUT_ERRORS = {errno.ENOSPC, errno.EPIPE, errno.EIO, errno.EFBIG, errno.EBADF}

P = ParamSpec("P")
R = TypeVar("R")


def ends_with_exit_code(verb: Callable[P, R]) -> Callable[P, R]:
    """Turn whatever ends a verb early into one line on stderr and an exit code.

    Deliberate errors, mistakes of ours and an output that cannot be written end with 2 (an output that nobody reads any
    more, as after ``| head``, without a word; a job that writes into files goes on, see `JobOutput`); Ctrl-C, and
    Ctrl-D at a question, with 130. ``MOODBOOK_DEBUG=1`` shows where a mistake was made.
    """

    @functools.wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            result = _run(verb, *args, **kwargs)
        except typer.Exit:
            _finish_output()
            raise
        _finish_output()
        return result

    return run


def _run(verb: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    try:
        return verb(*args, **kwargs)
    except (typer.Exit, typer.BadParameter):
        raise
    except MoodbookError as error:
        from moodbook.model.scores import printable

        # It may quote the name of a file, which is somebody else's text: no command for the terminal.
        sys.stderr.write(f"moodbook: {printable(str(error))}\n")
        raise typer.Exit(RUN_FAILED) from error
    except (KeyboardInterrupt, typer.Abort):  # The latter at a question; Ctrl-D there too.
        sys.stderr.write("moodbook: stopped by the user\n")
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if isinstance(error, OSError):
            _finish_output()  # It may have been the output that could not be written: then it still cannot.
            if error.filename is None and error.errno in _OUTPUT_ERRORS:
                _lose_output(error)
        if os.environ.get("MOODBOOK_DEBUG") == "1":
            traceback.print_exc()
        what = " ".join(f"{type(error).__name__}: {error}".split())
        sys.stderr.write(
            f"moodbook: unexpected: {what}; this is a bug, please report it; MOODBOOK_DEBUG=1 shows the traceback\n"
        )
        raise typer.Exit(RUN_FAILED) from error


def _finish_output() -> None:
    """Write what is left of the output; a run whose output is lost has failed."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _lose_output(error)


class JobOutput:
    """The output of a job that somebody has confirmed: the job goes on where the output cannot be written any more.

    Args:
        confirmed: Whether it is; until then an output that cannot be written ends the verb.

    Attributes:
        error: Why nothing more is printed; None as long as it is.
    """

    def __init__(self, *, confirmed: bool = True) -> None:
        self.confirmed = confirmed
        self.error: OSError | None = None

    @contextmanager
    def kept_going(self) -> Iterator[None]:
        """Print inside of this, and do nothing else; what is printed after the output was lost goes nowhere."""
        try:
            yield
            sys.stdout.flush()
        except OSError as error:
            if not self.confirmed or error.filename is not None or error.errno not in _OUTPUT_ERRORS:
                raise
            self.error = self.error or error
            _silence_output()

    def end(self, how: str) -> None:
        """Say on stderr how the job ended if its output does not tell; an output that a reader left is no failure.

        Raises:
            typer.Exit: The output was lost otherwise, so the run has failed.
        """
        if self.error is None:
            return
        sys.stderr.write(f"moodbook: the output ended early ({self.error.strerror}), the work went on: {how}\n")
        if not isinstance(self.error, BrokenPipeError):
            raise typer.Exit(RUN_FAILED)


def _silence_output() -> None:
    # What is left would be tried again, and complained about, when Python ends.
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _lose_output(error: OSError) -> NoReturn:
    _silence_output()
    if not isinstance(error, BrokenPipeError):
        sys.stderr.write(f"moodbook: cannot write the output: {error.strerror or error}\n")
    raise typer.Exit(RUN_FAILED) from error
