"""Pings, the pong deadline and the end of a connection's life, on the venue's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from sentinel.sim.venue.connection import VenueConnection
from sentinel.units import NS_PER_MS, NS_PER_S

_PONG_GRACE_S = 5.0


@dataclass(frozen=True)
class KeepaliveConfig:
    """The documented intervals, in ns of the venue's clock."""

    ping_interval_ns: int = 20 * NS_PER_S
    pong_timeout_ns: int = 60 * NS_PER_S
    lifetime_ns: int = 24 * 3600 * NS_PER_S


class Keepalive:
    """Looks after the connections when their next moment has come."""

    def __init__(self, config: KeepaliveConfig) -> None:
        self._config = config
        self._next_ns: int | None = None

    def opened(self, connection: VenueConnection, now_ns: int) -> None:
        connection.next_ping_ns = now_ns + self._config.ping_interval_ns
        connection.expires_ns = now_ns + self._config.lifetime_ns
        first = min(connection.next_ping_ns, connection.expires_ns)
        self._next_ns = first if self._next_ns is None else min(self._next_ns, first)

    def next_time(self) -> int | None:
        """When ``tend`` has something to do, or None without connections."""
        return self._next_ns

    def tend(self, connections: Iterable[VenueConnection], now_ns: int) -> None:
        """Ping, and cut what is overdue or too old."""
        moments = []
        for connection in list(connections):
            if not connection.is_open:
                continue
            if now_ns >= connection.expires_ns:
                connection.cut(1000, "connection is 24 hours old")
                continue
            if connection.pong_deadline_ns is not None and now_ns >= connection.pong_deadline_ns:
                connection.cut(1008, "no pong within a minute")
                continue
            if now_ns >= connection.next_ping_ns:
                connection.demand_pong(str(now_ns // NS_PER_MS).encode(), now_ns + self._config.pong_timeout_ns)
                connection.next_ping_ns = now_ns + self._config.ping_interval_ns
            moments += [connection.next_ping_ns, connection.expires_ns]
            if connection.pong_deadline_ns is not None:
                moments.append(connection.pong_deadline_ns)
        self._next_ns = min(moments, default=None)

    async def await_pongs(self, connections: Iterable[VenueConnection], now_ns: int) -> None:
        """Before virtual time passes a pong's deadline, give the pong some wall time to arrive.

        Virtual minutes can pass in wall milliseconds; only a peer that is silent on both clocks is dead.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + _PONG_GRACE_S
        for connection in list(connections):
            while connection.is_open and connection.pong_deadline_ns is not None and connection.pong_deadline_ns <= now_ns:
                if loop.time() > until:
                    return
                await asyncio.sleep(0.001)
