"""From Coinbase's feed messages to delivered records, without any I/O: the twin of ``stream.MarketStream``.

| what is seen | what is done |
|---|---|
| a trade id that leaves some out, or a heartbeat that knows of later ones | the trades are asked for over REST, delivered LATE |
| a trade id seen before | dropped, counted |
| a book update older than the last, or a crossed book | GAP and an empty BBO; subscribed again, which brings a snapshot |
| an update without a book | dropped until the snapshot comes |
| a message that cannot be read | the books it may have changed are given up, as above |
| no heartbeat of a product for 5 s | STALE until the next one |

level2 has no sequence, so LEVEL and BBO records carry a count of our own. The best bid and ask come from the book.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import ParseError
from sentinel.host.feeds.admit import DUPLICATES, LAST_TRADE, LATE, MISSING, RESTARTS, new_memory
from sentinel.host.feeds.coinbase_book import ProductBook
from sentinel.host.feeds.coinbase_decode import (
    BookSnapshot,
    BookUpdate,
    Heartbeat,
    Message,
    Trade,
    book_named,
    decode_message,
    decode_trades,
)
from sentinel.host.feeds.decode import Notice, UnknownSymbol, level_slots, market_slot, status_slot
from sentinel.host.feeds.parse import admit_record
from sentinel.host.feeds.stream import DELIVERY_RECORDS
from sentinel.host.ports import RecordSink
from sentinel.units import NS_PER_S
from sentinel.wire import NO_SYMBOL, FeedStatus, Kind, MarketFlag, Side, Venue, empty_slots

_log = logging.getLogger(__name__)

_VENUE = Venue.COINBASE
_HEARTBEAT_NS = 5 * NS_PER_S
_KEPT_SAMPLES = 32
_SAMPLE_BYTES = 512
_LOG_INTERVAL_NS = NS_PER_S
_COUNTED = "messages malformed unknown_symbol ignored gaps resyncs stale duplicates trade_gaps"


class CoinbaseStream:
    """Turns frames into records for ``sink``.

    ``want_trades(symbol)`` is called when trades are missing, which then come through ``on_trades``; ``want_book(symbol)``
    when a book must be subscribed anew; ``on_notice(source, notice)`` for messages that are not market data.
    ``levels`` bounds the levels a side of a delivered snapshot. ``malformed_samples`` keeps the beginnings of refused frames.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        depth_symbols: Iterable[str],
        levels: int,
        sink: RecordSink,
        want_trades: Callable[[int], None],
        want_book: Callable[[int], None],
        on_notice: Callable[[int, Notice], None],
    ) -> None:
        self.symbols = list(symbols)
        self.malformed_samples: deque[bytes] = deque(maxlen=_KEPT_SAMPLES)
        self._indices = {name: index for index, name in enumerate(symbols)}
        self._depth = {self._indices[name] for name in depth_symbols}
        self._levels = levels
        self._sink = sink
        self._want_trades = want_trades
        self._want_book = want_book
        self._on_notice = on_notice
        self._memory = new_memory(len(self.symbols))
        admit_record(new_memory(1), empty_slots(1), 0)  # compiled or loaded now, not at the first trade
        self._books = [ProductBook() for _ in self.symbols]
        self._best = [(0, 0, 0, 0)] * len(self.symbols)
        self._updates = [0] * len(self.symbols)
        self._sequences = [-1] * len(self.symbols)
        self._sources = [0] * len(self.symbols)
        self._beat_ns: list[int | None] = [None] * len(self.symbols)
        self._quiet = [False] * len(self.symbols)
        self._counts = dict.fromkeys(_COUNTED.split(), 0)
        self._last_logged = -_LOG_INTERVAL_NS
        self._parts: list[NDArray[np.int64]] = []

    @property
    def counters(self) -> dict[str, int]:
        """What was received, refused and repaired since the start."""
        totals = self._memory[:, [MISSING, DUPLICATES, LATE, RESTARTS]].sum(axis=0)
        counted = dict(self._counts)
        counted["duplicates"] += int(totals[1])
        return counted | {"missing_trades": int(totals[0]), "late_trades": int(totals[2]), "id_restarts": int(totals[3])}

    @property
    def books_live(self) -> bool:
        """Whether every product has a complete book."""
        return all(book.live for book in self._books)

    def on_frames(self, source: int, payloads: Sequence[bytes], t_recv: int) -> None:
        """Take the messages of one receive, in order. Bad ones are counted, not raised."""
        for payload in payloads:
            self._counts["messages"] += 1
            try:
                self._take(source, decode_message(payload, self._indices, t_recv), t_recv)
            except UnknownSymbol as error:
                self._refuse(payload, error, t_recv)
            except ParseError as error:
                self._refuse(payload, error, t_recv)
                self._doubt_books(source, payload, t_recv)
        self._flush(source)

    def book_live(self, symbol: int) -> bool:
        """Whether a product's book is complete."""
        return self._books[symbol].live

    def on_trades(self, symbol: int, body: bytes, t_recv: int) -> bool:
        """Take what REST says of the last trades; False for a body that cannot be used."""
        try:
            trades = decode_trades(body, symbol, t_recv)
        except ParseError as error:
            self._refuse(body, error, t_recv, symbol)
            self._flush(self._sources[symbol])
            return False
        first = int(self._memory[symbol, LAST_TRADE]) < 0
        for trade in trades:
            if admit_record(self._memory, trade.record, 0) and not first:
                self._parts.append(trade.record)
        self._flush(self._sources[symbol])
        return True

    def on_connected(self, source: int, symbols: Iterable[int], t_recv: int) -> None:
        """A connection is up; its books come with their snapshots, and what was traded meanwhile is asked for."""
        for symbol in symbols:
            self._sources[symbol] = source
            self._sequences[symbol] = -1
            self._beat_ns[symbol], self._quiet[symbol] = t_recv, False
            self._announce(symbol, FeedStatus.LIVE, t_recv)
        self._flush(source)

    def on_stale(self, source: int, symbols: Iterable[int], t_recv: int) -> None:
        """A connection has been silent for too long."""
        for symbol in symbols:
            self._announce(symbol, FeedStatus.STALE, t_recv)
        self._flush(source)

    def on_disconnected(self, source: int, symbols: Iterable[int], t_recv: int) -> None:
        """A connection is lost: its books are discarded."""
        for symbol in symbols:
            self._beat_ns[symbol] = None
            if self._books[symbol].live:
                self._write_gap(symbol, t_recv)
            self._books[symbol].discard()
            self._announce(symbol, FeedStatus.DISCONNECTED, t_recv)
        self._flush(source)

    def discard_book(self, symbol: int, t_recv: int) -> None:
        """Give a book up and subscribe it anew."""
        book = self._books[symbol]
        if book.live:
            self._write_gap(symbol, t_recv)
        book.discard()
        if not book.asked:
            book.asked = True
            self._want_book(symbol)
        self._flush(self._sources[symbol])

    def tick(self, now_ns: int) -> None:
        """Notice products whose heartbeats have stopped."""
        for symbol, beat_ns in enumerate(self._beat_ns):
            if beat_ns is not None and not self._quiet[symbol] and now_ns - beat_ns >= _HEARTBEAT_NS:
                self._quiet[symbol] = True
                self._counts["stale"] += 1
                self._announce(symbol, FeedStatus.STALE, now_ns)
                self._flush(self._sources[symbol])

    # --- messages --------------------------------------------------------------------------------

    def _take(self, source: int, message: Message, t_recv: int) -> None:
        if isinstance(message, BookUpdate):
            self._on_update(message, t_recv)
        elif isinstance(message, Trade):
            self._on_trade(message)
        elif isinstance(message, Heartbeat):
            self._on_heartbeat(message, t_recv)
        elif isinstance(message, BookSnapshot):
            self._on_snapshot(message, t_recv)
        elif message.kind == "ignored":
            self._counts["ignored"] += 1
        else:
            self._on_notice(source, message)

    def _on_trade(self, trade: Trade) -> None:
        last = int(self._memory[trade.symbol, LAST_TRADE])
        if admit_record(self._memory, trade.record, 0) and (last >= 0 or not trade.opening):
            self._parts.append(trade.record)
        if last >= 0 and trade.trade_id > last + 1:
            self._miss(trade.symbol)

    def _on_heartbeat(self, beat: Heartbeat, t_recv: int) -> None:
        symbol = beat.symbol
        self._beat_ns[symbol] = t_recv
        if self._quiet[symbol]:
            self._quiet[symbol] = False
            self._announce(symbol, FeedStatus.LIVE, t_recv)
        if beat.sequence < self._sequences[symbol]:
            self._counts["duplicates"] += 1
            return
        self._sequences[symbol] = beat.sequence
        if 0 <= int(self._memory[symbol, LAST_TRADE]) < beat.last_trade_id:
            self._miss(symbol)

    def _miss(self, symbol: int) -> None:
        self._counts["trade_gaps"] += 1
        self._want_trades(symbol)

    def _on_snapshot(self, snapshot: BookSnapshot, t_recv: int) -> None:
        symbol, book = snapshot.symbol, self._books[snapshot.symbol]
        if not book.on_snapshot(snapshot):
            raise ParseError("snapshot", self.symbols[symbol], "a bid below the ask", "subscribe again")
        self._counts["resyncs"] += 1
        self._updates[symbol] += 1
        seq = self._updates[symbol]
        self._write_best(symbol, t_recv, 0)
        if symbol in self._depth:
            bids, asks = book.top(self._levels)
            levels = level_slots(symbol, seq, t_recv, 0, bids, asks, MarketFlag.FROM_SNAPSHOT, _VENUE)
            begin = market_slot(Kind.SNAPSHOT_BEGIN, symbol, t_recv, seq=seq, venue=_VENUE)
            self._parts += [begin, levels, market_slot(Kind.SNAPSHOT_END, symbol, t_recv, seq=seq, venue=_VENUE)]

    def _on_update(self, update: BookUpdate, t_recv: int) -> None:
        symbol, book = update.symbol, self._books[update.symbol]
        if not book.live:
            # The snapshot comes first: unless it has been asked for again, it was lost or refused.
            if not book.asked:
                self.discard_book(symbol, t_recv)
            return
        if not book.on_update(update):
            self._counts["gaps"] += 1
            self.discard_book(symbol, t_recv)
            return
        self._updates[symbol] += 1
        # Before the levels: the engine compares its book after them with the last best bid and ask it has heard.
        self._write_best(symbol, t_recv, update.t_exchange)
        if symbol in self._depth and update.changes:
            bids = [(price, size) for side, price, size in update.changes if side == Side.BUY]
            asks = [(price, size) for side, price, size in update.changes if side == Side.SELL]
            seq = self._updates[symbol]
            levels = level_slots(symbol, seq, t_recv, update.t_exchange, bids, asks, MarketFlag(0), _VENUE)
            levels[-1, 3] |= int(MarketFlag.LAST_OF_EVENT) << 16
            self._parts.append(levels)

    def _doubt_books(self, source: int, payload: bytes, t_recv: int) -> None:
        """A message is lost: the book it may have changed is wrong, or every book of its connection where none is named."""
        named = book_named(payload)
        for symbol, name in enumerate(self.symbols):
            if self._sources[symbol] == source and (named is None or named == name):
                self.discard_book(symbol, t_recv)

    # --- records ---------------------------------------------------------------------------------

    def _write_best(self, symbol: int, t_recv: int, t_exchange: int) -> None:
        best = self._books[symbol].best()
        if best == self._best[symbol]:
            return
        self._best[symbol] = best
        bid, bid_qty, ask, ask_qty = best
        self._parts.append(
            market_slot(
                Kind.BBO,
                symbol,
                t_recv,
                seq=self._updates[symbol],
                t_exchange=t_exchange,
                price=bid,
                qty=bid_qty,
                price2=ask,
                qty2=ask_qty,
                venue=_VENUE,
            )
        )

    def _write_gap(self, symbol: int, t_recv: int) -> None:
        self._best[symbol] = (0, 0, 0, 0)
        self._parts.append(market_slot(Kind.BBO, symbol, t_recv, seq=self._updates[symbol], venue=_VENUE))  # no price is known
        if symbol in self._depth:
            self._parts.append(market_slot(Kind.GAP, symbol, t_recv, seq=self._updates[symbol] + 1, venue=_VENUE))

    def _announce(self, symbol: int, status: FeedStatus, t_recv: int) -> None:
        self._parts.append(status_slot(status, t_recv, symbol, _VENUE))

    def _refuse(self, payload: bytes, error: ParseError, t_recv: int, symbol: int = NO_SYMBOL) -> None:
        self._counts["unknown_symbol" if isinstance(error, UnknownSymbol) else "malformed"] += 1
        self.malformed_samples.append(payload[:_SAMPLE_BYTES])
        if t_recv - self._last_logged >= _LOG_INTERVAL_NS:
            self._last_logged = t_recv
            _log.warning("message refused (%d so far): %s", self._counts["malformed"], error)
        self._parts.append(status_slot(FeedStatus.MALFORMED, t_recv, symbol, _VENUE))

    def _flush(self, source: int) -> None:
        if not self._parts:
            return
        parts, self._parts = self._parts, []
        records = parts[0] if len(parts) == 1 else np.concatenate(parts)
        for first in range(0, len(records), DELIVERY_RECORDS):
            self._sink.deliver(source, records[first : first + DELIVERY_RECORDS])
