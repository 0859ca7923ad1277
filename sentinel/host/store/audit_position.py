"""How far the audit trail has come: one mapped record, written by its follower, read by the daemon.

The sequence is the last journal frame for which everything that belongs into the trail is on the disk. It is one aligned
word, so a reader sees an old value or a new one and nothing between. With it stands which start of a daemon the follower has
read: a position from before a start, or of another store, names another one.
"""

from __future__ import annotations

import mmap
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sentinel.errors import AuditError
from sentinel.units import NS_PER_MS

POSITION_NAME = "position"
_MAGIC = int.from_bytes(b"STLAPOS2", "little")
_WORDS = 7  # magic, sequence, CLOCK_MONOTONIC at which it was stored, process id, start's epoch and time, check
_BYTES = 8 * _WORDS
#: Ticks remembered while the trail is behind: newer frames then count as old as the last one remembered.
_MARKS = 1024


class RunStart(NamedTuple):
    """One start of a daemon, as its EPOCH record in the journal says: the store's epoch and the time in ns."""

    epoch: int
    t_ns: int


_NO_RUN = RunStart(0, 0)


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

    def publish(self, sequence: int, run: RunStart | None = None) -> None:
        """Everything up to journal frame ``sequence`` is in the trail; ``run`` is the last start in it."""
        epoch, t_ns = run or _NO_RUN
        self._words[6] = sequence ^ epoch ^ t_ns
        self._words[5] = t_ns
        self._words[4] = epoch
        self._words[3] = os.getpid()
        self._words[2] = time.monotonic_ns()
        self._words[1] = sequence
        self._words[0] = _MAGIC


def read_position(directory: Path) -> int | None:
    """The published sequence; None without one."""
    return _read(directory)[0]


def _read(directory: Path) -> tuple[int | None, RunStart]:
    """Sequence and start; no sequence without a file, or while it is being written."""
    try:
        raw = (directory / POSITION_NAME).read_bytes()
    except OSError:
        return None, _NO_RUN
    words = np.frombuffer(raw[:_BYTES].ljust(_BYTES, b"\0"), np.int64)
    sequence, epoch, t_ns, check = (int(words[k]) for k in (1, 4, 5, 6))
    # Two words are not stored at once: what is half of one publication and half of the next is none.
    if words[0] != _MAGIC or check != sequence ^ epoch ^ t_ns:
        return None, _NO_RUN
    return sequence, RunStart(epoch, t_ns)


class AuditWatch:
    """The daemon's end: how old is the oldest frame that is not in the trail?

    Args:
        directory: of the trail.
        max_backlog_ms: as ``audit.max_backlog_ms``.
        clock: nanoseconds of a clock that nobody sets.

    ``late`` is True until the trail has caught up with this process once, and whenever it is further behind than that.
    A position counts only from a follower that has read the start named by ``began``.
    """

    def __init__(self, directory: Path, max_backlog_ms: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.late = True
        self.backlog_ns = 0
        self._directory = directory
        self._max_ns = max_backlog_ms * NS_PER_MS
        self._clock = clock
        self._marks: deque[tuple[int, int]] = deque()
        self._caught_up = False
        self._run: RunStart | None = None

    def began(self, run: RunStart) -> None:
        """This process has begun, and its journal says so."""
        self._run = run

    def look(self, written: int) -> bool:
        """``late``, seen now; ``written``: sequence of the last frame in the journal. Call it at every tick."""
        now_ns = self._clock()
        if len(self._marks) < _MARKS:
            self._marks.append((written, now_ns))
        else:
            self._marks[-1] = (written, self._marks[-1][1])
        covered, run = _read(self._directory)
        # A trail that is ahead of the journal is another journal's.
        if covered is not None and run == self._run and covered <= written:
            while self._marks and self._marks[0][0] <= covered:
                self._marks.popleft()
                self._caught_up = True
        self.backlog_ns = now_ns - self._marks[0][1] if self._marks else 0
        self.late = not self._caught_up or self.backlog_ns > self._max_ns
        return self.late
