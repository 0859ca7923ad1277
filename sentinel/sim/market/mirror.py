"""A live exchange's public market as a source, so that paper orders are matched against real prices.

The mirror follows the real streams over its own connection, fetches the depth snapshots they need, and relays every message. It
never sends an order anywhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from sentinel.errors import FeedError, ParseError
from sentinel.sim.market.relayed import RelayedSymbol
from sentinel.sim.market.source import Market
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.instruments import Instrument

log = logging.getLogger(__name__)

SNAPSHOT_LEVELS = 1000
REQUEST_TIMEOUT_S = 10.0
SNAPSHOT_PAUSE_S = 2.0
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
MAX_QUEUED = 200_000
MAX_MESSAGE_BYTES = 16 << 20


def fetch_json(url: str) -> Any:
    """GET a JSON document. Raises FeedError for anything but a 200 with JSON."""
    try:
        with urllib.request.urlopen(url, timeout=REQUEST_TIMEOUT_S) as response:
            return json.load(response)
    except (OSError, ValueError) as error:
        raise FeedError(
            "rest_url", url, "an answer of the exchange's REST API", f"check the address and the network ({error})"
        ) from None


class MirrorSource:
    """A MarketSource fed by ``stream_url`` and ``rest_url`` of a live exchange.

    Make one with ``await MirrorSource.open_live(...)``, run ``await follow()`` beside the server, and give ``notify`` a function
    that wakes the server when messages wait. Virtual time is the wall clock. ``counters`` counts messages, malformed, unknown,
    reconnects, snapshots and dropped.
    """

    relays = True

    def __init__(
        self, stream_url: str, rest_url: str, instruments: Sequence[Instrument], depth_symbols: Sequence[str] = ()
    ) -> None:
        self.instruments = tuple(instruments)
        self.start_ns = time.time_ns()
        self.end_ns: int | None = None
        self.maker_size = (0,) * len(self.instruments)
        self.notify: Callable[[], None] = lambda: None
        self.counters = dict.fromkeys(("messages", "malformed", "unknown", "reconnects", "snapshots", "dropped"), 0)
        self._rest_url = rest_url.rstrip("/")
        self._depth = list(depth_symbols)
        streams = [f"{i.symbol.lower()}@{kind}" for i in self.instruments for kind in ("trade", "bookTicker")]
        streams += [f"{symbol.lower()}@depth@100ms" for symbol in self._depth]
        self._url = f"{stream_url.rstrip('/')}/stream?streams={quote('/'.join(streams), safe='/@!')}"
        self._symbols = {instrument.symbol: RelayedSymbol(i, instrument.symbol) for i, instrument in enumerate(self.instruments)}
        self._by_index = list(self._symbols.values())
        self._queue: deque[tuple[str, dict[str, Any]]] = deque()
        self._resync: set[str] = set()
        self._wanted = asyncio.Event()
        self._decode = msgspec.json.Decoder(dict[str, Any]).decode

    @classmethod
    async def open_live(
        cls, stream_url: str, rest_url: str, symbols: Sequence[str], depth_symbols: Sequence[str] = ()
    ) -> MirrorSource:
        """Read the symbols' filters from the exchange. Raises FeedError when it cannot be reached or lacks one."""
        names = quote(json.dumps(list(symbols), separators=(",", ":")))
        info = await asyncio.to_thread(fetch_json, f"{rest_url.rstrip('/')}/api/v3/exchangeInfo?symbols={names}")
        found = {entry["symbol"]: Instrument.from_exchange_info(entry) for entry in info.get("symbols", [])}
        missing = [symbol for symbol in symbols if symbol not in found]
        if missing:
            raise FeedError("symbols", missing, "symbols the exchange lists", "remove them or correct their spelling")
        return cls(stream_url, rest_url, [found[symbol] for symbol in symbols], depth_symbols)

    # The source

    def open(self, market: Market) -> None:
        """Books start empty and fill with the first messages."""

    def next_time(self) -> int | None:
        """Whatever waits has already happened: it is due at once."""
        return self.start_ns if self._queue else None

    def fire(self, market: Market) -> None:
        stream, payload = self._queue.popleft()
        if not stream:
            self._symbols[payload["symbol"]].load(market, payload["snapshot"])
            return
        symbol = payload.get("s")
        followed = self._symbols.get(symbol) if isinstance(symbol, str) else None
        if followed is None:
            self.counters["unknown"] += 1
            return
        try:
            followed.handle(market, stream, payload)
        except ParseError as error:
            self.counters["malformed"] += 1
            log.warning("mirror: %s", error)
            return
        if payload.get("e") == "depthUpdate" and not followed.book.synced:
            self._resync.add(followed.symbol)
            self._wanted.set()

    def snapshot(self, symbol: int, limit: int) -> dict[str, Any] | None:
        """The relayed depth book. Raises ApiError -1001 until its snapshot has come."""
        book = self._by_index[symbol].book
        if not book.synced:
            raise ApiError(503, -1001, "Internal error; unable to process your request. Please try again.")
        return book.snapshot(limit)

    # The connection

    async def follow(self) -> None:
        """Follow the live market until cancelled, reconnecting with a growing pause."""
        snapshots = asyncio.create_task(self._fetch_snapshots())
        failures = 0
        try:
            while True:
                try:
                    async with connect(self._url, max_size=MAX_MESSAGE_BYTES, ping_interval=None) as connection:
                        async for message in connection:
                            failures = 0
                            self._receive(message)
                except (OSError, WebSocketException, TimeoutError) as error:
                    log.warning("mirror: connection lost: %s", error)
                self.counters["reconnects"] += 1
                await asyncio.sleep(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
                failures += 1
        finally:
            snapshots.cancel()

    def _receive(self, message: str | bytes) -> None:
        try:
            decoded = self._decode(message)
            stream, payload = decoded["stream"], decoded["data"]
        except (KeyError, ValueError):
            self.counters["malformed"] += 1
            return
        if not isinstance(stream, str) or not isinstance(payload, dict):
            self.counters["malformed"] += 1
            return
        if len(self._queue) >= MAX_QUEUED:
            # The server stands still. Depth ids show the gap to every follower; the drop is counted.
            self.counters["dropped"] += 1
            return
        self.counters["messages"] += 1
        self._queue.append((stream, payload))
        self.notify()

    async def _fetch_snapshots(self) -> None:
        """Fetch a depth snapshot for every book that lost or never had one, with a pause between requests."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for symbol in sorted(self._resync):
                url = f"{self._rest_url}/api/v3/depth?symbol={quote(symbol)}&limit={SNAPSHOT_LEVELS}"
                try:
                    snapshot = await asyncio.to_thread(fetch_json, url)
                except FeedError as error:
                    log.warning("mirror: %s", error)
                else:
                    self.counters["snapshots"] += 1
                    self._queue.append(("", {"symbol": symbol, "snapshot": snapshot}))
                    self.notify()
                await asyncio.sleep(SNAPSHOT_PAUSE_S)
                self._resync.discard(symbol)
