"""The kill latch and the trading state: who trips them, and what must be gone before they are armed again."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.day import roll_day
from sentinel.engine.emit import emit_signal
from sentinel.engine.frame import counters, glob, params, symbol
from sentinel.engine.order_watch import want_cancels, watch_orders
from sentinel.engine.portfolio import equity, profit
from sentinel.engine.risk.approval import forget_approvals
from sentinel.engine.risk.exposure import drawdown, hard_daily_loss, loss_reaches, loss_velocity, note_profit
from sentinel.engine.risk.rates import trades_per_minute, venue_errors
from sentinel.native import INNER, JIT
from sentinel.wire import NO_SYMBOL, Control, SignalCode, TradingState


@njit(**JIT)
def _latched(g: Any) -> bool:
    """Whether a cause is latched that a later one leaves as it is."""
    return bool(g.killed != 0 and g.kill_cause != Control.DISARMED)


@njit(**INNER)
def trip(f: Any, cause: int, observed: int, limit: int) -> None:
    """Latch the kill state: HALTED until an ARM of a newer epoch; live orders are cancelled, approvals void.

    Tripping twice is tripping once.
    """
    g, c = glob(f), counters(f)
    if not _latched(g):
        c.kills += 1
        g.kill_cause = cause
        emit_signal(f, SignalCode.KILLED, 0xFFFF, 0, 0, cause, 0, 0, 0, observed, limit)
    g.killed = 1
    g.flatten = 0
    forget_approvals(f)
    if g.trading_state != TradingState.RECOVERING:
        # A recovery is not cut short: nothing leaves meanwhile, and it ends in HALTED.
        set_trading_state(f, TradingState.HALTED)
    want_cancels(f)
    watch_orders(f)


@njit(**INNER)
def set_trading_state(f: Any, value: int) -> None:
    """Change the trading state and say so."""
    g = glob(f)
    if g.trading_state != value:
        g.trading_state = value
        emit_signal(f, SignalCode.ARMED_STATE, 0xFFFF, 0, 0, 0, 0, 0, 0, value, g.arm_epoch)


@njit(**INNER)
def restrain(f: Any, cause: int, observed: int, limit: int) -> None:
    """From ACTIVE to REDUCE_ONLY, latched until ARM; refusals name the first cause."""
    g = glob(f)
    if g.reduce_cause == 0:
        g.reduce_cause = cause
        emit_signal(f, SignalCode.CONTROL_FIRED, NO_SYMBOL, 0, 0, cause, 0, 0, 0, observed, limit)
    if g.trading_state == TradingState.ACTIVE:
        set_trading_state(f, TradingState.REDUCE_ONLY)


@njit(**INNER)
def watch_equity(f: Any) -> None:
    """After equity may have changed: raise the peak, or act on drawdown and losses."""
    g, p = glob(f), params(f)
    g.equity_peak = max(g.equity_peak, equity(g))
    roll_day(g)
    note_profit(f)
    if _latched(g):
        return
    verdict = drawdown(g, p)
    if verdict.control == 0:
        verdict = hard_daily_loss(g, p)
    if verdict.control == 0:
        verdict = loss_velocity(f)
    if verdict.control != 0:
        trip(f, verdict.control, verdict.observed, verdict.limit)
        return
    loss = g.day_pnl - profit(g)
    if loss_reaches(g, loss, p.daily_loss_soft_bps) and g.trading_state == TradingState.ACTIVE:
        restrain(f, Control.DAILY_LOSS, loss, p.daily_loss_soft_bps)


@njit(**INNER)
def watch_venue(f: Any) -> None:
    """After an order's news: too many refusals or missing answers in a row restrain."""
    verdict = venue_errors(f)
    if verdict.control != 0 and glob(f).trading_state == TradingState.ACTIVE:
        restrain(f, verdict.control, verdict.observed, verdict.limit)


@njit(**INNER)
def forget_latches(f: Any) -> None:
    """A person arms: what only a person may end is over."""
    g = glob(f)
    g.reduce_cause = 0
    g.errors_in_row = 0
    for s in range(f.symbol_count):
        y = symbol(f, s)
        y.repeats_off = y.sent_buys = y.sent_sells = 0


@njit(**INNER)
def cause_stands(f: Any) -> bool:
    """Whether what tripped the kill state is still so: then it cannot be armed."""
    g, p = glob(f), params(f)
    if g.killed == 0:
        return False
    if g.kill_cause == Control.DRAWDOWN:
        return drawdown(g, p).control != 0
    if g.kill_cause == Control.TRADES_PER_MINUTE:
        return trades_per_minute(f).control != 0
    if g.kill_cause == Control.DAILY_LOSS:
        roll_day(g)
        return hard_daily_loss(g, p).control != 0
    if g.kill_cause == Control.LOSS_VELOCITY:
        note_profit(f)
        return loss_velocity(f).control != 0
    return False
