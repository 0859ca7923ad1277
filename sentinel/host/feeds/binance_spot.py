"""The live Binance spot feed: trades and best bid/ask of every symbol, depth of a chosen few.

Streams are spread over connections, all in one asyncio loop and no thread. What one read of a
socket brings is parsed in one call and handed to the sink before the loop goes on. Timers run on the
injected clock, so the feed works the same in real and in virtual time.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial

from sentinel.config import FeedConfig, VenueConfig
from sentinel.errors import FeedError
from sentinel.host.feeds.book_sync import WeightBudget, snapshot_weight
from sentinel.host.feeds.capture import snapshot_payload
from sentinel.host.feeds.connection import ConnectBudget, StreamConnection, StreamLink, stream_name, subscriptions
from sentinel.host.feeds.decode import Notice
from sentinel.host.feeds.rest import RestClient
from sentinel.host.feeds.stream import MarketStream
from sentinel.host.ports import Clock, RecordSink
from sentinel.units import NS_PER_MS

_log = logging.getLogger(__name__)

_TICK_S = 0.05
#: Half of the venue's 6,000 a minute; the other half is for orders and people.
_SNAPSHOT_WEIGHT_PER_MINUTE = 3_000
_PARALLEL_SNAPSHOTS = 4
_SNAPSHOT_RETRY_NS = 500 * NS_PER_MS

#: What a recorder sees: (source, t_recv_ns, payload). A snapshot comes as source 0 and capture.snapshot_payload.
Tap = Callable[[int, int, bytes], None]


class BinanceSpotFeed:
    """Connects, keeps books in step and delivers MarketEvents to ``sink``; source = connection id, 1 upward.

    ``tap`` sees every raw payload before it is parsed; ``on_receive`` is called once for what one read of a socket brought,
    before anything is done with it. ``jitter`` returns numbers in [0, 1) for back-off.
    A venue in lock-step needs no background timer: call ``tick`` after each of its steps.
    """

    def __init__(
        self,
        venue: VenueConfig,
        feed: FeedConfig,
        sink: RecordSink,
        clock: Clock,
        *,
        tap: Tap | None = None,
        jitter: Callable[[], float] = random.random,
        on_receive: Callable[[], None] | None = None,
    ) -> None:
        self._settings = feed
        self._clock = clock
        self._tap = tap
        self._on_receive = on_receive
        self._stream = MarketStream(feed.symbols, feed.depth_symbols, sink, self._want_snapshot, self._on_notice)
        self._rest = RestClient(venue.rest_url, clock)
        self._weight = WeightBudget(_SNAPSHOT_WEIGHT_PER_MINUTE)
        self._snapshots_due: dict[int, int] = {}
        self._snapshot_tasks: set[asyncio.Task[None]] = set()
        self._pending = 0
        self._stale = 0
        self._timer: asyncio.Task[None] | None = None
        budget = ConnectBudget(feed.max_connects_per_5min)
        self._connections = []
        for source, (streams, symbols) in enumerate(plan_connections(feed), start=1):
            url, later = subscriptions(venue.stream_url, streams)
            self._connections.append(
                StreamConnection(source, url, partial(tuple, later), symbols, feed, clock, budget, self, jitter)
            )

    @property
    def connections(self) -> list[StreamLink]:
        """The open sockets in the order of their sources; two of one source while it is being replaced."""
        return [link for connection in self._connections for link in connection.links]

    @property
    def sources(self) -> int:
        """How many connections the feed keeps: sources 1 to this number."""
        return len(self._connections)

    @property
    def pending_requests(self) -> int:
        """REST requests and connection attempts under way: virtual time should wait for them."""
        return self._pending

    @property
    def books_live(self) -> bool:
        """Whether every depth symbol has a complete book."""
        return self._stream.books_live

    @property
    def counters(self) -> dict[str, int]:
        """Counted since the start: messages, malformed, gaps, duplicates, reconnects, resyncs, stale and others."""
        counted = self._stream.counters
        counted["reconnects"] = sum(connection.reconnects for connection in self._connections)
        counted["stale"] = self._stale
        return counted

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
        tasks = [task for task in (self._timer, *self._snapshot_tasks) if task is not None]
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
        self._request_snapshots(now)

    def resync(self, symbol: int) -> None:
        """Give a book up and build it anew, for instance because the engine found it crossed."""
        self._stream.discard_book(symbol, self._clock.now_ns())

    # --- what the connections report -----------------------------------------------------------

    def on_payloads(self, connection: StreamConnection, payloads: list[bytes], t_recv: int) -> None:
        if self._on_receive is not None:
            self._on_receive()
        if self._tap is not None:
            for payload in payloads:
                self._tap(connection.source, t_recv, payload)
        self._stream.on_frames(connection.source, payloads, t_recv)

    def on_up(self, connection: StreamConnection) -> None:
        self._stream.on_connected(connection.source, connection.symbols, self._clock.now_ns())

    def on_stale(self, connection: StreamConnection) -> None:
        self._stale += 1
        self._stream.on_stale(connection.source, connection.symbols, self._clock.now_ns())

    def on_down(self, connection: StreamConnection) -> None:
        self._stream.on_disconnected(connection.source, connection.symbols, self._clock.now_ns())

    def busy(self, change: int) -> None:
        self._pending += change

    # --- snapshots -------------------------------------------------------------------------------

    def _want_snapshot(self, symbol: int) -> None:
        now = self._clock.now_ns()
        self._snapshots_due[symbol] = now
        self._request_snapshots(now)

    def _request_snapshots(self, now: int) -> None:
        for symbol, due in list(self._snapshots_due.items()):
            if due > now:
                continue
            if len(self._snapshot_tasks) >= _PARALLEL_SNAPSHOTS or now < self._rest.blocked_until_ns:
                return
            if not self._weight.take(snapshot_weight(self._settings.snapshot_limit), now):
                return
            del self._snapshots_due[symbol]
            self._pending += 1
            task = asyncio.get_running_loop().create_task(self._fetch_snapshot(symbol))
            self._snapshot_tasks.add(task)
            task.add_done_callback(self._snapshot_done)

    async def _fetch_snapshot(self, symbol: int) -> None:
        name = self._stream.symbols[symbol]
        try:
            body = await self._rest.depth_snapshot(name, self._settings.snapshot_limit)
        except FeedError as error:
            _log.warning("snapshot of %s failed: %s", name, error)
            useful = False
        else:
            t_recv = self._clock.now_ns()
            if self._tap is not None:
                self._tap(0, t_recv, snapshot_payload(name, body, len(self._stream.symbols)))
            useful = self._stream.on_snapshot(symbol, body, t_recv)
        if not useful:
            self._snapshots_due[symbol] = self._clock.now_ns() + _SNAPSHOT_RETRY_NS

    def _snapshot_done(self, task: asyncio.Task[None]) -> None:
        self._snapshot_tasks.discard(task)
        if not task.cancelled():
            if task.exception() is not None:
                _log.error("snapshot task failed", exc_info=task.exception())
            self._request_snapshots(self._clock.now_ns())
        self._pending -= 1

    # --- the rest ----------------------------------------------------------------------------------

    def _on_notice(self, source: int, notice: Notice) -> None:
        if notice.kind == "shutdown":
            _log.info("connection %d: the venue is going to close it", source)
            self._connections[source - 1].replace_soon()
        elif notice.kind == "error":
            _log.error("connection %d: the venue refused a subscription: %s", source, notice.detail)

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            try:
                self.tick()
            except Exception:
                _log.exception("feed timer failed")


def plan_connections(feed: FeedConfig) -> list[tuple[list[str], list[int]]]:
    """(stream names, symbol indices) of each connection, in order.

    A symbol's streams stay on one connection, which keeps their order, unless
    ``streams_per_connection`` is too small for that.
    """
    plan: list[tuple[list[str], list[int]]] = []
    limit = feed.streams_per_connection
    for index, symbol in enumerate(feed.symbols):
        kinds = ["trade", "bookTicker"]
        if symbol in feed.depth_symbols:
            kinds.append("depth@100ms")
        names = [stream_name(symbol, kind) for kind in kinds]
        groups = [names] if len(names) <= limit else [[name] for name in names]
        for group in groups:
            if not plan or len(plan[-1][0]) + len(group) > limit:
                plan.append(([], []))
            streams, symbols = plan[-1]
            streams.extend(group)
            if index not in symbols:
                symbols.append(index)
    return plan
