"""How far the venue's clock is ahead of ours."""

from __future__ import annotations

from sentinel.units import NS_PER_MS


class ClockOffset:
    """Offset estimated from time requests: venue time minus the middle of the round trip, of the quickest one.

    Venue time never runs behind ``floor_ns``, the last time the venue named in lock-step, where the
    local clock stands still until the first step.
    """

    def __init__(self) -> None:
        self.offset_ns = 0
        self._floor_ns = 0
        self._best_rtt_ns: int | None = None

    def begin_round(self) -> None:
        """Forget the best round trip so far: clocks drift."""
        self._best_rtt_ns = None

    def sample(self, sent_ns: int, received_ns: int, server_ms: int) -> None:
        """Take one answer to a time request; times of the local clock in ns."""
        rtt = received_ns - sent_ns
        if rtt >= 0 and (self._best_rtt_ns is None or rtt < self._best_rtt_ns):
            self._best_rtt_ns = rtt
            self.offset_ns = server_ms * NS_PER_MS - (sent_ns + received_ns) // 2

    def follow_lockstep(self, server_ms: int) -> None:
        """The local clock is the venue's own: no offset, but not before ``server_ms``."""
        self.offset_ns = 0
        self._floor_ns = server_ms * NS_PER_MS

    @property
    def in_lockstep(self) -> bool:
        """Whether time stands still where the venue does not say what it is."""
        return self._floor_ns > 0

    def venue_ns(self, local_ns: int) -> int:
        return max(local_ns + self.offset_ns, self._floor_ns)
