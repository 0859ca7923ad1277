"""Reading a request for an order list: which orders it names, and the errors of pairs that are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sentinel.sim.venue.api_error import ApiError, mandatory
from sentinel.sim.venue.filters import client_id_param, enum_param
from sentinel.sim.venue.order_request import OrderRequest, symbol_param
from sentinel.sim.venue.refusals import rejected

_PAIR_TYPES = ("LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
_NAMES = {
    "Type": "type",
    "ClientOrderId": "newClientOrderId",
    "Price": "price",
    "StopPrice": "stopPrice",
    "TimeInForce": "timeInForce",
    "StrategyId": "strategyId",
    "StrategyType": "strategyType",
}
_SHARED = ("newOrderRespType", "selfTradePreventionMode")


@dataclass(frozen=True, slots=True)
class ListRequest:
    """``legs``: each as the parameters of an order.place, the working order first, above before below."""

    client_id: str | None
    response: str
    has_working: bool
    legs: tuple[dict[str, str], ...]


def read_list(kind: str, params: Mapping[str, str]) -> ListRequest:
    """A well-formed request for an ``oco``, ``oto`` or ``otoco``. Raises ApiError."""
    symbol = symbol_param(params)
    client_id = client_id_param(params, "listClientOrderId")
    response = enum_param(
        params, "newOrderRespType", ("ACK", "RESULT", "FULL"), -1130, "Data sent for parameter 'newOrderRespType' is not valid."
    )
    shared = {"symbol": symbol} | {name: params[name] for name in _SHARED if name in params}
    if kind == "oco":
        pair = {"side": _required(params, "side"), "quantity": _required(params, "quantity")}
        legs = [_leg(params, prefix, shared | pair) for prefix in ("above", "below")]
        _check_sides(str(params["side"]), legs)
        return ListRequest(client_id, response or "RESULT", False, tuple(legs))
    sides = [
        {"side": _required(params, f"{name}Side"), "quantity": _required(params, f"{name}Quantity")}
        for name in ("working", "pending")
    ]
    working = _leg(params, "working", shared | sides[0])
    if working["type"] not in ("LIMIT", "LIMIT_MAKER"):
        raise ApiError(400, -1116, "Invalid orderType.")
    if kind == "oto":
        legs = [_leg(params, "pending", shared | sides[1])]
    else:
        legs = [_leg(params, prefix, shared | sides[1]) for prefix in ("pendingAbove", "pendingBelow")]
        _check_sides(str(params["pendingSide"]), legs)
    return ListRequest(client_id, response or "RESULT", True, (working, *legs))


def _required(params: Mapping[str, str], name: str) -> str:
    if not params.get(name):
        raise mandatory(name)
    return str(params[name])


def _leg(params: Mapping[str, str], prefix: str, shared: Mapping[str, str]) -> dict[str, str]:
    _required(params, f"{prefix}Type")
    return {**shared, **{name: str(params[prefix + part]) for part, name in _NAMES.items() if prefix + part in params}}


def _check_sides(side: str, legs: Sequence[Mapping[str, str]]) -> None:
    """Which order of a pair may be above, which below."""
    above, below = (leg["type"] for leg in legs)
    if above not in _PAIR_TYPES or below not in _PAIR_TYPES:
        raise ApiError(400, -1158, "Order type not supported in OCO.")
    if above == below == "LIMIT_MAKER":
        raise ApiError(400, -1168, "At least one OCO order must be contingent.")
    stop, gain = (above, below) if side == "BUY" else (below, above)
    word, other = ("buy", "above") if side == "BUY" else ("sell", "below")
    if gain.startswith("STOP_LOSS"):
        raise ApiError(400, -1196 if side == "BUY" else -1197, f"A stop loss order in a {word} OCO must be {other}.")
    other = "below" if side == "BUY" else "above"
    if stop.startswith("TAKE_PROFIT"):
        raise ApiError(400, -1198 if side == "BUY" else -1199, f"A take profit order in a {word} OCO must be {other}.")
    if stop == "LIMIT_MAKER":
        raise ApiError(400, -1165 if side == "BUY" else -1166, f"A limit order in a {word} OCO must be {other}.")


def check_pair(requests: Sequence[OrderRequest], last_price: int) -> None:
    """The last price must lie between an OCO's two. Raises ApiError -2010. A symbol that never traded has none."""
    above, below = ((one.price if one.kind == "LIMIT_MAKER" else one.stop_price) for one in requests)
    if above <= below or (last_price and not below < last_price < above):
        raise rejected("The relationship of the prices for the orders is not correct.")
