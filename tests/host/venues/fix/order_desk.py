"""An order entry on its way to a scripted gateway, and all it reports."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from sentinel.host.venues.fix import BINANCE, FixAddress, FixOrderEntry
from sentinel.host.venues.fix.protocol import Event
from sentinel.wire import OrderEventKind, Venue
from tests.host.venues.fix.fix_peer import INSTRUMENTS, Connection, Gateway, PlainLogon
from tests.host.venues.offline_session import ManualClock, Sink
from tests.host.waiting import until


class Desk:
    """An order entry on its way to a gateway, and all it reports."""

    def __init__(self, port: int, *logons: PlainLogon, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.sink = Sink()
        self.reconciled = 0
        self.events: list[Event] = []
        self.clock = ManualClock()
        self.entry = FixOrderEntry(
            FixAddress(host, port, tls),
            BINANCE,
            logons or [PlainLogon()],
            INSTRUMENTS,
            self.clock,
            self.sink,
            1,
            Venue.BINANCE_SPOT,
            500,
            self._reconcile,
            self.events.append,
        )

    async def _reconcile(self) -> None:
        self.reconciled += 1

    async def wait(self, kind: OrderEventKind) -> None:
        await until(lambda: any(event.kind is kind for event in self.sink.events))


def play(
    venue: Callable[[Connection], Awaitable[None]],
    user: Callable[[Desk], Awaitable[None]],
    *later: Callable[[Connection], Awaitable[None]],
) -> Desk:
    """``venue`` is the first connection, ``later`` the next ones. Ends with a clean logout."""

    async def run() -> Desk:
        async with Gateway(venue, *later) as gateway:
            desk = Desk(gateway.port)
            await desk.entry.connect()
            try:
                await user(desk)
            finally:
                await desk.entry.close()
            return desk

    return asyncio.run(asyncio.wait_for(run(), 60))


async def idle(connection: Connection) -> None:
    await connection.log_on()
    await connection.until_logout()
