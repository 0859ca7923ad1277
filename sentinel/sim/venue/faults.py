"""Fault switches: what a venue or the network does wrong, once on demand or at seeded rates."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sentinel.errors import VenueError


class FaultKind(StrEnum):
    """Targets: a method such as ``order.place`` for requests and responses, a stream such as ``btcusdt@trade`` for messages,
    an event type such as ``executionReport`` for user data.
    """

    DROP_REQUEST = "drop_request"  # never reaches the exchange, no answer
    DROP_RESPONSE = "drop_response"  # takes effect, no answer
    DELAY_RESPONSE = "delay_response"  # takes effect, answered after delay_ns
    DUPLICATE_RESPONSE = "duplicate_response"
    ERROR_AFTER_ACCEPT = "error_after_accept"  # takes effect, answered 503 / -1007
    RESET_AFTER_ACCEPT = "reset_after_accept"  # takes effect, then the connection dies unanswered
    DROP_MESSAGE = "drop_message"  # a stream message is lost: a gap in the ids of a depth stream
    DUPLICATE_MESSAGE = "duplicate_message"
    MALFORMED_MESSAGE = "malformed_message"  # truncated JSON in a whole frame
    STALL = "stall"  # the connection stays open and says nothing more, not even a ping
    CLOSE_MID_FRAME = "close_mid_frame"  # half a frame, then the connection dies
    UNKNOWN_ERROR = "unknown_error"  # takes effect, answered with a code nobody has published
    RATE_LIMIT = "rate_limit"  # this and every request of the next delay_ns is refused, 429 with Retry-After
    BAN = "ban"  # the same with 418
    CLOCK_SKEW = "clock_skew"  # the venue's clock is delay_ns ahead when it looks at a timestamp
    REORDER_MESSAGE = "reorder_message"  # a stream message comes after the next one of its connection
    DELAY_EVENT = "delay_event"  # user data comes delay_ns late
    DUPLICATE_EVENT = "duplicate_event"
    REORDER_EVENT = "reorder_event"  # user data comes after the next event of its connection
    CROSSED_QUOTE = "crossed_quote"  # a top of book or a depth event that crosses or locks the book
    FUTURE_TIME = "future_time"  # a stream message of delay_ns from now, as its own times say


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, for ``target`` alone where it names one."""

    kind: FaultKind
    target: str = ""
    delay_ns: int = 0

    def hits(self, target: str) -> bool:
        return not self.target or self.target == target


class FaultPlan:
    """Faults to come. ``inject`` arms the next occurrences, ``rates`` make them happen at random (seeded).

    ``delays_ns`` are those of the random ones, by kind, where ``delay_ns`` is not theirs.
    """

    def __init__(
        self,
        seed: int = 0,
        rates: Mapping[FaultKind, float] | None = None,
        delay_ns: int = 50_000_000,
        delays_ns: Mapping[FaultKind, int] | None = None,
    ) -> None:
        self._random = random.Random(seed)
        self._rates = dict(rates or {})
        self._delay_ns = delay_ns
        self._delays_ns = dict(delays_ns or {})
        self._armed: list[Fault] = []
        self.counts: dict[str, int] = {}
        self.active = bool(self._rates)

    def inject(self, kind: FaultKind | str, count: int = 1, target: str = "", delay_ns: int | None = None) -> None:
        """Arm the next ``count`` occurrences, of ``target`` only if given. Raises VenueError for an unknown kind."""
        try:
            known = FaultKind(kind)
        except ValueError:
            allowed = ", ".join(FaultKind)
            raise VenueError("fault.kind", kind, f"one of {allowed}", "correct its spelling") from None
        self._armed += [Fault(known, target, self._delay_ns if delay_ns is None else delay_ns)] * count
        self.active = True

    def take(self, kind: FaultKind, target: str) -> Fault | None:
        """The fault of ``kind`` that strikes ``target`` now, if any; an armed one is used up."""
        if not self.active:
            return None
        for fault in self._armed:
            if fault.kind is kind and fault.hits(target):
                self._armed.remove(fault)
                return self._counted(fault)
        rate = self._rates.get(kind, 0.0)
        if rate > 0.0 and self._random.random() < rate:
            return self._counted(Fault(kind, target, self._delays_ns.get(kind, self._delay_ns)))
        return None

    def set_rates(self, rates: Mapping[FaultKind, float]) -> None:
        """From now on these happen at random, and no others; none of those armed is left."""
        self._rates = dict(rates)
        self._armed.clear()
        self.active = bool(self._rates)

    def _counted(self, fault: Fault) -> Fault:
        self.counts[fault.kind] = self.counts.get(fault.kind, 0) + 1
        self.active = bool(self._armed or self._rates)
        return fault
