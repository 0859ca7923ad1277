"""What every venue's order session offers, and the plain facts it reports.

``place``, ``cancel`` and ``query`` return at once; every outcome comes back as two-slot ORDER_EVENT
records through the session's sink. One rule stands above all: an outcome that is not proven is
AMBIGUOUS, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

from numpy.typing import NDArray

from sentinel.host.ports import LockstepLink
from sentinel.host.venues.paths import PathReport
from sentinel.wire import FeeAsset, OrderState, Side, Venue


class LocalCode(IntEnum):
    """``error_code`` of an order event whose cause lies on our side; the venue's own codes are negative."""

    NONE = 0
    DISCONNECTED = 1  # no usable socket or no user-data subscription on it
    ORDER_BUDGET = 2  # the venue's order count for this window is used up
    WEIGHT_BUDGET = 3  # the request weight left is reserved for cancels
    PAUSED = 4  # told to wait (429, 418) and the time is not over
    KEY_REFUSED = 5  # the venue refused the key: nothing is sent until an operator has looked
    BAD_VALUE = 6  # unknown symbol, type or a value that cannot be an order
    BACKLOG = 7  # the socket takes no more bytes: the order would leave late
    LOST_REPLY = 8  # the connection ended before the reply came
    MALFORMED_REPLY = 9  # the reply is not what the protocol says
    UNKNOWN_CODE = 10  # an error or status this program does not know
    NOT_PERMITTED = 11  # killed, disarmed or without a journal since it was decided


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue describes it. ``key`` is None for a foreign one, ``symbol`` -1 outside the run."""

    key: int | None
    client_order_id: str
    symbol: int
    venue_order_id: int
    side: Side
    state: OrderState
    price: int
    qty: int
    cum_qty: int
    cum_quote: int
    t_update_ns: int


@dataclass(frozen=True, slots=True)
class VenueTrade:
    """One fill of the account, prices and quantities int64 e8."""

    symbol: int
    trade_id: int
    venue_order_id: int
    side: Side
    maker: bool
    price: int
    qty: int
    quote: int
    commission: int
    fee_asset: FeeAsset
    t_ns: int


class OrderSession(Protocol):
    """An authenticated session with one venue. ``symbols`` are the run's names, by index; ``venue`` is
    what its records name.

    ``pending_requests`` counts answers awaited outside the counted connection (REST): in lock-step
    a step is complete only when it is 0. ``has_room``: what is not urgent may be asked now. ``halted``:
    why the venue refused our key, None while it has not. ``links``: open connections that count frames, for lock-step.
    ``paths`` are the addresses orders may take, with the measured round trip of those that are measured.
    ``recall`` tells the session which orders of ours the venue had taken, as the engine holds them.
    """

    symbols: list[str]
    venue: Venue

    @property
    def counters(self) -> dict[str, int]: ...

    @property
    def ready(self) -> bool: ...

    @property
    def halted(self) -> str | None: ...

    @property
    def links(self) -> tuple[LockstepLink, ...]: ...

    @property
    def pending_requests(self) -> int: ...

    @property
    def stream_trades(self) -> int: ...

    @property
    def handovers(self) -> int: ...

    @property
    def has_room(self) -> bool: ...

    def paths(self) -> list[PathReport]: ...

    def recall(self, orders: Iterable[VenueOrder]) -> None: ...

    async def connect(self) -> None: ...

    async def close(self) -> None: ...

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None: ...

    def rehearse(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None: ...

    def deny(self, key: int, symbol: str) -> None: ...

    def cancel(self, key: int, symbol: str) -> None: ...

    def query(self, key: int, symbol: str) -> None: ...

    async def instruments(self, reload: bool = False) -> NDArray[Any]: ...

    async def balances(self) -> NDArray[Any]: ...

    async def open_orders(self, symbol: str | None = None) -> list[VenueOrder]: ...

    async def find_order(self, symbol: str, key: int | None = None, venue_order_id: int | None = None) -> VenueOrder | None: ...

    async def my_trades(self, symbol: str, from_id: int | None = None, venue_order_id: int | None = None) -> list[VenueTrade]: ...
