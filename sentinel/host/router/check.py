"""The safety check: a plan that breaks an invariant is refused, whoever made it.

Nothing of the planner is used here: every bound is derived again from the order and the venues' states, in fractions.
That the plan is the best one is not checked, only that it can do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from sentinel.errors import RouteError
from sentinel.host.router.records import E6, Child, Plan, RouteOrder, VenueState
from sentinel.units import E8
from sentinel.wire import OrderType, Side, TimeInForce

_KINDS = {(OrderType.LIMIT, TimeInForce.IOC), (OrderType.LIMIT_MAKER, TimeInForce.GTC)}


@dataclass(frozen=True, slots=True)
class ApprovedPlan:
    """A plan that passed; ``approve`` makes it."""

    plan: Plan


def approve(order: RouteOrder, states: Sequence[VenueState], plan: Plan) -> ApprovedPlan:
    """Pass ``plan`` for ``order`` on ``states``. Raises RouteError naming the first invariant it breaks."""
    if plan.order != order:
        _refuse("order", plan.order, f"{order}")
    venues = {state.name: state for state in states}
    if len(venues) != len(states):
        _refuse("venues", [state.name for state in states], "names that differ")
    routed = 0
    for child in plan.children:
        if child.venue not in venues:
            _refuse("venue", child.venue, f"one of {', '.join(sorted(venues))}")
        _check_child(order, venues[child.venue], child)
        routed += child.qty
    if routed > order.qty:
        _refuse("total", routed, f"at most the order's {order.qty}")
    if plan.unrouted != order.qty - routed:
        _refuse("unrouted", plan.unrouted, f"the order less its children, {order.qty - routed}")
    for state in states:
        _check_venue(order, state, [child for child in plan.children if child.venue == state.name])
    return ApprovedPlan(plan)


def _check_child(order: RouteOrder, state: VenueState, child: Child) -> None:
    rules, name = state.rules, f"{child.venue} child"
    if (child.order_type, child.tif) not in _KINDS:
        _refuse(f"{name} kind", (child.order_type, child.tif), "LIMIT IOC or LIMIT_MAKER GTC")
    if child.order_type == OrderType.LIMIT_MAKER and not order.rest:
        _refuse(f"{name} kind", child.order_type, "LIMIT IOC: the order may not rest")
    if child.qty <= 0 or child.price <= 0:
        _refuse(f"{name} price and qty", (child.price, child.qty), "positive numbers")
    if child.price > order.limit if order.side == Side.BUY else child.price < order.limit:
        _refuse(f"{name} price", child.price, f"not beyond the limit {order.limit}")
    value = Fraction(child.price, E8) * Fraction(child.qty, E8)
    bounds = [
        ("price", Fraction(child.price), rules.min_price, rules.max_price),
        ("qty", Fraction(child.qty), rules.min_qty, rules.max_qty),
        ("notional", value * E8, rules.min_notional, rules.max_notional),
    ]
    for what, number, least, most in bounds:
        if number < least or (most and number > most):
            _refuse(f"{name} {what}", str(number), f"from {least} to {most or 'any'}")
    for what, whole, unit in (("price", child.price, rules.tick), ("qty", child.qty, rules.step)):
        if unit and whole % unit:
            _refuse(f"{name} {what}", whole, f"a multiple of {unit}")
    _check_expectation(order, state, child)


def _check_expectation(order: RouteOrder, state: VenueState, child: Child) -> None:
    """A taker must find all of its quantity in the book, and what the plan promises must not be too good."""
    value, fee_e6 = Fraction(child.price * child.qty, E8), state.maker_fee_e6
    if child.order_type == OrderType.LIMIT:
        fee_e6, value, left = state.taker_fee_e6, Fraction(0), child.qty
        for price, qty in state.asks if order.side == Side.BUY else state.bids:
            if price > child.price if order.side == Side.BUY else price < child.price:
                break
            value += Fraction(price * min(left, qty), E8)
            left -= min(left, qty)
        if left:
            _refuse(f"{child.venue} child qty", child.qty, f"at most the book's {child.qty - left} within its price")
    fee = value * fee_e6 / E6
    honest = value <= child.notional < value + 1 if order.side == Side.BUY else value - 1 < child.notional <= value
    if not honest or not fee <= child.fee < fee + 1:
        _refuse(f"{child.venue} child notional and fee", (child.notional, child.fee), f"{float(value)} and {float(fee)}, rounded")


def _check_venue(order: RouteOrder, state: VenueState, children: list[Child]) -> None:
    if not children:
        return
    if not state.trading:
        _refuse(f"{state.name} children", len(children), "none: it does not trade")
    if len(children) > state.orders_left:
        _refuse(f"{state.name} children", len(children), f"at most {state.orders_left}, what its limits admit")
    if len({child.order_type for child in children}) != len(children):
        _refuse(f"{state.name} children", len(children), "one that takes and one that waits")
    if order.side == Side.SELL:
        need, free = Fraction(sum(child.qty for child in children)), state.free_base
    else:
        dearest = max(state.taker_fee_e6, 0), max(state.taker_fee_e6, state.maker_fee_e6, 0)
        need, free = Fraction(0), state.free_quote
        for child in children:
            fee_e6 = dearest[child.order_type == OrderType.LIMIT_MAKER]
            need += Fraction(child.price * child.qty, E8) * Fraction(E6 + fee_e6, E6)
    if need > free:
        _refuse(f"{state.name} balance needed", float(need), f"at most the free {free}")
    for child in children:
        if child.order_type == OrderType.LIMIT_MAKER:
            _check_waits(order, state, child, sum(other.qty for other in children if other is not child))


def _check_waits(order: RouteOrder, state: VenueState, child: Child, taken: int) -> None:
    """A child that is to wait must not find anybody to trade with once the other has taken its part."""
    if order.side == Side.BUY:
        offered = sum(qty for price, qty in state.asks if price <= child.price)
    else:
        offered = sum(qty for price, qty in state.bids if price >= child.price)
    if offered > taken:
        _refuse(f"{state.name} waiting child price", child.price, "one that crosses nothing")


def _refuse(field: str, value: object, allowed: str) -> None:
    raise RouteError(f"plan: {field}", value, allowed, "plan again from new states; if it recurs this is a defect")
