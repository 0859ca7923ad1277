"""How far the audit trail has come: one mapped record, written by its follower, read by the daemon.

The sequence is the last journal frame for which everything that belongs into the trail is on the disk. It is one aligned
word, so a reader sees an old value or a new one and nothing between.
"""

from __future__ import annotations

import mmap
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from sentinel.errors import AuditError
from sentinel.units import NS_PER_MS

POSITION_NAME = "position"
_MAGIC = int.from_bytes(b"STLAPOS1", "little")
_WORDS = 4  # magic, sequence, CLOCK_MONOTONIC at which it was stored, process id
_BYTES = 8 * _WORDS
#: Ticks remembered while the trail is behind: newer frames then count as old as the last one remembered.
_MARKS = 1024


class AuditPosition:
    """The follower's end. Raises AuditError where the file cannot be made."""

    def __init__(self, directory: Path) -> None:
        path = directory / POSITION_NAME
        try:
            with open(path, "a+b") as file:
                os.posix_fallocate(file.fileno(), 0, _BYTES)
                self._mapping = mmap.mmap(file.fileno(), _BYTES)
        except OSError as error:
            raise AuditError(
                "audit position", str(path), "a writable file", f"check the directory and its disk ({error})"
            ) from None
        self._words = np.frombuffer(self._mapping, np.int64)

    def publish(self, sequence: int) -> None:
        """Everything up to journal frame ``sequence`` is in the trail."""
        self._words[3] = os.getpid()
        self._words[2] = time.monotonic_ns()
        self._words[1] = sequence
        self._words[0] = _MAGIC


def read_position(directory: Path) -> int | None:
    """The published sequence; None without one."""
    try:
        raw = (directory / POSITION_NAME).read_bytes()
    except OSError:
        return None
    words = np.frombuffer(raw[:_BYTES].ljust(_BYTES, b"\0"), np.int64)
    return int(words[1]) if words[0] == _MAGIC else None


class AuditWatch:
    """The daemon's end: how old is the oldest frame that is not in the trail?

    Args:
        directory: of the trail.
        max_backlog_ms: as ``audit.max_backlog_ms``.
        clock: nanoseconds of a clock that nobody sets.

    ``late`` is True until the trail has caught up with this process once, and whenever it is further behind than that.
    """

    def __init__(self, directory: Path, max_backlog_ms: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.late = True
        self.backlog_ns = 0
        self._directory = directory
        self._max_ns = max_backlog_ms * NS_PER_MS
        self._clock = clock
        self._marks: deque[tuple[int, int]] = deque()
        self._caught_up = False

    def look(self, written: int) -> bool:
        """``late``, seen now; ``written``: sequence of the last frame in the journal. Call it at every tick."""
        now_ns = self._clock()
        if len(self._marks) < _MARKS:
            self._marks.append((written, now_ns))
        else:
            self._marks[-1] = (written, self._marks[-1][1])
        covered = read_position(self._directory)
        # A trail that is ahead of the journal is another journal's.
        if covered is not None and covered <= written:
            while self._marks and self._marks[0][0] <= covered:
                self._marks.popleft()
                self._caught_up = True
        self.backlog_ns = now_ns - self._marks[0][1] if self._marks else 0
        self.late = not self._caught_up or self.backlog_ns > self._max_ns
        return self.late
