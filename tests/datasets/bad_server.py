"""An HTTP server on this machine that serves a folder and misbehaves as told."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered.

    Args:
        kind: serve; cut (after `count` bytes, although more were announced); status (`count`, nothing else);
            ignore-range (200 and everything); wrong-range (206 from elsewhere, and says so); false-range (says the
            range asked for, sends other bytes); corrupt (the right length, other bytes); stall (headers, then
            silence); drip (`count` bytes, then one every tenth of a second); no-length; redirect (to a file: address).
        count: See above.
        headers: Added to the answer.
    """

    kind: str = "serve"
    count: int = 0
    headers: tuple[tuple[str, str], ...] = ()


SERVE = Behaviour()


@dataclass
class BadServer:
    """A running server.

    Attributes:
        root: The folder it serves.
        url: Its address.
        plan: By path: how the next requests for it are answered, first to last, then properly.
        requests: Method, path and Range header of every request.
    """

    root: Path
    url: str = ""
    plan: dict[str, list[Behaviour]] = field(default_factory=lambda: defaultdict(list))
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def misbehave(self, path: str, *behaviours: Behaviour) -> None:
        """Plan the answers to the next GET requests for a path."""
        self.plan[f"/{path}"] += behaviours

    def ranges(self, path: str) -> list[str | None]:
        """Give the Range headers of the GET requests for a path."""
        return [asked for method, where, asked in self.requests if (method, where) == ("GET", f"/{path}")]


@contextmanager
def bad_server(root: Path) -> Iterator[BadServer]:
    """Serve a folder until the block ends."""
    state = BadServer(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, state))
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, state: BadServer, *args: object) -> None:
        self._state = state
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._note()
        content = self._content()
        if content is not None:
            self._head(200, (("Content-Length", str(len(content))),))

    def do_GET(self) -> None:
        self._note()
        with self._state.lock:
            planned = self._state.plan[self.path]
            behaviour = planned.pop(0) if planned else SERVE
        if behaviour.kind == "status":
            self._head(behaviour.count, (("Content-Length", "0"), *behaviour.headers))
            return
        if behaviour.kind == "redirect":
            self._head(302, (("Location", "file:///etc/hostname"), ("Content-Length", "0")))
            return
        content = self._content()
        if content is not None:
            self._answer(content, behaviour)

    def _answer(self, content: bytes, behaviour: Behaviour) -> None:
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(content) and asked:
            self._head(416, (("Content-Range", f"bytes */{len(content)}"), ("Content-Length", "0")))
            return
        ranged = asked is not None and behaviour.kind != "ignore-range"
        if behaviour.kind == "wrong-range":
            start = start // 2
        body = content[start:] if ranged else content
        if behaviour.kind in {"corrupt", "false-range"}:
            body = bytes(byte ^ 0xFF for byte in body)
        headers = list(behaviour.headers)
        if behaviour.kind != "no-length":
            headers.append(("Content-Length", str(len(body))))
        if ranged:
            headers.append(("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}"))
        self._head(206 if ranged else 200, tuple(headers))
        self._send(body, behaviour)

    def _send(self, body: bytes, behaviour: Behaviour) -> None:
        if behaviour.kind == "stall":
            self._state.closing.wait(5)
        elif behaviour.kind == "drip":
            self.wfile.write(body[: behaviour.count])
            for byte in body[behaviour.count :]:
                if self._state.closing.wait(0.1):
                    return
                self.wfile.write(bytes([byte]))
        elif behaviour.kind == "cut":
            self.wfile.write(body[: behaviour.count])
        else:
            self.wfile.write(body)

    def _note(self) -> None:
        with self._state.lock:
            self._state.requests.append((self.command, self.path, self.headers.get("Range")))

    def _content(self) -> bytes | None:
        path = self._state.root / self.path.lstrip("/")
        if not path.is_file():
            self._head(404, (("Content-Length", "0"),))
            return None
        return path.read_bytes()

    def _head(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self._state.closing.wait(0)
