"""From names to open files: find audio below folders, and open only what is safe to open."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from moodbook.errors import AudioError, EmptyAudioError, UnreadableAudioError
from moodbook.files import is_folder

AUDIO_SUFFIXES = frozenset(
    {
        ".aac",
        ".ac3",
        ".aif",
        ".aifc",
        ".aiff",
        ".amr",
        ".ape",
        ".asf",
        ".au",
        ".caf",
        ".dff",
        ".dsf",
        ".dts",
        ".flac",
        ".m4a",
        ".m4b",
        ".mka",
        ".mp1",
        ".mp2",
        ".mp3",
        ".mp4",
        ".mpc",
        ".oga",
        ".ogg",
        ".opus",
        ".rf64",
        ".snd",
        ".spx",
        ".tak",
        ".tta",
        ".w64",
        ".wav",
        ".wave",
        ".webm",
        ".wma",
        ".wv",
    }
)
"""File name endings that `find` takes for audio, in lower case. A file that is named itself needs none of them."""

_ID3V1_BYTES = 128
_READ_BYTES = 1 << 16  # Python's read buffer: the decoders ask for a few hundred bytes at a time.


@dataclass(frozen=True)
class _Entry:
    """What stands below a folder."""

    path: Path
    is_folder: bool = False
    is_link: bool = False


def find(
    paths: Iterable[str | Path],
    on_error: Callable[[AudioError], None] | None = None,
    on_link: Callable[[Path], None] | None = None,
) -> Iterator[Path]:
    """List the files that were named, and the audio files below the folders that were named.

    A file is given as named, whatever its ending and even if it does not exist: reading it tells what is wrong. Below
    a folder, files with an ending of `AUDIO_SUFFIXES` are given, in the order of their names, depth first. Symbolic
    links below a folder are not followed, so nothing outside it is reached and no loop is entered; names that begin
    with a dot are skipped. Nothing is given twice.

    Args:
        paths: Files and folders.
        on_error: Called for each folder that cannot be listed; the search goes on. Without it the error is raised.
        on_link: Called once for each link that is not followed: one below a folder whose name ends like that of an
            audio file, or that points to a folder, inside or outside of the tree.

    Yields:
        One path for each file.

    Raises:
        UnreadableAudioError: A folder cannot be listed, and there is no `on_error`.
    """
    seen: set[str] = set()
    for path in paths:
        for found in _find_below(Path(path), on_error) if is_folder(path) else [_Entry(Path(path))]:
            # Path.resolve would follow the file.
            key = os.path.join(os.path.realpath(found.path.parent), found.path.name)  # noqa: PTH118
            if key in seen:
                continue
            seen.add(key)
            if not found.is_link:
                yield found.path
            elif on_link is not None:
                on_link(found.path)


def _find_below(folder: Path, on_error: Callable[[AudioError], None] | None) -> Iterator[_Entry]:
    # A stack instead of recursion: a tree can be deeper than Python's stack.
    pending = [_Entry(folder, is_folder=True)]
    while pending:
        entry = pending.pop()
        if not entry.is_folder:
            yield entry
            continue
        try:
            with os.scandir(entry.path) as listing:
                wanted = sorted(filter(_is_wanted, listing), key=lambda found: found.name, reverse=True)
        except OSError as error:
            failure = UnreadableAudioError(
                entry.path, f"the folder cannot be listed: {error.strerror}. Check its permissions."
            )
            if on_error is None:
                raise failure from error
            on_error(failure)
            continue
        pending.extend(
            _Entry(entry.path / found.name, found.is_dir(follow_symlinks=False), found.is_symlink()) for found in wanted
        )


def _is_wanted(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, audio by its name, or a link to a folder or with such a name."""
    if entry.name.startswith("."):
        return False
    return Path(entry.name).suffix.lower() in AUDIO_SUFFIXES or is_folder(entry.path)


def open_file(path: str | Path) -> BinaryIO:
    """Open a regular file for reading; never a pipe, a socket or a device, on which an open can wait forever.

    Raises:
        UnreadableAudioError: There is no such file, it is a folder or a special file, or it may not be read.
        EmptyAudioError: The file has no bytes.
    """
    if not str(path):
        raise UnreadableAudioError(path, "the name is empty. Name a file.")
    try:
        _check_regular(path, Path(path).stat())
        file = open(path, "rb", buffering=_READ_BYTES, opener=_open_without_waiting)  # noqa: SIM115 (returned open)
    except FileNotFoundError as error:
        link = Path(path).is_symlink()
        reason = "it is a link to a file that does not exist" if link else "there is no such file"
        raise UnreadableAudioError(path, f"{reason}. Check the name.") from error
    except PermissionError as error:
        raise UnreadableAudioError(path, "permission denied. Make the file readable for this user.") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name.
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableAudioError(path, f"{reason}. Check the name.") from error
    try:
        # The file may have been exchanged for something else since it was looked at.
        _check_regular(path, os.fstat(file.fileno()))
    except AudioError:
        file.close()
        raise
    return file


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(path: str | Path, status: os.stat_result) -> None:
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise UnreadableAudioError(path, "it is a folder. Name a file in it.")
    if not stat.S_ISREG(mode):
        kind = "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise UnreadableAudioError(path, f"it is {kind}, not a file. Save the audio to a file first.")
    if status.st_size == 0:
        raise EmptyAudioError(path, "the file is empty (0 bytes). Copy or download it again.")


class FileRange:
    """A part of a file, with some bytes put in front, that reads like a file of its own.

    Decoders are given this where tags stand before or behind the audio.

    Args:
        file: An open file; it is not closed with the range.
        start: First byte of the part.
        end: Byte behind the part.
        prefix: Bytes in front of the part.
        claimed_size: The size to report, where a decoder would stop too early at the real one. The last 128 bytes of
            the claim, where an ID3v1 tag would stand, read as zeros; before them the range ends where it really does.
    """

    def __init__(
        self, file: BinaryIO, start: int, end: int, prefix: bytes = b"", claimed_size: int | None = None
    ) -> None:
        self._file = file
        self._start = start - len(prefix)  # Where the first byte of the range would lie in the file.
        self._prefix = prefix
        self._size = end - self._start
        self._claimed_size = self._size if claimed_size is None else claimed_size
        self._position = 0
        self.failure: OSError | None = None
        """Why reading failed, if it did: decoders written in C cannot pass an exception on, and see an early end."""

    @property
    def at_end(self) -> bool:
        """Whether everything has been read."""
        return self._position >= self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte, as a file does."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._claimed_size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Give the position in bytes."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        left = max(0, self._size - self._position)
        size = left if size < 0 else size
        if self._position >= max(self._size, self._claimed_size - _ID3V1_BYTES):
            data = bytes(max(0, min(size, self._claimed_size - self._position)))
        else:
            size = min(size, left)
            head = self._prefix[self._position : self._position + size]
            self._file.seek(max(0, self._start + self._position + len(head)))  # Negative: all of it is prefix.
            try:
                data = head + self._file.read(size - len(head))
            except OSError as error:
                self.failure = error
                data = b""
        self._position += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill a writable buffer as far as the bytes go."""
        size = len(buffer)
        if len(self._prefix) <= self._position and self._position + size <= self._size:
            # What an mp3 decoder asks for twice a frame: bytes of the file alone, straight to where they go.
            try:
                self._file.seek(self._start + self._position)
                count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]  # BinaryIO does not promise it.
            except OSError as error:
                self.failure = error
                return 0
            self._position += count
            return count
        data = self.read(size)
        buffer[: len(data)] = data
        return len(data)
