"""The sign of life of the alarm process: one mapped record that it writes at every look and the daemon reads at every tick."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sentinel.errors import AlarmError
from sentinel.host.mapped_page import PageWriter, read_page
from sentinel.units import NS_PER_MS

HEARTBEAT_NAME = "alarms.heartbeat"
#: ``id`` of the ALARM that the silence of the alarm process raises.
ALARMS_SILENT = 1
_MAGIC = b"STLALIV3"
#: Count, epoch of the daemon's start whose status was read last, and 1 once the alarm process was stopped in order.
_RECORD = struct.Struct("<3q")


class Heartbeat:
    """The alarm process's end. Raises AlarmError where the file cannot be made."""

    def __init__(self, directory: Path) -> None:
        path = directory / HEARTBEAT_NAME
        try:
            self._page = PageWriter(path, _MAGIC, _RECORD.size)
        except OSError as error:
            raise AlarmError("heartbeat", str(path), "a writable file", f"check the directory and its disk ({error})") from None
        before = _read(directory)
        self._count, self._epoch = 0 if before is None else before.number, 0

    def beat(self, epoch: int) -> None:
        """Alive, and has read the status of the daemon's start ``epoch``; 0 before any."""
        self._count, self._epoch = self._count + 1, epoch
        self._page.publish(_RECORD.pack(self._count, epoch, 0))

    def stop(self) -> None:
        """Stopped in order: there is nobody behind the last beat any more."""
        self._page.publish(_RECORD.pack(self._count, self._epoch, 1))


class _Beat(NamedTuple):
    number: int
    epoch: int
    stopped: int


def _read(directory: Path) -> _Beat | None:
    try:
        body = read_page(directory / HEARTBEAT_NAME, _MAGIC, _RECORD.size)
    except OSError:
        return None
    return None if not body else _Beat(*_RECORD.unpack(body))


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
        if found is not None and found != self._last and found.epoch == self._epoch and not found.stopped:
            self._since_ns = now_ns
            self._beaten = True
        if found is not None:
            self._last = found
        return now_ns - self._since_ns > self._silence_ns

    def beating(self) -> bool:
        """Look; whether it has beaten since this start, and not too long ago."""
        return not self.silent() and self._beaten and not self.stopped

    @property
    def stopped(self) -> bool:
        """Whether the last thing it said is that it was stopped in order; that changes nothing of its silence."""
        return self._last is not None and bool(self._last.stopped)
