"""Group D: what is held, plus every live or UNKNOWN order as if it filled whole, plus the order asked for."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.frame import glob, loss_high, order, params, symbol
from sentinel.engine.layout import LOSS_BUCKETS, ORDER_NOTIONAL_CAP, ORDER_SLOTS, Market
from sentinel.engine.orders import SLOT_MASK, is_live
from sentinel.engine.portfolio import equity, profit
from sentinel.engine.risk.verdict import Verdict, passes, verdict_if
from sentinel.native import INNER, JIT
from sentinel.units import BPS, NS_PER_S
from sentinel.wide_money import notional_up_nb, product_less_nb
from sentinel.wire import Control, Side

LOSS_BUCKET_NS = 10 * NS_PER_S


@njit(**JIT)
def open_orders(g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """Number of orders that are not final, those of others on the account too, of the symbol and in all; not of what reduces."""
    if q.reduce_only != 0:
        return passes()
    if y.live >= y.max_open_orders:
        return verdict_if(True, Control.OPEN_ORDERS, y.live + 1, y.max_open_orders)
    return verdict_if(g.live_orders >= p.max_open_orders, Control.OPEN_ORDERS, g.live_orders + 1, p.max_open_orders)


@njit(**JIT)
def position_limit(p: Any, y: Any, q: Any) -> Verdict:
    """Worst-case position of the symbol on the order's side, at the higher of limit and last price.

    The limit is the account's for any symbol or this symbol's own, whichever is tighter.
    """
    if q.reduce_only != 0:
        return passes()
    held = y.position if q.side == Side.BUY else -y.position
    opened = y.open_buy if q.side == Side.BUY else y.open_sell
    worst = max(held, 0) + opened + q.qty
    notional = notional_up_nb(max(q.price, y.last_price), worst)
    limit = min(p.max_position_notional, y.max_position_notional)
    return verdict_if(notional > limit, Control.POSITION_LIMIT, notional, limit)


@njit(**JIT)
def asked_notional(y: Any, q: Any) -> int:
    """What the order adds to exposure: its value at the higher of limit and last price, quote e8."""
    return min(notional_up_nb(max(q.price, y.last_price), q.qty), ORDER_NOTIONAL_CAP)


@njit(**INNER)
def open_value(f: Any) -> int:
    """What all live and UNKNOWN orders come to if they fill whole: each rest at the higher of limit and last price, quote e8.

    A fill of which nobody has heard yet is worth the last price, whatever that was when the order was sent.
    """
    g = glob(f)
    left = g.live_orders
    total = 0
    for k in range(ORDER_SLOTS):
        if left == 0:
            break
        # From the newest on: what is live is mostly young, and few rows are read.
        o = order(f, (g.sequence - k) & SLOT_MASK)
        if is_live(o.state):
            left -= 1
            price = max(o.price, symbol(f, o.symbol).last_price)
            total += min(notional_up_nb(price, max(o.qty - o.cum_qty, 0)), ORDER_NOTIONAL_CAP)
    return total


@njit(**JIT)
def gross_exposure(g: Any, p: Any, q: Any, asked: int, waiting: int) -> Verdict:
    """All positions at last prices, the ``open_value`` of all orders, and this one."""
    if q.reduce_only != 0:
        return passes()
    gross = g.position_value + waiting + asked
    return verdict_if(gross > p.max_gross_notional, Control.GROSS_EXPOSURE, gross, p.max_gross_notional)


@njit(**JIT)
def drawdown(g: Any, p: Any) -> Verdict:
    """Equity against its peak: at ``max_drawdown_bps`` of the peak or more it trips. No division."""
    now = equity(g)
    if g.equity_peak <= 0 or now >= g.equity_peak:
        return passes()
    reached = not product_less_nb(g.equity_peak - now, BPS, g.equity_peak, p.max_drawdown_bps)
    return verdict_if(reached, Control.DRAWDOWN, now, g.equity_peak)


@njit(**JIT)
def net_exposure(g: Any, p: Any, q: Any, asked: int, waiting: int) -> Verdict:
    """Positions bought less sold, as the order's side sees them, with every open order and this one counted in full."""
    if q.reduce_only != 0:
        return passes()
    held = g.net_value if q.side == Side.BUY else -g.net_value
    net = held + waiting + asked
    return verdict_if(net > p.max_net_notional, Control.NET_EXPOSURE, net, p.max_net_notional)


@njit(**JIT)
def free_capital(g: Any, p: Any, q: Any, asked: int, waiting: int) -> Verdict:
    """An entry must leave ``min_free_capital_bps`` of equity free: on spot a purchase of cash, on margin any of equity.

    Of cash an open order takes what it was reserved for; of equity its ``open_value``.
    """
    if p.min_free_capital_bps == 0 or q.reduce_only != 0 or (p.market == Market.SPOT and q.side == Side.SELL):
        return passes()
    total = equity(g)
    have = g.cash - g.open_notional if p.market == Market.SPOT else total - g.position_value - waiting
    free = have - asked
    refuse = total <= 0 or free < 0 or product_less_nb(free, BPS, total, p.min_free_capital_bps)
    return verdict_if(refuse, Control.FREE_CAPITAL, free, total)


@njit(**JIT)
def loss_reaches(g: Any, loss: int, bps: int) -> bool:
    """A loss of ``bps`` or more of the peak of equity."""
    return loss > 0 and not product_less_nb(loss, BPS, max(g.equity_peak, 0), bps)


@njit(**JIT)
def daily_loss(g: Any, p: Any, q: Any) -> Verdict:
    """No entry once the strategy has lost ``daily_loss_soft_bps`` since 00:00 UTC, or while equity has never been seen."""
    if q.reduce_only != 0:
        return passes()
    loss = g.day_pnl - profit(g)
    refuse = g.equity_peak <= 0 or loss_reaches(g, loss, p.daily_loss_soft_bps)
    return verdict_if(refuse, Control.DAILY_LOSS, loss, p.daily_loss_soft_bps)


@njit(**JIT)
def hard_daily_loss(g: Any, p: Any) -> Verdict:
    """The strategy's loss since 00:00 UTC that trips the kill switch."""
    loss = g.day_pnl - profit(g)
    return verdict_if(loss_reaches(g, loss, p.daily_loss_hard_bps), Control.DAILY_LOSS, loss, p.daily_loss_hard_bps)


@njit(**INNER)
def loss_within_minute(f: Any) -> int:
    """How far profit lies below its highest within the last 60 to 70 s, quote e8."""
    g = glob(f)
    highest = profit(g)
    for k in range(LOSS_BUCKETS - 1):
        highest = max(highest, loss_high(f, (g.loss_bucket - k) % LOSS_BUCKETS).t)
    return highest - profit(g)


@njit(**INNER)
def note_profit(f: Any) -> None:
    """Keep the highest profit of each 10 s; a stretch without news keeps what it began with."""
    g = glob(f)
    bucket = g.now // LOSS_BUCKET_NS
    for k in range(min(bucket - g.loss_bucket, LOSS_BUCKETS)):
        loss_high(f, (bucket - k) % LOSS_BUCKETS).t = g.pnl
    g.loss_bucket = bucket
    g.pnl = profit(g)
    high = loss_high(f, bucket % LOSS_BUCKETS)
    high.t = max(high.t, g.pnl)


@njit(**INNER)
def loss_velocity(f: Any) -> Verdict:
    """The strategy's loss within a minute."""
    g, p = glob(f), params(f)
    loss = loss_within_minute(f)
    return verdict_if(loss_reaches(g, loss, p.max_loss_per_minute_bps), Control.LOSS_VELOCITY, loss, p.max_loss_per_minute_bps)


@njit(**JIT)
def liquidity(p: Any, y: Any, q: Any, volume: int) -> Verdict:
    """The worst-case position must be left within ``max_exit_minutes`` at a tenth of the last hour's ``volume`` (quote e8)."""
    if p.max_exit_minutes == 0 or q.reduce_only != 0:
        return passes()
    held = y.position if q.side == Side.BUY else -y.position
    opened = y.open_buy if q.side == Side.BUY else y.open_sell
    notional = notional_up_nb(max(q.price, y.last_price), max(held, 0) + opened + q.qty)
    slow = product_less_nb(volume, p.max_exit_minutes, notional, 600)
    return verdict_if(slow, Control.LIQUIDITY, notional, volume)
