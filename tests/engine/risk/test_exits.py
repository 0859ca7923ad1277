"""A position can be left: limits of ours on orders, counts and ages hold entries back, never what only reduces."""

from __future__ import annotations

import pytest

from sentinel.engine.layout import LimitField
from sentinel.units import E8
from sentinel.wire import Command, Control, OrderEventKind, Side, SignalCode
from tests.engine.risk.offers import Offers
from tests.engine.world import SECOND, World


def _long(qty: float = 1_000, **limits: int) -> Offers:
    offers = Offers(stale_after_ns=1_000 * SECOND, **limits)
    offers.complete(offers.passes(qty=qty))
    return offers


def _set(offers: Offers, field: LimitField, value: int) -> None:
    before = int(offers.c["limits_changed"])
    offers.command(Command.LIMITS, id=int(field), value=value, version=1)
    assert int(offers.c["limits_changed"]) == before + 1


@pytest.mark.control("B8")
def test_the_same_exit_goes_out_again_at_its_own_pace_however_long_the_window() -> None:
    offers = _long(duplicate_window_ns=60 * SECOND, exit_retry_ns=SECOND)
    offers.ends(offers.passes(side=Side.SELL, qty=100, reduce_only=1))
    offers.wait(SECOND - 1)
    assert offers.refused(side=Side.SELL, qty=100, reduce_only=1) == Control.DUPLICATE
    offers.wait(1)
    offers.passes(side=Side.SELL, qty=100, reduce_only=1)


@pytest.mark.control("D7")
def test_orders_of_the_account_do_not_keep_an_exit_from_leaving() -> None:
    offers = _long()
    for key in range(71, 74):
        offers.order(key, OrderEventKind.ACKED, side=Side.BUY, qty=E8, price=E8 // 2, flags=8).run()
    offers.command(Command.SYMBOL_RESUME)
    _set(offers, LimitField.MAX_OPEN_ORDERS, 0)
    assert offers.refused(qty=10) == Control.OPEN_ORDERS
    offers.passes(side=Side.SELL, reduce_only=1)


@pytest.mark.control("C2")
@pytest.mark.parametrize(("field", "value"), [(LimitField.MAX_ORDERS_PER_DAY, 0), (LimitField.MAX_ORDERS_PER_MINUTE, 1)])
def test_counts_of_the_minute_and_the_day_hold_entries_only(field: LimitField, value: int) -> None:
    offers = _long()
    _set(offers, field, value)
    assert offers.refused(qty=10) == Control.ORDER_RATE
    offers.passes(side=Side.SELL, reduce_only=1)


@pytest.mark.control("C2")
@pytest.mark.parametrize("field", [LimitField.MAX_ORDERS_PER_S, LimitField.MAX_ORDERS_PER_10S])
def test_counts_of_seconds_hold_exits_too(field: LimitField) -> None:
    offers = _long()
    _set(offers, field, 1)
    assert offers.refused(side=Side.SELL, reduce_only=1) == Control.ORDER_RATE


@pytest.mark.control("A5")
def test_old_word_of_the_instrument_holds_entries_only() -> None:
    offers = _long(max_instrument_age_ns=10 * SECOND)
    offers.wait(11 * SECOND)
    assert offers.refused(qty=10) == Control.INSTRUMENT_AGE
    offers.passes(side=Side.SELL, reduce_only=1)


@pytest.mark.control("B4")
def test_a_narrowed_dynamic_collar_holds_entries_only() -> None:
    offers = _long(collar_spreads=1, collar_floor_bps=0)
    offers.bbo(0.9999, 1.0001)
    assert offers.refused(side=Side.SELL, price=0.995, qty=10) == Control.DYNAMIC_COLLAR
    offers.passes(side=Side.SELL, price=0.995, qty=10, reduce_only=1)


@pytest.mark.control("A2")
def test_open_orders_that_add_up_beyond_a_word_never_make_room_for_a_reducing_one() -> None:
    offers = _long(max_open_orders=20)
    for key in range(71, 75):
        offers.order(key, OrderEventKind.ACKED, side=Side.SELL, qty=1 << 61, price=2 * E8, flags=8).run()
    offers.command(Command.SYMBOL_RESUME)
    assert offers.refused(side=Side.SELL, reduce_only=1) == Control.POSITION_LIMIT


@pytest.mark.control("B3")
@pytest.mark.parametrize("collar_bps", [0, 10, 49])
def test_a_collar_narrower_than_the_slippage_brings_an_exit_nearer_to_the_touch(collar_bps: int) -> None:
    world = World(slippage_bps=50).start()
    world.enter()
    world.control(Command.LIMITS, id=int(LimitField.PRICE_COLLAR_BPS), value=collar_bps, version=1).run()
    world.retrace(1.0)
    assert not world.signals(SignalCode.RISK_REJECT)
    assert [place["flags"] & 1 for place in world.places()] == [0, 1]
