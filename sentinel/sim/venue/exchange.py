"""The simulated exchange without its sockets: virtual time, books, market data, requests and user events.

A server calls ``advance`` to move virtual time and the request methods in between; what the exchange has to say leaves through
``publish`` and ``publish_user``. Request methods take the API's parameters as strings and return Binance's result objects.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

from sentinel.errors import VenueError
from sentinel.sim.market.source import MarketSource
from sentinel.sim.venue import account_queries, order_changes
from sentinel.sim.venue.account import CommissionRates, Ledger
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.matching import Book
from sentinel.sim.venue.order_desk import OrderDesk
from sentinel.sim.venue.order_lists import OrderLists
from sentinel.sim.venue.publication import Publication, decimal
from sentinel.sim.venue.refusals import invalid_data
from sentinel.units import E8, NS_PER_MS
from sentinel.wire import Side

__all__ = ["ApiError", "Exchange"]

RATE_LIMITS: list[dict[str, Any]] = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200000},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300000},
]


def _discard(_name: str, _payload: dict[str, Any]) -> None:
    """Where messages go while nobody listens."""


class Exchange:
    """A spot exchange in virtual time.

    ``instruments`` and ``source`` agree on the order of symbols; ``accounts`` maps an account name to its balances
    (asset -> int64 e8). ``seed`` sets where ids start and when each symbol's depth period begins. A
    ``ledger`` of its own keeps a venue's other rules of settlement; ``accounts`` and ``commission`` are then its affair.

    Attributes: ``publish(stream, payload)`` and ``publish_user(account, event)``, set by the server; ``subscriptions``, the
    stream names somebody wants (None: trade, bookTicker and depth@100ms of every symbol); ``now_ns``, virtual time.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        source: MarketSource,
        accounts: Mapping[str, Mapping[str, int]],
        seed: int = 0,
        commission: CommissionRates | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.instruments = tuple(instruments)
        if [i.symbol for i in self.instruments] != [i.symbol for i in source.instruments]:
            raise VenueError(
                "instruments",
                [i.symbol for i in self.instruments],
                "the source's symbols in its order",
                "pass source.instruments",
            )
        rng = random.Random(f"exchange/{seed}")
        self.source = source
        self.now_ns = source.start_ns
        self.publish: Callable[[str, dict[str, Any]], None] = _discard
        self.publish_user: Callable[[str, dict[str, Any]], None] = _discard
        self.subscriptions: Container[str] | None = None
        self.ledger = ledger or Ledger(accounts, commission or CommissionRates())
        self.books = [Book(rng.randrange(10**9, 10**10), size) for size in source.maker_size]
        self._public = [
            Publication(instrument, book, rng.randrange(10**8, 10**9), rng.randrange(100) * NS_PER_MS)
            for instrument, book in zip(self.instruments, self.books, strict=True)
        ]
        self.desk = OrderDesk(
            self.instruments,
            self.books,
            self.ledger,
            self._print_account_trades,
            self.average_price,
            lambda symbol: self._public[symbol].tape.last_price,
            lambda account, event: self.publish_user(account, event),
            rng.randrange(10**6, 10**7),
        )
        self.lists = OrderLists(self.desk, rng.randrange(10**5, 10**6))
        self._flushes: list[tuple[int, int]] = []
        self._flush_due = [False] * len(self.instruments)
        source.open(self)
        for public in self._public:
            public.start()
        self._flushes.clear()
        self._flush_due = [False] * len(self.instruments)

    # Time

    def next_time(self) -> int | None:
        """When something happens next, None when the source has nothing more (yet)."""
        market = self.source.next_time()
        if self._flushes and (market is None or self._flushes[0][0] <= market):
            return self._flushes[0][0]
        return market

    @property
    def ended(self) -> bool:
        """The source's market is over."""
        return self.source.end_ns is not None and self.now_ns >= self.source.end_ns and self.next_time() is None

    def advance(self, to_ns: int) -> int:
        """Let everything up to and at ``to_ns`` happen; returns the number of market changes. Time never goes back."""
        source, flushes, count = self.source, self._flushes, 0
        while True:
            market = source.next_time()
            if flushes and flushes[0][0] <= to_ns and (market is None or flushes[0][0] <= market):
                due, index = heapq.heappop(flushes)
                self._enter(due)
                self._flush_due[index] = False
                self._public[index].flush_depth(self.publish, self.subscriptions, due)
                continue
            if market is None or market > to_ns:
                break
            self._enter(market)
            source.fire(self)
            count += 1
        self._enter(to_ns)
        return count

    def _enter(self, now_ns: int) -> None:
        if now_ns > self.now_ns:
            self.now_ns = now_ns
        self.desk.now_ns = self.now_ns

    # The market, for sources

    def top(self, symbol: int) -> tuple[int, int, int, int]:
        return self.books[symbol].top()

    def set_level(self, symbol: int, side: int, price: int, qty: int) -> None:
        book = self.books[symbol]
        if qty and self.desk.open[symbol] and not self.source.relays:
            opposite = book.asks if side == Side.BUY else book.bids
            if opposite.keys and opposite.keys[-1] >= price * opposite.sign:
                qty -= self.take(symbol, side, qty, price)
        book.set_anonymous(side, price, qty)

    def clear_beyond(self, symbol: int, side: int, price: int) -> None:
        self.books[symbol].clear_beyond(side, price)

    def take(self, symbol: int, side: int, qty: int, limit: int) -> int:
        match = self.books[symbol].take(side, qty, limit)
        fills = match.fills
        ids = self._public[symbol].trades(
            self.publish, self.subscriptions, self.now_ns, side, [(fill.price, fill.qty) for fill in fills]
        )
        for fill, trade_id in zip(fills, ids, strict=True):
            if fill.maker is not None:
                self.desk.fill_maker(symbol, fill.maker, fill.price, fill.qty, trade_id)
        return qty - match.remaining

    def print_trade(self, symbol: int, side: int, price: int, qty: int, trade_id: int) -> None:
        public = self._public[symbol]
        public.tape.add(trade_id, self.now_ns, price, qty, side)
        if not self.desk.open[symbol]:
            return
        book = self.books[symbol]
        book.clear_beyond(Side.SELL if side == Side.BUY else Side.BUY, price)
        for fill in book.take(side, qty, price).fills:
            if fill.maker is not None:
                public.trade_id += 1
                self.desk.fill_maker(symbol, fill.maker, fill.price, fill.qty, public.trade_id)

    def commit(self, symbol: int) -> None:
        if self.lists.due or self.desk.stops[symbol]:
            self.lists.settle(symbol)
        if self.source.relays:
            if self.desk.open[symbol]:
                self._uncross(symbol)
        else:
            self._public[symbol].top_of_book(self.publish, self.subscriptions)
            if not self._flush_due[symbol] and self._public[symbol].pending():
                self._flush_due[symbol] = True
                heapq.heappush(self._flushes, (self._public[symbol].next_flush(self.now_ns), symbol))
        self.desk.flush_positions()

    def relay(self, stream: str, payload: dict[str, Any]) -> None:
        if self.subscriptions is None or stream in self.subscriptions:
            self.publish(stream, payload)

    def _uncross(self, symbol: int) -> None:
        """Fill resting account orders the relayed market has moved through, at their own price, with what it offers there."""
        book = self.books[symbol]
        for order in list(self.desk.open[symbol].values()):
            opposite = Side.SELL if order.side == Side.BUY else Side.BUY
            side = book.side(opposite)
            while order.resting is not None and order.remaining and side.keys and side.keys[-1] >= order.price * side.sign:
                price = side.keys[-1] * side.sign
                offered = book.anonymous(opposite, price)
                qty = min(order.remaining, offered)
                if qty == 0:
                    break
                book.set_anonymous(opposite, price, offered - qty)
                book.resize(order.resting, order.remaining - qty)
                self._public[symbol].trade_id += 1
                self.desk.fill_maker(symbol, order.resting, order.price, qty, self._public[symbol].trade_id)

    def _print_account_trades(self, symbol: int, side: int, fills: list[tuple[int, int]]) -> list[int]:
        public = self._public[symbol]
        if not self.source.relays:
            return public.trades(self.publish, self.subscriptions, self.now_ns, side, fills)
        # A relayed market never saw these trades: they get ids, and stay off its tape.
        first = public.trade_id + 1
        public.trade_id += len(fills)
        return list(range(first, first + len(fills)))

    # Public requests

    def _index(self, symbol: str) -> int:
        return self.desk.symbol_index(symbol)

    def average_price(self, symbol: int) -> int:
        """Weighted average price of the last minutes (e8), 0 while nothing is known."""
        tape = self._public[symbol].tape
        average = tape.average_price(self.now_ns)
        if average:
            return average
        bid, _, ask, _ = self.books[symbol].top()
        return (bid + ask) // 2 if bid and ask else 0

    def exchange_info(self, symbols: Iterable[str] | None = None) -> dict[str, Any]:
        """``exchangeInfo``, all symbols by default. Raises ApiError -1121."""
        chosen = self.instruments if symbols is None else [self.instruments[self._index(symbol)] for symbol in symbols]
        return {
            "timezone": "UTC",
            "serverTime": self.now_ns // NS_PER_MS,
            "rateLimits": RATE_LIMITS,
            "exchangeFilters": [],
            "symbols": [instrument.exchange_info() for instrument in chosen],
        }

    def depth(self, symbol: str, limit: int = 100) -> dict[str, Any]:
        """The order book, best first, at most ``limit`` (1 ... 5000) levels a side. Raises ApiError -1121, -1130."""
        index = self._index(symbol)
        if not 1 <= limit <= 5000:
            raise invalid_data("limit")
        return self.source.snapshot(index, limit) or self._public[index].snapshot(limit)

    def ticker_book(self, symbols: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Best prices of the symbols (all by default). Raises ApiError -1121."""
        chosen = range(len(self.books)) if symbols is None else [self._index(symbol) for symbol in symbols]
        result = []
        for index in chosen:
            bid, bid_qty, ask, ask_qty = self.books[index].top()
            result.append(
                {
                    "symbol": self.instruments[index].symbol,
                    "bidPrice": decimal(bid),
                    "bidQty": decimal(bid_qty),
                    "askPrice": decimal(ask),
                    "askQty": decimal(ask_qty),
                }
            )
        return result

    def ticker_price(self, symbols: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Last trade prices of the symbols (all by default). Raises ApiError -1121."""
        chosen = range(len(self.books)) if symbols is None else [self._index(symbol) for symbol in symbols]
        return [{"symbol": self.instruments[i].symbol, "price": decimal(self._public[i].tape.last_price)} for i in chosen]

    def avg_price(self, symbol: str) -> dict[str, Any]:
        """``avgPrice``. Raises ApiError -1121."""
        index = self._index(symbol)
        recent = self._public[index].tape.recent
        return {
            "mins": self.instruments[index].avg_price_mins,
            "price": decimal(self.average_price(index)),
            "closeTime": recent[-1][1] // NS_PER_MS if recent else 0,
        }

    def recent_trades(self, symbol: str, limit: int = 500) -> list[dict[str, Any]]:
        """The last public trades, oldest first. Raises ApiError -1121."""
        recent = list(self._public[self._index(symbol)].tape.recent)
        return [
            {
                "id": trade_id,
                "price": decimal(price),
                "qty": decimal(qty),
                "quoteQty": decimal(price * qty // E8),
                "time": now_ns // NS_PER_MS,
                "isBuyerMaker": side == Side.SELL,
                "isBestMatch": True,
            }
            for trade_id, now_ns, price, qty, side in recent[-max(1, min(limit, 1000)) :]
        ]

    # Account requests

    def place(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """order.place; raises ApiError."""
        result = self.desk.place(account, params)
        self.commit(self._index(str(params["symbol"])))
        return result

    def test_order(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """order.test: every check of ``place``, nothing done; raises ApiError."""
        index, request = self.desk.validate(params)
        self.desk.admit(account, index, request)
        return {}

    def cancel(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """order.cancel; raises ApiError -2011."""
        result = order_changes.cancel(self.desk, account, params)
        self.commit(self._index(str(params["symbol"])))
        return result

    def cancel_replace(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """order.cancelReplace; raises ApiError -2021 or -2022 with both halves in ``data``."""
        try:
            return order_changes.cancel_replace(self.desk, account, params)
        finally:
            index = self.desk.index.get(str(params.get("symbol", "")))
            if index is not None:
                self.commit(index)

    def amend(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """order.amend.keepPriority; raises ApiError -2038."""
        result = order_changes.amend(self.desk, account, params)
        self.commit(self._index(str(params["symbol"])))
        return result

    def cancel_all(self, account: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        """openOrders.cancelAll; raises ApiError -2011 when none is open."""
        result = order_changes.cancel_all(self.desk, account, params)
        self.commit(self._index(str(params["symbol"])))
        return result

    def open_orders(self, account: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        return account_queries.open_orders(self.desk, account, params)

    def query_order(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        return account_queries.query_order(self.desk, account, params)

    def all_orders(self, account: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        return account_queries.all_orders(self.desk, account, params)

    def my_trades(self, account: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
        return account_queries.my_trades(self.desk, account, params)

    def account_status(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        return account_queries.account_status(self.desk, account, params)

    def commission(self, account: str, params: Mapping[str, str]) -> dict[str, Any]:
        """account.commission; raises ApiError -1121."""
        return account_queries.commission(self.desk, account, params)

    def order_list(self, what: str, account: str, params: Mapping[str, str]) -> Any:
        """An operation on order lists by the end of its name: oco, oto, otoco, cancel, status or open; raises ApiError."""
        result = self.lists.run(what, account, params)
        index = self.desk.index.get(str(params.get("symbol", "")))
        if index is not None:
            self.commit(index)
        return result
