"""How wrong the system clock can be, and whether somebody has just set it.

The bound is the worse of what chronyd and the kernel say; what either cannot vouch for is unknown. A step shows as a jump
of CLOCK_REALTIME against CLOCK_MONOTONIC_RAW, which nobody sets or slews.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from sentinel.config_watch import ClockConfig
from sentinel.errors import ClockError
from sentinel.host.clock import UNKNOWN_NS, ClockLook
from sentinel.ops.clock.chronyd import Tracking, ask_tracking
from sentinel.ops.clock.kernel import KernelClock, read_kernel_clock
from sentinel.units import NS_PER_MS, NS_PER_S, NS_PER_US

_log = logging.getLogger(__name__)

_SAMPLES = 5
#: How fast two clocks of one machine may part without a step: the kernel slews by at most 500 ppm.
_DRIFT_PPM = 500


class ClockPair(NamedTuple):
    """Both clocks at one moment, ns."""

    real_ns: int
    raw_ns: int


def read_clocks() -> ClockPair:
    """CLOCK_REALTIME and CLOCK_MONOTONIC_RAW, from the narrowest of a few samples."""
    samples = []
    for _ in range(_SAMPLES):
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        real = time.time_ns()
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        samples.append((after - before, ClockPair(real, (before + after) // 2)))
    return min(samples)[1]


class StepDetector:
    """Compares each pair of clocks with the one before; ``step_us`` is the smallest jump that counts."""

    def __init__(self, step_us: int) -> None:
        self._least_ns = step_us * NS_PER_US
        self._last: ClockPair | None = None

    def step_ns(self, now: ClockPair) -> int:
        """How far the clock was set since the last call, ns, forward or back; 0 where it was not."""
        last, self._last = self._last, now
        if last is None:
            return 0
        passed = now.raw_ns - last.raw_ns
        jump = now.real_ns - last.real_ns - passed
        return jump if abs(jump) > self._least_ns + passed * _DRIFT_PPM // 1_000_000 else 0


class ClockWatch:
    """Looks at the clock when asked.

    Args:
        settings: ``[clock]``.
        ask: chronyd's report, by address and time-out; raises ClockError.
        kernel: the kernel's view; raises ClockError.
        clocks: both clocks.
    """

    def __init__(
        self,
        settings: ClockConfig,
        ask: Callable[[tuple[str, int], float], Tracking] = ask_tracking,
        kernel: Callable[[], KernelClock] = read_kernel_clock,
        clocks: Callable[[], ClockPair] = read_clocks,
    ) -> None:
        self._settings = settings
        self._address = _address(settings.chronyd)
        self._ask = ask
        self._kernel = kernel
        self._clocks = clocks
        self._steps = StepDetector(settings.step_us)
        self._trouble = ""

    def look(self) -> ClockLook:
        """One look; never raises. ``stepped``: since the last one."""
        step_ns = self._steps.step_ns(self._clocks())
        if step_ns:
            _log.error("the system clock was set by %.6f s", step_ns / NS_PER_S)
        try:
            bound_ns, trouble = self._bound_ns(), ""
        except ClockError as error:
            bound_ns, trouble = UNKNOWN_NS, str(error)
        if trouble != self._trouble:
            self._trouble = trouble
            _log.warning("clock: %s", trouble or "its error is known again")
        return ClockLook(bound_ns, step_ns != 0)

    def _bound_ns(self) -> int:
        kernel = self._kernel()
        if not kernel.synchronised:
            raise ClockError("kernel clock", "unsynchronised", "a clock that is kept", "with chrony: rtcsync in chrony.conf")
        if self._address is None:
            return kernel.maxerror_us * NS_PER_US
        tracking = self._ask(self._address, self._settings.timeout_ms * NS_PER_MS / NS_PER_S)
        bound_s = tracking.bound_s
        if bound_s is None:
            raise ClockError("chronyd", f"stratum {tracking.stratum}", "a source it trusts", "see chronyc sources")
        # Not maxerror: it grows by 500 us a second between chronyd's updates, far beyond what chronyd itself vouches for.
        return max(round(bound_s * NS_PER_S), kernel.esterror_us * NS_PER_US)


def _address(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    return host, int(port)
