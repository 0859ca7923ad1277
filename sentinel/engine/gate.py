"""From proposal to intent: every order passes the risk controls here, or is refused with the control that did."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine import strategy
from sentinel.engine.chain import mix
from sentinel.engine.emit import emit_intent, emit_signal
from sentinel.engine.frame import counters, glob, order, params, proposal, room, symbol
from sentinel.engine.layout import ORDER_SLOTS, REDUCE_ONLY
from sentinel.engine.orders import EPOCH_SHIFT, NO_SLOT, SEQUENCE_MASK, attach, claim_slot
from sentinel.engine.risk import Verdict, check_order, trip
from sentinel.engine.risk.approval import ask_approval, use_approval
from sentinel.engine.risk.exposure import asked_notional
from sentinel.engine.risk.rates import record_order
from sentinel.native import INNER
from sentinel.wire import CLIENT_KEY_SEQUENCE_BITS, Control, Kind, OrderState, SignalCode

#: An intent and the signals around it.
ROOM_PER_PROPOSAL = 10


@njit(**INNER)
def pass_proposals(f: Any) -> None:
    """Put every proposal of this step through the controls; those that pass leave as PLACE intents."""
    g = glob(f)
    for k in range(g.proposals):
        _decide(f, proposal(f, k))
    g.proposals = 0


@njit(**INNER)
def _decide(f: Any, q: Any) -> None:
    g = glob(f)
    verdict = check_order(f, q)
    if verdict.control != 0:
        _reject(f, q, verdict.control, verdict.observed, verdict.limit)
        _act(f, q, verdict)
        return
    key = (g.epoch << EPOCH_SHIFT) | (q.strategy << CLIENT_KEY_SEQUENCE_BITS) | g.sequence
    i = NO_SLOT
    if room(f) >= ROOM_PER_PROPOSAL and g.sequence < SEQUENCE_MASK:
        i = claim_slot(f, key)
    if i == NO_SLOT:
        _reject(f, q, Control.OPEN_ORDERS, g.live_orders, ORDER_SLOTS)
        return
    g.sequence += 1
    asked = asked_notional(symbol(f, q.symbol), q)
    record_order(f, q, asked, use_approval(f, q, asked, key))
    _place(f, q, i, key)
    strategy.on_placed(f, i)
    _warn_of_ratio(f, q)


@njit(**INNER)
def _act(f: Any, q: Any, verdict: Verdict) -> None:
    """What a refusal by this control leads to beyond the refusal."""
    control = verdict.control
    if control == Control.TRADES_PER_MINUTE or control == Control.DRAWDOWN:
        trip(f, control, verdict.observed, verdict.limit)
    elif control == Control.REPEATED:
        y = symbol(f, q.symbol)
        y.repeats_off |= 1 << q.side
    elif control == Control.APPROVAL:
        ask_approval(f, q, asked_notional(symbol(f, q.symbol), q))


@njit(**INNER)
def _warn_of_ratio(f: Any, q: Any) -> None:
    """Say once a day and symbol that half of the order-to-trade ratio is used up."""
    y = symbol(f, q.symbol)
    most = params(f).max_order_to_trade * max(y.day_fills, 1)
    if y.ratio_warned == 0 and 2 * y.day_orders > most:
        y.ratio_warned = 1
        fired = Control.ORDER_TO_TRADE
        emit_signal(f, SignalCode.CONTROL_FIRED, q.symbol, q.side, 0, fired, 0, 0, 0, y.day_orders, most)


@njit(**INNER)
def _reject(f: Any, q: Any, control: int, observed: int, limit: int) -> None:
    c = counters(f)
    c.risk_rejects += 1
    c.duplicate_orders += control == Control.DUPLICATE
    emit_signal(f, SignalCode.RISK_REJECT, q.symbol, q.side, q.reason, control, 0, q.price, q.margin, observed, limit)
    strategy.on_rejected(f, q.symbol, control)


@njit(**INNER)
def _place(f: Any, q: Any, i: int, key: int) -> None:
    g, c = glob(f), counters(f)
    y = symbol(f, q.symbol)
    o = order(f, i)
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
    o.t_rest_end = q.t_rest_end
    o.setup_id = q.setup_id
    o.decision_seq = q.decision_seq
    attach(g, y, o)
    c.intents += 1
    chain = mix(mix(g.order_chain, key), (q.symbol << 8) | q.side)
    g.order_chain = mix(mix(chain, q.price), q.qty)
    emit_intent(f, Kind.PLACE, o, q)
