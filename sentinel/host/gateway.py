"""From effects to the venue: each PLACE, CANCEL and QUERY becomes one call on the order session."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.host.latency import Stage, count_latency
from sentinel.wire import Kind, record_views

_TWO_SLOTS = frozenset({Kind.PLACE, Kind.CANCEL, Kind.QUERY})


class OrderSession(Protocol):
    """What the gateway needs of a venue; every outcome comes back as an ORDER_EVENT record."""

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None: ...

    def cancel(self, key: int, symbol: str) -> None: ...

    def query(self, key: int, symbol: str) -> None: ...


class Gateway:
    """Dispatches effects in their order; ``counts`` says how many of each kind left.

    Args:
        session: the venue, or None where no orders can be sent (replay, record): intents are then counted only.
        symbols: names by symbol index.
        latency: the table whose EXECUTION row is filled: intent ready -> call returned, bytes on the socket.
        on_effect: sees each effect's slots (int64[1 or 2, 8]) after it was dispatched.
        boundary: called with "journaled" before and "sent" after each order leaves, where a process may die.
    """

    def __init__(
        self,
        session: OrderSession | None,
        symbols: list[str],
        latency: NDArray[np.int64],
        on_effect: Callable[[NDArray[Any]], None] | None = None,
        boundary: Callable[[str], None] | None = None,
    ) -> None:
        self.session = session
        self.on_effect = on_effect
        self.boundary = boundary
        self.counts = dict.fromkeys(("places", "cancels", "queries", "signals", "advice_requests"), 0)
        self._symbols = symbols
        self._latency = latency

    def dispatch(self, slots: NDArray[Any], ready_ns: int) -> None:
        """Send what ``slots`` (int64[n, 8], whole records) hold. ``ready_ns``: monotonic time at which they were decided."""
        views = record_views(slots)
        kinds = views.market["kind"].tolist()
        starts: list[tuple[int, int]] = []
        i = 0
        while i < len(slots):
            step = 2 if kinds[i] in _TWO_SLOTS else 1
            self._send(kinds[i], views.intent1[i], ready_ns)
            starts.append((i, i + step))
            i += step
        # Whoever watches waits until every order has left.
        if self.on_effect is not None:
            for start, end in starts:
                self.on_effect(slots[start:end])

    def _send(self, kind: int, intent: Any, ready_ns: int) -> None:
        if kind == Kind.SIGNAL:
            self.counts["signals"] += 1
            return
        if kind == Kind.ADVICE_REQUEST:
            self.counts["advice_requests"] += 1
            return
        session = self.session
        key, symbol = int(intent["client_key"]), self._symbols[int(intent["symbol"])]
        if self.boundary is not None:
            self.boundary("journaled")
        if kind == Kind.PLACE:
            self.counts["places"] += 1
            if session is not None:
                session.place(
                    key,
                    symbol,
                    int(intent["side"]),
                    int(intent["order_type"]),
                    int(intent["tif"]),
                    int(intent["price"]),
                    int(intent["qty"]),
                )
                count_latency(self._latency, int(Stage.EXECUTION), time.monotonic_ns() - ready_ns)
        elif kind == Kind.CANCEL:
            self.counts["cancels"] += 1
            if session is not None:
                session.cancel(key, symbol)
        elif kind == Kind.QUERY:
            self.counts["queries"] += 1
            if session is not None:
                session.query(key, symbol)
        if self.boundary is not None:
            self.boundary("sent")
