"""Prices and quantities a venue accepts, and how much to trade: rounded toward the smaller commitment."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.layout import AMOUNT_CAP, ORDER_NOTIONAL_CAP
from sentinel.engine.portfolio import equity
from sentinel.native import JIT
from sentinel.units import BPS, E8
from sentinel.wide_money import mul_div_nb, mul_div_wide_nb, notional_nb, notional_up_nb
from sentinel.wire import Side


@njit(**JIT)
def has_filters(y: Any) -> bool:
    """The venue says TRADING and has told its tick and step size."""
    return y.trading == 1 and y.tick_size > 0 and y.step_size > 0


@njit(**JIT)
def has_quote(g: Any, p: Any, y: Any) -> bool:
    """Best bid and ask are known, uncrossed and not stale."""
    return 0 < y.bid < y.ask and g.now - y.bbo_t <= p.stale_after_ns


@njit(**JIT)
def mark_price(g: Any, p: Any, y: Any) -> int:
    """Last price, moved into the quoted spread where there is a quote: what the position could really be worth."""
    if not has_quote(g, p, y):
        return y.last_price
    return min(max(y.last_price, y.bid), y.ask)


@njit(**JIT)
def taking_price(y: Any, side: int, beyond_bps: int) -> int:
    """Limit price that takes the other side up to ``beyond_bps`` beyond the touch, on the tick grid.

    Rounded toward the touch and kept inside the venue's price range and percent band (against the last price,
    the nearest thing known to the venue's own average). Needs filters and a quote; 0 where no price is left.
    """
    tick = y.tick_size
    if side == Side.BUY:
        price = y.ask + mul_div_nb(y.ask, beyond_bps, BPS)
        if y.band_up_bps > 0 and y.last_price > 0:
            price = min(price, mul_div_nb(y.last_price, y.band_up_bps, BPS))
        if y.max_price > 0:
            price = min(price, y.max_price)
        return price - price % tick
    price = y.bid - mul_div_nb(y.bid, beyond_bps, BPS)
    if y.band_down_bps > 0 and y.last_price > 0:
        price = max(price, mul_div_nb(y.last_price, y.band_down_bps, BPS) + 1)
    price = max(max(price, y.min_price), tick)
    return price + (tick - price % tick) % tick


@njit(**JIT)
def resting_price(y: Any, side: int) -> int:
    """The best price of the order's own side, on the tick grid and no nearer to the other side. Needs filters and a quote."""
    tick = y.tick_size
    if side == Side.BUY:
        return y.bid - y.bid % tick
    return y.ask + (tick - y.ask % tick) % tick


@njit(**JIT)
def tradable_qty(y: Any, qty: int, price: int) -> int:
    """``qty`` rounded down to the venue's step and maxima; 0 if that is below its minimum quantity or notional."""
    most = min(qty, y.max_qty) if y.max_qty > 0 else qty
    if y.max_notional > 0 and notional_up_nb(price, most) > y.max_notional:
        most = mul_div_wide_nb(y.max_notional, E8, price)
    rounded = most - most % y.step_size
    if rounded <= 0 or rounded < y.min_qty or notional_nb(price, rounded) < y.min_notional:
        return 0
    return rounded


@njit(**JIT)
def size_for_margin(g: Any, p: Any, y: Any, margin: int, price: int) -> int:
    """Base quantity worth ``size_bps`` of equity, scaled by the model's size table; no more than the limits allow.

    The limits are met at the last price too where that is the higher one: a sale's limit lies below the market.
    """
    step = 0
    for k in range(1, p.size_steps):
        if margin >= p.size_margins[k]:
            step = k
    share = mul_div_nb(max(equity(g), 0), p.size_bps, BPS)
    share = mul_div_nb(share, p.size_bps_steps[step], max(p.size_bps_steps[0], 1))
    account, own = min(p.max_order_notional, p.max_position_notional), min(y.max_order_notional, y.max_position_notional)
    limit = min(min(account, own), ORDER_NOTIONAL_CAP)
    allowed = mul_div_wide_nb(limit, E8, max(price, y.last_price))
    return min(min(mul_div_wide_nb(share, E8, price), allowed), min(min(p.max_order_qty, y.max_order_qty), AMOUNT_CAP))


@njit(**JIT)
def exit_slice(p: Any, y: Any, held: int, price: int) -> int:
    """As much of a position as one order may close: an exit grown beyond the order limits goes in slices."""
    qty = min(held, min(p.max_order_qty, y.max_order_qty))
    limit = min(min(p.max_order_notional, y.max_order_notional), ORDER_NOTIONAL_CAP)
    return mul_div_wide_nb(limit, E8, price) if notional_up_nb(price, qty) > limit else qty
