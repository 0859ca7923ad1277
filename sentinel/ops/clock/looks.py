"""Looks at the clock again and again, in a thread: a chronyd that hangs must not hold up whoever needs the last answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sentinel.config_watch import ClockConfig
from sentinel.host.clock import UNKNOWN, UNKNOWN_NS, ClockLook
from sentinel.ops.clock.watch import ClockWatch
from sentinel.units import NS_PER_MS, NS_PER_S, NS_PER_US

_log = logging.getLogger(__name__)

#: Looks missed before the last one counts no more.
_PATIENCE = 3


class ClockLooks:
    """Calls ``look`` every ``every_ms`` until ``stop``. Where looks stay away, the clock's error is unknown."""

    def __init__(self, look: Callable[[], ClockLook], every_ms: int, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._look = look
        self._every_ns = every_ms * NS_PER_MS
        self._monotonic_ns = monotonic_ns
        self._last = (UNKNOWN, monotonic_ns())
        self._taken_ns = 0
        self._steps = self._steps_taken = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clock", daemon=True)

    def start(self) -> None:
        """Begin, with a look at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, after at most one look."""
        self._stop.set()
        self._thread.join()

    def once(self) -> None:
        """Look now, in the caller's thread."""
        look = self._look()
        self._steps += look.stepped
        self._last = (look, self._monotonic_ns())

    @property
    def latest(self) -> ClockLook:
        """The last look; unknown where it is too old."""
        look, looked_ns = self._last
        return look if self._monotonic_ns() - looked_ns <= _PATIENCE * self._every_ns else UNKNOWN

    def take(self) -> ClockLook | None:
        """The last look, once; where looks stay away, an unknown one for each that is missing.

        A step of a look that nobody took is one of the next that is taken.
        """
        look, looked_ns = self._last
        now_ns = self._monotonic_ns()
        if looked_ns > self._taken_ns:
            self._taken_ns = looked_ns
            steps = self._steps
            stepped, self._steps_taken = steps > self._steps_taken, steps
            return look._replace(stepped=stepped)
        if now_ns - max(looked_ns, self._taken_ns) > _PATIENCE * self._every_ns:
            self._taken_ns = now_ns - (_PATIENCE - 1) * self._every_ns
            return UNKNOWN
        return None

    def error_us(self, unknown: int) -> int:
        """The bound in whole us, rounded up; ``unknown`` where nobody knows it, or it is beyond that."""
        bound_ns = self.latest.bound_ns
        return unknown if bound_ns == UNKNOWN_NS else min(-(-bound_ns // NS_PER_US), unknown)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.once()
            except Exception:
                _log.exception("clock: the look failed")
            self._stop.wait(self._every_ns / NS_PER_S)


@contextmanager
def clock_looks(settings: ClockConfig) -> Iterator[ClockLooks]:
    """Looks by the settings, until the end of the context; the first has ended when it begins."""
    looks = ClockLooks(ClockWatch(settings).look, settings.look_every_ms)
    looks.once()
    looks.start()
    try:
        yield looks
    finally:
        looks.stop()
