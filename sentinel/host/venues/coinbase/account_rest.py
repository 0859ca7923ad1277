"""What the venue says of instruments, balances, orders and fills, over REST.

A cancelled order that never traded is forgotten by the venue: asked for, it is not found (404).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec

from sentinel.errors import ConfigError, ParseError, UnitError, VenueError
from sentinel.host.venues import key_refused
from sentinel.host.venues.coinbase import messages, outcomes, translate
from sentinel.host.venues.coinbase.desk import Desk
from sentinel.host.venues.coinbase.signed_rest import SignedRest
from sentinel.host.venues.contract import LocalCode, VenueOrder, VenueTrade
from sentinel.host.venues.http_pool import Answer
from sentinel.host.venues.instrument import Instrument
from sentinel.host.venues.standing import Levels, read_levels
from sentinel.units import NS_PER_S

_T = TypeVar("_T")
_PAGE = 1000
_BOOK_LEVELS = 500
_BAD_BODY = (UnitError, ParseError, ValueError, msgspec.MsgspecError)


class AccountRest:
    """Signed GETs. Every method raises VenueError for anything but the answer asked for, unless it says otherwise.

    An answer that cannot be used is counted in the desk's ``malformed`` and its bytes are kept. A listing waits for
    its turn within the venue's limits. ``pending`` counts requests without an answer.
    """

    def __init__(self, desk: Desk, rest: SignedRest) -> None:
        self.pending = 0
        self._desk = desk
        self._rest = rest

    async def instruments(self, symbols: list[str]) -> list[Instrument]:
        """The run's products in their order. Raises ConfigError for one the venue does not list."""
        answer = await self._get("/products", {})
        listed = {row.id: row for row in self._read(answer.body, messages.decode_products, "products")}
        for symbol in symbols:
            if symbol not in listed:
                raise ConfigError("feed.symbols", symbol, "products the venue lists", "remove it or correct its spelling")
        return self._read(answer.body, lambda _: [translate.read_instrument(listed[symbol]) for symbol in symbols], "products")

    async def balances(self) -> dict[str, int]:
        """Currency -> available + hold, int64 e8, further decimals cut."""
        answer = await self._get("/accounts", {})
        return self._read(
            answer.body,
            lambda raw: {row.currency: translate.truncated(row.balance, "balance") for row in messages.decode_accounts(raw)},
            "accounts",
        )

    async def available_and_held(self) -> dict[str, tuple[int, int]]:
        """Currency -> (available, available + hold), int64 e8, further decimals cut."""
        answer = await self._get("/accounts", {})
        return self._read(
            answer.body,
            lambda raw: {
                row.currency: (translate.truncated(row.available, "available"), translate.truncated(row.balance, "balance"))
                for row in messages.decode_accounts(raw)
            },
            "accounts",
        )

    async def fee_rates(self) -> tuple[int, int]:
        """Taker's and maker's rate of the notional, e8, rounded up."""
        answer = await self._get("/fees", {})

        def read(raw: bytes) -> tuple[int, int]:
            fees = messages.decode_fees(raw)
            return translate.rounded_up(fees.taker_fee_rate, "taker rate"), translate.rounded_up(
                fees.maker_fee_rate, "maker rate"
            )

        return self._read(answer.body, read, "fees")

    async def book(self, symbol: str) -> tuple[Levels, Levels]:
        """Bids and asks, best first, 500 levels a side; empty during an auction, when nobody is matched at once."""
        answer = await self._get(f"/products/{symbol}/book", {"level": 2})

        def read(raw: bytes) -> tuple[Levels, Levels]:
            book = messages.decode_book(raw)
            if book.auction_mode:
                return (), ()
            sides = [[[price, size] for price, size, _ in side[:_BOOK_LEVELS]] for side in (book.bids, book.asks)]
            return read_levels(sides[0], "bids"), read_levels(sides[1], "asks")

        return self._read(answer.body, read, "book")

    async def open_orders(self, symbol: str | None = None) -> list[VenueOrder]:
        """Every open order of the profile or of one product, all pages."""
        found: list[VenueOrder] = []

        def read(raw: bytes) -> tuple[int, bool]:
            rows = messages.decode_orders(raw)
            found.extend(self._order(row) for row in rows)
            return len(rows), False

        product = {} if symbol is None else {"product_id": symbol}
        await self._pages("/orders", {"status": "open", **product}, read)
        return found

    async def order_by_key(self, key: int, symbol: str, patient: bool = True) -> VenueOrder | None:
        """The order of our key; None when the venue does not know it."""
        order = await self._one(f"/orders/client:{self._desk.names.order(key)}", key, patient)
        if order is not None and order.symbol != self._desk.index[symbol]:
            raise VenueError("order", order.symbol, f"an order on {symbol}", "report it: a client id named another product")
        return order

    async def order_by_uuid(self, uuid: str) -> VenueOrder | None:
        """The order of the venue's id; None when the venue does not know it."""
        known = self._desk.known(uuid)
        return await self._one(f"/orders/{uuid}", None if known is None else known.key)

    async def trades(
        self, symbol: str, from_id: int | None, order_uuid: str | None, since_ns: int | None = None
    ) -> list[VenueTrade]:
        """Fills on a product from trade id ``from_id`` or a time on, or of one order, in order of trade id; every page."""
        index = self._desk.index[symbol]
        found: dict[int, VenueTrade] = {}
        params = {"order_id": order_uuid} if order_uuid is not None else {"product_id": symbol}

        def read(raw: bytes) -> tuple[int, bool]:
            rows = [row for row in messages.decode_fills(raw) if row.product_id == symbol]
            reached = False
            for row in rows:
                trade = translate.read_trade(row, index)
                self._desk.name(row.order_id, index, trade.venue_order_id)
                found[row.trade_id] = trade
                reached |= from_id is not None and row.trade_id < from_id
                reached |= since_ns is not None and trade.t_ns < since_ns
            return len(rows), reached

        await self._pages("/fills", params, read)
        return [found[trade_id] for trade_id in sorted(found) if from_id is None or trade_id >= from_id]

    async def _one(self, path: str, key: int | None, patient: bool = True) -> VenueOrder | None:
        try:
            answer = await self._get(path, {}, patient=patient)
        except _NotFound:
            return None
        return self._read(answer.body, lambda raw: self._order(messages.decode_order(raw), key), "order")

    def _order(self, row: messages.OrderRow, key: int | None = None) -> VenueOrder:
        known = self._desk.known(row.id)
        if key is None and known is not None:
            key = known.key
        order = translate.read_order(row, self._desk.index, self._desk.names, key)
        if order.symbol >= 0:
            self._desk.remember(row.id, order)
        return order

    async def _pages(self, path: str, params: Mapping[str, str], read: Callable[[bytes], tuple[int, bool]]) -> None:
        """Read pages, the newest first, until one is not full or, as ``read`` says, reaches back far enough."""
        query: dict[str, str | int] = {**params, "limit": _PAGE}
        while True:
            answer = await self._get(path, query, fills=path == "/fills")
            count, reached = self._read(answer.body, read, path)
            cursor = answer.headers.get("cb-after")
            if count < _PAGE or not cursor or reached:
                return
            if cursor == query.get("after"):
                raise VenueError(path, cursor, "a cursor that moves on", "retry; if it stays, report it to the venue")
            query["after"] = cursor

    async def _get(self, path: str, params: Mapping[str, str | int], fills: bool = False, patient: bool = True) -> Answer:
        desk = self._desk
        if desk.answers_nothing:
            raise VenueError(f"request {path}", LocalCode.KEY_REFUSED.name, "a key the venue accepts", key_refused.REMEDY)
        while (refusal := desk.budget.for_request(desk.now_ns(), fills)) != LocalCode.NONE:
            if patient and refusal == LocalCode.WEIGHT_BUDGET:
                await asyncio.sleep(desk.budget.wait_ns(desk.now_ns(), fills) / NS_PER_S)
                continue
            raise VenueError(f"request {path}", refusal.name, "room in the venue's limits", "retry in a second")
        self.pending += 1
        try:
            answer = await self._rest.ask("GET", path, params)
        finally:
            self.pending -= 1
        if answer.status == 200:
            return answer
        said = self._rest.refusal(answer)
        if said.status == outcomes.NOT_FOUND and said.proven:
            raise _NotFound(f"request {path}", said.message, "something the venue knows", "check the id")
        if said.reaction is outcomes.Reaction.HALT_KEY:
            desk.refuse_questions(f"{said.status} {said.message}")
        raise VenueError(f"request {path}", f"status {said.status}, {said.message}", "status 200", "see the venue's reference")

    def _read(self, body: bytes, read: Callable[[bytes], _T], what: str) -> _T:
        try:
            return read(body)
        except _BAD_BODY as error:
            self._desk.counters["malformed"] += 1
            self._desk.keep(self._desk.now_ns(), f"{what}: {error}", body)
            raise VenueError(
                f"answer to {what}", str(error), "what the venue's reference describes", "check venue.rest_url"
            ) from None


class _NotFound(VenueError):
    """The venue answered that there is no such thing."""
