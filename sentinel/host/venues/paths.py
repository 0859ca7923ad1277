"""Which of several ways to a venue new orders take: the fastest healthy one, and no change without need.

``PathChooser`` is pure: it is told what happened and knows no socket and no clock. ``watch_path`` measures one path's
round trip again and again and tells it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median_low
from typing import NamedTuple

from sentinel.errors import VenueError
from sentinel.units import NS_PER_MS, NS_PER_S

#: Round trips a path's median is taken of.
SAMPLES = 9
_ENOUGH = 3  # a median of fewer is a guess
_GAIN_PCT, _GAIN_NS = 20, 50_000  # what another path must save to be worth a change
_FAR_OFF_FACTOR, _FAR_OFF_NS = 4, 5 * NS_PER_MS  # over the path's own median, whichever allows more
_UNKNOWN_FAR_OFF_NS = NS_PER_S

PING_EVERY_S = 1.0
#: A path that has not answered a ping for this long is given up.
DEAD_S = 3.0


class PathReport(NamedTuple):
    """What is known of one path. ``rtt_ns`` is the median of its last round trips, None before the first."""

    address: str
    is_open: bool
    is_healthy: bool
    is_chosen: bool
    rtt_ns: int | None

    def text(self) -> str:
        """For the log."""
        state = "chosen" if self.is_chosen else "healthy" if self.is_healthy else "open" if self.is_open else "closed"
        trip = "not measured" if self.rtt_ns is None else f"round trip {self.rtt_ns / NS_PER_MS:.3f} ms"
        return f"{self.address} {state}, {trip}"


def only_path(address: str, is_open: bool) -> list[PathReport]:
    """The report of a session with one address, which is not measured."""
    return [PathReport(address, is_open, is_open, is_open, None)]


@dataclass(slots=True)
class _Path:
    is_open: bool = False
    strained: bool = False
    rtts_ns: deque[int] = field(default_factory=lambda: deque(maxlen=SAMPLES))

    @property
    def rtt_ns(self) -> int | None:
        return median_low(self.rtts_ns) if self.rtts_ns else None

    @property
    def is_healthy(self) -> bool:
        return self.is_open and not self.strained

    @property
    def known_rtt_ns(self) -> int | None:
        return self.rtt_ns if len(self.rtts_ns) >= _ENOUGH else None


class PathChooser:
    """``chosen`` is the number of the path for new orders, None while none is open.

    A path that is lost, whose ping is overdue, or whose last round trip was far beyond its usual is left at once, where
    another is healthy. A healthy one is left only for one whose median round trip is a fifth shorter, and 50 us at least.
    A path that is all there is stays chosen, strained or not.
    """

    def __init__(self, count: int) -> None:
        self.chosen: int | None = None
        self.changes = 0
        self._paths = [_Path() for _ in range(count)]

    def opened(self, path: int) -> None:
        """A connection on ``path`` is ready for orders. Its earlier round trips say nothing of this one."""
        self._paths[path] = _Path(is_open=True)
        self._choose()

    def lost(self, path: int) -> None:
        """The connection on ``path`` has ended."""
        self._paths[path] = _Path()
        self._choose()

    def measured(self, path: int, rtt_ns: int) -> None:
        """A ping on ``path`` was answered after ``rtt_ns``."""
        state = self._paths[path]
        if state.is_open:
            state.strained = rtt_ns > self.far_off_ns(path)
            state.rtts_ns.append(rtt_ns)
            self._choose()

    def overdue(self, path: int) -> None:
        """A ping on ``path`` has waited ``far_off_ns`` for its answer."""
        self._paths[path].strained = True
        self._choose()

    def far_off_ns(self, path: int) -> int:
        """The longest round trip that is still usual for ``path``."""
        usual = self._paths[path].known_rtt_ns
        return _UNKNOWN_FAR_OFF_NS if usual is None else max(usual * _FAR_OFF_FACTOR, usual + _FAR_OFF_NS)

    def report(self, path: int, address: str) -> PathReport:
        state = self._paths[path]
        return PathReport(address, state.is_open, state.is_healthy, path == self.chosen, state.rtt_ns)

    def _choose(self) -> None:
        best = self._best()
        if best != self.chosen:
            # The first choice and the loss of the last path are no change of path.
            self.changes += best is not None and self.chosen is not None
            self.chosen = best

    def _best(self) -> int | None:
        usable = [k for k, path in enumerate(self._paths) if path.is_open]
        healthy = [k for k in usable if self._paths[k].is_healthy]
        if self.chosen not in (healthy or usable):
            return min(healthy or usable, key=self._order, default=None)
        usual = self._paths[self.chosen].known_rtt_ns
        rival = min(healthy, key=self._order, default=None)
        if usual is None or rival is None:
            return self.chosen
        wanted = usual - max(usual * _GAIN_PCT // 100, _GAIN_NS)
        rtt = self._paths[rival].known_rtt_ns
        return rival if rtt is not None and rtt <= wanted else self.chosen

    def _order(self, path: int) -> tuple[bool, int, int]:
        rtt = self._paths[path].known_rtt_ns
        return rtt is None, rtt or 0, path


async def watch_path(
    chooser: PathChooser, path: int, ping: Callable[[], Awaitable[None]], changed: Callable[[], None], give_up: Callable[[], None]
) -> None:
    """Measure ``path`` once a second until it is lost, telling ``chooser`` and calling ``changed`` after.

    Args:
        ping: returns with the answer. Raises VenueError where there is none to come, or the venue answers otherwise.
        give_up: called when no answer has come for three seconds; the connection is then to be closed.
    """
    while True:
        await asyncio.sleep(PING_EVERY_S)
        begin_ns = time.monotonic_ns()
        answer = asyncio.ensure_future(ping())
        try:
            done, _ = await asyncio.wait({answer}, timeout=min(chooser.far_off_ns(path) / NS_PER_S, DEAD_S))
            if not done:
                chooser.overdue(path)
                changed()
                done, _ = await asyncio.wait({answer}, timeout=DEAD_S - (time.monotonic_ns() - begin_ns) / NS_PER_S)
            if not done:
                give_up()
                return
            try:
                answer.result()
            except (VenueError, OSError, RuntimeError):
                # Nothing was measured; a connection that is gone is reported by itself.
                continue
            chooser.measured(path, time.monotonic_ns() - begin_ns)
            changed()
        finally:
            answer.cancel()
