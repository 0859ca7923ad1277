"""Group C: how much goes out in a stretch of time."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.frame import glob, order_time, params, permit_time
from sentinel.engine.layout import ORDER_WINDOW, PERMIT_WINDOW
from sentinel.engine.risk.verdict import Verdict, verdict_if
from sentinel.native import INNER
from sentinel.units import NS_PER_S
from sentinel.wire import Control

MINUTE_NS = 60 * NS_PER_S
ORDER_RATE_NS = 10 * NS_PER_S


@njit(**INNER)
def order_rate(f: Any) -> Verdict:
    """At most ``max_orders_per_10s`` permits in any 10 s."""
    g, limit = glob(f), params(f).max_orders_per_10s
    full = g.order_count >= limit
    full = full and order_time(f, (g.order_head - limit) % ORDER_WINDOW).t > g.now - ORDER_RATE_NS
    return verdict_if(full, Control.ORDER_RATE, limit + 1, limit)


@njit(**INNER)
def trades_per_minute(f: Any) -> Verdict:
    """Exact sliding window: with 1000 permits inside the last 60 s the next one is refused, and trips the kill switch."""
    g, limit = glob(f), params(f).max_trades_per_minute
    full = g.permit_count >= limit
    full = full and permit_time(f, (g.permit_head - limit) % PERMIT_WINDOW).t > g.now - MINUTE_NS
    return verdict_if(full, Control.TRADES_PER_MINUTE, limit + 1, limit)


@njit(**INNER)
def record_permit(f: Any) -> None:
    """Enter the order let through now into both windows."""
    g = glob(f)
    permit_time(f, g.permit_head).t = g.now
    g.permit_head = (g.permit_head + 1) % PERMIT_WINDOW
    g.permit_count = min(g.permit_count + 1, PERMIT_WINDOW)
    order_time(f, g.order_head).t = g.now
    g.order_head = (g.order_head + 1) % ORDER_WINDOW
    g.order_count = min(g.order_count + 1, ORDER_WINDOW)
