"""Prices and quantities against every venue filter."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as hs

from sentinel.engine.state import EngineSpec, new_state
from sentinel.engine.strategy.sizing import exit_slice, size_for_margin, taking_price, tradable_qty
from sentinel.model.gate import AMOUNT_MAX
from sentinel.units import E8
from sentinel.wire import Side

BPS = 10_000


@given(
    touch=hs.integers(10, 10**13),
    tick=hs.integers(1, 10**6),
    slippage=hs.integers(0, 1000),
    side=hs.sampled_from([Side.BUY, Side.SELL]),
    band=hs.sampled_from([0, 11_000]),
)
def test_taking_price_is_on_the_grid_and_never_beyond_the_slippage(
    touch: int, tick: int, slippage: int, side: int, band: int
) -> None:
    aligned = touch * tick
    assume(aligned + tick <= AMOUNT_MAX)  # no gate lets a higher price pass
    state = new_state(EngineSpec(symbols=1, slippage_bps=slippage))
    y = state.symbols[0]
    y["bid"], y["ask"], y["tick_size"], y["last_price"] = aligned, aligned + tick, tick, aligned
    if band:
        y["band_up_bps"], y["band_down_bps"] = band, 9_000
    price = taking_price(y, side, slippage)
    assert price % tick == 0
    if side == Side.BUY:
        assert price <= (aligned + tick) * (BPS + slippage) // BPS
        assert price >= aligned + tick or band
        assert not band or price <= aligned * band // BPS
    else:
        assert aligned * (BPS - slippage) // BPS <= price <= aligned


@given(
    qty=hs.integers(0, 10**15),
    price=hs.integers(1, 10**12),
    step=hs.integers(1, 10**8),
    min_qty=hs.integers(0, 10**9),
    max_qty=hs.integers(0, 10**14),
    notionals=hs.tuples(hs.integers(0, 10**10), hs.integers(0, 10**13)),
)
def test_tradable_quantity_keeps_every_filter(
    qty: int, price: int, step: int, min_qty: int, max_qty: int, notionals: tuple[int, int]
) -> None:
    y = new_state(EngineSpec(symbols=1)).symbols[0]
    y["step_size"], y["min_qty"], y["max_qty"] = step, min_qty, max_qty
    least, most = notionals[0], sum(notionals) if notionals[1] else 0
    y["min_notional"], y["max_notional"] = least, most
    found = tradable_qty(y, qty, price)
    assert found % step == 0
    assert 0 <= found <= qty
    cap = min(qty, max_qty or qty, most * E8 // price if most else qty)
    best = cap // step * step
    usable = best > 0 and best >= min_qty and price * best // E8 >= least
    assert found == (best if usable else 0)


@pytest.mark.parametrize(("margin", "share"), [(100, 10_000), (149, 10_000), (150, 15_000), (400, 20_000)])
def test_size_table_scales_the_configured_size(margin: int, share: int) -> None:
    spec = EngineSpec(symbols=1, threshold=100, size_margins=(100, 150, 300), size_steps_bps=(200, 300, 400))
    state = new_state(spec)
    state.glob[0]["cash"] = 10_000 * E8
    size = size_for_margin(state.glob[0], state.params[0], state.symbols[0], margin, 2 * E8)
    assert size == 10_000 * E8 * 200 // BPS * share // BPS // 2


@pytest.mark.parametrize("last", [1, 2, 3])
def test_size_keeps_the_limits_at_the_last_price_too(last: int) -> None:
    state = new_state(EngineSpec(symbols=1, max_position_notional=1200 * E8))
    state.glob[0]["cash"] = 1_000_000 * E8
    state.symbols[0]["last_price"] = last * E8
    size = size_for_margin(state.glob[0], state.params[0], state.symbols[0], 100, 2 * E8)
    assert size == 1200 * E8 // max(2, last)


@given(
    held=hs.integers(1, 1 << 50),
    price=hs.integers(1, 1 << 40),
    limit=hs.integers(0, 1 << 50),
    most=hs.integers(0, 1 << 50),
    account=hs.booleans(),
)
def test_a_slice_of_an_exit_keeps_the_order_limits_and_is_the_largest_that_does(
    held: int, price: int, limit: int, most: int, account: bool
) -> None:
    state = new_state(EngineSpec(symbols=1))
    params, symbol = state.params[0], state.symbols[0]
    (params if account else symbol)["max_order_notional"] = limit
    (symbol if account else params)["max_order_qty"] = most
    (params if account else symbol)["max_order_qty"] = max(most, 1 << 51)
    (symbol if account else params)["max_order_notional"] = max(limit, 1 << 51)
    found = exit_slice(params, symbol, held, price)
    allowed = [qty for qty in (min(held, most), limit * E8 // price) if -(-price * qty // E8) <= limit]
    assert found == min(held, most, max(allowed))
