"""Writing effects: signals for people, intents and requests for the host."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine.frame import (
    EFFECTS_PER_STEP,
    advice_at,
    claim_slots,
    glob,
    intent1_at,
    intent2_at,
    params,
    signal_at,
    symbol,
)
from sentinel.engine.layout import REDUCE_ONLY
from sentinel.native import INNER, JIT
from sentinel.wire import Kind

__all__ = ["EFFECTS_PER_STEP", "emit_advice_request", "emit_intent", "emit_signal", "scaled_e8"]


@njit(inline="always", **INNER)
def emit_signal(
    f: Any, code: int, s: int, side: int, reason: int, control: int, key: int, price: int, margin: int, value: int, limit: int
) -> None:
    """Append a SIGNAL; without room it is lost and counted in the cursor."""
    # One type for every argument: else the writer is compiled anew for each mix of enums and widths.
    ids = (np.int64(code), np.int64(s), np.int64(side), np.int64(reason), np.int64(control), np.int64(key))
    _write_signal(f, ids, np.int64(price), np.int64(margin), np.int64(value), np.int64(limit))


@njit(**INNER)
def _write_signal(f: Any, ids: tuple[int, ...], price: int, margin: int, value: int, limit: int) -> None:
    g = glob(f)
    g.signal_seq += 1
    address = claim_slots(f, 1)
    if address == 0:
        return
    record = signal_at(address)
    record.seq = g.signal_seq
    record.t = g.now
    record.client_key = ids[5]
    record.kind = Kind.SIGNAL
    record.venue = params(f).venue
    record.symbol = ids[1]
    record.side = ids[2]
    record.code = ids[0]
    record.reason = ids[3]
    record.control = ids[4]
    record.price = price
    record.margin = margin
    record.value = value
    record.limit = limit


@njit(**INNER)
def emit_intent(f: Any, kind: int, o: Any, q: Any) -> None:
    """Append the two slots of a PLACE, CANCEL or QUERY for order ``o``; the caller has made sure of room.

    ``q`` is the PROPOSAL behind a PLACE; for the others its fair value, reference and edge are left zero.
    """
    address = claim_slots(f, 2)
    if address == 0:
        return
    g, y = glob(f), symbol(f, o.symbol)
    first, second = intent1_at(address), intent2_at(address)
    first.client_key = o.key
    second.client_key = o.key
    first.kind = kind
    second.kind = kind
    second.part = 1
    first.side = o.side
    second.side = o.side
    first.flags = o.flags & REDUCE_ONLY
    second.flags = o.flags & REDUCE_ONLY
    first.venue = params(f).venue
    second.venue = params(f).venue
    first.symbol = o.symbol
    second.symbol = o.symbol
    first.t = g.now
    first.t_signal = o.t_intent
    first.price = o.price
    first.qty = o.qty
    first.order_type = o.order_type
    first.tif = o.tif
    first.strategy = o.strategy
    first.reason = o.reason
    first.limits_version = g.limits_version
    first.setup_id = o.setup_id
    first.arm_epoch = g.arm_epoch
    second.decision_seq = o.decision_seq
    second.best_bid = y.bid
    second.best_ask = y.ask
    if kind == Kind.PLACE:
        first.t_signal = q.t_signal
        second.fair_value = q.fair_value
        second.ref_price = q.ref_price
        second.expected_edge_bps = q.edge_bps
        second.margin = q.margin


@njit(**INNER)
def emit_advice_request(f: Any, s: int, price_delta_e8: np.int64, volume_ratio_e8: np.int64) -> int:
    """Append an ADVICE_REQUEST for the setup of symbol ``s``; 1 if there was room."""
    address = claim_slots(f, 1)
    if address == 0:
        return 0
    y = symbol(f, s)
    record = advice_at(address)
    record.id = y.advice_id
    record.t = glob(f).now
    record.deadline = y.advice_deadline
    record.kind = Kind.ADVICE_REQUEST
    record.side = y.setup_side
    record.venue = params(f).venue
    record.symbol = s
    record.price = y.last_price
    record.price_delta_e8 = price_delta_e8
    record.volume_ratio_e8 = volume_ratio_e8
    record.setup_id = y.setup_id
    return 1


@njit(**JIT)
def scaled_e8(value: float) -> np.int64:
    """A feature in units of 1e-8 for people to read; NaN is 0, the rest is cut to +-1e9."""
    if value != value:
        return np.int64(0)
    return np.int64(min(max(np.float64(value), -1e9), 1e9) * 1e8)
