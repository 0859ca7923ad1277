"""Market conduct: every order has a reason on record, and none joins a push our own alarm has told of."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.engine.risk.verdict import Verdict, passes, verdict_if
from sentinel.native import JIT
from sentinel.wire import Control, Reason


@njit(**JIT)
def no_reason(q: Any) -> Verdict:
    """A reason, a setup, a reference and a fair value go on record with every order; with an entry an edge after fees too."""
    stated = q.reason != Reason.NONE and q.setup_id > 0 and q.ref_price > 0 and q.fair_value > 0
    needed = 0 if q.reduce_only != 0 else 1
    return verdict_if(not stated or q.edge_bps < needed, Control.NO_REASON, q.edge_bps, needed)


@njit(**JIT)
def joins_push(g: Any, p: Any, y: Any, q: Any) -> Verdict:
    """For ``join_pause_ns`` after an alarm of ours no entry in the direction of the push: only against it."""
    if q.reduce_only != 0 or y.push_side == 0:
        return passes()
    age = g.now - y.push_t
    return verdict_if(age <= p.join_pause_ns and q.side == y.push_side, Control.JOINS_PUSH, age, p.join_pause_ns)
