"""What both directions of FIX order entry share: names, requests in flight, counters, the outgoing batch."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.binance_spot.outcomes import Reaction
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix.dialect import Dialect
from sentinel.host.venues.fix.session import FixSession
from sentinel.host.venues.instrument import Instrument
from sentinel.host.venues.order_events import RecordBatch
from sentinel.units import NS_PER_S
from sentinel.wire import OrderEventKind, Venue

_log = logging.getLogger(__name__)

_RAW_LOG_MESSAGES = 64
_RAW_LOG_BYTES = 4096
_FORGET_NS = 60 * NS_PER_S
_MAX_IN_FLIGHT = 4096
_COUNTERS = (
    "sent not_sent rejected ambiguous reports unknown_reports malformed unknown_messages unknown_rejects foreign "
    "foreign_unlisted forgotten lost_sessions notices"
)


class Ask(Enum):
    """What a request in flight is for."""

    PLACE = 0
    CANCEL = 1


@dataclass(frozen=True, slots=True)
class Request:
    """A request in flight: which session carried it, under which sequence number."""

    ask: Ask
    key: int
    symbol: int
    session: FixSession
    sequence: int
    t_ns: int


class Desk:
    """State of one order entry. ``raw_log`` holds the last 64 (t_ns, why, first 4 KiB) of messages that could not be used."""

    def __init__(
        self, dialect: Dialect, instruments: list[Instrument], clock: Clock, sink: RecordSink, source: int, venue: Venue
    ) -> None:
        self.dialect = dialect
        self.instruments = instruments
        self.index = {instrument.symbol: k for k, instrument in enumerate(instruments)}
        self.counters: dict[str, int] = dict.fromkeys(_COUNTERS.split(), 0)
        self.raw_log: deque[tuple[int, str, bytes]] = deque(maxlen=_RAW_LOG_MESSAGES)
        self.batch = RecordBatch(venue)
        self.stream_trades = 0
        #: Why the venue refused our key, by the refusal of a request; None while it has not.
        self.halted: str | None = None
        #: Until then no new order leaves: the venue has named a limit.
        self.paused_until_ns = 0
        self._clock = clock
        self._sink = sink
        self._source = source
        self._in_flight: dict[tuple[Ask, int], Request] = {}

    def now_ns(self) -> int:
        return self._clock.now_ns()

    # Requests in flight

    def add(self, request: Request) -> None:
        """Remember a request; the oldest are forgotten after a minute: the engine has long taken them for UNKNOWN."""
        while self._in_flight:
            oldest = next(iter(self._in_flight.values()))
            if request.t_ns - oldest.t_ns < _FORGET_NS and len(self._in_flight) < _MAX_IN_FLIGHT:
                break
            self.take(oldest.ask, oldest.key)
            self.counters["forgotten"] += 1
        self.take(request.ask, request.key)
        self._in_flight[request.ask, request.key] = request

    def take(self, ask: Ask, key: int) -> Request | None:
        """The request, no longer in flight; None when there is none."""
        return self._in_flight.pop((ask, key), None)

    def take_sent(self, session: FixSession, sequence: int) -> list[Request]:
        """What one message of ``session`` asked for: two requests if it was a cancel-replace."""
        return self._take_where(lambda request: request.session is session and request.sequence == sequence)

    def take_all_of(self, session: FixSession) -> list[Request]:
        return self._take_where(lambda request: request.session is session)

    def _take_where(self, wanted: Callable[[Request], bool]) -> list[Request]:
        found = [request for request in self._in_flight.values() if wanted(request)]
        for request in found:
            self.take(request.ask, request.key)
        return found

    # Reports

    def emit(self, event: OrderEventKind, key: int, symbol: int, t_recv: int, code: int = 0) -> None:
        """Put a plain order event into the batch."""
        self.batch.order_event(event, key, symbol, t_recv, error_code=code)

    def settle(self, request: Request, proven: bool, t_recv: int, code: int) -> None:
        """A request was refused, if that is ``proven``; else what became of it is not known.

        A cancel that is not confirmed is CANCEL_REJECTED either way, which makes the engine ask.
        """
        if not proven:
            self.counters["ambiguous"] += 1
        if request.ask is Ask.CANCEL:
            self.emit(OrderEventKind.CANCEL_REJECTED, request.key, request.symbol, t_recv, code)
        elif proven:
            self.counters["rejected"] += 1
            self.emit(OrderEventKind.REJECTED, request.key, request.symbol, t_recv, code)
        else:
            self.emit(OrderEventKind.AMBIGUOUS, request.key, request.symbol, t_recv, code)

    def heed(self, code: int, text: str, now_ns: int) -> None:
        """What the refusal of a request of ours asks of the session: a key is not tried again, a limit's window is waited for."""
        asked = self.dialect.verdicts.reaction(code, text)
        if asked is Reaction.HALT_KEY and self.halted is None:
            self.halted = f"{code} {text}"
            _log.error("the venue refuses the FIX key (%d): no new orders; check the key at the exchange, then start again", code)
        elif asked is Reaction.PAUSE:
            self.paused_until_ns = max(self.paused_until_ns, now_ns + self.dialect.verdicts.pause_ns(code))
            _log.warning("the venue limits us (%d): no new orders for now", code)

    def doubt(self, key: int, symbol: int, t_recv: int) -> None:
        """A message about this order could not be used: whatever it said, the venue must be asked.

        An order that was taken already is not put in doubt by AMBIGUOUS, but by a cancel that is not confirmed.
        """
        placing = self.take(Ask.PLACE, key) is not None
        event = OrderEventKind.AMBIGUOUS if placing else OrderEventKind.CANCEL_REJECTED
        self.counters["ambiguous"] += 1
        self.emit(event, key, symbol, t_recv, LocalCode.MALFORMED_REPLY)

    def keep(self, t_recv: int, why: str, raw: bytes) -> None:
        """Keep a message that could not be used."""
        self.raw_log.append((t_recv, why, raw[:_RAW_LOG_BYTES]))
        _log.warning("FIX message of the venue not used (%d bytes): %s", len(raw), why)

    def deliver(self) -> None:
        """Hand the batch to the sink."""
        if len(self.batch):
            self._sink.deliver(self._source, self.batch.take())
