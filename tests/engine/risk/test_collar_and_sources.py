"""The dynamic collar in a market that steps, and the second source of a price in feeds that freeze or lie."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

from sentinel.engine import risk
from sentinel.engine.layout import LimitField
from sentinel.units import E8
from sentinel.wire import Command, Control, FeedStatus, Kind, MarketFlag, Side
from tests.engine.risk.gate_reference import seconds_moves
from tests.engine.risk.offers import Offers
from tests.engine.test_risk import Desk, refuses
from tests.engine.world import SECOND

FAR = {"price_collar_bps": 10_000, "collar_spreads": 10_000, "max_drift_bps": 100_000, "threshold": 10**9}
DEPTH = {"max_source_gap_bps": 30, "max_impact_bps": 0}
#: 10 % in one second of sixty: sigma(1 s) is 1.2909 %, five of them 6.4549 %.
REACH = 0.0645497


def _steady(seconds: int = 70, **changes: int) -> Offers:
    offers = Offers(**(FAR | changes))
    for _ in range(seconds):
        offers.wait(SECOND).quote().run()
    return offers


def _price(away: float, middle: float) -> float:
    return round(middle * (1 + away), 5)


@pytest.mark.control("B4")
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_price_of_before_a_step_is_refused_and_the_collar_widens_with_the_move_for_a_minute(sign: int) -> None:
    offers = _steady()
    middle = 1.0 + 0.1 * sign
    offers.wait(SECOND).quote(0, middle - 0.001, middle + 0.001).run()
    # The second of the step is still open: nothing but the floor.
    for away, passes in ((0.0099, True), (-0.0099, True), (0.0101, False), (-0.0101, False)):
        assert (offers.offer(price=_price(away, middle)).control == 0) == passes
    assert offers.refused(price=1.0) == Control.DYNAMIC_COLLAR
    offers.wait(SECOND).quote(0, middle - 0.001, middle + 0.001).run()
    for away, passes in ((REACH - 1e-4, True), (1e-4 - REACH, True), (REACH + 1e-4, False), (-REACH - 1e-4, False)):
        answer = offers.offer(price=_price(away, middle))
        assert answer.control == (0 if passes else Control.DYNAMIC_COLLAR), away
    assert offers.refused(price=1.0) == Control.DYNAMIC_COLLAR
    for _ in range(60):
        offers.wait(SECOND).quote(0, middle - 0.001, middle + 0.001).run()
    assert offers.refused(price=_price(0.0101, middle)) == Control.DYNAMIC_COLLAR
    offers.passes(price=_price(0.0099, middle), qty=77)


@pytest.mark.control("B4")
def test_a_spread_blown_open_in_a_market_at_rest_opens_no_collar() -> None:
    offers = _steady(collar_spreads=10)
    offers.quote(0, 0.9, 1.1).run()
    answer = offers.offer(price=1.02)
    assert (answer.control, answer.observed, answer.limit) == (Control.DYNAMIC_COLLAR, round(1.02 * E8), E8)
    offers.passes(price=1.0099)


@pytest.mark.control("B4")
def test_a_wild_minute_behind_a_narrow_spread_opens_no_collar() -> None:
    offers = _steady(collar_spreads=10)
    for k in range(20):
        offers.wait(SECOND).quote(0, 0.999 + 0.05 * (k & 1), 1.001 + 0.05 * (k & 1)).run()
    assert offers.refused(price=1.05 + 0.021) == Control.DYNAMIC_COLLAR
    offers.passes(price=1.05 + 0.019)


@pytest.mark.control("B4")
def test_before_a_minute_is_known_and_after_silence_the_floor_is_the_collar() -> None:
    offers = Offers(**FAR)
    assert offers.refused(price=1.011) == Control.DYNAMIC_COLLAR
    offers.passes(price=1.009)
    offers = _steady(stale_after_ns=600 * SECOND)
    offers.wait(SECOND).quote(0, 1.099, 1.101).run()
    offers.wait(SECOND)
    offers.passes(price=1.15)
    # No quote comes, and none is needed for the move to grow old.
    offers.wait(59 * SECOND)
    offers.passes(price=1.15, qty=77)
    offers.wait(SECOND)
    assert offers.refused(price=1.15) == Control.DYNAMIC_COLLAR


@pytest.mark.control("B4")
def test_an_exit_has_no_collar_of_sigmas() -> None:
    offers = _steady()
    offers.complete(offers.passes(qty=200))
    assert offers.refused(side=Side.SELL, price=0.97, qty=50) == Control.DYNAMIC_COLLAR
    offers.passes(side=Side.SELL, price=0.97, qty=50, reduce_only=1)


@pytest.mark.control("B4")
@settings(max_examples=150, deadline=None)
@given(
    moves=hs.lists(hs.integers(-40, 40), min_size=1, max_size=80),
    price=hs.integers(900, 1_100),
    sigmas=hs.integers(1, 12),
    floor=hs.sampled_from((0, 20, 100)),
)
def test_the_collar_is_floor_or_both_reaches_on_any_walk(moves: list[int], price: int, sigmas: int, floor: int) -> None:
    offers = Offers(**FAR | {"collar_spreads": 30, "collar_sigmas": sigmas, "collar_floor_bps": floor})
    thousandths, quotes = 1_000, [(offers.now, E8)]
    for move in moves:
        thousandths = min(max(thousandths + move, 950), 1_050)
        offers.wait(SECOND).quote(0, (thousandths - 1) / 1_000, (thousandths + 1) / 1_000)
        quotes.append((offers.now, thousandths * E8 // 1_000))
    offers.run()
    away = abs(price - thousandths)
    # Moves to the millionth, as the engine keeps them; the distance is a multiple of one only rarely: up.
    squares = sum(int(move * 10**6) ** 2 for move in seconds_moves(quotes, offers.now))
    ppm = -(-away * 10**6 // thousandths)
    inside = away * 10_000 <= floor * thousandths or (away <= 60 and ppm**2 * 60 <= sigmas**2 * squares)
    assert (offers.offer(price=price / 1_000).control == 0) == inside


@pytest.mark.control("B5")
@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_last_trade_may_lie_so_far_from_the_middle(over: int, sign: int) -> None:
    offers = Offers(max_source_gap_bps=30)
    offers.market(Kind.TRADE, price=E8 + sign * (E8 * 30 // 10_000 + over), qty=E8, side=Side.BUY).run()
    answer = offers.offer()
    assert (answer.control == Control.SOURCE_GAP) == (over > 0)
    if over > 0:
        assert (answer.observed, answer.limit) == (E8 + sign * (E8 * 30 // 10_000 + over), E8)


@pytest.mark.control("B5")
def test_a_poisoned_ticker_is_refused_and_an_exit_is_not() -> None:
    offers = Offers(max_source_gap_bps=30)
    offers.complete(offers.passes(qty=200))
    offers.bbo(1.019, 1.021).run()
    assert offers.refused(price=1.02, qty=50) == Control.SOURCE_GAP
    offers.passes(side=Side.SELL, price=1.02, qty=50, reduce_only=1)
    offers.bbo(0.999, 1.001).run()
    offers.passes(qty=60)


@pytest.mark.control("B5")
def test_without_a_second_source_an_entry_is_refused_unless_nobody_asks() -> None:
    offers = Offers(max_source_gap_bps=30)
    # Feed frozen but for the ticker.
    offers.wait(5 * SECOND).bbo(0.999, 1.001).run()
    offers.passes()
    offers.wait(1).bbo(0.999, 1.001).run()
    answer = offers.offer(qty=50)
    assert (answer.control, answer.observed, answer.limit) == (Control.SOURCE_GAP, -1, E8)
    offers.limit("max_source_gap_bps", 0).passes(qty=50)
    # Frozen whole: the reference itself is too old.
    offers.limit("max_source_gap_bps", 30).wait(6 * SECOND)
    assert offers.refused(qty=60) == Control.STALE_REFERENCE


def _book(offers: Offers, middle: float, kind: int = Kind.SNAPSHOT_BEGIN) -> Offers:
    offers.market(kind)
    for side, price in ((Side.BUY, middle - 0.001), (Side.SELL, middle + 0.001)):
        offers.market(Kind.LEVEL, side=side, price=round(price * E8), qty=10_000 * E8)
    offers.market(Kind.SNAPSHOT_END).run()
    return offers


@pytest.mark.control("B5")
def test_where_depth_is_kept_the_book_is_asked_and_the_last_trade_when_the_book_is_frozen() -> None:
    offers = _book(Offers(books=(0,), **DEPTH), 1.0)
    offers.trade(1.02).run()
    offers.passes()
    _book(offers, 1.004)
    answer = offers.offer(qty=50)
    assert (answer.control, answer.observed, answer.limit) == (Control.SOURCE_GAP, round(1.004 * E8), E8)
    offers.wait(5 * SECOND).quote().run()
    assert offers.refused(qty=50) == Control.SOURCE_GAP
    # The book is as old as no reference may be: it says nothing any more.
    offers.wait(1).bbo(0.999, 1.001).run()
    offers.passes(qty=50)
    offers.wait(5 * SECOND).bbo(0.999, 1.001).run()
    assert offers.offer(qty=60).observed == -1


@pytest.mark.control("B5")
def test_each_depth_event_that_leaves_the_book_whole_makes_it_young() -> None:
    offers = _book(Offers(books=(0,), **DEPTH), 1.0)
    for _ in range(4):
        last = int(MarketFlag.LAST_OF_EVENT)
        offers.wait(4 * SECOND).market(Kind.LEVEL, side=Side.BUY, price=E8 // 2, qty=E8, flags=last).bbo(0.999, 1.001).run()
    offers.passes()


@pytest.mark.control("B5")
def test_a_connection_lost_leaves_no_second_source_to_trust() -> None:
    offers = _book(Offers(books=(0,), **DEPTH), 1.0)
    offers.market(Kind.GAP).bbo(0.999, 1.001).run()
    assert offers.refused() == Control.SYMBOL_HALTED
    _book(offers, 1.0).passes()
    offers.market(Kind.STATUS, qty=int(FeedStatus.DISCONNECTED)).run()
    assert offers.refused(qty=50) == Control.SYMBOL_HALTED


@pytest.mark.control("B5")
@pytest.mark.parametrize(("bid", "ask", "other"), [(1, 1 << 61, 1 << 60), (1, 2, (1 << 63) - 1), ((1 << 61) - 1, 1 << 61, 1)])
def test_the_gap_of_sources_does_not_overflow(bid: int, ask: int, other: int) -> None:
    offers = Offers(max_source_gap_bps=10_000, price_collar_bps=10_000)
    y = offers.symbol()
    y["bid"], y["ask"], y["last_price"] = bid, ask, other
    middle = (bid + ask) // 2
    refused = abs(other - middle) > middle
    assert (offers.offer(price=1.0).control == Control.SOURCE_GAP) == refused


@pytest.mark.control("B4")
@pytest.mark.control("B5")
def test_both_limits_can_be_set_while_running_and_only_within_bounds() -> None:
    offers = _steady()
    offers.command(Command.LIMITS, id=int(LimitField.COLLAR_SIGMAS), value=2, version=1)
    offers.command(Command.LIMITS, id=int(LimitField.MAX_SOURCE_GAP_BPS), value=20, version=2)
    assert [int(offers.state.params[0][name]) for name in ("collar_sigmas", "max_source_gap_bps")] == [2, 20]
    for field, value in ((LimitField.COLLAR_SIGMAS, 0), (LimitField.COLLAR_SIGMAS, 101), (LimitField.MAX_SOURCE_GAP_BPS, 0)):
        before = int(offers.c["bad_input"])
        offers.command(Command.LIMITS, id=int(field), value=value, version=3)
        assert int(offers.c["bad_input"]) == before + 1
    assert [int(offers.state.params[0][name]) for name in ("collar_sigmas", "max_source_gap_bps")] == [2, 20]


@pytest.mark.control("B4")
def test_the_collar_of_an_order_at_the_edge_of_int64_is_judged_exactly() -> None:
    desk = Desk()
    desk.p["collar_spreads"], desk.p["collar_floor_bps"], desk.p["collar_sigmas"] = 10_000, 0, 2
    desk.y["bid"], desk.y["ask"] = 4 * 10**18 - 1, 4 * 10**18 + 1
    desk.q["price"] = 9 * 10**18
    wild = 60 * 10**12
    assert refuses(risk.dynamic_collar(desk.p, desk.y, desk.q, wild), Control.DYNAMIC_COLLAR)
    desk.y["ask"] = 4 * 10**18 + 10**15
    assert not refuses(risk.dynamic_collar(desk.p, desk.y, desk.q, wild), Control.DYNAMIC_COLLAR)
    desk.p["collar_sigmas"] = 1
    assert refuses(risk.dynamic_collar(desk.p, desk.y, desk.q, wild), Control.DYNAMIC_COLLAR)
