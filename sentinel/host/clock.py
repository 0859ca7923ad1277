"""The clock of a live machine: UTC, but it never goes back."""

from __future__ import annotations

import logging
import time
from typing import NamedTuple, Protocol

from sentinel.units import NS_PER_S

_log = logging.getLogger(__name__)

_SAMPLES = 9
#: ``bound_ns`` of a clock whose error nobody knows.
UNKNOWN_NS = -1


class ClockLook(NamedTuple):
    """What one look at the system clock found: the largest error it can have, and whether it was set of late."""

    bound_ns: int
    stepped: bool


UNKNOWN = ClockLook(UNKNOWN_NS, False)


class ClockSource(Protocol):
    """Who looks at the system clock."""

    def take(self) -> ClockLook | None:
        """The newest look, once; None until there is another."""


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

    def strayed_ns(self) -> int:
        """How far this clock is from the system's, which was set after the start; as much is to be added to its error."""
        return abs(_offset_ns() - self._anchor_ns)


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
