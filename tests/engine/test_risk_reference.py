"""The controls that the software gate and the card's gate share refuse the same orders: both against ``sentinel.model.gate``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.engine import risk
from sentinel.engine.layout import NO_LIMIT, ORDER_NOTIONAL_CAP
from sentinel.model import gate
from sentinel.units import BPS, E8
from sentinel.wire import Side
from tests.engine.test_risk import Desk, _run_window
from tests.engine.world import SECOND, T0

NEAR = st.integers(-2, 2)
AMOUNT = st.one_of(st.integers(1, 1 << 20), st.integers(1, 1 << 40), st.integers(1, (1 << 61) - 1))
SIDE = st.sampled_from([Side.BUY, Side.SELL])
Draw = Callable[[st.SearchStrategy[int]], int]
Seen = Counter[tuple[str, bool]]


def amount_near(draw: Draw, edge: int) -> int:
    """An amount that is likely to lie on the edge."""
    near = edge + draw(NEAR)
    return near if 1 <= near < 1 << 61 and draw(st.booleans()) else draw(AMOUNT)


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk()


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Counter()


def set_tighter(draw: Draw, desk: Desk, name: str, limit: int) -> None:
    """``limit`` as the account's or as the symbol's own, the other one no tighter."""
    wider = min(limit + draw(st.sampled_from([0, 1, 1 << 62])), NO_LIMIT)
    account, symbol = (limit, wider) if draw(st.booleans()) else (wider, limit)
    desk.p[name], desk.y[name] = account, symbol


def compare(seen: Seen, name: str, software: risk.Verdict, reference: bool) -> None:
    assert (software.control != 0) == reference
    seen[name, reference] += 1


@settings(max_examples=1500)
@given(data=st.data())
def test_shared_controls_refuse_what_the_reference_refuses(desk: Desk, seen: Seen, data: st.DataObject) -> None:
    draw, q, y, p, g = data.draw, desk.q, desk.y, desk.p, desk.g
    side, price, qty, bps = draw(SIDE), draw(AMOUNT), draw(AMOUNT), draw(st.integers(1, BPS))
    limit = amount_near(draw, qty)
    q["side"], q["price"], q["qty"] = side, price, qty
    set_tighter(draw, desk, "max_order_qty", limit)
    compare(seen, "max_qty", risk.max_qty(p, y, q), qty > limit)

    limit = min(amount_near(draw, price * qty // E8), ORDER_NOTIONAL_CAP)
    set_tighter(draw, desk, "max_order_notional", limit)
    compare(seen, "max_notional", risk.max_notional(p, y, q), gate.over_notional(price, qty, limit * E8))

    bid, ask, age = draw(st.integers(0, 1 << 40)), draw(st.integers(0, 1 << 40)), draw(st.integers(0, 20 * SECOND))
    ask = bid + draw(NEAR) if draw(st.booleans()) else ask
    g["now"], y["bid"], y["ask"], y["bbo_t"] = T0 + age, bid, ask, T0
    p["stale_after_ns"] = limit = max(age + draw(NEAR), 0) if draw(st.booleans()) else 5 * SECOND
    compare(seen, "reference", risk.fresh_reference(g, p, y), gate.stale_reference(bid, ask, age, limit))

    touch = draw(AMOUNT)
    y["bid"] = y["ask"] = touch
    q["price"] = price = amount_near(draw, touch + draw(st.sampled_from([-1, 1])) * (touch * bps // BPS))
    set_tighter(draw, desk, "price_collar_bps", bps)
    compare(seen, "collar", risk.price_collar(p, y, q), gate.outside_collar(price, touch, bps))

    position, opened = draw(st.integers(-(1 << 60), 1 << 60)), draw(st.integers(0, 1 << 59))
    q["qty"] = qty = min(amount_near(draw, abs(position) - opened), 1 << 60)
    q["reduce_only"], y["position"] = 1, position
    y["open_buy"], y["open_sell"] = (opened, 7) if side == Side.BUY else (7, opened)
    compare(seen, "reducing", risk.only_reduces(y, q), gate.not_reducing(position, opened, side, qty))
    q["reduce_only"] = 0

    peak = draw(AMOUNT)
    equity = min(peak - peak * bps // BPS + draw(NEAR), peak) if draw(st.booleans()) else draw(st.integers(-(1 << 61), peak))
    g["equity_peak"], g["cash"], p["max_drawdown_bps"] = peak, equity, bps
    compare(seen, "drawdown", risk.drawdown(g, p), gate.drawdown_reached(equity, peak, bps))


def test_every_shared_control_was_seen_to_refuse_and_to_pass(seen: Seen) -> None:
    if not seen:
        pytest.skip("counts what the test above compared")
    names = ("max_qty", "max_notional", "reference", "collar", "reducing", "drawdown")
    assert {(name, refused) for name in names for refused in (False, True) if seen[name, refused] < 100} == set()


@settings(max_examples=100)
@given(gaps=st.lists(st.integers(0, 25 * SECOND), min_size=1, max_size=60), limit=st.integers(1, 6))
def test_permits_per_window_are_counted_alike(gaps: list[int], limit: int) -> None:
    kept: list[int] = []
    times, expected = [], []
    now = T0
    for gap in gaps:
        now += gap
        times.append(now)
        full = gate.window_full(kept[-limit] if len(kept) >= limit else None, now, risk.MINUTE_NS)
        expected.append(int(not full))
        kept += [] if full else [now]
    assert _run_window(times, limit, rate=False) == expected


@settings(max_examples=500)
@given(
    side=st.integers(0, 3), price=st.integers(-2, 2), qty=st.one_of(st.integers(-2, 2), st.integers((1 << 61) - 2, (1 << 61) - 1))
)
def test_senseless_orders_are_the_same_ones(desk: Desk, side: int, price: int, qty: int) -> None:
    desk.q["side"], desk.q["price"], desk.q["qty"] = side, price, qty
    refused = risk.sane_order(desk.q).control != 0
    assert refused == gate.bad_order(side, price, qty, 0)
