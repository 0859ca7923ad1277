"""Cancels, amends and questions over REST, while the WebSocket API cannot be reached.

New orders do not take this way: without the connection nobody tells what becomes of them. An answer is handled
as the reply to the same request over the WebSocket API; one that does not come leaves the request in doubt.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from sentinel.errors import VenueError
from sentinel.host.venues.background import watch_over
from sentinel.host.venues.binance_spot.desk import Desk, Request
from sentinel.host.venues.binance_spot.signed_rest import SignedRest

_log = logging.getLogger(__name__)

_ROUTES = {
    "order.cancel": ("DELETE", "/api/v3/order"),
    "order.amend.keepPriority": ("PUT", "/api/v3/order/amend/keepPriority"),
    "order.status": ("GET", "/api/v3/order"),
    "orderList.cancel": ("DELETE", "/api/v3/orderList"),
    "orderList.status": ("GET", "/api/v3/orderList"),
    "myTrades": ("GET", "/api/v3/myTrades"),
}


class Answers(Protocol):
    """Who is told."""

    def take_answer(self, request: Request, status: int, body: bytes, retry_after_ms: int | None) -> None: ...

    def answer_lost(self, request: Request) -> None: ...


class RestWay:
    """Open between ``open`` and ``close``, and until the venue refuses the key here too."""

    def __init__(self, desk: Desk, rest: SignedRest) -> None:
        self._desk = desk
        self._rest = rest
        self._answers: Answers | None = None
        self._refused = False
        self._tasks: dict[asyncio.Task[None], Request] = {}

    @property
    def is_open(self) -> bool:
        return self._answers is not None and not self._refused

    @property
    def pending(self) -> int:
        """Requests without an answer."""
        return len(self._tasks)

    def open(self, answers: Answers) -> None:
        self._answers, self._refused = answers, False

    async def close(self) -> None:
        """Requests under way are given up; their outcome is unknown."""
        answers, self._answers = self._answers, None
        tasks = dict(self._tasks)
        for task, request in tasks.items():
            task.cancel()
            if answers is not None:
                answers.answer_lost(request)
        await asyncio.gather(*tasks, return_exceptions=True)

    def ask(self, request: Request, method: str, params: dict[str, str | int]) -> None:
        """Send ``method`` of the WebSocket API as the REST request it corresponds to; the budget has allowed it."""
        assert self._answers is not None
        self._desk.counters["rest_requests"] += 1
        task = asyncio.get_running_loop().create_task(self._exchange(request, method, params, self._answers))
        self._tasks[task] = request
        task.add_done_callback(self._tasks.pop)
        answers = self._answers
        watch_over(task, f"{method} over REST", lambda: self._on_died(request, answers))

    def _on_died(self, request: Request, answers: Answers) -> None:
        self._desk.counters["dead_tasks"] += 1
        answers.answer_lost(request)

    async def _exchange(self, request: Request, method: str, params: dict[str, str | int], answers: Answers) -> None:
        try:
            answer = await self._rest.request(*_ROUTES[method], params)
        except VenueError as error:
            self._desk.counters["rest_failures"] += 1
            _log.warning("no answer over REST: %s", error)
            answers.answer_lost(request)
            return
        answers.take_answer(request, answer.status, answer.body, self._rest.retry_after_ms(answer))
        self._rest.heed(answer)
        if answer.status == 401:
            self._refused = True
