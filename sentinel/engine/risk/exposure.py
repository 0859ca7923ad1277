"""Group D: what is held, plus every live or UNKNOWN order as if it filled whole, plus the order asked for."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.layout import ORDER_NOTIONAL_CAP
from sentinel.engine.portfolio import equity
from sentinel.engine.risk.verdict import Verdict, passes, verdict_if
from sentinel.native import JIT
from sentinel.units import BPS, notional_up_nb, product_less_nb
from sentinel.wire import Control, Side


@njit(**JIT)
def open_orders(g: Any, p: Any) -> Verdict:
    """Number of orders that are not final."""
    return verdict_if(g.live_orders >= p.max_open_orders, Control.OPEN_ORDERS, g.live_orders + 1, p.max_open_orders)


@njit(**JIT)
def position_limit(p: Any, y: Any, q: Any) -> Verdict:
    """Worst-case position of the symbol on the order's side, at the higher of limit and last price."""
    if q.reduce_only != 0:
        return passes()
    held = y.position if q.side == Side.BUY else -y.position
    opened = y.open_buy if q.side == Side.BUY else y.open_sell
    worst = max(held, 0) + opened + q.qty
    notional = notional_up_nb(max(q.price, y.last_price), worst)
    return verdict_if(notional > p.max_position_notional, Control.POSITION_LIMIT, notional, p.max_position_notional)


@njit(**JIT)
def gross_exposure(g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """All positions at last prices, all open orders and this one, at the higher of limit and last price."""
    if q.reduce_only != 0:
        return passes()
    asked = min(notional_up_nb(max(q.price, y.last_price), q.qty), ORDER_NOTIONAL_CAP)
    gross = g.position_value + g.open_notional + asked
    return verdict_if(gross > p.max_gross_notional, Control.GROSS_EXPOSURE, gross, p.max_gross_notional)


@njit(**JIT)
def drawdown(g: Any, p: Any) -> Verdict:
    """Equity against its peak: at ``max_drawdown_bps`` of the peak or more it trips. No division."""
    now = equity(g)
    if g.equity_peak <= 0 or now >= g.equity_peak:
        return passes()
    reached = not product_less_nb(g.equity_peak - now, BPS, g.equity_peak, p.max_drawdown_bps)
    return verdict_if(reached, Control.DRAWDOWN, now, g.equity_peak)
