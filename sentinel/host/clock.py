"""The clock of a live machine: UTC, but it never goes back."""

from __future__ import annotations

import logging
import time

from sentinel.units import NS_PER_S

_log = logging.getLogger(__name__)

_SAMPLES = 9


class LiveClock:
    """UTC nanoseconds from the monotonic clock, anchored to UTC once, at construction.

    A step of the system clock afterwards moves nothing here. With ``not_before_ns``, the last
    time an earlier run has seen, the clock starts there if UTC says less: the system clock was set back in between.
    """

    def __init__(self, not_before_ns: int = 0) -> None:
        utc = _offset_ns()
        self._anchor_ns = max(utc, not_before_ns - time.monotonic_ns())
        if self._anchor_ns > utc:
            _log.warning(
                "the system clock is %.3f s behind the last record of the journal: time goes on from there; check the clock",
                (self._anchor_ns - utc) / NS_PER_S,
            )

    def now_ns(self) -> int:
        return time.monotonic_ns() + self._anchor_ns


def _offset_ns() -> int:
    # The sample in which least time passed around the UTC reading is the truest.
    best = None
    for _ in range(_SAMPLES):
        before = time.monotonic_ns()
        utc = time.time_ns()
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, utc - (before + after) // 2)
    assert best is not None
    return best[1]
