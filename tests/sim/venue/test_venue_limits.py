"""Weight, order, connection and frame limits, at their boundaries."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.limits import OrderCounter, RateOfFrames, WeightLimiter

S = 1_000_000_000
T0 = 1_700_000_040 * S  # the start of a minute


def test_weight_is_refused_above_the_limit_and_free_again_at_the_next_minute() -> None:
    limiter = WeightLimiter(100)
    limiter.charge(100, T0 + S)
    with pytest.raises(ApiError) as refusal:
        limiter.charge(1, T0 + 2 * S)
    assert (refusal.value.status, refusal.value.code) == (429, -1003)
    assert refusal.value.data == {"serverTime": T0 // 10**6 + 2000, "retryAfter": T0 // 10**6 + 60_000}
    limiter.charge(100, T0 + 60 * S)


def _until_banned(limiter: WeightLimiter, now_ns: int) -> ApiError:
    for _ in range(50):
        try:
            limiter.charge(1, now_ns)
        except ApiError as refusal:
            if refusal.status == 418:
                return refusal
    raise AssertionError("never banned")


def test_ignoring_429_leads_to_a_ban_of_two_minutes_and_then_to_a_longer_one() -> None:
    limiter = WeightLimiter(1)
    first = _until_banned(limiter, T0)
    assert first.data == {"serverTime": T0 // 10**6, "retryAfter": T0 // 10**6 + 120_000}
    assert f"IP banned until {T0 // 10**6 + 120_000}." in first.msg
    limiter.charge(1, T0 + 120 * S)
    second = _until_banned(limiter, T0 + 120 * S)
    assert second.data == {"serverTime": T0 // 10**6 + 120_000, "retryAfter": T0 // 10**6 + 420_000}


def test_refund_gives_back_the_weight_of_a_successful_order() -> None:
    limiter = WeightLimiter(10)
    limiter.charge(1, T0)
    limiter.refund(1)
    assert limiter.window.count == 0


def _event(order_id: int, execution: str, maker: bool = False) -> dict[str, Any]:
    return {"e": "executionReport", "i": order_id, "x": execution, "m": maker}


def _place(counter: OrderCounter, order_id: int) -> None:
    counter.check(T0)
    counter.placed(T0)
    counter.report(_event(order_id, "NEW"), T0)


def test_taker_orders_that_trade_do_not_count() -> None:
    counter = OrderCounter(2, 1000)
    for order_id in range(20):
        _place(counter, order_id)
        counter.report(_event(order_id, "TRADE"), T0)
        counter.report(_event(order_id, "TRADE"), T0)
    assert [window.count for window in counter.windows] == [0, 0]


def test_unfilled_orders_are_refused_above_the_limit_until_the_window_ends() -> None:
    counter = OrderCounter(3, 1000)
    for order_id in range(3):
        _place(counter, order_id)
    with pytest.raises(ApiError) as refusal:
        counter.check(T0 + 9 * S)
    assert refusal.value.msg == "Too many new orders; current limit is 3 orders per 10 SECOND."
    assert (refusal.value.status, refusal.value.code) == (429, -1015)
    counter.check(T0 + 10 * S)


def test_first_fill_as_maker_credits_five_and_a_cancel_credits_nothing() -> None:
    counter = OrderCounter(100, 1000)
    for order_id in range(7):
        _place(counter, order_id)
    counter.report(_event(0, "CANCELED"), T0)
    assert counter.windows[0].count == 7
    counter.report(_event(1, "TRADE", maker=True), T0)
    assert counter.windows[0].count == 2
    counter.report(_event(2, "REPLACED"), T0)
    counter.report(_event(2, "TRADE", maker=True), T0)
    assert counter.windows[0].count == 0


def test_frames_are_too_many_only_when_they_are_on_both_clocks() -> None:
    def burst(virtual_ns: int, wall_ns: int) -> bool:
        rate = RateOfFrames(5)
        return all(rate.admits(i * virtual_ns, i * wall_ns) for i in range(6))

    assert not burst(S // 10, S // 10)
    assert burst(S // 10, S // 4)
    assert burst(S // 4, S // 10)
    assert not burst(S // 5 - 1, S // 5 - 1)
    assert burst(S // 5, S // 5)
