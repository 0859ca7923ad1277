"""A receiver of alerts on loopback: keeps what is posted, and answers as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Posted(NamedTuple):
    """One request, and when it had come (CLOCK_MONOTONIC, ns)."""

    path: str
    headers: dict[str, str]
    body: bytes
    monotonic_ns: int


class Receiver:
    """``answers`` are used up one by one, then ``status``; an answer of 0 closes the connection without one."""

    def __init__(self) -> None:
        self.posted: list[Posted] = []
        self.status = 202
        self.answers: list[int] = []
        self.body = b'{"status":"success"}'
        self.hold = threading.Event()
        self.hold.set()
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver._take(self, Posted(self.path, dict(self.headers.items()), body, time.monotonic_ns()))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    def wait_for(self, count: int, within_s: float = 60.0) -> list[Posted]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.posted) >= count, within_s), f"{len(self.posted)} came"
            return list(self.posted)

    def _take(self, handler: BaseHTTPRequestHandler, posted: Posted) -> None:
        with self._changed:
            self.posted.append(posted)
            status = self.answers.pop(0) if self.answers else self.status
            self._changed.notify_all()
        self.hold.wait()
        if status:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(self.body)))
            handler.end_headers()
            handler.wfile.write(self.body)


@contextmanager
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    thread = threading.Thread(target=found._server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        found.hold.set()
        found._server.shutdown()
        thread.join()
        found._server.server_close()
