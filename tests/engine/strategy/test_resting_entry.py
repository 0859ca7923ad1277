"""An entry that rests: at the touch, no longer than told, never in the way of an exit, worst case in exposure to its end."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.engine.layout import Setup
from sentinel.units import E8
from sentinel.wire import (
    Command,
    Kind,
    OrderEventKind,
    OrderState,
    OrderType,
    Reason,
    Side,
    SignalCode,
    TimeInForce,
    TradingState,
)
from tests.engine.world import MS, SECOND, World

E = OrderEventKind
REST = 5 * SECOND


def resting(pump: bool = True) -> tuple[World, dict[str, Any]]:
    """A world whose entry has just come to rest."""
    world = World(entry_rest_ns=REST, stale_after_ns=60 * SECOND).start().quiet()
    world.pump(1.2 if pump else 0.8)
    world.retrace(1.13 if pump else 0.87)
    place = world.places()[0]
    world.order(place["client_key"], E.SENT).order(place["client_key"], E.ACKED).run()
    return world, place


def cancels(world: World) -> list[int]:
    return [effect["client_key"] for effect in world.of(Kind.CANCEL)]


def state_of(world: World, place: dict[str, Any]) -> int:
    orders = world.state.orders
    return int(orders["state"][orders["key"] == place["client_key"]][0])


@pytest.mark.parametrize("pump", [True, False])
def test_entry_rests_at_the_best_price_of_its_own_side(pump: bool) -> None:
    _, place = resting(pump)
    assert (place["order_type"], place["tif"]) == (OrderType.LIMIT, TimeInForce.GTC)
    touch = round(1.13 * 1.005 * E8) if pump else round(0.87 * 0.995 * E8)
    away = place["price"] - touch if pump else touch - place["price"]
    assert place["side"] == (Side.SELL if pump else Side.BUY)
    assert 0 <= away < 1_000
    assert place["price"] % 1_000 == 0


def test_without_the_setting_entries_take_at_once() -> None:
    world = World().start()
    assert world.enter()["tif"] == TimeInForce.IOC


def test_entry_that_has_rested_its_time_is_cancelled_and_tried_again() -> None:
    world, place = resting()
    world.wait(REST - 1).tick().run()
    assert cancels(world) == []
    world.wait(1).tick().run()
    assert cancels(world) == [place["client_key"]]
    world.wait(100 * MS).tick().run()
    assert len(cancels(world)) == 1
    assert len(world.places()) == 1
    world.order(place["client_key"], E.CANCELED).run()
    world.wait(SECOND).bbo(1.13, 1.15).run()
    assert [p["tif"] for p in world.places()] == [TimeInForce.GTC] * 2
    assert world.places()[1]["price"] == round(1.15 * E8)


def test_cancel_without_an_answer_is_repeated_until_the_end_is_known() -> None:
    world, place = resting()
    world.wait(REST).tick().run()
    for _ in range(40):
        world.wait(100 * MS).tick().run()
    assert cancels(world) == [place["client_key"]] * 3
    assert int(world.symbol()["open_sell"]) == place["qty"]
    world.order(place["client_key"], E.CANCELED).run()
    assert int(world.symbol()["open_sell"]) == 0
    for _ in range(20):
        world.wait(100 * MS).tick().run()
    assert len(cancels(world)) == 3


def test_resting_entry_counts_whole_until_its_end_is_proven() -> None:
    world, place = resting()
    world.wait(REST).tick().run()
    # The venue will not cancel what it does not have open: it may have been filled.
    world.order(place["client_key"], E.CANCEL_REJECTED, error_code=-2011).run()
    assert state_of(world, place) == OrderState.UNKNOWN
    assert int(world.symbol()["open_sell"]) == place["qty"]
    world.wait(100 * MS).tick().run()
    assert len(world.of(Kind.QUERY)) == 1
    world.fill(place, place["qty"] / E8, place["qty"] / E8, trade_id=7).run()
    assert state_of(world, place) == OrderState.FILLED
    assert (int(world.symbol()["open_sell"]), int(world.symbol()["position"])) == (0, -place["qty"])
    assert int(world.symbol()["setup"]) == Setup.IN_POSITION


def test_fill_after_the_cancel_was_acknowledged_is_held_and_managed() -> None:
    world, place = resting()
    world.wait(REST).tick().run()
    world.order(place["client_key"], E.CANCELED).run()
    half = place["qty"] // 200_000 * 100_000
    world.fill(place, half / E8, half / E8, trade_id=7).run()
    assert (state_of(world, place), int(world.symbol()["position"])) == (OrderState.CANCELED, -half)
    world.retrace(1.0)
    assert [(p["qty"], p["reason"]) for p in world.places()[1:]] == [(half, Reason.EXIT_TAKE_PROFIT)]


def test_stop_loss_of_what_has_filled_cancels_the_rest_first_and_leaves_only_then() -> None:
    world, place = resting()
    half = place["qty"] // 200_000 * 100_000
    world.fill(place, half / E8, half / E8, trade_id=7).run()
    world.wait(SECOND).bbo(1.25, 1.26).trade(1.255).run()
    assert [s["reason"] for s in world.signals(SignalCode.EXIT)] == [Reason.EXIT_STOP_LOSS]
    assert cancels(world) == [place["client_key"]]
    world.wait(SECOND).bbo(1.25, 1.26).trade(1.256).run()
    assert (len(world.places()), len(cancels(world))) == (1, 1)
    more = half + 100_000
    world.fill(place, 0.001, more / E8, trade_id=8).order(place["client_key"], E.CANCELED, cum_qty=more).run()
    world.wait(SECOND).bbo(1.25, 1.26).run()
    cover = world.places()[1]
    assert (cover["tif"], cover["qty"], cover["reason"]) == (TimeInForce.IOC, more, Reason.EXIT_STOP_LOSS)


@pytest.mark.parametrize("trouble", ["halt", "reduce_only", "kill", "stale", "crossed", "recovering", "journal"])
def test_entry_does_not_go_on_resting_where_none_may_be_sent(trouble: str) -> None:
    world, place = resting()
    if trouble == "halt":
        world.control(Command.FEED_STALE, 0)
    elif trouble == "reduce_only":
        world.control(Command.ARM, id=9, value=TradingState.REDUCE_ONLY)
    elif trouble == "kill":
        world.control(Command.KILL)
    elif trouble == "recovering":
        world.control(Command.RECOVERING)
    elif trouble == "journal":
        world.control(Command.JOURNAL_FAULT, value=1)
    elif trouble == "crossed":
        world.bbo(1.2, 1.1)
    else:
        world = World(entry_rest_ns=REST, stale_after_ns=2 * SECOND).start().quiet()
        world.pump()
        world.retrace()
        place = world.places()[0]
        world.order(place["client_key"], E.SENT).order(place["client_key"], E.ACKED).wait(2 * SECOND + 1)
    world.tick().run()
    if trouble == "recovering":
        # In doubt: first the venue says what it is.
        assert cancels(world) == []
        world.order(place["client_key"], E.STATUS, state=OrderState.ACKED).tick().run()
        world.wait(2 * SECOND).tick().run()
    assert cancels(world) == [place["client_key"]]
    assert len(world.places()) == 1


def test_filled_entry_is_never_cancelled() -> None:
    world, place = resting()
    world.fill(place, place["qty"] / E8, place["qty"] / E8, trade_id=7).run()
    world.wait(REST).bbo(1.12, 1.14).tick().run()
    assert cancels(world) == []
    assert int(world.symbol()["setup"]) == Setup.IN_POSITION
