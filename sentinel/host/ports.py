"""What the parts of a running host need of each other, and nothing more."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray


class Clock(Protocol):
    """UTC nanoseconds that never go back: a UTC anchor plus the monotonic clock, or virtual time."""

    def now_ns(self) -> int: ...


class RecordSink(Protocol):
    """Where decoded records go. ``records`` is int64[n, 8], whole 64-byte slots, copied by the sink."""

    def deliver(self, source: int, records: NDArray[Any]) -> None: ...


class LockstepLink(Protocol):
    """A connection whose data frames can be counted against a venue that runs in lock-step.

    ``lockstep_id`` is the ``X-Lockstep-Connection`` header of the upgrade response, None elsewhere.
    """

    @property
    def lockstep_id(self) -> str | None: ...

    @property
    def frames_received(self) -> int: ...

    @property
    def frames_sent(self) -> int: ...
