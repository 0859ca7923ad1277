"""How a position is left: why, at which size, never twice at once, and what ends its round trip."""

from __future__ import annotations

from sentinel.engine.layout import LimitField, Market, Setup
from sentinel.units import E8, notional
from sentinel.wire import (
    Command,
    FeeAsset,
    OrderEventKind,
    Reason,
    Refusal,
    SignalCode,
    TradingState,
)
from tests.engine.strategy.test_contrarian import refusals
from tests.engine.world import MS, SECOND, World


def test_stop_loss_leaves_at_three_percent_against_us() -> None:
    world = World().start()
    place = world.enter()
    stop = place["price"] * 103 / 100 / E8
    world.wait(SECOND).bbo(stop - 0.001, stop - 0.0001).trade(stop - 0.0005).run()
    assert len(world.places()) == 1
    world.wait(SECOND).bbo(stop - 0.0001, stop + 0.001).trade(stop + 0.0001).run()
    assert [p["reason"] for p in world.places()[1:]] == [Reason.EXIT_STOP_LOSS]


def test_a_lone_print_outside_the_quote_does_not_trigger_the_stop() -> None:
    world = World().start()
    world.enter()
    world.wait(SECOND).bbo(1.12, 1.13).trade(1.5).run()
    assert len(world.places()) == 1


def test_horizon_leaves_whatever_the_price() -> None:
    world = World(horizon_ns=100 * SECOND).start()
    world.enter()
    world.wait(99 * SECOND).bbo(1.125, 1.135).tick().run()
    assert len(world.places()) == 1
    world.wait(2 * SECOND).bbo(1.125, 1.135).tick().run()
    assert [p["reason"] for p in world.places()[1:]] == [Reason.EXIT_HORIZON]


def test_exit_is_repeated_until_flat_but_never_two_at_once() -> None:
    world = World().start()
    world.enter()
    world.retrace(1.0)
    assert len(world.places()) == 2
    for _ in range(5):
        world.wait(100 * MS).bbo(0.99, 1.0).tick().run()
    assert len(world.places()) == 2
    world.complete(world.places()[1], share=0.5)
    world.wait(SECOND).bbo(0.99, 1.0).tick().run()
    assert len(world.places()) == 3
    assert world.places()[2]["qty"] == -int(world.symbol()["position"])
    world.complete(world.places()[2])
    assert len(world.signals(SignalCode.ROUND_TRIP)) == 1


def test_unknown_exit_blocks_another_until_it_is_resolved() -> None:
    world = World().start()
    world.enter()
    world.retrace(1.0)
    key = world.places()[1]["client_key"]
    world.order(key, OrderEventKind.SENT).order(key, OrderEventKind.AMBIGUOUS).run()
    for _ in range(5):
        world.wait(SECOND).bbo(0.99, 1.0).tick().run()
    assert len(world.places()) == 2
    world.order(key, OrderEventKind.STATUS, state=10).run()
    world.wait(SECOND).bbo(0.99, 1.0).tick().run()
    assert len(world.places()) == 3


def test_rest_too_small_to_trade_is_written_off() -> None:
    world = World().start()
    place = world.enter(commission=0)
    world.retrace(1.0)
    cover = world.places()[1]
    world.complete(cover, share=(cover["qty"] - E8) / cover["qty"])
    assert int(world.symbol()["position"]) == 0
    assert len(world.signals(SignalCode.ROUND_TRIP)) == 1
    assert int(world.symbol()["inventory"]) == 1000 * E8 - E8
    assert place["qty"] == cover["qty"]


def test_a_position_grown_above_the_order_limit_is_left_in_slices() -> None:
    """A short whose price rises is worth more at its stop than one order may be."""
    world = World(market=Market.USDM, max_order_notional=1000 * E8, max_position_notional=1000 * E8, size_bps=5000)
    world.start(base=0).enter()
    short = int(world.symbol()["position"])
    assert short < 0
    for _ in range(4):
        before = len(world.places())
        world.wait(SECOND).bbo(1.299, 1.301).trade(1.3).run()
        if len(world.places()) > before:
            world.complete(world.places()[-1])
    slices = world.places()[1:]
    assert len(slices) == 2
    assert {place["reason"] for place in slices} == {Reason.EXIT_STOP_LOSS}
    assert sum(place["qty"] for place in slices) == -short
    assert all(notional(place["price"], place["qty"], round_up=True) <= 1000 * E8 for place in slices)
    assert int(world.symbol()["position"]) == 0


def test_a_position_our_own_limits_forbid_to_trade_is_kept_not_written_off() -> None:
    world = World().start()
    world.enter()
    held = int(world.symbol()["position"])
    world.control(Command.LIMITS, id=LimitField.MAX_ORDER_QTY, value=0, version=2)
    world.wait(SECOND).bbo(0.999, 1.001).trade(1.0).run()
    assert int(world.symbol()["position"]) == held
    assert refusals(world) == [Refusal.TOO_SMALL]
    world.control(Command.LIMITS, id=LimitField.MAX_ORDER_QTY, value=10**6 * E8, version=3)
    world.wait(SECOND).bbo(0.999, 1.001).trade(1.0).run()
    world.complete(world.places()[-1])
    assert int(world.symbol()["position"]) == 0


def test_after_a_kill_nothing_leaves_and_reduce_only_flattens() -> None:
    world = World().start()
    world.enter()
    world.control(Command.KILL, value=7).run()
    world.retrace(1.0)
    assert len(world.places()) == 1
    world.control(Command.ARM, id=5, value=TradingState.REDUCE_ONLY).bbo(1.125, 1.135).tick().run()
    assert [p["reason"] for p in world.places()[1:]] == [Reason.EXIT_KILL]
    world.complete(world.places()[1])
    world.quiet(1.0, 700)
    world.pump()
    world.retrace()
    assert len(world.places()) == 2


def test_exit_without_cash_waits_for_it() -> None:
    world = World().start()
    world.enter()
    world.control(Command.QUOTE_BALANCE, value=0).run()
    world.control(Command.LIMITS, id=10).control(Command.ARM, id=9).run()
    world.retrace(1.0)
    assert refusals(world) == [Refusal.NO_CASH]
    assert int(world.symbol()["position"]) != 0
    world.control(Command.QUOTE_BALANCE, value=50_000 * E8).run()
    world.wait(SECOND).bbo(0.99, 1.0).tick().run()
    assert len(world.places()) == 2


def test_a_fee_that_comes_after_its_round_trip_leaves_no_rest_that_would_block_the_symbol() -> None:
    world = World().start().quiet()
    world.pump(0.8)
    world.retrace(0.85)
    place = world.places()[0]
    half = place["qty"] // 2 / E8
    world.order(place["client_key"], OrderEventKind.SENT).fill(place, half, place["qty"] / E8, trade_id=2).run()
    world.retrace(0.99)
    world.complete(world.places()[1])
    assert (int(world.symbol()["position"]), int(world.symbol()["setup"])) == (0, Setup.NONE)
    world.fill(place, half, half, trade_id=1, commission=E8, fee_asset=FeeAsset.BASE).run()
    assert (int(world.symbol()["position"]), int(world.symbol()["setup"])) == (0, Setup.NONE)
    assert int(world.symbol()["inventory"]) == 999 * E8
