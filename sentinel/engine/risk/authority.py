"""Group A: may anything leave at all, in this state and on this symbol?"""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.risk.verdict import Verdict, passes, verdict_if
from sentinel.native import JIT
from sentinel.wire import Control, Side, TradingState

REDUCE_ONLY, ACTIVE = int(TradingState.REDUCE_ONLY), int(TradingState.ACTIVE)


@njit(**JIT)
def killed(g: Any) -> Verdict:
    """The kill latch lets nothing pass."""
    return verdict_if(g.killed != 0, Control.KILLED, g.kill_cause, 0)


@njit(**JIT)
def journal(g: Any) -> Verdict:
    """No journal, no new order."""
    return verdict_if(g.journal_fault != 0, Control.JOURNAL, g.journal_fault, 0)


@njit(**JIT)
def trading_state(g: Any, q: Any) -> Verdict:
    """ACTIVE lets all pass, REDUCE_ONLY only what reduces, any other state nothing."""
    needed = REDUCE_ONLY if q.reduce_only != 0 else ACTIVE
    return verdict_if(g.trading_state < needed, Control.NOT_ACTIVE, g.trading_state, needed)


@njit(**JIT)
def symbol_halt(y: Any) -> Verdict:
    """A symbol must be trading at the venue and free of halts of ours."""
    return verdict_if(y.halt != 0 or y.trading != 1, Control.SYMBOL_HALTED, y.halt, 0)


@njit(**JIT)
def only_reduces(y: Any, q: Any) -> Verdict:
    """A reduce-only order is against the position and, with the other open orders of its side, not beyond it."""
    if q.reduce_only == 0:
        return passes()
    against = y.position < 0 if q.side == Side.BUY else y.position > 0
    after = q.qty + (y.open_buy if q.side == Side.BUY else y.open_sell)
    return verdict_if(not against or after > abs(y.position), Control.POSITION_LIMIT, after, abs(y.position))


@njit(**JIT)
def unknown_order(y: Any) -> Verdict:
    """An order of unknown outcome freezes its symbol."""
    return verdict_if(y.unknown > 0, Control.UNKNOWN_ORDER, y.unknown, 0)
