"""Against the crowd: sell into a pump, buy into a dump, once the move has begun to turn.

An alarm (see alarm) arms a setup on its symbol. Entry follows when the price has given back ``retrace_bps`` of the move
from where it was before it, or ``entry_wait_ns`` later, as long as an edge to that price is left; a setup that
has not entered in ``setup_expiry_ns`` is dropped. Entering at once, 5 s after onset, suffers a median adverse
excursion of 8 % first. The position is left by stop-loss, take-profit or horizon. One setup a symbol at a time,
then a pause. A new order is sent only when the one before has ended. Exits are IOC limits. So are entries, or, with
``entry_rest_ns``, limits at the best price of their own side: what has not filled by then, or when the position is to be
left, is cancelled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine.emit import emit_advice_request, emit_signal, scaled_e8
from sentinel.engine.frame import counters, decision, glob, order, params, reference_price, symbol, vector_start
from sentinel.engine.layout import Market, Setup
from sentinel.engine.strategy.alarm import raises_alarm, stays_open
from sentinel.engine.strategy.decision import push_direction, read_decision
from sentinel.engine.strategy.exits import look_for_exit, nothing_left, settle_rest
from sentinel.engine.strategy.proposals import propose
from sentinel.engine.strategy.setups import end_setup, refuse, watch
from sentinel.engine.strategy.sizing import (
    has_filters,
    has_quote,
    mark_price,
    resting_price,
    size_for_margin,
    taking_price,
    tradable_qty,
)
from sentinel.native import INNER, JIT
from sentinel.units import BPS, NS_PER_S
from sentinel.wide_money import mul_div_wide_nb, notional_up_nb, product_less_nb
from sentinel.wire import Control, OrderState, Reason, Refusal, Side, SignalCode

#: After this much silence past the deadline the engine stops waiting for an analyst by itself.
ADVICE_GRACE_NS = NS_PER_S
EDGE_BPS_CAP = 1_000_000_000


@njit(**INNER)
def on_decision(f: Any, s: int) -> None:
    """A decision on the last trade of symbol ``s`` with rule bits set: perhaps raise the alarm and arm a setup."""
    g, c, p = glob(f), counters(f), params(f)
    y = symbol(f, s)
    call = read_decision(decision(f), p.classes, np.int64(vector_start(f).price_delta_bits))
    if call.side == 0 or not stays_open(y.alarm_until, g.now, call.lead, p.threshold, p.alarm_hysteresis):
        return
    alarm = raises_alarm(y.alarm_until, g.now, call.lead, p.threshold)
    y.alarm_until = g.now + p.alarm_quiet_ns
    if call.lead >= p.threshold:
        c.anomalies += 1
        y.push_t = g.now
        y.push_side = push_direction(np.int64(vector_start(f).price_delta_bits))
        if y.setup == Setup.ARMED and y.setup_side == call.side:
            y.setup_margin = max(y.setup_margin, call.lead)
    if not alarm:
        return
    base = reference_price(f, s)
    emit_signal(f, SignalCode.ANOMALY, s, call.side, 0, 0, 0, y.last_price, call.lead, base, p.threshold)
    if y.setup != Setup.NONE or y.position != 0 or y.live > 0 or g.now < y.cooldown_until or base <= 0:
        return
    c.setups += 1
    g.setup_ids += 1
    y.setup_id = g.setup_ids
    y.setup_side = call.side
    y.setup_t = g.now
    y.setup_base = base
    y.setup_extreme = y.last_price
    y.setup_margin = call.lead
    y.setup_seq = g.decision_seq
    y.setup_refusals = y.retry_t = y.entry_t = y.exit_reason = y.advice_id = 0
    y.trip_realised = y.trip_fees = 0
    watch(g, y, True)
    if g.now < y.news_expiry:
        if p.analyst != 0:
            _ask_analyst(f, s)
            return
        c.news_fallbacks += 1
        emit_signal(f, SignalCode.NEWS_FALLBACK, s, call.side, 0, 0, 0, y.last_price, call.lead, y.news_sentiment, 0)
    _arm(f, s)
    _look_for_entry(f, s)


@njit(**INNER)
def _arm(f: Any, s: int) -> None:
    y = symbol(f, s)
    y.setup = Setup.ARMED
    limit = y.setup_t + params(f).setup_expiry_ns
    emit_signal(f, SignalCode.ARMED, s, y.setup_side, 0, 0, 0, y.last_price, y.setup_margin, y.setup_base, limit)


@njit(**INNER)
def _ask_analyst(f: Any, s: int) -> None:
    g, c, p = glob(f), counters(f), params(f)
    y = symbol(f, s)
    g.advice_ids += 1
    y.advice_id = g.advice_ids
    y.advice_deadline = g.now + p.advice_timeout_ns
    y.setup = Setup.AWAIT_ADVICE
    c.advice_requests += 1
    vector = vector_start(f)
    if emit_advice_request(f, s, scaled_e8(vector.price_delta), scaled_e8(vector.volume_ratio)) == 0:
        _arm(f, s)


@njit(**INNER)
def on_advice(f: Any, advice_id: int, verdict: int, timed_out: bool) -> None:
    """The analyst's reply (-1 stand aside, 0 neutral, 1 confirm) or its time-out, which means the fast path decides."""
    c = counters(f)
    for s in range(f.symbol_count):
        y = symbol(f, s)
        if y.setup == Setup.AWAIT_ADVICE and y.advice_id == advice_id:
            if not timed_out and verdict < 0:
                c.refusals += 1
                emit_signal(f, SignalCode.REFUSED, s, y.setup_side, Refusal.ADVICE, 0, 0, y.last_price, 0, verdict, 0)
                end_setup(f, y)
            else:
                _arm(f, s)
                _look_for_entry(f, s)
            return
    c.advice_late += 1


@njit(**INNER)
def on_market(f: Any, s: int) -> None:
    """Price or time has moved on a watched symbol."""
    g, p = glob(f), params(f)
    y = symbol(f, s)
    if y.last_price <= 0:
        return
    if y.setup == Setup.AWAIT_ADVICE or y.setup == Setup.ARMED:
        sell = y.setup_side == Side.SELL
        y.setup_extreme = max(y.setup_extreme, y.last_price) if sell else min(y.setup_extreme, y.last_price)
        if y.setup == Setup.AWAIT_ADVICE and g.now >= y.advice_deadline + ADVICE_GRACE_NS:
            _arm(f, s)
        if g.now - y.setup_t >= p.setup_expiry_ns:
            emit_signal(f, SignalCode.SETUP_EXPIRED, s, y.setup_side, 0, 0, 0, y.last_price, 0, y.setup_base, y.setup_extreme)
            end_setup(f, y)
        elif y.setup == Setup.ARMED:
            _look_for_entry(f, s)
    elif y.setup == Setup.IN_POSITION:
        look_for_exit(f, s)


@njit(**JIT)
def _entry_reason(g: Any, p: Any, y: Any) -> int:
    if p.entry_immediate != 0:
        return Reason.ENTRY_IMMEDIATE
    mark = mark_price(g, p, y)
    sell = y.setup_side == Side.SELL
    move = y.setup_extreme - y.setup_base if sell else y.setup_base - y.setup_extreme
    back = y.setup_extreme - mark if sell else mark - y.setup_extreme
    if move > 0 and back >= 0 and not product_less_nb(back, BPS, move, p.retrace_bps):
        return Reason.ENTRY_RETRACE
    return Reason.ENTRY_WAIT if g.now - y.setup_t >= p.entry_wait_ns else Reason.NONE


@njit(**INNER)
def _look_for_entry(f: Any, s: int) -> None:
    g, p = glob(f), params(f)
    y = symbol(f, s)
    if g.now < y.retry_t:
        return
    reason = _entry_reason(g, p, y)
    if reason == Reason.NONE:
        return
    side = y.setup_side
    if not has_filters(y):
        refuse(f, s, Refusal.NOT_TRADING, True)
    elif not has_quote(g, p, y):
        refuse(f, s, Refusal.NO_QUOTE, False)
    elif y.live > 0:
        refuse(f, s, Refusal.BUSY, False)
    else:
        price = resting_price(y, side) if p.entry_rest_ns > 0 else taking_price(y, side, p.slippage_bps)
        edge = y.setup_base - price if side == Side.BUY else price - y.setup_base
        if price > 0 and edge > 0:
            qty = _entry_qty(f, s, side, price)
            if qty > 0:
                edge_bps = min(mul_div_wide_nb(edge, BPS, price), EDGE_BPS_CAP)
                propose(f, s, side, price, qty, reason, 0, y.setup_base, edge_bps)


@njit(**INNER)
def _entry_qty(f: Any, s: int, side: int, price: int) -> int:
    """Quantity to enter with; 0 after a refusal."""
    g, p = glob(f), params(f)
    y = symbol(f, s)
    qty = size_for_margin(g, p, y, y.setup_margin, price)
    if p.market == Market.SPOT and side == Side.SELL:
        owned = max(y.inventory - y.open_sell, 0)
        if tradable_qty(y, owned, price) == 0:
            refuse(f, s, Refusal.NO_INVENTORY, True)
            return 0
        qty = min(qty, owned)
    qty = tradable_qty(y, qty, price)
    if qty == 0:
        refuse(f, s, Refusal.TOO_SMALL, True)
    elif p.market == Market.SPOT and side == Side.BUY and notional_up_nb(price, qty) > g.cash - g.open_notional:
        refuse(f, s, Refusal.NO_CASH, True)
        return 0
    return qty


@njit(**INNER)
def on_placed(f: Any, i: int) -> None:
    """The gate let a proposal through and it became the order in slot ``i``."""
    o = order(f, i)
    y = symbol(f, o.symbol)
    if y.setup == Setup.ARMED:
        y.setup = Setup.ENTERING
        emit_signal(f, SignalCode.ENTRY, o.symbol, o.side, o.reason, 0, o.key, o.price, y.setup_margin, o.qty, y.setup_base)


@njit(**INNER)
def on_rejected(f: Any, s: int, control: int) -> None:
    """The gate refused a proposal. What may pass by itself is tried again, anything else ends an entry."""
    y = symbol(f, s)
    y.retry_t = glob(f).now + params(f).exit_retry_ns
    if y.setup == Setup.ARMED and not _may_pass(control):
        end_setup(f, y)


@njit(**JIT)
def _may_pass(control: int) -> bool:
    """The control may let the same entry through while its setup lives."""
    market = (
        control == Control.STALE_REFERENCE
        or control == Control.SOURCE_GAP
        or control == Control.PRICE_COLLAR
        or control == Control.DYNAMIC_COLLAR
        or control == Control.ADVERSE_DRIFT
        or control == Control.IMPACT
        or control == Control.NO_REASON
        or control == Control.JOINS_PUSH
    )
    orders = control == Control.UNKNOWN_ORDER or control == Control.OPEN_ORDERS or control == Control.SELF_MATCH
    windows = control == Control.ORDER_RATE or control == Control.TURNOVER or control == Control.DUPLICATE
    return bool(market or orders or windows or control == Control.CLOCK or control == Control.APPROVAL)


@njit(**INNER)
def on_order(f: Any, i: int) -> None:
    """One of the strategy's orders was filled further or has ended."""
    g, p = glob(f), params(f)
    o = order(f, i)
    s = o.symbol
    y = symbol(f, s)
    if y.position != 0 and y.setup != Setup.IN_POSITION:
        # Also a fill that comes after its setup was given up: whatever is held must be managed.
        y.setup = Setup.IN_POSITION
        y.entry_t = g.now
        y.exit_reason = Reason.NONE
        watch(g, y, True)
    if o.state <= OrderState.UNKNOWN or y.live > 0:
        return
    if y.setup == Setup.ENTERING:
        y.setup = Setup.ARMED
        y.retry_t = g.now + p.exit_retry_ns
    elif y.setup == Setup.IN_POSITION and nothing_left(y):
        settle_rest(f, s)
