"""Order lists as the venue takes them: OCO, OTO and OTOCO, and what it says of one.

The orders of a list have consecutive client keys, the first of which names the list too: a list is found by any start of the
program that knows the first key. Cancelling an order of a list cancels the list, and renames all its cancelled orders alike,
so that they are no longer found by their own ids: the list still names them. Source: Binance WebSocket API, order lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sentinel.host.venues.binance_spot.requests import SELF_TRADE
from sentinel.host.venues.order_names import TextNames
from sentinel.units import format_e8_short
from sentinel.wire import Side, TimeInForce

LegKind = Literal["LIMIT", "LIMIT_MAKER", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"]
#: Orders of the longest list.
MOST_ORDERS = 3
_SIDES = {int(Side.BUY): "BUY", int(Side.SELL): "SELL"}
_TIFS = {int(TimeInForce.GTC): "GTC", int(TimeInForce.IOC): "IOC", int(TimeInForce.FOK): "FOK"}
Params = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Leg:
    """One order of a list. ``price`` of those with a limit, ``stop_price`` of those that wait for the last price; int64 e8.

    ``tif`` of LIMIT, STOP_LOSS_LIMIT and TAKE_PROFIT_LIMIT.
    """

    kind: LegKind
    price: int = 0
    stop_price: int = 0
    tif: TimeInForce = TimeInForce.GTC


@dataclass(frozen=True, slots=True)
class Oco:
    """Two orders of one side and quantity, of which the first to trade or to be triggered cancels the other.

    Of a sale ``above`` gains and ``below`` stops the loss; of a purchase the other way round.
    """

    side: Side
    qty: int
    above: Leg
    below: Leg


@dataclass(frozen=True, slots=True)
class Oto:
    """``pending`` is placed once ``working``, LIMIT or LIMIT_MAKER, is filled whole."""

    side: Side
    qty: int
    working: Leg
    pending_side: Side
    pending_qty: int
    pending: Leg


@dataclass(frozen=True, slots=True)
class Otoco:
    """The pair ``above`` and ``below`` is placed once ``working`` is filled whole."""

    side: Side
    qty: int
    working: Leg
    pending_side: Side
    pending_qty: int
    above: Leg
    below: Leg


OrderList = Oco | Oto | Otoco


@dataclass(frozen=True, slots=True)
class VenueList:
    """An order list as the venue describes it. ``keys``: client keys of its orders, None for foreign ones; ``done``: ended.

    ``symbol`` is its index in the run, -1 outside. ``venue_order_ids`` go with ``keys``.
    """

    venue_list_id: int
    client_id: str
    symbol: int
    contingency: str
    done: bool
    keys: tuple[int | None, ...]
    venue_order_ids: tuple[int, ...]


def list_method(wanted: OrderList) -> str:
    return {Oco: "orderList.place.oco", Oto: "orderList.place.oto", Otoco: "orderList.place.otoco"}[type(wanted)]


def list_keys(first_key: int, wanted: OrderList) -> tuple[int, ...]:
    """The orders' client keys: working, above, below, or what there is of them."""
    return tuple(range(first_key, first_key + (3 if isinstance(wanted, Otoco) else 2)))


def list_params(first_key: int, symbol: str, wanted: OrderList, names: TextNames) -> Params | None:
    """The parameters of ``list_method``; None for values that cannot be a list."""
    keys = list_keys(first_key, wanted)
    head: Params = {"symbol": symbol, "listClientOrderId": names.order_list(first_key), "newOrderRespType": "FULL"}
    params: Params | None = head | {"selfTradePreventionMode": SELF_TRADE}
    if isinstance(wanted, Oco):
        legs = [("above", wanted.above), ("below", wanted.below)]
        params = _with_amounts(params, "", wanted.side, wanted.qty)
    else:
        params = _with_amounts(params, "working", wanted.side, wanted.qty)
        params = _with_amounts(params, "pending", wanted.pending_side, wanted.pending_qty)
        legs = [("working", wanted.working)]
        if isinstance(wanted, Oto):
            legs.append(("pending", wanted.pending))
        else:
            legs += [("pendingAbove", wanted.above), ("pendingBelow", wanted.below)]
    for key, (prefix, leg) in zip(keys, legs, strict=True):
        if params is not None:
            params = _with_leg(params, prefix, leg, names.order(key))
    return params


def _with_amounts(params: Params | None, prefix: str, side: int, qty: int) -> Params | None:
    if params is None or side not in _SIDES or qty <= 0:
        return None
    names = ("side", "quantity") if not prefix else (f"{prefix}Side", f"{prefix}Quantity")
    return params | {names[0]: _SIDES[side], names[1]: format_e8_short(qty)}


def _with_leg(params: Params, prefix: str, leg: Leg, text: str) -> Params | None:
    named: Params = {f"{prefix}Type": leg.kind, f"{prefix}ClientOrderId": text}
    limited = leg.kind.startswith("LIMIT") or leg.kind.endswith("_LIMIT")
    if limited:
        named[f"{prefix}Price"] = format_e8_short(leg.price)
    if limited and leg.kind != "LIMIT_MAKER":
        if leg.tif not in _TIFS:
            return None
        named[f"{prefix}TimeInForce"] = _TIFS[leg.tif]
    waits = not leg.kind.startswith("LIMIT")
    if waits:
        named[f"{prefix}StopPrice"] = format_e8_short(leg.stop_price)
    fits = (leg.price > 0) == limited and (leg.stop_price > 0) == waits
    return params | named if fits else None
