"""The REST API: public market data, and a profile's orders, fills and accounts behind signatures."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from sentinel.errors import UnitError
from sentinel.sim.coinbase import shapes
from sentinel.sim.coinbase.auth import CoinbaseKey, KeyRing, Proof
from sentinel.sim.coinbase.channels import FeedHub
from sentinel.sim.coinbase.limits import Limits
from sentinel.sim.coinbase.refusal import Refusal, renamed
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.orders import OPEN, Order
from sentinel.sim.venue.rest import HttpRequest, HttpResponse, HttpServer, Unanswered
from sentinel.units import E8, NS_PER_MS, NS_PER_S, format_e8, parse_e8

_MAX_PAGE = 1000
_BOOK_LEVELS = {"1": 1, "2": 5000}
_TYPES = {"limit": "LIMIT", "market": "MARKET"}
_PLACE_FIELDS = frozenset(
    ("client_oid", "product_id", "side", "size", "stp", "type", "price", "time_in_force", "post_only", "profile_id")
)
_POST_ONLY_REFUSED = "Order would immediately match and take."
_encode = msgspec.json.Encoder().encode

Handler = Callable[[CoinbaseKey, HttpRequest, dict[str, str], str], tuple[Any, dict[str, str]]]


class CoinbaseRest(HttpServer):
    """Answers from the exchange. ``enter`` is called before a request is handled (time catches up), ``leave`` after."""

    def __init__(
        self,
        exchange: Exchange,
        hub: FeedHub,
        keys: KeyRing,
        limits: Limits,
        faults: FaultPlan,
        enter: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        super().__init__(faults)
        self._venue = exchange
        self._hub = hub
        self._keys = keys
        self._limits = limits
        self._enter = enter
        self._leave = leave
        # Method, path, name for faults, and the handler of a signed request; the path's group is handed on.
        self._routes: list[tuple[str, re.Pattern[str], str, Handler | None]] = [
            ("POST", re.compile(r"/orders"), "order.place", self._place),
            ("DELETE", re.compile(r"/orders/([^/]+)"), "order.cancel", self._cancel),
            ("DELETE", re.compile(r"/orders"), "orders.cancel", self._cancel_all),
            ("GET", re.compile(r"/orders/([^/]+)"), "order.status", self._order),
            ("GET", re.compile(r"/orders"), "orders", self._orders),
            ("GET", re.compile(r"/fills"), "fills", self._fills),
            ("GET", re.compile(r"/accounts"), "accounts", self._accounts),
            ("GET", re.compile(r"/fees"), "fees", self._fees),
            ("GET", re.compile(r"/time"), "time", None),
            ("GET", re.compile(r"/products"), "products", None),
            ("GET", re.compile(r"/products/([^/]+)/book"), "book", None),
            ("GET", re.compile(r"/products/([^/]+)/trades"), "trades", None),
        ]

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Handle one request, and let the armed faults spoil it."""
        routed = self._route(request)
        if routed is None:
            return _refusal(Refusal(404, "Route not found"))
        name, handler, tail = routed
        if self._faults.take(FaultKind.DROP_REQUEST, name):
            raise Unanswered
        self._enter()
        try:
            response = self._perform(request, name, handler, tail)
        finally:
            self._leave()
        unknown, odd = _refusal(Refusal(503, "Service temporarily unavailable")), _refusal(Refusal(422, "Not understood"))
        if not self._faults.active:
            return response
        spoiled = await self.spoil(name, response, unknown, odd)
        return replace(spoiled, twice=True) if self._faults.take(FaultKind.DUPLICATE_RESPONSE, name) else spoiled

    def _route(self, request: HttpRequest) -> tuple[str, Handler | None, str] | None:
        for verb, pattern, name, handler in self._routes:
            found = pattern.fullmatch(request.path)
            if found is not None and verb == request.verb:
                return name, handler, found[1] if found.lastindex else ""
        return None

    def _perform(self, request: HttpRequest, name: str, handler: Handler | None, tail: str) -> HttpResponse:
        params = dict(parse_qsl(request.query))
        headers: dict[str, str] = {}
        try:
            if handler is None:
                self._limits.public(request.ip, self._venue.now_ns)
                body = self._public(name, params, tail)
            else:
                key = self._authorize(request)
                self._limits.private(key.account, self._venue.now_ns, name == "fills")
                body, headers = handler(key, request, params, tail)
        except ApiError as error:
            return _refusal(renamed(error))
        except Refusal as refusal:
            return _refusal(refusal)
        return HttpResponse(HTTPStatus.OK, _encode(body), headers)

    def _authorize(self, request: HttpRequest) -> CoinbaseKey:
        if not request.headers.get("user-agent"):
            raise Refusal(400, "User-Agent header is required.")
        target = request.path + (f"?{request.query}" if request.query else "")
        proof = Proof(*(request.headers.get(f"cb-access-{name}", "") for name in ("key", "passphrase", "timestamp", "sign")))
        key = self._keys.check(proof, f"{request.verb}{target}{request.body}".encode(), self._venue.now_ns)
        if request.verb != "GET" and not key.may_trade:
            raise Refusal(403, "Forbidden")
        return key

    def _public(self, name: str, params: dict[str, str], symbol: str) -> Any:
        exchange = self._venue
        if name == "time":
            return {"iso": shapes.utc(exchange.now_ns), "epoch": exchange.now_ns / NS_PER_S}
        if name == "products":
            return [shapes.product(instrument) for instrument in exchange.instruments]
        if name == "book":
            depth = _BOOK_LEVELS.get(params.get("level", "1"))
            if depth is None:
                raise Refusal(400, "Invalid level")
            return shapes.book(exchange.depth(symbol, 5000), depth, self._hub.sequences.get(symbol, 0), exchange.now_ns)
        limit = _limit(params)
        return [
            {
                "trade_id": row["id"],
                "side": "buy" if row["isBuyerMaker"] else "sell",
                "size": row["qty"],
                "price": row["price"],
                "time": shapes.utc(row["time"] * NS_PER_MS),
            }
            for row in reversed(exchange.recent_trades(symbol, limit))
        ]

    # --- orders ----------------------------------------------------------------------------------

    def _place(self, key: CoinbaseKey, request: HttpRequest, params: dict[str, str], tail: str) -> tuple[Any, dict[str, str]]:
        exchange = self._venue
        asked = _order_params(request.body)
        symbol = asked["symbol"]
        if symbol not in self._hub.products:
            raise Refusal(404, "NotFound")
        self._require_fee(key.account, asked)
        try:
            result = exchange.place(key.account, asked)
        except ApiError as error:
            if error.msg == _POST_ONLY_REFUSED:
                return _rejected_post_only(asked, exchange.now_ns), {}
            raise
        if result["status"] in OPEN:
            self._hub.rested(symbol, result["orderId"])
        order = exchange.desk.orders[self._hub.products[symbol], result["orderId"]]
        # The answer is made as the order comes in: what became of it the user channel tells.
        row = shapes.order(order, 0) | {"status": "pending", "settled": False, "filled_size": "0", "executed_value": "0"}
        return {name: value for name, value in row.items() if not name.startswith("done_")}, {}

    def _require_fee(self, account: str, asked: dict[str, str]) -> None:
        owner = self._venue.ledger.accounts[account]
        instrument = self._venue.instruments[self._hub.products[asked["symbol"]]]
        try:
            cost = parse_e8(asked.get("price", "0")) * parse_e8(asked.get("quantity", "0"))
        except UnitError:
            return  # the exchange names what is wrong
        if asked["side"] == "BUY" and cost * (E8 + owner.rates.taker) // (E8 * E8) > owner.balance(instrument.quote).free:
            raise Refusal(400, "Insufficient funds")

    def _cancel(self, key: CoinbaseKey, request: HttpRequest, params: dict[str, str], name: str) -> tuple[Any, dict[str, str]]:
        order = self._find(key.account, name)
        if order.status not in OPEN:
            raise Refusal(400, "Order already done")
        symbol = order.instrument.symbol
        self._venue.cancel(key.account, {"symbol": symbol, "orderId": str(order.order_id)})
        return shapes.order_uuid(symbol, order.order_id), {}

    def _cancel_all(
        self, key: CoinbaseKey, request: HttpRequest, params: dict[str, str], tail: str
    ) -> tuple[Any, dict[str, str]]:
        """Every open order of the profile, or of one product; the ids of those cancelled."""
        symbol = params.pop("product_id", None)
        if params:
            raise Refusal(400, "Bad Request")
        if symbol is not None and symbol not in self._hub.products:
            raise Refusal(404, "ProductNotFound")
        mine = [order for order in self._venue.desk.orders.values() if order.account == key.account and order.status in OPEN]
        chosen = [order for order in mine if symbol in (None, order.instrument.symbol)]
        for order in chosen:
            self._venue.cancel(key.account, {"symbol": order.instrument.symbol, "orderId": str(order.order_id)})
        return [shapes.order_uuid(order.instrument.symbol, order.order_id) for order in chosen], {}

    def _order(self, key: CoinbaseKey, request: HttpRequest, params: dict[str, str], name: str) -> tuple[Any, dict[str, str]]:
        return self._shown(self._find(key.account, name)), {}

    def _orders(self, key: CoinbaseKey, request: HttpRequest, params: dict[str, str], tail: str) -> tuple[Any, dict[str, str]]:
        if params.get("status", "open") not in ("open", "all", "pending", "active", "done"):
            raise Refusal(400, "Invalid status")
        product, status = params.get("product_id"), params.get("status", "open")
        found = [
            order
            for order in self._venue.desk.orders.values()
            if order.account == key.account
            and not _forgotten(order)
            and product in (None, order.instrument.symbol)
            and (status == "all" or (status == "open") == (order.status in OPEN))
        ]
        found.sort(key=lambda order: (order.created_ns, order.order_id), reverse=True)
        return _page([self._shown(order) for order in found], params)

    def _fills(self, key: CoinbaseKey, request: HttpRequest, params: dict[str, str], tail: str) -> tuple[Any, dict[str, str]]:
        if "order_id" not in params and "product_id" not in params:
            raise Refusal(400, "either product_id or order_id is required")
        rows = [
            shapes.fill(trade)
            for (account, _), trades in self._venue.desk.account_trades.items()
            if account == key.account
            for trade in trades
        ]
        chosen = [
            row
            for row in rows
            if params.get("order_id", row["order_id"]) == row["order_id"]
            and params.get("product_id", row["product_id"]) == row["product_id"]
        ]
        chosen.sort(key=lambda row: row["trade_id"], reverse=True)
        return _page(chosen, params, "trade_id")

    def _accounts(self, key: CoinbaseKey, request: HttpRequest, params: dict[str, str], tail: str) -> tuple[Any, dict[str, str]]:
        owner = self._venue.ledger.accounts[key.account]
        return [shapes.account(currency, held.free, held.locked) for currency, held in owner.balances.items()], {}

    def _fees(self, key: CoinbaseKey, request: HttpRequest, params: dict[str, str], tail: str) -> tuple[Any, dict[str, str]]:
        rates = self._venue.ledger.accounts[key.account].rates
        return {"maker_fee_rate": format_e8(rates.maker), "taker_fee_rate": format_e8(rates.taker), "usd_volume": "0.00"}, {}

    def _find(self, account: str, name: str) -> Order:
        desk = self._venue.desk
        for (index, order_id), order in desk.orders.items():
            if order.account != account:
                continue
            uuid = shapes.order_uuid(desk.instruments[index].symbol, order_id)
            if name in (uuid, f"client:{order.client_id}") and not _forgotten(order):
                return order
        raise Refusal(404, "order not found")

    def _shown(self, order: Order) -> dict[str, Any]:
        desk = self._venue.desk
        trades = desk.account_trades.get((order.account, desk.index[order.instrument.symbol]), [])
        return shapes.order(order, sum(parse_e8(row["commission"]) for row in trades if row["orderId"] == order.order_id))


def _forgotten(order: Order) -> bool:
    """The venue forgets an order that ended without a trade."""
    return order.status not in OPEN and order.executed == 0


def _limit(params: dict[str, str]) -> int:
    text = params.get("limit", str(_MAX_PAGE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MAX_PAGE):
        raise Refusal(400, "Invalid limit")
    return int(text)


def _page(rows: list[dict[str, Any]], params: dict[str, str], cursor: str | None = None) -> tuple[Any, dict[str, str]]:
    """One page, newest first; ``after`` continues with older rows. The cursor is a field, or else the position."""
    limit, after = _limit(params), params.get("after", "")
    if after and not after.isdigit():
        raise Refusal(400, "Invalid cursor")
    if after:
        rows = rows[int(after) :] if cursor is None else [row for row in rows if row[cursor] < int(after)]
    page = rows[:limit]
    if not page:
        return page, {}
    position = int(after or 0) + len(page)
    return page, {
        "CB-BEFORE": str(page[0][cursor] if cursor else position - len(page)),
        "CB-AFTER": str(page[-1][cursor] if cursor else position),
    }


def _order_params(body: str) -> dict[str, str]:
    """A placement as the exchange's own parameters. Raises Refusal."""
    try:
        asked = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise Refusal(400, "Invalid JSON") from None
    unknown = sorted(set(asked) - _PLACE_FIELDS)
    if unknown:
        raise Refusal(400, f"Unsupported field {unknown[0]}")
    kind, self_trade = _TYPES.get(asked.get("type", "limit")), shapes.SELF_TRADE.get(asked.get("stp", "dc"))
    if kind is None or self_trade is None or asked.get("side") not in ("buy", "sell"):
        raise Refusal(400, "Invalid type, stp or side")
    params = {
        "symbol": str(asked.get("product_id", "")),
        "side": str(asked["side"]).upper(),
        "type": "LIMIT_MAKER" if asked.get("post_only") else kind,
        "selfTradePreventionMode": self_trade,
        "newOrderRespType": "RESULT",
    }
    if "size" in asked:
        params["quantity"] = str(asked["size"])
    if "client_oid" in asked:
        params["newClientOrderId"] = str(asked["client_oid"])
    if kind == "LIMIT":
        params["price"] = str(asked.get("price", ""))
        if not asked.get("post_only"):
            params["timeInForce"] = str(asked.get("time_in_force", "GTC"))
    return params


def _rejected_post_only(asked: dict[str, str], now_ns: int) -> dict[str, Any]:
    """What the venue answers to a post-only order that would take: an order, rejected."""
    return {
        "id": shapes.market_uuid(asked["symbol"], now_ns, "rejected"),
        "product_id": asked["symbol"],
        "side": asked["side"].lower(),
        "type": "limit",
        "price": asked["price"],
        "size": asked["quantity"],
        "post_only": True,
        "created_at": shapes.utc(now_ns),
        "fill_fees": "0",
        "filled_size": "0",
        "executed_value": "0",
        "status": "rejected",
        "reject_reason": "post only",
        "settled": False,
        "client_oid": asked.get("newClientOrderId"),
    }


def _refusal(refusal: Refusal) -> HttpResponse:
    return HttpResponse(refusal.status, _encode({"message": refusal.message}))
