"""What a file is, whatever its name: the hash of its music, and what it says about itself.

Workers import this module, so it imports little.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from moodbook.audio.files import open_file
from moodbook.audio.payload import payload_hash
from moodbook.errors import AudioError, UnreadableAudioError
from moodbook.library.metadata import Metadata, read_metadata

CHANGED_MEANWHILE = "it changed while it was being read. Scan again when it is finished."


@dataclass(frozen=True)
class Stat:
    """What tells without reading whether a file is still the one it was.

    Attributes:
        size: In bytes.
        mtime_ns: When it was last written.
        inode: Its number in the file system, as text. That of a file that is gone is given to another.
        ctime_ns: When anything of it last changed, which no program can set back; None where an older Moodbook entered
            it.
    """

    size: int
    mtime_ns: int
    inode: str
    ctime_ns: int | None = None

    @classmethod
    def of(cls, status: os.stat_result) -> Stat:
        """Take it from what the system says."""
        return cls(status.st_size, status.st_mtime_ns, str(status.st_ino), status.st_ctime_ns)

    def is_still(self, now: Stat | None) -> bool:
        """Whether a file that was so is the same one, as far as is known of it."""
        return now is not None and self == (now if self.ctime_ns is not None else replace(now, ctime_ns=None))


@dataclass(frozen=True)
class KnownFile:
    """A file as the catalogue knows it.

    Attributes:
        id: Its row.
        path: Its absolute name.
        payload_id: The music in it.
        stat: As it was when it was read.
        mount: The folder at which its disk was mounted; None where an older Moodbook entered it.
        is_missing: Whether the last scan did not find it.
    """

    id: int
    path: Path
    payload_id: int
    stat: Stat
    mount: Path | None
    is_missing: bool


@dataclass(frozen=True)
class Identity:
    """What a file is.

    Attributes:
        stat: As it was while it was read; None where it could not be read.
        payload_sha256: Hash of its audio alone. Where the container is too damaged to tell the audio from the rest, of
            the whole file, so that even what cannot be heard is known again.
        metadata: What it says about itself.
        failure: Why it cannot be read; empty where it can.
    """

    stat: Stat | None = None
    payload_sha256: str = ""
    metadata: Metadata = field(default_factory=Metadata)
    failure: str = ""


def identify(path: Path) -> Iterator[Identity]:
    """Read what a file is; one item, the form that a worker's task has."""
    try:
        with open_file(path) as file:
            stat = Stat.of(os.fstat(file.fileno()))
        metadata = read_metadata(path)
        sha256 = music_hash(path)
        if Stat.of(path.stat()) != stat:
            raise UnreadableAudioError(path, CHANGED_MEANWHILE)
    except AudioError as error:
        yield Identity(failure=error.reason)
    except OSError as error:
        yield Identity(failure=f"{error.strerror}. Check the disk or the network folder.")
    else:
        yield Identity(stat, sha256, metadata)


def music_hash(path: Path) -> str:
    """Hash the audio of a file alone; of a file too damaged to tell the audio from the rest, everything.

    Raises:
        AudioError: It is no regular file, or cannot be read.
        OSError: The disk fails.
    """
    try:
        return payload_hash(path)
    except Exception:  # noqa: BLE001 (whatever a damaged header leads the reader to, the file still has a hash)
        with open_file(path) as file:
            return hashlib.file_digest(cast(io.BufferedReader, file), "sha256").hexdigest()
