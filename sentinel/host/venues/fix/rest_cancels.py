"""Cancels over REST while the FIX session takes none: during a reconnect, or behind a socket that takes no more bytes."""

from __future__ import annotations

from sentinel.host.venues.binance_spot.desk import Desk
from sentinel.host.venues.binance_spot.inbound import Inbound
from sentinel.host.venues.binance_spot.messages import Frame
from sentinel.host.venues.binance_spot.outbound import Outbound
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.host.venues.binance_spot.rest_way import RestWay
from sentinel.host.venues.binance_spot.signed_rest import SignedRest
from sentinel.host.venues.binance_spot.signing import Credentials
from sentinel.host.venues.link import Link


class RestCancels:
    """Open between ``open`` and ``close``. Outcomes are those of ``BinanceSpotSession.cancel`` without a connection."""

    def __init__(self, desk: Desk, rest: SignedRest, credentials: Credentials, recv_window_ms: int) -> None:
        self._way = RestWay(desk, rest)
        self._outbound = Outbound(desk, Requests(credentials, recv_window_ms), self._way)
        self._inbound = Inbound(desk, _NoConnections(), self._outbound)

    @property
    def pending(self) -> int:
        """Requests without an answer."""
        return self._way.pending

    def open(self) -> None:
        self._way.open(self._inbound)

    async def close(self) -> None:
        """Requests under way are given up; their outcome is unknown."""
        await self._way.close()

    def cancel(self, key: int, symbol: str) -> None:
        """Ask for an order's cancellation now. One that cannot be sent or is not proven becomes CANCEL_REJECTED."""
        self._outbound.cancel(None, key, symbol)


class _NoConnections:
    """There is no WebSocket to act on; the session measures the clock by itself."""

    current: Link | None = None

    def on_reply(self, frame: Frame) -> bool:
        return False

    def check_soon(self, link: Link | None) -> None:
        pass

    def replace_soon(self, link: Link) -> None:
        pass

    def drop(self, link: Link) -> None:
        pass

    def give_up(self, code: int, message: str) -> None:
        pass
