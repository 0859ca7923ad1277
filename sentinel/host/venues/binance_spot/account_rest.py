"""The account's listings over REST: balances, open orders, one order, trades; and exchangeInfo.

``pending`` counts requests without an answer: in lock-step the host waits for 0 before it lets virtual
time go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, FeedError, UnitError, VenueError
from sentinel.host.feeds.rest import Response, RestClient
from sentinel.host.ports import Clock
from sentinel.host.venues.binance_spot import messages, outcomes, translate
from sentinel.host.venues.binance_spot.budget import RateBudget
from sentinel.host.venues.binance_spot.instruments import Instrument
from sentinel.host.venues.binance_spot.signing import Credentials, sign_rest
from sentinel.host.venues.contract import LocalCode, VenueOrder, VenueTrade
from sentinel.units import NS_PER_MS, NS_PER_S

_T = TypeVar("_T")
_TRADES_PAGE = 1000
_SYMBOLS_IN_QUERY = 50
_EXCHANGE_INFO_WEIGHT, _ACCOUNT_WEIGHT, _OPEN_ORDERS_WEIGHT = 20, 20, 80
_ORDER_WEIGHT, _TRADES_WEIGHT, _ORDER_TRADES_WEIGHT = 4, 20, 5


class AccountRest:
    """Signed GETs. Every method raises VenueError for anything but the answer asked for, unless it says otherwise."""

    def __init__(
        self, venue: VenueConfig, credentials: Credentials, clock: Clock, budget: RateBudget, venue_ns: Callable[[], int]
    ) -> None:
        self.pending = 0
        self._client = RestClient(venue.rest_url, clock, headers={"X-MBX-APIKEY": credentials.api_key})
        self._credentials = credentials
        self._recv_window_ms = venue.recv_window_ms
        self._budget = budget
        self._venue_ns = venue_ns

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
        return _read(body, messages.decode_exchange_info, "exchangeInfo")

    async def balances(self) -> dict[str, int]:
        """Asset -> free + locked, int64 e8."""
        account = _read(await self._get("/api/v3/account", {}, _ACCOUNT_WEIGHT), messages.decode_account, "account")
        return _read(
            account,
            lambda a: {
                row.asset: translate.amount(row.free, "free") + translate.amount(row.locked, "locked") for row in a.balances
            },
            "account",
        )

    async def open_orders(self, index: dict[str, int]) -> list[VenueOrder]:
        rows = _read(await self._get("/api/v3/openOrders", {}, _OPEN_ORDERS_WEIGHT), messages.decode_orders, "openOrders")
        return _read(rows, lambda found: [translate.read_order(row, index) for row in found], "openOrders")

    async def order(self, symbol: str, index: dict[str, int], which: Mapping[str, str | int]) -> VenueOrder | None:
        """The order ``which`` names (orderId or origClientOrderId); None when the venue does not know it."""
        try:
            body = await self._get("/api/v3/order", {"symbol": symbol, **which}, _ORDER_WEIGHT)
        except _NoSuchOrder:
            return None
        return _read(body, lambda raw: translate.read_order(messages.decode_order(raw), index), "order")

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
            page = _read(
                body,
                lambda raw: [translate.read_trade(row, index, instrument) for row in messages.decode_trades(raw)],
                "myTrades",
            )
            found += page
            if len(page) < _TRADES_PAGE:
                return sorted(found, key=lambda trade: trade.trade_id)
            params["fromId"] = max(trade.trade_id for trade in page) + 1

    async def _get(self, path: str, params: Mapping[str, str | int], weight: int, signed: bool = True) -> bytes:
        refusal = self._budget.for_request(self._venue_ns(), weight)
        if refusal != LocalCode.NONE:
            raise VenueError(f"request {path}", refusal.name, "room in the venue's limits", "retry in the next minute")
        query: dict[str, str | int] = dict(params)
        if signed:
            query["recvWindow"] = self._recv_window_ms
            query["timestamp"] = self._venue_ns() // NS_PER_MS
            query = sign_rest(query, self._credentials)
        self.pending += 1
        try:
            response = await self._client.get(path, query)
        except FeedError as error:
            raise VenueError(f"request {path}", error.value, error.allowed, error.remedy) from None
        finally:
            self.pending -= 1
        return self._checked(path, response)

    def _checked(self, path: str, response: Response) -> bytes:
        now = self._venue_ns()
        used = response.headers.get("x-mbx-used-weight-1m", "")
        if used.isascii() and used.isdigit():
            self._budget.observe_weight(int(used), now)
        if response.status == 200:
            return response.body
        if response.status in (418, 429):
            seconds = response.headers.get("retry-after", "")
            until_ms = (now + int(seconds) * NS_PER_S) // NS_PER_MS if seconds.isascii() and seconds.isdigit() else None
            self._budget.pause(response.status, until_ms, now)
        try:
            error = messages.decode_error(response.body)
        except msgspec.MsgspecError:
            error = messages.ErrorBody(0, "no reason given")
        if response.status == 400 and error.code == outcomes.NO_SUCH_ORDER:
            raise _NoSuchOrder(f"request {path}", error.code, "an order the venue knows", "check the id")
        text = f"status {response.status}, {error.code} {error.msg}"
        refusal = _Refused(f"request {path}", text, "status 200", "see the venue's error codes")
        refusal.code = error.code
        raise refusal


class _Refused(VenueError):
    """The venue refused a request with ``code``."""

    code = 0


class _NoSuchOrder(VenueError):
    """The venue answered that there is no such order."""


def _read(source: object, read: Callable[..., _T], what: str) -> _T:
    try:
        return read(source)
    except (msgspec.MsgspecError, UnitError, ValueError) as error:
        raise VenueError(
            f"answer to {what}", str(error), "what the venue's reference describes", "check venue.rest_url"
        ) from None
