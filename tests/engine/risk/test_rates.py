"""Windows, ratios and what the venue refuses: at their boundaries, and what ends each."""

from __future__ import annotations

import pytest

from sentinel.engine.layout import HALT_RECONCILE
from sentinel.units import E8
from sentinel.wire import Command, Control, Kind, OrderEventKind, Side, SignalCode, TimeInForce, TradingState
from tests.engine.risk.offers import Offers
from tests.engine.world import MS, SECOND

OVER = pytest.mark.parametrize("over", [-1, 0, 1])
DAY = 86_400 * SECOND


def _send(offers: Offers, count: int, gap_ns: int = 1, **fields: int) -> None:
    for k in range(count):
        offers.wait(gap_ns).ends(offers.passes(qty=100 + 0.001 * k, **fields))


@pytest.mark.control("C2")
@pytest.mark.parametrize(("name", "length"), [("max_orders_per_s", 1), ("max_orders_per_10s", 10), ("max_orders_per_minute", 60)])
@OVER
def test_so_many_orders_fit_into_each_window(name: str, length: int, over: int) -> None:
    offers = Offers(stale_after_ns=100 * SECOND, **{name: 3})
    _send(offers, 3)
    offers.wait(length * SECOND - 2 + over)
    answer = offers.offer(qty=50)
    assert answer.control == (Control.ORDER_RATE if over < 0 else 0)
    if over < 0:
        assert (answer.observed, answer.limit) == (4, 3)


@pytest.mark.control("C2")
def test_orders_of_the_day_are_counted_until_midnight() -> None:
    offers = Offers(max_orders_per_day=3, stale_after_ns=2 * DAY)
    _send(offers, 3)
    assert offers.refused(qty=50) == Control.ORDER_RATE
    offers.wait(DAY - offers.now % DAY - 1)
    assert offers.refused(qty=50) == Control.ORDER_RATE
    offers.wait(1)
    offers.passes(qty=50)


@pytest.mark.control("C3")
@pytest.mark.parametrize(("name", "length"), [("max_notional_per_10s", 10), ("max_notional_per_minute", 60)])
@OVER
def test_notional_sent_in_a_window_is_counted_exactly(name: str, length: int, over: int) -> None:
    offers = Offers(stale_after_ns=100 * SECOND, **{name: 300 * E8})
    offers.ends(offers.passes(qty=100)).wait(SECOND)
    offers.ends(offers.passes(qty=100.5)).wait(SECOND)
    answer = offers.offer(qty=99.5 + 0.001 * over)
    assert answer.control == (Control.TURNOVER if over > 0 else 0)
    if over > 0:
        assert (answer.observed, answer.limit) == (300 * E8 + E8 // 1000, 300 * E8)
        offers.wait((length - 2) * SECOND)
        offers.passes(qty=99.5)


@pytest.mark.control("C3")
def test_what_reduces_is_counted_and_never_refused_by_notional() -> None:
    offers = Offers(max_notional_per_10s=300 * E8)
    place = offers.passes(qty=200)
    offers.complete(place)
    offers.ends(offers.passes(side=Side.SELL, qty=200, reduce_only=1))
    assert offers.refused(qty=10) == Control.TURNOVER
    offers.passes(side=Side.SELL, qty=150, reduce_only=1)


@pytest.mark.control("C4")
def test_the_same_side_too_often_is_off_until_armed() -> None:
    offers = Offers(symbols=2, max_repeats_per_minute=5, stale_after_ns=1_000 * SECOND)
    _send(offers, 5)
    answer = offers.offer(qty=50)
    assert (answer.control, answer.observed, answer.limit) == (Control.REPEATED, 6, 5)
    # Another side and another symbol go on; time alone does not end it.
    offers.ends(offers.passes(side=Side.SELL, qty=50)).ends(offers.passes(symbol=1, qty=50))
    offers.wait(120 * SECOND)
    assert offers.refused(qty=51) == Control.REPEATED
    offers.arm()
    offers.ends(offers.passes(qty=51))


@pytest.mark.control("C4")
@OVER
def test_repeats_are_those_of_the_last_minute(over: int) -> None:
    offers = Offers(max_repeats_per_minute=5, stale_after_ns=1_000 * SECOND)
    _send(offers, 5)
    offers.wait(60 * SECOND - 4 + over)
    assert (offers.offer(qty=50).control == Control.REPEATED) == (over < 0)


@pytest.mark.control("C4")
def test_what_reduces_is_no_repeat() -> None:
    offers = Offers(max_repeats_per_minute=2)
    offers.complete(offers.passes(qty=1_000))
    for k in range(4):
        offers.ends(offers.passes(side=Side.SELL, qty=10 + k, reduce_only=1))
    offers.ends(offers.passes(side=Side.SELL, qty=5))


@pytest.mark.control("C5")
@pytest.mark.parametrize("event", [OrderEventKind.REJECTED, OrderEventKind.AMBIGUOUS])
def test_refusals_in_a_row_leave_only_what_reduces_until_armed(event: int) -> None:
    symbols = 4
    offers = Offers(symbols=symbols, max_venue_errors_per_10s=3)
    offers.complete(offers.passes(qty=100, symbol=3))
    for s in range(2):
        offers.ends(offers.passes(symbol=s), event)
    # An order the venue takes breaks the row.
    offers.ends(offers.passes(symbol=2, qty=5))
    offers.ends(offers.passes(symbol=2, qty=6), event)
    assert int(offers.g["errors_in_row"]) == 1
    for s, qty in ((3, 7), (3, 8)):
        offers.ends(offers.passes(symbol=s, qty=qty), OrderEventKind.REJECTED)
    assert int(offers.g["trading_state"]) == TradingState.REDUCE_ONLY
    (fired,) = offers.signals(SignalCode.CONTROL_FIRED)
    assert (fired["control"], fired["value"], fired["limit"]) == (Control.VENUE_ERRORS, 3, 3)
    assert offers.refused(symbol=3) == Control.VENUE_ERRORS
    offers.ends(offers.passes(symbol=3, side=Side.SELL, qty=50, reduce_only=1))
    offers.arm()
    offers.passes(symbol=3)


@pytest.mark.control("C5")
def test_refusals_spread_over_more_than_ten_seconds_do_not_count_together() -> None:
    offers = Offers(max_venue_errors_per_10s=3, stale_after_ns=1_000 * SECOND)
    for k in range(6):
        offers.wait(5 * SECOND + 1).ends(offers.passes(qty=10 + k), OrderEventKind.REJECTED)
    assert int(offers.g["trading_state"]) == TradingState.ACTIVE


@pytest.mark.control("C5")
def test_a_local_denial_is_no_refusal_of_the_venue() -> None:
    offers = Offers(max_venue_errors_per_10s=1)
    place = offers.passes()
    offers.order(place["client_key"], OrderEventKind.NOT_SENT).run()
    assert int(offers.g["trading_state"]) == TradingState.ACTIVE


@pytest.mark.control("C6")
def test_a_fill_beyond_the_order_halts_the_symbol_and_says_so() -> None:
    offers = Offers()
    place = offers.passes(qty=100)
    effects = offers.fill(place, 100.1, 100.1, trade_id=9).run()
    (fired,) = offers.signals(SignalCode.CONTROL_FIRED, effects)
    assert (fired["control"], fired["value"], fired["limit"]) == (Control.FILL_ANOMALY, 10_010_000_000, 100 * E8)
    assert int(offers.symbol()["halt"]) & HALT_RECONCILE
    assert offers.refused(qty=99) == Control.SYMBOL_HALTED


@pytest.mark.control("C6")
def test_a_fill_without_an_order_of_ours_halts_the_symbol() -> None:
    offers = Offers()
    effects = offers.order(
        12345, OrderEventKind.TRADE, side=Side.BUY, last_price=E8, last_qty=E8, cum_qty=E8, trade_id=7, flags=8
    ).run()
    assert offers.signals(SignalCode.FOREIGN_ORDER, effects)
    assert offers.refused() == Control.SYMBOL_HALTED


@pytest.mark.control("C6")
def test_an_exact_fill_halts_nothing() -> None:
    offers = Offers()
    offers.complete(offers.passes(qty=100))
    assert int(offers.symbol()["halt"]) == 0
    assert not offers.signals(SignalCode.CONTROL_FIRED)


@pytest.mark.control("C7")
def test_orders_without_fills_are_warned_of_then_refused_until_midnight() -> None:
    offers = Offers(max_order_to_trade=4, stale_after_ns=2 * DAY)
    _send(offers, 2)
    assert not offers.signals(SignalCode.CONTROL_FIRED)
    _send(offers, 2)
    (warning,) = offers.signals(SignalCode.CONTROL_FIRED)
    assert (warning["control"], warning["value"], warning["limit"]) == (Control.ORDER_TO_TRADE, 3, 4)
    answer = offers.offer(qty=50)
    assert (answer.control, answer.observed, answer.limit) == (Control.ORDER_TO_TRADE, 5, 4)
    offers.wait(DAY - offers.now % DAY)
    offers.passes(qty=50)


@pytest.mark.control("C7")
def test_each_filled_order_earns_its_share_of_orders() -> None:
    offers = Offers(max_order_to_trade=2)
    for k in range(2):
        offers.complete(offers.passes(qty=10 + k))
    _send(offers, 2)
    assert offers.refused(qty=50) == Control.ORDER_TO_TRADE
    offers.passes(side=Side.SELL, qty=5, reduce_only=1)


@pytest.mark.control("C7")
@pytest.mark.parametrize(("life", "refused"), [(50 * MS - 1, True), (50 * MS, False)])
def test_resting_orders_cancelled_at_once_end_in_a_pause(life: int, refused: bool) -> None:
    offers = Offers(stale_after_ns=100 * SECOND)
    for k in range(20):
        rest = {"tif": TimeInForce.GTC, "t_rest_end": offers.now + 60 * SECOND}
        place = offers.passes(qty=10 + k, **rest)
        offers.order(place["client_key"], OrderEventKind.SENT).order(place["client_key"], OrderEventKind.ACKED).run()
        offers.wait(life).order(place["client_key"], OrderEventKind.CANCELED).run()
    answer = offers.offer(qty=50, tif=TimeInForce.GTC, t_rest_end=offers.now + SECOND)
    assert (answer.control, answer.observed) == ((Control.QUOTE_LIFE, 10_000) if refused else (0, 0))
    offers.passes(qty=51)


@pytest.mark.control("E4")
def test_an_order_nobody_answers_for_freezes_its_symbol() -> None:
    offers = Offers(symbols=2)
    offers.ends(offers.passes(), OrderEventKind.AMBIGUOUS)
    assert offers.refused(qty=50) == Control.UNKNOWN_ORDER
    offers.passes(symbol=1)


@pytest.mark.control("E8")
def test_no_journal_refuses_exits_too_and_cancels_pass() -> None:
    offers = Offers()
    place = offers.passes(tif=TimeInForce.GTC, t_rest_end=offers.now + 60 * SECOND)
    offers.command(Command.JOURNAL_FAULT, value=2)
    assert offers.refused(side=Side.SELL, reduce_only=1) == Control.JOURNAL
    assert [cancel["client_key"] for cancel in offers.of(Kind.CANCEL)] == [place["client_key"]]
