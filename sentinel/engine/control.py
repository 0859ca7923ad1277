"""Control events: arming and killing, balances, instruments, limits, news and advice, halts, ticks.

Everything the engine learns from outside enters as a record. The start is never ACTIVE:
HALTED -> RECOVERING -> REDUCE_ONLY (recovered) -> ACTIVE by ARM. KILL latches HALTED.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine import strategy
from sentinel.engine.emit import emit_signal, room
from sentinel.engine.features import set_sentiment
from sentinel.engine.layout import AMOUNT_CAP, HALT_FEED, HALT_OPERATOR, HALT_RECONCILE, MAX_PROPOSALS
from sentinel.engine.portfolio import set_base_balance, set_quote_balance
from sentinel.engine.risk import cause_stands, set_limit, set_trading_state, trip, watch_equity
from sentinel.engine.settle import doubt_everything, watch_orders
from sentinel.engine.state import Effects, EngineState
from sentinel.native import INNER, JIT
from sentinel.units import E8
from sentinel.wire import NO_SYMBOL, Command, InstrumentField, SignalCode, TradingState

MAX_EPOCH = 0xFFFF
#: Effect slots a tick leaves free; symbols it does not reach wait for the next one.
TICK_ROOM = 40


@njit(**INNER)
def apply_control(st: EngineState, e: Any, out: Effects) -> None:
    """Apply one CONTROL record. What cannot be meant is counted as bad input and changes nothing."""
    c = st.counters[0]
    c.controls += 1
    command = np.int64(e.command)
    if command == Command.TICK:
        _tick(st, out)
    elif command == Command.NEWS or Command.BASE_BALANCE <= command <= Command.INSTRUMENT:
        if not _learn(st, e, out):
            c.bad_input += 1
    elif Command.SYMBOL_HALT <= command <= Command.FEED_LIVE:
        if not _halt_or_resume(st, command, np.int64(e.symbol)):
            c.bad_input += 1
    elif not _govern(st, e, out):
        c.bad_input += 1


@njit(**INNER)
def _govern(st: EngineState, e: Any, out: Effects) -> bool:
    g, c, p = st.glob[0], st.counters[0], st.params[0]
    command, number = np.int64(e.command), np.int64(e.id)
    if command == Command.ARM:
        _arm(st, number, e.value, out)
    elif command == Command.KILL:
        trip(st, min(max(e.value, 0), 0xFFFF), 0, 0, out)
    elif command == Command.LIMITS:
        if not set_limit(g, p, number, e.value):
            return False
        g.limits_version = e.version
        c.limits_changed += 1
    elif command == Command.ADVICE:
        if e.value < -1 or e.value > 1 or abs(e.value2) > E8:
            return False
        strategy.on_advice(st, number, e.value, False, out)
    elif command == Command.ADVICE_TIMEOUT:
        strategy.on_advice(st, number, 0, True, out)
    elif command == Command.EPOCH:
        if number <= g.epoch or number > MAX_EPOCH:
            return False
        g.epoch = number
        g.sequence = 0
        g.recovered = 0
        set_trading_state(st, TradingState.HALTED, out)
    elif command == Command.RECOVERING:
        g.recovered = 0
        set_trading_state(st, TradingState.RECOVERING, out)
        doubt_everything(st, out)
    elif command == Command.RECOVERED:
        if g.trading_state != TradingState.RECOVERING or g.epoch == 0:
            return False
        g.recovered = 1
        set_trading_state(st, TradingState.HALTED if g.killed else TradingState.REDUCE_ONLY, out)
        watch_equity(st, out)
    elif command == Command.JOURNAL_FAULT:
        g.journal_fault = 1 if e.value != 0 else 0
    else:
        return False
    return True


@njit(**INNER)
def _arm(st: EngineState, arm_epoch: int, target: int, out: Effects) -> None:
    """ARM: ``value`` TradingState.REDUCE_ONLY arms that, anything else ACTIVE; the arm epoch must be new.

    Refused, counted and signalled before recovery is done and while what tripped the kill state still stands.
    Arming REDUCE_ONLY after a kill flattens: every position is left at once.
    """
    g, c = st.glob[0], st.counters[0]
    if arm_epoch <= g.arm_epoch or g.recovered == 0 or cause_stands(st):
        c.arms_refused += 1
        emit_signal(g, out, SignalCode.ARMED_STATE, NO_SYMBOL, 0, 0, g.kill_cause, 0, 0, 0, g.trading_state, g.arm_epoch)
        return
    reduce_only = target == TradingState.REDUCE_ONLY
    g.flatten = 1 if reduce_only and g.killed else 0
    g.arm_epoch = arm_epoch
    g.killed = 0
    g.kill_cause = 0
    set_trading_state(st, TradingState.REDUCE_ONLY if reduce_only else TradingState.ACTIVE, out)


@njit(**INNER)
def _learn(st: EngineState, e: Any, out: Effects) -> bool:
    """Balances, instrument filters and news."""
    g, p = st.glob[0], st.params[0]
    command, s = np.int64(e.command), np.int64(e.symbol)
    unarmed = g.trading_state < TradingState.REDUCE_ONLY
    if command == Command.QUOTE_BALANCE:
        if e.value < 0 or e.value > AMOUNT_CAP:
            return False
        set_quote_balance(g, p, st.symbols, e.value, unarmed)
        watch_equity(st, out)
        return True
    if s >= st.symbols.shape[0]:
        return False
    y = st.symbols[s]
    if command == Command.BASE_BALANCE:
        if abs(e.value) > AMOUNT_CAP or (e.value < 0 and p.market == 0):
            return False
        set_base_balance(g, p, y, s, e.value, unarmed)
        watch_equity(st, out)
        return True
    if command == Command.INSTRUMENT:
        return _set_filter(y, np.int64(e.id), e.value)
    if abs(e.value) > E8:
        return False
    y.news_sentiment = e.value
    y.news_expiry = e.t2
    set_sentiment(st.features, s, e.value, e.t2)
    return True


@njit(**JIT)
def _set_filter(y: Any, field: int, value: int) -> bool:
    if value < 0:
        return False
    if field == InstrumentField.TRADING:
        y.trading = 1 if value == 1 else 0
    elif field == InstrumentField.TICK_SIZE:
        y.tick_size = value
    elif field == InstrumentField.MIN_PRICE:
        y.min_price = value
    elif field == InstrumentField.MAX_PRICE:
        y.max_price = value
    elif field == InstrumentField.STEP_SIZE:
        y.step_size = value
    elif field == InstrumentField.MIN_QTY:
        y.min_qty = value
    elif field == InstrumentField.MAX_QTY:
        y.max_qty = value
    elif field == InstrumentField.MIN_NOTIONAL:
        y.min_notional = value
    elif field == InstrumentField.MAX_NOTIONAL:
        y.max_notional = value
    elif field == InstrumentField.PRICE_BAND_UP_BPS:
        y.band_up_bps = value
    elif field == InstrumentField.PRICE_BAND_DOWN_BPS:
        y.band_down_bps = value
    else:
        return False
    return True


@njit(**INNER)
def set_feed_halt(st: EngineState, s: int, stale: bool) -> bool:
    """Set or clear the feed's halt of one symbol, or of all with NO_SYMBOL."""
    if s != NO_SYMBOL and s >= st.symbols.shape[0]:
        return False
    first = 0 if s == NO_SYMBOL else s
    last = st.symbols.shape[0] if s == NO_SYMBOL else s + 1
    for k in range(first, last):
        y = st.symbols[k]
        y.halt = y.halt | HALT_FEED if stale else y.halt & ~HALT_FEED
    return True


@njit(**INNER)
def _halt_or_resume(st: EngineState, command: int, s: int) -> bool:
    if command == Command.FEED_STALE or command == Command.FEED_LIVE:
        return set_feed_halt(st, s, command == Command.FEED_STALE)
    if s >= st.symbols.shape[0]:
        return False
    y = st.symbols[s]
    if command == Command.SYMBOL_HALT:
        y.halt |= HALT_OPERATOR
    else:
        y.halt &= ~(HALT_OPERATOR | HALT_RECONCILE)
    return True


@njit(**INNER)
def _tick(st: EngineState, out: Effects) -> None:
    """Time has passed: look after orders, setups and positions."""
    g, c = st.glob[0], st.counters[0]
    c.ticks += 1
    watch_orders(st, out)
    if g.watched == 0:
        return
    for s in range(st.symbols.shape[0]):
        if room(out) < TICK_ROOM or g.proposals == MAX_PROPOSALS:
            return
        if st.symbols[s].watch != 0:
            strategy.on_market(st, s, out)
