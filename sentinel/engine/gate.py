"""From proposal to intent: every order passes the risk controls here, or is refused with the control that did."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine import strategy
from sentinel.engine.chain import mix
from sentinel.engine.emit import emit_intent, emit_signal, room
from sentinel.engine.layout import REDUCE_ONLY
from sentinel.engine.orders import EPOCH_SHIFT, NO_SLOT, SEQUENCE_MASK, attach, claim_slot
from sentinel.engine.risk import check_order, record_permit, trip
from sentinel.engine.state import Effects, EngineState
from sentinel.native import INNER
from sentinel.wire import CLIENT_KEY_SEQUENCE_BITS, Control, Kind, OrderState, SignalCode

#: An intent and the signals around it.
ROOM_PER_PROPOSAL = 8


@njit(**INNER)
def gate(st: EngineState, out: Effects) -> None:
    """Put every proposal of this step through the controls; those that pass leave as PLACE intents."""
    g = st.glob[0]
    for k in range(g.proposals):
        _decide(st, st.scratch.proposals[k], out)
    g.proposals = 0


@njit(**INNER)
def _decide(st: EngineState, q: Any, out: Effects) -> None:
    g = st.glob[0]
    verdict = check_order(st, q)
    if verdict.control != 0:
        _reject(st, q, verdict.control, verdict.observed, verdict.limit, out)
        if verdict.control == Control.TRADES_PER_MINUTE or verdict.control == Control.DRAWDOWN:
            trip(st, verdict.control, verdict.observed, verdict.limit, out)
        return
    key = (g.epoch << EPOCH_SHIFT) | (q.strategy << CLIENT_KEY_SEQUENCE_BITS) | g.sequence
    i = NO_SLOT
    if room(out) >= ROOM_PER_PROPOSAL and g.sequence < SEQUENCE_MASK:
        i = claim_slot(st.orders, key)
    if i == NO_SLOT:
        _reject(st, q, Control.OPEN_ORDERS, g.live_orders, st.orders.shape[0], out)
        return
    g.sequence += 1
    record_permit(st)
    _place(st, q, i, key, out)
    strategy.on_placed(st, i, out)


@njit(**INNER)
def _reject(st: EngineState, q: Any, control: int, observed: int, limit: int, out: Effects) -> None:
    g, c = st.glob[0], st.counters[0]
    c.risk_rejects += 1
    emit_signal(g, out, SignalCode.RISK_REJECT, q.symbol, q.side, q.reason, control, 0, q.price, q.margin, observed, limit)
    strategy.on_rejected(st, q.symbol, control)


@njit(**INNER)
def _place(st: EngineState, q: Any, i: int, key: int, out: Effects) -> None:
    g, c = st.glob[0], st.counters[0]
    y = st.symbols[q.symbol]
    o = st.orders[i]
    o.key = key
    o.symbol = q.symbol
    o.side = q.side
    o.state = OrderState.PERMITTED
    o.order_type = q.order_type
    o.tif = q.tif
    o.reason = q.reason
    o.flags = REDUCE_ONLY if q.reduce_only else 0
    o.strategy = q.strategy
    o.price = q.price
    o.qty = q.qty
    o.t_intent = o.t_state = g.now
    o.setup_id = q.setup_id
    o.decision_seq = q.decision_seq
    attach(g, y, o)
    c.intents += 1
    chain = mix(mix(g.order_chain, key), (q.symbol << 8) | q.side)
    g.order_chain = mix(mix(chain, q.price), q.qty)
    emit_intent(g, out, Kind.PLACE, o, y, q)
