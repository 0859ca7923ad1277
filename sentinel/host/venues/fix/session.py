"""One FIX session over TCP, with TLS where it is asked for: the protocol, a socket and a timer."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from sentinel.errors import VenueError
from sentinel.host.ports import Clock
from sentinel.host.venues.fix.codec import Field
from sentinel.host.venues.fix.logon import Logon
from sentinel.host.venues.fix.protocol import Ended, EndReason, Event, FixProtocol, LoggedOn
from sentinel.host.venues.tcp import prepare_socket
from sentinel.units import NS_PER_S

_log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 10.0
_LINGER_S = 2.0
_MAX_SLEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class FixAddress:
    """Where a FIX gateway listens. With ``tls`` the certificate must be that of ``host`` (SNI names it)."""

    host: str
    port: int
    tls: ssl.SSLContext | None


class LogonRefused(VenueError):
    """The venue does not let us in; ``value`` holds its text and its error code."""


class FixSession(asyncio.Protocol):
    """``on_event(session, event)`` gets every event in order; ``Ended`` comes exactly once and last.

    All methods belong to one event loop. A session that has ended stays so: open another.
    """

    def __init__(self, begin_string: str, logon: Logon, clock: Clock, on_event: Callable[[FixSession, Event], None]) -> None:
        self.writable = True
        self._protocol = FixProtocol(begin_string, logon)
        self._clock = clock
        self._on_event = on_event
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._finishing = False
        self._begun: asyncio.Future[Ended | None] = asyncio.get_running_loop().create_future()
        self._closed = asyncio.Event()

    @classmethod
    async def open(
        cls, address: FixAddress, begin_string: str, logon: Logon, clock: Clock, on_event: Callable[[FixSession, Event], None]
    ) -> FixSession:
        """Connect and log on. Raises VenueError when the gateway cannot be reached, LogonRefused when it refuses."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                _, session = await loop.create_connection(
                    lambda: cls(begin_string, logon, clock, on_event),
                    address.host,
                    address.port,
                    ssl=address.tls,
                    server_hostname=address.host if address.tls else None,
                )
        except (OSError, TimeoutError) as error:
            where = f"{address.host}:{address.port}"
            remedy = f"check address, network and certificate ({error!r})"
            raise VenueError("FIX gateway", where, "a gateway that answers", remedy) from None
        try:
            ended = await asyncio.shield(session._begun)
        except asyncio.CancelledError:
            session.abort()
            raise
        if ended is not None:
            said = f"{ended.reason.value}: {ended.text} ({ended.code})"
            kind = LogonRefused if ended.reason is EndReason.LOGON_REFUSED else VenueError
            raise kind("FIX logon", said, "a Logon the venue takes", "check key, permissions, clock and session name")
        return session

    @property
    def active(self) -> bool:
        """Whether orders can be sent."""
        return self._protocol.active and self._transport is not None and not self._transport.is_closing()

    @property
    def counters(self) -> dict[str, int]:
        return self._protocol.counters

    def send(self, msg_type: str, fields: Sequence[Field], header: Sequence[Field] = ()) -> int:
        """Hand one application message to the socket; its sequence number. Raises VenueError: then nothing has left."""
        if not self.active:
            raise VenueError("FIX session", "closed", "a session that is logged on", "wait for the next one")
        sequence = self._protocol.send(msg_type, fields, self._clock.now_ns(), header)
        self._flush()
        return sequence

    async def close(self) -> None:
        """Log out, wait for the answer (5 s at most), close. Idempotent."""
        if not self._protocol.ended:
            self._protocol.logout(self._clock.now_ns())
            self._after(self._protocol.tick(self._clock.now_ns()))
        await self._closed.wait()

    def abort(self) -> None:
        """Cut the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Another event loop's transports are none of asyncio's classes.
        self._transport = cast(asyncio.Transport, transport)
        prepare_socket(transport)
        self._protocol.start(self._clock.now_ns())
        self._after([])

    def data_received(self, data: bytes) -> None:
        self._after(self._protocol.receive(data, self._clock.now_ns()))

    def connection_lost(self, error: Exception | None) -> None:
        self._after(self._protocol.disconnected())
        if self._timer is not None:
            self._timer.cancel()
        self._closed.set()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True

    # Within

    def _after(self, events: list[Event]) -> None:
        """Send what is due, report what happened, and wait for what comes next."""
        self._flush()
        for event in events:
            if not self._begun.done() and isinstance(event, (LoggedOn, Ended)):
                self._begun.set_result(event if isinstance(event, Ended) else None)
            try:
                self._on_event(self, event)
            except Exception:
                # The session outlives a defect in its user's handling.
                _log.exception("a %s of the FIX session could not be handled", type(event).__name__)
        if not self._protocol.ended:
            self._schedule()
        elif self._transport is not None and not self._finishing:
            self._finish(self._transport)

    def _finish(self, transport: asyncio.Transport) -> None:
        self._finishing = True
        # Bytes of the peer left unread would turn the close into a reset, which may overtake our Logout.
        if transport.can_write_eof():
            transport.write_eof()
            asyncio.get_running_loop().call_later(_LINGER_S, transport.abort)
        else:
            transport.close()

    def _flush(self) -> None:
        out = self._protocol.take_outgoing()
        if out and self._transport is not None and not self._transport.is_closing():
            self._transport.write(out)

    def _schedule(self) -> None:
        due_ns = self._protocol.next_due_ns()
        if self._timer is None and due_ns is not None:
            # What is due only moves later with traffic, and the clock need not run as the loop's does: look every second.
            wait = min(max(due_ns - self._clock.now_ns(), 0) / NS_PER_S, _MAX_SLEEP_S)
            self._timer = asyncio.get_running_loop().call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        try:
            self._after(self._protocol.tick(self._clock.now_ns()))
        except Exception:
            # Without it nobody would notice the venue's silence.
            _log.exception("the timer of the FIX session has ended by a defect")
            self.abort()
