"""The kill process's own session with Binance spot: signed REST on connections that stay open.

REST needs no logon and no subscription, and every answer proves what it answers. Sources:
Binance REST reference, DELETE openOrders, DELETE and POST order, ticker/bookTicker, account, exchangeInfo.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec

from sentinel.config import VenueConfig
from sentinel.errors import UnitError, VenueError
from sentinel.host.ports import Clock
from sentinel.host.venues.binance_spot.budget import retry_after_ms
from sentinel.host.venues.binance_spot.clock_offset import ClockOffset
from sentinel.host.venues.binance_spot.instruments import read_instruments
from sentinel.host.venues.binance_spot.messages import decode_exchange_info
from sentinel.host.venues.binance_spot.signing import Credentials, sign_rest
from sentinel.host.venues.http_pool import Answer, HttpPool
from sentinel.host.venues.instrument import Instrument
from sentinel.ops.killswitch.session import OpenOrder, Placed, Quote, Refused, odd
from sentinel.units import NS_PER_MS, format_e8_short, parse_e8

_T = TypeVar("_T")
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_BAD_TIMESTAMP, _NO_SUCH_ORDER, _UNKNOWN_ORDER = -1021, -2013, -2011
#: A kill does not wait ten seconds for one answer.
_TIMEOUT_S = 2.0


class BinanceKillSession:
    """See ``session.KillSession``."""

    def __init__(self, venue: VenueConfig, credentials: Credentials, clock: Clock) -> None:
        self._pool = HttpPool(venue.rest_url, {"X-MBX-APIKEY": credentials.api_key}, _TIMEOUT_S)
        self._credentials = credentials
        self._clock = clock
        self._offset = ClockOffset()
        self.recv_window_ms = venue.recv_window_ms

    async def synchronise(self) -> None:
        self._offset.begin_round()
        for _ in range(3):
            sent_ns = self._clock.now_ns()
            answer = self._checked("/api/v3/time", await self._pool.request("GET", "/api/v3/time", {}))
            self._offset.sample(sent_ns, self._clock.now_ns(), _read("time", partial(_server_ms, answer)))

    async def cancel_all(self, symbol: str) -> None:
        await self._accepting(_UNKNOWN_ORDER, "DELETE", "/api/v3/openOrders", {"symbol": symbol})

    async def cancel(self, order: OpenOrder) -> None:
        await self._accepting(_UNKNOWN_ORDER, "DELETE", "/api/v3/order", {"symbol": order.symbol, "orderId": order.order_id})

    async def open_orders(self) -> list[OpenOrder]:
        rows = await self._signed("GET", "/api/v3/openOrders", {})
        # An empty answer is a proof only if it is a list.
        if not isinstance(rows, list):
            raise odd("openOrders", rows)
        return _read(
            "openOrders",
            lambda: [OpenOrder(str(row["symbol"]), int(row["orderId"]), str(row["clientOrderId"])) for row in rows],
        )

    async def balances(self) -> dict[str, tuple[int, int]]:
        account = await self._signed("GET", "/api/v3/account", {})
        return _read(
            "account",
            lambda: {str(row["asset"]): (parse_e8(row["free"]), parse_e8(row["locked"])) for row in account["balances"]},
        )

    async def quote(self, symbol: str) -> Quote:
        row = self._checked(
            "/api/v3/ticker/bookTicker", await self._pool.request("GET", "/api/v3/ticker/bookTicker", {"symbol": symbol})
        )
        names = ("bidPrice", "bidQty", "askPrice", "askQty")
        return _read("bookTicker", lambda: Quote(*(parse_e8(row[name]) for name in names)))

    async def instruments(self, symbols: list[str]) -> list[Instrument]:
        answer = await self._pool.request("GET", "/api/v3/exchangeInfo", {"symbols": msgspec.json.encode(symbols).decode()})
        self._checked("/api/v3/exchangeInfo", answer)
        return read_instruments(decode_exchange_info(answer.body), symbols)

    def client_id(self, name: str) -> str:
        return name

    async def place(self, symbol: str, side: str, qty: int, price: int, client_id: str, tif: str = "IOC") -> Placed:
        params: dict[str, str | int] = {"symbol": symbol, "side": side, "type": "LIMIT", "timeInForce": tif}
        params |= {"quantity": format_e8_short(qty), "price": format_e8_short(price)}
        params |= {"newClientOrderId": client_id, "newOrderRespType": "RESULT"}
        try:
            row = await self._signed("POST", "/api/v3/order", params)
        except Refused as error:
            if error.wait_ms:
                # Too many requests: not looked at, and to be sent again when the venue wants to hear of it.
                raise
            # Of 5xx and of -1006 and -1007 nobody knows whether the order was taken.
            unknown = error.code in (0, -1000, -1006, -1007)
            return Placed("UNKNOWN" if unknown else "REJECTED", 0, str(error.value))
        except VenueError as error:
            return Placed("UNKNOWN", 0, str(error.value))
        try:
            return _read("order", lambda: Placed(str(row["status"]), parse_e8(row["executedQty"])))
        except VenueError as error:
            return Placed("UNKNOWN", 0, str(error.value))

    async def find(self, symbol: str, client_id: str) -> Placed | None:
        try:
            row = await self._signed("GET", "/api/v3/order", {"symbol": symbol, "origClientOrderId": client_id})
        except Refused as error:
            if error.code == _NO_SUCH_ORDER:
                return None
            raise
        return _read("order", lambda: Placed(str(row["status"]), parse_e8(row["executedQty"])))

    def close(self) -> None:
        self._pool.close()

    async def _accepting(self, code: int, verb: str, path: str, params: dict[str, str | int]) -> None:
        try:
            await self._signed(verb, path, params)
        except Refused as error:
            if error.code != code:
                raise

    async def _signed(self, verb: str, path: str, params: Mapping[str, str | int]) -> Any:
        try:
            return await self._exchange(verb, path, params)
        except Refused as error:
            if error.code != _BAD_TIMESTAMP:
                raise
        # The venue refused it unseen: with its time it may go again.
        await self.synchronise()
        return await self._exchange(verb, path, params)

    async def _exchange(self, verb: str, path: str, params: Mapping[str, str | int]) -> Any:
        timestamp_ms = self._offset.venue_ns(self._clock.now_ns()) // NS_PER_MS
        query = sign_rest({**params, "recvWindow": self.recv_window_ms, "timestamp": timestamp_ms}, self._credentials)
        if verb == "POST":
            answer = await self._pool.send_once(verb, path, urlencode(query).encode(), _FORM, lambda: None)
        else:
            answer = await self._pool.request(verb, path, query)
        return self._checked(path, answer)

    def _checked(self, path: str, answer: Answer) -> Any:
        try:
            body = msgspec.json.decode(answer.body)
            if answer.status == 200:
                return body
            code, text = int(body["code"]), str(body["msg"])
        except (msgspec.MsgspecError, UnicodeDecodeError, UnitError, KeyError, TypeError, ValueError):
            if answer.status == 200:
                raise VenueError(f"answer to {path}", answer.body[:80], "JSON", "check venue.rest_url") from None
            code, text = 0, "no reason given"
        refusal = Refused(
            f"request {path}", f"status {answer.status}, {code} {text}", "status 200", "see the venue's error codes"
        )
        refusal.code = code if answer.status < 500 else 0
        if answer.status in (418, 429):
            now_ns = self._clock.now_ns()
            until_ms = retry_after_ms(answer.headers, now_ns)
            refusal.wait_ms = 1000 if until_ms is None else max(until_ms - now_ns // NS_PER_MS, 0)
        raise refusal


def _server_ms(answer: Any) -> int:
    return int(answer["serverTime"])


def _read(what: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except (UnitError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise odd(what, repr(error)) from None
