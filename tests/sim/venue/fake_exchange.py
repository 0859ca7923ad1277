"""A stand-in for the exchange: scripted market messages, orders that fill or rest at once."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from sentinel.sim.venue.api_error import ApiError

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000


class FakeExchange:
    """Publishes one trade of BTCUSDT every ``every_ns`` until ``end_ns``; LIMIT orders rest, MARKET orders fill."""

    def __init__(self, every_ns: int = 10 * MS, end_ns: int | None = None) -> None:
        self.now_ns = START_NS
        self.subscriptions: Container[str] | None = None
        self.publish: Callable[[str, Any], None] = lambda stream, payload: None
        self.publish_user: Callable[[str, dict[str, Any]], None] = lambda account, event: None
        self.orders: dict[str, dict[str, Any]] = {}
        self.placed_at_ns: list[int] = []
        self._every_ns = every_ns
        self._end_ns = end_ns
        self._next_ns = START_NS + every_ns
        self._trade_id = 0

    def next_time(self) -> int | None:
        over = self._end_ns is not None and self._next_ns > self._end_ns
        return None if over else self._next_ns

    def advance(self, to_ns: int) -> None:
        while (due := self.next_time()) is not None and due <= to_ns:
            self._trade_id += 1
            ms = due // MS
            trade = {"e": "trade", "E": ms, "s": "BTCUSDT", "t": self._trade_id, "p": "100.00000000", "q": "1.00000000"}
            self.publish("btcusdt@trade", {**trade, "T": ms, "m": True, "M": True})
            self.now_ns = due
            self._next_ns += self._every_ns
        self.now_ns = to_ns

    def exchange_info(self, symbols: list[str] | None = None) -> dict[str, Any]:
        return {"timezone": "UTC", "symbols": [{"symbol": name} for name in symbols or ["BTCUSDT"]]}

    def depth(self, symbol: str, limit: int) -> dict[str, Any]:
        if symbol != "BTCUSDT":
            raise ApiError(400, -1121, "Invalid symbol.")
        return {"lastUpdateId": 7, "bids": [["99.00000000", "1.00000000"]] * limit, "asks": []}

    def ticker_book(self, symbols: list[str] | None = None) -> Any:
        return [{"symbol": name} for name in symbols or ["BTCUSDT"]]

    def ticker_price(self, symbols: list[str] | None = None) -> Any:
        return [{"symbol": name, "price": "100.00000000"} for name in symbols or ["BTCUSDT"]]

    def avg_price(self, symbol: str) -> dict[str, Any]:
        return {"mins": 5, "price": "100.00000000", "closeTime": self.now_ns // MS}

    def recent_trades(self, symbol: str, limit: int) -> list[dict[str, Any]]:
        return [{"id": number} for number in range(limit)]

    def test_order(self, account: str, params: dict[str, str]) -> dict[str, Any]:
        return {}

    def place(self, account: str, params: dict[str, str]) -> dict[str, Any]:
        client_id = params["newClientOrderId"]
        if client_id in self.orders:
            raise ApiError(400, -2010, "Duplicate order sent.")
        order = {"symbol": params["symbol"], "orderId": len(self.orders) + 1, "clientOrderId": client_id}
        order["transactTime"] = self.now_ns // MS
        self.orders[client_id] = order
        self.placed_at_ns.append(self.now_ns)
        self._report(account, order, "NEW")
        if params.get("type") == "MARKET":
            self._report(account, order, "TRADE")
        return {**order, "status": "FILLED" if params.get("type") == "MARKET" else "NEW"}

    def _report(self, account: str, order: dict[str, Any], execution: str) -> None:
        event = {"e": "executionReport", "E": self.now_ns // MS, "s": order["symbol"], "c": order["clientOrderId"]}
        self.publish_user(account, {**event, "x": execution, "i": order["orderId"], "m": False})

    def cancel(self, account: str, params: dict[str, str]) -> dict[str, Any]:
        if params.get("origClientOrderId") not in self.orders:
            raise ApiError(400, -2011, "Unknown order sent.")
        return {**self.orders.pop(params["origClientOrderId"]), "status": "CANCELED"}

    def cancel_replace(self, account: str, params: dict[str, str]) -> dict[str, Any]:
        data = {"cancelResult": "FAILURE", "newOrderResult": "NOT_ATTEMPTED", "cancelResponse": None, "newOrderResponse": None}
        raise ApiError(400, -2022, "Order cancel-replace failed.", data)

    def amend(self, account: str, params: dict[str, str]) -> dict[str, Any]:
        raise ApiError(400, -2038, "The requested action would change no state; rejecting.")

    def cancel_all(self, account: str, params: dict[str, str]) -> list[dict[str, Any]]:
        cancelled = list(self.orders.values())
        self.orders.clear()
        return cancelled

    def query_order(self, account: str, params: dict[str, str]) -> dict[str, Any]:
        if params.get("origClientOrderId") not in self.orders:
            raise ApiError(400, -2013, "Order does not exist.")
        return self.orders[params["origClientOrderId"]]

    def open_orders(self, account: str, params: dict[str, str]) -> list[dict[str, Any]]:
        return list(self.orders.values())

    def all_orders(self, account: str, params: dict[str, str]) -> list[dict[str, Any]]:
        return list(self.orders.values())

    def my_trades(self, account: str, params: dict[str, str]) -> list[dict[str, Any]]:
        return []

    def account_status(self, account: str, params: dict[str, str]) -> dict[str, Any]:
        raise RuntimeError("a defect inside the exchange")

    def commission(self, account: str, params: dict[str, str]) -> dict[str, Any]:
        return {}

    def order_list(self, what: str, account: str, params: dict[str, str]) -> Any:
        return {}
