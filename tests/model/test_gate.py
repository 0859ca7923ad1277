"""The integer reference of the gate against its page: each control at its edge, and what a stream of beats may never do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.model.gate import (
    AMOUNT_MAX,
    Cause,
    GateLimits,
    GateModel,
    GateVerdict,
    SymbolLimits,
    drawdown_reached,
    loss_reached,
    outside_collar,
)
from sentinel.units import BPS
from sentinel.wide_money import product_less_nb
from sentinel.wire import (
    EQUITY_BEAT,
    HEARTBEAT_BEAT,
    ORDER_BEAT,
    ORDER_EVENT_BEAT,
    REFERENCE_BEAT,
    BeatKind,
    Control,
    ExposureEvent,
    Side,
    Verdict,
)

MINUTE = 15_000_000_000
LIMITS = GateLimits(
    version=4,
    max_order_notional=1000 * 50,
    max_gross_notional=1000 * 120,
    collar_bps=100,
    max_drawdown_bps=2000,
    max_daily_loss=300,
    reference_max_age=500,
    heartbeat_max_age=100,
    equity_max_age=200,
    duplicate_window=10,
    window=MINUTE,
    permits_per_window=1000,
    reject_trip=0,
)
ROW = SymbolLimits(True, 60, 100)
WIDE = SymbolLimits(True, AMOUNT_MAX, AMOUNT_MAX)


def make(dtype: Any, kind: BeatKind, **values: int) -> bytes:
    beat = np.zeros(1, dtype)
    beat["kind"] = kind
    for name, value in values.items():
        beat[name] = value
    return bytes(beat.tobytes())


class Gate:
    """A gate with one symbol quoted 999 / 1000 at time 0, and orders that pass unless a test bends them."""

    def __init__(self, limits: GateLimits = LIMITS, row: SymbolLimits = ROW) -> None:
        self.model, self.key = GateModel(limits), 0
        self.model.set_symbol(0, row)
        self.reference(999, 1000)

    def reference(self, bid: int, ask: int, now: int = 0) -> None:
        self.model.beat(make(REFERENCE_BEAT, BeatKind.REFERENCE_PRICE, bid=bid, ask=ask), now, False)

    def equity(self, equity: int, day_start: int = 1000, now: int = 0) -> None:
        self.model.beat(make(EQUITY_BEAT, BeatKind.EQUITY, equity=equity, day_start=day_start), now, False)

    def event(self, event: int, side: int, qty: int, price: int = 1000) -> None:
        self.model.beat(make(ORDER_EVENT_BEAT, BeatKind.ORDER_EVENT, event=event, side=side, qty=qty, price=price), 0, False)

    def order(self, now: int = 0, closed: int = 0, **bent: int) -> GateVerdict:
        self.key += 1
        values = {"price": 1000, "qty": 10, "side": int(Side.BUY), "client_key": self.key, "arm_epoch": self.model.arm_epoch}
        values |= {"limits_version": self.model.limits.version, **bent}
        verdict = self.model.beat(make(ORDER_BEAT, BeatKind.ORDER, **values), now, bool(closed))
        assert verdict is not None
        return verdict

    def control(self, now: int = 0, closed: int = 0, **bent: int) -> int:
        return self.order(now, closed, **bent).control


@pytest.mark.parametrize(
    ("bent", "control"),
    [
        ({}, 0),
        ({"side": 0}, Control.BAD_INPUT),
        ({"side": 3}, Control.BAD_INPUT),
        ({"price": 0}, Control.BAD_INPUT),
        ({"price": -1}, Control.BAD_INPUT),
        ({"qty": 0}, Control.BAD_INPUT),
        ({"qty": AMOUNT_MAX + 1}, Control.BAD_INPUT),
        ({"flags": 2}, Control.BAD_INPUT),
        ({"flags": 3}, Control.BAD_INPUT),
        ({"arm_epoch": 2}, Control.ARM_EPOCH),
        ({"limits_version": 3}, Control.LIMITS_VERSION),
        ({"symbol": 1}, Control.SYMBOL_HALTED),
        ({"client_key": 0}, 0),
        ({"qty": 50}, 0),
        ({"qty": 51}, Control.MAX_NOTIONAL),
        ({"qty": 60, "price": 833}, Control.PRICE_COLLAR),
        ({"qty": 61, "price": 1}, Control.MAX_QTY),
        ({"price": 1010}, 0),
        ({"price": 1011}, Control.PRICE_COLLAR),
        ({"price": 990}, 0),
        ({"price": 989}, Control.PRICE_COLLAR),
        ({"side": Side.SELL, "price": 1008}, 0),
        ({"side": Side.SELL, "price": 1009}, Control.PRICE_COLLAR),
        ({"side": Side.SELL, "price": 990}, 0),
        ({"side": Side.SELL, "price": 989}, Control.PRICE_COLLAR),
        ({"flags": 1}, Control.POSITION_LIMIT),
    ],
)
def test_order_is_refused_exactly_from_its_limit_on(bent: dict[str, int], control: int) -> None:
    verdict = Gate().order(**bent)
    assert verdict.control == control
    assert verdict.verdict == (Verdict.REJECT if control else Verdict.PERMIT)


def test_closed_switch_precedes_every_other_control() -> None:
    assert Gate().control(closed=True, side=0) == Control.KILLED


def test_reference_goes_stale_and_must_be_a_two_sided_uncrossed_quote() -> None:
    gate = Gate()
    assert gate.control(now=500) == 0
    assert gate.control(now=501, qty=9) == Control.STALE_REFERENCE
    for bid, ask in ((1000, 1000), (0, 1000), (-5, 1000), (1000, 0)):
        gate.reference(bid, ask, 600)
        assert gate.control(now=600, qty=9) == Control.STALE_REFERENCE
    gate.reference(999, AMOUNT_MAX + 1, 601)
    assert Cause.BEAT_FAULT in gate.model.causes


def test_same_order_again_and_an_old_key_are_duplicates() -> None:
    gate = Gate()
    assert gate.control(now=5) == 0
    assert gate.control(now=14) == Control.DUPLICATE
    assert gate.control(now=15) == 0
    assert gate.control(now=40, client_key=3) == Control.DUPLICATE
    gate.model.arm(2)
    assert gate.control(now=60, client_key=1) == 0


def test_position_counts_open_orders_of_its_side_and_nothing_held_against_it() -> None:
    gate = Gate(replace(LIMITS, max_gross_notional=1 << 60))
    assert gate.control(qty=50) == 0
    assert gate.control(qty=51, price=990) == Control.MAX_NOTIONAL
    assert gate.control(qty=49) == 0
    assert gate.control(qty=2) == Control.POSITION_LIMIT
    assert gate.control(qty=1) == 0
    gate.event(ExposureEvent.FILL, Side.BUY, 40)
    assert gate.control(qty=1, price=999) == Control.POSITION_LIMIT
    gate.event(ExposureEvent.RELEASE, Side.BUY, 10)
    assert gate.control(qty=11, price=999) == Control.POSITION_LIMIT
    assert gate.control(qty=10, price=999) == 0
    assert gate.control(side=Side.SELL, qty=50) == 0


def test_reduce_only_order_is_against_the_position_and_not_beyond_it() -> None:
    gate = Gate()
    gate.event(ExposureEvent.ADJUST, Side.BUY, 30)
    assert gate.control(side=Side.SELL, flags=1, qty=31) == Control.POSITION_LIMIT
    assert gate.control(side=Side.SELL, flags=1, qty=20) == 0
    assert gate.control(side=Side.SELL, flags=1, qty=11) == Control.POSITION_LIMIT
    assert gate.control(side=Side.SELL, flags=1, qty=10) == 0
    assert gate.control(side=Side.BUY, flags=1, qty=1) == Control.POSITION_LIMIT


def test_gross_exposure_is_open_notional_and_positions_at_the_ask() -> None:
    gate = Gate(row=WIDE)
    assert gate.control(qty=50) == 0
    gate.event(ExposureEvent.ADJUST, Side.SELL, -40)
    assert gate.model.gross == 50 * 1000 + 40 * 1000
    assert gate.control(qty=31) == Control.GROSS_EXPOSURE
    assert Cause.GROSS_EXPOSURE in gate.model.causes
    gate.reference(999, 1005)
    assert gate.model.gross == 50 * 1000 + 40 * 1005
    gate.event(ExposureEvent.FILL, Side.BUY, 50)
    assert gate.model.gross == 10 * 1005


def test_the_1001st_permit_within_the_minute_is_refused_and_a_later_one_passes() -> None:
    gate = Gate(replace(LIMITS, duplicate_window=0, max_gross_notional=1 << 80, reference_max_age=1 << 60), WIDE)
    for i in range(1000):
        assert gate.control(now=i) == 0
    assert gate.control(now=MINUTE - 1) == Control.TRADES_PER_MINUTE
    assert Cause.PERMIT_RATE in gate.model.levels(MINUTE - 1)
    assert Cause.PERMIT_RATE not in gate.model.levels(MINUTE)
    assert gate.control(now=MINUTE) == 0
    assert gate.control(now=MINUTE) == Control.TRADES_PER_MINUTE


def test_rejects_in_a_row_trip_and_a_permit_starts_them_anew() -> None:
    gate = Gate(replace(LIMITS, reject_trip=3))
    for bent in ({"side": 0}, {"side": 0}, {}, {"side": 0}, {"side": 0}):
        gate.control(**bent)
    assert Cause.REJECTS not in gate.model.causes
    gate.control(side=0)
    assert Cause.REJECTS in gate.model.causes


def test_silence_stands_until_the_first_beat_and_after_the_limit() -> None:
    gate = Gate()
    assert gate.model.levels(0) == {Cause.HEARTBEAT, Cause.STALE_EQUITY}
    gate.model.beat(make(HEARTBEAT_BEAT, BeatKind.HEARTBEAT), 10, False)
    gate.equity(1000, now=10)
    assert gate.model.levels(110) == set()
    assert gate.model.levels(111) == {Cause.HEARTBEAT}
    assert gate.model.levels(211) == {Cause.HEARTBEAT, Cause.STALE_EQUITY}


@pytest.mark.parametrize(
    ("equities", "causes"),
    [
        ([1000, 801], set()),
        ([1000, 800], {Cause.DRAWDOWN}),
        ([1000, 1500, 1201], set()),
        ([1000, 1500, 1200], {Cause.DRAWDOWN}),
        ([0], {Cause.DRAWDOWN, Cause.DAILY_LOSS}),
        ([1000, 701], {Cause.DRAWDOWN}),
        ([1000, 700], {Cause.DRAWDOWN, Cause.DAILY_LOSS}),
        ([1000, 700, 1000], set()),
    ],
)
def test_drawdown_and_daily_loss_stand_exactly_from_their_limit_on(equities: list[int], causes: set[Cause]) -> None:
    gate = Gate()
    for equity in equities:
        gate.equity(equity)
    assert gate.model.levels(0) - {Cause.HEARTBEAT} == causes


@pytest.mark.parametrize(
    ("event", "side", "qty", "fault"),
    [
        (ExposureEvent.FILL, Side.BUY, 1, Cause.EXPOSURE_FAULT),
        (ExposureEvent.RELEASE, Side.SELL, 1, Cause.EXPOSURE_FAULT),
        (ExposureEvent.FILL, 0, 1, Cause.BEAT_FAULT),
        (ExposureEvent.FILL, Side.BUY, 0, Cause.BEAT_FAULT),
        (ExposureEvent.ADJUST, Side.BUY, 0, Cause.BEAT_FAULT),
        (0, Side.BUY, 1, Cause.BEAT_FAULT),
        (4, Side.BUY, 1, Cause.BEAT_FAULT),
    ],
)
def test_books_that_do_not_add_up_and_bad_fields_are_causes(event: int, side: int, qty: int, fault: Cause) -> None:
    gate = Gate()
    gate.event(event, side, qty)
    assert gate.model.causes == {fault}
    assert gate.model.open_notional == 0


def test_a_position_saturates_and_says_so() -> None:
    gate = Gate()
    gate.event(ExposureEvent.ADJUST, Side.BUY, AMOUNT_MAX)
    assert gate.model.causes == set()
    gate.event(ExposureEvent.ADJUST, Side.BUY, 1)
    assert gate.model.state(0).position == AMOUNT_MAX
    assert gate.model.causes == {Cause.EXPOSURE_FAULT}


steps = st.lists(
    st.tuples(st.sampled_from([1, 2]), st.integers(1, 60), st.integers(985, 1015), st.integers(0, 40), st.booleans()), max_size=60
)


@given(steps)
def test_no_sequence_of_permits_and_fills_passes_a_limit(script: list[tuple[int, int, int, int, bool]]) -> None:
    limits = replace(LIMITS, permits_per_window=5, window=100, duplicate_window=0, reference_max_age=1 << 60)
    gate, now, times = Gate(limits), 0, list[int]()
    resting: list[tuple[int, int, int]] = []
    for side, qty, price, wait, fills in script:
        now += wait
        if gate.order(now, side=side, qty=qty, price=price).verdict == Verdict.PERMIT:
            resting.append((side, qty, price))
            times.append(now)
            assert gate.model.gross <= limits.max_gross_notional
        if fills and resting:
            done = resting.pop(0)
            gate.event(ExposureEvent.FILL, done[0], done[1], done[2])
        state = gate.model.state(0)
        bought, sold = (sum(q for s, q, _ in resting if s == wanted) for wanted in (Side.BUY, Side.SELL))
        assert (state.open_buy, state.open_sell) == (bought, sold)
        assert max(state.position, 0) + state.open_buy <= ROW.max_position_qty
        assert max(-state.position, 0) + state.open_sell <= ROW.max_position_qty
    assert gate.model.causes <= {Cause.GROSS_EXPOSURE, Cause.PERMIT_RATE}
    assert all(later - earlier >= limits.window for earlier, later in zip(times, times[5:], strict=False))


amounts = st.one_of(st.integers(1, 1 << 20), st.integers(1, AMOUNT_MAX))


@given(amounts, amounts, st.integers(1, BPS))
def test_collar_and_drawdown_are_the_software_gates_own_comparisons(price: int, reference: int, bps: int) -> None:
    """Both of engine.risk are products of 128 bits: reference x bps against distance x 10000, fall x 10000 against peak x bps."""
    assert outside_collar(price, reference, bps) == product_less_nb(reference, bps, abs(price - reference), BPS)
    if price < reference:
        assert drawdown_reached(price, reference, bps) == (not product_less_nb(reference - price, BPS, reference, bps))


def test_loss_counts_from_the_start_of_the_day() -> None:
    assert loss_reached(70, 100, 30)
    assert not loss_reached(71, 100, 30)
