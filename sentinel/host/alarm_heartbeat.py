"""The sign of life of the alarm process: one mapped record that it writes at every look and the daemon reads at every tick."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sentinel.errors import AlarmError
from sentinel.units import NS_PER_MS

HEARTBEAT_NAME = "alarms.heartbeat"
#: ``id`` of the ALARM that the silence of the alarm process raises.
ALARMS_SILENT = 1
_MAGIC = int.from_bytes(b"STLALIV1", "little")
#: In its place once the alarm process was stopped in order.
_STOPPED = int.from_bytes(b"STLSTOP1", "little")
_WORDS = 4  # magic, count, epoch of the daemon's start whose status was read last, check
_BYTES = 8 * _WORDS


class Heartbeat:
    """The alarm process's end. Raises AlarmError where the file cannot be made."""

    def __init__(self, directory: Path) -> None:
        path = directory / HEARTBEAT_NAME
        try:
            with open(path, "a+b") as file:
                os.posix_fallocate(file.fileno(), 0, _BYTES)
                self._mapping = mmap.mmap(file.fileno(), _BYTES)
        except OSError as error:
            raise AlarmError("heartbeat", str(path), "a writable file", f"check the directory and its disk ({error})") from None
        self._words = np.frombuffer(self._mapping, np.int64)
        self._count = int(self._words[1])

    def beat(self, epoch: int) -> None:
        """Alive, and has read the status of the daemon's start ``epoch``; 0 before any."""
        self._count += 1
        self._words[3] = self._count ^ epoch
        self._words[2] = epoch
        self._words[1] = self._count
        self._words[0] = _MAGIC

    def stop(self) -> None:
        """Stopped in order: there is nobody behind the last beat any more."""
        self._words[0] = _STOPPED


class _Beat(NamedTuple):
    number: int
    epoch: int
    stopped: bool


def _read(directory: Path) -> _Beat | None:
    try:
        raw = (directory / HEARTBEAT_NAME).read_bytes()
    except OSError:
        return None
    magic, count, epoch, check = (int(word) for word in np.frombuffer(raw[:_BYTES].ljust(_BYTES, b"\0"), np.int64))
    return _Beat(count, epoch, magic == _STOPPED) if magic in (_MAGIC, _STOPPED) and check == count ^ epoch else None


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
        return self._last is not None and self._last.stopped
