"""Order lists: OCO, OTO and OTOCO, and orders that wait for their stop price.

An OCO pair sells or buys one quantity, so it locks funds once: one of its orders carries the lock until the other begins to
work. Once one trades, begins to work or ends, the other expires. What an OTO's working order leads to is placed when that is
filled whole, and locks nothing before. Source: Binance order lists; FIX list triggers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sentinel.sim.venue import filters
from sentinel.sim.venue.account import locked_asset
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.list_request import ListRequest, check_pair, read_list
from sentinel.sim.venue.order_desk import OrderDesk
from sentinel.sim.venue.order_request import OrderRequest, symbol_param
from sentinel.sim.venue.orders import OPEN, Order, reached
from sentinel.sim.venue.refusals import cancel_rejected, rejected
from sentinel.units import NS_PER_MS

_NO_SUCH_LIST = "Order list does not exist."


@dataclass(slots=True, eq=False)
class OrderList:
    """A list and its orders, in the order of their ids. ``working``: of an OTO. ``pair``: what cancels each other.

    ``pending`` are the requests of what waits for the working order, until they are placed.
    """

    list_id: int
    account: str
    index: int
    client_id: str
    contingency: str
    orders: list[Order]
    working: Order | None
    pair: tuple[Order, ...]
    pending: list[OrderRequest]
    updated_ns: int
    done: bool = False

    def facts(self) -> dict[str, Any]:
        """The list without reports on its orders, as queries show it."""
        symbol = self.orders[0].instrument.symbol
        return {
            "orderListId": self.list_id,
            "contingencyType": self.contingency,
            "listStatusType": "ALL_DONE" if self.done else "EXEC_STARTED",
            "listOrderStatus": "ALL_DONE" if self.done else "EXECUTING",
            "listClientOrderId": self.client_id,
            "transactionTime": self.updated_ns // NS_PER_MS,
            "symbol": symbol,
            "orders": [{"symbol": symbol, "orderId": one.order_id, "clientOrderId": one.client_id} for one in self.orders],
        }

    def event(self, now_ns: int) -> dict[str, Any]:
        """A listStatus event."""
        symbol = self.orders[0].instrument.symbol
        return {
            "e": "listStatus",
            "E": now_ns // NS_PER_MS,
            "s": symbol,
            "g": self.list_id,
            "c": self.contingency,
            "l": "ALL_DONE" if self.done else "EXEC_STARTED",
            "L": "ALL_DONE" if self.done else "EXECUTING",
            "r": "NONE",
            "C": self.client_id,
            "T": now_ns // NS_PER_MS,
            "O": [{"s": symbol, "i": one.order_id, "c": one.client_id} for one in self.orders],
        }


class OrderLists:
    """All lists of the exchange. ``due``: lists whose working order was filled and whose other orders are to be placed."""

    def __init__(self, desk: OrderDesk, first_id: int) -> None:
        self.due: list[OrderList] = []
        self._desk = desk
        self._next_id = first_id
        self._lists: dict[int, OrderList] = {}
        desk.on_list_order = self._on_order
        desk.cancel_list = lambda list_id, cancel_id: self._cancel(self._lists[list_id], cancel_id)

    def run(self, what: str, account: str, params: Mapping[str, str]) -> Any:
        """``oco``, ``oto``, ``otoco``, ``cancel``, ``status`` or ``open``. Raises ApiError."""
        if what == "open":
            return [one.facts() for one in self._lists.values() if one.account == account and not one.done]
        if what == "status":
            found = self._find(account, params, "origClientOrderId")
            if found is None:
                raise ApiError(400, -2013, _NO_SUCH_LIST)
            return found.facts()
        if what == "cancel":
            self._desk.symbol_index(symbol_param(params))
            found = self._find(account, params, "listClientOrderId")
            if found is None or found.done or found.orders[0].instrument.symbol != params["symbol"]:
                raise cancel_rejected()
            return self._cancel(found, filters.client_id_param(params, "newClientOrderId"))
        return self._place(account, read_list(what, params))

    def settle(self, symbol: int) -> None:
        """Place what is due, and set to work what the last price has reached, until nothing more follows."""
        desk = self._desk
        while True:
            if self.due:
                self._place_pending(self.due.pop(0))
                continue
            last = desk.last_price(symbol)
            ready = (one for one in desk.stops[symbol].values() if reached(one.kind, one.side, one.stop_price, last))
            order = next(ready, None)
            if order is None:
                return
            self._trigger(symbol, order)

    def _find(self, account: str, params: Mapping[str, str], client_name: str) -> OrderList | None:
        list_id = filters.integer_param(params, "orderListId")
        client_id = filters.client_id_param(params, client_name)
        if list_id is None and client_id is None:
            raise ApiError(400, -1102, f"Param '{client_name}' or 'orderListId' must be sent, but both were empty/null!")
        for one in reversed(self._lists.values()):
            fits = list_id in (None, one.list_id) and client_id in (None, one.client_id)
            if fits and one.account == account:
                return one
        return None

    # Placement

    def _place(self, account: str, request: ListRequest) -> dict[str, Any]:
        desk = self._desk
        checked = [desk.validate(leg) for leg in request.legs]
        index, requests = checked[0][0], [one for _, one in checked]
        instrument, mine = desk.instruments[index], desk.open_of(account, index)
        filters.check_open_orders(instrument, len(mine), len(requests))
        stops = sum(one.stop_price > 0 for one in requests)
        filters.check_algo_orders(instrument, sum(one.stop_price > 0 for one in mine), stops)
        open_lists = [one for one in self._lists.values() if one.account == account and not one.done]
        filters.check_order_lists(instrument, sum(one.index == index for one in open_lists))
        ids = [one.client_id for one in requests if one.client_id is not None]
        if any(one.client_id == request.client_id for one in open_lists) or len(set(ids)) != len(ids):
            raise rejected("Duplicate order sent.")
        begin, pending = (requests[:1], requests[1:]) if request.has_working else (requests, [])
        if not request.has_working:
            check_pair(requests, desk.last_price(index))
        for one in begin:
            desk.check_one(account, index, one)
        for one in pending:
            if one.client_id is not None:
                known = desk.by_client.get((account, index, one.client_id))
                if known is not None and known.status in OPEN:
                    raise rejected("Duplicate order sent.")
        lock = max(desk.needed(account, index, one) for one in begin)
        desk.check_funds(account, instrument, begin[0].side, lock)
        carrier = _carrier(begin)
        orders = [desk.accept(account, index, one, lock if one is carrier else 0) for one in requests]
        made = OrderList(
            list_id=self._next_id,
            account=account,
            index=index,
            client_id=request.client_id or f"auto-list-{self._next_id}",
            contingency="OTO" if request.has_working else "OCO",
            orders=orders,
            working=orders[0] if request.has_working else None,
            pair=() if request.has_working else tuple(orders),
            pending=pending,
            updated_ns=desk.now_ns,
        )
        self._next_id += 1
        self._lists[made.list_id] = made
        for order in orders:
            order.list_id = made.list_id
        desk.publish_user(account, made.event(desk.now_ns))
        if made.working is not None:
            for order in orders[1:]:
                order.status = "PENDING_NEW"
                desk.open[index][order.order_id] = order
                desk.report(order, "NEW")
            desk.work(index, made.working)
        else:
            self._begin(index, orders)
        desk.flush_positions()
        return made.facts() | {"orderReports": [one.response(request.response) for one in orders]}

    def _begin(self, index: int, orders: Sequence[Order]) -> None:
        """Orders meet the book or wait for their price."""
        for order in orders:
            if order.stop_price:
                order.status = "NEW"
                self._desk.wait(index, order)
        for order in orders:
            if not order.stop_price and order.status in OPEN:
                self._desk.work(index, order)

    def _place_pending(self, one: OrderList) -> None:
        """The working order was filled whole: what waited for it is placed, or expires where that is refused."""
        desk, index = self._desk, one.index
        requests, one.pending = one.pending, []
        orders = one.orders[1:]
        try:
            # Their client ids are open: they are their own.
            fresh = [_without_id(request) for request in requests]
            if len(fresh) == 2:
                check_pair(fresh, desk.last_price(index))
            for request in fresh:
                desk.check_one(one.account, index, request)
            lock = max(desk.needed(one.account, index, request) for request in fresh)
            owner = desk.ledger.accounts[one.account]
            owner.lock(locked_asset(orders[0].instrument, orders[0].side), lock)
        except ApiError:
            for order in orders:
                desk.expire(order, "REJECTED")
            return
        orders[fresh.index(_carrier(fresh))].locked = lock
        if len(orders) == 2:
            one.pair = tuple(orders)
        for order in orders:
            del desk.open[index][order.order_id]
        self._begin(index, orders)
        desk.flush_positions()

    # Life

    def _trigger(self, index: int, order: Order) -> None:
        """A waiting order's price is reached: it begins to work."""
        desk = self._desk
        del desk.stops[index][order.order_id]
        if order.list_id >= 0:
            self._release_other(self._lists[order.list_id], order)
        owner, asset = desk.ledger.accounts[order.account], locked_asset(order.instrument, order.side)
        if order.takes_market and asset == order.instrument.quote:
            _, quote = desk.books[index].cost(order.side, order.qty, 0, 0, order.account, order.stp)
            desk.release(order)
            if quote > owner.balance(asset).free:
                desk.expire(order, "REJECTED")
                return
            owner.lock(asset, quote)
            order.locked = quote
        elif not order.takes_market:
            desk.shrink_lock(order)
        desk.work(index, order)

    def _release_other(self, one: OrderList, order: Order) -> None:
        """``order`` of a pair begins to work or has traded: the lock is its own, the other expires."""
        pair, one.pair = one.pair, ()
        for other in pair:
            if other is not order and other.status in OPEN:
                order.locked, other.locked = order.locked + other.locked, 0
                self._desk.expire(other, "OCO_TRIGGER")

    def _on_order(self, order: Order) -> None:
        one = self._lists[order.list_id]
        if one.done:
            return
        if order is one.working and order.status == "FILLED":
            if one.pending and one not in self.due:
                self.due.append(one)
        elif order is one.working and order.status not in OPEN:
            one.pending = []
            for other in one.orders[1:]:
                if other.status in OPEN:
                    self._desk.expire(other, "OTO_PHASE_ONE_EXPIRED")
        elif order in one.pair and (order.executed or order.status not in OPEN):
            self._release_other(one, order)
        self._finish(one)

    def _finish(self, one: OrderList) -> None:
        if not one.done and not one.pending and all(order.status not in OPEN for order in one.orders):
            one.done = True
            one.updated_ns = self._desk.now_ns
            self._desk.publish_user(one.account, one.event(one.updated_ns))

    def _cancel(self, one: OrderList, cancel_id: str | None) -> dict[str, Any]:
        """Cancel what is open of a list. All its cancelled orders get one new client id."""
        desk = self._desk
        one.pending = []
        new_id = cancel_id or f"cancel-list-{one.list_id}"
        ended = [order for order in one.orders if order.status in OPEN]
        for order in ended:
            desk.remove(order)
            order.status = "CANCELED"
        for order in ended:
            order.updated_ns = desk.now_ns
            order.cancel_id = new_id
            del desk.by_client[order.account, one.index, order.client_id]
            desk.by_client[order.account, one.index, new_id] = order
            desk.release(order)
            desk.report(order, "CANCELED")
        self._finish(one)
        desk.flush_positions()
        return one.facts() | {"orderReports": [order.cancelled() for order in ended]}


def _carrier(requests: Sequence[OrderRequest]) -> OrderRequest:
    """Which of a pair holds its funds: the one that may trade without its price being reached first."""
    return next((one for one in requests if not one.stop_price), requests[0])


def _without_id(request: OrderRequest) -> OrderRequest:
    return OrderRequest(
        **{name: getattr(request, name) for name in OrderRequest.__dataclass_fields__} | {"client_id": None},
    )
