"""Group A: may anything leave at all, in this state and on this symbol?"""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.layout import HALT_RESTRICTED
from sentinel.engine.risk.verdict import Verdict, passes, verdict_if
from sentinel.native import JIT
from sentinel.units import NS_PER_S
from sentinel.wire import Control, Side, TradingState

REDUCE_ONLY, ACTIVE = int(TradingState.REDUCE_ONLY), int(TradingState.ACTIVE)
NOT_ACTIVE = int(Control.NOT_ACTIVE)
#: No new order for this long after the clock stepped.
STEP_PAUSE_NS = 10 * NS_PER_S


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
    """ACTIVE lets all pass, REDUCE_ONLY only what reduces, any other state nothing.

    Where a control has put the account into REDUCE_ONLY, the refusal names that control.
    """
    needed = REDUCE_ONLY if q.reduce_only != 0 else ACTIVE
    named = g.trading_state == REDUCE_ONLY and g.reduce_cause != 0
    code = g.reduce_cause if named else NOT_ACTIVE
    return verdict_if(g.trading_state < needed, code, g.trading_state, needed)


@njit(**JIT)
def clock(g: Any, p: Any) -> Verdict:
    """The clock's error must be known, recent and small, and the clock not have stepped within 10 s.

    Exits are new orders too: by a wrong clock neither their age nor the end of an unanswered one can be told. While it
    lasts a position is left by the kill switch, which has a session of its own.
    """
    if p.max_clock_error_ns == 0:
        return passes()
    if g.clock_t <= 0 or g.clock_error < 0:
        return verdict_if(True, Control.CLOCK, -1, p.max_clock_error_ns)
    age = g.now - g.clock_t
    if age > p.max_clock_age_ns:
        return verdict_if(True, Control.CLOCK, age, p.max_clock_age_ns)
    stepped = g.now - g.clock_step_t
    if g.clock_step_t > 0 and stepped < STEP_PAUSE_NS:
        return verdict_if(True, Control.CLOCK, stepped, STEP_PAUSE_NS)
    return verdict_if(g.clock_error > p.max_clock_error_ns, Control.CLOCK, g.clock_error, p.max_clock_error_ns)


@njit(**JIT)
def restricted(g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """A symbol on the restricted list, or put there while running, is never traded.

    Where an age is asked of the list, an entry in any symbol needs one that is known and young enough.
    """
    if y.restricted != 0 or y.halt & HALT_RESTRICTED != 0:
        return verdict_if(True, Control.RESTRICTED, 1, 0)
    if p.max_restricted_age_ns == 0 or q.reduce_only != 0:
        return passes()
    age = g.now - g.restricted_t
    if g.restricted_t <= 0 or age < 0:
        return verdict_if(True, Control.RESTRICTED, -1, p.max_restricted_age_ns)
    return verdict_if(age > p.max_restricted_age_ns, Control.RESTRICTED, age, p.max_restricted_age_ns)


@njit(**JIT)
def instrument_age(g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """For an entry, what the venue told of the instrument must be young enough, where a limit is set."""
    if p.max_instrument_age_ns == 0 or q.reduce_only != 0:
        return passes()
    if y.instrument_t <= 0:
        return verdict_if(True, Control.INSTRUMENT_AGE, -1, p.max_instrument_age_ns)
    age = g.now - y.instrument_t
    return verdict_if(age > p.max_instrument_age_ns, Control.INSTRUMENT_AGE, age, p.max_instrument_age_ns)


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
    # Below the quantity: orders of others on the account have added up beyond 64 bits.
    beyond = after < q.qty or after > abs(y.position)
    return verdict_if(not against or beyond, Control.POSITION_LIMIT, after, abs(y.position))


@njit(**JIT)
def unknown_order(y: Any) -> Verdict:
    """An order of unknown outcome freezes its symbol."""
    return verdict_if(y.unknown > 0, Control.UNKNOWN_ORDER, y.unknown, 0)
