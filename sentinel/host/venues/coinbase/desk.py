"""What the parts of a session share: names, known orders, limits, counters, the outgoing batch.

Most messages of the user channel name an order by the venue's UUID alone, so the desk remembers whose each is, what it
was for and which of its trades have been told.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field

from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.coinbase.budget import RequestBudget
from sentinel.host.venues.contract import VenueOrder, VenueTrade
from sentinel.host.venues.instrument import Instrument
from sentinel.host.venues.order_events import RecordBatch, foreign_key
from sentinel.host.venues.order_names import UuidNames
from sentinel.wire import TERMINAL_STATES, OrderEventFlag, OrderEventKind, OrderState, Side, Venue

_log = logging.getLogger(__name__)

_RAW_LOG_MESSAGES = 64
_RAW_LOG_BYTES = 4096
_MAX_KNOWN = 16_384
_COUNTERS = (
    "sent not_sent rejected ambiguous replies events malformed unknown_events unknown_orders duplicate_events missed_fills "
    "unequal_fills foreign foreign_unlisted query_errors query_denied reconnects rest_requests rest_failures limited "
    "venue_errors dead_tasks"
)


@dataclass(slots=True)
class KnownOrder:
    """An order whose UUID the venue has named. ``key`` is None for a foreign one; quantities int64 e8.

    ``uuid`` is empty and ``t_taken_ns``, when it was sent, is set for one recalled from an earlier session.
    ``told_qty`` is the most a query or listing has said was filled, ``trades`` trade id -> quantity of each fill.
    ``fill_missed``: the user channel named a size left that its fills do not explain. ``ended`` is set by an end of which
    no fill is missing.
    """

    uuid: str
    key: int | None
    symbol: int
    venue_order_id: int
    side: Side
    price: int
    qty: int
    told_qty: int = 0
    told_quote: int = 0
    trade_quote: int = 0
    ended: bool = False
    fill_missed: bool = False
    t_taken_ns: int = 0
    trades: dict[int, int] = field(default_factory=dict)

    @property
    def record_key(self) -> int:
        return foreign_key(self.symbol, self.venue_order_id) if self.key is None else self.key

    @property
    def cum_qty(self) -> int:
        return max(self.told_qty, sum(self.trades.values()))

    @property
    def cum_quote(self) -> int:
        return max(self.told_quote, self.trade_quote)


class Desk:
    """State of one session. ``raw_log`` holds the last 64 (t_ns, why, first 4 KiB) of messages that could not be used."""

    def __init__(
        self, symbols: list[str], clock: Clock, sink: RecordSink, source: int, venue: Venue, names: UuidNames | None = None
    ) -> None:
        self.names = names or UuidNames()
        self.symbols = list(symbols)
        self.index = {symbol: k for k, symbol in enumerate(self.symbols)}
        self.instruments = [Instrument(symbol, "", "") for symbol in self.symbols]
        self.budget = RequestBudget()
        self.counters: dict[str, int] = dict.fromkeys(_COUNTERS.split(), 0)
        self.raw_log: deque[tuple[int, str, bytes]] = deque(maxlen=_RAW_LOG_MESSAGES)
        self.stream_trades = 0
        self.handovers = 0
        self.halted: str | None = None
        #: The key was refused for a question too: until the next start no more are asked.
        self.answers_nothing = False
        self.placing: set[int] = set()
        self.batch = RecordBatch(venue)
        self._clock = clock
        self._sink = sink
        self._source = source
        self._known: dict[str, KnownOrder] = {}
        self._by_key: dict[int, KnownOrder] = {}
        self._uuids: dict[tuple[int, int], str] = {}

    def now_ns(self) -> int:
        return self._clock.now_ns()

    # Orders the venue has named

    def known(self, uuid: str) -> KnownOrder | None:
        return self._known.get(uuid)

    def known_by_key(self, key: int) -> KnownOrder | None:
        return self._by_key.get(key)

    def live(self) -> list[KnownOrder]:
        """Orders that have not ended."""
        return [order for order in self._known.values() if not order.ended]

    def uuid_of(self, symbol: int, venue_order_id: int) -> str | None:
        """The UUID behind the 63 bits of it that a record holds; None for one never seen here."""
        return self._uuids.get((symbol, venue_order_id))

    def name(self, uuid: str, symbol: int, venue_order_id: int) -> None:
        """Remember a UUID; the oldest are forgotten."""
        self._uuids.setdefault((symbol, venue_order_id), uuid)
        while len(self._uuids) > 4 * _MAX_KNOWN:
            del self._uuids[next(iter(self._uuids))]

    def remember(self, uuid: str, order: VenueOrder, trades: list[VenueTrade] | None = None) -> KnownOrder:
        """Take what an answer says of an order, and which of its fills are told with it."""
        found = self._known.get(uuid)
        if found is None:
            found = KnownOrder(uuid, order.key, order.symbol, order.venue_order_id, order.side, order.price, order.qty)
            self._add(found)
        if order.cum_qty >= found.told_qty:
            found.told_qty, found.told_quote = order.cum_qty, order.cum_quote
        found.ended |= order.state in TERMINAL_STATES
        for trade in trades or ():
            self.count_trade(found, trade.trade_id, trade.qty, trade.quote)
        return found

    def recall(self, order: VenueOrder) -> None:
        """Take what the engine holds of an order the venue had taken."""
        if order.key is None:
            return
        found = self._by_key.get(order.key)
        if found is None:
            found = KnownOrder("", order.key, order.symbol, order.venue_order_id, order.side, order.price, order.qty)
            found.t_taken_ns = order.t_update_ns
            self._by_key[order.key] = found
        if order.cum_qty >= found.told_qty:
            found.told_qty, found.told_quote = order.cum_qty, order.cum_quote

    def count_trade(self, order: KnownOrder, trade_id: int, qty: int, quote: int) -> bool:
        """Whether a fill is new. One told before with another quantity is counted and logged: which is right, the venue knows."""
        if trade_id in order.trades:
            if order.trades[trade_id] != qty:
                self.counters["unequal_fills"] += 1
                _log.error("fill %d on %s was told with other figures before", trade_id, self.symbols[order.symbol])
            return False
        order.trades[trade_id] = qty
        order.trade_quote += quote
        return True

    def _add(self, order: KnownOrder) -> None:
        while len(self._known) >= _MAX_KNOWN:
            oldest = self._known.pop(next(iter(self._known)))
            if oldest.key is not None and self._by_key.get(oldest.key) is oldest:
                del self._by_key[oldest.key]
        self._known[order.uuid] = order
        self.name(order.uuid, order.symbol, order.venue_order_id)
        if order.key is not None:
            self._by_key[order.key] = order

    # Reports

    def emit(self, event: OrderEventKind, key: int, symbol: int, t_recv: int, code: int = 0, flags: int = 0) -> None:
        """Put a plain order event into the batch."""
        self.batch.order_event(event, key, symbol, t_recv, error_code=code, flags=flags)

    def emit_of(
        self, order: KnownOrder, event: OrderEventKind, state: OrderState, t_recv: int, t_exchange: int, flags: int
    ) -> None:
        """Put an event of a known order into the batch, with its quantities so far."""
        self.batch.order_event(
            event,
            order.record_key,
            order.symbol,
            t_recv,
            t_exchange=t_exchange,
            side=order.side,
            flags=flags | (OrderEventFlag.FOREIGN if order.key is None else 0),
            state=state,
            cum_qty=order.cum_qty,
            cum_quote=order.cum_quote,
            qty=order.qty,
            price=order.price,
            venue_order_id=order.venue_order_id,
        )

    def ambiguous(self, key: int, symbol: int, t_recv: int, code: int) -> None:
        """What became of a placement is not known."""
        self.counters["ambiguous"] += 1
        self.emit(OrderEventKind.AMBIGUOUS, key, symbol, t_recv, code)

    def unconfirmed(self, key: int, symbol: int, t_recv: int, code: int) -> None:
        """What became of a cancel is not known: CANCEL_REJECTED, which makes the engine ask about the order."""
        self.counters["ambiguous"] += 1
        self.emit(OrderEventKind.CANCEL_REJECTED, key, symbol, t_recv, code)

    def doubt(self, key: int, symbol: int, t_recv: int, code: int) -> None:
        """A message about an order is lost or cannot be used: the engine must ask.

        An order that was taken already is not put in doubt by AMBIGUOUS, but by a cancel that is not confirmed.
        """
        tell = self.ambiguous if key in self.placing else self.unconfirmed
        tell(key, symbol, t_recv, code)

    def keep(self, t_recv: int, why: str, payload: bytes) -> None:
        """Keep a message that could not be used."""
        self.raw_log.append((t_recv, why, payload[:_RAW_LOG_BYTES]))
        _log.warning("message of the venue not used: %s (%d bytes)", why, len(payload))

    def deliver(self) -> None:
        """Hand the batch to the sink."""
        if len(self.batch):
            self._sink.deliver(self._source, self.batch.take())

    def halt(self, reason: str) -> None:
        """The venue refuses our key: no new order leaves until the next start."""
        if self.halted is None:
            self.halted = reason
            _log.error("the venue refuses the key (%s): no new orders; check the key at the exchange, then start again", reason)

    def refuse_questions(self, reason: str) -> None:
        """The venue refuses our key for questions too: asking again and again would be all that is left."""
        self.answers_nothing = True
        self.halt(reason)
