"""What can be asked of the exchange: one table for REST and the WebSocket API.

Weights and security types are those of the venue's reference; ``free`` operations cost their weight
only when they fail.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sentinel.sim.venue.api_error import ApiError, mandatory
from sentinel.sim.venue.exchange_port import ExchangePort, Params
from sentinel.units import NS_PER_MS


@dataclass(frozen=True)
class Operation:
    """``method`` names it in the WebSocket API, ``verb`` and ``path`` in REST."""

    method: str
    verb: str
    path: str
    security: str
    weight: Callable[[Params], int]
    accepts: frozenset[str]
    run: Callable[[ExchangePort, str, Params], Any]
    free: bool = False
    places_order: bool = False
    #: How many orders it places count.
    orders: int = 1


def _fixed(weight: int) -> Callable[[Params], int]:
    return lambda params: weight


def _depth_weight(params: Params) -> int:
    limit = _depth_limit(params)
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250


def _ticker_weight(params: Params) -> int:
    return 2 if "symbol" in params else 4


def _depth_limit(params: Params) -> int:
    return _limit(params, 100, 5000)


def _limit(params: Params, default: int, most: int) -> int:
    text = params.get("limit", str(default))
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise ApiError(400, -1130, "Data sent for parameter 'limit' is not valid.")
    return min(int(text), most)


def _symbol(params: Params) -> str:
    if not params.get("symbol"):
        raise mandatory("symbol")
    return params["symbol"]


def _symbols(params: Params) -> list[str] | None:
    if "symbol" in params and "symbols" in params:
        raise ApiError(400, -1128, "Combination of optional parameters invalid.")
    if "symbol" in params:
        return [params["symbol"]]
    if "symbols" not in params:
        return None
    try:
        names = json.loads(params["symbols"])
    except ValueError:
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ApiError(400, -1135, "JSON sent for parameter 'symbols' is not valid")
    if len(set(names)) != len(names):
        raise ApiError(400, -1151, "Symbol is present multiple times in the list.")
    return names


def _one_or_all(params: Params, tickers: Any) -> Any:
    return tickers[0] if "symbol" in params else tickers


_AUTH = {"apiKey", "signature", "timestamp", "recvWindow"}
_ORDER = frozenset(
    (
        *("symbol", "side", "type", "timeInForce", "price", "quantity", "quoteOrderQty", "newClientOrderId", "newOrderRespType"),
        *("stopPrice", "trailingDelta", "icebergQty", "strategyId", "strategyType", "selfTradePreventionMode"),
        *("pegPriceType", "pegOffsetType", "pegOffsetValue"),
    )
)
_ONE_ORDER = frozenset({"symbol", "orderId", "origClientOrderId"})
_SYMBOLS = frozenset({"symbol", "symbols", "permissions", "symbolStatus", "showPermissionSets"})
_REPLACE = _ORDER | frozenset(
    (
        *("cancelReplaceMode", "cancelOrderId", "cancelOrigClientOrderId", "cancelNewClientOrderId", "cancelRestrictions"),
        "orderRateLimitExceededMode",
    )
)
_NONE: frozenset[str] = frozenset()

_LEG = ("Type", "ClientOrderId", "Price", "StopPrice", "TimeInForce", "StrategyId", "StrategyType")
_LIST = frozenset({"symbol", "listClientOrderId", "newOrderRespType", "selfTradePreventionMode"})
_WORKING = {f"working{name}" for name in (*_LEG, "Side", "Quantity")}
_PENDING = {"pendingSide", "pendingQuantity"}
_OCO = _LIST | {"side", "quantity"} | {f"{leg}{name}" for leg in ("above", "below") for name in _LEG}
_OTO = _LIST | _WORKING | _PENDING | {f"pending{name}" for name in _LEG}
_OTOCO = _LIST | _WORKING | _PENDING | {f"pending{leg}{name}" for leg in ("Above", "Below") for name in _LEG}


def _list_placement(kind: str, accepts: frozenset[str], orders: int) -> Operation:
    return Operation(
        f"orderList.place.{kind}",
        "POST",
        f"/api/v3/orderList/{kind}",
        "TRADE",
        _fixed(1),
        accepts,
        lambda exchange, account, params: exchange.order_list(kind, account, params),
        free=True,
        places_order=True,
        orders=orders,
    )


#: Answered from the gateway's counters, not by the exchange.
ORDER_COUNTS = "account.rateLimits.orders"
_RANGE = frozenset({"symbol", "orderId", "startTime", "endTime", "limit"})

OPERATIONS: tuple[Operation, ...] = (
    Operation("ping", "GET", "/api/v3/ping", "NONE", _fixed(1), _NONE, lambda exchange, account, params: {}),
    Operation(
        "time",
        "GET",
        "/api/v3/time",
        "NONE",
        _fixed(1),
        _NONE,
        lambda exchange, account, params: {"serverTime": exchange.now_ns // NS_PER_MS},
    ),
    Operation(
        "exchangeInfo",
        "GET",
        "/api/v3/exchangeInfo",
        "NONE",
        _fixed(20),
        _SYMBOLS,
        lambda exchange, account, params: exchange.exchange_info(_symbols(params)),
    ),
    Operation(
        "depth",
        "GET",
        "/api/v3/depth",
        "NONE",
        _depth_weight,
        frozenset({"symbol", "limit"}),
        lambda exchange, account, params: exchange.depth(_symbol(params), _depth_limit(params)),
    ),
    Operation(
        "trades.recent",
        "GET",
        "/api/v3/trades",
        "NONE",
        _fixed(25),
        frozenset({"symbol", "limit"}),
        lambda exchange, account, params: exchange.recent_trades(_symbol(params), _limit(params, 500, 1000)),
    ),
    Operation(
        "avgPrice",
        "GET",
        "/api/v3/avgPrice",
        "NONE",
        _fixed(2),
        frozenset({"symbol"}),
        lambda exchange, account, params: exchange.avg_price(_symbol(params)),
    ),
    Operation(
        "ticker.price",
        "GET",
        "/api/v3/ticker/price",
        "NONE",
        _ticker_weight,
        _SYMBOLS,
        lambda exchange, account, params: _one_or_all(params, exchange.ticker_price(_symbols(params))),
    ),
    Operation(
        "ticker.book",
        "GET",
        "/api/v3/ticker/bookTicker",
        "NONE",
        _ticker_weight,
        _SYMBOLS,
        lambda exchange, account, params: _one_or_all(params, exchange.ticker_book(_symbols(params))),
    ),
    Operation(
        "order.place",
        "POST",
        "/api/v3/order",
        "TRADE",
        _fixed(1),
        _ORDER,
        lambda exchange, account, params: exchange.place(account, params),
        free=True,
        places_order=True,
    ),
    Operation(
        "order.test",
        "POST",
        "/api/v3/order/test",
        "TRADE",
        lambda params: 20 if params.get("computeCommissionRates") == "true" else 1,
        _ORDER | {"computeCommissionRates"},
        lambda exchange, account, params: exchange.test_order(account, params),
    ),
    Operation(
        "order.cancel",
        "DELETE",
        "/api/v3/order",
        "TRADE",
        _fixed(1),
        _ONE_ORDER | {"newClientOrderId", "cancelRestrictions"},
        lambda exchange, account, params: exchange.cancel(account, params),
        free=True,
    ),
    Operation(
        "order.cancelReplace",
        "POST",
        "/api/v3/order/cancelReplace",
        "TRADE",
        _fixed(1),
        _REPLACE,
        lambda exchange, account, params: exchange.cancel_replace(account, params),
        free=True,
        places_order=True,
    ),
    Operation(
        "order.amend.keepPriority",
        "PUT",
        "/api/v3/order/amend/keepPriority",
        "TRADE",
        _fixed(4),
        _ONE_ORDER | {"newClientOrderId", "newQty"},
        lambda exchange, account, params: exchange.amend(account, params),
    ),
    Operation(
        "openOrders.cancelAll",
        "DELETE",
        "/api/v3/openOrders",
        "TRADE",
        _fixed(1),
        frozenset({"symbol"}),
        lambda exchange, account, params: exchange.cancel_all(account, params),
        free=True,
    ),
    _list_placement("oco", _OCO, 2),
    _list_placement("oto", _OTO, 2),
    _list_placement("otoco", _OTOCO, 3),
    Operation(
        "orderList.cancel",
        "DELETE",
        "/api/v3/orderList",
        "TRADE",
        _fixed(1),
        frozenset({"symbol", "orderListId", "listClientOrderId", "newClientOrderId"}),
        lambda exchange, account, params: exchange.order_list("cancel", account, params),
        free=True,
    ),
    Operation(
        "orderList.status",
        "GET",
        "/api/v3/orderList",
        "USER_DATA",
        _fixed(4),
        frozenset({"orderListId", "origClientOrderId"}),
        lambda exchange, account, params: exchange.order_list("status", account, params),
    ),
    Operation(
        "openOrderLists.status",
        "GET",
        "/api/v3/openOrderList",
        "USER_DATA",
        _fixed(6),
        _NONE,
        lambda exchange, account, params: exchange.order_list("open", account, params),
    ),
    Operation(
        "order.status",
        "GET",
        "/api/v3/order",
        "USER_DATA",
        _fixed(4),
        _ONE_ORDER,
        lambda exchange, account, params: exchange.query_order(account, params),
    ),
    Operation(
        "openOrders.status",
        "GET",
        "/api/v3/openOrders",
        "USER_DATA",
        lambda params: 6 if "symbol" in params else 80,
        frozenset({"symbol"}),
        lambda exchange, account, params: exchange.open_orders(account, params),
    ),
    Operation(
        "allOrders",
        "GET",
        "/api/v3/allOrders",
        "USER_DATA",
        _fixed(20),
        _RANGE,
        lambda exchange, account, params: exchange.all_orders(account, params),
    ),
    Operation(
        "myTrades",
        "GET",
        "/api/v3/myTrades",
        "USER_DATA",
        lambda params: 5 if "orderId" in params else 20,
        _RANGE | {"fromId"},
        lambda exchange, account, params: exchange.my_trades(account, params),
    ),
    Operation(
        "account.status",
        "GET",
        "/api/v3/account",
        "USER_DATA",
        _fixed(20),
        frozenset({"omitZeroBalances"}),
        lambda exchange, account, params: exchange.account_status(account, params),
    ),
    Operation(
        "account.commission",
        "GET",
        "/api/v3/account/commission",
        "USER_DATA",
        _fixed(20),
        frozenset({"symbol"}),
        lambda exchange, account, params: exchange.commission(account, params),
    ),
    Operation(
        ORDER_COUNTS,
        "GET",
        "/api/v3/rateLimit/order",
        "USER_DATA",
        _fixed(40),
        _NONE,
        lambda exchange, account, params: [],
    ),
)

BY_METHOD = {operation.method: operation for operation in OPERATIONS}
BY_ROUTE = {(operation.verb, operation.path): operation for operation in OPERATIONS}


def own_params(operation: Operation, params: Params) -> Params:
    """``params`` without those of authentication. Raises -1104 for a parameter the operation does not read."""
    kept = {name: value for name, value in params.items() if name not in _AUTH and name != "returnRateLimits"}
    unread = [name for name in kept if name not in operation.accepts]
    if unread:
        sent = len(params)
        raise ApiError(
            400,
            -1104,
            f"Not all sent parameters were read; read '{sent - len(unread)}' parameter(s) but was sent '{sent}'.",
        )
    return kept
