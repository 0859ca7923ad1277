"""The exchange and the requests under way, moved through virtual time together."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

from sentinel.sim.venue.connection import VenueConnection
from sentinel.sim.venue.operations import ExchangePort


class Timeline:
    """Advances the exchange; between its events performs what was put on the agenda, each at its time."""

    def __init__(self, exchange: ExchangePort, seed: int, latency_ns: int, jitter_ns: int) -> None:
        self.exchange = exchange
        self.unflushed: list[VenueConnection] = []
        self._random = random.Random(seed)
        self._latency_ns = latency_ns
        self._jitter_ns = jitter_ns
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._sequence = 0
        #: While the world stands still requests take effect at once: nothing else would move time on.
        self.frozen = False

    @property
    def now_ns(self) -> int:
        return self.exchange.now_ns

    def next_time(self) -> int | None:
        """When something happens next, or None."""
        market = self.exchange.next_time()
        if not self._agenda:
            return market
        return self._agenda[0][0] if market is None else min(market, self._agenda[0][0])

    def is_over(self) -> bool:
        """Nothing is left to happen by itself."""
        return not self._agenda and self.exchange.next_time() is None

    def advance(self, to_ns: int) -> None:
        """Let everything up to and including ``to_ns`` happen."""
        exchange, agenda = self.exchange, self._agenda
        while agenda and agenda[0][0] <= to_ns:
            due_ns, _, action = heapq.heappop(agenda)
            if due_ns > exchange.now_ns:
                exchange.advance(due_ns)
            action()
        if to_ns > exchange.now_ns:
            exchange.advance(to_ns)

    def flush(self) -> None:
        """Hand every queued frame to its socket."""
        for connection in self.unflushed:
            connection.flush()
        self.unflushed.clear()

    def take_effect(self, connection: VenueConnection, action: Callable[[], None]) -> None:
        if self.frozen or not (self._latency_ns or self._jitter_ns):
            action()
            return
        due_ns = self.now_ns + self._latency_ns + (self._random.randrange(self._jitter_ns) if self._jitter_ns else 0)
        connection.last_due_ns = max(connection.last_due_ns, due_ns)
        self._put(connection.last_due_ns, action)

    def after(self, delay_ns: int, action: Callable[[], None]) -> None:
        self._put(self.now_ns + delay_ns, action)

    def response_first(self) -> bool:
        return self._random.random() < 0.5

    def _put(self, due_ns: int, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._agenda, (due_ns, self._sequence, action))
