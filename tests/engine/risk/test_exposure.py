"""Exposure, capital and losses: boundaries, overflow, missing input, and what each loss does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as hs

from sentinel.engine import risk
from sentinel.engine.layout import LimitField, Market
from sentinel.units import BPS, E8
from sentinel.wire import Command, Control, Side, SignalCode, TradingState
from tests.engine.risk.offers import Offers
from tests.engine.test_risk import Desk, refuses
from tests.engine.world import SECOND

OVER = pytest.mark.parametrize("over", [-1, 0, 1])
DAY = 86_400 * SECOND


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.control("D2")
@pytest.mark.parametrize(("side", "sign"), [(Side.BUY, 1), (Side.SELL, -1)])
@OVER
def test_net_exposure_counts_every_open_order_against_us(desk: Desk, side: int, sign: int, over: int) -> None:
    desk.p["max_net_notional"], desk.q["side"] = 1_000 * E8, side
    desk.g["net_value"], waiting = sign * 500 * E8, 400 * E8
    assert refuses(risk.net_exposure(desk.g, desk.p, desk.q, 100 * E8 + over, waiting), Control.NET_EXPOSURE) == (over > 0)
    desk.g["net_value"] *= -1
    assert not refuses(risk.net_exposure(desk.g, desk.p, desk.q, 100 * E8 + over, waiting), Control.NET_EXPOSURE)
    desk.g["net_value"], desk.q["reduce_only"] = 1 << 61, 1
    assert not refuses(risk.net_exposure(desk.g, desk.p, desk.q, 1, waiting), Control.NET_EXPOSURE)


@pytest.mark.control("D2")
def test_positions_of_both_sides_cancel_out_in_the_net() -> None:
    offers = Offers(symbols=2)
    offers.complete(offers.passes(qty=300))
    offers.complete(offers.passes(symbol=1, side=Side.SELL, qty=100))
    assert int(offers.g["net_value"]) == 200 * E8
    assert int(offers.g["position_value"]) == 400 * E8
    offers.limit("max_net_notional", 250 * E8)
    assert offers.refused(qty=51) == Control.NET_EXPOSURE
    offers.passes(symbol=1, side=Side.SELL, qty=51)


@pytest.mark.control("D2")
@pytest.mark.parametrize("limit", ["max_gross_notional", "max_net_notional"])
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_an_open_order_is_worth_the_last_price_of_now_because_it_may_have_filled_unheard(limit: str, side: int) -> None:
    offers = Offers(symbols=2)
    offers.passes(symbol=1, side=side, qty=100)
    offers.quote(1, 1.199, 1.201).limit(limit, 150 * E8)
    answer = offers.offer(qty=30.001)
    assert Control(answer.control) == (Control.GROSS_EXPOSURE if limit == "max_gross_notional" else Control.NET_EXPOSURE)
    assert answer.observed == 150 * E8 + 100_000
    offers.passes(qty=30)
    # The price has come back to below the limit: the order counts at its limit again, beside the one that has just passed.
    offers.quote(1, 0.799, 0.801).limit(limit, 140 * E8)
    assert offers.refused(qty=10.001) == answer.control
    offers.passes(qty=10)


@pytest.mark.control("D3")
@OVER
def test_a_purchase_leaves_its_share_of_equity_in_cash(desk: Desk, over: int) -> None:
    desk.p["min_free_capital_bps"] = 2_000
    desk.g["cash"], desk.g["inventory_value"], desk.g["open_notional"] = 500 * E8, 500 * E8, 100 * E8
    assert refuses(risk.free_capital(desk.g, desk.p, desk.q, 200 * E8 + over, 0), Control.FREE_CAPITAL) == (over > 0)
    desk.q["side"] = Side.SELL
    assert not refuses(risk.free_capital(desk.g, desk.p, desk.q, 1 << 52, 0), Control.FREE_CAPITAL)


@pytest.mark.control("D3")
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
@OVER
def test_on_margin_an_entry_of_either_side_leaves_equity_free(desk: Desk, side: int, over: int) -> None:
    desk.p["min_free_capital_bps"], desk.p["market"], desk.q["side"] = 2_000, Market.USDM, side
    desk.g["cash"], desk.g["position_value"], waiting = 1_000 * E8, 500 * E8, 100 * E8
    assert refuses(risk.free_capital(desk.g, desk.p, desk.q, 200 * E8 + over, waiting), Control.FREE_CAPITAL) == (over > 0)
    desk.q["reduce_only"] = 1
    assert not refuses(risk.free_capital(desk.g, desk.p, desk.q, 1 << 52, waiting), Control.FREE_CAPITAL)


@pytest.mark.control("D3")
@pytest.mark.parametrize("cash", [0, -1, -(1 << 61)])
def test_without_equity_nothing_is_bought(desk: Desk, cash: int) -> None:
    desk.g["cash"] = cash
    assert refuses(risk.free_capital(desk.g, desk.p, desk.q, 0, 0), Control.FREE_CAPITAL)


@pytest.mark.control("D5")
@given(peak=hs.integers(-1, 1 << 61), loss=hs.integers(-(1 << 61), 1 << 61), bps=hs.integers(1, BPS), start=hs.integers(-E8, E8))
def test_daily_loss_equals_exact_arithmetic(peak: int, loss: int, bps: int, start: int) -> None:
    desk = Desk()
    desk.g["equity_peak"], desk.g["day_pnl"], desk.g["realised"] = peak, start, start - loss
    desk.p["daily_loss_soft_bps"] = desk.p["daily_loss_hard_bps"] = bps
    reached = loss > 0 and loss * BPS >= max(peak, 0) * bps
    assert refuses(risk.daily_loss(desk.g, desk.p, desk.q), Control.DAILY_LOSS) == (reached or peak <= 0)
    assert refuses(risk.hard_daily_loss(desk.g, desk.p), Control.DAILY_LOSS) == reached
    desk.q["reduce_only"] = 1
    assert not refuses(risk.daily_loss(desk.g, desk.p, desk.q), Control.DAILY_LOSS)


def _losing(**limits: int) -> Offers:
    """A long of 10,000 at 1.0 in an account of 101,000."""
    offers = Offers(quote=100_000.0, stale_after_ns=2 * DAY, **limits)
    offers.complete(offers.passes(qty=10_000))
    return offers


@pytest.mark.control("D5")
def test_the_soft_daily_loss_leaves_only_what_reduces_and_ends_with_arming_on_the_next_day() -> None:
    offers = _losing(max_loss_per_minute_bps=BPS)
    offers.trade(0.81).run()
    assert int(offers.g["trading_state"]) == TradingState.ACTIVE
    effects = offers.trade(0.79).bbo(0.789, 0.791).run()
    (fired,) = offers.signals(SignalCode.CONTROL_FIRED, effects)
    assert (fired["control"], fired["limit"]) == (Control.DAILY_LOSS, 200)
    assert int(offers.g["trading_state"]) == TradingState.REDUCE_ONLY
    assert offers.refused(price=0.79) == Control.DAILY_LOSS
    offers.ends(offers.passes(side=Side.SELL, price=0.79, reduce_only=1))
    # Armed the same day, the loss still stands for entries.
    offers.arm()
    assert offers.refused(price=0.79, qty=50) == Control.DAILY_LOSS
    offers.wait(DAY - offers.now % DAY)
    offers.quote(bid=0.789, ask=0.791).arm()
    offers.passes(price=0.79, qty=51)


@pytest.mark.control("D5")
def test_the_hard_daily_loss_kills_and_cannot_be_armed_away_while_it_stands() -> None:
    offers = _losing(max_loss_per_minute_bps=BPS)
    offers.trade(0.69).run()
    assert (int(offers.g["killed"]), int(offers.g["kill_cause"])) == (1, Control.DAILY_LOSS)
    offers.arm()
    assert int(offers.g["killed"]) == 1
    offers.command(Command.LIMITS, id=LimitField.LOSS_BASE, version=2)
    offers.arm()
    assert int(offers.g["trading_state"]) == TradingState.ACTIVE


@pytest.mark.control("D5")
def test_prices_of_what_the_account_merely_owns_are_no_loss_of_the_day() -> None:
    offers = Offers(quote=1_000.0)
    offers.trade(0.9).run()
    assert int(offers.g["killed"]) == 0
    assert int(offers.g["trading_state"]) == TradingState.ACTIVE


@pytest.mark.control("D6")
@pytest.mark.parametrize(("pause", "killed"), [(59, True), (81, False)])
def test_a_loss_within_a_minute_kills_and_a_slower_one_does_not(pause: int, killed: bool) -> None:
    offers = _losing(daily_loss_soft_bps=BPS, daily_loss_hard_bps=BPS)
    offers.trade(0.96).run()
    for _ in range(pause):
        offers.wait(SECOND).trade(0.96).run()
    offers.trade(0.94).run()
    assert (int(offers.g["kill_cause"]) == Control.LOSS_VELOCITY) == killed
    offers.arm()
    assert (int(offers.g["killed"]) == 1) == killed
    offers.wait(71 * SECOND).trade(0.94).run()
    offers.arm()
    assert int(offers.g["killed"]) == 0


@pytest.mark.control("D6")
def test_a_fall_after_silence_is_a_fast_one() -> None:
    offers = _losing(daily_loss_soft_bps=BPS, daily_loss_hard_bps=BPS)
    offers.wait(3_600 * SECOND).trade(0.94).run()
    assert int(offers.g["kill_cause"]) == Control.LOSS_VELOCITY


@pytest.mark.control("D8")
@OVER
def test_a_position_must_be_left_in_time_at_a_tenth_of_the_volume(desk: Desk, over: int) -> None:
    # 15 minutes of a tenth of 4,000 an hour are 100.
    desk.p["max_exit_minutes"], desk.q["qty"] = 15, 100 * E8 + over
    assert refuses(risk.liquidity(desk.p, desk.y, desk.q, 4_000 * E8), Control.LIQUIDITY) == (over > 0)
    assert refuses(risk.liquidity(desk.p, desk.y, desk.q, 0), Control.LIQUIDITY)
    desk.q["reduce_only"] = 1
    assert not refuses(risk.liquidity(desk.p, desk.y, desk.q, 0), Control.LIQUIDITY)


@pytest.mark.control("D8")
def test_the_volume_is_that_of_the_last_hour() -> None:
    offers = Offers(max_exit_minutes=60, stale_after_ns=DAY)
    assert offers.refused() == Control.LIQUIDITY
    for _ in range(3):
        offers.wait(60 * SECOND).trade(1.0, 500)
    offers.quote()
    offers.passes(qty=99)


@given(
    fills=hs.lists(
        hs.tuples(hs.booleans(), hs.integers(1, 500), hs.sampled_from([0.9, 0.95, 1.0, 1.05, 1.1])), min_size=1, max_size=25
    )
)
def test_result_and_net_value_equal_a_ledger_by_hand(fills: list[tuple[bool, int, float]]) -> None:
    offers = Offers(daily_loss_soft_bps=BPS, daily_loss_hard_bps=BPS, max_loss_per_minute_bps=BPS, threshold=10**9)
    offers.instrument(MIN_NOTIONAL=0)
    cash = held = 0
    for buys, qty, price in fills:
        offers.wait(SECOND).quote(bid=price - 0.001, ask=price + 0.001)
        place = offers.passes(side=Side.BUY if buys else Side.SELL, qty=qty, price=price)
        offers.complete(place)
        cash -= (qty if buys else -qty) * round(price * E8)
        held += qty if buys else -qty
        last = int(offers.symbol()["last_price"])
        result = int(offers.g["realised"]) + int(offers.g["unrealised"])
        # Shares of the cost are rounded once a reduction.
        assert abs(result - (cash + held * last)) <= 2 * len(fills)
        assert int(offers.g["net_value"]) == held * last


@pytest.mark.control("D5")
def test_a_gap_over_midnight_is_a_loss_of_the_new_day() -> None:
    offers = _losing(max_loss_per_minute_bps=BPS)
    offers.wait(DAY - offers.now % DAY)
    offers.trade(0.6).run()
    assert (int(offers.g["killed"]), int(offers.g["kill_cause"])) == (1, Control.DAILY_LOSS)
