"""Requests out: what may leave, its text, and what is remembered of it."""

from __future__ import annotations

from sentinel.errors import VenueError
from sentinel.host.venues.binance_spot import translate
from sentinel.host.venues.binance_spot.desk import Ask, Desk, Request
from sentinel.host.venues.binance_spot.link import Link
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.host.venues.contract import LocalCode, VenueOrder
from sentinel.wire import OrderEventKind, client_order_id

_QUERY_WEIGHT = 4
_ORDER_TRADES_WEIGHT = 5


class Outbound:
    """Sends on the link it is given; ``link`` None means there is no usable connection."""

    def __init__(self, desk: Desk, requests: Requests) -> None:
        self._desk = desk
        self._requests = requests

    def place(self, link: Link | None, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index = desk.index.get(symbol)
        text = client_order_id(key)
        message = None
        if index is not None:
            message = self._requests.place(text, symbol, side, order_type, tif, price, qty, desk.timestamp_ms(now))
        code = LocalCode.BAD_VALUE if message is None else self._order_refusal(link, now)
        if message is None or link is None or index is None or code != LocalCode.NONE:
            desk.counters["not_sent"] += 1
            desk.emit(OrderEventKind.NOT_SENT, key, index or 0, now, code)
            desk.deliver()
            return
        request = Request(Ask.PLACE, key, index, link, now, identity=text)
        if self._transmit(request, message):
            desk.counters["sent"] += 1
            desk.emit(OrderEventKind.SENT, key, index, desk.now_ns())
        desk.deliver()

    def deny(self, key: int, symbol: str) -> None:
        """Report an order as NOT_SENT that was decided and may no longer leave."""
        desk = self._desk
        desk.counters["not_sent"] += 1
        desk.emit(OrderEventKind.NOT_SENT, key, desk.index.get(symbol, 0), desk.now_ns(), LocalCode.NOT_PERMITTED)
        desk.deliver()

    def cancel(self, link: Link | None, key: int, symbol: str) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index = desk.index.get(symbol)
        code = LocalCode.BAD_VALUE if index is None else LocalCode.DISCONNECTED
        if index is not None and link is not None:
            code = desk.budget.for_cancel(desk.venue_ns(now))
        if link is None or index is None or code != LocalCode.NONE:
            desk.emit(OrderEventKind.CANCEL_REJECTED, key, index or 0, now, code)
        else:
            names = {"origClientOrderId": client_order_id(key), "newClientOrderId": translate.cancel_id(key)}
            self._ask(Request(Ask.CANCEL, key, index, link, now), "order.cancel", {"symbol": symbol, **names})
        desk.deliver()

    def query(self, link: Link | None, key: int, symbol: int, twin: bool = False) -> None:
        """Ask for an order by its client id, or by the ``twin`` a cancel gave it. A query that may not leave is counted."""
        ask, text = (Ask.QUERY_TWIN, translate.cancel_id(key)) if twin else (Ask.QUERY, client_order_id(key))
        if self._may_ask(link, _QUERY_WEIGHT) and link is not None:
            request = Request(ask, key, symbol, link, self._desk.now_ns())
            self._ask(request, "order.status", {"symbol": self._desk.symbols[symbol], "origClientOrderId": text})

    def query_trades(self, link: Link | None, key: int, symbol: int, found: VenueOrder) -> bool:
        """Ask for the fills of an order a query has ``found``; False when that may not leave."""
        if not self._may_ask(link, _ORDER_TRADES_WEIGHT) or link is None:
            return False
        request = Request(Ask.TRADES, key, symbol, link, self._desk.now_ns(), found)
        params: dict[str, object] = {"symbol": self._desk.symbols[symbol], "orderId": found.venue_order_id}
        return self._ask(request, "myTrades", params)

    def _order_refusal(self, link: Link | None, now: int) -> LocalCode:
        desk = self._desk
        if link is None or not link.is_open:
            return LocalCode.DISCONNECTED
        if desk.halted is not None:
            return LocalCode.KEY_REFUSED
        if not link.writable:
            return LocalCode.BACKLOG
        return desk.budget.for_order(desk.venue_ns(now), desk.orders_in_flight)

    def _may_ask(self, link: Link | None, weight: int) -> bool:
        desk = self._desk
        if link is not None and desk.budget.for_request(desk.venue_ns(), weight) == LocalCode.NONE:
            return True
        desk.counters["query_denied"] += 1
        return False

    def _ask(self, request: Request, method: str, params: dict[str, object]) -> bool:
        timestamp_ms = self._desk.timestamp_ms(request.t_ns)
        return self._transmit(request, self._requests.signed(request.identity, method, params, timestamp_ms))

    def _transmit(self, request: Request, message: bytes) -> bool:
        self._desk.add(request)
        try:
            request.link.send(message)
        except (VenueError, OSError, RuntimeError):
            # Once the socket has been asked, whether bytes left is not known for certain.
            self._desk.take(request.identity)
            self._desk.ambiguous(request, request.t_ns, LocalCode.DISCONNECTED)
            return False
        return True
