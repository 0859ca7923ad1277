"""What the exchange needs of a source of prices, and what it offers to one."""

from __future__ import annotations

from typing import Any, Protocol

from sentinel.sim.venue.instruments import Instrument


class Market(Protocol):
    """The exchange as a source sees it. Symbols are indices into the exchange's instruments; numbers are int64 e8.

    ``side`` is wire.Side: BUY is the bid side of a book and a buying aggressor.
    """

    now_ns: int

    def top(self, symbol: int) -> tuple[int, int, int, int]:
        """(best bid, its quantity, best ask, its quantity), zeros where a side is empty."""

    def set_level(self, symbol: int, side: int, price: int, qty: int) -> None:
        """The anonymous quantity resting at a price becomes ``qty`` (0 removes it); where it crosses account orders it trades."""

    def clear_beyond(self, symbol: int, side: int, price: int) -> None:
        """Remove the anonymous quantity priced better than ``price``: the market's best is there now."""

    def take(self, symbol: int, side: int, qty: int, limit: int) -> int:
        """An anonymous taker order against the book, its remainder cancelled; returns the quantity filled."""

    def print_trade(self, symbol: int, side: int, price: int, qty: int, trade_id: int) -> None:
        """A trade that happened elsewhere: eats the queue at its price, fills resting account orders behind it."""

    def commit(self, symbol: int) -> None:
        """End of one atomic change of a symbol: publishes its new top of book."""

    def relay(self, stream: str, payload: dict[str, Any]) -> None:
        """Publish a message of the market as it is."""


class MarketSource(Protocol):
    """A market in virtual time (int64 ns UTC).

    ``relays`` tells that the source publishes its own messages through ``Market.relay``; the exchange then
    publishes none of its own and keeps its book only to match account orders. ``maker_size`` (by symbol
    index, e8) is the typical resting order, into which an anonymous level is cut when it is traded.
    """

    instruments: tuple[Instrument, ...]
    start_ns: int
    end_ns: int | None
    relays: bool
    maker_size: tuple[int, ...]

    def open(self, market: Market) -> None:
        """Set the books as they are at ``start_ns``."""

    def next_time(self) -> int | None:
        """Time of the next change, or None when there is none (over, or not known yet)."""

    def fire(self, market: Market) -> None:
        """Apply what happens at ``next_time()``."""

    def snapshot(self, symbol: int, limit: int) -> dict[str, Any] | None:
        """The order book a REST ``depth`` request gets, best first; None: the exchange answers from its own book."""
