"""The watch over live orders: those in doubt are queried, those not wanted any more are cancelled, until the venue has said."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.chain import mix
from sentinel.engine.emit import emit_intent, emit_signal
from sentinel.engine.frame import counters, error_time, glob, order, params, proposal, room, symbol
from sentinel.engine.layout import CANCEL, ERROR_WINDOW, FOREIGN, ORDER_SLOTS
from sentinel.engine.orders import QUERY_INTERVAL_NS, attach, clear_order, detach, is_live, may_query, overdue
from sentinel.native import INNER, JIT
from sentinel.wire import Kind, OrderState, SignalCode, TradingState

#: Queries and cancels sent by one tick.
REQUESTS_PER_TICK = 8
#: Effect slots kept free by the watch over orders; what is left undone waits for the next tick.
SIGNAL_ROOM = 8


@njit(**INNER)
def watch_orders(f: Any) -> None:
    """On a tick: overdue orders become UNKNOWN, UNKNOWN ones are queried when due, wanted cancels are (re)sent.

    An order that has rested long enough is among those."""
    g, c, p = glob(f), counters(f), params(f)
    if g.live_orders == 0:
        return
    sent = 0
    for i in range(ORDER_SLOTS):
        o = order(f, i)
        if room(f) < SIGNAL_ROOM:
            return
        if not is_live(o.state):
            continue
        if overdue(o, g.now, p.ack_timeout_ns, p.resolve_ns):
            become_unknown(f, o)
            note_error(f)
        if o.t_rest_end > 0 and o.flags & CANCEL == 0 and _rested_enough(g, p, symbol(f, o.symbol), o):
            _want_cancel(f, o)
        if sent == REQUESTS_PER_TICK:
            continue
        if may_query(o, g.now, p.resolve_ns):
            o.t_query = g.now
            o.queried = 1
            c.queries += 1
            emit_intent(f, Kind.QUERY, o, proposal(f, 0))
            sent += 1
        elif o.flags & CANCEL and o.state != OrderState.UNKNOWN and _cancel_due(o, g.now):
            o.t_query = g.now
            c.cancels += 1
            emit_intent(f, Kind.CANCEL, o, proposal(f, 0))
            sent += 1


@njit(**JIT)
def _cancel_due(o: Any, now: int) -> bool:
    return o.t_query == 0 or now - o.t_query >= QUERY_INTERVAL_NS


@njit(**INNER)
def become_unknown(f: Any, o: Any) -> None:
    """Put a live order into UNKNOWN: frozen, counted worst case, to be resolved by query."""
    g = glob(f)
    y = symbol(f, o.symbol)
    before = o.state
    detach(g, y, o)
    o.state = OrderState.UNKNOWN
    o.t_state = g.now
    o.t_query = o.queried = o.t_not_found = 0
    attach(g, y, o)
    g.order_chain = mix(mix(g.order_chain, o.key), o.state)
    signal_doubt(f, o, before)


@njit(**INNER)
def want_cancels(f: Any) -> None:
    """Mark every live order of ours for cancelling; ``watch_orders`` sends and repeats the requests until none is left."""
    for i in range(ORDER_SLOTS):
        o = order(f, i)
        if is_live(o.state) and o.flags & (FOREIGN | CANCEL) == 0:
            _want_cancel(f, o)


@njit(**INNER)
def cancel_resting(f: Any, s: int) -> None:
    """Cancel what rests on symbol ``s`` now."""
    for i in range(ORDER_SLOTS):
        o = order(f, i)
        if is_live(o.state) and o.symbol == s and o.t_rest_end > 0 and o.flags & CANCEL == 0:
            _want_cancel(f, o)
    watch_orders(f)


@njit(**INNER)
def _want_cancel(f: Any, o: Any) -> None:
    g, y = glob(f), symbol(f, o.symbol)
    detach(g, y, o)
    o.flags |= CANCEL
    o.t_query = 0
    attach(g, y, o)


@njit(**JIT)
def _rested_enough(g: Any, p: Any, y: Any, o: Any) -> bool:
    """Its time is over, or nothing new may be sent on its symbol either: halted, not ACTIVE, no journal, no fresh quote."""
    if g.now >= o.t_rest_end or y.halt != 0 or g.trading_state != TradingState.ACTIVE or g.journal_fault != 0:
        return True
    return not (0 < y.bid < y.ask) or g.now - y.bbo_t > p.stale_after_ns


@njit(**INNER)
def doubt_everything(f: Any) -> None:
    """After a restart: every live order of ours is UNKNOWN; foreign ones are dropped, the venue will list them again."""
    g = glob(f)
    for i in range(ORDER_SLOTS):
        o = order(f, i)
        if not is_live(o.state):
            continue
        if o.t_sent == 0:
            # Sent, if at all, by a process that lived until just now, perhaps long after the intent.
            o.t_sent = g.now
        if o.flags & FOREIGN:
            detach(g, symbol(f, o.symbol), o)
            clear_order(o)
        elif o.state != OrderState.UNKNOWN:
            become_unknown(f, o)
        else:
            o.t_query = o.queried = o.t_not_found = 0


@njit(**INNER)
def signal_doubt(f: Any, o: Any, before: int) -> None:
    """Tell that order ``o`` has become UNKNOWN, or was until now; ``before`` is the state it was in."""
    c = counters(f)
    if o.state == OrderState.UNKNOWN:
        c.unknown_orders += 1
        emit_signal(f, SignalCode.ORDER_UNKNOWN, o.symbol, o.side, o.reason, 0, o.key, o.price, 0, before, o.qty)
    elif before == OrderState.UNKNOWN:
        emit_signal(f, SignalCode.ORDER_RESOLVED, o.symbol, o.side, o.reason, 0, o.key, o.price, 0, o.state, o.cum_qty)


@njit(**INNER)
def note_error(f: Any) -> None:
    """Count an error of the venue, for the controls over them."""
    g = glob(f)
    error_time(f, g.error_head).t = g.now
    g.error_head = (g.error_head + 1) % ERROR_WINDOW
    g.errors_in_row = min(g.errors_in_row + 1, ERROR_WINDOW)
