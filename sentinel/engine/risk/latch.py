"""The kill latch and the trading state: who trips them, and what must be gone before they are armed again."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.emit import emit_signal
from sentinel.engine.frame import counters, glob, params
from sentinel.engine.portfolio import equity
from sentinel.engine.risk.exposure import drawdown
from sentinel.engine.risk.rates import trades_per_minute
from sentinel.engine.settle import want_cancels, watch_orders
from sentinel.native import INNER, JIT
from sentinel.wire import Control, SignalCode, TradingState


@njit(**JIT)
def _latched(g: Any) -> bool:
    """Whether a cause is latched that a later one leaves as it is."""
    return bool(g.killed != 0 and g.kill_cause != Control.DISARMED)


@njit(**INNER)
def trip(f: Any, cause: int, observed: int, limit: int) -> None:
    """Latch the kill state: HALTED until an ARM of a newer epoch; live orders are cancelled. Tripping twice is tripping once."""
    g, c = glob(f), counters(f)
    if not _latched(g):
        c.kills += 1
        g.kill_cause = cause
        emit_signal(f, SignalCode.KILLED, 0xFFFF, 0, 0, cause, 0, 0, 0, observed, limit)
    g.killed = 1
    g.flatten = 0
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
def watch_equity(f: Any) -> None:
    """After equity may have changed: raise the peak, or trip on drawdown."""
    g, p = glob(f), params(f)
    g.equity_peak = max(g.equity_peak, equity(g))
    if not _latched(g):
        verdict = drawdown(g, p)
        if verdict.control != 0:
            trip(f, verdict.control, verdict.observed, verdict.limit)


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
    return False
