"""Signed requests over REST, and what their answers say of limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from sentinel.config import VenueConfig
from sentinel.host.venues.binance_spot.budget import RateBudget, retry_after_ms
from sentinel.host.venues.binance_spot.signing import Credentials, sign_rest
from sentinel.host.venues.http_pool import Answer, HttpPool
from sentinel.units import NS_PER_MS

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class SignedRest:
    """Sends what it is told to: whether it may leave, the caller has asked the budget. ``venue_ns`` is the venue's time."""

    def __init__(self, venue: VenueConfig, credentials: Credentials, budget: RateBudget, venue_ns: Callable[[], int]) -> None:
        self._pool = HttpPool(venue.rest_url, {"X-MBX-APIKEY": credentials.api_key})
        self._credentials = credentials
        self._recv_window_ms = venue.recv_window_ms
        self._budget = budget
        self._venue_ns = venue_ns

    async def request(self, verb: str, path: str, params: Mapping[str, str | int], signed: bool = True) -> Answer:
        """GET, DELETE, or PUT, which leaves at most once. Raises VenueError without a complete answer; any status is one."""
        query = dict(params)
        if signed:
            query |= {"recvWindow": self._recv_window_ms, "timestamp": self._venue_ns() // NS_PER_MS}
            query = sign_rest(query, self._credentials)
        if verb == "PUT":
            return await self._pool.send_once(verb, path, urlencode(query).encode(), _FORM, lambda: None)
        return await self._pool.request(verb, path, query)

    def retry_after_ms(self, answer: Answer) -> int | None:
        """Epoch ms at which the wait ends that an answer asks for."""
        return retry_after_ms(answer.headers, self._venue_ns())

    def heed(self, answer: Answer) -> None:
        """Obey the limits an answer tells of. To be called when the request no longer counts as in flight."""
        now = self._venue_ns()
        self._budget.observe_headers(answer.headers, now)
        if answer.status in (418, 429):
            self._budget.pause(answer.status, self.retry_after_ms(answer), now)

    def close(self) -> None:
        self._pool.close()
