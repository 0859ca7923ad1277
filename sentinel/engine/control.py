"""Control events: arming and killing, balances, instruments, limits, news and advice, halts, ticks.

Everything the engine learns from outside enters as a record. The start is never ACTIVE:
HALTED -> RECOVERING -> REDUCE_ONLY (recovered) -> ACTIVE by ARM. KILL latches HALTED.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine import strategy
from sentinel.engine.book import book_best, book_clear, forget_bbo
from sentinel.engine.emit import emit_signal
from sentinel.engine.features import set_sentiment
from sentinel.engine.frame import book_state, counters, feature_state, glob, params, room, symbol
from sentinel.engine.layout import (
    AMOUNT_CAP,
    HALT_BOOK,
    HALT_FEED,
    HALT_MISMATCH,
    HALT_OPERATOR,
    HALT_RECONCILE,
    HALT_RESTRICTED,
    MAX_PROPOSALS,
)
from sentinel.engine.order_watch import doubt_everything, want_cancels, watch_orders
from sentinel.engine.portfolio import set_base_balance, set_quote_balance
from sentinel.engine.risk import (
    answer_approval,
    cause_stands,
    forget_latches,
    restrain,
    set_limit,
    set_symbol_limit,
    set_trading_state,
    trip,
    watch_equity,
    watch_venue,
)
from sentinel.native import INNER, JIT
from sentinel.units import E8
from sentinel.wire import NO_SYMBOL, Command, Control, InstrumentField, SignalCode, TradingState

MAX_EPOCH = 0xFFFF
#: Halts that a control event may set and clear; the others belong to the feed and the book.
COMMANDED_HALTS = HALT_OPERATOR | HALT_RECONCILE | HALT_MISMATCH | HALT_RESTRICTED
#: Effect slots a tick leaves free; symbols it does not reach wait for the next one.
TICK_ROOM = 40


@njit(**INNER)
def apply_control(f: Any, e: Any) -> None:
    """Apply one CONTROL record. What cannot be meant is counted as bad input and changes nothing."""
    c = counters(f)
    c.controls += 1
    command = np.int64(e.command)
    if command == Command.TICK:
        _tick(f)
    elif command == Command.NEWS or Command.BASE_BALANCE <= command <= Command.INSTRUMENT:
        if not _learn(f, e):
            c.bad_input += 1
    elif Command.SYMBOL_HALT <= command <= Command.FEED_LIVE:
        if not _halt_or_resume(f, command, np.int64(e.symbol), e.value):
            c.bad_input += 1
    elif not _govern(f, e):
        c.bad_input += 1


@njit(**INNER)
def _govern(f: Any, e: Any) -> bool:
    g, c = glob(f), counters(f)
    command, number = np.int64(e.command), np.int64(e.id)
    if command == Command.ARM:
        _arm(f, number, e.value)
    elif command == Command.KILL:
        trip(f, min(max(e.value, 0), 0xFFFF), 0, 0)
    elif command == Command.LIMITS:
        s = np.int64(e.symbol)
        if not (set_limit(f, number, e.value) if s == NO_SYMBOL else set_symbol_limit(f, s, number, e.value)):
            return False
        g.limits_version = e.version
        c.limits_changed += 1
    elif command == Command.ADVICE:
        if e.value < -1 or e.value > 1 or abs(e.value2) > E8:
            return False
        strategy.on_advice(f, number, e.value, False)
    elif command == Command.ADVICE_TIMEOUT:
        strategy.on_advice(f, number, 0, True)
    elif command == Command.EPOCH:
        if number <= g.epoch or number > MAX_EPOCH:
            return False
        g.epoch = number
        g.sequence = 0
        g.recovered = 0
        _forget_market(f)
        set_trading_state(f, TradingState.HALTED)
    elif command == Command.RECOVERING:
        g.recovered = 0
        set_trading_state(f, TradingState.RECOVERING)
        doubt_everything(f)
    elif command == Command.RECOVERED:
        if g.trading_state != TradingState.RECOVERING or g.epoch == 0:
            return False
        g.recovered = 1
        set_trading_state(f, TradingState.HALTED if g.killed else TradingState.REDUCE_ONLY)
        watch_equity(f)
    elif command == Command.JOURNAL_FAULT:
        g.journal_fault = 1 if e.value != 0 else 0
    elif command == Command.CANCEL_ALL:
        want_cancels(f)
        watch_orders(f)
    else:
        return _oversee(f, command, e)
    return True


@njit(**INNER)
def _oversee(f: Any, command: int, e: Any) -> bool:
    """What people and watchers say of the run: approvals, the clock, alarms."""
    g, number = glob(f), np.int64(e.id)
    if command == Command.APPROVE:
        return answer_approval(f, number, e.value, e.t2)
    if command == Command.CLOCK:
        if e.value < -1 or e.value2 < 0 or e.value2 > 1:
            return False
        g.clock_error = e.value
        g.clock_t = g.now
        if e.value2 == 1:
            g.clock_step_t = g.now
        return True
    if command != Command.ALARM or e.value < 1 or e.value > 2:
        return False
    if e.value == 1:
        restrain(f, Control.ALARM, number, 0)
    else:
        trip(f, Control.ALARM, number, 0)
    return True


@njit(**INNER)
def _arm(f: Any, arm_epoch: int, target: int) -> None:
    """ARM: ``value`` TradingState.ACTIVE is a person's and ends what only a person may end, TradingState.REDUCE_ONLY arms that.

    Anything else arms again what a reconnect or a restart interrupted: ACTIVE, or REDUCE_ONLY where that is latched. The arm
    epoch must be new. Refused, counted and signalled before recovery is done and while what tripped the kill state still stands.
    Arming REDUCE_ONLY after a kill flattens: every position is left at once.
    """
    g, c = glob(f), counters(f)
    if arm_epoch <= g.arm_epoch or g.recovered == 0 or cause_stands(f):
        c.arms_refused += 1
        emit_signal(f, SignalCode.ARMED_STATE, NO_SYMBOL, 0, 0, g.kill_cause, 0, 0, 0, g.trading_state, g.arm_epoch)
        return
    by_person = target == TradingState.ACTIVE
    reduce_only = target == TradingState.REDUCE_ONLY or (g.reduce_cause != 0 and not by_person)
    g.flatten = 1 if target == TradingState.REDUCE_ONLY and g.killed else 0
    g.arm_epoch = arm_epoch
    g.killed = 0
    g.kill_cause = 0
    if by_person:
        forget_latches(f)
    set_trading_state(f, TradingState.REDUCE_ONLY if reduce_only else TradingState.ACTIVE)


@njit(**INNER)
def _learn(f: Any, e: Any) -> bool:
    """Balances, instrument filters and news."""
    g, p = glob(f), params(f)
    command, s = np.int64(e.command), np.int64(e.symbol)
    unarmed = g.trading_state < TradingState.REDUCE_ONLY
    if command == Command.QUOTE_BALANCE:
        if e.value < 0 or e.value > AMOUNT_CAP:
            return False
        set_quote_balance(f, e.value, unarmed)
        watch_equity(f)
        return True
    if s >= f.symbol_count:
        return False
    y = symbol(f, s)
    if command == Command.BASE_BALANCE:
        if abs(e.value) > AMOUNT_CAP or (e.value < 0 and p.market == 0):
            return False
        set_base_balance(g, p, y, s, e.value, unarmed)
        watch_equity(f)
        return True
    if command == Command.INSTRUMENT:
        if not _set_filter(y, np.int64(e.id), e.value):
            return False
        y.instrument_t = g.now
        return True
    if abs(e.value) > E8:
        return False
    y.news_sentiment = e.value
    y.news_expiry = e.t2
    set_sentiment(feature_state(f), s, e.value, e.t2)
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
def _forget_quote(f: Any, s: int) -> None:
    """Once its stream was interrupted a quote may be outdated however young: nothing is priced until the next."""
    y = symbol(f, s)
    y.bid = y.bid_qty = y.ask = y.ask_qty = 0


@njit(**INNER)
def _forget_market(f: Any) -> None:
    """After a restart: quotes and books are those of another process's streams. A book halts its symbol until it is whole."""
    for s in range(f.symbol_count):
        _forget_quote(f, s)
        y = symbol(f, s)
        if y.book < 0:
            continue
        forget_bbo(book_state(f), y.book)
        best = book_best(book_state(f), y.book)
        if best.bid != 0 or best.ask != 0:
            book_clear(book_state(f), y.book)
            y.halt |= HALT_BOOK


@njit(**INNER)
def set_feed_halt(f: Any, s: int, stale: bool) -> bool:
    """Set or clear the feed's halt of one symbol, or of all with NO_SYMBOL."""
    if s != NO_SYMBOL and s >= f.symbol_count:
        return False
    first = 0 if s == NO_SYMBOL else s
    last = f.symbol_count if s == NO_SYMBOL else s + 1
    for k in range(first, last):
        y = symbol(f, k)
        y.halt = y.halt | HALT_FEED if stale else y.halt & ~HALT_FEED
        if stale:
            _forget_quote(f, k)
    return True


@njit(**INNER)
def _halt_or_resume(f: Any, command: int, s: int, bits: int) -> bool:
    if command == Command.FEED_STALE or command == Command.FEED_LIVE:
        return set_feed_halt(f, s, command == Command.FEED_STALE)
    if (s != NO_SYMBOL and s >= f.symbol_count) or bits < 0 or bits & ~COMMANDED_HALTS != 0:
        return False
    halts = command == Command.SYMBOL_HALT
    if bits == 0:
        bits = HALT_OPERATOR if halts else HALT_OPERATOR | HALT_RECONCILE
    first, last = (0, f.symbol_count) if s == NO_SYMBOL else (s, s + 1)
    for k in range(first, last):
        y = symbol(f, k)
        y.halt = y.halt | bits if halts else y.halt & ~bits
    return True


@njit(**INNER)
def _tick(f: Any) -> None:
    """Time has passed: look after orders, setups and positions."""
    g, c = glob(f), counters(f)
    c.ticks += 1
    watch_orders(f)
    watch_venue(f)
    if g.watched == 0:
        return
    for s in range(f.symbol_count):
        if room(f) < TICK_ROOM or g.proposals == MAX_PROPOSALS:
            return
        if symbol(f, s).watch != 0:
            strategy.on_market(f, s)
