"""The live Coinbase Exchange feed: trades, best bid and ask of every product, whole books of a chosen few.

Its records are those of the Binance feed, with Venue.COINBASE. Messages
are decoded one by one in Python, not by the compiled parser. The venue does not cut its connections, so a lost one is
replaced after the fact: its books are built anew, and the trades of the time between are read over REST.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from sentinel.config import FeedConfig, VenueConfig
from sentinel.errors import FeedError
from sentinel.host.feeds.coinbase_stream import CoinbaseStream
from sentinel.host.feeds.connection import ConnectBudget, StreamConnection, StreamLink
from sentinel.host.feeds.decode import Notice
from sentinel.host.feeds.rest import RestClient
from sentinel.host.ports import Clock, RecordSink
from sentinel.units import NS_PER_MS, NS_PER_S

_log = logging.getLogger(__name__)

_TICK_S = 0.05
_PARALLEL_REFILLS = 4  # of the 10 public requests a second the venue allows an address
_REFILL_TRADES = 1000
_RETRY_NS = 500 * NS_PER_MS
#: A book that has not come by then is asked for again.
_BOOK_RETRY_NS = 5 * NS_PER_S
_encode = msgspec.json.Encoder().encode

#: Signs a subscription at a time (UTC ns): the fields key, passphrase, timestamp, signature.
Authenticate = Callable[[int], dict[str, str]]


class CoinbaseFeed:
    """Connects, keeps books and trades whole and delivers MarketEvents to ``sink``; source = connection id, 1 upward.

    ``authenticate`` subscribes the signed ``level2`` channel (``Credentials.subscription``); without it the public
    ``level2_batch``, whose updates come every 50 ms. ``jitter`` returns numbers in [0, 1) for back-off.
    """

    def __init__(
        self,
        venue: VenueConfig,
        feed: FeedConfig,
        sink: RecordSink,
        clock: Clock,
        *,
        authenticate: Authenticate | None = None,
        jitter: Callable[[], float] = random.random,
        on_receive: Callable[[], None] | None = None,
    ) -> None:
        self._clock = clock
        self._authenticate = authenticate
        self._on_receive = on_receive
        self._level2 = "level2_batch" if authenticate is None else "level2"
        self._stream = CoinbaseStream(
            feed.symbols, feed.depth_symbols, feed.snapshot_limit, sink, self._want_trades, self._want_book, self._on_notice
        )
        self._rest = RestClient(venue.rest_url, clock)
        self._trades_due: dict[int, int] = {}
        self._books_due: dict[int, int] = {}
        self._subscribed_ns: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._refilling: set[int] = set()
        self._pending = 0
        self._counts = {"stale": 0, "refills": 0, "refused": 0}
        self._timer: asyncio.Task[None] | None = None
        self._connections: list[StreamConnection] = []
        self._home: dict[int, StreamConnection] = {}
        budget = ConnectBudget(feed.max_connects_per_5min)
        products = max(feed.streams_per_connection // 3, 1)  # three channels each
        for source, first in enumerate(range(0, len(feed.symbols), products), start=1):
            symbols = range(first, min(first + products, len(feed.symbols)))
            hello = partial(self._hello, symbols)
            connection = StreamConnection(
                source, venue.stream_url, hello, symbols, feed, clock, budget, self, jitter, replaces=False
            )
            self._connections.append(connection)
            self._home |= dict.fromkeys(symbols, connection)

    @property
    def connections(self) -> list[StreamLink]:
        """The open sockets in the order of their sources."""
        return [link for connection in self._connections for link in connection.links]

    @property
    def sources(self) -> int:
        """How many connections the feed keeps: sources 1 to this number."""
        return len(self._connections)

    @property
    def pending_requests(self) -> int:
        """REST requests and connection attempts under way."""
        return self._pending

    @property
    def books_live(self) -> bool:
        """Whether every product has a complete book."""
        return self._stream.books_live

    @property
    def counters(self) -> dict[str, int]:
        """Counted since the start: messages, malformed, gaps, duplicates, reconnects, resyncs, stale and others."""
        counted = self._stream.counters
        counted["reconnects"] = sum(connection.reconnects for connection in self._connections)
        counted["stale"] += self._counts["stale"]
        return counted | {"refills": self._counts["refills"], "refused": self._counts["refused"]}

    async def start(self, timer: bool = True) -> None:
        """Try every connection once and keep them all from then on. Failures back off; none is raised.

        Without a ``timer`` only the caller's own ``tick`` moves time.
        """
        self.tick()
        for connection in self._connections:
            await connection.settled()
        if timer:
            self._timer = asyncio.get_running_loop().create_task(self._keep_time())

    async def stop(self) -> None:
        """Close every socket and end every task. Nothing is delivered afterwards."""
        tasks = [task for task in (self._timer, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._timer = None
        for connection in self._connections:
            await connection.stop()

    def tick(self) -> None:
        """Do what is due on the injected clock."""
        now = self._clock.now_ns()
        for connection in self._connections:
            connection.tick(now)
        self._stream.tick(now)
        self._subscribe_books(now)
        self._refill(now)

    def resync(self, symbol: int) -> None:
        """Give a book up and build it anew, for instance because the engine found it crossed."""
        self._stream.discard_book(symbol, self._clock.now_ns())

    # --- what the connections report -----------------------------------------------------------

    def on_payloads(self, connection: StreamConnection, payloads: list[bytes], t_recv: int) -> None:
        if self._on_receive is not None:
            self._on_receive()
        self._stream.on_frames(connection.source, payloads, t_recv)

    def on_up(self, connection: StreamConnection) -> None:
        now = self._clock.now_ns()
        self._stream.on_connected(connection.source, connection.symbols, now)
        self._books_due |= dict.fromkeys(connection.symbols, now + _BOOK_RETRY_NS)

    def on_stale(self, connection: StreamConnection) -> None:
        self._counts["stale"] += 1
        self._stream.on_stale(connection.source, connection.symbols, self._clock.now_ns())

    def on_down(self, connection: StreamConnection) -> None:
        self._stream.on_disconnected(connection.source, connection.symbols, self._clock.now_ns())

    def busy(self, change: int) -> None:
        self._pending += change

    # --- subscriptions ---------------------------------------------------------------------------

    def _hello(self, symbols: Sequence[int]) -> list[bytes]:
        return [self._request("subscribe", ["matches", self._level2, "heartbeat"], symbols)]

    def _request(self, kind: str, channels: list[str], symbols: Sequence[int]) -> bytes:
        message: dict[str, object] = {
            "type": kind,
            "product_ids": [self._stream.symbols[symbol] for symbol in symbols],
            "channels": channels,
        }
        if self._authenticate is not None:
            message |= self._authenticate(self._clock.now_ns())
        return _encode(message)

    def _want_book(self, symbol: int) -> None:
        self._books_due[symbol] = max(self._clock.now_ns(), self._subscribed_ns.get(symbol, 0) + _RETRY_NS)

    def _subscribe_books(self, now: int) -> None:
        for symbol, due in list(self._books_due.items()):
            if due > now:
                continue
            if self._stream.book_live(symbol):
                del self._books_due[symbol]
                continue
            self._books_due[symbol], self._subscribed_ns[symbol] = now + _BOOK_RETRY_NS, now
            for link in self._home[symbol].links:
                for kind in ("unsubscribe", "subscribe"):
                    link.send_text(self._request(kind, [self._level2], [symbol]))

    # --- missing trades --------------------------------------------------------------------------

    def _want_trades(self, symbol: int) -> None:
        self._trades_due.setdefault(symbol, self._clock.now_ns())

    def _refill(self, now: int) -> None:
        for symbol, due in list(self._trades_due.items()):
            if due > now or symbol in self._refilling:
                continue
            if len(self._tasks) >= _PARALLEL_REFILLS or now < self._rest.blocked_until_ns:
                return
            del self._trades_due[symbol]
            self._refilling.add(symbol)
            self._pending += 1
            task = asyncio.get_running_loop().create_task(self._fetch_trades(symbol))
            self._tasks.add(task)
            task.add_done_callback(partial(self._fetched, symbol))

    async def _fetch_trades(self, symbol: int) -> None:
        name = self._stream.symbols[symbol]
        useful = False
        try:
            answer = await self._rest.get(f"/products/{name}/trades", {"limit": _REFILL_TRADES})
        except FeedError as error:
            _log.warning("trades of %s not read: %s", name, error)
        else:
            useful = answer.status == 200 and self._stream.on_trades(symbol, answer.body, self._clock.now_ns())
        self._counts["refills"] += useful
        if not useful:
            self._trades_due[symbol] = self._clock.now_ns() + _RETRY_NS

    def _fetched(self, symbol: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._refilling.discard(symbol)
        self._pending -= 1
        if not task.cancelled() and task.exception() is not None:
            _log.error("refill task failed", exc_info=task.exception())

    # --- the rest ----------------------------------------------------------------------------------

    def _on_notice(self, source: int, notice: Notice) -> None:
        if notice.kind == "error":
            self._counts["refused"] += 1
            _log.error("connection %d: the venue says: %s", source, notice.detail)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                self.tick()
            except Exception:
                _log.exception("feed timer failed")
