"""What an account can ask: its balances, its orders and its trades."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sentinel.sim.venue import filters
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.order_desk import OrderDesk
from sentinel.sim.venue.order_request import symbol_param
from sentinel.sim.venue.refusals import invalid_data
from sentinel.units import E8, format_e8

DEFAULT_LIMIT = 500
MAX_LIMIT = 1000


def _limit(params: Mapping[str, str]) -> int:
    limit = filters.integer_param(params, "limit")
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise invalid_data("limit")
    return limit


def _between(items: list[dict[str, Any]], params: Mapping[str, str]) -> list[dict[str, Any]]:
    start, end = filters.integer_param(params, "startTime"), filters.integer_param(params, "endTime")
    if start is not None and end is not None and start > end:
        raise ApiError(400, -1127, "Start time is greater than end time.")
    return [item for item in items if (start is None or item["time"] >= start) and (end is None or item["time"] <= end)]


def open_orders(desk: OrderDesk, account: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
    """openOrders.status: of one symbol, or of all. Raises ApiError -1121."""
    indices = [desk.symbol_index(str(params["symbol"]))] if params.get("symbol") else range(len(desk.open))
    return [order.query() for index in indices for order in desk.open_of(account, index)]


def query_order(desk: OrderDesk, account: str, params: Mapping[str, str]) -> dict[str, Any]:
    """order.status by orderId or origClientOrderId. Raises ApiError -2013 when there is no such order."""
    index = desk.symbol_index(symbol_param(params))
    order = desk.find(account, index, params, "orderId", "origClientOrderId")
    if order is None:
        raise ApiError(400, -2013, "Order does not exist.")
    return order.query()


def all_orders(desk: OrderDesk, account: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
    """allOrders of one symbol, oldest first: the most recent, or those from ``orderId`` on."""
    index = desk.symbol_index(symbol_param(params))
    limit, first = _limit(params), filters.integer_param(params, "orderId")
    orders = [order.query() for (i, _), order in desk.orders.items() if i == index and order.account == account]
    if first is not None:
        return [order for order in orders if order["orderId"] >= first][:limit]
    return _between(orders, params)[-limit:]


def my_trades(desk: OrderDesk, account: str, params: Mapping[str, str]) -> list[dict[str, Any]]:
    """myTrades of one symbol, oldest first: the most recent, those from ``fromId`` on, or those of one ``orderId``.

    Raises ApiError -1128 for ``fromId`` together with times.
    """
    index = desk.symbol_index(symbol_param(params))
    limit = _limit(params)
    first, order_id = filters.integer_param(params, "fromId"), filters.integer_param(params, "orderId")
    trades = desk.account_trades.get((account, index), [])
    if order_id is not None:
        trades = [trade for trade in trades if trade["orderId"] == order_id]
    if first is not None:
        if "startTime" in params or "endTime" in params:
            raise ApiError(400, -1128, "Combination of optional parameters invalid.")
        return [trade for trade in trades if trade["id"] >= first][:limit]
    selected = _between(trades, params)
    return selected[:limit] if "startTime" in params else selected[-limit:]


def account_status(desk: OrderDesk, account: str, params: Mapping[str, str]) -> dict[str, Any]:
    """account.status; ``omitZeroBalances`` "true" leaves empty assets out."""
    owner = desk.ledger.accounts[account]
    omit = str(params.get("omitZeroBalances", "")).lower() == "true"
    basis_points = E8 // 10_000
    return {
        "makerCommission": owner.rates.maker // basis_points,
        "takerCommission": owner.rates.taker // basis_points,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": {
            "maker": format_e8(owner.rates.maker),
            "taker": format_e8(owner.rates.taker),
            "buyer": format_e8(0),
            "seller": format_e8(0),
        },
        "canTrade": True,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": owner.update_ms,
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": format_e8(b.free), "locked": format_e8(b.locked)}
            for asset, b in owner.balances.items()
            if not omit or b.free or b.locked
        ],
        "permissions": ["SPOT"],
        "uid": owner.uid,
    }


def commission(desk: OrderDesk, account: str, params: Mapping[str, str]) -> dict[str, Any]:
    """account/commission of one symbol: the standard part alone."""
    index = desk.symbol_index(symbol_param(params))
    rates = desk.ledger.accounts[account].rates
    none = dict.fromkeys(("maker", "taker", "buyer", "seller"), format_e8(0))
    return {
        "symbol": desk.instruments[index].symbol,
        "standardCommission": none | {"maker": format_e8(rates.maker), "taker": format_e8(rates.taker)},
        "specialCommission": none,
        "taxCommission": none,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": "0.75000000",
        },
    }
