"""What a decision asks for, from integer margins alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from sentinel.native import JIT
from sentinel.wire import Side

BUY, SELL = int(Side.BUY), int(Side.SELL)


class Call(NamedTuple):
    """What a decision asks for: a side (0: hold) and the lead of its margin."""

    side: int
    lead: int


@njit(**JIT)
def read_decision(d: Any, classes: int, delta_bits: int) -> Call:
    """Side and lead of a decision, whatever the threshold. ``delta_bits``: float32 bits of price_delta; its sign matters.

    Binary: the margin, against the sign of price_delta. Three classes (BUY, SELL, HOLD): how far the best class leads
    the second. Side 0: HOLD leads or ties, or no rule fired, or the price has not moved.
    """
    margins: Any = (np.int64(d.margin0), np.int64(d.margin1), np.int64(d.margin2))
    m0, m1, m2 = margins
    if d.rule_bits == 0:
        return Call(0, 0)
    if classes == 1:
        magnitude = delta_bits & 0x7FFFFFFF
        if magnitude == 0 or magnitude > 0x7F800000:
            return Call(0, 0)
        return Call(BUY if delta_bits >> 31 else SELL, m0)
    best = max(m0, m1)
    second = max(min(m0, m1), m2)
    if best <= second:
        return Call(0, 0)
    return Call(BUY if m0 > m1 else SELL, best - second)


@njit(**JIT)
def push_direction(delta_bits: int) -> int:
    """Which way the price runs, by the float32 bits of price_delta: BUY up, SELL down, 0 unknown."""
    magnitude = delta_bits & 0x7FFFFFFF
    if magnitude == 0 or magnitude > 0x7F800000:
        return 0
    return SELL if delta_bits >> 31 else BUY
