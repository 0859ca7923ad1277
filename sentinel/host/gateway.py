"""From effects to the venue: each PLACE, CANCEL and QUERY becomes one call on the order session."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.host.latency import Stage, count_latency
from sentinel.wire import ORDER_INTENT_1, SLOT_BYTES, IntentFlag, Kind, OrderType, Side, TimeInForce, record_struct

_PLACE, _CANCEL, _QUERY, _SIGNAL = int(Kind.PLACE), int(Kind.CANCEL), int(Kind.QUERY), int(Kind.SIGNAL)
_TWO_SLOTS = frozenset({_PLACE, _CANCEL, _QUERY})
_REDUCE_ONLY = int(IntentFlag.REDUCE_ONLY)
# Cold, as an order always is, this costs a tenth of views through numpy.
_INTENT = record_struct(ORDER_INTENT_1)


class OrderSender(Protocol):
    """What the gateway needs of an order session; every outcome comes back as an ORDER_EVENT record."""

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None: ...

    def deny(self, key: int, symbol: str) -> None: ...

    def cancel(self, key: int, symbol: str) -> None: ...

    def query(self, key: int, symbol: str) -> None: ...

    def rehearse(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None: ...


class Gateway:
    """Dispatches effects in their order; ``counts`` says how many of each kind left.

    Args:
        session: the venue, or None where no orders can be sent (replay, record): intents are then counted only.
        symbols: names by symbol index.
        latency: the table whose EXECUTION row is filled: intent ready -> call returned, bytes on the socket.
        on_effect: sees each effect's slots (int64[1 or 2, 8]) after it was dispatched.
        boundary: called with "journaled" before and "sent" after each order leaves, where a process may die.
        permits: asked with (arm epoch, reduce only) of each PLACE as it is to leave. What was decided may have been
            overtaken by a kill in the same batch of records; it is then denied, and the engine told so. ``denied`` counts,
            ``last_place_ns`` is CLOCK_MONOTONIC after the last one that left.
        card: asked between two askings of ``permits``, with (key, symbol, side, price, qty, reduce only); what it does not
            permit is denied as well.
    """

    def __init__(
        self,
        session: OrderSender | None,
        symbols: list[str],
        latency: NDArray[np.int64],
        on_effect: Callable[[NDArray[Any]], None] | None = None,
        boundary: Callable[[str], None] | None = None,
        permits: Callable[[int, bool], bool] | None = None,
        card: Callable[[int, int, int, int, int, bool], bool] | None = None,
    ) -> None:
        self.session = session
        self.permits = permits
        self.card = card
        self.denied = self.last_place_ns = 0
        self.on_effect = on_effect
        self.boundary = boundary
        self.counts = dict.fromkeys(("places", "cancels", "queries", "signals", "advice_requests"), 0)
        self._symbols = symbols
        self._latency = latency
        head = (_PLACE, int(Side.BUY), 0, 0, 0, 0, 12_345_678_900, 98_765_432_100, int(OrderType.LIMIT), int(TimeInForce.IOC))
        self._rehearsed = _INTENT.pack(1, 0, 0, *head, 0, 0, 0, 0, 0)

    def dispatch(self, slots: NDArray[Any], ready_ns: int) -> None:
        """Send what ``slots`` (int64[n, 8], whole records) hold. ``ready_ns``: monotonic time at which they were decided."""
        starts: list[tuple[int, int]] = []
        i, count, raw = 0, len(slots), slots.data
        while i < count:
            kind = self._send(raw, i * SLOT_BYTES, ready_ns)
            end = i + 2 if kind in _TWO_SLOTS else i + 1
            starts.append((i, end))
            i = end
        # Whoever watches waits until every order has left.
        if self.on_effect is not None:
            for start, end in starts:
                self.on_effect(slots[start:end])

    def rehearse(self) -> None:
        """Take an order through everything but the socket, and forget it.

        Orders are rare, so each one met cold code: measured 340 us, most of it cache misses. Called often this keeps the
        path warm: beside 50,000 messages a second the session took 88 us at ten calls a second, 57 at fifty, 42 at a hundred.
        """
        if self.session is not None:
            key, _, _, _, side, _, _, _, symbol, price, qty, order_type, tif, *_ = _INTENT.unpack(self._rehearsed)
            if self.permits is not None:
                self.permits(0, False)
            self.session.rehearse(key, self._symbols[symbol], side, order_type, tif, price, qty)

    def _send(self, raw: memoryview, offset: int, ready_ns: int) -> int:
        key, _, _, kind, side, flags, _, _, symbol, price, qty, order_type, tif, _, _, _, _, arm_epoch = _INTENT.unpack_from(
            raw, offset
        )
        if kind == _SIGNAL:
            self.counts["signals"] += 1
            return _SIGNAL
        if kind not in _TWO_SLOTS:
            self.counts["advice_requests"] += 1
            return int(kind)
        session, name = self.session, self._symbols[symbol]
        if self.boundary is not None:
            self.boundary("journaled")
        reduce_only = bool(flags & _REDUCE_ONLY)
        if kind == _PLACE and not (
            (self.permits is None or self.permits(arm_epoch, reduce_only))
            and (self.card is None or self.card(key, symbol, side, price, qty, reduce_only))
            # The card takes its time, in which a kill may be stored.
            and (self.card is None or self.permits is None or self.permits(arm_epoch, reduce_only))
        ):
            self.denied += 1
            if session is not None:
                session.deny(key, name)
        elif kind == _PLACE:
            self.counts["places"] += 1
            if session is not None:
                session.place(key, name, side, order_type, tif, price, qty)
                self.last_place_ns = time.monotonic_ns()
                count_latency(self._latency, int(Stage.EXECUTION), self.last_place_ns - ready_ns)
        elif kind == _CANCEL:
            self.counts["cancels"] += 1
            if session is not None:
                session.cancel(key, name)
        else:
            self.counts["queries"] += 1
            if session is not None:
                session.query(key, name)
        if self.boundary is not None:
            self.boundary("sent")
        return int(kind)
