"""The controls of one order at their boundaries, with overflow values and with missing input."""

from __future__ import annotations

import pytest

from sentinel.engine import risk
from sentinel.engine.layout import HALT_RESTRICTED
from sentinel.units import E8
from sentinel.wire import Command, Control, Kind, OrderEventKind, OrderType, Reason, Side, TimeInForce
from tests.engine.risk.offers import Offers
from tests.engine.test_risk import Desk, refuses
from tests.engine.world import MS, SECOND, T0

OVER = pytest.mark.parametrize("over", [-1, 0, 1])
#: Squared moves of a minute in which the price moved by its own size each second.
WILD = 60 * 10**12


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    for name, value in (("tick_size", 1_000), ("step_size", 100_000), ("min_qty", 100_000), ("min_notional", 5 * E8)):
        desk.y[name] = value
    return desk


@pytest.mark.control("B7")
@pytest.mark.parametrize(
    ("kind", "tif", "rest", "refused"),
    [
        (OrderType.LIMIT, TimeInForce.IOC, 0, False),
        (OrderType.LIMIT, TimeInForce.FOK, 0, False),
        (OrderType.LIMIT, TimeInForce.GTC, 1, False),
        (OrderType.LIMIT, TimeInForce.GTC, 0, True),
        (OrderType.LIMIT_MAKER, TimeInForce.GTC, 1, False),
        (OrderType.LIMIT_MAKER, TimeInForce.IOC, 1, True),
        (OrderType.MARKET, TimeInForce.IOC, 0, True),
        (OrderType.LIMIT, 0, 0, True),
        (0, TimeInForce.IOC, 0, True),
        (99, TimeInForce.IOC, 0, True),
    ],
)
def test_only_limits_that_take_or_rest_for_a_known_time_pass(desk: Desk, kind: int, tif: int, rest: int, refused: bool) -> None:
    desk.q["order_type"], desk.q["tif"], desk.q["t_rest_end"] = kind, tif, rest
    assert refuses(risk.order_type(desk.q), Control.ORDER_TYPE) == refused


@pytest.mark.control("B6")
@pytest.mark.parametrize(
    ("field", "value", "price", "qty", "refused"),
    [
        ("tick_size", 0, E8, 100 * E8, True),
        ("step_size", 0, E8, 100 * E8, True),
        ("tick_size", 1_000, E8 + 1, 100 * E8, True),
        ("step_size", 100_000, E8, 100 * E8 + 1, True),
        ("min_price", E8, E8, 100 * E8, False),
        ("min_price", E8 + 1_000, E8, 100 * E8, True),
        ("max_price", E8, E8, 100 * E8, False),
        ("max_price", E8 - 1_000, E8, 100 * E8, True),
        ("min_qty", 100 * E8, E8, 100 * E8, False),
        ("min_qty", 100 * E8 + 100_000, E8, 100 * E8, True),
        ("max_qty", 100 * E8, E8, 100 * E8, False),
        ("max_qty", 100 * E8 - 100_000, E8, 100 * E8, True),
        ("min_notional", 100 * E8, E8, 100 * E8, False),
        ("min_notional", 100 * E8 + 1, E8, 100 * E8, True),
        ("max_notional", 100 * E8, E8, 100 * E8, False),
        ("max_notional", 100 * E8 - 1, E8, 100 * E8, True),
        ("band_up_bps", 10_000, E8, 100 * E8, False),
        ("band_up_bps", 9_999, E8, 100 * E8, True),
        ("band_down_bps", 10_000, E8, 100 * E8, False),
        ("band_down_bps", 10_001, E8, 100 * E8, True),
        ("max_qty", 0, (1 << 61) // 1_000 * 1_000, (1 << 61) // 100_000 * 100_000, False),
        ("max_notional", (1 << 63) - 2, (1 << 61) // 1_000 * 1_000, (1 << 61) // 100_000 * 100_000, True),
    ],
)
def test_venue_filters_hold_at_their_edges(desk: Desk, field: str, value: int, price: int, qty: int, refused: bool) -> None:
    desk.y[field], desk.q["price"], desk.q["qty"] = value, price, qty
    assert refuses(risk.venue_filter(desk.y, desk.q), Control.VENUE_FILTER) == refused


@pytest.mark.control("B6")
def test_a_band_without_a_last_price_refuses(desk: Desk) -> None:
    desk.y["band_up_bps"], desk.y["last_price"] = 20_000, 0
    assert refuses(risk.venue_filter(desk.y, desk.q), Control.VENUE_FILTER)


@pytest.mark.control("B8")
@OVER
def test_the_same_order_passes_again_only_after_the_window(over: int) -> None:
    offers = Offers()
    offers.ends(offers.passes())
    assert offers.refused() == Control.DUPLICATE
    for changed in ({"price": 1.0001}, {"qty": 100.1}, {"setup_id": 2}):
        offers.ends(offers.passes(**changed))
        offers.ends(offers.passes(side=Side.SELL))
    offers.ends(offers.passes())
    offers.wait(500 * MS + over)
    assert (offers.offer().control == Control.DUPLICATE) == (over < 0)


@pytest.mark.control("B9")
@pytest.mark.parametrize(("side", "away"), [(Side.BUY, 1), (Side.SELL, -1)])
@OVER
def test_an_order_that_would_meet_one_of_ours_is_refused(side: int, away: int, over: int) -> None:
    offers = Offers()
    other = Side.SELL if side == Side.BUY else Side.BUY
    # Pending already counts; so it does acknowledged, and it does not once it has ended.
    resting = offers.passes(side=other, price=1.0, tif=TimeInForce.GTC, t_rest_end=offers.now + 60 * SECOND)
    price = 1.0 - away * over * 1e-5
    meets = over <= 0
    assert (offers.offer(side=side, price=price, qty=50).control == Control.SELF_MATCH) == meets
    offers.ends(resting)
    offers.passes(side=side, price=price, qty=60)


@pytest.mark.control("B9")
def test_an_order_of_the_account_without_a_price_meets_everything() -> None:
    offers = Offers()
    offers.order(77, OrderEventKind.ACKED, side=Side.SELL, qty=E8, flags=8).run()
    offers.command(Command.SYMBOL_RESUME)
    assert offers.refused(price=0.995) == Control.SELF_MATCH


@pytest.mark.control("B10")
@pytest.mark.parametrize(("age", "refused"), [(0, False), (-1, True), (180 * SECOND, False), (180 * SECOND + 1, True)])
def test_a_signal_may_be_as_old_as_the_limit_and_not_from_the_future(desk: Desk, age: int, refused: bool) -> None:
    desk.q["t_signal"] = T0 - age
    assert refuses(risk.signal_age(desk.g, desk.p, desk.q), Control.SIGNAL_AGE) == refused


@pytest.mark.control("B10")
def test_a_signal_without_a_time_is_refused(desk: Desk) -> None:
    desk.q["t_signal"] = 0
    assert risk.signal_age(desk.g, desk.p, desk.q) == (Control.SIGNAL_AGE, -1, desk.p["max_signal_age_ns"])


@pytest.mark.control("B4")
@pytest.mark.parametrize("direction", [-1, 1])
@OVER
def test_price_may_lie_so_many_spreads_from_the_middle(desk: Desk, direction: int, over: int) -> None:
    desk.y["bid"], desk.y["ask"], desk.p["collar_spreads"], desk.p["collar_floor_bps"] = 99 * E8, 101 * E8, 10, 0
    desk.q["price"] = 100 * E8 + direction * (20 * E8 + over)
    assert refuses(risk.dynamic_collar(desk.p, desk.y, desk.q, WILD), Control.DYNAMIC_COLLAR) == (over > 0)


@pytest.mark.control("B4")
@OVER
def test_in_a_narrow_spread_the_floor_holds(desk: Desk, over: int) -> None:
    desk.y["bid"], desk.y["ask"], desk.p["collar_floor_bps"] = 100 * E8 - 1, 100 * E8 + 1, 100
    desk.q["price"] = 101 * E8 + over
    assert refuses(risk.dynamic_collar(desk.p, desk.y, desk.q, WILD), Control.DYNAMIC_COLLAR) == (over > 0)


@pytest.mark.control("B4")
@pytest.mark.parametrize(("bid", "ask"), [(0, E8), (E8, E8), (E8, 0)])
def test_dynamic_collar_without_a_quote_refuses(desk: Desk, bid: int, ask: int) -> None:
    desk.y["bid"], desk.y["ask"] = bid, ask
    assert refuses(risk.dynamic_collar(desk.p, desk.y, desk.q, WILD), Control.DYNAMIC_COLLAR)


@pytest.mark.control("B4")
def test_dynamic_collar_does_not_overflow(desk: Desk) -> None:
    desk.y["bid"], desk.y["ask"], desk.p["collar_spreads"], desk.p["collar_sigmas"] = 1, 1 << 61, 10_000, 10
    desk.q["price"] = (1 << 63) - 1
    assert not refuses(risk.dynamic_collar(desk.p, desk.y, desk.q, WILD), Control.DYNAMIC_COLLAR)


@pytest.mark.control("B4")
@pytest.mark.parametrize(("side", "sign"), [(Side.BUY, 1), (Side.SELL, -1)])
@OVER
def test_no_entry_follows_a_price_that_has_run_its_way(desk: Desk, side: int, sign: int, over: int) -> None:
    desk.q["side"], desk.p["max_drift_bps"] = side, 2_000
    desk.y["last_price"] = E8 + sign * (E8 // 5 + over)
    assert refuses(risk.adverse_drift(desk.p, desk.y, desk.q, E8), Control.ADVERSE_DRIFT) == (over > 0)
    desk.q["side"] = Side.SELL if side == Side.BUY else Side.BUY
    assert not refuses(risk.adverse_drift(desk.p, desk.y, desk.q, E8), Control.ADVERSE_DRIFT)
    desk.q["side"], desk.q["reduce_only"] = side, 1
    assert not refuses(risk.adverse_drift(desk.p, desk.y, desk.q, E8), Control.ADVERSE_DRIFT)


@pytest.mark.control("B4")
def test_drift_from_an_unknown_price_refuses(desk: Desk) -> None:
    assert refuses(risk.adverse_drift(desk.p, desk.y, desk.q, 0), Control.ADVERSE_DRIFT)


@pytest.mark.control("B11")
@OVER
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_an_entry_may_take_its_share_of_what_is_visible_up_to_its_price(side: int, over: int) -> None:
    offers = Offers(books=(0,), max_impact_bps=5_000)
    offers.market(Kind.SNAPSHOT_BEGIN)
    for level, shown in ((0.999, 100), (0.998, 60), (0.990, 1000)):
        offers.market(Kind.LEVEL, side=Side.BUY, price=round(level * E8), qty=shown * E8)
    for level, shown in ((1.001, 100), (1.002, 60), (1.010, 1000)):
        offers.market(Kind.LEVEL, side=Side.SELL, price=round(level * E8), qty=shown * E8)
    offers.market(Kind.SNAPSHOT_END).run()
    qty: float = 80 + over * 0.001
    price = 1.002 if side == Side.BUY else 0.998
    answer = offers.offer(side=side, price=price, qty=qty)
    assert answer.control == (Control.IMPACT if over > 0 else 0)
    if over > 0:
        assert (answer.observed, answer.limit) == (round(qty * E8), 160 * E8)


@pytest.mark.control("B12")
@pytest.mark.parametrize(
    ("bound", "age", "step_age", "refused"),
    [
        (100_000, 0, -1, False),
        (100_001, 0, -1, True),
        (-1, 0, -1, True),
        (0, 10 * SECOND, -1, False),
        (0, 10 * SECOND + 1, -1, True),
        (0, 0, 10 * SECOND, False),
        (0, 0, 10 * SECOND - 1, True),
    ],
)
def test_the_clock_must_be_known_recent_small_and_steady(bound: int, age: int, step_age: int, refused: bool) -> None:
    offers = Offers(max_clock_error_ns=100_000, stale_after_ns=100 * SECOND)
    assert offers.refused() == Control.CLOCK, "never told"
    if step_age >= 0:
        offers.command(Command.CLOCK, value=0, value2=1)
        offers.wait(step_age)
    offers.command(Command.CLOCK, value=bound)
    offers.wait(age)
    assert (offers.offer().control == Control.CLOCK) == refused


@pytest.mark.control("B12")
def test_a_bad_clock_refuses_exits_lets_cancels_pass_and_nonsense_changes_nothing() -> None:
    offers = Offers(max_clock_error_ns=100_000)
    offers.command(Command.CLOCK, value=50_000)
    place = offers.passes(tif=TimeInForce.GTC, t_rest_end=offers.now + 60 * SECOND)
    before = int(offers.c["bad_input"])
    offers.control(Command.CLOCK, value=-2).control(Command.CLOCK, value=1, value2=2).run()
    assert int(offers.c["bad_input"]) == before + 2
    offers.passes(qty=99)
    offers.command(Command.CLOCK, value=-1)
    assert offers.refused(side=Side.SELL, reduce_only=1) == Control.CLOCK
    cancels = offers.of(Kind.CANCEL, offers.command(Command.CANCEL_ALL))
    assert place["client_key"] in [cancel["client_key"] for cancel in cancels]


@pytest.mark.control("A4")
def test_symbols_of_the_list_and_those_put_on_it_are_not_traded() -> None:
    offers = Offers(symbols=2, restricted=(1,))
    assert offers.refused(symbol=1) == Control.RESTRICTED
    offers.passes(symbol=0)
    offers.control(Command.SYMBOL_HALT, 0, value=HALT_RESTRICTED).run()
    assert offers.refused(symbol=0, qty=99) == Control.RESTRICTED
    # What an operator resumes by default does not lift it.
    offers.control(Command.SYMBOL_RESUME, 0).run()
    assert offers.refused(symbol=0, qty=99) == Control.RESTRICTED
    offers.control(Command.SYMBOL_RESUME, 0, value=HALT_RESTRICTED).run()
    offers.passes(symbol=0, qty=99)


@pytest.mark.control("A5")
@pytest.mark.parametrize(("t", "now", "refused"), [(T0, 600, False), (T0, 601, True), (0, 0, True)])
def test_what_the_venue_told_of_the_instrument_may_be_as_old_as_the_limit(desk: Desk, t: int, now: int, refused: bool) -> None:
    desk.p["max_instrument_age_ns"], desk.y["instrument_t"], desk.g["now"] = 600 * SECOND, t, T0 + now * SECOND
    assert refuses(risk.instrument_age(desk.g, desk.p, desk.y, desk.q), Control.INSTRUMENT_AGE) == refused
    desk.p["max_instrument_age_ns"] = 0
    assert not refuses(risk.instrument_age(desk.g, desk.p, desk.y, desk.q), Control.INSTRUMENT_AGE)


@pytest.mark.control("A5")
def test_every_record_of_the_instrument_makes_it_young() -> None:
    offers = Offers(max_instrument_age_ns=10 * SECOND, stale_after_ns=100 * SECOND)
    offers.wait(11 * SECOND)
    assert offers.refused() == Control.INSTRUMENT_AGE
    offers.instrument()
    offers.passes()


@pytest.mark.control("M0")
@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, False),
        ({"reason": Reason.NONE}, True),
        ({"setup_id": 0}, True),
        ({"ref_price": 0}, True),
        ({"fair_value": 0}, True),
        ({"edge_bps": 0}, True),
        ({"edge_bps": 1}, False),
        ({"edge_bps": 0, "reduce_only": 1}, False),
        ({"edge_bps": -1, "reduce_only": 1}, True),
        ({"reason": Reason.NONE, "reduce_only": 1}, True),
    ],
)
def test_no_order_without_its_reason_on_record(desk: Desk, fields: dict[str, int], refused: bool) -> None:
    values = {"reason": Reason.ENTRY_WAIT, "setup_id": 1, "ref_price": E8, "fair_value": E8, "edge_bps": 50} | fields
    for name, value in values.items():
        desk.q[name] = value
    assert refuses(risk.no_reason(desk.q), Control.NO_REASON) == refused


@pytest.mark.control("M8")
@pytest.mark.parametrize(("side", "age", "refused"), [(Side.BUY, 5, True), (Side.BUY, 5.000000001, False), (Side.SELL, 0, False)])
def test_no_entry_joins_the_push_of_our_own_alarm(desk: Desk, side: int, age: float, refused: bool) -> None:
    desk.y["push_side"], desk.y["push_t"], desk.q["side"] = Side.BUY, T0 - round(age * SECOND), side
    assert refuses(risk.joins_push(desk.g, desk.p, desk.y, desk.q), Control.JOINS_PUSH) == refused
    desk.q["reduce_only"] = 1
    assert not refuses(risk.joins_push(desk.g, desk.p, desk.y, desk.q), Control.JOINS_PUSH)


@pytest.mark.control("M8")
def test_an_alarm_remembers_which_way_the_price_was_pushed() -> None:
    offers = Offers(entry_immediate=1)
    offers.quiet()
    offers.pump()
    assert (int(offers.symbol()["push_side"]), int(offers.symbol()["push_t"])) == (Side.BUY, offers.now)
    assert [place["side"] for place in offers.places()] == [Side.SELL]
