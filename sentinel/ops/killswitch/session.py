"""What the kill process asks of a venue, and the plain facts it is told."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from sentinel.errors import VenueError
from sentinel.host.venues.instrument import Instrument

#: Statuses of an order that has ended.
FINAL = frozenset({"FILLED", "CANCELED", "REJECTED", "EXPIRED", "EXPIRED_IN_MATCH"})


class OpenOrder(NamedTuple):
    """An order of the account that is open at the venue, whoever sent it; ``order_id`` as the venue names it."""

    symbol: str
    order_id: int | str
    client_id: str


class Quote(NamedTuple):
    """Best bid and ask, int64 e8; 0 where a side is empty."""

    bid: int
    bid_qty: int
    ask: int
    ask_qty: int


class Placed(NamedTuple):
    """What became of an order: the venue's status, and base quantity executed, int64 e8. UNKNOWN where nothing proves it."""

    status: str
    executed: int
    text: str = ""


class Refused(VenueError):
    """The venue answered with an error; ``code`` is its own, ``wait_ms`` how long it wants to be left alone."""

    code = 0
    wait_ms = 0


class KillSession(Protocol):
    """All methods raise VenueError where the venue does not answer, and Refused where it refuses. None retries an order.

    ``recv_window_ms``: how late the venue may still accept what is sent here.
    """

    recv_window_ms: int

    async def synchronise(self) -> None:
        """Measure how far the venue's clock is ahead."""

    async def cancel_all(self, symbol: str) -> None:
        """Cancel whatever is open on ``symbol``; none open is as good."""

    async def cancel(self, order: OpenOrder) -> None:
        """Cancel one order; one that has ended is as good."""

    async def open_orders(self) -> list[OpenOrder]:
        """Every open order of the account."""
        ...

    async def balances(self) -> dict[str, tuple[int, int]]:
        """Asset -> (free, locked), int64 e8."""
        ...

    async def quote(self, symbol: str) -> Quote: ...

    async def instruments(self, symbols: list[str]) -> list[Instrument]:
        """Filters and assets, in the order of ``symbols``. Raises ConfigError for one the venue does not list."""
        ...

    def client_id(self, name: str) -> str:
        """A name of ours, never used before, as this venue takes it."""
        ...

    async def place(self, symbol: str, side: str, qty: int, price: int, client_id: str, tif: str = "IOC") -> Placed:
        """Send one limit order, once. An answer that does not come, or proves nothing, gives UNKNOWN: ask ``find`` then.

        Raises Refused where the venue wants to be left alone first; the order was not taken.
        """
        ...

    async def find(self, symbol: str, client_id: str) -> Placed | None:
        """What became of an order; None where the venue does not know it."""
        ...

    def close(self) -> None: ...


def odd(what: str, value: object) -> VenueError:
    """An answer that proves nothing."""
    return VenueError(f"answer to {what}", value, "what the venue's reference describes", "check venue.rest_url")


async def pause(error: VenueError, least_s: float) -> None:
    """Wait as long as the venue wants to be left alone, ``least_s`` at least."""
    await asyncio.sleep(max(error.wait_ms / 1000 if isinstance(error, Refused) else 0.0, least_s))
