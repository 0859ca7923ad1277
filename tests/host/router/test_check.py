"""The check refuses every plan that breaks an invariant, one by one, and plans changed at random."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import RouteError
from sentinel.host.router.check import approve
from sentinel.host.router.plan import plan
from sentinel.host.router.records import E6, Child, Plan, RouteOrder, VenueRules, VenueState
from sentinel.units import E8
from sentinel.wire import OrderType, Side, TimeInForce
from tests.host.router.venues import levels, orders, states

RULES = VenueRules(tick=E8, step=E8, min_price=2 * E8, max_price=20 * E8, min_qty=2 * E8, max_qty=9 * E8, min_notional=10 * E8)
ORDER = RouteOrder(Side.BUY, 12 * E8, 12 * E8, rest=True)
STATES = [
    VenueState("a", levels((9, 5)), levels((11, 3), (12, 4)), 50 * E8, 200 * E8, RULES, 1000, -200, 0, 2),
    VenueState("b", levels((9, 5)), levels((12, 3)), 50 * E8, 100 * E8, RULES, 2000, 100, 0, 1),
]
PLAN = plan(ORDER, STATES)


def changed(number: int, **changes: object) -> Plan:
    children = list(PLAN.children)
    children[number] = replace(children[number], **changes)  # type: ignore[arg-type]
    return replace(PLAN, children=tuple(children), unrouted=ORDER.qty - sum(child.qty for child in children))


def test_the_plan_that_is_changed_here_has_three_children_and_passes() -> None:
    assert [(child.venue, child.order_type, child.qty) for child in PLAN.children] == [
        ("a", OrderType.LIMIT, 7 * E8),
        ("b", OrderType.LIMIT, 3 * E8),
        ("a", OrderType.LIMIT_MAKER, 2 * E8),
    ]
    assert approve(ORDER, STATES, PLAN).plan is PLAN


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (replace(PLAN, order=replace(ORDER, qty=13 * E8)), "order"),
        (replace(PLAN, unrouted=E8), "unrouted"),
        (replace(PLAN, children=PLAN.children[:1]), "unrouted"),
        (changed(0, venue="c"), "one of a, b"),
        (changed(2, qty=3 * E8, notional=36 * E8, fee=-E8 * 72 // 10_000), "at most the order's"),
        (changed(0, qty=0), "positive"),
        (changed(0, qty=-E8), "positive"),
        (changed(0, price=13 * E8), "limit"),
        (changed(0, price=12 * E8 - 1), "multiple"),
        (changed(0, qty=7 * E8 - 1), "multiple"),
        (changed(0, qty=E8), "from"),
        (changed(0, price=11 * E8), "within its price"),
        (changed(0, qty=8 * E8), "within its price"),
        (changed(0, notional=PLAN.children[0].notional - 1), "rounded"),
        (changed(0, fee=PLAN.children[0].fee - 1), "rounded"),
        (changed(0, order_type=OrderType.MARKET), "LIMIT IOC"),
        (changed(0, tif=TimeInForce.GTC), "LIMIT IOC"),
        (changed(1, order_type=OrderType.LIMIT_MAKER, tif=TimeInForce.GTC, fee=36 * E8 // 10_000), "crosses nothing"),
        (changed(2, venue="b", fee=24 * E8 // 10_000), "limits admit"),
    ],
)
def test_a_plan_that_breaks_an_invariant_is_refused(bad: Plan, says: str) -> None:
    with pytest.raises(RouteError, match=says):
        approve(ORDER, STATES, bad)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trading": False}, "does not trade"),
        ({"orders_left": 1}, "limits admit"),
        ({"free_quote": 108 * E8}, "balance"),
        ({"rules": replace(RULES, max_price=11 * E8)}, "price"),
        ({"rules": replace(RULES, min_price=13 * E8)}, "price"),
        ({"rules": replace(RULES, max_qty=6 * E8)}, "qty"),
        ({"rules": replace(RULES, min_notional=25 * E8)}, "notional"),
        ({"rules": replace(RULES, max_notional=80 * E8)}, "notional"),
        ({"asks": levels((11, 3), (12, 3))}, "within its price"),
        ({"asks": levels((10, 3), (12, 4))}, "rounded"),
        ({"asks": levels((11, 3), (12, 5))}, "crosses nothing"),
        ({"taker_fee_e6": 1001}, "rounded"),
    ],
)
def test_a_plan_that_was_right_for_another_state_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(RouteError, match=says):
        approve(ORDER, [replace(STATES[0], **changes), STATES[1]], PLAN)  # type: ignore[arg-type]


def test_a_sale_of_more_than_is_free_is_refused() -> None:
    order = RouteOrder(Side.SELL, 5 * E8, 9 * E8)
    found = plan(order, STATES)
    assert approve(order, STATES, found).plan.unrouted == 0
    poorer = [replace(state, free_base=5 * E8 - 1) for state in STATES]
    with pytest.raises(RouteError, match="balance"):
        approve(order, poorer, found)


def test_a_resting_child_of_an_order_that_may_not_rest_is_refused() -> None:
    order = replace(ORDER, rest=False)
    with pytest.raises(RouteError, match="may not rest"):
        approve(order, STATES, replace(PLAN, order=order))


def test_two_children_of_one_kind_on_a_venue_are_refused() -> None:
    first = PLAN.children[0]
    half = replace(first, qty=3 * E8, notional=33 * E8, fee=33 * E8 // 1000)
    order = RouteOrder(Side.BUY, 6 * E8, 12 * E8)
    with pytest.raises(RouteError, match="one that takes"):
        approve(order, STATES, Plan(order, (half, half), 0))


def harmless(order: RouteOrder, states_: list[VenueState], children: tuple[Child, ...]) -> bool:
    """A second, coarser reading of what no plan may do."""
    if sum(child.qty for child in children) > order.qty:
        return False
    for state in states_:
        mine = [child for child in children if child.venue == state.name]
        spent = sum((Fraction(c.price * c.qty, E8) for c in mine), Fraction(0)) * (1 + Fraction(max(state.taker_fee_e6, 0), E6))
        if order.side == Side.BUY and spent > state.free_quote:
            return False
        if order.side == Side.SELL and sum(child.qty for child in mine) > state.free_base:
            return False
        for child in mine:
            worse = child.price > order.limit if order.side == Side.BUY else child.price < order.limit
            if child.qty <= 0 or worse or (state.rules.step and child.qty % state.rules.step):
                return False
    return True


@settings(max_examples=400, deadline=None)
@given(orders(st.booleans()), states(), st.data())
def test_no_change_of_a_plan_that_passes_can_overspend_or_cross_the_limit(
    order: RouteOrder, among: list[VenueState], data: st.DataObject
) -> None:
    found = plan(order, among)
    if not found.children:
        return
    number = data.draw(st.integers(0, len(found.children) - 1))
    name = data.draw(st.sampled_from(["price", "qty", "venue"]))
    child = found.children[number]
    new: object = data.draw(st.sampled_from([state.name for state in among]))
    if name != "venue":
        new = getattr(child, name) + data.draw(st.sampled_from([-3, -1, 1, 2])) * data.draw(st.sampled_from([1, E8]))
    children = (*found.children[:number], replace(child, **{name: new}), *found.children[number + 1 :])  # type: ignore[arg-type]
    bad = replace(found, children=children, unrouted=order.qty - sum(one.qty for one in children))
    try:
        approve(order, among, bad)
    except RouteError:
        return
    assert harmless(order, among, children)
