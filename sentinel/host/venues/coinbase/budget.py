"""The venue's request limits as token buckets, and the pause after a 429. Times are int64 ns.

Source: Coinbase Exchange rate limits: private 15 a second for a profile, in bursts of 30; ``/fills`` 10, bursts of 20.
A third of the burst is kept for cancels. The venue sends no counts, only 429 and at times Retry-After.
"""

from __future__ import annotations

from sentinel.host.venues.contract import LocalCode
from sentinel.units import NS_PER_S

_LONGEST_PAUSE_S = 600


def pause_s(retry_after: str | None) -> int:
    """What a 429 asks for: the seconds of its Retry-After, else one."""
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
        return min(int(retry_after[:6]), _LONGEST_PAUSE_S)
    return 1


class TokenBucket:
    """``per_s`` requests a second, at most ``burst`` at once."""

    def __init__(self, per_s: int, burst: int) -> None:
        self._per_s = per_s
        self._full = burst * NS_PER_S
        self._level = self._full
        self._at_ns: int | None = None

    def take(self, now_ns: int, keep: int = 0) -> bool:
        """Take one token at ``now_ns`` if ``keep`` others are left after it."""
        self._refill(now_ns)
        if self._level < (1 + keep) * NS_PER_S:
            return False
        self._level -= NS_PER_S
        return True

    def wait_ns(self, now_ns: int, keep: int = 0) -> int:
        """How long until ``take`` would succeed."""
        self._refill(now_ns)
        return max(-(-((1 + keep) * NS_PER_S - self._level) // self._per_s), 0)

    def left(self, now_ns: int, keep: int = 0) -> int:
        """Whole tokens beyond ``keep``."""
        self._refill(now_ns)
        return max(self._level // NS_PER_S - keep, 0)

    def drain(self, now_ns: int, keep: int) -> None:
        """The venue counts more than we do: no more than ``keep`` is left."""
        self._refill(now_ns)
        self._level = min(self._level, keep * NS_PER_S)

    def _refill(self, now_ns: int) -> None:
        if self._at_ns is not None:
            self._level = min(self._full, self._level + max(now_ns - self._at_ns, 0) * self._per_s)
        self._at_ns = now_ns


class RequestBudget:
    """What may be sent now. Cancels go through a pause and into the reserve."""

    def __init__(self, per_s: int = 15, burst: int = 30, fills_per_s: int = 10, fills_burst: int = 20) -> None:
        self._private = TokenBucket(per_s, burst)
        self._fills = TokenBucket(fills_per_s, fills_burst)
        self._reserve = burst // 3
        self._half = burst // 2
        self._paused_until_ns = 0

    def is_paused(self, now_ns: int) -> bool:
        """Whether the venue has told us to wait."""
        return now_ns < self._paused_until_ns

    def for_order(self, now_ns: int) -> LocalCode:
        """Whether a new order may leave; if so (NONE) it is counted."""
        if now_ns < self._paused_until_ns:
            return LocalCode.PAUSED
        return LocalCode.NONE if self._private.take(now_ns, self._reserve) else LocalCode.ORDER_BUDGET

    def orders_left(self, now_ns: int) -> int:
        """How many orders could leave at once now."""
        return 0 if now_ns < self._paused_until_ns else self._private.left(now_ns, self._reserve)

    def for_request(self, now_ns: int, fills: bool = False) -> LocalCode:
        """Whether a question may leave, ``fills``: one to ``/fills``; if so it is counted."""
        if now_ns < self._paused_until_ns:
            return LocalCode.PAUSED
        taken = self._fills.take(now_ns) if fills else self._private.take(now_ns, self._reserve)
        return LocalCode.NONE if taken else LocalCode.WEIGHT_BUDGET

    def wait_ns(self, now_ns: int, fills: bool = False) -> int:
        """How long until ``for_request`` has room, pauses aside."""
        return self._fills.wait_ns(now_ns) if fills else self._private.wait_ns(now_ns, self._reserve)

    def has_room(self, now_ns: int) -> bool:
        """Whether more than half of the tokens are left and no wait is asked for: takes none."""
        return now_ns >= self._paused_until_ns and self._private.wait_ns(now_ns, self._half) == 0

    def for_cancel(self, now_ns: int) -> LocalCode:
        """Whether a cancel may leave; if so it is counted."""
        return LocalCode.NONE if self._private.take(now_ns) else LocalCode.WEIGHT_BUDGET

    def pause(self, retry_after: str | None, now_ns: int) -> None:
        """Obey a 429: for the seconds of its Retry-After, else for a second."""
        self._paused_until_ns = max(self._paused_until_ns, now_ns + pause_s(retry_after) * NS_PER_S)
        self._private.drain(now_ns, self._reserve)
