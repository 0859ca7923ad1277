"""The kill process's own session with Coinbase Exchange: signed REST on connections that stay open.

A placement is answered before it is matched, so what became of it must be asked. The exchange forgets an order that ended without
a fill: one it had taken, and neither finds nor has fills of at two looks two seconds apart, has ended so. Sources: Coinbase
Exchange REST reference, orders, fills, accounts, product book, time, rate limits.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import msgspec

from sentinel.config import VenueConfig
from sentinel.config_venue import COINBASE_TIMESTAMP_MS
from sentinel.errors import ConfigError, ParseError, UnitError, VenueError
from sentinel.host.ports import Clock
from sentinel.host.rfc3339 import parse_utc
from sentinel.host.venues.binance_spot.clock_offset import ClockOffset
from sentinel.host.venues.coinbase import messages, translate
from sentinel.host.venues.coinbase.budget import pause_s
from sentinel.host.venues.coinbase.credentials import Credentials
from sentinel.host.venues.coinbase.outcomes import is_about_time, read_refusal
from sentinel.host.venues.coinbase.requests import order_body
from sentinel.host.venues.http_pool import Answer, HttpPool
from sentinel.host.venues.instrument import Instrument
from sentinel.ops.killswitch.session import OpenOrder, Placed, Quote, Refused, odd
from sentinel.units import NS_PER_MS
from sentinel.wire import OrderState, OrderType, Side, TimeInForce

_T = TypeVar("_T")
#: A kill does not wait ten seconds for one answer.
_TIMEOUT_S = 2.0
_PAGE = 1000
_SETTLE_S, _PACE_S = 2.0, 0.2
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_WORDS = {OrderState.ACKED: "NEW", OrderState.PARTIAL: "PARTIALLY_FILLED"}
_BAD_BODY = (UnitError, ParseError, ValueError, msgspec.MsgspecError)
#: Of these statuses of a cancel the order has ended, or was never there: the next listing proves which.
_ENDED = (400, 404)


class CoinbaseKillSession:
    """See ``session.KillSession``. ``code`` of Refused is the HTTP status, 0 where nothing is proven."""

    def __init__(self, venue: VenueConfig, credentials: Credentials, clock: Clock) -> None:
        self._pool = HttpPool(venue.rest_url, {}, _TIMEOUT_S)
        self._prefix = urlsplit(venue.rest_url).path.rstrip("/")
        self._credentials = credentials
        self._clock = clock
        self._offset = ClockOffset()
        self.recv_window_ms = COINBASE_TIMESTAMP_MS
        # Client id -> the exchange's id of an order it has taken; since when such an order is missing, by the loop's clock.
        self._taken: dict[str, str] = {}
        self._missing_since: dict[str, float] = {}

    async def synchronise(self) -> None:
        self._offset.begin_round()
        for _ in range(3):
            sent_ns = self._clock.now_ns()
            answer = self._checked("/time", await self._pool.request("GET", "/time", {}))
            self._offset.sample(sent_ns, self._clock.now_ns(), _read("time", partial(_server_ms, answer.body)))

    async def cancel_all(self, symbol: str) -> None:
        await self._signed("DELETE", "/orders", {"product_id": symbol})

    async def cancel(self, order: OpenOrder) -> None:
        try:
            await self._signed("DELETE", f"/orders/{order.order_id}", {"product_id": order.symbol})
        except Refused as error:
            if error.code not in _ENDED:
                raise

    async def open_orders(self) -> list[OpenOrder]:
        found: list[OpenOrder] = []
        query: dict[str, str | int] = {"status": "open", "limit": _PAGE}
        while True:
            answer = await self._signed("GET", "/orders", query)
            rows = _read("orders", partial(messages.decode_orders, answer.body))
            found += [OpenOrder(row.product_id, row.id, row.client_oid or "") for row in rows]
            cursor = answer.headers.get("cb-after")
            if len(rows) < _PAGE or not cursor:
                return found
            if cursor == query.get("after"):
                raise odd("orders", f"the cursor {cursor} twice")
            query["after"] = cursor

    async def balances(self) -> dict[str, tuple[int, int]]:
        answer = await self._signed("GET", "/accounts", {})

        def read() -> dict[str, tuple[int, int]]:
            rows = messages.decode_accounts(answer.body)
            found = {}
            for row in rows:
                free = translate.truncated(row.available, "available")
                found[row.currency] = (free, translate.truncated(row.balance, "balance") - free)
            return found

        return _read("accounts", read)

    async def quote(self, symbol: str) -> Quote:
        path = f"/products/{symbol}/book"
        answer = self._checked(path, await self._pool.request("GET", path, {"level": 1}))

        def read() -> Quote:
            book = messages.decode_book(answer.body)
            # In an auction nobody is matched at once.
            best = [] if book.auction_mode else [side[0] if side else ("0", "0", 0) for side in (book.bids, book.asks)]
            amounts = [translate.amount(text, name) for row in best for text, name in ((row[0], "price"), (row[1], "size"))]
            return Quote(*(amounts or (0, 0, 0, 0)))

        return _read("book", read)

    async def instruments(self, symbols: list[str]) -> list[Instrument]:
        answer = self._checked("/products", await self._pool.request("GET", "/products", {}))
        listed = {row.id: row for row in _read("products", lambda: messages.decode_products(answer.body))}
        for symbol in symbols:
            if symbol not in listed:
                raise ConfigError("feed.symbols", symbol, "products the venue lists", "remove it or correct its spelling")
        return _read("products", lambda: [translate.read_instrument(listed[symbol]) for symbol in symbols])

    def client_id(self, name: str) -> str:
        return str(UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4))

    async def place(self, symbol: str, side: str, qty: int, price: int, client_id: str, tif: str = "IOC") -> Placed:
        # Of two orders of the account that would meet, the older one gives way: what is left of it is to go anyway.
        body = order_body(client_id, symbol, _SIDES[side], OrderType.LIMIT, TimeInForce[tif], price, qty, "co")
        if body is None:
            return Placed("REJECTED", 0, "no order: its quantity or price is not positive")
        try:
            answer = await self._signed("POST", "/orders", {}, body)
        except Refused as error:
            if error.wait_ms:
                raise
            return Placed("REJECTED" if error.code else "UNKNOWN", 0, str(error.value))
        except VenueError as error:
            return Placed("UNKNOWN", 0, str(error.value))
        try:
            row = _read("order", lambda: messages.decode_order(answer.body))
            placed = self._placed(symbol, client_id, row)
        except VenueError as error:
            return Placed("UNKNOWN", 0, str(error.value))
        self._taken[client_id] = row.id
        return placed

    async def find(self, symbol: str, client_id: str) -> Placed | None:
        path = f"/orders/client:{client_id}"
        try:
            answer = await self._signed("GET", path, {})
        except Refused as error:
            if error.code != 404:
                raise
            return await self._missing(client_id)
        self._missing_since.pop(client_id, None)
        return self._placed(symbol, client_id, _read("order", lambda: messages.decode_order(answer.body)))

    def close(self) -> None:
        self._pool.close()

    async def _missing(self, client_id: str) -> Placed | None:
        """None where the order may never have been taken; its end once that is proven, and PENDING until then."""
        uuid = self._taken.get(client_id)
        if uuid is None:
            return None
        now = asyncio.get_running_loop().time()
        since = self._missing_since.setdefault(client_id, now)
        if since < now < since + _SETTLE_S:
            return await self._pending()
        answer = await self._signed("GET", "/fills", {"order_id": uuid})
        if _read("fills", lambda: messages.decode_fills(answer.body)):
            # An order that has traded is found again.
            del self._missing_since[client_id]
        elif since < now:
            return Placed("CANCELED", 0, "ended without a fill, and forgotten")
        return await self._pending()

    async def _pending(self) -> Placed:
        # The profile's fifteen requests a second are the daemon's too.
        await asyncio.sleep(_PACE_S)
        return Placed("PENDING", 0)

    def _placed(self, symbol: str, client_id: str, row: messages.OrderRow) -> Placed:
        def read() -> Placed:
            if row.product_id != symbol or row.client_oid not in (None, client_id):
                raise ValueError(f"order {row.client_oid} on {row.product_id}")
            executed = translate.amount(row.filled_size, "filled_size")
            qty = translate.amount(row.size, "size") if row.size is not None else 0
            state = translate.order_state(row, qty, executed)
            return Placed(_WORDS.get(state, state.name), executed, row.reject_reason or "")

        return _read("order", read)

    async def _signed(self, verb: str, path: str, params: Mapping[str, str | int], body: bytes = b"") -> Answer:
        try:
            return await self._exchange(verb, path, params, body)
        except Refused as error:
            if error.code not in (400, 401) or not is_about_time(str(error.value)):
                raise
        # The venue refused it unseen: with its time it may go again.
        await self.synchronise()
        return await self._exchange(verb, path, params, body)

    async def _exchange(self, verb: str, path: str, params: Mapping[str, str | int], body: bytes) -> Answer:
        target = self._prefix + path + ("?" + urlencode(params) if params else "")
        headers = self._credentials.headers(self._offset.venue_ns(self._clock.now_ns()), verb, target, body)
        if verb == "POST":
            return self._checked(path, await self._pool.send_once(verb, path, body, headers, lambda: None))
        return self._checked(path, await self._pool.request(verb, path, params, headers))

    def _checked(self, path: str, answer: Answer) -> Answer:
        if answer.status == 200:
            return answer
        said = read_refusal(answer.status, answer.body)
        text = f"status {answer.status}, {said.message}"
        refusal = Refused(f"request {path}", text, "status 200", "see the venue's reference")
        refusal.code = answer.status if said.proven else 0
        if answer.status == 429:
            refusal.wait_ms = 1000 * pause_s(answer.headers.get("retry-after"))
        raise refusal


def _server_ms(body: bytes) -> int:
    return parse_utc(messages.decode_time(body).iso) // NS_PER_MS


def _read(what: str, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except _BAD_BODY as error:
        raise odd(what, repr(error)) from None
