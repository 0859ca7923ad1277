"""Group B: is this order sane by itself, against the market and the venue's rules?"""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.layout import AMOUNT_CAP, ORDER_NOTIONAL_CAP
from sentinel.engine.risk.verdict import Verdict, verdict_if
from sentinel.native import JIT
from sentinel.units import BPS, notional_up_nb, product_less_nb
from sentinel.wire import Control, Side


@njit(**JIT)
def sane_order(q: Any) -> Verdict:
    """A side, a positive price, and a quantity inside what products can hold."""
    side = q.side == Side.BUY or q.side == Side.SELL
    sized = 0 < q.qty <= AMOUNT_CAP and q.price > 0
    return verdict_if(not side or not sized, Control.BAD_INPUT, q.qty, AMOUNT_CAP)


@njit(**JIT)
def max_qty(p: Any, q: Any) -> Verdict:
    """Quantity of one order, base e8."""
    return verdict_if(q.qty > p.max_order_qty, Control.MAX_QTY, q.qty, p.max_order_qty)


@njit(**JIT)
def max_notional(p: Any, q: Any) -> Verdict:
    """Value of one order at its limit price, quote e8, rounded up."""
    notional = notional_up_nb(q.price, q.qty)
    limit = min(p.max_order_notional, ORDER_NOTIONAL_CAP)
    return verdict_if(notional > limit, Control.MAX_NOTIONAL, notional, limit)


@njit(**JIT)
def fresh_reference(g: Any, p: Any, y: Any) -> Verdict:
    """A best bid and ask must be known, uncrossed and young enough."""
    if y.bid <= 0 or y.ask <= y.bid or y.bbo_t <= 0:
        return verdict_if(True, Control.STALE_REFERENCE, -1, p.stale_after_ns)
    age = g.now - y.bbo_t
    return verdict_if(age > p.stale_after_ns, Control.STALE_REFERENCE, age, p.stale_after_ns)


@njit(**JIT)
def price_collar(p: Any, y: Any, q: Any) -> Verdict:
    """The limit price may lie ``price_collar_bps`` from the side it would take, on either side of it."""
    reference = y.ask if q.side == Side.BUY else y.bid
    away = abs(q.price - reference)
    return verdict_if(product_less_nb(reference, p.price_collar_bps, away, BPS), Control.PRICE_COLLAR, q.price, reference)
