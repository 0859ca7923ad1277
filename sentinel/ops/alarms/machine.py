"""What the alarm process measures itself: the CPU that the host took away, and the disks' free space."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

from sentinel.units import NS_PER_S

_STAT = Path("/proc/stat")
_STEAL = 7
#: user, nice, system, idle, iowait, irq, softirq, steal; guest time is in user already.
_COUNTED = 8
_WINDOW_NS = 5 * NS_PER_S


def _ticks() -> tuple[int, int]:
    """Steal and all of the CPU's time since boot (proc(5), first line of /proc/stat)."""
    values = [int(word) for word in _STAT.read_text().splitlines()[0].split()[1 : 1 + _COUNTED]]
    return values[_STEAL], sum(values)


class Machine:
    """Reads them; ``directories`` are those whose disks count, the fullest of them.

    Args:
        directories: of store and trail; one that is not there yet stands for its nearest parent.
        ticks: steal and all of the CPU's time, in any unit.
        clock: monotonic ns.
    """

    def __init__(
        self,
        directories: Iterable[Path],
        ticks: Callable[[], tuple[int, int]] = _ticks,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._directories = tuple(directories)
        self._ticks = ticks
        self._clock = clock
        self._samples: deque[tuple[int, tuple[int, int]]] = deque()

    def read(self) -> dict[str, float | None]:
        """``cpu_steal_pct`` of the last seconds and ``disk_free_pct``; None for what cannot be read."""
        return {"cpu_steal_pct": self._steal_pct(), "disk_free_pct": self._free_pct()}

    def _steal_pct(self) -> float | None:
        now_ns = self._clock()
        try:
            now = self._ticks()
        except (OSError, ValueError, IndexError):
            return None
        self._samples.append((now_ns, now))
        while now_ns - self._samples[0][0] > _WINDOW_NS:
            self._samples.popleft()
        then = self._samples[0][1]
        passed = now[1] - then[1]
        return 100 * (now[0] - then[0]) / passed if passed > 0 else None

    def _free_pct(self) -> float | None:
        try:
            found = [os.statvfs(_existing(directory)) for directory in self._directories]
        except OSError:
            return None
        return min((100 * one.f_bavail / one.f_blocks for one in found if one.f_blocks), default=None)


def _existing(directory: Path) -> Path:
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory
