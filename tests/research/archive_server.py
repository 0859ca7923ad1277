"""A loopback copy of the public archive's layout that can be told to misbehave."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Archive:
    """Files by path, and faults: each is used up by the requests it spoils."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    statuses: dict[str, list[int]] = field(default_factory=dict)  # answer these first
    cut_after: dict[str, list[int]] = field(default_factory=dict)  # close after so many bytes of the body
    stall_after: dict[str, tuple[int, threading.Event]] = field(default_factory=dict)  # send so much, then wait
    requests: Counter[str] = field(default_factory=Counter)
    base_url: str = ""

    def add(self, path: str, csv: str, checksum: str | None = None) -> bytes:
        """Publish a zipped CSV and its CHECKSUM; returns the zip."""
        name = path.rsplit("/", 1)[-1]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr(name.replace(".zip", ".csv"), csv)
        self.add_bytes(path, buffer.getvalue(), checksum)
        return buffer.getvalue()

    def add_bytes(self, path: str, content: bytes, checksum: str | None = None) -> None:
        """Publish any bytes as a zip with its CHECKSUM."""
        name = path.rsplit("/", 1)[-1]
        self.files[path] = content
        self.files[path + ".CHECKSUM"] = f"{checksum or hashlib.sha256(content).hexdigest()}  {name}\n".encode()


@contextmanager
def serving(archive: Archive) -> Iterator[Archive]:
    """Serve it on a free loopback port for the length of a with block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            return

        def do_GET(self) -> None:
            archive.requests[self.path] += 1
            planned = archive.statuses.get(self.path)
            content = archive.files.get(self.path)
            if planned:
                return self._empty(planned.pop(0))
            if content is None:
                return self._empty(404)
            start = 0
            if archive.ranges and (wanted := self.headers.get("Range")):
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    return self._empty(416)
            body = content[start:]
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cuts = archive.cut_after.get(self.path)
            if cuts:
                body = body[: cuts.pop(0)]
                self.close_connection = True
            if stall := archive.stall_after.get(self.path):
                self.wfile.write(body[: stall[0]])
                stall[1].wait(60)
                self.close_connection = True
                return None
            self.wfile.write(body)
            return None

        def _empty(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    archive.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield archive
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
