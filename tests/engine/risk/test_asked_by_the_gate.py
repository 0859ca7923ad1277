"""Each control is asked by the whole gate: an order that it alone refuses, told by its code. Without the control it passes."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.units import E8
from sentinel.wire import Command, Control, Kind, OrderType, Reason, Side, TimeInForce, TradingState
from tests.engine.risk.offers import Offers
from tests.engine.world import SECOND


@pytest.mark.control("A1")
def test_killed_nothing_leaves_not_even_what_reduces() -> None:
    offers = Offers()
    offers.passes(qty=99)
    offers.command(Command.KILL, value=int(Control.OPERATOR))
    assert offers.refused() == Control.KILLED
    assert offers.refused(side=Side.SELL, reduce_only=1) == Control.KILLED


@pytest.mark.control("A2")
@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.RECOVERING, TradingState.REDUCE_ONLY])
def test_no_entry_leaves_in_any_other_state_than_active(state: TradingState) -> None:
    offers = Offers()
    offers.passes(qty=99)
    offers.g["trading_state"] = state
    assert offers.refused() == Control.NOT_ACTIVE


@pytest.mark.control("A2")
def test_what_says_it_reduces_and_has_nothing_to_reduce_is_refused() -> None:
    assert Offers().refused(side=Side.SELL, reduce_only=1) == Control.POSITION_LIMIT


@pytest.mark.control("A5")
def test_a_symbol_the_venue_stops_amid_the_stream_is_not_traded_until_the_venue_resumes_it() -> None:
    offers = Offers(symbols=2)
    offers.passes(qty=99)
    offers.instrument(0, TRADING=0)
    assert offers.refused() == Control.SYMBOL_HALTED
    offers.passes(symbol=1)
    offers.instrument(0, TRADING=1)
    offers.passes()


@pytest.mark.control("B1")
@pytest.mark.parametrize(
    "raw", [{"side": 0}, {"side": 3}, {"qty": 0}, {"qty": -1}, {"qty": (1 << 63) - 1}, {"price": 0}, {"price": -1}]
)
def test_nonsense_is_refused_as_that(raw: dict[str, int]) -> None:
    assert Offers().refused(raw=raw) == Control.BAD_INPUT


@pytest.mark.control("B1")
@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_quantity_is_limited_to_the_lot(steps: int) -> None:
    offers = Offers(max_order_qty=100 * E8)
    answer = offers.offer(raw={"qty": 100 * E8 + steps * 100_000})
    assert answer.control == (Control.MAX_QTY if steps > 0 else 0)


@pytest.mark.control("B2")
def test_fifty_eight_million_in_the_field_of_the_quantity_is_refused_by_its_value() -> None:
    offers = Offers(max_order_notional=25_000 * E8)
    answer = offers.offer(raw={"qty": 58_000_000 * E8})
    assert (answer.control, answer.observed, answer.limit) == (Control.MAX_NOTIONAL, 58_000_000 * E8, 25_000 * E8)


@pytest.mark.control("B3")
@pytest.mark.parametrize(("side", "price"), [(Side.BUY, 1.06), (Side.BUY, 0.94), (Side.SELL, 1.06), (Side.SELL, 0.94)])
def test_a_price_beyond_the_collar_is_refused_on_either_side(side: int, price: float) -> None:
    offers = Offers(price_collar_bps=500, collar_floor_bps=5_000)
    assert offers.refused(side=side, price=price) == Control.PRICE_COLLAR
    offers.passes(side=side)


@pytest.mark.control("B4")
@pytest.mark.parametrize(("side", "after"), [(Side.BUY, 1.21), (Side.SELL, 0.79)])
def test_no_entry_follows_the_price_that_ran_within_a_minute(side: int, after: float) -> None:
    offers = Offers()
    offers.quiet()
    offers.wait(SECOND).quote(0, after - 0.001, after + 0.001)
    offers.run()
    fields: dict[str, Any] = {"price": round(after, 3), "fair_value": round(after * E8)}
    assert offers.refused(side=side, **fields) == Control.ADVERSE_DRIFT


@pytest.mark.control("B5")
def test_without_a_quote_as_young_as_the_limit_nothing_leaves() -> None:
    offers = Offers(stale_after_ns=SECOND)
    offers.wait(SECOND).passes(qty=99)
    offers.wait(1)
    assert offers.refused() == Control.STALE_REFERENCE
    offers.quote().passes()


@pytest.mark.control("B6")
@pytest.mark.parametrize("raw", [{"price": E8 + 1}, {"qty": 100 * E8 + 1}, {"qty": 4 * E8}])
def test_off_the_tick_off_the_step_and_too_small_is_refused(raw: dict[str, int]) -> None:
    assert Offers().refused(raw=raw) == Control.VENUE_FILTER


@pytest.mark.control("B7")
@pytest.mark.parametrize(
    "fields",
    [{"order_type": int(OrderType.MARKET)}, {"tif": int(TimeInForce.GTC)}, {"tif": 0}, {"order_type": 99}],
)
def test_a_bare_market_order_and_one_that_rests_for_ever_are_refused(fields: dict[str, int]) -> None:
    assert Offers().refused(**fields) == Control.ORDER_TYPE


@pytest.mark.control("B8")
def test_of_a_storm_of_resends_one_order_leaves() -> None:
    offers = Offers()
    offers.ends(offers.passes())
    assert {offers.refused() for _ in range(100)} == {Control.DUPLICATE}
    assert len(offers.places()) == 1
    assert int(offers.c["duplicate_orders"]) == 100


@pytest.mark.control("B8")
def test_no_id_comes_twice_in_any_epoch() -> None:
    offers, keys = Offers(), []
    for epoch in (2, 3, 4):
        for qty in (50, 51, 52):
            place = offers.passes(qty=qty)
            keys.append(place["client_key"])
            offers.ends(place)
        offers.control(Command.EPOCH, id=epoch).control(Command.RECOVERING).control(Command.RECOVERED).run()
        offers.quote().arm()
    assert len(set(keys)) == len(keys) == 9


@pytest.mark.control("B10")
@pytest.mark.parametrize("t_signal", ["unknown", "old", "future"])
def test_an_order_after_an_old_unknown_or_future_signal_is_dropped(t_signal: str) -> None:
    offers = Offers(max_signal_age_ns=SECOND)
    at = {"unknown": 0, "old": offers.now - SECOND - 1, "future": offers.now + 1}[t_signal]
    assert offers.refused(t_signal=at) == Control.SIGNAL_AGE
    offers.passes(t_signal=offers.now - SECOND)


@pytest.mark.control("D2")
def test_gross_exposure_is_refused_for_every_symbol_together() -> None:
    offers = Offers(symbols=2, max_gross_notional=200 * E8)
    offers.passes(symbol=0)
    assert offers.refused(symbol=1, qty=101) == Control.GROSS_EXPOSURE
    offers.passes(symbol=1, qty=99)


@pytest.mark.control("D3")
def test_a_purchase_that_leaves_too_little_cash_is_refused() -> None:
    # Equity is the cash and the thousand that is owned at 1.
    offers = Offers(quote=1_000.0, min_free_capital_bps=2_000)
    assert offers.refused(qty=601) == Control.FREE_CAPITAL
    offers.passes(qty=599)


@pytest.mark.control("M0")
@pytest.mark.parametrize(
    "fields", [{"reason": int(Reason.NONE)}, {"setup_id": 0}, {"ref_price": 0}, {"fair_value": 0}, {"edge_bps": 0}]
)
def test_an_order_without_its_reason_does_not_leave(fields: dict[str, int]) -> None:
    assert Offers().refused(**fields) == Control.NO_REASON


@pytest.mark.control("M8")
def test_an_entry_with_the_push_is_refused_and_one_against_it_is_not() -> None:
    offers = Offers()
    offers.symbol()["push_side"], offers.symbol()["push_t"] = Side.BUY, offers.now
    assert offers.refused() == Control.JOINS_PUSH
    offers.passes(side=Side.SELL)


@pytest.mark.control("B12")
def test_whatever_is_refused_cancels_pass() -> None:
    offers = Offers(max_clock_error_ns=100_000)
    offers.command(Command.CLOCK, value=1)
    place = offers.passes(tif=TimeInForce.GTC, t_rest_end=offers.now + 60 * SECOND)
    offers.command(Command.CLOCK, value=-1)
    offers.g["journal_fault"] = 1
    effects = offers.command(Command.KILL, value=int(Control.OPERATOR))
    assert [cancel["client_key"] for cancel in offers.of(Kind.CANCEL, effects)] == [place["client_key"]]
