"""Group C: how much goes out in a stretch of time. Every window is exact."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.day import roll_day, roll_symbol_day
from sentinel.engine.frame import error_time, glob, order_time, params, permit_note, permit_time, symbol
from sentinel.engine.layout import ERROR_WINDOW, ORDER_WINDOW, PERMIT_WINDOW
from sentinel.engine.risk.verdict import Verdict, passes, verdict_if
from sentinel.native import INNER, JIT
from sentinel.units import BPS, NS_PER_S
from sentinel.wire import Control, Side, TimeInForce

MINUTE_NS = 60 * NS_PER_S
ORDER_RATE_NS = 10 * NS_PER_S
#: The share of short quotes means something from so many resting orders on.
LEAST_QUOTES = 20
REDUCING = -1


@njit(**INNER)
def _orders_within(f: Any, limit: int, length: int) -> bool:
    """``limit`` orders or more lie within the last ``length`` ns."""
    g = glob(f)
    return bool(g.order_count >= limit and order_time(f, (g.order_head - limit) % ORDER_WINDOW).t > g.now - length)


@njit(**INNER)
def order_rate(f: Any, q: Any) -> Verdict:
    """At most so many orders in any 10 s and any second; no entry beyond those of any minute and since 00:00 UTC."""
    g, p = glob(f), params(f)
    limit = -1
    if _orders_within(f, p.max_orders_per_10s, ORDER_RATE_NS):
        limit = p.max_orders_per_10s
    elif _orders_within(f, p.max_orders_per_s, NS_PER_S):
        limit = p.max_orders_per_s
    elif q.reduce_only == 0 and _orders_within(f, p.max_orders_per_minute, MINUTE_NS):
        limit = p.max_orders_per_minute
    elif q.reduce_only == 0 and g.day_orders >= p.max_orders_per_day:
        limit = p.max_orders_per_day
    return verdict_if(limit >= 0, Control.ORDER_RATE, limit + 1, limit)


@njit(**INNER)
def trades_per_minute(f: Any) -> Verdict:
    """Exact sliding window: with 1000 permits inside the last 60 s the next one is refused, and trips the kill switch."""
    g, limit = glob(f), params(f).max_trades_per_minute
    full = g.permit_count >= limit
    full = full and permit_time(f, (g.permit_head - limit) % PERMIT_WINDOW).t > g.now - MINUTE_NS
    return verdict_if(full, Control.TRADES_PER_MINUTE, limit + 1, limit)


@njit(**INNER)
def roll_windows(f: Any) -> None:
    """Take out of the sums what is older than their windows, and begin the day anew where it is another."""
    g = glob(f)
    roll_day(g)
    while g.count_10s > 0:
        k = (g.permit_head - g.count_10s) % PERMIT_WINDOW
        if permit_time(f, k).t > g.now - ORDER_RATE_NS:
            break
        g.sent_10s -= permit_note(f, k).notional
        g.count_10s -= 1
    while g.count_minute > 0:
        k = (g.permit_head - g.count_minute) % PERMIT_WINDOW
        if permit_time(f, k).t > g.now - MINUTE_NS:
            break
        g.sent_minute -= permit_note(f, k).notional
        g.entered_minute -= permit_note(f, k).entered
        g.count_minute -= 1


@njit(**JIT)
def turnover(g: Any, p: Any, q: Any, asked: int) -> Verdict:
    """No entry beyond the notional of any 10 s or any minute; what is sent to reduce counts too."""
    if q.reduce_only != 0:
        return passes()
    sent, limit = g.sent_10s + asked, p.max_notional_per_10s
    if sent <= limit:
        sent, limit = g.sent_minute + asked, p.max_notional_per_minute
    return verdict_if(sent > limit, Control.TURNOVER, sent, limit)


@njit(**JIT)
def side_tag(q: Any) -> int:
    """What entries of one strategy, symbol and side have in common."""
    return (((q.strategy << 16) | q.symbol) << 1) | (1 if q.side == Side.SELL else 0)


@njit(**INNER)
def repeated(f: Any, p: Any, y: Any, q: Any) -> Verdict:
    """Entries of one strategy, symbol and side within a minute; once refused that side stays off until ARM."""
    limit = p.max_repeats_per_minute
    if q.reduce_only != 0:
        return passes()
    if y.repeats_off & (1 << q.side) != 0:
        return verdict_if(True, Control.REPEATED, limit + 1, limit)
    if (y.sent_buys if q.side == Side.BUY else y.sent_sells) < limit:
        return passes()
    g = glob(f)
    tag, found = side_tag(q), 0
    for back in range(1, g.count_minute + 1):
        if permit_note(f, (g.permit_head - back) % PERMIT_WINDOW).tag == tag:
            found += 1
    return verdict_if(found >= limit, Control.REPEATED, found + 1, limit)


@njit(**JIT)
def order_to_trade(g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """Orders of the symbol since 00:00 UTC for each that was filled; before the first fill it counts as one."""
    if q.reduce_only != 0 or y.day != g.day:
        return passes()
    orders, most = y.day_orders + 1, p.max_order_to_trade * max(y.day_fills, 1)
    return verdict_if(orders > most, Control.ORDER_TO_TRADE, orders, most)


@njit(**JIT)
def quote_life(g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """No resting order while too many of the symbol's day were cancelled, unfilled, before they could be traded with."""
    if q.tif != TimeInForce.GTC or y.day != g.day or y.day_quotes < LEAST_QUOTES:
        return passes()
    share = y.day_short_quotes * BPS // y.day_quotes
    return verdict_if(share > p.max_short_quotes_bps, Control.QUOTE_LIFE, share, p.max_short_quotes_bps)


@njit(**INNER)
def venue_errors(f: Any) -> Verdict:
    """Refusals and missing answers in a row, the last so many within 10 s."""
    g, limit = glob(f), params(f).max_venue_errors_per_10s
    many = g.errors_in_row >= limit
    many = many and error_time(f, (g.error_head - limit) % ERROR_WINDOW).t > g.now - ORDER_RATE_NS
    return verdict_if(many, Control.VENUE_ERRORS, g.errors_in_row, limit)


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


@njit(**INNER)
def record_order(f: Any, q: Any, asked: int, entered: int) -> None:
    """The same with all else that is counted. ``asked``: its notional; ``entered``: what of that counts towards approval."""
    g = glob(f)
    y = symbol(f, q.symbol)
    note = permit_note(f, g.permit_head)
    note.notional = asked
    note.entered = entered
    note.tag = REDUCING if q.reduce_only != 0 else side_tag(q)
    record_permit(f)
    g.sent_10s += asked
    g.sent_minute += asked
    g.entered_minute += entered
    g.count_10s += 1
    g.count_minute += 1
    g.day_orders += 1
    roll_symbol_day(g, y)
    y.day_orders += 1
    y.day_quotes += 1 if q.tif == TimeInForce.GTC else 0
    y.sent_side = q.side
    y.sent_price = q.price
    y.sent_qty = q.qty
    y.sent_setup = q.setup_id
    y.sent_t = g.now
    if q.reduce_only == 0:
        y.sent_buys += 1 if q.side == Side.BUY else 0
        y.sent_sells += 1 if q.side == Side.SELL else 0
