"""Scripted markets: what the contrarian strategy arms, enters, leaves and refuses, and why."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.engine.layout import Market, Setup
from sentinel.units import E8, notional
from sentinel.wire import (
    Command,
    FeedStatus,
    IntentFlag,
    Kind,
    OrderEventKind,
    OrderType,
    Reason,
    Refusal,
    Side,
    SignalCode,
    TimeInForce,
    TradingState,
)
from tests.engine.world import MS, SECOND, World

BPS = 10_000


def refusals(world: World, effects: list[dict[str, Any]] | None = None) -> list[int]:
    return [s["reason"] for s in world.signals(SignalCode.REFUSED, effects)]


def test_pump_is_sold_after_the_retrace_and_bought_back_at_the_target() -> None:
    world = World().start().quiet()
    armed = world.pump(1.2)
    assert [s["code"] for s in world.of(Kind.SIGNAL, armed)] == [SignalCode.ANOMALY, SignalCode.ARMED]
    assert world.signals(SignalCode.ARMED, armed)[0]["value"] == E8  # the price before the move
    world.retrace(1.165)
    assert not world.places()  # 17.5 % of the rise given back
    world.retrace(1.16)
    place = world.places()[0]
    assert place["side"] == Side.SELL
    assert place["reason"] == Reason.ENTRY_RETRACE
    assert (place["order_type"], place["tif"]) == (OrderType.LIMIT, TimeInForce.IOC)
    assert place["fair_value"] == E8
    assert place["expected_edge_bps"] > 0
    world.complete(place)
    assert int(world.symbol()["position"]) == -place["qty"]
    world.retrace(1.0)
    cover = world.places()[1]
    assert (cover["side"], cover["qty"], cover["reason"]) == (Side.BUY, place["qty"], Reason.EXIT_TAKE_PROFIT)
    assert cover["flags"] == IntentFlag.REDUCE_ONLY
    world.complete(cover)
    trip = world.signals(SignalCode.ROUND_TRIP)[0]
    earned = place["price"] * place["qty"] // E8 - cover["price"] * cover["qty"] // E8
    assert trip["value"] == earned > 0
    assert (int(world.symbol()["position"]), int(world.symbol()["setup"])) == (0, Setup.NONE)
    assert int(world.symbol()["inventory"]) == 1000 * E8


def test_dump_is_bought_and_sold_again() -> None:
    world = World().start().quiet()
    world.pump(0.8)
    world.retrace(0.85)
    place = world.places()[0]
    assert (place["side"], place["reason"]) == (Side.BUY, Reason.ENTRY_RETRACE)
    assert place["fair_value"] > place["price"]
    world.complete(place)
    world.retrace(0.99)
    cover = world.places()[1]
    assert (cover["side"], cover["qty"], cover["reason"]) == (Side.SELL, place["qty"], Reason.EXIT_TAKE_PROFIT)
    world.complete(cover)
    assert world.signals(SignalCode.ROUND_TRIP)[0]["value"] > 0


def test_limit_price_stays_within_the_slippage_and_on_the_grids() -> None:
    world = World().start().quiet()
    world.pump()
    world.retrace(1.13)
    place = world.places()[0]
    bid = round(1.13 * 0.995 * E8)
    assert place["ref_price"] == bid
    assert bid * (BPS - 50) // BPS <= place["price"] <= bid
    assert place["price"] % 1_000 == 0
    assert place["qty"] % 100_000 == 0


def test_size_is_the_configured_share_of_equity() -> None:
    world = World().start(base=5_000.0).quiet()
    world.pump()
    world.retrace()
    place = world.places()[0]
    equity = 100_000 * E8 + 5_000 * round(1.2 * E8)  # the quote that triggered came before the next trade
    assert 0 <= equity * 200 // BPS - notional(place["price"], place["qty"]) <= notional(place["price"], 100_000) + 1


def test_entry_comes_after_the_wait_even_without_a_retrace() -> None:
    world = World().start().quiet()
    world.pump()
    for _ in range(59):
        world.wait(SECOND).bbo(1.19, 1.21).tick().run()
    assert not world.places()
    world.wait(SECOND).bbo(1.19, 1.21).tick().run()
    assert [p["reason"] for p in world.places()] == [Reason.ENTRY_WAIT]


def test_immediate_entry_sells_into_the_rise() -> None:
    world = World(entry_immediate=1).start().quiet()
    effects = world.pump()
    assert [p["reason"] for p in world.of(Kind.PLACE, effects)] == [Reason.ENTRY_IMMEDIATE]


def test_setup_without_entry_expires() -> None:
    world = World(entry_wait_ns=180 * SECOND).start().quiet()
    world.pump()
    world.wait(180 * SECOND - 1).tick().run()
    assert not world.signals(SignalCode.SETUP_EXPIRED)
    world.wait(1).tick().run()
    assert len(world.signals(SignalCode.SETUP_EXPIRED)) == 1
    assert int(world.symbol()["cooldown_until"]) == world.now + world.spec.cooldown_ns


def test_no_new_setup_during_the_cool_down_and_one_after_it() -> None:
    world = World(cooldown_ns=600 * SECOND, alarm_quiet_ns=60 * SECOND).start().quiet()
    world.pump(1.2)
    world.wait(180 * SECOND).tick().run()
    ended = world.now
    world.quiet(1.0, seconds=100).pump(1.2)
    assert len(world.signals(SignalCode.ARMED)) == 1
    world.now = ended + 600 * SECOND - 120 * SECOND
    world.quiet(1.0, seconds=121).pump(1.2)
    assert len(world.signals(SignalCode.ARMED)) == 2


def test_price_back_where_it_was_offers_no_edge_and_no_entry() -> None:
    world = World().start().quiet()
    world.pump()
    world.retrace(0.99)
    world.wait(70 * SECOND).bbo(0.985, 0.995).tick().run()
    assert not world.places()
    assert not refusals(world)


def test_spot_sell_without_inventory_is_refused_with_the_reason() -> None:
    world = World().start(base=0.0).quiet()
    world.pump()
    world.retrace()
    assert refusals(world) == [Refusal.NO_INVENTORY]
    assert not world.places()
    assert int(world.symbol()["setup"]) == Setup.NONE


def test_futures_sell_needs_no_inventory() -> None:
    world = World(market=Market.USDM).start(base=0.0).quiet()
    world.pump()
    world.retrace()
    assert [p["side"] for p in world.places()] == [Side.SELL]


def test_spot_sell_is_cut_to_the_inventory() -> None:
    world = World().start(base=30.0).quiet()
    world.pump()
    world.retrace()
    assert [p["qty"] for p in world.places()] == [30 * E8]


def test_purchase_beyond_the_cash_is_refused() -> None:
    world = World(size_bps=10_000).start(quote=10.0, base=10_000.0).quiet()
    world.pump(0.9)
    world.retrace(0.93)
    assert refusals(world) == [Refusal.NO_CASH]


def test_too_small_an_account_is_refused() -> None:
    world = World().start(quote=10.0, base=10.0).quiet()
    world.pump()
    world.retrace()
    assert refusals(world) == [Refusal.TOO_SMALL]


def test_instrument_without_filters_is_not_traded() -> None:
    world = World()
    world.control(Command.EPOCH, id=1).control(Command.RECOVERING).control(Command.BASE_BALANCE, 0, value=1000 * E8)
    world.control(Command.QUOTE_BALANCE, value=100_000 * E8).control(Command.RECOVERED).control(Command.ARM, id=1).run()
    world.quiet()
    world.pump()
    world.retrace()
    assert refusals(world) == [Refusal.NOT_TRADING]


def test_stale_quote_waits_and_says_so_once() -> None:
    world = World().start().quiet()
    world.pump()
    for _ in range(5):
        world.wait(6 * SECOND).trade(1.13).run()
    assert refusals(world) == [Refusal.NO_QUOTE]
    world.wait(SECOND).bbo(1.12, 1.14).trade(1.13).run()
    assert len(world.places()) == 1


@pytest.mark.parametrize("interruption", ["disconnected", "stale", "restart"])
def test_no_order_is_priced_from_a_quote_of_before_an_interruption(interruption: str) -> None:
    world = World().start()
    world.enter()
    orders = len(world.places())
    if interruption == "restart":
        world.control(Command.EPOCH, id=2).control(Command.RECOVERING).control(Command.RECOVERED)
    else:
        status = FeedStatus.STALE if interruption == "stale" else FeedStatus.DISCONNECTED
        world.market(Kind.STATUS, 0, qty=status).wait(100 * MS).market(Kind.STATUS, 0, qty=FeedStatus.LIVE)
    arm_epoch = int(world.g["arm_epoch"]) + 1
    world.control(Command.KILL).control(Command.ARM, id=arm_epoch, value=TradingState.REDUCE_ONLY)
    world.trade(1.13, 50.0).tick().run()
    assert len(world.places()) == orders
    world.wait(SECOND).bbo(1.12, 1.14).run()
    assert len(world.places()) == orders + 1


def test_halted_system_detects_but_does_not_trade() -> None:
    world = World().start(arm=False).quiet()
    world.pump()
    world.retrace()
    assert world.signals(SignalCode.ANOMALY)
    assert len(world.signals(SignalCode.RISK_REJECT)) == 1
    assert not world.places()


def test_unfilled_entry_is_tried_again_until_expiry() -> None:
    world = World().start().quiet()
    world.pump()
    world.retrace()
    world.complete(world.places()[0], share=0.0)
    world.wait(SECOND - 1).bbo(1.12, 1.14).run()
    assert len(world.places()) == 1
    world.wait(1).bbo(1.12, 1.14).run()
    assert len(world.places()) == 2
    assert world.places()[0]["client_key"] != world.places()[1]["client_key"]


def test_partial_entry_becomes_the_position() -> None:
    world = World().start()
    place = world.enter(share=0.4)
    position = -int(world.symbol()["position"])
    assert 0 < position < place["qty"]
    world.retrace(1.0)
    assert world.places()[1]["qty"] == position


def test_late_fill_of_an_abandoned_entry_is_managed_to_its_end() -> None:
    world = World(setup_expiry_ns=100 * SECOND).start().quiet()
    world.pump()
    world.retrace()
    place = world.places()[0]
    key = place["client_key"]
    world.order(key, OrderEventKind.SENT).order(key, OrderEventKind.EXPIRED).run()
    world.wait(101 * SECOND).tick().run()
    assert int(world.symbol()["setup"]) == Setup.NONE
    world.fill(place, place["qty"] / E8, place["qty"] / E8, trade_id=1).run()
    assert int(world.symbol()["setup"]) == Setup.IN_POSITION
    world.retrace(1.0)
    assert [p["reason"] for p in world.places()[1:]] == [Reason.EXIT_TAKE_PROFIT]


def with_news(world: World, sentiment: float = 0.3, ttl_ns: int = 600 * SECOND) -> World:
    world.quiet()
    world.control(Command.NEWS, 0, value=round(sentiment * E8), t2=world.now + ttl_ns).run()
    return world


def test_news_without_an_analyst_is_counted_and_takes_the_fast_path() -> None:
    world = with_news(World().start())
    effects = world.pump()
    assert len(world.signals(SignalCode.NEWS_FALLBACK, effects)) == 1
    assert int(world.c["news_fallbacks"]) == 1
    assert world.signals(SignalCode.ARMED, effects)
    assert float(world.state.scratch.vector[2]) == pytest.approx(0.3)


def test_expired_news_is_no_news() -> None:
    world = with_news(World(analyst=1).start(), ttl_ns=SECOND)
    effects = world.pump()
    assert not world.of(Kind.ADVICE_REQUEST, effects)
    assert world.signals(SignalCode.ARMED, effects)


def test_analyst_is_asked_with_a_deadline_and_entry_waits_for_the_answer() -> None:
    world = with_news(World(analyst=1).start())
    request = world.of(Kind.ADVICE_REQUEST, world.pump())[0]
    assert request["deadline"] == world.now + 800 * MS
    assert request["price_delta_e8"] == pytest.approx(0.2 * E8, abs=100)
    world.retrace()
    assert not world.places()
    world.control(Command.ADVICE, id=request["id"], value=1).run()
    assert len(world.places()) == 1


@pytest.mark.control("D9")
def test_analyst_who_advises_against_ends_the_setup() -> None:
    world = with_news(World(analyst=1).start())
    request = world.of(Kind.ADVICE_REQUEST, world.pump())[0]
    world.control(Command.ADVICE, id=request["id"], value=-1).run()
    assert refusals(world) == [Refusal.ADVICE]
    world.retrace()
    assert not world.places()


def test_advice_time_out_falls_back_to_the_fast_path() -> None:
    world = with_news(World(analyst=1).start())
    request = world.of(Kind.ADVICE_REQUEST, world.pump())[0]
    effects = world.control(Command.ADVICE_TIMEOUT, id=request["id"]).run()
    assert world.signals(SignalCode.ARMED, effects)
    world.control(Command.ADVICE, id=request["id"], value=-1).run()
    assert int(world.c["advice_late"]) == 1
    world.retrace()
    assert len(world.places()) == 1


def test_silence_of_the_host_about_an_analyst_does_not_hold_the_setup_for_ever() -> None:
    world = with_news(World(analyst=1).start())
    world.pump()
    world.wait(1799 * MS).tick().run()
    assert not world.signals(SignalCode.ARMED)
    world.wait(MS).tick().run()
    assert world.signals(SignalCode.ARMED)


@pytest.mark.control("D9")
@pytest.mark.parametrize(("value", "value2"), [(2, 0), (-2, 0), (0, E8 + 1)])
def test_impossible_advice_is_ignored(value: int, value2: int) -> None:
    world = with_news(World(analyst=1).start())
    request = world.of(Kind.ADVICE_REQUEST, world.pump())[0]
    world.control(Command.ADVICE, id=request["id"], value=value, value2=value2).run()
    assert int(world.c["bad_input"]) == 1
    assert int(world.symbol()["setup"]) == Setup.AWAIT_ADVICE
