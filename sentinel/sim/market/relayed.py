"""Following somebody else's market: its messages are passed on as they are, and its book is kept to match account orders.

Two books come of it: the exact one of the depth stream, which answers snapshot requests with ids that fit the relayed messages,
and the exchange's, which also follows the faster bookTicker and loses what account orders take until the market refreshes it.
"""

from __future__ import annotations

from typing import Any

from sentinel.errors import ParseError, UnitError
from sentinel.sim.market.source import Market
from sentinel.sim.venue.publication import decimal
from sentinel.units import parse_e8
from sentinel.wire import Side

#: Depth events kept while a book waits for its snapshot; more means the snapshot is not coming.
MAX_PENDING = 10_000


class RelayedBook:
    """The depth stream's book of one symbol (prices and quantities int64 e8), by the venue's rules for a local book."""

    def __init__(self) -> None:
        self.sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.update_id = 0
        self.synced = False
        self.gaps = 0
        self._pending: list[tuple[int, int, Any, Any]] = []

    def load(self, snapshot: dict[str, Any]) -> None:
        """Start from a REST snapshot, then apply the events that waited for it."""
        self.sides = (_levels(snapshot["bids"]), _levels(snapshot["asks"]))
        self.update_id = int(snapshot["lastUpdateId"])
        self.synced = True
        pending, self._pending = self._pending, []
        for event in pending:
            self.apply(*event)

    def apply(self, first: int, last: int, bids: Any, asks: Any) -> None:
        """A depth event; before the snapshot it waits, after a missing one the book is no longer synced."""
        if not self.synced:
            self._pending.append((first, last, bids, asks))
            del self._pending[:-MAX_PENDING]
            return
        if last <= self.update_id:
            return
        if first > self.update_id + 1:
            self.gaps += 1
            self.synced = False
            self._pending = [(first, last, bids, asks)]
            return
        for side, changes in zip(self.sides, (bids, asks), strict=True):
            for price, qty in _levels(changes).items():
                if qty:
                    side[price] = qty
                else:
                    side.pop(price, None)
        self.update_id = last

    def snapshot(self, limit: int) -> dict[str, Any]:
        bids, asks = self.sides
        return {
            "lastUpdateId": self.update_id,
            "bids": [[decimal(price), decimal(bids[price])] for price in sorted(bids, reverse=True)[:limit]],
            "asks": [[decimal(price), decimal(asks[price])] for price in sorted(asks)[:limit]],
        }


class RelayedSymbol:
    """One symbol of a relayed market."""

    def __init__(self, index: int, symbol: str) -> None:
        self.index = index
        self.symbol = symbol
        self.book = RelayedBook()
        self._ticker: tuple[int, int, int, int, int] | None = None

    def load(self, market: Market, snapshot: dict[str, Any]) -> None:
        """Adopt a snapshot into both books."""
        for side, levels in zip((Side.BUY, Side.SELL), self.book.sides, strict=True):
            for price in levels:
                market.set_level(self.index, side, price, 0)
        self.book.load(snapshot)
        for side, levels in zip((Side.BUY, Side.SELL), self.book.sides, strict=True):
            for price, qty in levels.items():
                market.set_level(self.index, side, price, qty)
        self._apply_ticker(market)

    def handle(self, market: Market, stream: str, payload: dict[str, Any]) -> None:
        """Apply one message and pass it on. Raises ParseError for one that is not what the protocol says."""
        try:
            kind = payload.get("e")
            if kind == "trade":
                side = Side.SELL if payload["m"] else Side.BUY
                market.print_trade(self.index, side, parse_e8(payload["p"]), parse_e8(payload["q"]), int(payload["t"]))
            elif kind == "depthUpdate":
                self._depth(market, payload)
            elif "u" in payload and "B" in payload:
                prices = (parse_e8(payload[name]) for name in "bBaA")
                self._ticker = (int(payload["u"]), *prices)  # type: ignore[assignment]
                self._apply_ticker(market)
        except (KeyError, TypeError, ValueError, UnitError) as error:
            raise ParseError(stream, payload, "a trade, bookTicker or depthUpdate", f"check the source: {error!r}") from None
        market.relay(stream, payload)
        market.commit(self.index)

    def _depth(self, market: Market, payload: dict[str, Any]) -> None:
        self.book.apply(int(payload["U"]), int(payload["u"]), payload["b"], payload["a"])
        for side, name in ((Side.BUY, "b"), (Side.SELL, "a")):
            for price, qty in _levels(payload[name]).items():
                market.set_level(self.index, side, price, qty)
        if self._ticker is not None and self._ticker[0] > int(payload["u"]):
            # The book ticker runs ahead of the 100 ms depth stream: what it said last is the truth at the top.
            self._apply_ticker(market)

    def _apply_ticker(self, market: Market) -> None:
        if self._ticker is None:
            return
        _, bid, bid_qty, ask, ask_qty = self._ticker
        for side, price, qty in ((Side.BUY, bid, bid_qty), (Side.SELL, ask, ask_qty)):
            if price:
                market.clear_beyond(self.index, side, price)
                market.set_level(self.index, side, price, qty)


def _levels(rows: Any) -> dict[int, int]:
    return {parse_e8(price): parse_e8(qty) for price, qty in rows}
