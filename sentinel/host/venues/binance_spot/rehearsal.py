"""An order taken through everything but the socket, so that the next real one meets warm code.

Orders are rare, and between two of them the market data of thousands of messages pushes their code out of the caches:
a cold one took twice as long to leave.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from sentinel.host.ports import Clock
from sentinel.host.venues.binance_spot.desk import Desk
from sentinel.host.venues.binance_spot.outbound import Outbound
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.host.venues.link import Link
from sentinel.wire import Venue


class _MuteLink(Link):
    """Looks open and sends nothing."""

    @property
    def is_open(self) -> bool:
        return True

    def send(self, message: bytes) -> None:
        pass


class _Discard:
    def deliver(self, source: int, records: NDArray[Any]) -> None:
        pass


class Rehearsal:
    """A desk of its own, whose orders go nowhere: budget, counters and requests in flight of the session stay untouched."""

    def __init__(self, symbols: list[str], clock: Clock, requests: Requests) -> None:
        self._outbound = Outbound(Desk(symbols, clock, _Discard(), 0, Venue.BINANCE_SPOT), requests)
        self._link = _MuteLink(lambda link, payload: None, lambda link: None)
        self._link.logged_on = requests.can_log_on

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Prepare, sign and account for an order as the session does."""
        self._outbound.place(self._link, key, symbol, side, order_type, tif, price, qty)
