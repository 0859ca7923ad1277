"""HTTP/1.1 on a few connections that stay open: a request need not wait for TCP and TLS.

The venue closes an idle connection when it likes, and a request may meet that moment. A request that may be
repeated is then sent once more on a fresh connection; ``send_once`` never does that, and tells when bytes leave.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from sentinel.errors import VenueError
from sentinel.host.venues.tcp import prepare_socket

_REPEATABLE = ("GET", "DELETE")
_MAX_BODY = 16 << 20
_MAX_LINE = 64 << 10
_MAX_HEADER_LINES = 200
_MAX_IDLE = 4
_IDLE_S = 50.0  # below the minute after which servers and the boxes on the way forget a connection
_NO_BODY = (204, 304)


class Answer(NamedTuple):
    """A complete answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    used: bool = False
    spoke: bool = False  # bytes of the answer awaited have come
    idle_since: float = 0.0
    watch: asyncio.Task[bytes] | None = None  # ends when the venue closes the idle connection or speaks unasked

    def rest(self) -> None:
        """Begin to be idle."""
        loop = asyncio.get_running_loop()
        self.used, self.spoke, self.idle_since = True, False, loop.time()
        self.watch = loop.create_task(self.reader.read(1))
        self.watch.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def wake(self) -> bool:
        """Whether it can be used again."""
        assert self.watch is not None
        self.watch.cancel()
        await asyncio.wait([self.watch])
        return self.watch.cancelled() and asyncio.get_running_loop().time() - self.idle_since < _IDLE_S

    def close(self) -> None:
        if self.watch is not None:
            self.watch.cancel()
        self.writer.close()


class HttpPool:
    """Requests against one base URL; ``headers`` go with each. ``timeout_s`` bounds a whole request.

    As many connections as requests at once; up to four stay open between them.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], timeout_s: float = 10.0) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise VenueError("venue.rest_url", base_url, "http:// or https:// with a host", "correct it in the config")
        self.opened = 0
        self._host = parts.hostname
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._head = f"Host: {parts.netloc.rpartition('@')[2]}\r\nAccept: application/json\r\nUser-Agent: sentinel\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in headers.items()
        )
        self._timeout_s = timeout_s
        self._idle: list[_Connection] = []

    async def request(
        self, verb: str, path: str, params: Mapping[str, str | int], headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, its parameters in the query. Raises VenueError without a complete answer; an error status is one."""
        if verb not in _REPEATABLE:
            raise VenueError("verb", verb, f"one of {', '.join(_REPEATABLE)}", "send what must not be repeated by send_once")
        query = "?" + urlencode(params) if params else ""
        return await self._answer(verb, path, self._render(verb, path + query, headers or {}, b""), None)

    async def send_once(
        self, verb: str, path: str, body: bytes, headers: Mapping[str, str], on_leave: Callable[[], None]
    ) -> Answer:
        """One request with a JSON body that leaves at most once; ``on_leave`` is called just before its bytes go to a socket.

        Raises VenueError without a complete answer. Nothing has left if ``on_leave`` was not called.
        """
        typed = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        return await self._answer(verb, path, self._render(verb, path, typed, body), on_leave)

    def _render(self, verb: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"{verb} {self._prefix}{target} HTTP/1.1\r\n{self._head}{lines}\r\n".encode() + body

    async def _answer(self, verb: str, path: str, raw: bytes, on_leave: Callable[[], None] | None) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._exchange(raw, on_leave)
        except (OSError, EOFError, asyncio.LimitOverrunError, ValueError, TimeoutError) as error:
            # The query is left out: it holds a signature.
            reason = str(error) or type(error).__name__
            raise VenueError(
                f"{verb} {path}",
                reason,
                f"a complete answer within {self._timeout_s:g} s",
                "check the network and venue.rest_url",
            ) from None

    def close(self) -> None:
        """Close the idle connections; requests under way end by themselves."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _exchange(self, raw: bytes, on_leave: Callable[[], None] | None) -> Answer:
        while True:
            connection = await self._take_idle() or await self._open()
            try:
                if on_leave is not None:
                    on_leave()
                connection.writer.write(raw)
                answer, keep = await _read_answer(connection)
            except BaseException as error:
                connection.close()
                repeatable = on_leave is None and connection.used and not connection.spoke
                if repeatable and isinstance(error, (OSError, EOFError)):
                    continue
                raise
            if keep and len(self._idle) < _MAX_IDLE:
                connection.rest()
                self._idle.append(connection)
            else:
                connection.close()
            return answer

    async def _open(self) -> _Connection:
        reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls, limit=_MAX_LINE)
        prepare_socket(writer.transport)
        self.opened += 1
        return _Connection(reader, writer)

    async def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            usable = False
            try:
                usable = await connection.wake()
            finally:
                if not usable:
                    connection.close()
            if usable:
                return connection
        return None


async def _read_answer(connection: _Connection) -> tuple[Answer, bool]:
    """The answer, and whether the connection may be used again."""
    reader = connection.reader
    while True:
        version, status, headers = await _read_head(connection)
        if status >= 200:
            break
    keep = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    if status in _NO_BODY:
        return Answer(status, headers, b""), keep
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return Answer(status, headers, await _read_chunks(reader)), keep
    if "content-length" in headers:
        length = headers["content-length"]
        if not (length.isascii() and length.isdigit()):
            raise ValueError("a Content-Length that is no number")
        return Answer(status, headers, await reader.readexactly(_checked(int(length[:12])))), keep
    body = bytearray()
    while part := await reader.read(_MAX_LINE):
        body += part
        _checked(len(body))
    return Answer(status, headers, bytes(body)), False


async def _read_head(connection: _Connection) -> tuple[str, int, dict[str, str]]:
    try:
        first = await connection.reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        connection.spoke = bool(error.partial)
        raise
    connection.spoke = True
    version, _, rest = first.decode("latin-1").partition(" ")
    if not version.startswith("HTTP/1.") or not (rest[:3].isascii() and rest[:3].isdigit()):
        raise ValueError("not an HTTP/1.1 answer")
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEADER_LINES):
        line = (await connection.reader.readuntil(b"\n")).decode("latin-1").strip()
        if not line:
            return version, int(rest[:3]), headers
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    raise ValueError("too many header lines")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\n")).split(b";")[0], 16):
        _checked(len(body) + size)
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readuntil(b"\n")).strip():
        pass
    return bytes(body)


def _checked(size: int) -> int:
    if not 0 <= size <= _MAX_BODY:
        raise ValueError(f"a body of more than {_MAX_BODY} bytes")
    return size
