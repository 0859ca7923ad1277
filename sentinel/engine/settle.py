"""What news of an order does: to the order, the account, the exposure sums, and the people who watch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine.chain import mix
from sentinel.engine.day import roll_symbol_day
from sentinel.engine.emit import emit_signal
from sentinel.engine.frame import counters, glob, order, params, symbol
from sentinel.engine.layout import ACCEPTED, AMOUNT_CAP, FOREIGN, HALT_RECONCILE
from sentinel.engine.order_watch import note_error, signal_doubt
from sentinel.engine.orders import (
    NO_SLOT,
    attach,
    claim_slot,
    detach,
    find_order,
    first_sight,
    is_live,
    issued_here,
    next_state,
    not_found_proves,
)
from sentinel.engine.portfolio import apply_fee, apply_fill
from sentinel.native import INNER, JIT
from sentinel.units import E8
from sentinel.wide_money import mul_div_wide_nb, notional_nb
from sentinel.wire import (
    Control,
    OrderEventFlag,
    OrderEventKind,
    OrderState,
    OrderType,
    Side,
    SignalCode,
    TimeInForce,
)

EVENT_FOREIGN = int(OrderEventFlag.FOREIGN)


@njit(**INNER)
def _usable(f: Any, e1: Any, e2: Any) -> bool:
    """The event's fields can be what a venue says."""
    if e1.symbol >= f.symbol_count or e1.event < OrderEventKind.SENT or e1.event > OrderEventKind.CANCEL_REJECTED:
        return False
    if e1.client_key != e2.client_key or e2.part != 1 or e1.side > Side.SELL or e1.fee_asset > 2:
        return False
    if e1.last_price < 0 or e1.last_qty < 0 or e1.cum_qty < 0 or e2.cum_quote < 0 or e2.qty < 0 or e2.price < 0:
        return False
    if (
        e2.cum_quote > AMOUNT_CAP
        or e2.commission < 0
        or e2.commission > AMOUNT_CAP
        or e1.cum_qty > AMOUNT_CAP
        or e2.qty > AMOUNT_CAP
    ):
        return False
    if e1.event == OrderEventKind.TRADE:
        known = e2.trade_id >= 0 or e1.cum_qty > 0
        return known and 0 < e1.last_qty <= AMOUNT_CAP and notional_nb(e1.last_price, e1.last_qty) <= AMOUNT_CAP
    if e1.event == OrderEventKind.STATUS:
        return OrderState.SENT < e1.state <= OrderState.EXPIRED and e1.state != OrderState.UNKNOWN
    return True


@njit(**JIT)
def _of_another_order(o: Any, e2: Any) -> bool:
    """Whether an answer describes an order of another size or limit than went out under this key.

    A venue takes an id again once its first order has ended, so one used before (by a lost or second store) may be found.
    Under the venue's own id it is the same order, though it may have been amended since.
    """
    if o.flags & FOREIGN or _is_certainly(o, e2):
        return False
    return (e2.qty > 0 and e2.qty != o.qty) or (e2.price > 0 and e2.price != o.price)


@njit(**JIT)
def _is_certainly(o: Any, e2: Any) -> bool:
    """The venue's id of the order is known and named."""
    return o.venue_order_id > 0 and e2.venue_order_id == o.venue_order_id


@njit(**INNER)
def apply_order_event(f: Any, e1: Any, e2: Any) -> int:
    """Fold one ORDER_EVENT (its two slots) into the state.

    Returns the order's slot if it is ours and something the strategy must know happened to it (a fill, a
    fee that moved the position, or its end), else -1. Unusable events are counted and change nothing.
    """
    g, c = glob(f), counters(f)
    c.order_events += 1
    if not _usable(f, e1, e2):
        c.bad_input += 1
        return NO_SLOT
    s = np.int64(e1.symbol)
    y = symbol(f, s)
    i = find_order(f, np.int64(e1.client_key))
    if i == NO_SLOT:
        i = _adopt(f, e1, e2)
        if i == NO_SLOT:
            return NO_SLOT
    o = order(f, i)
    if o.symbol != s or (e1.side != Side.NONE and e1.side != o.side) or _of_another_order(o, e2):
        c.bad_input += 1
        return NO_SLOT
    own = o.flags & FOREIGN == 0
    before, filled, position, qty = o.state, o.cum_qty, y.position, o.qty
    detach(g, y, o)
    if e2.qty > 0 and _is_certainly(o, e2):
        # An amend only ever takes away: what comes late tells of a larger quantity.
        o.qty = min(o.qty, e2.qty)
    price = _fold_fill(f, y, o, e1, e2, own)
    _fold_state(g, c, o, e1, e2)
    attach(g, y, o)
    changed = o.state != before
    gained = o.cum_qty - filled
    if changed or gained > 0 or o.qty != qty:
        chain = mix(mix(g.order_chain, o.key), o.state)
        g.order_chain = mix(mix(chain, o.cum_qty), o.cum_quote)
    else:
        c.ignored_order_events += 1
    if gained > 0:
        c.fills += 1
        emit_signal(f, SignalCode.FILL, s, o.side, o.reason, 0, o.key, price, 0, gained, o.cum_qty)
    if changed:
        signal_doubt(f, o, before)
    if own:
        _note_conduct(f, o, filled, changed, np.int64(e1.event))
    moved = gained > 0 or y.position != position
    return i if own and (moved or (changed and not is_live(o.state))) else NO_SLOT


@njit(**INNER)
def _fold_fill(f: Any, y: Any, o: Any, e1: Any, e2: Any, own: bool) -> int:
    """Raise the cumulative quantities and book what is new; returns the new part's average price (0 if none)."""
    g, c, p = glob(f), counters(f), params(f)
    new_trade = False
    if e1.event == OrderEventKind.TRADE and e2.trade_id >= 0:
        new_trade = first_sight(f, o.symbol, e2.trade_id)
        if new_trade:
            o.trade_qty += e1.last_qty
            o.trade_quote += notional_nb(e1.last_price, e1.last_qty)
            y.last_trade_id = max(y.last_trade_id, e2.trade_id)
        else:
            c.duplicate_fills += 1
    cum = max(max(o.cum_qty, e1.cum_qty), o.trade_qty)
    gained = cum - o.cum_qty
    price = 0
    if gained > 0:
        quote = o.cum_quote + notional_nb(e1.last_price if e1.last_price > 0 else o.price, gained)
        if e1.cum_qty == cum and e2.cum_quote > 0:
            quote = e2.cum_quote
        elif o.trade_qty == cum:
            quote = o.trade_quote
        if cum > o.qty or quote < o.cum_quote:
            c.contradictions += 1
        if cum > o.qty and own:
            y.halt |= HALT_RECONCILE
            fired = Control.FILL_ANOMALY
            emit_signal(f, SignalCode.CONTROL_FIRED, o.symbol, o.side, o.reason, fired, o.key, o.price, 0, cum, o.qty)
        paid = max(quote - o.cum_quote, 0)
        price = mul_div_wide_nb(paid, E8, gained)
        o.cum_qty = cum
        o.cum_quote = max(quote, o.cum_quote)
        apply_fill(g, p, y, o.symbol, o.key, o.side, gained, paid, own)
    if new_trade and e2.commission > 0:
        apply_fee(g, p, y, e1.fee_asset, e2.commission, e1.last_price, own)
    return price


@njit(**JIT)
def _fold_state(g: Any, c: Any, o: Any, e1: Any, e2: Any) -> None:
    event = np.int64(e1.event)
    if event == OrderEventKind.NOT_FOUND and not not_found_proves(o, g.now):
        return
    if event == OrderEventKind.SENT and o.t_sent == 0:
        o.t_sent = g.now
    before = o.state
    after = next_state(before, event, np.int64(e1.state), o.cum_qty, o.qty, o.t_sent > 0)
    if OrderState.ACKED <= after <= OrderState.PARTIAL or o.cum_qty > 0:
        o.flags |= ACCEPTED
    if e2.venue_order_id > 0:
        o.venue_order_id = e2.venue_order_id
    if e1.error_code != 0:
        o.error_code = e1.error_code
    if after == before:
        return
    o.state = after
    o.t_state = g.now
    if after == OrderState.UNKNOWN:
        o.t_query = o.queried = o.t_not_found = 0
        if not is_live(before):
            c.contradictions += 1


@njit(**INNER)
def _note_conduct(f: Any, o: Any, filled: int, changed: bool, event: int) -> None:
    """What the controls over the venue's errors and over our orders' life count."""
    g, p = glob(f), params(f)
    y = symbol(f, o.symbol)
    roll_symbol_day(g, y)
    if filled == 0 and o.cum_qty > 0:
        y.day_fills += 1
    if not changed:
        return
    refused = o.state == OrderState.REJECTED and event == OrderEventKind.REJECTED
    if refused or (o.state == OrderState.UNKNOWN and event == OrderEventKind.AMBIGUOUS):
        note_error(f)
    elif o.flags & ACCEPTED:
        g.errors_in_row = 0
    if o.state == OrderState.CANCELED and o.cum_qty == 0 and o.t_rest_end > 0 and g.now - o.t_intent < p.short_quote_ns:
        y.day_short_quotes += 1


@njit(**INNER)
def _adopt(f: Any, e1: Any, e2: Any) -> int:
    """A slot for an order that is not in the table, or -1 where its news needs none.

    A foreign order counts in exposure and halts its symbol until an operator resumes it. What it had filled
    before is in the balances already. News of an order of ours that has left the table is stale; a trade of
    it that nobody has seen cannot be booked safely, so it halts the symbol instead.
    """
    g, c = glob(f), counters(f)
    s = np.int64(e1.symbol)
    y = symbol(f, s)
    key = np.int64(e1.client_key)
    trade = e1.event == OrderEventKind.TRADE
    if e1.flags & EVENT_FOREIGN == 0 and issued_here(g, key):
        c.late_order_events += 1
        if trade and e2.trade_id >= 0 and first_sight(f, s, e2.trade_id):
            _halt_for_reconcile(f, e1, e2)
        return NO_SLOT
    alive = trade or e1.event == OrderEventKind.ACKED or (e1.event == OrderEventKind.STATUS and is_live(e1.state))
    if not alive or e1.side == Side.NONE:
        c.late_order_events += 1
        return NO_SLOT
    _halt_for_reconcile(f, e1, e2)
    i = claim_slot(f, key)
    if i == NO_SLOT:
        c.bad_input += 1
        return NO_SLOT
    o = order(f, i)
    o.key = key
    o.symbol = s
    o.side = e1.side
    o.state = OrderState.ACKED
    o.order_type = OrderType.LIMIT
    o.tif = TimeInForce.GTC
    o.flags = FOREIGN | ACCEPTED
    o.price = e2.price
    o.qty = max(max(e2.qty, e1.cum_qty), e1.last_qty)
    o.cum_qty = max(e1.cum_qty - e1.last_qty, 0) if trade else e1.cum_qty
    o.cum_quote = max(e2.cum_quote - notional_nb(e1.last_price, e1.last_qty), 0) if trade else e2.cum_quote
    o.trade_qty = o.cum_qty
    o.trade_quote = o.cum_quote
    o.t_intent = o.t_sent = o.t_state = g.now
    attach(g, y, o)
    return i


@njit(**INNER)
def _halt_for_reconcile(f: Any, e1: Any, e2: Any) -> None:
    c = counters(f)
    y = symbol(f, e1.symbol)
    y.halt |= HALT_RECONCILE
    c.foreign_orders += 1
    key = np.int64(e1.client_key)
    emit_signal(f, SignalCode.FOREIGN_ORDER, e1.symbol, e1.side, 0, 0, key, e2.price, 0, e1.cum_qty, e2.qty)
