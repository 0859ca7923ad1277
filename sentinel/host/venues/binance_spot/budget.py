"""The venue's limits: order counts and request weight per clock-aligned window, pauses and bans.

Counts come from the venue's own replies and headers. What was in flight then they may or may not hold: it is
counted once more against everything but cancels, for which a tenth of the weight is kept besides. All times
are the venue's, int64 ns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sentinel.host.venues.binance_spot.messages import RateLimitRow
from sentinel.host.venues.contract import LocalCode
from sentinel.units import NS_PER_MS, NS_PER_S

_INTERVALS_S = {"SECOND": 1, "MINUTE": 60, "HOUR": 3600, "DAY": 86_400}
_INTERVAL_LETTERS_S = {name[0].lower(): seconds for name, seconds in _INTERVALS_S.items()}
_COUNT_HEADER = re.compile(r"x-mbx-(used-weight|order-count)-([1-9][0-9]{0,4})([smhd])", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,12}", re.ASCII)
_RESERVE_DIVISOR = 10
_IDLE_DIVISOR = 2
_LONGEST_RETRY_AFTER_S = 3 * 86_400
_MINUTE_NS = 60 * NS_PER_S
_BAN_NS = 120 * NS_PER_S  # the shortest ban, where the venue names no end


@dataclass
class _Window:
    interval_ns: int
    limit: int
    index: int = -1
    used: int = 0
    doubtful: int = 0  # in flight when ``used`` was told

    def at(self, now_ns: int) -> _Window:
        index = now_ns // self.interval_ns
        if index != self.index:
            self.index, self.used, self.doubtful = index, 0, 0
        return self


class RateBudget:
    """What may still be sent. Limits are the documented ones until ``observe`` has seen the venue's."""

    def __init__(self) -> None:
        self._orders = {10 * NS_PER_S: _Window(10 * NS_PER_S, 50), 86_400 * NS_PER_S: _Window(86_400 * NS_PER_S, 160_000)}
        self._weight = _Window(_MINUTE_NS, 6000)
        self._weight_in_flight = 0
        self._paused_until_ns = 0
        self._banned_until_ns = 0

    def observe(self, rows: list[RateLimitRow], now_ns: int) -> None:
        """Take limits and, where present, counts from exchangeInfo or a reply."""
        for row in rows:
            interval_ns = _INTERVALS_S.get(row.interval, 0) * row.interval_num * NS_PER_S
            if interval_ns <= 0 or row.limit <= 0:
                continue
            if row.rate_limit_type == "ORDERS":
                window = self._orders.setdefault(interval_ns, _Window(interval_ns, row.limit))
            elif row.rate_limit_type == "REQUEST_WEIGHT" and interval_ns == _MINUTE_NS:
                window = self._weight
            else:
                continue
            window.limit = row.limit
            if row.count is not None:
                self._tell(window, row.count, now_ns)

    def observe_headers(self, headers: Mapping[str, str], now_ns: int) -> None:
        """Take the counts of X-MBX-USED-WEIGHT-* and X-MBX-ORDER-COUNT-*; names in lower case, nonsense is passed over."""
        for name, value in headers.items():
            match = _COUNT_HEADER.fullmatch(name)
            if match is None or _COUNT.fullmatch(value) is None:
                continue
            interval_ns = int(match[2]) * _INTERVAL_LETTERS_S[match[3]] * NS_PER_S
            if match[1] == "order-count":
                window = self._orders.get(interval_ns)
            else:
                window = self._weight if interval_ns == _MINUTE_NS else None
            if window is not None:
                self._tell(window, int(value), now_ns)

    def land(self, weight: int) -> None:
        """A request that was allowed has been answered, or its answer will not come."""
        self._weight_in_flight -= weight

    def is_paused(self, now_ns: int) -> bool:
        """Whether the venue has told us to wait, or banned us, and the time is not over."""
        return now_ns < max(self._paused_until_ns, self._banned_until_ns)

    def for_order(self, now_ns: int, in_flight: int) -> LocalCode:
        """Whether a new order may leave, NONE if so; its weight is taken then. ``in_flight``: orders without a reply yet."""
        if self.is_paused(now_ns):
            return LocalCode.PAUSED
        for window in self._orders.values():
            if window.at(now_ns).used + in_flight >= window.limit:
                return LocalCode.ORDER_BUDGET
        return self.for_request(now_ns, 1)

    def for_request(self, now_ns: int, weight: int) -> LocalCode:
        """Whether a request that is no cancel may leave; takes its weight if so, until ``land``."""
        if self.is_paused(now_ns):
            return LocalCode.PAUSED
        window = self._weight.at(now_ns)
        if window.used + window.doubtful + weight > window.limit - window.limit // _RESERVE_DIVISOR:
            return LocalCode.WEIGHT_BUDGET
        return self._take(weight)

    def has_room(self, now_ns: int) -> bool:
        """Whether less than half of the weight is used and no wait is asked for: takes nothing."""
        window = self._weight.at(now_ns)
        used = window.used + window.doubtful
        return used < window.limit // _IDLE_DIVISOR and not self.is_paused(now_ns)

    def for_cancel(self, now_ns: int) -> LocalCode:
        """Whether a cancel may leave: through a pause, into the reserve, but not during a ban. Its weight is 1."""
        if now_ns < self._banned_until_ns:
            return LocalCode.PAUSED
        window = self._weight.at(now_ns)
        if window.used + 1 > window.limit:
            return LocalCode.WEIGHT_BUDGET
        return self._take(1)

    def count_lost_order(self, now_ns: int) -> None:
        """An order whose reply was lost may count at the venue."""
        for window in self._orders.values():
            window.at(now_ns).used += 1

    def pause(self, status: int, retry_after_ms: int | None, now_ns: int) -> None:
        """Obey a 429 or 418. ``retry_after_ms``: epoch ms as the WebSocket API sends it, None where it named no time."""
        if status == 418:
            until = retry_after_ms * NS_PER_MS if retry_after_ms is not None else now_ns + _BAN_NS
            self._banned_until_ns = max(self._banned_until_ns, until)
        else:
            until = retry_after_ms * NS_PER_MS if retry_after_ms is not None else (now_ns // _MINUTE_NS + 1) * _MINUTE_NS
            self._paused_until_ns = max(self._paused_until_ns, until)

    def _tell(self, window: _Window, count: int, now_ns: int) -> None:
        window.at(now_ns).used = count
        window.doubtful = self._weight_in_flight if window is self._weight else 0

    def _take(self, weight: int) -> LocalCode:
        self._weight.used += weight
        self._weight_in_flight += weight
        return LocalCode.NONE


def retry_after_ms(headers: Mapping[str, str], now_ns: int) -> int | None:
    """Epoch ms at which Retry-After (seconds) ends; None where a REST answer names none. Longer than any ban is cut to it."""
    text = headers.get("retry-after", "")
    if _COUNT.fullmatch(text) is None:
        return None
    return (now_ns + min(int(text), _LONGEST_RETRY_AFTER_S) * NS_PER_S) // NS_PER_MS
