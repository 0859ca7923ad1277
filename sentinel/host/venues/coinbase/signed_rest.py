"""Signed requests to Coinbase Exchange on connections that stay open, and what their answers ask of us."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from sentinel.errors import VenueError
from sentinel.host.venues.coinbase.credentials import Credentials
from sentinel.host.venues.coinbase.desk import Desk
from sentinel.host.venues.coinbase.outcomes import Reaction, Refusal, read_refusal
from sentinel.host.venues.http_pool import Answer, HttpPool

_log = logging.getLogger(__name__)


class SignedRest:
    """Sends what it is told to: whether it may leave, the caller has asked the budget."""

    def __init__(self, base_url: str, credentials: Credentials, desk: Desk) -> None:
        self._pool = HttpPool(base_url, {})
        self._prefix = urlsplit(base_url).path.rstrip("/")
        self._credentials = credentials
        self._desk = desk

    async def ask(self, verb: str, path: str, params: Mapping[str, str | int]) -> Answer:
        """GET or DELETE. Raises VenueError without a complete answer; one of any status is returned."""
        target = self._prefix + path + ("?" + urlencode(params) if params else "")
        headers = self._credentials.headers(self._desk.now_ns(), verb, target)
        return await self._counted(self._pool.request(verb, path, params, headers))

    async def post(self, path: str, body: bytes, on_leave: Callable[[], None]) -> Answer:
        """POST, never repeated. Raises VenueError without a complete answer; nothing has left without ``on_leave``."""
        headers = self._credentials.headers(self._desk.now_ns(), "POST", self._prefix + path, body)
        return await self._counted(self._pool.send_once("POST", path, body, headers, on_leave))

    def refusal(self, answer: Answer) -> Refusal:
        """Judge an answer that is no success, and do what it asks of the session: pause, or halt the key."""
        desk, now = self._desk, self._desk.now_ns()
        refusal = read_refusal(answer.status, answer.body)
        if not refusal.known:
            desk.counters["malformed"] += 1
            desk.keep(now, f"status {answer.status} without a reason", answer.body)
        if refusal.reaction is Reaction.PAUSE:
            desk.counters["limited"] += 1
            desk.budget.pause(answer.headers.get("retry-after"), now)
            _log.warning("the venue limits us (%s): no new orders for now", refusal.message)
        elif refusal.reaction is Reaction.HALT_KEY:
            desk.halt(f"{refusal.status} {refusal.message}")
        return refusal

    def close(self) -> None:
        self._pool.close()

    async def _counted(self, asking: Coroutine[Any, Any, Answer]) -> Answer:
        counters = self._desk.counters
        counters["rest_requests"] += 1
        try:
            return await asking
        except VenueError:
            counters["rest_failures"] += 1
            raise
