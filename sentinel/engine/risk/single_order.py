"""Group B: is this order sane by itself, against the market and the venue's rules?"""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.book import book_middle, book_visible_qty
from sentinel.engine.frame import book_state, order
from sentinel.engine.layout import AMOUNT_CAP, ORDER_NOTIONAL_CAP, ORDER_SLOTS
from sentinel.engine.orders import is_live
from sentinel.engine.risk.verdict import Verdict, passes, verdict_if
from sentinel.engine.volatility import beyond_sigmas, quote_middle
from sentinel.native import INNER, JIT
from sentinel.units import BPS, INT64_MAX
from sentinel.wide_money import mul_div_wide_nb, notional_nb, notional_up_nb, product_less_nb
from sentinel.wire import Control, OrderType, Side, TimeInForce

MOST_TYPE, MOST_TIF = int(OrderType.LIMIT_MAKER), int(TimeInForce.FOK)


@njit(**JIT)
def sane_order(q: Any) -> Verdict:
    """A side, a positive price, and a quantity inside what products can hold."""
    side = q.side == Side.BUY or q.side == Side.SELL
    sized = 0 < q.qty <= AMOUNT_CAP and q.price > 0
    return verdict_if(not side or not sized, Control.BAD_INPUT, q.qty, AMOUNT_CAP)


@njit(**JIT)
def max_qty(p: Any, y: Any, q: Any) -> Verdict:
    """Quantity of one order, base e8: the account's limit or the symbol's, whichever is tighter."""
    limit = min(p.max_order_qty, y.max_order_qty)
    return verdict_if(q.qty > limit, Control.MAX_QTY, q.qty, limit)


@njit(**JIT)
def max_notional(p: Any, y: Any, q: Any) -> Verdict:
    """Value of one order at its limit price, quote e8, rounded up: the account's limit or the symbol's."""
    notional = notional_up_nb(q.price, q.qty)
    limit = min(min(p.max_order_notional, y.max_order_notional), ORDER_NOTIONAL_CAP)
    return verdict_if(notional > limit, Control.MAX_NOTIONAL, notional, limit)


@njit(**JIT)
def fresh_reference(g: Any, p: Any, y: Any) -> Verdict:
    """A best bid and ask must be known, uncrossed and young enough."""
    if y.bid <= 0 or y.ask <= y.bid or y.bbo_t <= 0:
        return verdict_if(True, Control.STALE_REFERENCE, -1, p.stale_after_ns)
    age = g.now - y.bbo_t
    return verdict_if(age > p.stale_after_ns, Control.STALE_REFERENCE, age, p.stale_after_ns)


@njit(**INNER)
def source_gap(f: Any, g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """An entry needs a second source of the price within ``max_source_gap_bps`` of the middle of the quote; 0: not asked.

    That is the middle of the book where depth is kept, whole and as young as a quote must be, else the last trade where that
    is as young. No second source refuses (observed -1).
    """
    if p.max_source_gap_bps == 0 or q.reduce_only != 0:
        return passes()
    middle, other = quote_middle(y), 0
    if y.book >= 0 and g.now - y.book_t <= p.stale_after_ns:
        other = book_middle(book_state(f), y.book)
    if other == 0 and y.last_price > 0 and g.now - y.trade_t <= p.stale_after_ns:
        other = y.last_price
    if other == 0 or middle == 0:
        return verdict_if(True, Control.SOURCE_GAP, -1, middle)
    apart = product_less_nb(middle, p.max_source_gap_bps, abs(other - middle), BPS)
    return verdict_if(apart, Control.SOURCE_GAP, other, middle)


@njit(**JIT)
def price_collar(p: Any, y: Any, q: Any) -> Verdict:
    """The limit price may lie ``price_collar_bps`` from the side it would take, on either side; the symbol's if that is less.

    The limit told is the last price that would have passed.
    """
    reference = y.ask if q.side == Side.BUY else y.bid
    collar = min(p.price_collar_bps, y.price_collar_bps)
    away = q.price - reference
    if not product_less_nb(reference, collar, abs(away), BPS):
        return passes()
    reach = min(mul_div_wide_nb(reference, collar, BPS), INT64_MAX - reference)
    return verdict_if(True, Control.PRICE_COLLAR, q.price, reference + reach if away > 0 else reference - reach)


@njit(**JIT)
def order_type(q: Any) -> Verdict:
    """A limit that takes what it can, or rests until a known time; never a bare market order."""
    kind = q.order_type == OrderType.LIMIT or q.order_type == OrderType.LIMIT_MAKER
    if not kind:
        return verdict_if(True, Control.ORDER_TYPE, q.order_type, MOST_TYPE)
    waits = q.tif == TimeInForce.GTC and q.t_rest_end > 0
    takes = (q.tif == TimeInForce.IOC or q.tif == TimeInForce.FOK) and q.order_type == OrderType.LIMIT
    return verdict_if(not waits and not takes, Control.ORDER_TYPE, q.tif, MOST_TIF)


@njit(**JIT)
def venue_filter(y: Any, q: Any) -> Verdict:
    """Tick, step, least and largest price, quantity and notional, and the percent band, as the venue has told them."""
    if y.tick_size <= 0 or y.step_size <= 0:
        return verdict_if(True, Control.VENUE_FILTER, -1, 0)
    if q.price % y.tick_size != 0 or q.price < y.min_price:
        return verdict_if(True, Control.VENUE_FILTER, q.price, max(y.min_price, y.tick_size))
    if y.max_price > 0 and q.price > y.max_price:
        return verdict_if(True, Control.VENUE_FILTER, q.price, y.max_price)
    if q.qty % y.step_size != 0 or q.qty < y.min_qty:
        return verdict_if(True, Control.VENUE_FILTER, q.qty, max(y.min_qty, y.step_size))
    if y.max_qty > 0 and q.qty > y.max_qty:
        return verdict_if(True, Control.VENUE_FILTER, q.qty, y.max_qty)
    notional = notional_nb(q.price, q.qty)
    if notional < y.min_notional:
        return verdict_if(True, Control.VENUE_FILTER, notional, y.min_notional)
    notional = notional_up_nb(q.price, q.qty)
    if y.max_notional > 0 and notional > y.max_notional:
        return verdict_if(True, Control.VENUE_FILTER, notional, y.max_notional)
    return _percent_band(y, q)


@njit(**JIT)
def _percent_band(y: Any, q: Any) -> Verdict:
    if y.band_up_bps > 0 and (y.last_price <= 0 or product_less_nb(y.last_price, y.band_up_bps, q.price, BPS)):
        return verdict_if(True, Control.VENUE_FILTER, q.price, y.last_price)
    below = y.band_down_bps > 0 and (y.last_price <= 0 or product_less_nb(q.price, BPS, y.last_price, y.band_down_bps))
    return verdict_if(below, Control.VENUE_FILTER, q.price, y.last_price)


@njit(**JIT)
def duplicate(g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """The symbol's last order once more, of the same setup, within ``duplicate_window_ns``.

    An exit, that may be the next slice or meet nobody, is held back no longer than its own ``exit_retry_ns``.
    """
    window = p.duplicate_window_ns if q.reduce_only == 0 else min(p.duplicate_window_ns, p.exit_retry_ns)
    age = g.now - y.sent_t
    recent = y.sent_t > 0 and age < window
    same = y.sent_side == q.side and y.sent_price == q.price and y.sent_qty == q.qty and y.sent_setup == q.setup_id
    return verdict_if(recent and same, Control.DUPLICATE, age, window)


@njit(**INNER)
def self_match(f: Any, y: Any, q: Any) -> Verdict:
    """No order that could trade with a live, pending or UNKNOWN one of the account; without a price that one always could."""
    other = y.open_sell if q.side == Side.BUY else y.open_buy
    if other == 0:
        return passes()
    for i in range(ORDER_SLOTS):
        o = order(f, i)
        if o.symbol != q.symbol or o.side == q.side or not is_live(o.state):
            continue
        apart = q.price < o.price if q.side == Side.BUY else q.price > o.price
        if o.price <= 0 or not apart:
            return verdict_if(True, Control.SELF_MATCH, q.price, o.price)
    return passes()


@njit(**JIT)
def signal_age(g: Any, p: Any, q: Any) -> Verdict:
    """Time since what the order follows: known, not in the future, and short enough."""
    age = g.now - q.t_signal
    refuse = q.t_signal <= 0 or age < 0 or age > p.max_signal_age_ns
    return verdict_if(refuse, Control.SIGNAL_AGE, age if q.t_signal > 0 else -1, p.max_signal_age_ns)


@njit(**JIT)
def dynamic_collar(p: Any, y: Any, q: Any, squares: int) -> Verdict:
    """An entry's limit may lie ``collar_floor_bps`` from the middle of the quote; further only within ``collar_spreads``
    spreads and within ``collar_sigmas`` standard deviations of its one-second moves too.

    Neither widens the collar alone: not a spread blown open in a market that does not move, nor a wild minute behind a narrow
    spread. The floor is for quiet markets, that both would close. ``squares``: squared_moves of the symbol; seconds nobody
    knows count as without a move, so that at a start, or after silence, only the floor is left.
    """
    if q.reduce_only != 0:
        return passes()
    middle = quote_middle(y)
    if middle == 0:
        return verdict_if(True, Control.DYNAMIC_COLLAR, -1, 0)
    away = abs(q.price - middle)
    if not product_less_nb(middle, p.collar_floor_bps, away, BPS):
        return passes()
    spreads = product_less_nb(y.ask - y.bid, p.collar_spreads, away, 1)
    beyond = spreads or beyond_sigmas(away, middle, squares, p.collar_sigmas)
    return verdict_if(beyond, Control.DYNAMIC_COLLAR, q.price, middle)


@njit(**JIT)
def adverse_drift(p: Any, y: Any, q: Any, before: int) -> Verdict:
    """No entry once the price has run ``max_drift_bps`` its way since ``before``, the price 60 s ago (e8)."""
    if q.reduce_only != 0:
        return passes()
    if before <= 0 or y.last_price <= 0:
        return verdict_if(True, Control.ADVERSE_DRIFT, -1, before)
    gone = y.last_price - before if q.side == Side.BUY else before - y.last_price
    refuse = gone > 0 and product_less_nb(before, p.max_drift_bps, gone, BPS)
    return verdict_if(refuse, Control.ADVERSE_DRIFT, y.last_price, before)


@njit(**INNER)
def impact(f: Any, p: Any, y: Any, q: Any) -> Verdict:
    """An entry that takes may ask for ``max_impact_bps`` of what is visible up to its price. Asked only where depth is kept."""
    if p.max_impact_bps == 0 or y.book < 0 or q.reduce_only != 0 or q.tif == TimeInForce.GTC:
        return passes()
    visible = book_visible_qty(book_state(f), y.book, q.side, q.price)
    return verdict_if(product_less_nb(visible, p.max_impact_bps, q.qty, BPS), Control.IMPACT, q.qty, visible)
