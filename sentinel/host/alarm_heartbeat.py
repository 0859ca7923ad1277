"""The sign of life of the alarm process: one mapped record that it writes at every look and the daemon reads at every tick."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path

from sentinel.errors import AlarmError
from sentinel.host.mapped_page import PageWriter, read_page
from sentinel.units import NS_PER_MS

HEARTBEAT_NAME = "alarms.heartbeat"
#: ``id`` of the ALARM that the silence of the alarm process raises.
ALARMS_SILENT = 1
_MAGIC = b"STLALIV2"
#: Count, and epoch of the daemon's start whose status was read last.
_RECORD = struct.Struct("<2q")


class Heartbeat:
    """The alarm process's end. Raises AlarmError where the file cannot be made."""

    def __init__(self, directory: Path) -> None:
        path = directory / HEARTBEAT_NAME
        try:
            self._page = PageWriter(path, _MAGIC, _RECORD.size)
        except OSError as error:
            raise AlarmError("heartbeat", str(path), "a writable file", f"check the directory and its disk ({error})") from None
        self._count, _ = _read(directory) or (0, 0)

    def beat(self, epoch: int) -> None:
        """Alive, and has read the status of the daemon's start ``epoch``; 0 before any."""
        self._count += 1
        self._page.publish(_RECORD.pack(self._count, epoch))


def _read(directory: Path) -> tuple[int, int] | None:
    try:
        body = read_page(directory / HEARTBEAT_NAME, _MAGIC, _RECORD.size)
    except OSError:
        return None
    if not body:
        return None
    count, epoch = _RECORD.unpack(body)
    return count, epoch


class HeartbeatWatch:
    """The daemon's end: has the alarm process beaten within ``silence_ms``, knowing this start of the daemon?

    Args:
        directory: the store's.
        silence_ms: as ``alarms.silence_ms``.
        epoch: of this start.
        clock: nanoseconds of a clock that nobody sets.

    A beat counts when its number has changed since the last look: what a dead process left behind never does.
    """

    def __init__(self, directory: Path, silence_ms: int, epoch: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._directory = directory
        self._silence_ns = silence_ms * NS_PER_MS
        self._epoch = epoch
        self._clock = clock
        self._last = _read(directory)
        self._since_ns = clock()
        self._beaten = False

    def silent(self) -> bool:
        """Look; whether the alarm process has been silent for too long."""
        now_ns = self._clock()
        found = _read(self._directory)
        if found is not None and found != self._last and found[1] == self._epoch:
            self._since_ns = now_ns
            self._beaten = True
        if found is not None:
            self._last = found
        return now_ns - self._since_ns > self._silence_ns

    def beating(self) -> bool:
        """Look; whether it has beaten since this start, and not too long ago."""
        return not self.silent() and self._beaten
