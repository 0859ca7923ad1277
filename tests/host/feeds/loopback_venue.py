"""A stream server and a REST server on loopback, built on another WebSocket implementation than the feed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from sentinel.config import FeedConfig, VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.feeds.binance_spot import BinanceSpotFeed
from sentinel.wire import Kind

BASE: dict[str, Any] = {"symbols": ["BTCUSDT"], "backoff_min_ms": 10, "backoff_max_ms": 100}


class Venue:
    """A stream server and a REST server whose behaviour each test scripts.

    ``on_stream(socket, n)`` serves the n-th connection; ``snapshots`` are REST bodies, the last repeated.
    """

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.sockets: list[ServerConnection] = []
        self.requests: list[str] = []
        self.snapshots: list[bytes] = []
        self.snapshot_gate = asyncio.Event()
        self.snapshot_gate.set()
        self.lockstep = False
        self.refuse = 0
        self.received: list[str] = []
        self.on_stream: Callable[[ServerConnection, int], Awaitable[None]] | None = None
        self._number = 0

    async def __aenter__(self) -> Venue:
        self._streams = await serve(
            self._serve, "127.0.0.1", 0, process_request=self._screen, process_response=self._label, ping_interval=None
        )
        self._rest = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._streams.close()
        self._rest.close()
        await self._streams.wait_closed()

    @property
    def config(self) -> VenueConfig:
        stream, rest = (s.sockets[0].getsockname()[1] for s in (self._streams, self._rest))
        return VenueConfig(stream_url=f"ws://127.0.0.1:{stream}", rest_url=f"http://127.0.0.1:{rest}")

    def feed(self, sink: Any, clock: Any = None, **settings: Any) -> BinanceSpotFeed:
        return BinanceSpotFeed(self.config, FeedConfig(**(BASE | settings)), sink, clock or LiveClock(), jitter=lambda: 0.5)

    def _screen(self, socket: ServerConnection, request: Request) -> Response | None:
        self.paths.append(unquote(request.path))
        if self.refuse > 0:
            self.refuse -= 1
            return socket.respond(503, "not now")
        return None

    def _label(self, socket: ServerConnection, request: Request, response: Response) -> None:
        if self.lockstep:
            response.headers["X-Lockstep-Connection"] = str(len(self.sockets) + 1)

    async def _serve(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        number = self._number
        self._number += 1
        if self.on_stream is not None:
            await self.on_stream(socket, number)
        async for message in socket:
            self.received.append(str(message))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.split(b" ")[1].decode())
        await self.snapshot_gate.wait()
        body = self.snapshots.pop(0) if len(self.snapshots) > 1 else self.snapshots[0]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()


def run(scenario: Callable[[Venue], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Venue() as venue:
            await scenario(venue)

    asyncio.run(main())


def market_kinds(sink: Any) -> list[Kind]:
    return [kind for kind in sink.kinds() if kind != Kind.STATUS]
