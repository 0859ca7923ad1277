"""Every control at its boundary, the exact windows against a reference, and the kill latch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs
from numba import njit
from numpy.typing import NDArray

from sentinel.engine import risk
from sentinel.engine.frame import bind, glob, proposal
from sentinel.engine.layout import AMOUNT_CAP, ORDER_NOTIONAL_CAP, PERMIT_WINDOW, LimitField
from sentinel.engine.state import Effects, EngineSpec, EngineState, new_effects, new_state
from sentinel.native import JIT
from sentinel.units import E8, NS_PER_S
from sentinel.wire import (
    Command,
    Control,
    Kind,
    OrderEventKind,
    RecordViews,
    Side,
    SignalCode,
    TradingState,
    empty_slots,
    record_views,
)
from tests.engine.world import SECOND, T0, World


class Desk:
    """State records with one sane order on top of them; tests move one thing at a time."""

    def __init__(self) -> None:
        self.state = new_state(EngineSpec(symbols=1))
        self.g, self.p, self.y = self.state.glob[0], self.state.params[0], self.state.symbols[0]
        self.q = self.state.scratch.proposals[0]
        self.q["side"], self.q["price"], self.q["qty"] = Side.BUY, E8, 100 * E8
        self.g["now"], self.g["trading_state"] = T0, TradingState.ACTIVE
        self.y["bid"], self.y["ask"], self.y["bbo_t"], self.y["trading"] = E8 - 1000, E8, T0, 1
        self.y["last_price"] = E8


@pytest.fixture
def desk() -> Desk:
    return Desk()


def refuses(verdict: Any, control: Control) -> bool:
    assert verdict.control in (0, control)
    return bool(verdict.control == control)


@pytest.mark.control("A1")
def test_kill_state_refuses_everything(desk: Desk) -> None:
    assert not refuses(risk.killed(desk.g), Control.KILLED)
    desk.g["killed"] = 1
    assert refuses(risk.killed(desk.g), Control.KILLED)


@pytest.mark.control("E8")
def test_no_journal_no_order(desk: Desk) -> None:
    assert not refuses(risk.journal(desk.g), Control.JOURNAL)
    desk.g["journal_fault"] = 1
    assert refuses(risk.journal(desk.g), Control.JOURNAL)


@pytest.mark.control("A2")
@pytest.mark.parametrize(
    ("state", "reduce_only", "refused"),
    [
        (TradingState.HALTED, 0, True),
        (TradingState.HALTED, 1, True),
        (TradingState.RECOVERING, 1, True),
        (TradingState.REDUCE_ONLY, 0, True),
        (TradingState.REDUCE_ONLY, 1, False),
        (TradingState.ACTIVE, 0, False),
        (TradingState.ACTIVE, 1, False),
    ],
)
def test_trading_state_lets_through_what_it_allows(desk: Desk, state: int, reduce_only: int, refused: bool) -> None:
    desk.g["trading_state"], desk.q["reduce_only"] = state, reduce_only
    assert refuses(risk.trading_state(desk.g, desk.q), Control.NOT_ACTIVE) == refused


@pytest.mark.control("A5")
@pytest.mark.parametrize("bit", [1, 2, 4, 8])
def test_any_halt_bit_refuses(desk: Desk, bit: int) -> None:
    assert not refuses(risk.symbol_halt(desk.y), Control.SYMBOL_HALTED)
    desk.y["halt"] = bit
    assert refuses(risk.symbol_halt(desk.y), Control.SYMBOL_HALTED)


@pytest.mark.control("A5")
def test_instrument_that_is_not_trading_refuses(desk: Desk) -> None:
    desk.y["trading"] = 0
    assert refuses(risk.symbol_halt(desk.y), Control.SYMBOL_HALTED)


@pytest.mark.control("B1")
@pytest.mark.parametrize(
    ("field", "value", "refused"),
    [
        ("side", 0, True),
        ("side", 3, True),
        ("price", 0, True),
        ("price", -1, True),
        ("price", 1, False),
        ("qty", 0, True),
        ("qty", -1, True),
        ("qty", 1, False),
        ("qty", AMOUNT_CAP, False),
        ("qty", AMOUNT_CAP + 1, True),
    ],
)
def test_order_that_makes_no_sense_is_refused(desk: Desk, field: str, value: int, refused: bool) -> None:
    desk.q[field] = value
    assert refuses(risk.sane_order(desk.q), Control.BAD_INPUT) == refused


@pytest.mark.control("A2")
@pytest.mark.parametrize(
    ("position", "side", "open_same", "qty", "refused"),
    [
        (-10, Side.BUY, 0, 10, False),
        (-10, Side.BUY, 0, 11, True),
        (-10, Side.BUY, 1, 9, False),
        (-10, Side.BUY, 1, 10, True),
        (-10, Side.SELL, 0, 1, True),
        (10, Side.SELL, 0, 10, False),
        (10, Side.SELL, 0, 11, True),
        (0, Side.BUY, 0, 1, True),
    ],
)
def test_reduce_only_never_turns_or_grows_a_position(
    desk: Desk, position: int, side: int, open_same: int, qty: int, refused: bool
) -> None:
    desk.y["position"], desk.q["side"], desk.q["qty"], desk.q["reduce_only"] = position, side, qty, 1
    desk.y["open_buy" if side == Side.BUY else "open_sell"] = open_same
    assert refuses(risk.only_reduces(desk.y, desk.q), Control.POSITION_LIMIT) == refused


@pytest.mark.control("E4")
def test_unknown_order_freezes_its_symbol(desk: Desk) -> None:
    assert not refuses(risk.unknown_order(desk.y), Control.UNKNOWN_ORDER)
    desk.y["unknown"] = 1
    assert refuses(risk.unknown_order(desk.y), Control.UNKNOWN_ORDER)


@pytest.mark.control("B1")
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_quantity_limit_is_inclusive(desk: Desk, over: int) -> None:
    desk.p["max_order_qty"], desk.q["qty"] = 500 * E8, 500 * E8 + over
    assert refuses(risk.max_qty(desk.p, desk.y, desk.q), Control.MAX_QTY) == (over > 0)


@pytest.mark.control("B2")
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_notional_limit_is_inclusive_and_rounds_against_us(desk: Desk, over: int) -> None:
    desk.p["max_order_notional"] = 1000 * E8
    desk.q["price"], desk.q["qty"] = 10 * E8, 100 * E8 + over
    assert refuses(risk.max_notional(desk.p, desk.y, desk.q), Control.MAX_NOTIONAL) == (over > 0)
    desk.q["price"], desk.q["qty"] = 1000 * E8 + 1, E8 - 1
    assert not refuses(risk.max_notional(desk.p, desk.y, desk.q), Control.MAX_NOTIONAL)
    desk.q["price"], desk.q["qty"] = 1000 * E8 + 1, E8
    assert refuses(risk.max_notional(desk.p, desk.y, desk.q), Control.MAX_NOTIONAL)


@pytest.mark.control("B2")
def test_quantity_in_the_wrong_field_cannot_overflow_past_the_notional_limit(desk: Desk) -> None:
    desk.p["max_order_notional"] = (1 << 63) - 1
    desk.q["price"], desk.q["qty"] = 1 << 61, 1 << 61
    verdict = risk.max_notional(desk.p, desk.y, desk.q)
    assert verdict.control == Control.MAX_NOTIONAL
    assert verdict.limit == ORDER_NOTIONAL_CAP


@pytest.mark.control("B5")
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_reference_may_be_as_old_as_the_limit(desk: Desk, over: int) -> None:
    desk.g["now"] = T0 + int(desk.p["stale_after_ns"]) + over
    assert refuses(risk.fresh_reference(desk.g, desk.p, desk.y), Control.STALE_REFERENCE) == (over > 0)


@pytest.mark.control("B5")
@pytest.mark.parametrize(("bid", "ask", "t"), [(0, E8, T0), (E8, 0, T0), (E8, E8, T0), (E8 + 1, E8, T0), (E8 - 1, E8, 0)])
def test_missing_or_crossed_reference_refuses(desk: Desk, bid: int, ask: int, t: int) -> None:
    desk.y["bid"], desk.y["ask"], desk.y["bbo_t"] = bid, ask, t
    assert refuses(risk.fresh_reference(desk.g, desk.p, desk.y), Control.STALE_REFERENCE)


@pytest.mark.control("B3")
@pytest.mark.parametrize(("side", "reference"), [(Side.BUY, "ask"), (Side.SELL, "bid")])
@pytest.mark.parametrize("direction", [-1, 1])
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_collar_holds_on_both_sides_of_the_touch(desk: Desk, side: int, reference: str, direction: int, over: int) -> None:
    desk.p["price_collar_bps"] = 500
    desk.y["bid"], desk.y["ask"] = 20_000_000_000, 20_100_000_000
    touch = int(desk.y[reference])
    desk.q["side"], desk.q["price"] = side, touch + direction * (touch * 500 // 10_000 + over)
    assert refuses(risk.price_collar(desk.p, desk.y, desk.q), Control.PRICE_COLLAR) == (over > 0)


@pytest.mark.control("D7")
@pytest.mark.parametrize("live", [19, 20, 21])
def test_open_orders_are_limited(desk: Desk, live: int) -> None:
    desk.g["live_orders"], desk.p["max_open_orders"] = live, 20
    assert refuses(risk.open_orders(desk.g, desk.p, desk.y, desk.q), Control.OPEN_ORDERS) == (live >= 20)


@pytest.mark.control("D1")
@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_position_limit_counts_position_open_and_asked(desk: Desk, side: int, over: int) -> None:
    desk.p["max_position_notional"] = 600 * E8
    sign = 1 if side == Side.BUY else -1
    desk.y["position"] = sign * 200 * E8
    desk.y["open_buy" if side == Side.BUY else "open_sell"] = 300 * E8
    desk.q["side"], desk.q["qty"] = side, 100 * E8 + over
    assert refuses(risk.position_limit(desk.p, desk.y, desk.q), Control.POSITION_LIMIT) == (over > 0)
    desk.y["position"] = -sign * 200 * E8
    desk.q["qty"] = 300 * E8 + over
    assert refuses(risk.position_limit(desk.p, desk.y, desk.q), Control.POSITION_LIMIT) == (over > 0)


def test_position_is_valued_at_the_higher_of_limit_and_last_price(desk: Desk) -> None:
    desk.p["max_position_notional"] = 150 * E8
    assert not refuses(risk.position_limit(desk.p, desk.y, desk.q), Control.POSITION_LIMIT)
    desk.y["last_price"] = 2 * E8
    assert refuses(risk.position_limit(desk.p, desk.y, desk.q), Control.POSITION_LIMIT)


@pytest.mark.control("D2")
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_gross_exposure_adds_positions_open_orders_and_the_order(desk: Desk, over: int) -> None:
    desk.p["max_gross_notional"] = 1000 * E8
    desk.g["position_value"], asked, waiting = 500 * E8, 100 * E8, 400 * E8 + over
    assert refuses(risk.gross_exposure(desk.g, desk.p, desk.q, asked, waiting), Control.GROSS_EXPOSURE) == (over > 0)
    desk.q["reduce_only"] = 1
    assert not refuses(risk.gross_exposure(desk.g, desk.p, desk.q, asked, waiting), Control.GROSS_EXPOSURE)


def test_a_sale_is_counted_at_the_last_price_not_at_its_lower_limit(desk: Desk) -> None:
    desk.q["side"] = Side.SELL
    assert risk.asked_notional(desk.y, desk.q) == 100 * E8
    desk.y["last_price"] = 2 * E8
    assert risk.asked_notional(desk.y, desk.q) == 200 * E8


def test_an_open_sale_counts_at_the_last_price_too() -> None:
    world = World(slippage_bps=400).start()
    world.quiet()
    world.pump()
    world.retrace()
    (place,) = world.places()
    assert place["side"] == Side.SELL
    # It left on the quote, when the last trade was still the pump's.
    assert place["price"] < world.symbol()["last_price"]
    assert world.g["open_notional"] == place["qty"] * 120_000_000 // E8


@pytest.mark.control("D6")
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_drawdown_trips_at_a_fifth_of_the_peak(desk: Desk, over: int) -> None:
    desk.g["equity_peak"], desk.g["cash"] = 100_000 * E8, 80_000 * E8 - over
    assert refuses(risk.drawdown(desk.g, desk.p), Control.DRAWDOWN) == (over >= 0)


@given(peak=hs.integers(1, 1 << 61), equity=hs.integers(-(1 << 61), 1 << 61), bps=hs.integers(1, 10_000))
def test_drawdown_equals_exact_arithmetic(peak: int, equity: int, bps: int) -> None:
    desk = Desk()
    desk.g["equity_peak"], desk.g["cash"], desk.p["max_drawdown_bps"] = peak, equity, bps
    assert refuses(risk.drawdown(desk.g, desk.p), Control.DRAWDOWN) == ((peak - equity) * 10_000 >= bps * peak and equity < peak)


@njit(**JIT)
def _permits(
    st: EngineState, dec: NDArray[np.int64], inp: RecordViews, out: Effects, times: NDArray[np.int64], rate: bool
) -> NDArray[np.int64]:
    f = bind(st, dec, inp, 0, out)
    g = glob(f)
    allowed = np.zeros(times.shape[0], np.int64)
    for k in range(times.shape[0]):
        g.now = times[k]
        verdict = risk.order_rate(f, proposal(f, 0)) if rate else risk.trades_per_minute(f)
        if verdict.control == 0:
            allowed[k] = 1
            risk.record_permit(f)
    return allowed


def _run_window(times: list[int], limit: int, rate: bool) -> list[int]:
    field: dict[str, Any] = {"max_orders_per_10s" if rate else "max_trades_per_minute": limit}
    state, out = new_state(EngineSpec(symbols=1, **field)), new_effects(64)
    found = _permits(state, np.zeros(4, np.int64), record_views(empty_slots(1)), out, np.array(times, np.int64), rate)
    return [int(v) for v in found]


@pytest.mark.control("C2")
@settings(max_examples=150)
@given(gaps=hs.lists(hs.integers(0, 25 * SECOND), min_size=1, max_size=60), limit=hs.integers(1, 6), rate=hs.booleans())
def test_sliding_window_is_exact(gaps: list[int], limit: int, rate: bool) -> None:
    length = 10 * SECOND if rate else 60 * SECOND
    times = [T0 + int(total) for total in np.cumsum(gaps)]
    kept: list[int] = []
    expected = []
    for t in times:
        fits = sum(1 for k in kept if t - k < length) < limit
        expected.append(int(fits))
        if fits:
            kept.append(t)
    assert _run_window(times, limit, rate) == expected


def test_the_thousand_and_first_trade_within_sixty_seconds_is_refused_and_the_first_after_is_not() -> None:
    burst = [T0 + k for k in range(PERMIT_WINDOW)]
    late = [T0 + 60 * NS_PER_S - 1, T0 + 60 * NS_PER_S, T0 + 60 * NS_PER_S]
    assert _run_window(burst + late, PERMIT_WINDOW, False) == [1] * PERMIT_WINDOW + [0, 1, 0]


def _about_to_sell(**changes: Any) -> World:
    world = World(**changes).start().quiet()
    world.pump()
    return world


@pytest.mark.control("C2")
def test_too_many_trades_trip_the_kill_switch_and_it_cannot_be_armed_while_the_window_is_full() -> None:
    world = _about_to_sell()
    world.state.permits[:] = world.now
    world.g["permit_count"] = PERMIT_WINDOW
    effects = world.retrace()
    assert not world.of(Kind.PLACE, effects)
    assert [s["control"] for s in world.signals(SignalCode.RISK_REJECT, effects)] == [Control.TRADES_PER_MINUTE]
    assert [s["control"] for s in world.signals(SignalCode.KILLED, effects)] == [Control.TRADES_PER_MINUTE]
    assert (int(world.g["killed"]), int(world.g["trading_state"])) == (1, TradingState.HALTED)
    world.control(Command.ARM, id=2).run()
    assert (int(world.g["killed"]), int(world.c["arms_refused"])) == (1, 1)
    world.wait(60 * SECOND).control(Command.ARM, id=2).run()
    assert (int(world.g["killed"]), int(world.g["trading_state"])) == (0, TradingState.ACTIVE)


def test_drawdown_trips_and_arming_needs_the_peak_to_be_set_anew() -> None:
    world = World().start(quote=1_000.0, base=1_000.0).quiet(seconds=10)
    world.wait(SECOND).trade(0.601).run()
    assert int(world.g["killed"]) == 0
    world.wait(SECOND).trade(0.59).run()
    assert (int(world.g["killed"]), int(world.g["kill_cause"])) == (1, Control.DRAWDOWN)
    world.control(Command.ARM, id=2).run()
    assert int(world.g["killed"]) == 1
    world.control(Command.LIMITS, id=LimitField.PEAK_EQUITY, version=3).control(Command.ARM, id=2).run()
    assert (int(world.g["killed"]), int(world.g["trading_state"])) == (0, TradingState.ACTIVE)
    assert int(world.g["limits_version"]) == 3


def test_kill_cancels_what_is_live_and_repeats_until_it_has_ended() -> None:
    world = _about_to_sell()
    world.retrace()
    place = world.places()[-1]
    world.order(place["client_key"], OrderEventKind.SENT).order(place["client_key"], OrderEventKind.ACKED).run()
    cancels = world.of(Kind.CANCEL, world.control(Command.KILL, value=99).run())
    assert [c["client_key"] for c in cancels] == [place["client_key"]]
    assert not world.of(Kind.CANCEL, world.wait(SECOND).tick().run())
    assert world.of(Kind.CANCEL, world.wait(SECOND).tick().run())
    world.order(place["client_key"], OrderEventKind.CANCELED).run()
    assert not world.of(Kind.CANCEL, world.wait(3 * SECOND).tick().run())


def test_a_kill_during_recovery_stays_latched_after_it_and_can_be_armed_then() -> None:
    world = World().start()
    world.control(Command.RECOVERING).control(Command.KILL).run()
    assert world.g["killed"] == 1
    assert world.g["trading_state"] == TradingState.RECOVERING
    world.control(Command.ARM, id=int(world.g["arm_epoch"]) + 1).run()
    assert world.g["killed"] == 1
    world.control(Command.RECOVERED).run()
    assert world.g["trading_state"] == TradingState.HALTED
    world.control(Command.ARM, id=int(world.g["arm_epoch"]) + 1).run()
    assert world.g["trading_state"] == TradingState.ACTIVE


def test_killing_twice_is_killing_once() -> None:
    world = World().start()
    effects = world.control(Command.KILL, value=1).control(Command.KILL, value=2).run()
    assert len(world.signals(SignalCode.KILLED, effects)) == 1
    assert int(world.g["kill_cause"]) == 1


@pytest.mark.parametrize(
    ("changes", "control"),
    [
        ({"max_order_qty": E8}, None),
        ({"max_gross_notional": 100 * E8}, Control.GROSS_EXPOSURE),
        ({"price_collar_bps": 10}, Control.PRICE_COLLAR),
        ({"max_open_orders": 1}, None),
    ],
)
def test_refusal_names_control_observed_and_limit(changes: dict[str, int], control: Control | None) -> None:
    world = _about_to_sell(**changes)
    effects = world.retrace()
    rejects = world.signals(SignalCode.RISK_REJECT, effects)
    if control is None:
        assert not rejects
        assert (len(world.of(Kind.PLACE, effects)) == 1) or world.signals(SignalCode.REFUSED, effects)
    else:
        assert [r["control"] for r in rejects] == [control]
        assert rejects[0]["value"] > 0
        assert rejects[0]["limit"] > 0
        assert not world.of(Kind.PLACE, effects)


def test_order_rate_limit_delays_the_next_entry() -> None:
    world = _about_to_sell(max_orders_per_10s=1)
    world.pump(1.3, symbol=1)
    world.state.order_times[0] = world.now
    world.g["order_head"] = world.g["order_count"] = 1
    effects = world.retrace()
    assert [r["control"] for r in world.signals(SignalCode.RISK_REJECT, effects)] == [Control.ORDER_RATE]
    world.wait(10 * SECOND).bbo(1.12, 1.14).trade(1.13)
    assert world.of(Kind.PLACE, world.run())


@pytest.mark.parametrize("field", sorted(set(LimitField) - {LimitField.RESTRICTED}))
def test_limits_are_changed_by_record_and_nonsense_is_refused(field: LimitField) -> None:
    world = World().start()
    world.control(Command.LIMITS, id=field, value=7, version=2).run()
    assert int(world.g["limits_version"]) == 2
    before = int(world.c["bad_input"])
    world.control(Command.LIMITS, id=field, value=-1, version=3).control(Command.LIMITS, id=999, value=1, version=4).run()
    assert int(world.c["bad_input"]) == before + 2
    assert int(world.g["limits_version"]) == 2


def test_limit_above_what_the_window_can_count_is_refused() -> None:
    world = World().start()
    world.control(Command.LIMITS, id=LimitField.MAX_TRADES_PER_MINUTE, value=PERMIT_WINDOW + 1).run()
    assert int(world.state.params[0]["max_trades_per_minute"]) == PERMIT_WINDOW
