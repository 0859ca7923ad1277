"""The planner: which venue gets how much of an order, and at what limit. Pure, integers only.

It fills as much as the venues' books, filters, balances and limits allow within the limit price; among the ways to do so
it takes the one that costs least after taker fees and expected drift, and between equal ones the quicker venue. Every
child bears the order's limit, rounded into the venue's ticks, so a book that improves meanwhile is still met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sentinel.errors import RouteError
from sentinel.host.router.records import E6, Child, Plan, RouteOrder, VenueState
from sentinel.host.router.split import Offer, split
from sentinel.units import E8, NS_PER_S
from sentinel.wire import OrderType, Side, TimeInForce

_DEARER = "others fill the order as well and cost less, or its lots do not fit"


@dataclass(frozen=True, slots=True)
class _Room:
    """What the filters and balances of a venue allow of an order at ``price``."""

    price: int
    step: int
    low: int
    high: int


def plan(order: RouteOrder, states: Sequence[VenueState]) -> Plan:
    """Plan ``order`` on ``states``. Raises RouteError for two venues of one name.

    The same states in another order give the same plan.
    """
    venues = sorted(states, key=lambda state: state.name)
    if len({state.name for state in venues}) != len(venues):
        raise RouteError("venues", [state.name for state in venues], "names that differ", "give each venue one state")
    rooms: dict[str, _Room] = {}
    unused: dict[str, str] = {}
    for state in venues:
        room = _room(order, state)
        if isinstance(room, str):
            unused[state.name] = room
        else:
            rooms[state.name] = room
    open_venues = [state for state in venues if state.name in rooms]
    taken = split(order.qty, [_offer(order, state, rooms[state.name]) for state in open_venues])
    children = [_taker(order, s, rooms[s.name], qty) for s, qty in zip(open_venues, taken, strict=True) if qty]
    left = order.qty - sum(taken)
    if order.rest and left:
        maker = _maker(order, open_venues, rooms, dict(zip(rooms, taken, strict=True)), left)
        if maker is not None:
            children.append(maker)
            left -= maker.qty
    used = {child.venue for child in children}
    for state in open_venues:
        if state.name not in used:
            unused[state.name] = _DEARER if _levels(order, state, rooms[state.name].price) else "nothing offered within the limit"
    return Plan(order, tuple(children), left, tuple(sorted(unused.items())))


def _room(order: RouteOrder, state: VenueState) -> _Room | str:
    """The room for an order at ``state``, or why there is none."""
    rules, buy = state.rules, order.side == Side.BUY
    if not state.trading:
        return "not trading"
    if state.orders_left < 1:
        return "its limits admit no more orders now"
    tick, step = rules.tick or 1, rules.step or 1
    if buy:
        price = min(order.limit, rules.max_price or order.limit) // tick * tick
    else:
        price = -(-max(order.limit, rules.min_price) // tick) * tick
    if price <= 0 or price < rules.min_price or (rules.max_price and price > rules.max_price):
        return "the limit lies outside its price bounds"
    low = max(rules.min_qty, -(-rules.min_notional * E8 // price), 1)
    highs = [order.qty, _affordable(order, state, price, max(state.taker_fee_e6, 0))]
    if rules.max_qty:
        highs.append(rules.max_qty)
    if rules.max_notional:
        highs.append(rules.max_notional * E8 // price)
    low, high = -(-low // step) * step, min(highs) // step * step
    return _Room(price, step, low, high) if high >= low else "its smallest order is beyond the order, its limits or its balance"


def _affordable(order: RouteOrder, state: VenueState, price: int, fee_e6: int) -> int:
    if order.side == Side.SELL:
        return state.free_base
    return state.free_quote * E8 * E6 // (price * (E6 + fee_e6))


def _levels(order: RouteOrder, state: VenueState, price: int) -> list[tuple[int, int]]:
    """What the book offers at ``price`` or better."""
    if order.side == Side.BUY:
        return [level for level in state.asks if level[0] <= price]
    return [level for level in state.bids if level[0] >= price]


def _offer(order: RouteOrder, state: VenueState, room: _Room) -> Offer:
    drift_e6 = -(-order.drift_e6_per_s * state.latency_ns // NS_PER_S)
    sign = 1 if order.side == Side.BUY else -1
    # Costs of a sale are its proceeds with the sign changed.
    factor = sign * E6 + state.taker_fee_e6 + drift_e6
    levels = tuple((qty, price * factor) for price, qty in _levels(order, state, room.price))
    return Offer(levels, room.step, room.low, room.high, state.latency_ns)


def _taker(order: RouteOrder, state: VenueState, room: _Room, qty: int) -> Child:
    left, value = qty, 0
    for price, available in _levels(order, state, room.price):
        used = min(left, available)
        value += price * used
        left -= used
    return _child(order, state.name, room.price, qty, OrderType.LIMIT, TimeInForce.IOC, value, state.taker_fee_e6)


def _maker(
    order: RouteOrder, states: Sequence[VenueState], rooms: dict[str, _Room], taken: dict[str, int], left: int
) -> Child | None:
    """A child that waits for what is ``left``, where it crosses nothing: the largest, then the lowest fee, then the quickest."""
    found: list[tuple[int, int, int, str, VenueState]] = []
    for state in states:
        room, took = rooms[state.name], taken[state.name]
        depth = sum(qty for _, qty in _levels(order, state, room.price))
        if depth > took or state.orders_left < 1 + (took > 0):
            continue
        fee_e6 = max(state.taker_fee_e6, state.maker_fee_e6, 0)
        most = min(left, room.high, _affordable(order, state, room.price, fee_e6) - took) // room.step * room.step
        if most >= room.low:
            found.append((-most, state.maker_fee_e6, state.latency_ns, state.name, state))
    if not found:
        return None
    most, *_, state = min(found)
    room = rooms[state.name]
    value = room.price * -most
    return _child(order, state.name, room.price, -most, OrderType.LIMIT_MAKER, TimeInForce.GTC, value, state.maker_fee_e6)


def _child(
    order: RouteOrder, venue: str, price: int, qty: int, order_type: OrderType, tif: TimeInForce, value: int, fee_e6: int
) -> Child:
    """``value`` is the expected notional in quote units of 1e-16."""
    notional = -(-value // E8) if order.side == Side.BUY else value // E8
    return Child(venue, price, qty, order_type, tif, notional, -(-value * fee_e6 // (E8 * E6)))
