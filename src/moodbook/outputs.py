"""Files that a verb writes where its user says, and the one rule for what they may replace.

The ending must be one that the verb writes. What has the name already is replaced only if it is a regular file and
empty, or made by the same verb in the same format, so that a command can be run again; anything else is replaced only
if the user insists (``--force``). A device, a folder, or a link to a file of another kind never is.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from moodbook.errors import DataError
from moodbook.files import link_target, whole_file

MARK = "written by Moodbook"
"""What a file says of itself where its format has room for such a remark."""
_MOST_LINE_BYTES = 64 << 20  # A record of a day of music with a thousand tags has half of it.


@dataclass(frozen=True)
class Format:
    """A format that a verb writes.

    Attributes:
        suffix: The ending of its files, in lower case.
        kind: What is in them, with its article, for messages.
        is_ours: Whether the content of a file is what this verb writes, so that it can be written again.
    """

    suffix: str
    kind: str
    is_ours: Callable[[Path], bool]


def begins(start: str) -> Callable[[Path], bool]:
    """Know a file by its first characters."""

    def is_ours(path: Path) -> bool:
        expected = start.encode()
        with path.open("rb") as file:
            return file.read(len(expected)) == expected

    return is_ours


def first_line(path: Path) -> bytes:
    """Give the first line of a file, as far as a line can be one of ours."""
    with path.open("rb") as file:
        return file.readline(_MOST_LINE_BYTES)


def check_output(path: str | Path, formats: Sequence[Format], *, force: bool = False) -> str:
    """Give the ending of an output file, in lower case, which chooses its format, if the file may be written.

    Args:
        path: Where to.
        formats: What the verb writes.
        force: Replace a file that this verb has not written.

    Raises:
        DataError: The ending is none of these, or the name is that of something which must not be replaced.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    known = {format.suffix: format for format in formats}
    if suffix not in known:
        raise DataError(f"cannot tell the format of '{path}' from its ending; use one of {', '.join(known)}")
    try:
        target = link_target(path)
        if target.suffix.lower() != suffix:
            raise DataError(f"'{path}' is a link to '{target}', which is no {suffix} file; name another file")
        try:
            status = target.stat()
        except FileNotFoundError:
            return suffix
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"'{path}' is no regular file and is not replaced; name another file")
        if not (force or status.st_size == 0 or known[suffix].is_ours(target)):
            raise DataError(
                f"'{path}' is there already and is not {known[suffix].kind} that Moodbook wrote; name another file, or "
                "replace it with --force"
            )
    except (OSError, ValueError) as error:
        raise _refusal(path, error) from error
    return suffix


@contextmanager
def output_file(path: str | Path, formats: Sequence[Format], *, force: bool = False) -> Iterator[Path]:
    """Give the temporary path to write; on leaving it becomes the file. See `check_output` for the parameters.

    Raises:
        DataError: The file must not be replaced, or the system refuses; the old file is untouched.
    """
    check_output(path, formats, force=force)
    try:
        with whole_file(Path(path)) as part:
            yield part
    except OSError as error:
        raise _refusal(path, error) from error


def _refusal(path: str | Path, error: OSError | ValueError) -> DataError:
    reason = (isinstance(error, OSError) and error.strerror) or error
    return DataError(f"cannot write '{path}': {reason}; choose another place")
