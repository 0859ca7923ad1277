"""One symbol's public messages: trades, top of book, depth differences, and the statistics filters ask for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from typing import Any

from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.matching import Book, BookSide
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import Side

DEPTH_PERIOD_NS = 100 * NS_PER_MS
SLOW_PERIODS = 10
RECENT_TRADES = 1000

Publish = Callable[[str, dict[str, Any]], None]


def decimal(value: int) -> str:
    """Non-negative e8 as 8-decimal text; the hot path's twin of units.format_e8."""
    whole, fraction = divmod(value, E8)
    return f"{whole}.{fraction:08d}"


class Tape:
    """Recent trades and the volume-weighted average price over the last minutes, in one-second sums."""

    def __init__(self, minutes: int) -> None:
        self.recent: deque[tuple[int, int, int, int, int]] = deque(maxlen=RECENT_TRADES)
        self.window_s = minutes * 60
        self._seconds: deque[list[int]] = deque()
        self._qty = 0
        self._quote = 0
        self.last_price = 0

    def add(self, trade_id: int, now_ns: int, price: int, qty: int, side: int) -> None:
        """A public trade; ``side`` is the aggressor's."""
        self.recent.append((trade_id, now_ns, price, qty, side))
        self.last_price = price
        second = now_ns // NS_PER_S
        if self._seconds and self._seconds[-1][0] == second:
            bucket = self._seconds[-1]
            bucket[1] += qty
            bucket[2] += price * qty
        else:
            self._seconds.append([second, qty, price * qty])
        self._qty += qty
        self._quote += price * qty

    def average_price(self, now_ns: int) -> int:
        """Weighted average price e8; the last price when nothing traded in the window, 0 before any trade."""
        oldest = now_ns // NS_PER_S - self.window_s
        while self._seconds and self._seconds[0][0] < oldest:
            _, qty, quote = self._seconds.popleft()
            self._qty -= qty
            self._quote -= quote
        return self._quote // self._qty if self._qty else self.last_price


class Publication:
    """Turns the changes of one book into Binance's stream payloads. ``wanted`` None: trade, bookTicker and depth@100ms."""

    def __init__(self, instrument: Instrument, book: Book, first_trade_id: int, phase_ns: int) -> None:
        self.symbol = instrument.symbol
        self.book = book
        self.tape = Tape(instrument.avg_price_mins)
        self.trade_id = first_trade_id
        self.aggregate_id = first_trade_id // 2
        self.phase_ns = phase_ns
        self._top = (0, 0, 0, 0)
        self._sent_id = book.update_id
        self._slow_id = book.update_id
        self._slow_dirty: tuple[set[int], set[int]] = (set(), set())
        self._flushes = 0
        lower = self.symbol.lower()
        self._trade = f"{lower}@trade"
        self._aggregate = f"{lower}@aggTrade"
        self._ticker = f"{lower}@bookTicker"
        self._depth = f"{lower}@depth@100ms"
        self._slow = f"{lower}@depth"
        self._partial = [(f"{lower}@depth{n}{speed}", n, speed == "") for n in (5, 10, 20) for speed in ("@100ms", "")]

    def start(self) -> None:
        """Forget the changes that built the opening book."""
        self.book.bids.dirty.clear()
        self.book.asks.dirty.clear()
        self._sent_id = self._slow_id = self.book.update_id
        self._top = self.book.top()

    def next_flush(self, now_ns: int) -> int:
        """The first time after ``now_ns`` on this symbol's 100 ms grid."""
        return now_ns + DEPTH_PERIOD_NS - (now_ns - self.phase_ns) % DEPTH_PERIOD_NS

    def pending(self) -> bool:
        return self.book.update_id != self._sent_id

    def trades(
        self, publish: Publish, wanted: Container[str] | None, now_ns: int, side: int, fills: list[tuple[int, int]]
    ) -> list[int]:
        """Publish one taker's fills (price, qty), ``side`` its side; returns their trade ids."""
        ids = []
        now_ms = now_ns // NS_PER_MS
        maker_buys = side == Side.SELL
        send = wanted is None or self._trade in wanted
        for price, qty in fills:
            self.trade_id += 1
            ids.append(self.trade_id)
            self.tape.add(self.trade_id, now_ns, price, qty, side)
            if send:
                publish(
                    self._trade,
                    {
                        "e": "trade",
                        "E": now_ms,
                        "s": self.symbol,
                        "t": self.trade_id,
                        "p": decimal(price),
                        "q": decimal(qty),
                        "T": now_ms,
                        "m": maker_buys,
                        "M": True,
                    },
                )
        if wanted is not None and self._aggregate in wanted:
            self._publish_aggregates(publish, now_ms, maker_buys, fills, ids[0] if ids else 0)
        return ids

    def _publish_aggregates(
        self, publish: Publish, now_ms: int, maker_buys: bool, fills: list[tuple[int, int]], first_id: int
    ) -> None:
        start = 0
        while start < len(fills):
            price = fills[start][0]
            end = start
            while end < len(fills) and fills[end][0] == price:
                end += 1
            self.aggregate_id += 1
            publish(
                self._aggregate,
                {
                    "e": "aggTrade",
                    "E": now_ms,
                    "s": self.symbol,
                    "a": self.aggregate_id,
                    "p": decimal(price),
                    "q": decimal(sum(qty for _, qty in fills[start:end])),
                    "f": first_id + start,
                    "l": first_id + end - 1,
                    "T": now_ms,
                    "m": maker_buys,
                    "M": True,
                },
            )
            start = end

    def top_of_book(self, publish: Publish, wanted: Container[str] | None) -> None:
        """Publish a bookTicker if the best prices or their quantities changed."""
        top = self.book.top()
        if top == self._top:
            return
        self._top = top
        if wanted is None or self._ticker in wanted:
            bid, bid_qty, ask, ask_qty = top
            publish(
                self._ticker,
                {
                    "u": self.book.update_id,
                    "s": self.symbol,
                    "b": decimal(bid),
                    "B": decimal(bid_qty),
                    "a": decimal(ask),
                    "A": decimal(ask_qty),
                },
            )

    def flush_depth(self, publish: Publish, wanted: Container[str] | None, now_ns: int) -> None:
        """Publish the levels changed since the last flush; every tenth also on the 1000 ms streams."""
        bids, asks = self.book.bids, self.book.asks
        if wanted is None or self._depth in wanted:
            publish(self._depth, self._difference(now_ns, self._sent_id, bids.dirty, asks.dirty))
        self._sent_id = self.book.update_id
        slow_wanted = wanted is not None and self._slow in wanted
        if slow_wanted:
            self._slow_dirty[0].update(bids.dirty)
            self._slow_dirty[1].update(asks.dirty)
        bids.dirty.clear()
        asks.dirty.clear()
        slow_due = now_ns // (SLOW_PERIODS * DEPTH_PERIOD_NS) != self._flushes
        self._flushes = now_ns // (SLOW_PERIODS * DEPTH_PERIOD_NS)
        if slow_wanted and slow_due:
            publish(self._slow, self._difference(now_ns, self._slow_id, *self._slow_dirty))
        if slow_due or not slow_wanted:
            self._slow_id = self.book.update_id
            self._slow_dirty[0].clear()
            self._slow_dirty[1].clear()
        if wanted is not None:
            for stream, levels, slow in self._partial:
                if stream in wanted and (slow_due or not slow):
                    publish(stream, self.snapshot(levels))

    def _difference(self, now_ns: int, after_id: int, bids: set[int], asks: set[int]) -> dict[str, Any]:
        return {
            "e": "depthUpdate",
            "E": now_ns // NS_PER_MS,
            "s": self.symbol,
            "U": after_id + 1,
            "u": self.book.update_id,
            "b": _levels(self.book.bids, bids),
            "a": _levels(self.book.asks, asks),
        }

    def snapshot(self, limit: int) -> dict[str, Any]:
        """The REST ``depth`` answer and the partial depth payload: best first."""
        book = self.book
        return {
            "lastUpdateId": book.update_id,
            "bids": [[decimal(price), decimal(qty)] for price, qty in book.bids.top(limit)],
            "asks": [[decimal(price), decimal(qty)] for price, qty in book.asks.top(limit)],
        }


def _levels(book_side: BookSide, changed: set[int]) -> list[list[str]]:
    levels, sign = book_side.levels, book_side.sign
    result = []
    for key in sorted(changed, reverse=True):
        level = levels.get(key)
        result.append([decimal(key * sign), "0.00000000" if level is None else decimal(level.total)])
    return result
