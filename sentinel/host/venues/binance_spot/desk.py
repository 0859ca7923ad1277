"""What both directions of an order session share: names, limits, requests in flight, counters, the outgoing batch."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.binance_spot.budget import RateBudget
from sentinel.host.venues.binance_spot.clock_offset import ClockOffset
from sentinel.host.venues.contract import VenueOrder
from sentinel.host.venues.instrument import Instrument
from sentinel.host.venues.link import Link
from sentinel.host.venues.order_events import RecordBatch
from sentinel.host.venues.order_names import TextNames
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import OrderEventKind, Venue, client_order_id

_log = logging.getLogger(__name__)

_RAW_LOG_MESSAGES = 64
_RAW_LOG_BYTES = 4096
_FORGET_NS = 60 * NS_PER_S
_MAX_IN_FLIGHT = 4096
_MAX_LEGS = 16_384
_COUNTERS = (
    "sent not_sent rejected ambiguous replies events malformed unknown_replies duplicate_replies foreign "
    "foreign_unlisted list_events query_errors query_denied forgotten reconnects shutdowns rest_requests rest_failures "
    "path_changes dead_tasks"
)


class Ask(Enum):
    """What a request in flight is for; its value begins the request's id."""

    PLACE = ""
    CANCEL = "C"
    AMEND = "A"
    REPLACE = "R"
    QUERY = "Q"
    QUERY_TWIN = "W"  # the same query under the id a cancel gave the order
    TRADES = "T"  # the fills of an order a query found
    LIST = "L"  # placing an order list
    CANCEL_LIST = "X"
    QUERY_LIST = "G"  # which orders a list has, for one of them that is not found by its own id
    QUERY_LEG = "I"  # that order, by the venue's id


QUESTIONS = frozenset({Ask.QUERY, Ask.QUERY_TWIN, Ask.TRADES, Ask.QUERY_LIST, Ask.QUERY_LEG})


@dataclass(slots=True)
class Request:
    """A request in flight, over REST where ``link`` is None. ``identity`` is its id, ``weight`` what it may cost.

    ``found`` is set for TRADES: the order whose fills are asked for. Of a REPLACE ``key`` is the new order's and ``old_key``
    that of the order it cancels. ``keys`` are those of a list's orders; ``venue_order_id`` is the order's in a QUERY_LEG.
    """

    ask: Ask
    key: int
    symbol: int
    link: Link | None
    t_ns: int
    found: VenueOrder | None = None
    identity: str = ""
    weight: int = 1
    old_key: int = 0
    keys: tuple[int, ...] = ()
    venue_order_id: int = 0

    @property
    def places(self) -> int:
        """How many new orders it may bring to the venue."""
        return len(self.keys) if self.ask is Ask.LIST else int(self.ask is Ask.PLACE or self.ask is Ask.REPLACE)

    @property
    def all_keys(self) -> tuple[int, ...]:
        return self.keys or (self.key,)

    def __post_init__(self) -> None:
        if not self.identity:
            self.identity = self.ask.value + client_order_id(self.key)


class Desk:
    """State of one session. ``raw_log`` holds the last 64 (t_ns, why, first 4 KiB) of messages that could not be used."""

    def __init__(
        self, symbols: list[str], clock: Clock, sink: RecordSink, source: int, venue: Venue, names: TextNames | None = None
    ) -> None:
        self.symbols = list(symbols)
        self.index = {symbol: k for k, symbol in enumerate(self.symbols)}
        self.instruments = [Instrument(symbol, "", "") for symbol in self.symbols]
        self.names = names or TextNames()
        self.budget = RateBudget()
        self.offset = ClockOffset()
        self.counters: dict[str, int] = dict.fromkeys(_COUNTERS.split(), 0)
        self.raw_log: deque[tuple[int, str, bytes]] = deque(maxlen=_RAW_LOG_MESSAGES)
        self.balances_seen: dict[str, tuple[int, int]] = {}
        self.stream_trades = 0
        self.handovers = 0
        self.halted: str | None = None
        #: The key was refused for a question too: until the next start no more are asked.
        self.answers_nothing = False
        self.orders_in_flight = 0
        #: Key of an order of a list -> the list's first key.
        self.leg_of: dict[int, int] = {}
        self.batch = RecordBatch(venue)
        self._clock = clock
        self._sink = sink
        self._source = source
        self._in_flight: dict[str, Request] = {}
        self._answered: deque[str] = deque(maxlen=256)

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def venue_ns(self, local_ns: int | None = None) -> int:
        """The venue's time at ``local_ns``, or now."""
        return self.offset.venue_ns(self._clock.now_ns() if local_ns is None else local_ns)

    def timestamp_ms(self, local_ns: int) -> int:
        return self.offset.venue_ns(local_ns) // NS_PER_MS

    def know_list(self, first_key: int, orders: int) -> None:
        """Remember whose orders belong to a list; the oldest lists are forgotten."""
        self.leg_of |= dict.fromkeys(range(first_key, first_key + orders), first_key)
        while len(self.leg_of) > _MAX_LEGS:
            del self.leg_of[next(iter(self.leg_of))]

    # Requests in flight

    def add(self, request: Request) -> None:
        """Remember a request; the oldest are forgotten after a minute: the engine has long taken them for UNKNOWN."""
        while self._in_flight:
            oldest = next(iter(self._in_flight.values()))
            if request.t_ns - oldest.t_ns < _FORGET_NS and len(self._in_flight) < _MAX_IN_FLIGHT:
                break
            self.take(oldest.identity)
            self.counters["forgotten"] += 1
        self.take(request.identity)
        self._in_flight[request.identity] = request
        self.orders_in_flight += request.places

    def take(self, identity: int | str | None) -> Request | None:
        """The request of this id, no longer in flight; None when there is none."""
        request = self._in_flight.pop(identity, None) if isinstance(identity, str) else None
        if request is not None:
            self.orders_in_flight -= request.places
            self.budget.land(request.weight)
            self._answered.append(request.identity)
        return request

    def take_exactly(self, request: Request) -> bool:
        """Whether ``request`` was still in flight, and not a later one of the same id; it no longer is."""
        return self._in_flight.get(request.identity) is request and self.take(request.identity) is not None

    def was_answered(self, identity: int | str | None) -> bool:
        return identity in self._answered

    def take_all_of(self, link: Link) -> list[Request]:
        """Every request in flight on ``link``."""
        names = [name for name, request in self._in_flight.items() if request.link is link]
        return [request for name in names if (request := self.take(name)) is not None]

    # Reports

    def emit(self, event: OrderEventKind, key: int, symbol: int, t_recv: int, code: int = 0, flags: int = 0) -> None:
        """Put a plain order event into the batch."""
        self.batch.order_event(event, key, symbol, t_recv, error_code=code, flags=flags)

    def ambiguous(self, request: Request, t_recv: int, code: int) -> None:
        """The outcome of a request is not known.

        A placement is AMBIGUOUS. A cancel or an amend is not confirmed: CANCEL_REJECTED, which makes the engine ask what
        became of the order. A cancel-replace is both, each of its own order. Of a list it is said of each order. A query
        simply stays unanswered.
        """
        if request.places:
            self.counters["ambiguous"] += 1
            for key in request.all_keys:
                self.emit(OrderEventKind.AMBIGUOUS, key, request.symbol, t_recv, code)
            if request.ask is Ask.REPLACE:
                self.emit(OrderEventKind.CANCEL_REJECTED, request.old_key, request.symbol, t_recv, code)
        elif request.ask in (Ask.CANCEL, Ask.AMEND, Ask.CANCEL_LIST):
            self.counters["ambiguous"] += 1
            for key in request.all_keys:
                self.emit(OrderEventKind.CANCEL_REJECTED, key, request.symbol, t_recv, code)
        else:
            self.counters["query_errors"] += 1

    def keep(self, t_recv: int, why: str, payload: bytes) -> None:
        """Keep a message that could not be used."""
        self.raw_log.append((t_recv, why, payload[:_RAW_LOG_BYTES]))
        _log.warning("message of the venue not used: %s (%d bytes)", why, len(payload))

    def deliver(self) -> None:
        """Hand the batch to the sink."""
        if len(self.batch):
            records: Any = self.batch.take()
            self._sink.deliver(self._source, records)

    def halt(self, reason: str) -> None:
        """The venue refuses our key: no new order leaves until the next start."""
        if self.halted is None:
            self.halted = reason
            _log.error(
                "the venue refuses the key (%s): no new orders; check at the exchange whether it was revoked, its permissions "
                "and its IP list, then start again",
                reason,
            )

    def refuse_questions(self, reason: str) -> None:
        """The venue refuses our key for questions too: asking again and again would be all that is left."""
        self.answers_nothing = True
        self.halt(reason)
