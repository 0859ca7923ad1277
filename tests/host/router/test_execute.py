"""An approved plan becomes one order a child; the rest is planned anew at most once and nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from sentinel.errors import ConfigError, JournalError, RouteError
from sentinel.host.router.check import approve
from sentinel.host.router.desk import Settled
from sentinel.host.router.execute import Destination, Fresh, run, send
from sentinel.host.router.live import Reading
from sentinel.host.router.outcome import Outcome
from sentinel.host.router.plan import plan
from sentinel.host.router.records import Levels, Plan, RouteOrder, VenueRules, VenueState
from sentinel.host.router.store import PlacedOrder
from sentinel.units import E8
from sentinel.wire import OrderState, OrderType, Side, TimeInForce
from tests.host.router.venues import levels

RULES = VenueRules(tick=E8 // 100, step=E8 // 1000, min_notional=5 * E8)
BOOKS = {"near": levels((101, 2), (103, 4)), "far": levels((102, 3), (104, 9))}
FILLED, REJECTED, UNKNOWN = OrderState.FILLED, OrderState.REJECTED, OrderState.UNKNOWN


def state(name: str, asks: Levels) -> VenueState:
    return VenueState(name, levels((99, 5)), asks, 10 * E8, 100_000 * E8, RULES, orders_left=2)


def fresh(names: frozenset[str]) -> Fresh:
    return Fresh({name: Reading(state(name, BOOKS[name]), 0, 0) for name in sorted(names)}, {})


class Venue:
    """Ends every order as told: the state of each in turn, and how much of it is filled."""

    def __init__(self, *ends: tuple[OrderState, int]) -> None:
        self.orders: list[tuple[Any, ...]] = []
        self._ends = list(ends)

    async def place(self, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> Settled:
        self.orders.append((symbol, side, order_type, tif, price, qty))
        if not self._ends:
            raise JournalError("route record", "x", "a disk with room", "free some")
        ended, filled = self._ends.pop(0)
        order = PlacedOrder(len(self.orders), symbol, side, order_type, tif, price, qty, 0)
        return Settled(order, Outcome(ended, told_qty=filled * E8, left=True))


def routed(order: RouteOrder, venues: Mapping[str, Venue], replan: bool = True, limit: Any = None) -> Any:
    destinations = {name: Destination(venue, "X") for name, venue in venues.items()}

    async def read(names: frozenset[str]) -> Fresh:
        return fresh(names)

    def check(order: RouteOrder, planned: Plan, readings: Mapping[str, Reading]) -> None:
        if limit is not None:
            limit(order)

    return asyncio.run(run(order, fresh(frozenset(venues)), destinations, read, check, replan))


BUY_6 = RouteOrder(Side.BUY, 6 * E8, 104 * E8)


def test_each_child_is_placed_once_under_its_venues_name() -> None:
    order = RouteOrder(Side.BUY, 18 * E8, 104 * E8)
    states = [state(name, asks) for name, asks in BOOKS.items()]
    near, far = Venue((FILLED, 6)), Venue((FILLED, 12))
    destinations = {"near": Destination(near, "BTCUSDT"), "far": Destination(far, "BTC-USD")}
    legs = asyncio.run(send(approve(order, states, plan(order, states)), destinations))
    assert [(leg.child.venue, leg.filled) for leg in legs] == [("far", 12 * E8), ("near", 6 * E8)]
    limit, ioc = OrderType.LIMIT, TimeInForce.IOC
    assert far.orders == [("BTC-USD", Side.BUY, limit, ioc, 104 * E8, 12 * E8)]
    assert near.orders == [("BTCUSDT", Side.BUY, limit, ioc, 104 * E8, 6 * E8)]


def test_without_somebody_at_every_venue_of_the_plan_nothing_is_sent() -> None:
    order = RouteOrder(Side.BUY, 5 * E8, 104 * E8)
    states = [state(name, asks) for name, asks in BOOKS.items()]
    near = Venue()
    with pytest.raises(RouteError, match="far"):
        asyncio.run(send(approve(order, states, plan(order, states)), {"near": Destination(near, "X")}))
    assert near.orders == []


def test_after_a_refusal_the_rest_goes_elsewhere_once() -> None:
    near, far = Venue((REJECTED, 0)), Venue((FILLED, 3), (FILLED, 3))
    done = routed(BUY_6, {"near": near, "far": far})
    assert (len(near.orders), [row[-1] for row in far.orders]) == (1, [3 * E8, 3 * E8])
    assert (done.shortfall, len(done.plans)) == (0, 2)


def test_an_unknown_order_counts_as_filled_whole() -> None:
    near, far = Venue((UNKNOWN, 0)), Venue((FILLED, 3))
    done = routed(BUY_6, {"near": near, "far": far})
    assert (len(near.orders), len(far.orders)) == (1, 1)
    assert (done.shortfall, sum(leg.filled for leg in done.legs)) == (0, 3 * E8)


def test_a_second_plan_is_the_last() -> None:
    near, far = Venue((OrderState.EXPIRED, 1), (OrderState.EXPIRED, 0)), Venue((OrderState.EXPIRED, 0), (OrderState.EXPIRED, 0))
    done = routed(BUY_6, {"near": near, "far": far})
    assert (len(near.orders), len(far.orders), len(done.plans)) == (2, 2, 2)
    assert done.shortfall == 5 * E8


def test_without_leave_nothing_is_planned_anew() -> None:
    near, far = Venue((REJECTED, 0)), Venue((FILLED, 3))
    done = routed(BUY_6, {"near": near, "far": far}, replan=False)
    assert (len(done.plans), done.shortfall) == (1, 3 * E8)


def test_an_order_that_cannot_be_written_is_told_and_its_venue_takes_no_further_part() -> None:
    near, far = Venue(), Venue((FILLED, 3), (FILLED, 3))
    done = routed(BUY_6, {"near": near, "far": far})
    assert [leg.error != "" for leg in done.legs] == [False, True, False]
    assert (len(near.orders), done.shortfall) == (1, 0)


def test_where_no_venue_is_left_the_rest_is_named() -> None:
    done = routed(BUY_6, {"near": Venue((REJECTED, 0)), "far": Venue((REJECTED, 0))})
    assert "no venue is left" in done.stopped
    assert done.shortfall == 6 * E8


def test_a_limit_stops_the_second_plan_and_what_was_done_is_told() -> None:
    checked: list[int] = []

    def limit(order: RouteOrder) -> None:
        checked.append(order.qty)
        if len(checked) == 2:
            raise RouteError("orders", 2, "at most 1", "wait")

    done = routed(BUY_6, {"near": Venue((REJECTED, 0)), "far": Venue((FILLED, 3))}, limit=limit)
    assert checked == [6 * E8, 3 * E8]
    assert "at most 1" in done.stopped
    assert done.shortfall == 3 * E8


def test_an_order_that_may_rest_is_not_sent() -> None:
    near = Venue()
    with pytest.raises(RouteError, match="--rest"):
        routed(RouteOrder(Side.BUY, E8, 104 * E8, rest=True), {"near": near})
    assert near.orders == []


def test_what_was_sent_is_told_though_the_venues_cannot_be_read_anew() -> None:
    order = RouteOrder(Side.BUY, 5 * E8, 104 * E8)
    venues = {"near": Venue((FILLED, 1)), "far": Venue((FILLED, 1))}

    async def read(names: frozenset[str]) -> Fresh:
        raise ConfigError("feed.symbols", "X", "symbols the venue lists", "correct it")

    destinations = {name: Destination(venue, "X") for name, venue in venues.items()}
    done = asyncio.run(run(order, fresh(frozenset(venues)), destinations, read, lambda *_: None, True))
    assert len(done.legs) == 2
    assert "symbols the venue lists" in done.stopped
