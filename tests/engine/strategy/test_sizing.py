"""Prices and quantities against every venue filter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as hs

from sentinel.engine.state import EngineSpec, new_state
from sentinel.engine.strategy.sizing import size_for_margin, taking_price, tradable_qty
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
    state = new_state(EngineSpec(symbols=1, slippage_bps=slippage))
    y = state.symbols[0]
    aligned = touch * tick
    y["bid"], y["ask"], y["tick_size"], y["last_price"] = aligned, aligned + tick, tick, aligned
    if band:
        y["band_up_bps"], y["band_down_bps"] = band, 9_000
    price = taking_price(state.params[0], y, side)
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
    assert size_for_margin(state.glob[0], state.params[0], margin, 2 * E8) == 10_000 * E8 * 200 // BPS * share // BPS // 2
