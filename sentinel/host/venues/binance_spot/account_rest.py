"""The account's listings over REST: balances, open orders, one order, trades; and exchangeInfo.

``pending`` counts requests without an answer: in lock-step the host waits for 0 before it lets virtual
time go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from sentinel.errors import ConfigError, UnitError, VenueError
from sentinel.host.venues import key_refused
from sentinel.host.venues.amounts import amount
from sentinel.host.venues.binance_spot import messages, outcomes, translate
from sentinel.host.venues.binance_spot.desk import Desk
from sentinel.host.venues.binance_spot.signed_rest import SignedRest
from sentinel.host.venues.contract import LocalCode, VenueOrder, VenueTrade
from sentinel.host.venues.http_pool import Answer
from sentinel.host.venues.instrument import Instrument
from sentinel.host.venues.standing import Levels, read_levels

_T = TypeVar("_T")
_TRADES_PAGE = 1000
_SYMBOLS_IN_QUERY = 50
#: No listing of ours comes near it: 1,000 trades take 300 kB, and the venue allows 200 open orders a symbol.
_MAX_LISTING_BYTES = 8 << 20
_EXCHANGE_INFO_WEIGHT, _ACCOUNT_WEIGHT, _OPEN_ORDERS_WEIGHT, _SYMBOL_ORDERS_WEIGHT = 20, 20, 80, 6
_OPEN_LISTS_WEIGHT = 6
_ORDER_WEIGHT, _TRADES_WEIGHT, _ORDER_TRADES_WEIGHT = 4, 20, 5
_DEPTH_LEVELS, _DEPTH_WEIGHT, _AVERAGE_PRICE_WEIGHT, _COMMISSION_WEIGHT, _ORDER_COUNTS_WEIGHT = 500, 25, 2, 20, 40


class AccountRest:
    """Signed GETs. Every method raises VenueError for anything but the answer asked for, unless it says otherwise.

    An answer that cannot be used is counted in the desk's ``malformed`` and its bytes are kept.
    """

    def __init__(self, desk: Desk, rest: SignedRest) -> None:
        self.pending = 0
        self.strange_legs: set[int] = set()
        self._desk = desk
        self._rest = rest

    async def exchange_info(self, symbols: list[str]) -> messages.ExchangeInfo:
        """What the venue says of ``symbols``. Raises ConfigError where it does not know one of them."""
        params = {}
        if len(symbols) <= _SYMBOLS_IN_QUERY:
            params["symbols"] = msgspec.json.encode(symbols).decode()
        try:
            body = await self._get("/api/v3/exchangeInfo", params, _EXCHANGE_INFO_WEIGHT, signed=False)
        except _Refused as error:
            if error.code in outcomes.NO_SUCH_SYMBOL:
                raise ConfigError(
                    "feed.symbols", symbols, "symbols the venue lists", f"correct their spelling: the venue says {error.value}"
                ) from None
            raise
        return self._read(body, messages.decode_exchange_info, "exchangeInfo")

    async def balances(self) -> dict[str, int]:
        """Asset -> free + locked, int64 e8."""
        return {asset: free + locked for asset, (free, locked) in (await self.free_and_locked()).items()}

    async def free_and_locked(self) -> dict[str, tuple[int, int]]:
        """Asset -> (free, locked), int64 e8."""
        body = await self._get("/api/v3/account", {}, _ACCOUNT_WEIGHT)
        return self._read(
            body,
            lambda raw: {
                row.asset: (amount(row.free, "free"), amount(row.locked, "locked"))
                for row in messages.decode_account(raw).balances
            },
            "account",
        )

    async def open_orders(self, index: dict[str, int], symbol: str | None = None) -> list[VenueOrder]:
        """Open orders of the account, or of one symbol at a fraction of the weight.

        ``strange_legs`` are then those of ours that belong to a list this session has not placed.
        """
        params = {} if symbol is None else {"symbol": symbol}
        body = await self._get("/api/v3/openOrders", params, _OPEN_ORDERS_WEIGHT if symbol is None else _SYMBOL_ORDERS_WEIGHT)

        def read(raw: bytes) -> list[VenueOrder]:
            rows = messages.decode_orders(raw)
            orders = [translate.read_order(row, index, self._desk.names) for row in rows]
            listed = {
                order.key for order, row in zip(orders, rows, strict=True) if order.key is not None and row.order_list_id >= 0
            }
            self.strange_legs = {key for key in listed if key is not None and key not in self._desk.leg_of}
            return orders

        return self._read(body, read, "openOrders")

    async def order(self, symbol: str, index: dict[str, int], which: Mapping[str, str | int]) -> VenueOrder | None:
        """The order ``which`` names (orderId or origClientOrderId); None when the venue does not know it."""
        try:
            body = await self._get("/api/v3/order", {"symbol": symbol, **which}, _ORDER_WEIGHT)
        except _NoSuchOrder:
            return None
        return self._read(body, lambda raw: translate.read_order(messages.decode_order(raw), index, self._desk.names), "order")

    async def order_list(self, client_id: str) -> messages.ListResult | None:
        """The list of a client id; None when the venue does not know it."""
        try:
            body = await self._get("/api/v3/orderList", {"origClientOrderId": client_id}, _ORDER_WEIGHT)
        except _NoSuchOrder:
            return None
        return self._read(body, messages.decode_list, "orderList")

    async def open_order_lists(self) -> list[messages.ListResult]:
        """Every open list of the account, foreign ones too."""
        body = await self._get("/api/v3/openOrderList", {}, _OPEN_LISTS_WEIGHT)
        return self._read(body, messages.decode_lists, "openOrderList")

    async def trades(
        self, symbol: str, index: int, instrument: Instrument, from_id: int | None, venue_order_id: int | None
    ) -> list[VenueTrade]:
        """Fills from trade id ``from_id`` on, or of one order; every page."""
        found: list[VenueTrade] = []
        params: dict[str, str | int] = {"symbol": symbol, "limit": _TRADES_PAGE}
        if venue_order_id is not None:
            params["orderId"] = venue_order_id
        if from_id is not None:
            params["fromId"] = from_id
        weight = _TRADES_WEIGHT if venue_order_id is None else _ORDER_TRADES_WEIGHT
        while True:
            body = await self._get("/api/v3/myTrades", params, weight)
            page = self._read(
                body,
                lambda raw: [translate.read_trade(row, index, instrument) for row in messages.decode_trades(raw)],
                "myTrades",
            )
            found += page
            if len(page) < _TRADES_PAGE:
                return sorted(found, key=lambda trade: trade.trade_id)
            params["fromId"] = max(trade.trade_id for trade in page) + 1

    async def server_time_ms(self) -> int:
        """The venue's clock."""
        body = await self._get("/api/v3/time", {}, 1, signed=False)
        return self._read(body, lambda raw: messages.decode_server_time(raw).server_time, "time")

    async def depth(self, symbol: str) -> tuple[Levels, Levels]:
        """Bids and asks, best first, 500 levels a side."""
        body = await self._get("/api/v3/depth", {"symbol": symbol, "limit": _DEPTH_LEVELS}, _DEPTH_WEIGHT, signed=False)

        def read(raw: bytes) -> tuple[Levels, Levels]:
            book = messages.decode_depth(raw)
            return read_levels(book.bids, "bids"), read_levels(book.asks, "asks")

        return self._read(body, read, "depth")

    async def average_price(self, symbol: str) -> int:
        """What price bands are counted from, int64 e8."""
        body = await self._get("/api/v3/avgPrice", {"symbol": symbol}, _AVERAGE_PRICE_WEIGHT, signed=False)
        return self._read(body, lambda raw: amount(messages.decode_average_price(raw).price, "price"), "avgPrice")

    async def commission(self, symbol: str) -> tuple[int, int]:
        """Taker's and maker's rate of the notional, e8, the dearer of buying and selling."""
        body = await self._get("/api/v3/account/commission", {"symbol": symbol}, _COMMISSION_WEIGHT)

        def read(raw: bytes) -> tuple[int, int]:
            told = messages.decode_commission(raw)
            taker = maker = 0
            for part in (told.standard_commission, told.special_commission, told.tax_commission):
                on_top = max(amount(part.buyer, "buyer"), amount(part.seller, "seller"))
                taker += amount(part.taker, "taker") + on_top
                maker += amount(part.maker, "maker") + on_top
            return taker, maker

        return self._read(body, read, "account/commission")

    async def orders_left(self) -> int:
        """How many orders the account's order counts still admit."""
        body = await self._get("/api/v3/rateLimit/order", {}, _ORDER_COUNTS_WEIGHT)

        def read(raw: bytes) -> int:
            rows = [row for row in messages.decode_order_counts(raw) if row.rate_limit_type == "ORDERS"]
            if not rows or any(row.count is None for row in rows):
                raise ValueError("no order counts")
            return max(min(row.limit - (row.count or 0) for row in rows), 0)

        return self._read(body, read, "rateLimit/order")

    async def _get(self, path: str, params: Mapping[str, str | int], weight: int, signed: bool = True) -> bytes:
        if signed and self._desk.answers_nothing:
            raise VenueError(f"request {path}", LocalCode.KEY_REFUSED.name, "a key the venue accepts", key_refused.REMEDY)
        refusal = self._desk.budget.for_request(self._desk.venue_ns(), weight)
        if refusal != LocalCode.NONE:
            raise VenueError(f"request {path}", refusal.name, "room in the venue's limits", "retry in the next minute")
        self.pending += 1
        try:
            answer = await self._rest.request("GET", path, params, signed)
        finally:
            self.pending -= 1
            self._desk.budget.land(weight)
        self._rest.heed(answer)
        return self._checked(path, answer)

    def _checked(self, path: str, answer: Answer) -> bytes:
        if answer.status == 200:
            return answer.body
        try:
            error = messages.decode_error(answer.body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            error = messages.ErrorBody(0, "no reason given")
            self._unusable(answer.body, f"status {answer.status} of {path} without an error")
        if answer.status == 400 and error.code == outcomes.NO_SUCH_ORDER:
            raise _NoSuchOrder(f"request {path}", error.code, "an order the venue knows", "check the id")
        if outcomes.reaction(answer.status, error.code) is outcomes.Reaction.HALT_KEY:
            self._desk.refuse_questions(f"{error.code} {error.msg}")
        text = f"status {answer.status}, {error.code} {error.msg}"
        refusal = _Refused(f"request {path}", text, "status 200", "see the venue's error codes")
        refusal.code = error.code
        raise refusal

    def _read(self, body: bytes, read: Callable[[bytes], _T], what: str) -> _T:
        try:
            if len(body) > _MAX_LISTING_BYTES and what != "exchangeInfo":
                raise ValueError(f"{len(body)} bytes")
            return read(body)
        except (msgspec.MsgspecError, UnitError, ValueError) as error:
            self._unusable(body, f"{what}: {error}")
            raise VenueError(
                f"answer to {what}", str(error), "what the venue's reference describes", "check venue.rest_url"
            ) from None

    def _unusable(self, body: bytes, why: str) -> None:
        self._desk.counters["malformed"] += 1
        self._desk.keep(self._desk.now_ns(), why, body)


class _Refused(VenueError):
    """The venue refused a request with ``code``."""

    code = 0


class _NoSuchOrder(VenueError):
    """The venue answered that there is no such order."""
