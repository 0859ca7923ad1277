"""Level 2: cancel whatever is open on the account, and ask until the venue says that nothing is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sentinel.errors import VenueError
from sentinel.ops.killswitch.session import OpenOrder, pause
from sentinel.units import NS_PER_MS

_log = logging.getLogger(__name__)

_RETRY_S = 0.05
_MAX_WAIT_S = 1.0
#: Cancels under way at once.
_AT_ONCE = 16


class Account(Protocol):
    """What a sweep needs of the venue; every method raises VenueError."""

    async def cancel_all(self, symbol: str) -> None: ...

    async def cancel(self, order: OpenOrder) -> None: ...

    async def open_orders(self) -> list[OpenOrder]: ...


@dataclass
class SweepReport:
    """How far a sweep has come. ``verified_ns``: CLOCK_MONOTONIC of the answer that listed nothing, 0 before it."""

    verified_ns: int = 0
    rounds: int = 0
    found: int = 0
    left: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def took_ms(self, since_ns: int) -> float | None:
        return (self.verified_ns - since_ns) / NS_PER_MS if self.verified_ns else None


async def sweep(account: Account, symbols: Iterable[str], report: SweepReport) -> None:
    """Cancel until nothing is open, however long that takes; ``report`` tells at any time how far it has come.

    ``symbols``: the run's. Where the listing fails they are cancelled blindly: that needs no answer to what is open.
    """
    seen: set[tuple[str, int | str]] = set()
    while not report.verified_ns:
        report.rounds += 1
        try:
            orders = await account.open_orders()
        except VenueError as error:
            _failed(report, error)
            await _each(report, [account.cancel_all(symbol) for symbol in symbols])
            await pause(error, _RETRY_S)
            continue
        report.left = [f"{order.symbol} {order.client_id}" for order in orders]
        if not orders:
            report.verified_ns = time.monotonic_ns()
            return
        seen |= {(order.symbol, order.order_id) for order in orders}
        report.found = len(seen)
        if report.rounds == 1:
            await _each(report, [account.cancel_all(symbol) for symbol in sorted({order.symbol for order in orders})])
        else:
            # What one request for a whole symbol has left is named one by one.
            await _each(report, [account.cancel(order) for order in orders])
            # What stays open for long is not asked for so often that the venue shuts everybody out.
            await asyncio.sleep(min(_RETRY_S * report.rounds, _MAX_WAIT_S))


async def _each(report: SweepReport, jobs: list[Coroutine[Any, Any, None]]) -> None:
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(job: Coroutine[Any, Any, None]) -> None:
        async with room:
            try:
                await job
            except VenueError as error:
                _failed(report, error)

    await asyncio.gather(*(one(job) for job in jobs))


def _failed(report: SweepReport, error: VenueError) -> None:
    text = str(error)
    if text not in report.failures:
        _log.error("sweep: %s", text)
    report.failures = [*report.failures[-7:], text]
