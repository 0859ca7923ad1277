"""Stream messages that are whole and wrong: quotes no book can have, times that have not come yet."""

from __future__ import annotations

from typing import Any

from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.units import NS_PER_MS, parse_e8

_TIMES = ("E", "T")
_EMPTY = "0.00000000"


def spoilt(faults: FaultPlan, stream: str, payload: Any) -> Any:
    """``payload`` as the faults have it: itself, or a changed copy."""
    if "@bookTicker" in stream and _EMPTY not in (payload["a"], payload["b"]) and faults.take(FaultKind.CROSSED_QUOTE, stream):
        payload = {**payload, "b": payload["a"]} if payload["u"] % 2 else {**payload, "b": payload["a"], "a": payload["b"]}
    elif "@depth" in stream and payload.get("a") and faults.take(FaultKind.CROSSED_QUOTE, stream):
        # A bid as high as the highest ask that has changed.
        price = max((level[0] for level in payload["a"]), key=parse_e8)
        payload = {**payload, "b": [[price, "1.00000000"], *payload["b"]]}
    if not any(name in payload for name in _TIMES):
        return payload
    ahead = faults.take(FaultKind.FUTURE_TIME, stream)
    if ahead is None:
        return payload
    return {**payload, **{name: payload[name] + ahead.delay_ns // NS_PER_MS for name in _TIMES if name in payload}}
