"""Requests out: what may leave, which way, its text, and what is remembered of it.

Orders leave on the WebSocket link alone, where the account's user data tells what becomes of them. Cancels, amends
and questions take REST while there is no such link, or while it takes no more bytes.
"""

from __future__ import annotations

from typing import Protocol

from sentinel.errors import VenueError
from sentinel.host.venues.binance_spot.desk import Ask, Desk, Request
from sentinel.host.venues.binance_spot.order_lists import OrderList, list_keys, list_method, list_params
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.host.venues.contract import LocalCode, VenueOrder
from sentinel.host.venues.link import Link
from sentinel.units import format_e8_short
from sentinel.wire import OrderEventKind

_QUERY_WEIGHT = 4
_AMEND_WEIGHT = 4
_ORDER_TRADES_WEIGHT = 5


class OtherWay(Protocol):
    """The way beside the link; see ``rest_way.RestWay``."""

    @property
    def is_open(self) -> bool: ...

    def ask(self, request: Request, method: str, params: dict[str, str | int]) -> None: ...


class Outbound:
    """Sends on the link it is given; ``link`` None means there is no usable connection."""

    def __init__(self, desk: Desk, requests: Requests, other_way: OtherWay | None = None) -> None:
        self._desk = desk
        self._requests = requests
        self._other_way = other_way

    def place(self, link: Link | None, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index = desk.index.get(symbol)
        text = desk.names.order(key)
        message = None
        if index is not None:
            timestamp_ms, logged_on = desk.timestamp_ms(now), link is not None and link.logged_on
            message = self._requests.place(text, symbol, side, order_type, tif, price, qty, timestamp_ms, logged_on)
        code = LocalCode.BAD_VALUE if message is None else self._order_refusal(link, now)
        if message is None or link is None or index is None or code != LocalCode.NONE:
            desk.counters["not_sent"] += 1
            desk.emit(OrderEventKind.NOT_SENT, key, index or 0, now, code)
            desk.deliver()
            return
        request = Request(Ask.PLACE, key, index, link, now, identity=text)
        if self._transmit(request, link, message):
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
        if key in desk.leg_of:
            # The venue would cancel all of them, and give them all the new id of this one.
            self.cancel_list(link, desk.leg_of[key], symbol)
            return
        index = desk.index.get(symbol)
        way, reachable = self._way(link)
        code = LocalCode.BAD_VALUE if index is None else LocalCode.DISCONNECTED
        if index is not None and not reachable and desk.halted is not None:
            code = LocalCode.KEY_REFUSED
        elif index is not None and reachable:
            code = desk.budget.for_cancel(desk.venue_ns(now))
        if index is None or code != LocalCode.NONE:
            desk.emit(OrderEventKind.CANCEL_REJECTED, key, index or 0, now, code)
        else:
            ids = {"origClientOrderId": desk.names.order(key), "newClientOrderId": desk.names.cancel(key)}
            self._ask(Request(Ask.CANCEL, key, index, way, now), "order.cancel", {"symbol": symbol, **ids})
        desk.deliver()

    def place_list(self, link: Link | None, first_key: int, symbol: str, wanted: OrderList) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index, keys = desk.index.get(symbol), list_keys(first_key, wanted)
        params = list_params(first_key, symbol, wanted, desk.names)
        code = LocalCode.BAD_VALUE if index is None or params is None else self._order_refusal(link, now, len(keys))
        if params is None or link is None or index is None or code != LocalCode.NONE:
            desk.counters["not_sent"] += len(keys)
            for key in keys:
                desk.emit(OrderEventKind.NOT_SENT, key, index or 0, now, code)
            desk.deliver()
            return
        desk.know_list(first_key, len(keys))
        if self._ask(Request(Ask.LIST, first_key, index, link, now, keys=keys), list_method(wanted), params):
            desk.counters["sent"] += len(keys)
            for key in keys:
                desk.emit(OrderEventKind.SENT, key, index, desk.now_ns())
        desk.deliver()

    def cancel_list(self, link: Link | None, first_key: int, symbol: str) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index = desk.index.get(symbol)
        keys = tuple(key for key, first in desk.leg_of.items() if first == first_key)
        way, reachable = self._way(link)
        code = LocalCode.BAD_VALUE if index is None or not keys else LocalCode.DISCONNECTED
        if code != LocalCode.BAD_VALUE and reachable:
            code = desk.budget.for_cancel(desk.venue_ns(now))
        if index is None or code != LocalCode.NONE:
            for key in keys or (first_key,):
                desk.emit(OrderEventKind.CANCEL_REJECTED, key, index or 0, now, code)
        else:
            names = desk.names
            ids = {"listClientOrderId": names.order_list(first_key), "newClientOrderId": names.cancelled_list(first_key)}
            request = Request(Ask.CANCEL_LIST, first_key, index, way, now, keys=keys)
            self._ask(request, "orderList.cancel", {"symbol": symbol, **ids})
        desk.deliver()

    def query_list(self, link: Link | None, key: int, symbol: int) -> None:
        """Ask which orders the list of ``key`` has: its own id has found nothing."""
        way, reachable = self._way(link)
        if self._may_ask(reachable, _QUERY_WEIGHT):
            request = Request(Ask.QUERY_LIST, key, symbol, way, self._desk.now_ns(), weight=_QUERY_WEIGHT)
            self._ask(request, "orderList.status", {"origClientOrderId": self._desk.names.order_list(self._desk.leg_of[key])})

    def query_leg(self, link: Link | None, key: int, symbol: int, venue_order_id: int) -> None:
        """Ask for an order of a list by the venue's id."""
        way, reachable = self._way(link)
        if self._may_ask(reachable, _QUERY_WEIGHT):
            now = self._desk.now_ns()
            request = Request(Ask.QUERY_LEG, key, symbol, way, now, weight=_QUERY_WEIGHT, venue_order_id=venue_order_id)
            self._ask(request, "order.status", {"symbol": self._desk.symbols[symbol], "orderId": venue_order_id})

    def amend(self, link: Link | None, key: int, symbol: str, qty: int) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index = desk.index.get(symbol)
        way, reachable = self._way(link)
        code = LocalCode.BAD_VALUE if index is None or qty <= 0 else LocalCode.DISCONNECTED
        if code != LocalCode.BAD_VALUE and desk.halted is not None:
            code = LocalCode.KEY_REFUSED
        elif code != LocalCode.BAD_VALUE and reachable:
            code = desk.budget.for_request(desk.venue_ns(now), _AMEND_WEIGHT)
        if index is None or code != LocalCode.NONE:
            desk.emit(OrderEventKind.CANCEL_REJECTED, key, index or 0, now, code)
        else:
            text = desk.names.order(key)
            # Without a new id the venue would make one up, and the order would no longer be found under its own.
            params: dict[str, str | int] = {"symbol": symbol, "origClientOrderId": text, "newClientOrderId": text}
            params["newQty"] = format_e8_short(qty)
            # A second amend of the order may follow before the first is answered.
            identity = f"{Ask.AMEND.value}{text}-{qty:x}"
            request = Request(Ask.AMEND, key, index, way, now, identity=identity, weight=_AMEND_WEIGHT)
            self._ask(request, "order.amend.keepPriority", params)
        desk.deliver()

    def replace(
        self,
        link: Link | None,
        old_key: int,
        key: int,
        symbol: str,
        side: int,
        order_type: int,
        tif: int,
        price: int,
        qty: int,
        stop_on_failure: bool,
    ) -> None:
        desk, now = self._desk, self._desk.now_ns()
        index = desk.index.get(symbol)
        params = self._requests.order_params(desk.names.order(key), symbol, side, order_type, tif, price, qty)
        code = LocalCode.BAD_VALUE if index is None or params is None else self._order_refusal(link, now)
        if params is None or link is None or index is None or code != LocalCode.NONE:
            desk.counters["not_sent"] += 1
            desk.emit(OrderEventKind.NOT_SENT, key, index or 0, now, code)
            desk.emit(OrderEventKind.CANCEL_REJECTED, old_key, index or 0, now, code)
            desk.deliver()
            return
        params |= {
            "cancelReplaceMode": "STOP_ON_FAILURE" if stop_on_failure else "ALLOW_FAILURE",
            "cancelOrigClientOrderId": desk.names.order(old_key),
            "cancelNewClientOrderId": desk.names.cancel(old_key),
        }
        if self._ask(Request(Ask.REPLACE, key, index, link, now, old_key=old_key), "order.cancelReplace", params):
            desk.counters["sent"] += 1
            desk.emit(OrderEventKind.SENT, key, index, desk.now_ns())
        desk.deliver()

    def query(self, link: Link | None, key: int, symbol: int, twin: bool = False) -> None:
        """Ask for an order by its client id, or by the ``twin`` a cancel gave it. A query that may not leave is counted."""
        ask, text = (Ask.QUERY_TWIN, self._desk.names.cancel(key)) if twin else (Ask.QUERY, self._desk.names.order(key))
        way, reachable = self._way(link)
        if self._may_ask(reachable, _QUERY_WEIGHT):
            request = Request(ask, key, symbol, way, self._desk.now_ns(), weight=_QUERY_WEIGHT)
            self._ask(request, "order.status", {"symbol": self._desk.symbols[symbol], "origClientOrderId": text})

    def query_trades(self, link: Link | None, key: int, symbol: int, found: VenueOrder) -> bool:
        """Ask for the fills of an order a query has ``found``; False when that may not leave."""
        way, reachable = self._way(link)
        if not self._may_ask(reachable, _ORDER_TRADES_WEIGHT):
            return False
        request = Request(Ask.TRADES, key, symbol, way, self._desk.now_ns(), found, weight=_ORDER_TRADES_WEIGHT)
        params: dict[str, str | int] = {"symbol": self._desk.symbols[symbol], "orderId": found.venue_order_id}
        return self._ask(request, "myTrades", params)

    def _order_refusal(self, link: Link | None, now: int, orders: int = 1) -> LocalCode:
        desk = self._desk
        if desk.halted is not None:
            return LocalCode.KEY_REFUSED
        if link is None or not link.is_open:
            return LocalCode.DISCONNECTED
        if not link.writable:
            return LocalCode.BACKLOG
        return desk.budget.for_order(desk.venue_ns(now), desk.orders_in_flight + orders - 1)

    def _way(self, link: Link | None) -> tuple[Link | None, bool]:
        """The link to use, None for the other way, and whether there is any."""
        if link is not None and link.is_open and link.writable:
            return link, True
        if self._other_way is not None and self._other_way.is_open:
            return None, True
        return link, link is not None

    def _may_ask(self, reachable: bool, weight: int) -> bool:
        desk = self._desk
        if reachable and not desk.answers_nothing and desk.budget.for_request(desk.venue_ns(), weight) == LocalCode.NONE:
            return True
        desk.counters["query_denied"] += 1
        return False

    def _ask(self, request: Request, method: str, params: dict[str, str | int]) -> bool:
        if request.link is None:
            assert self._other_way is not None
            self._desk.add(request)
            self._other_way.ask(request, method, params)
            return True
        timestamp_ms, logged_on = self._desk.timestamp_ms(request.t_ns), request.link.logged_on
        message = self._requests.authorized(request.identity, method, params, timestamp_ms, logged_on)
        return self._transmit(request, request.link, message)

    def _transmit(self, request: Request, link: Link, message: bytes) -> bool:
        self._desk.add(request)
        try:
            link.send(message)
        except (VenueError, OSError, RuntimeError):
            # Once the socket has been asked, whether bytes left is not known for certain.
            self._desk.take(request.identity)
            self._desk.ambiguous(request, request.t_ns, LocalCode.DISCONNECTED)
            return False
        return True
