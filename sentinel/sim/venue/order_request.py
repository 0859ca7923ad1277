"""Reading an order request: which parameters each order type takes, and the errors of those that do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sentinel.sim.venue.api_error import ApiError, mandatory
from sentinel.sim.venue.filters import client_id_param, decimal_param, enum_param, integer_param, required_decimal
from sentinel.sim.venue.instruments import ORDER_TYPES, STP_MODES
from sentinel.sim.venue.refusals import not_required, rejected
from sentinel.wire import Side

AUTH_PARAMS = frozenset({"apiKey", "timestamp", "recvWindow", "signature", "returnRateLimits"})
PLACE_PARAMS = AUTH_PARAMS | {
    "symbol",
    "side",
    "type",
    "timeInForce",
    "price",
    "quantity",
    "quoteOrderQty",
    "stopPrice",
    "newClientOrderId",
    "newOrderRespType",
    "selfTradePreventionMode",
    "strategyId",
    "strategyType",
    "computeCommissionRates",
}
CANCEL_REPLACE_PARAMS = frozenset(
    {
        "cancelReplaceMode",
        "cancelOrderId",
        "cancelOrigClientOrderId",
        "cancelNewClientOrderId",
        "cancelRestrictions",
        "orderRateLimitExceededMode",
    }
)
UNSUPPORTED_PARAMS = {
    "trailingDelta": "Trailing stop",
    "icebergQty": "Iceberg",
    "pegPriceType": "Pegged",
}
_STOP = (("quantity", "stopPrice"), ("price", "timeInForce", "quoteOrderQty"))
_STOP_LIMIT = (("timeInForce", "quantity", "price", "stopPrice"), ("quoteOrderQty",))
#: type -> (mandatory parameters, parameters it does not take)
_SHAPES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "LIMIT": (("timeInForce", "quantity", "price"), ("quoteOrderQty", "stopPrice")),
    "LIMIT_MAKER": (("quantity", "price"), ("quoteOrderQty", "timeInForce", "stopPrice")),
    "MARKET": ((), ("price", "timeInForce", "stopPrice")),
    "STOP_LOSS": _STOP,
    "TAKE_PROFIT": _STOP,
    "STOP_LOSS_LIMIT": _STOP_LIMIT,
    "TAKE_PROFIT_LIMIT": _STOP_LIMIT,
}


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A well-formed placement; numbers int64 e8, 0 where the type has none."""

    symbol: str
    side: int
    kind: str
    tif: str
    price: int
    qty: int
    quote_qty: int
    client_id: str | None
    response: str
    stp: str
    stop_price: int = 0
    extra: dict[str, int] = field(default_factory=dict)


def symbol_param(params: Mapping[str, str]) -> str:
    """The mandatory symbol. Raises ApiError -1102."""
    symbol = str(params.get("symbol", ""))
    if not symbol:
        raise mandatory("symbol")
    return symbol


def read_order(params: Mapping[str, str], default_stp: str = "EXPIRE_MAKER") -> OrderRequest:
    """Check the shape of an order.place request. Raises ApiError -1100 ... -1117, -1103, -1106, -2010 as the venue does."""
    symbol = symbol_param(params)
    for name, label in UNSUPPORTED_PARAMS.items():
        if name in params:
            raise rejected(f"{label} orders are not supported for this symbol.")
    if not PLACE_PARAMS.issuperset(params):
        raise ApiError(400, -1103, "An unknown parameter was sent.")
    side_text = enum_param(params, "side", ("BUY", "SELL"), -1117, "Invalid side.")
    if side_text is None:
        raise mandatory("side")
    kind = enum_param(params, "type", ORDER_TYPES, -1116, "Invalid orderType.")
    if kind is None:
        raise mandatory("type")
    needed, refused = _SHAPES[kind]
    for name in needed:
        if not params.get(name):
            raise mandatory(name)
    for name in refused:
        if name in params:
            raise not_required(name)
    tif = enum_param(params, "timeInForce", ("GTC", "IOC", "FOK"), -1115, "Invalid timeInForce.") or "GTC"
    qty = quote_qty = price = 0
    if kind == "MARKET":
        if "quantity" in params and "quoteOrderQty" in params:
            raise ApiError(400, -1128, "Combination of optional parameters invalid.")
        quote_qty = decimal_param(params, "quoteOrderQty") or 0
        if not quote_qty:
            qty = required_decimal(params, "quantity")
    else:
        qty = required_decimal(params, "quantity")
        price = required_decimal(params, "price") if "price" in needed else 0
    response = enum_param(
        params, "newOrderRespType", ("ACK", "RESULT", "FULL"), -1130, "Data sent for parameter 'newOrderRespType' is not valid."
    )
    stp = enum_param(
        params,
        "selfTradePreventionMode",
        STP_MODES,
        -1013,
        "This symbol does not allow the specified self-trade prevention mode.",
    )
    extra = {}
    for name in ("strategyId", "strategyType"):
        value = integer_param(params, name)
        if value is not None:
            extra[name] = value
    if extra.get("strategyType", 1_000_000) < 1_000_000:
        raise ApiError(400, -1134, "strategyType was less than 1000000.")
    return OrderRequest(
        symbol=symbol,
        side=int(Side.BUY if side_text == "BUY" else Side.SELL),
        kind=kind,
        tif=tif,
        price=price,
        qty=qty,
        quote_qty=quote_qty,
        client_id=client_id_param(params, "newClientOrderId"),
        response=response or ("ACK" if kind == "LIMIT_MAKER" else "FULL"),
        stp=stp or default_stp,
        stop_price=required_decimal(params, "stopPrice") if "stopPrice" in needed else 0,
        extra=extra,
    )
