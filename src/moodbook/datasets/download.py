"""Fetch one file over HTTP so that it is there whole and right, or not at all.

The bytes go to ``NAME.part``; the final name appears only after the length and the checksum fit. A broken connection is
taken up where it broke. Nothing the server says is believed without a check: a range that is not the one asked for is
thrown away, and after a wrong checksum no range is asked for again.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from moodbook.datasets.web import (
    NoSuchRangeError,
    PassingError,
    Patience,
    content_length,
    open_address,
    start_of_range,
)
from moodbook.errors import FetchError
from moodbook.files import place

_CHUNK_BYTES = 2**18
_PROGRESS_BYTES = 2**20
"""A broken connection that got at least so much further than any before it is no failure in a row."""

Advance = Callable[[int], None]
"""Told of bytes that arrived, or (negative) that had to be thrown away."""


def sha256_of(path: Path) -> str:
    """Give the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def git_blob_of(path: Path) -> str:
    """Give the id that git gives a file's content: what a repository pins at a commit."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class Pin:
    """What a file must hash to.

    Args:
        expected: The hash, in lower-case hexadecimal.
        checksum: How it is computed; default: SHA-256.
    """

    expected: str
    checksum: Callable[[Path], str] = sha256_of

    def fits(self, path: Path) -> bool:
        """Tell whether a file is there and has this hash."""
        return path.is_file() and self.checksum(path) == self.expected


def download(
    url: str,
    target: Path,
    pin: Pin | None = None,
    *,
    patience: Patience | None = None,
    advance: Advance | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Fetch a file; one that is there and has the pinned checksum is left as it is.

    Args:
        url: http or https.
        target: Its final name; its folder is made.
        pin: What it must hash to. Without one, a file that is there is believed, and the length must be announced.
        patience: How long to try.
        advance: Called as bytes arrive.
        stop: Set by another thread to end this download; what arrived stays for the next attempt.

    Raises:
        FetchError: The server refuses, does not answer, or its bytes are not the pinned ones; or the disk is full. The
            message names the address.
    """
    if target.is_file() and (pin is None or pin.fits(target)):
        return
    transfer = _Transfer(url, target, pin, patience or Patience(), advance or _ignore, stop or threading.Event())
    transfer.run()


class _Transfer:
    def __init__(
        self, url: str, target: Path, pin: Pin | None, patience: Patience, advance: Advance, stop: threading.Event
    ) -> None:
        self._url = url
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._validator = target.with_name(target.name + ".part.etag")
        self._pin = pin
        self._patience = patience
        self._advance = advance
        self._stop = stop
        self._believes_ranges = True

    def run(self) -> None:
        failures = mismatches = 0
        furthest = self._have()
        if furthest:
            self._advance(furthest)
        while True:
            try:
                self._make_folder()
                self._receive()
                if self._pin is None or (got := self._pin.checksum(self._part)) == self._pin.expected:
                    self._finish()
                    return
                mismatches += 1
                self._discard()
                self._believes_ranges = False
                if mismatches == 2:
                    raise FetchError(
                        f"{self._url} is not the pinned file: checksum {got}, expected {self._pin.expected}; "
                        "the server holds another version, or something on the way alters it: try another mirror"
                    )
            except PassingError as error:
                failures = 1 if self._have() - furthest >= _PROGRESS_BYTES else failures + 1
                furthest = max(furthest, self._have())
                if failures >= self._patience.attempts:
                    raise FetchError(
                        f"cannot fetch {self._url}: {error.reason}, {failures} times in a row; what arrived is kept, "
                        "run the same command again to go on"
                    ) from error
                self._stop.wait(max(self._patience.wait_seconds(failures), error.retry_after_seconds))
            if self._stop.is_set():
                raise FetchError(f"stopped fetching {self._url}; run the same command again to go on")

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _make_folder(self) -> None:
        try:
            self._target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FetchError(f"cannot make the folder '{self._target.parent}': {error.strerror or error}") from error

    def _receive(self) -> None:
        have = self._have()
        headers: dict[str, str] = {}
        if have and self._pin is None and not self._validator.is_file():
            # Nothing would tell two versions of the file apart: begin anew.
            have = 0
        if have and self._believes_ranges:
            headers["Range"] = f"bytes={have}-"
            if self._validator.is_file():
                headers["If-Range"] = self._validator.read_text(encoding="ascii")
        try:
            response = open_address(self._url, headers, self._patience.timeout_seconds)
        except NoSuchRangeError as error:
            if error.total_bytes == have:
                return
            self._discard()
            raise PassingError("the server has no such range") from error
        with response:
            resumed = response.status == 206
            if resumed and ("Range" not in headers or start_of_range(response.headers) != have):
                self._discard()
                self._believes_ranges = False
                raise PassingError("the server sent another range than the one asked for")
            if not resumed:
                self._discard()
                have = 0
                self._keep_validator(response.headers)
            length = content_length(response.headers)
            if length is None and self._pin is None:
                raise FetchError(
                    f"cannot fetch {self._url}: the server does not say how long the file is and no checksum is known, "
                    "so a broken transfer would go unseen; try another mirror"
                )
            got = self._copy(response, resumed)
            if length is not None and got != length:
                raise PassingError(f"the connection ended after {have + got} of {have + length} bytes")

    def _copy(self, response: http.client.HTTPResponse, resumed: bool) -> int:
        got = 0
        window_began, window_bytes = time.monotonic(), 0
        with self._open_part("ab" if resumed else "wb") as file:
            while not self._stop.is_set():
                try:
                    chunk = response.read1(_CHUNK_BYTES)
                except TimeoutError as error:
                    raise PassingError(f"the server was silent for {self._patience.timeout_seconds:g} s") from error
                except (OSError, http.client.HTTPException) as error:
                    raise PassingError(f"the connection broke ({error!r})") from error
                if not chunk:
                    break
                self._write(file, chunk)
                got += len(chunk)
                window_bytes += len(chunk)
                self._advance(len(chunk))
                lasted = time.monotonic() - window_began
                if lasted > self._patience.timeout_seconds:
                    if window_bytes < self._patience.least_bytes_per_second * lasted:
                        raise PassingError(f"the connection stalled ({window_bytes} bytes in {lasted:.0f} s)")
                    window_began, window_bytes = time.monotonic(), 0
        return got

    def _open_part(self, mode: str) -> IO[bytes]:
        try:
            return self._part.open(mode)
        except OSError as error:
            raise FetchError(f"cannot write '{self._part}': {error.strerror or error}") from error

    def _write(self, file: IO[bytes], chunk: bytes) -> None:
        try:
            file.write(chunk)
        except OSError as error:
            raise FetchError(
                f"cannot write '{self._part}': {error.strerror or error}; make room and run the same command again"
            ) from error

    def _keep_validator(self, headers: Message) -> None:
        etag = headers.get("ETag") or headers.get("Last-Modified")
        if etag is not None and etag.isascii() and not etag.startswith("W/"):
            self._validator.write_text(etag, encoding="ascii")

    def _discard(self) -> None:
        if self._have():
            self._advance(-self._have())
        self._part.unlink(missing_ok=True)
        self._validator.unlink(missing_ok=True)

    def _finish(self) -> None:
        place_whole(self._part, self._target)
        self._validator.unlink(missing_ok=True)


def place_whole(temporary: Path, target: Path) -> None:
    """Give a finished temporary file its final name, safely across a power cut.

    Raises:
        FetchError: The system refuses.
    """
    try:
        place(temporary, target)
    except OSError as error:
        raise FetchError(f"cannot write '{target}': {error.strerror or error}") from error


def free_bytes(folder: Path) -> int:
    """Give the free bytes of the disk that a folder lies on, or will lie on."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    return shutil.disk_usage(existing).free


def _ignore(count: int) -> None:
    del count
