"""The plan is the best there is, passes the independent check, and does not depend on the order of its inputs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.errors import RouteError
from sentinel.host.router.check import approve
from sentinel.host.router.plan import plan
from sentinel.host.router.records import Plan, RouteOrder, VenueRules, VenueState
from sentinel.units import E8
from sentinel.wire import OrderType, Side
from tests.host.router.venues import best, levels, orders, states, true_cost


def taken_at(found: Plan, venue: str) -> int:
    return sum(child.qty for child in found.children if child.venue == venue and child.order_type == OrderType.LIMIT)


def value(order: RouteOrder, among: list[VenueState], found: Plan) -> tuple[int, Fraction]:
    taken = [taken_at(found, state.name) for state in among]
    return -sum(taken), sum((true_cost(order, s, q) for s, q in zip(among, taken, strict=True)), Fraction(0))


@settings(max_examples=400, deadline=None)
@given(orders(), states())
def test_no_other_plan_fills_more_or_the_same_for_less(order: RouteOrder, among: list[VenueState]) -> None:
    assert value(order, among, plan(order, among)) == best(order, among)


@settings(max_examples=400, deadline=None)
@given(orders(st.booleans()), states(4, (1, 2, 3)))
def test_every_plan_passes_the_check_and_loses_nothing(order: RouteOrder, among: list[VenueState]) -> None:
    found = plan(order, among)
    approve(order, among, found)
    assert sum(child.qty for child in found.children) + found.unrouted == order.qty
    assert {child.venue for child in found.children} | dict(found.unused).keys() == {state.name for state in among}


@settings(max_examples=200, deadline=None)
@given(orders(st.booleans()), states(4), st.randoms(use_true_random=False))
def test_the_same_states_in_any_order_give_the_same_plan(order: RouteOrder, among: list[VenueState], random: object) -> None:
    shuffled = list(among)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert plan(order, shuffled) == plan(order, among)


@settings(max_examples=300, deadline=None)
@given(orders(), states(), st.integers(0, 2), st.sampled_from([1, 400, 30_000]))
def test_a_dearer_fee_never_brings_a_venue_more(order: RouteOrder, among: list[VenueState], which: int, more_e6: int) -> None:
    before = among[which % len(among)]
    dearer = [replace(s, taker_fee_e6=s.taker_fee_e6 + more_e6) if s is before else s for s in among]
    cheap, dear = plan(order, among), plan(order, dearer)
    assert taken_at(dear, before.name) <= taken_at(cheap, before.name)
    assert value(order, dearer, dear) >= value(order, among, cheap)


def venue(name: str, **changes: object) -> VenueState:
    plain = VenueState(name, levels((9, 5), (8, 5)), levels((11, 5), (12, 5)), 100 * E8, 10_000 * E8)
    return replace(plain, **changes)  # type: ignore[arg-type]


def buy(qty: int, limit: int = 12, **changes: object) -> RouteOrder:
    return replace(RouteOrder(Side.BUY, qty * E8, limit * E8), **changes)  # type: ignore[arg-type]


def test_depth_is_taken_across_venues_by_price_after_fees() -> None:
    found = plan(buy(12), [venue("a"), venue("b", taker_fee_e6=1000)])
    assert [(child.venue, child.qty) for child in found.children] == [("a", 7 * E8), ("b", 5 * E8)]
    assert (found.children[0].notional, found.children[0].fee) == (79 * E8, 0)
    assert (found.children[1].notional, found.children[1].fee) == (55 * E8, 55 * E8 // 1000)


def test_a_slow_venue_is_dearer_by_the_drift_it_is_exposed_to() -> None:
    slow, dear = venue("slow", latency_ns=500_000_000), venue("dear", taker_fee_e6=1000)
    assert [child.venue for child in plan(buy(5), [slow, dear]).children] == ["slow"]
    assert [child.venue for child in plan(buy(5, drift_e6_per_s=4000), [slow, dear]).children] == ["dear"]


def test_what_cannot_be_had_at_once_rests_where_making_is_cheapest() -> None:
    among = [venue("a", orders_left=2, maker_fee_e6=500), venue("b", orders_left=2, maker_fee_e6=-100)]
    found = plan(buy(25, rest=True), among)
    resting = [child for child in found.children if child.order_type == OrderType.LIMIT_MAKER]
    assert [(child.venue, child.qty, child.price) for child in resting] == [("b", 5 * E8, 12 * E8)]
    assert (found.unrouted, plan(buy(25), among).unrouted) == (0, 5 * E8)


def test_what_rests_is_paid_from_what_the_other_child_leaves() -> None:
    found = plan(buy(15, rest=True), [venue("a", orders_left=2, free_quote=150 * E8)])
    # Ten at the limit of 12 leave 30 for the rest.
    assert [child.qty for child in found.children] == [10 * E8, 25 * E8 // 10]
    assert found.unrouted == 25 * E8 // 10


def test_nothing_rests_where_it_would_cross_or_where_no_second_order_is_admitted() -> None:
    crossing = venue("a", orders_left=2, rules=VenueRules(max_qty=4 * E8))
    found = plan(buy(9, rest=True), [crossing])
    assert ([child.order_type for child in found.children], found.unrouted) == ([OrderType.LIMIT], 5 * E8)
    found = plan(buy(15, rest=True), [venue("a", orders_left=1)])
    assert ([child.order_type for child in found.children], found.unrouted) == ([OrderType.LIMIT], 5 * E8)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"trading": False}, "not trading"),
        ({"orders_left": 0}, "admit no more"),
        ({"rules": VenueRules(min_price=13 * E8)}, "price bounds"),
        ({"rules": VenueRules(min_notional=61 * E8)}, "smallest order"),
        ({"free_quote": 0}, "smallest order"),
        ({"asks": levels((13, 5))}, "nothing offered"),
        ({"asks": levels((12, 5))}, "cost less"),
    ],
)
def test_an_unused_venue_says_why(changes: dict[str, object], why: str) -> None:
    assert why in dict(plan(buy(5), [venue("a"), venue("b", **changes)]).unused)["b"]


def test_two_states_of_one_venue_are_refused() -> None:
    with pytest.raises(RouteError, match="differ"):
        plan(buy(1), [venue("a"), venue("a")])


@pytest.mark.parametrize(
    "changes",
    [
        {"asks": levels((12, 5), (11, 5))},
        {"asks": levels((11, 5), (11, 5))},
        {"asks": ((11 * E8, 0),)},
        {"bids": levels((11, 1))},
        {"taker_fee_e6": 100_001},
        {"free_quote": -1},
        {"latency_ns": 0.5},
        {"orders_left": True},
    ],
)
def test_a_state_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RouteError):
        venue("a", **changes)


@pytest.mark.parametrize("changes", [{"qty": 0}, {"limit": 0}, {"side": Side.NONE}, {"drift_e6_per_s": -1}, {"qty": 1.5}])
def test_an_order_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RouteError):
        replace(buy(1), **changes)  # type: ignore[arg-type]
