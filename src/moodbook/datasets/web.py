"""Ask a web server: http and https only, through the user's proxies, with failures sorted into passing and final."""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message

from moodbook.errors import FetchError

_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class Patience:
    """How long a download is tried.

    Args:
        attempts: Failures in a row before it is given up.
        timeout_seconds: Longest silence of the server.
        back_off_seconds: Wait after the first failure; doubles with each further one, to at most a minute.
        least_bytes_per_second: A slower connection (over `timeout_seconds`) counts as stalled.
    """

    attempts: int = 5
    timeout_seconds: float = 30.0
    back_off_seconds: float = 1.0
    least_bytes_per_second: float = 1024.0

    def wait_seconds(self, failures: int) -> float:
        """Give the wait after so many failures in a row."""
        return min(_LONGEST_WAIT_SECONDS, self.back_off_seconds * 2.0 ** (failures - 1))


class PassingError(Exception):
    """Something that may be over at the next attempt."""

    def __init__(self, reason: str, retry_after_seconds: float = 0.0) -> None:
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        super().__init__(reason)


class NoSuchRangeError(Exception):
    """The file ends before the range that was asked for."""

    def __init__(self, total_bytes: int | None) -> None:
        self.total_bytes = total_bytes
        super().__init__(f"the file has {total_bytes} bytes")


def remote_bytes(url: str, patience: Patience | None = None) -> int | None:
    """Ask for the length of a file; None where the server does not tell.

    Raises:
        FetchError: There is no such file, or the server does not answer.
    """
    patience = patience or Patience()
    reason = ""
    for failures in range(1, patience.attempts + 1):
        try:
            with open_address(url, {}, patience.timeout_seconds, method="HEAD") as response:
                return content_length(response.headers)
        except PassingError as error:
            reason = error.reason
            if failures < patience.attempts:
                time.sleep(max(patience.wait_seconds(failures), error.retry_after_seconds))
    raise FetchError(f"cannot fetch {url}: {reason}, {patience.attempts} times; try again later")


def open_address(
    url: str, headers: dict[str, str], timeout_seconds: float, method: str = "GET"
) -> http.client.HTTPResponse:
    """Open an address; only http and https, redirects included, through the user's proxies.

    Raises:
        PassingError: It may work at the next attempt.
        NoSuchRangeError: The file ends before the range.
        FetchError: The server refuses for good, or the address is none.
    """
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise FetchError(f"cannot fetch {url}: the address must begin with http:// or https://")
    request = urllib.request.Request(  # noqa: S310 (the scheme is checked above, and the opener knows no other)
        url, headers={"User-Agent": "moodbook", "Accept-Encoding": "identity", **headers}, method=method
    )
    try:
        response: http.client.HTTPResponse = _opener().open(request, timeout=timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:
            raise NoSuchRangeError(_total_of_range(error.headers)) from error
        if error.code in _PASSING_STATUS:
            raise PassingError(
                f"the server answers {error.code} {error.reason}", _retry_after(error.headers)
            ) from error
        raise FetchError(
            f"cannot fetch {url}: the server answers {error.code} {error.reason}; check the address (--mirror)"
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise FetchError(f"cannot fetch {url}: its certificate is not trusted ({error.reason})") from error
        raise PassingError(f"the server cannot be reached ({error.reason})") from error
    except TimeoutError as error:
        raise PassingError(f"the server was silent for {timeout_seconds:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise PassingError(f"the connection broke ({error!r})") from error
    return response


def _opener() -> urllib.request.OpenerDirector:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def content_length(headers: Message) -> int | None:
    """Read the announced length of an answer."""
    text = headers.get("Content-Length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def start_of_range(headers: Message) -> int | None:
    """Read where a partial answer begins."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", headers.get("Content-Range") or "")
    return int(match[1]) if match else None


def _total_of_range(headers: Message) -> int | None:
    match = re.fullmatch(r"bytes \*/(\d+)", headers.get("Content-Range") or "")
    return int(match[1]) if match else None


def _retry_after(headers: Message) -> float:
    text = headers.get("Retry-After") or ""
    return min(_LONGEST_WAIT_SECONDS, float(text)) if text.isascii() and text.isdigit() else 0.0
