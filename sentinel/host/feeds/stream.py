"""From raw frames to delivered records, without any I/O: parse, admit, sequence the books, deliver in order.

The live feed and the replay of a capture both drive this one object.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ParseError
from sentinel.host.feeds.admit import DUPLICATES, LATE, MISSING, RESTARTS, forget
from sentinel.host.feeds.book_sync import BookSync, SyncCounters, Verdict
from sentinel.host.feeds.decode import (
    DepthIds,
    Notice,
    UnknownSymbol,
    decode_message,
    decode_snapshot,
    market_slot,
    status_slot,
)
from sentinel.host.feeds.parse import (
    DONE,
    EVENT_COUNT,
    EVENT_FIRST,
    EVENT_FIRST_ID,
    EVENT_LAST_ID,
    EVENT_SYMBOL,
    EVENT_TIME,
    FULL,
    admit_record,
)
from sentinel.host.feeds.workspace import Workspace
from sentinel.host.ports import RecordSink
from sentinel.wire import FeedStatus, Kind

_log = logging.getLogger(__name__)

#: Most records handed over at once, so that any ring can take them.
DELIVERY_RECORDS = 512
_KEPT_SAMPLES = 32
_SAMPLE_BYTES = 512
_LOG_INTERVAL_NS = 1_000_000_000


class MarketStream:
    """Turns frames and snapshots into records for ``sink``.

    ``want_snapshot(symbol)`` is called when a book needs a REST snapshot, which then comes back through
    ``on_snapshot``; ``on_notice(source, notice)`` for messages that are not market data.
    ``malformed_samples`` keeps the beginnings of the last refused frames.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        depth_symbols: Iterable[str],
        sink: RecordSink,
        want_snapshot: Callable[[int], None],
        on_notice: Callable[[int, Notice], None],
    ) -> None:
        self.symbols = list(symbols)
        self._indices = {name: index for index, name in enumerate(symbols)}
        self._work = Workspace(self.symbols)
        self._sync_counters = SyncCounters()
        self._books = {self._indices[name]: BookSync(self._indices[name], self._sync_counters) for name in depth_symbols}
        self._sources: dict[int, int] = dict.fromkeys(self._books, 0)
        self._sink = sink
        self._want_snapshot = want_snapshot
        self._on_notice = on_notice
        self._messages = self._malformed = self._unknown = self._unasked = 0
        self._last_logged = -_LOG_INTERVAL_NS
        self.malformed_samples: deque[bytes] = deque(maxlen=_KEPT_SAMPLES)

    @property
    def counters(self) -> dict[str, int]:
        """What was received, refused and repaired since the start."""
        sync = self._sync_counters
        totals = self._work.memory[:, [MISSING, DUPLICATES, LATE, RESTARTS]].sum(axis=0)
        return {
            "messages": self._messages,
            "malformed": self._malformed,
            "unknown_symbol": self._unknown,
            "unasked": self._unasked,
            "gaps": sync.gaps,
            "duplicates": int(totals[1]) + sync.duplicates,
            "missing_trades": int(totals[0]),
            "late_trades": int(totals[2]),
            "id_restarts": int(totals[3]),
            "resyncs": sync.resyncs,
            "stale_snapshots": sync.stale_snapshots,
        }

    @property
    def books_live(self) -> bool:
        """Whether every depth symbol has a complete book."""
        return all(book.live for book in self._books.values())

    def on_frames(self, source: int, payloads: Sequence[bytes], t_recv: int | Sequence[int]) -> None:
        """Parse the payloads of one receive, in order, and deliver what they hold. Bad ones are counted, not raised.

        ``t_recv`` is the time of the receive or, for a recording, one time per payload.
        """
        count = len(payloads)
        if count == 0:
            return
        self._messages += count
        work = self._work
        work.load(payloads, t_recv)
        first = position = 0
        while first < count:
            why, index, position, records, events = work.parse(position, first, count)
            if events:
                self._deliver_with_depth(source, records, events)
            elif records:
                self._deliver(source, work.out[:records])
            if why == DONE:
                break
            if why == FULL:
                if index == first:
                    work.reserve_records(len(payloads[index]))
                first = index
                continue
            self._on_unusual(source, payloads[index], int(work.frames[index, 1]))
            position += len(payloads[index])
            first = index + 1

    def on_snapshot(self, symbol: int, body: bytes, t_recv: int) -> bool:
        """Use a REST depth snapshot. Returns False when it is useless (too old or malformed) and another is needed."""
        book = self._books[symbol]
        try:
            snapshot = decode_snapshot(body, symbol, t_recv)
        except ParseError as error:
            self._refuse(self._sources[symbol], body, error, t_recv, symbol)
            return False
        parts = book.on_snapshot(snapshot, t_recv)
        if parts is None:
            return False
        if parts:
            self._deliver(self._sources[symbol], np.concatenate(parts))
        return True

    def on_connected(self, source: int, symbols: Iterable[int], t_recv: int) -> None:
        """A connection without predecessor is up: its ids start anew and its symbols are live."""
        names = list(symbols)
        forget(self._work.memory, names)
        for symbol in names:
            if symbol in self._sources:
                self._sources[symbol] = source
        self._announce(source, names, FeedStatus.LIVE, t_recv)

    def on_stale(self, source: int, symbols: Iterable[int], t_recv: int) -> None:
        """A connection has been silent for too long."""
        self._announce(source, list(symbols), FeedStatus.STALE, t_recv)

    def on_disconnected(self, source: int, symbols: Iterable[int], t_recv: int) -> None:
        """A connection is lost and nothing replaces it yet: its books are discarded."""
        names = list(symbols)
        for symbol in names:
            self.discard_book(symbol, t_recv)
        self._announce(source, names, FeedStatus.DISCONNECTED, t_recv)

    def discard_book(self, symbol: int, t_recv: int) -> None:
        """Give a book up, for instance because it is crossed; the next depth event starts its resync."""
        book = self._books.get(symbol)
        if book is None:
            return
        if book.live:
            gap = market_slot(Kind.GAP, symbol, t_recv, seq=book.last_update_id + 1)
            self._sink.deliver(self._sources[symbol], gap)
        book.discard()

    def _announce(self, source: int, symbols: list[int], status: FeedStatus, t_recv: int) -> None:
        if symbols:
            self._deliver(source, np.concatenate([status_slot(status, t_recv, symbol) for symbol in symbols]))

    def _deliver(self, source: int, records: NDArray[np.int64]) -> None:
        if len(records) <= DELIVERY_RECORDS:
            self._sink.deliver(source, records)
            return
        for first in range(0, len(records), DELIVERY_RECORDS):
            self._sink.deliver(source, records[first : first + DELIVERY_RECORDS])

    def _deliver_with_depth(self, source: int, records: int, events: int) -> None:
        work = self._work
        # Runs of records between depth events that may not pass are delivered as they lie.
        start = 0
        for row in work.events[:events].tolist():
            first, count = row[EVENT_FIRST], row[EVENT_COUNT]
            ids = DepthIds(row[EVENT_SYMBOL], row[EVENT_FIRST_ID], row[EVENT_LAST_ID])
            if self._depth_passes(source, ids, work.out[first : first + count], row[EVENT_TIME], work.out[start:first]):
                continue
            start = first + count
        if start < records:
            self._deliver(source, work.out[start:records])

    def _depth_passes(
        self, source: int, ids: DepthIds, levels: NDArray[np.int64], t_recv: int, before: NDArray[np.int64]
    ) -> bool:
        """Whether the event's levels may be delivered where they lie; if not, ``before`` has been delivered."""
        book = self._books.get(ids.symbol)
        verdict = Verdict.IGNORE
        expected = 0
        if book is None:
            self._unasked += 1
        else:
            expected = book.last_update_id + 1
            verdict = book.on_event(ids.first_id, ids.last_id, levels)
            if verdict is Verdict.APPLY:
                return True
        if len(before):
            self._deliver(source, before)
        if verdict is Verdict.GAP:
            self._sink.deliver(source, market_slot(Kind.GAP, ids.symbol, t_recv, seq=expected, price=ids.first_id))
        if book is not None and book.wants_snapshot:
            book.requested = True
            self._sources[ids.symbol] = source
            self._want_snapshot(ids.symbol)
        return False

    def _on_unusual(self, source: int, payload: bytes, t_recv: int) -> None:
        try:
            message = decode_message(payload, self._indices, t_recv)
        except UnknownSymbol as error:
            self._unknown += 1
            self._refuse(source, payload, error, t_recv)
        except ParseError as error:
            self._refuse(source, payload, error, t_recv)
        else:
            if isinstance(message, Notice):
                self._on_notice(source, message)
            elif message.depth is None:
                if admit_record(self._work.memory, message.records, 0):
                    self._sink.deliver(source, message.records)
            elif self._depth_passes(source, message.depth, message.records, t_recv, message.records[:0]):
                self._deliver(source, message.records)

    def _refuse(self, source: int, payload: bytes, error: ParseError, t_recv: int, symbol: int | None = None) -> None:
        if not isinstance(error, UnknownSymbol):
            self._malformed += 1
        self.malformed_samples.append(payload[:_SAMPLE_BYTES])
        if t_recv - self._last_logged >= _LOG_INTERVAL_NS:
            self._last_logged = t_recv
            _log.warning("connection %d: message refused (%d so far): %s", source, self._malformed + self._unknown, error)
        status = FeedStatus.MALFORMED
        self._sink.deliver(source, status_slot(status, t_recv) if symbol is None else status_slot(status, t_recv, symbol))
