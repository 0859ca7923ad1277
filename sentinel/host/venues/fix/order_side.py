"""The orders of a session that sends them by FIX and asks its questions over REST."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from collections.abc import Sequence
from urllib.parse import urlsplit

from sentinel.config import VenueConfig
from sentinel.host.ports import Clock, RecordSink
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix.dialect import Dialect
from sentinel.host.venues.fix.entry import FixOrderEntry
from sentinel.host.venues.fix.inbound import Witness
from sentinel.host.venues.fix.logon import Logon
from sentinel.host.venues.fix.orders import OrderMessages
from sentinel.host.venues.fix.protocol import Event, LoggedOn
from sentinel.host.venues.fix.session import FixAddress
from sentinel.host.venues.instrument import Instrument
from sentinel.host.venues.paths import PathReport, only_path
from sentinel.wire import Venue


class FixOrders(ABC):
    """The part of ``contract.OrderSession`` that is orders; the class beside it in the bases is the rest.

    After a reconnect no order leaves before reconciliation has begun: fills may have been missed.
    """

    _entry: FixOrderEntry | None = None
    _fix_url: str
    _messages: OrderMessages
    _recv_window_ms: int

    def _speak(self, venue: VenueConfig, dialect: Dialect) -> None:
        """Before anything else of this class."""
        self._fix_url = venue.fix_url
        self._recv_window_ms = venue.recv_window_ms
        self._dialect = dialect
        self._messages = OrderMessages(dialect, venue.recv_window_ms)

    async def _open_entry(
        self,
        logons: Sequence[Logon],
        instruments: list[Instrument],
        clock: Clock,
        sink: RecordSink,
        source: int,
        venue: Venue,
        witness: Witness | None = None,
    ) -> None:
        """Log on to order entry. Raises VenueError."""
        self._entry = FixOrderEntry(
            fix_address(self._fix_url),
            self._dialect,
            logons,
            instruments,
            clock,
            sink,
            source,
            venue,
            self._recv_window_ms,
            self._on_up,
            self._on_event,
            witness,
        )
        await self._entry.connect()
        self._entry.held = False

    # What the host watches

    @property
    @abstractmethod
    def halted(self) -> str | None:
        """Why the venue refused our key, wherever; None while it has not."""

    @property
    def ready(self) -> bool:
        """Whether orders can be sent: logged on, key not refused; after a reconnect, once its reconciliation has begun."""
        return self._entry is not None and self._entry.ready and self.halted is None

    @property
    def links(self) -> tuple[()]:
        """None: FIX has no lock-step."""
        return ()

    def paths(self) -> list[PathReport]:
        """Order entry's one address, which is not measured."""
        return only_path(self._fix_url, self._entry is not None and self._entry.ready)

    def _with_entry(self, counted: dict[str, int]) -> dict[str, int]:
        """The counters of the other interfaces, and those of order entry added to them."""
        counted = dict(counted)
        if self._entry is not None:
            own = {"reconnects": self._entry.reconnects, "dead_tasks": self._entry.deaths}
            for name, count in [*self._entry.counters.items(), *own.items()]:
                counted[name] = counted.get(name, 0) + count
        return counted

    # Orders

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Send an order now. The outcome is SENT and what the venue says, or NOT_SENT with a LocalCode.

        None leaves while REST is told to wait or its key is refused: nobody could ask what became of it.
        """
        if self._entry is None:
            return
        if self.halted is not None:
            self._entry.deny(key, symbol, LocalCode.KEY_REFUSED)
        elif self._must_wait():
            self._entry.deny(key, symbol, LocalCode.PAUSED)
        else:
            self._entry.place(key, symbol, side, order_type, tif, price, qty)

    def rehearse(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        """Prepare an order and throw it away: keeps the code warm. Nothing leaves or changes."""
        self._messages.place(key, symbol, side, order_type, tif, price, qty)

    def deny(self, key: int, symbol: str) -> None:
        """Do not send an order that was decided and is no longer permitted: NOT_SENT."""
        if self._entry is not None:
            self._entry.deny(key, symbol)

    def cancel(self, key: int, symbol: str) -> None:
        """Ask for an order's cancellation now, over REST if need be. One that cannot be sent becomes CANCEL_REJECTED."""
        if self._entry is not None and self._entry.takes_cancels:
            self._entry.cancel(key, symbol)
        else:
            self._cancel_over_rest(key, symbol)

    # Within

    @abstractmethod
    def _must_wait(self) -> bool:
        """Whether the venue has told us to send nothing over REST for now."""

    @abstractmethod
    def _cancel_over_rest(self, key: int, symbol: str) -> None: ...

    @abstractmethod
    async def _before_orders(self) -> None:
        """What must be done after a reconnect before an order may leave. Raises VenueError."""

    @abstractmethod
    async def _reconcile(self) -> None: ...

    def _on_event(self, event: Event) -> None:
        if isinstance(event, LoggedOn) and self._entry is not None:
            self._entry.held = True

    async def _on_up(self) -> None:
        await self._before_orders()
        assert self._entry is not None
        self._entry.held = False
        await self._reconcile()


def fix_address(url: str) -> FixAddress:
    """``tcp+tls://host:port`` or ``tcp://host:port``, as the settings have checked it."""
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "tcp+tls" else None
    assert parts.hostname is not None
    assert parts.port is not None
    return FixAddress(parts.hostname, parts.port, tls)
