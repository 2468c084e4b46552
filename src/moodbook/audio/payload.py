"""What identifies a recording: a hash of its bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from moodbook.audio.files import open_file
from moodbook.errors import UnreadableAudioError

_READ_BYTES = 1 << 20


def payload_hash(path: str | Path) -> str:
    """Hash the audio payload of a file.

    Returns:
        The sha256 in hexadecimal.

    Raises:
        AudioError: The file cannot be read.
    """
    digest = hashlib.sha256()
    with open_file(path) as file:
        try:
            while data := file.read(_READ_BYTES):
                digest.update(data)
        except OSError as error:
            raise UnreadableAudioError(path, f"{error.strerror}. Check the disk or the network folder.") from error
    return digest.hexdigest()
