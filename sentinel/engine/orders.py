"""The order table and the life of an order: idempotent transitions, fills by cumulative quantity, fees by trade id.

What the venue says may come twice, late, or in any order: the answer to a request and the user stream travel
apart. So quantities are cumulative and only rise, each trade id counts once, a fill beats a cancel, and an
ambiguous outcome makes an order UNKNOWN until the venue itself has said what became of it. Nothing is resent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine.chain import mix
from sentinel.engine.frame import glob, known_trade, order
from sentinel.engine.layout import ACCEPTED, CANCEL, FOREIGN, ORDER_NOTIONAL_CAP, ORDER_SLOTS, TRADE_GENERATION, TRADE_TABLE
from sentinel.native import INNER, JIT
from sentinel.wide_money import notional_up_nb
from sentinel.wire import CLIENT_KEY_SEQUENCE_BITS, CLIENT_KEY_STRATEGY_BITS, OrderEventKind, OrderState, TimeInForce

SLOT_MASK = ORDER_SLOTS - 1
TABLE_MASK = TRADE_TABLE - 1
SEQUENCE_MASK = (1 << CLIENT_KEY_SEQUENCE_BITS) - 1
EPOCH_SHIFT = CLIENT_KEY_SEQUENCE_BITS + CLIENT_KEY_STRATEGY_BITS
NO_SLOT = -1
#: Time between two queries of one order, and at least between two NOT_FOUND that prove it was never accepted.
QUERY_INTERVAL_NS = 2_000_000_000


@njit(**JIT)
def is_live(state: int) -> bool:
    """The order may still trade: INTENT to UNKNOWN."""
    return OrderState.INTENT <= state <= OrderState.UNKNOWN


@njit(**JIT)
def next_state(state: int, event: int, reported: int, cum_qty: int, qty: int, was_sent: bool) -> int:
    """The state after an event: the table of an order's life.

    ``event``: OrderEventKind; ``reported``: the OrderState a STATUS carries; ``cum_qty`` after the event;
    ``was_sent``: bytes are known to have left. NOT_FOUND means here that never-accepted has been proved.
    Conflicting final answers settle by rank (FILLED, CANCELED, EXPIRED, REJECTED), whatever their order.
    """
    if 0 < qty <= cum_qty:
        return OrderState.FILLED
    says = _reported_state(event, reported, cum_qty)
    if says == OrderState.FREE:
        return _without_answer(state, event, was_sent)
    if is_live(state):
        # Refused, yet filled: the venue contradicts itself.
        return OrderState.UNKNOWN if says == OrderState.REJECTED and cum_qty > 0 else says
    if is_live(says):
        # Alive after "refused" or "never accepted" is a contradiction only the venue can settle.
        return OrderState.UNKNOWN if state in (OrderState.REJECTED, OrderState.NEVER_ACCEPTED) else state
    return says if _rank(says) < _rank(state) else state


@njit(**JIT)
def _reported_state(event: int, reported: int, cum_qty: int) -> int:
    """The state an answer of the venue puts an order in; FREE where the event is no answer."""
    says: int = OrderState.FREE
    if event == OrderEventKind.STATUS:
        says = reported
        if reported == OrderState.FILLED:
            says = OrderState.UNKNOWN
    elif event == OrderEventKind.ACKED or event == OrderEventKind.TRADE:
        says = OrderState.ACKED
    elif event == OrderEventKind.CANCELED:
        says = OrderState.CANCELED
    elif event == OrderEventKind.EXPIRED:
        says = OrderState.EXPIRED
    elif event == OrderEventKind.REJECTED:
        says = OrderState.REJECTED
    elif event == OrderEventKind.NOT_FOUND:
        says = OrderState.NEVER_ACCEPTED
    if says == OrderState.ACKED or says == OrderState.PARTIAL:
        says = OrderState.PARTIAL if cum_qty > 0 else OrderState.ACKED
    return says


@njit(**JIT)
def _without_answer(state: int, event: int, was_sent: bool) -> int:
    waiting = state == OrderState.INTENT or state == OrderState.PERMITTED
    if event == OrderEventKind.SENT and waiting:
        return OrderState.SENT
    if event == OrderEventKind.NOT_SENT and not was_sent and (waiting or state == OrderState.UNKNOWN):
        return OrderState.REJECTED
    if event == OrderEventKind.AMBIGUOUS and (waiting or state == OrderState.SENT):
        return OrderState.UNKNOWN
    if event == OrderEventKind.CANCEL_REJECTED and (state == OrderState.ACKED or state == OrderState.PARTIAL):
        return OrderState.UNKNOWN
    return state


@njit(**JIT)
def _rank(state: int) -> int:
    if state == OrderState.FILLED:
        return 0
    if state == OrderState.CANCELED:
        return 1
    if state == OrderState.EXPIRED:
        return 2
    return 3 if state == OrderState.REJECTED else 4


@njit(**INNER)
def find_order(f: Any, key: int) -> int:
    """Slot of the order with this client key, live or finished; -1 if it has none."""
    home = key & SLOT_MASK
    for k in range(ORDER_SLOTS):
        i = (home + k) & SLOT_MASK
        if order(f, i).key == key and order(f, i).state != OrderState.FREE:
            return i
    return NO_SLOT


@njit(**INNER)
def claim_slot(f: Any, key: int) -> int:
    """A cleared slot for a new order: the first free one from the key's home, else the one longest finished; -1 if all live.

    A finished order leaves its slot only so; until then late news of it still finds it.
    """
    home = key & SLOT_MASK
    best = NO_SLOT
    for k in range(ORDER_SLOTS):
        i = (home + k) & SLOT_MASK
        o = order(f, i)
        if o.state == OrderState.FREE:
            best = i
            break
        if not is_live(o.state) and (best == NO_SLOT or o.t_state < order(f, best).t_state):
            best = i
    if best != NO_SLOT:
        clear_order(order(f, best))
    return best


@njit(**JIT)
def clear_order(o: Any) -> None:
    """Make the slot free: every field 0."""
    o.key = o.symbol = o.side = o.state = o.order_type = o.tif = o.reason = o.flags = o.strategy = o.price = o.qty = 0
    o.cum_qty = o.cum_quote = o.trade_qty = o.trade_quote = o.open_notional = 0
    o.t_intent = o.t_sent = o.t_state = o.t_rest_end = o.t_query = o.queried = o.t_not_found = 0
    o.venue_order_id = o.setup_id = o.decision_seq = o.error_code = 0


@njit(**JIT)
def attach(g: Any, y: Any, o: Any) -> None:
    """Count a live order's rest in the symbol's and the account's exposure: as if it could still fill whole."""
    o.open_notional = 0
    if not is_live(o.state):
        return
    rest = max(o.qty - o.cum_qty, 0)
    # A sale may bring more than its limit: what fills is worth the last price at least.
    o.open_notional = min(notional_up_nb(max(o.price, y.last_price), rest), ORDER_NOTIONAL_CAP)
    if o.side == 1:
        y.open_buy += rest
    else:
        y.open_sell += rest
    y.open_notional += o.open_notional
    g.open_notional += o.open_notional
    y.live += 1
    g.live_orders += 1
    if o.state == OrderState.UNKNOWN:
        y.unknown += 1
        g.unknown_orders += 1
    if o.flags & CANCEL:
        g.cancels += 1


@njit(**JIT)
def detach(g: Any, y: Any, o: Any) -> None:
    """Take the order out of the exposure sums; call before changing it, ``attach`` after."""
    if not is_live(o.state):
        return
    rest = max(o.qty - o.cum_qty, 0)
    if o.side == 1:
        y.open_buy -= rest
    else:
        y.open_sell -= rest
    y.open_notional -= o.open_notional
    g.open_notional -= o.open_notional
    y.live -= 1
    g.live_orders -= 1
    if o.state == OrderState.UNKNOWN:
        y.unknown -= 1
        g.unknown_orders -= 1
    if o.flags & CANCEL:
        g.cancels -= 1


@njit(**INNER)
def first_sight(f: Any, s: int, trade_id: int) -> bool:
    """Remember a trade id; False if it was known. At least the last 4096 are remembered."""
    g = glob(f)
    tag = s + 1
    home = np.int64(mix(np.uint64(tag), trade_id) & np.uint64(TABLE_MASK))
    now = g.trade_generation
    free = home
    for generation in (1 - now, now):
        i = home
        while known_trade(f, generation, i).tag != 0:
            known = known_trade(f, generation, i)
            if known.tag == tag and known.trade_id == trade_id:
                return False
            i = (i + 1) & TABLE_MASK
        free = i
    if g.trade_count == TRADE_GENERATION:
        now = 1 - now
        for k in range(TRADE_TABLE):
            known_trade(f, now, k).tag = 0
        g.trade_generation = now
        g.trade_count = 0
        free = home
    entry = known_trade(f, now, free)
    entry.tag = tag
    entry.trade_id = trade_id
    g.trade_count += 1
    return True


@njit(**JIT)
def issued_here(g: Any, key: int) -> bool:
    """A key this engine, or an earlier epoch of it, has given out."""
    epoch = (key >> EPOCH_SHIFT) & 0xFFFF
    return epoch < g.epoch or (epoch == g.epoch and (key & SEQUENCE_MASK) < g.sequence)


@njit(**JIT)
def may_query(o: Any, now: int, resolve_ns: int) -> bool:
    """An UNKNOWN order is asked for once the venue can no longer accept it, every 2 s; an accepted one at once."""
    if o.state != OrderState.UNKNOWN or o.flags & FOREIGN:
        return False
    if o.t_query > 0 and now - o.t_query < QUERY_INTERVAL_NS:
        return False
    return (o.flags & ACCEPTED) != 0 or now > max(o.t_sent, o.t_intent) + resolve_ns


@njit(**JIT)
def not_found_proves(o: Any, now: int) -> bool:
    """Whether this NOT_FOUND, the second of two at least 2 s apart after the bound, proves the order never accepted.

    Only answers to our own queries count, one each: those are sent no earlier than the bound.
    """
    if o.state != OrderState.UNKNOWN or o.queried == 0 or o.flags & ACCEPTED or o.cum_qty > 0:
        return False
    o.queried = 0
    if o.t_not_found == 0:
        o.t_not_found = now
        return False
    return now - o.t_not_found >= QUERY_INTERVAL_NS


@njit(**JIT)
def overdue(o: Any, now: int, ack_timeout_ns: int, resolve_ns: int) -> bool:
    """No word in time: an unacknowledged order after the ack time-out, an IOC or FOK order that has not ended."""
    if o.flags & FOREIGN:
        return False
    since = max(o.t_sent, o.t_intent)
    if o.state == OrderState.INTENT or o.state == OrderState.PERMITTED or o.state == OrderState.SENT:
        return now - since >= ack_timeout_ns
    if o.state == OrderState.ACKED or o.state == OrderState.PARTIAL:
        return o.tif != TimeInForce.GTC and now - since > resolve_ns and now - o.t_state > resolve_ns
    return False
