"""Alarms and latches: what they do, that they hold until ARM, and that no REDUCE_ONLY grows a position."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from sentinel.engine.layout import LimitField
from sentinel.engine.risk.limits import LIMITS
from sentinel.units import E8
from sentinel.wire import Command, Control, Side, SignalCode, TradingState
from tests.engine.risk.offers import Offers
from tests.engine.world import SECOND


@pytest.mark.control("E1")
def test_an_alarm_leaves_only_what_reduces_until_armed() -> None:
    offers = Offers()
    offers.complete(offers.passes(qty=100))
    effects = offers.command(Command.ALARM, value=1, id=7)
    (fired,) = offers.signals(SignalCode.CONTROL_FIRED, effects)
    assert (fired["control"], fired["value"]) == (Control.ALARM, 7)
    assert offers.refused(qty=99) == Control.ALARM
    offers.ends(offers.passes(side=Side.SELL, qty=10, reduce_only=1))
    assert not offers.signals(SignalCode.CONTROL_FIRED, offers.command(Command.ALARM, value=1, id=8))
    # REDUCE_ONLY armed is REDUCE_ONLY still, for the same cause.
    offers.command(Command.ARM, id=2, value=int(TradingState.REDUCE_ONLY))
    assert offers.refused(qty=98) == Control.ALARM
    offers.arm()
    offers.passes(qty=97)


@pytest.mark.control("E1")
def test_a_graver_alarm_kills_with_its_own_cause() -> None:
    offers = Offers()
    offers.command(Command.ALARM, value=2, id=9)
    assert (int(offers.g["killed"]), int(offers.g["kill_cause"])) == (1, Control.ALARM)
    assert offers.refused() == Control.KILLED
    offers.arm()
    offers.passes()


@pytest.mark.control("E1")
@pytest.mark.parametrize("value", [-1, 0, 3, 1 << 40])
def test_an_alarm_that_asks_for_nothing_known_is_counted_and_changes_nothing(value: int) -> None:
    offers = Offers()
    before = int(offers.c["bad_input"])
    offers.command(Command.ALARM, value=value)
    assert int(offers.c["bad_input"]) == before + 1
    offers.passes()


def test_a_kill_outranks_a_restraint() -> None:
    offers = Offers()
    offers.control(Command.ALARM, value=1).control(Command.KILL, value=int(Control.OPERATOR)).run()
    assert offers.refused(reduce_only=1, side=Side.SELL) == Control.KILLED


def test_an_alarm_before_recovery_holds_after_it() -> None:
    offers = Offers()
    offers.control(Command.RECOVERING).control(Command.ALARM, value=1).control(Command.RECOVERED).run()
    assert int(offers.g["trading_state"]) == TradingState.REDUCE_ONLY
    assert offers.refused() == Control.ALARM


@pytest.mark.control("E1")
def test_what_waits_for_a_person_outlasts_a_reconnect_that_the_daemon_arms_again() -> None:
    offers = Offers()
    offers.command(Command.ALARM, value=1)
    offers.control(Command.RECOVERING).control(Command.RECOVERED).run()
    offers.command(Command.ARM, id=int(offers.g["arm_epoch"]) + 1)
    assert int(offers.g["trading_state"]) == TradingState.REDUCE_ONLY
    assert offers.refused() == Control.ALARM
    offers.arm()
    offers.passes()


def test_an_alarm_while_the_account_is_read_anew_is_not_forgotten_by_arming_again() -> None:
    offers = Offers()
    offers.control(Command.RECOVERING).control(Command.ALARM, value=1).control(Command.RECOVERED).run()
    offers.command(Command.ARM, id=int(offers.g["arm_epoch"]) + 1)
    assert int(offers.g["trading_state"]) == TradingState.REDUCE_ONLY


@pytest.mark.control("C4")
def test_a_side_that_fired_too_often_stays_off_over_a_reconnect() -> None:
    offers = Offers(max_repeats_per_minute=1)
    offers.ends(offers.passes(qty=100))
    assert offers.refused(qty=101) == Control.REPEATED
    offers.control(Command.RECOVERING).control(Command.RECOVERED).run()
    offers.command(Command.ARM, id=int(offers.g["arm_epoch"]) + 1)
    assert int(offers.g["trading_state"]) == TradingState.ACTIVE
    assert offers.refused(qty=102) == Control.REPEATED
    offers.arm()
    offers.passes(qty=103)


OFFER = hs.tuples(hs.sampled_from([Side.BUY, Side.SELL]), hs.integers(1, 300), hs.booleans(), hs.sampled_from([0.0, 0.5, 1.0]))


@pytest.mark.control("A2")
@settings(max_examples=60)
@given(start=hs.integers(-200, 200), offered=hs.lists(OFFER, min_size=1, max_size=25))
def test_reduce_only_never_grows_or_turns_a_position_whatever_is_offered_and_filled(
    start: int, offered: list[tuple[Side, int, bool, float]]
) -> None:
    offers = Offers()
    offers.instrument(MIN_NOTIONAL=0)
    if start:
        offers.complete(offers.passes(side=Side.BUY if start > 0 else Side.SELL, qty=abs(start)))
    offers.command(Command.ALARM, value=1)
    held = int(offers.symbol()["position"])
    assert held == start * E8
    pending = []
    for side, qty, reduces, share in offered:
        answer = offers.wait(1).offer(side=side, qty=qty, reduce_only=int(reduces))
        if answer.place is not None:
            assert reduces
            if share < 1.0:
                pending.append(answer.place)
            if share > 0.0:
                offers.complete(answer.place, share)
        after = int(offers.symbol()["position"])
        assert abs(after) <= abs(held)
        assert after * held >= 0
        held = after
    # Even if all that is still open filled whole.
    for place in pending:
        offers.fill(place, place["qty"] / E8, place["qty"] / E8).run()
    assert abs(int(offers.symbol()["position"])) <= abs(held)


@pytest.mark.control("C5")
def test_orders_nobody_answers_restrain_at_the_tick_that_finds_them_overdue() -> None:
    offers = Offers(symbols=3, max_venue_errors_per_10s=3, ack_timeout_ns=SECOND)
    for s in range(3):
        offers.passes(symbol=s)
    offers.wait(SECOND).tick().run()
    assert (int(offers.g["unknown_orders"]), int(offers.g["reduce_cause"])) == (3, Control.VENUE_ERRORS)
    assert int(offers.g["trading_state"]) == TradingState.REDUCE_ONLY


SWITCHES = [
    LimitField.APPROVAL_NOTIONAL_PER_MINUTE,
    LimitField.MAX_CLOCK_ERROR_NS,
    LimitField.MAX_IMPACT_BPS,
    LimitField.MAX_EXIT_MINUTES,
    LimitField.MAX_INSTRUMENT_AGE_NS,
    LimitField.MAX_SOURCE_GAP_BPS,
]


@pytest.mark.control("H1")
@pytest.mark.parametrize("field", SWITCHES)
def test_a_control_that_zero_turns_off_is_not_turned_off_by_tightening(field: LimitField) -> None:
    offers = Offers()
    offers.command(Command.LIMITS, id=int(field), value=5, version=1)
    before = int(offers.c["bad_input"])
    offers.command(Command.LIMITS, id=int(field), value=0, version=2)
    assert int(offers.c["bad_input"]) == before + 1
    assert int(offers.state.params[0][next(row.name for row in LIMITS if row.field == field)]) == 5
