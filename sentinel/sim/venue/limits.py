"""Rate limits: request weight per IP, unfilled orders per account, connections, client frames.

Weight and order windows are aligned to the clock and reset to zero at their boundary. Every method
takes the current time, so the same code serves virtual and wall time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from sentinel.sim.venue.api_error import ApiError
from sentinel.units import NS_PER_MS, NS_PER_S

_INTERVAL_S = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}
_BAN_S = (120, 300, 900, 3600, 21_600, 86_400, 259_200)  # 2 minutes to 3 days
_REFUSALS_BEFORE_BAN = 10
_TAKER_CREDIT = 1
_MAKER_CREDIT = 5


@dataclass
class Window:
    """One counter of ``limit`` per ``number`` x ``interval``, reset when the clock enters the next window."""

    kind: str
    interval: str
    number: int
    limit: int
    count: int = 0
    index: int = -1

    @property
    def length_ns(self) -> int:
        return self.number * _INTERVAL_S[self.interval] * NS_PER_S

    @property
    def header(self) -> str:
        return f"{self.number}{self.interval[0]}"

    def roll(self, now_ns: int) -> None:
        index = now_ns // self.length_ns
        if index != self.index:
            self.index, self.count = index, 0

    def end_ns(self) -> int:
        return (self.index + 1) * self.length_ns

    def rule(self) -> dict[str, Any]:
        """As in exchangeInfo's ``rateLimits``."""
        return {"rateLimitType": self.kind, "interval": self.interval, "intervalNum": self.number, "limit": self.limit}

    def status(self) -> dict[str, Any]:
        """As in a response's ``rateLimits``."""
        return {**self.rule(), "count": self.count}


@dataclass(frozen=True)
class LimitConfig:
    """Limits of the exchange. Defaults are the documented ones."""

    weight_per_minute: int = 6000
    orders_per_10s: int = 100
    orders_per_day: int = 200_000
    connects_per_5min: int = 300
    client_frames_per_s: int = 5
    streams_per_connection: int = 1024


class WeightLimiter:
    """Request weight of one IP, with the ban that follows when 429 is ignored."""

    def __init__(self, limit: int) -> None:
        self.window = Window("REQUEST_WEIGHT", "MINUTE", 1, limit)
        self._refusals = 0
        self._bans = 0
        self._banned_until_ns = 0
        self._limited_until_ns = 0

    def charge(self, weight: int, now_ns: int) -> None:
        """Count ``weight``. Raises ApiError 418 while banned and 429 above the limit, with ``retryAfter`` in data."""
        if now_ns < self._banned_until_ns:
            raise self._banned(now_ns)
        if now_ns < self._limited_until_ns:
            raise ApiError(429, -1003, "Too many requests queued.", _retry(now_ns, self._limited_until_ns))
        self.window.roll(now_ns)
        self.window.count += weight
        if self.window.count <= self.window.limit:
            self._refusals = 0
            return
        self._refusals += 1
        if self._refusals > _REFUSALS_BEFORE_BAN:
            self.ban(now_ns)
            raise self._banned(now_ns)
        raise ApiError(
            429,
            -1003,
            f"Too much request weight used; current limit is {self.window.limit} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API.",
            _retry(now_ns, self.window.end_ns()),
        )

    def refund(self, weight: int) -> None:
        """Give back what a successful order method was charged (those cost 0)."""
        self.window.count = max(0, self.window.count - weight)

    def refuse_until(self, until_ns: int, banned: bool) -> None:
        """Refuse every request until then: 418 if ``banned``, else 429."""
        if banned:
            self._banned_until_ns = max(self._banned_until_ns, until_ns)
        else:
            self._limited_until_ns = max(self._limited_until_ns, until_ns)

    def ban(self, now_ns: int) -> None:
        """Ban the IP for the next duration of the scale."""
        self._banned_until_ns = now_ns + _BAN_S[min(self._bans, len(_BAN_S) - 1)] * NS_PER_S
        self._bans += 1
        self._refusals = 0

    def _banned(self, now_ns: int) -> ApiError:
        until_ms = self._banned_until_ns // NS_PER_MS
        return ApiError(
            418,
            -1003,
            f"Way too much request weight used; IP banned until {until_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans.",
            _retry(now_ns, self._banned_until_ns),
        )


class OrderCounter:
    """Unfilled orders of one account: +1 a placement, credit at the first fill (taker 1, maker 5)."""

    def __init__(self, per_10s: int, per_day: int) -> None:
        self.windows = (Window("ORDERS", "SECOND", 10, per_10s), Window("ORDERS", "DAY", 1, per_day))
        self._unfilled: set[int] = set()

    def check(self, now_ns: int, orders: int = 1) -> None:
        """Raises -1015 when so many more orders would exceed a window."""
        for window in self.windows:
            window.roll(now_ns)
            if window.count + orders > window.limit:
                raise ApiError(
                    429,
                    -1015,
                    f"Too many new orders; current limit is {window.limit} orders per {window.number} {window.interval}.",
                    _retry(now_ns, window.end_ns()),
                )

    def placed(self, now_ns: int, orders: int = 1) -> None:
        for window in self.windows:
            window.roll(now_ns)
            window.count += orders

    def withdraw(self, orders: int = 1) -> None:
        """Take back a placement the exchange refused."""
        for window in self.windows:
            window.count = max(0, window.count - orders)

    def report(self, event: dict[str, Any], now_ns: int) -> None:
        """Follow the account's executionReports to credit first fills."""
        order_id, execution = event["i"], event["x"]
        if execution == "NEW":
            self._unfilled.add(order_id)
        elif order_id in self._unfilled:
            self._unfilled.discard(order_id)
            if execution == "TRADE":
                credit = _MAKER_CREDIT if event.get("m") else _TAKER_CREDIT
                for window in self.windows:
                    window.roll(now_ns)
                    window.count = max(0, window.count - credit)
            elif execution == "REPLACED":
                self._unfilled.add(order_id)


class RateOfFrames:
    """At most ``limit`` events per second, judged on two clocks: an excess must show on both.

    In lock-step virtual time runs faster than wall time, or stands still; a client that is polite
    on either clock is polite.
    """

    def __init__(self, limit: int, span_ns: int = NS_PER_S) -> None:
        self._span_ns = span_ns
        self._seen: deque[tuple[int, int]] = deque(maxlen=limit)

    def admits(self, virtual_ns: int, wall_ns: int) -> bool:
        """Count one event; False when it is one too many."""
        full = len(self._seen) == self._seen.maxlen
        first_virtual, first_wall = self._seen[0] if self._seen else (0, 0)
        self._seen.append((virtual_ns, wall_ns))
        return not (full and virtual_ns - first_virtual < self._span_ns and wall_ns - first_wall < self._span_ns)


def _retry(now_ns: int, until_ns: int) -> dict[str, Any]:
    return {"serverTime": now_ns // NS_PER_MS, "retryAfter": -(-until_ns // NS_PER_MS)}
