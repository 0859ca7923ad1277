"""Keeping one local book in step with the venue: the documented snapshot procedure, without any I/O.

Rules (Binance spot, "how to manage a local order book correctly"): buffer depth events; fetch a
snapshot; drop buffered events with u <= lastUpdateId; the first one left must cover lastUpdateId + 1;
from then on every event must follow the one before. A gap discards the book and starts again.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sentinel.host.feeds.decode import Snapshot, market_slot
from sentinel.wire import Kind

#: Buffered events per symbol; the oldest go first, and a snapshot must then be newer than those.
MAX_BUFFERED = 1024


class Verdict(Enum):
    """What becomes of a depth event."""

    APPLY = "apply"
    IGNORE = "ignore"  # old or duplicate
    HOLD = "hold"  # kept until the snapshot comes
    GAP = "gap"  # ids missing: the book is discarded, the event is kept for the next one


class SyncCounters:
    """Counted over all books of a feed."""

    def __init__(self) -> None:
        self.gaps = 0
        self.duplicates = 0
        self.resyncs = 0
        self.stale_snapshots = 0


class _Held(NamedTuple):
    first_id: int
    last_id: int
    records: NDArray[np.int64]


class BookSync:
    """The sequence state of one symbol's book.

    ``wants_snapshot`` is True while a snapshot must be fetched and none has been asked for;
    ``last_update_id`` is the id the book stands at, -1 while it has none.
    """

    def __init__(self, symbol: int, counters: SyncCounters) -> None:
        self.symbol = symbol
        self.last_update_id = -1
        self.requested = False
        self._counters = counters
        self._held: deque[_Held] = deque(maxlen=MAX_BUFFERED)

    @property
    def live(self) -> bool:
        """Whether the book is complete and every event since its snapshot has been applied."""
        return self.last_update_id >= 0

    @property
    def wants_snapshot(self) -> bool:
        return not self.live and not self.requested and bool(self._held)

    def discard(self) -> None:
        """Forget the book and everything held, as after a lost connection."""
        self.last_update_id = -1
        self._held.clear()

    def on_event(self, first_id: int, last_id: int, records: NDArray[np.int64]) -> Verdict:
        """Judge the event covering update ids ``first_id`` to ``last_id``; held records are copied."""
        if not self.live:
            return self._hold(first_id, last_id, records)
        if last_id <= self.last_update_id:
            self._counters.duplicates += 1
            return Verdict.IGNORE
        if first_id > self.last_update_id + 1:
            self._counters.gaps += 1
            self.discard()
            self._hold(first_id, last_id, records)
            return Verdict.GAP
        self.last_update_id = last_id
        return Verdict.APPLY

    def on_snapshot(self, snapshot: Snapshot, t_recv: int) -> list[NDArray[np.int64]] | None:
        """The records that make the book: snapshot, then the held events that follow it.

        Returns None when the snapshot is too old for what is held: fetch another. One that comes
        when the book is live already, or after everything held was discarded, is ignored (an empty list).
        """
        self.requested = False
        if self.live or not self._held:
            return []
        while self._held and self._held[0].last_id <= snapshot.last_update_id:
            self._held.popleft()
        if self._held and self._held[0].first_id > snapshot.last_update_id + 1:
            self._counters.stale_snapshots += 1
            return None
        parts = [
            market_slot(Kind.SNAPSHOT_BEGIN, self.symbol, t_recv, seq=snapshot.last_update_id),
            snapshot.levels,
            market_slot(Kind.SNAPSHOT_END, self.symbol, t_recv, seq=snapshot.last_update_id),
        ]
        parts.extend(held.records for held in self._held)
        self.last_update_id = self._held[-1].last_id if self._held else snapshot.last_update_id
        self._held.clear()
        self._counters.resyncs += 1
        return parts

    def _hold(self, first_id: int, last_id: int, records: NDArray[np.int64]) -> Verdict:
        if self._held:
            newest = self._held[-1].last_id
            if last_id <= newest:
                self._counters.duplicates += 1
                return Verdict.IGNORE
            if first_id > newest + 1:
                # What lies before a hole can no longer be bridged.
                self._counters.gaps += 1
                self._held.clear()
        self._held.append(_Held(first_id, last_id, records.copy()))
        return Verdict.HOLD


class WeightBudget:
    """Request weight a feed may spend, in the venue's clock-aligned minutes."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._minute = -1
        self._spent = 0

    def take(self, weight: int, now_ns: int) -> bool:
        """Spend ``weight`` if this minute still has it."""
        minute = now_ns // 60_000_000_000
        if minute != self._minute:
            self._minute, self._spent = minute, 0
        if self._spent + weight > self.per_minute:
            return False
        self._spent += weight
        return True


def snapshot_weight(limit: int) -> int:
    """Weight of ``GET /api/v3/depth`` with that limit."""
    return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250
