"""What makes a new connection fit for orders: the venue's time, whose connection it is, its user data.

A key that may log on (Ed25519) logs the connection on, and requests on it need no signature; any other
key signs each request. Source: Binance WebSocket API, session authentication and user data stream.
"""

from __future__ import annotations

import asyncio

import msgspec

from sentinel.errors import VenueError
from sentinel.host.ports import Clock
from sentinel.host.venues.binance_spot import outcomes
from sentinel.host.venues.binance_spot.budget import RateBudget
from sentinel.host.venues.binance_spot.clock_offset import ClockOffset
from sentinel.host.venues.binance_spot.messages import Frame, SessionStatus, decode_server_time, decode_session_status
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.host.venues.key_refused import REMEDY, KeyRefused
from sentinel.host.venues.link import Link
from sentinel.units import NS_PER_MS

_REPLY_TIMEOUT_S = 10.0
_SYNC_SAMPLES = 5
_LOGON, _STATUS = "session.logon", "session.status"
_SUBSCRIBE, _SUBSCRIBE_SIGNED = "userDataStream.subscribe", "userDataStream.subscribe.signature"


class Handshake:
    """The session's own requests on its connections, and their replies."""

    def __init__(self, requests: Requests, offset: ClockOffset, clock: Clock, budget: RateBudget) -> None:
        self._requests = requests
        self._budget = budget
        self._offset = offset
        self._clock = clock
        self._calls: dict[str, tuple[Link, asyncio.Future[Frame]]] = {}
        self._call_number = 0

    def must_wait(self) -> bool:
        """Whether the venue has told us to wait: a connection, a logon and the time cost weight too."""
        return not self._offset.in_lockstep and self._budget.is_paused(self._offset.venue_ns(self._clock.now_ns()))

    async def prepare(self, link: Link) -> None:
        """Measure the clock, log on, subscribe to user data. Raises VenueError, KeyRefused where trying again cannot help."""
        server_ms = await self.measure_offset(link)
        await self._authenticate(link)
        if link.lockstep_id is not None:
            self._offset.follow_lockstep(server_ms)

    async def measure_offset(self, link: Link) -> int:
        """Estimate the clock offset anew; returns the venue's time in ms. Raises VenueError."""
        self._offset.begin_round()
        server_ms = 0
        for _ in range(_SYNC_SAMPLES):
            identity = self._next_id()
            sent = self._clock.now_ns()
            reply = await self._call(link, identity, self._requests.plain(identity, "time"))
            if reply.status != 200:
                raise VenueError("time request", reply.status, "status 200", "check venue.api_url")
            try:
                server_ms = decode_server_time(reply.result).server_time
            except msgspec.MsgspecError as error:
                raise VenueError(
                    "time request", bytes(reply.result)[:80], "a serverTime", f"check venue.api_url ({error})"
                ) from None
            self._offset.sample(sent, self._clock.now_ns(), server_ms)
        return server_ms

    async def check_session(self, link: Link) -> None:
        """Ask whether a connection that has logged on is still ours and still tells of our account. Raises VenueError."""
        identity = self._next_id()
        reply = await self._call(link, identity, self._requests.plain(identity, _STATUS))
        status = self._own_session(_STATUS, reply)
        if not status.user_data_stream:
            raise VenueError(_STATUS, "no user data stream", "a subscription", "reconnect")

    async def ping(self, link: Link) -> None:
        """Return with the answer to a ping. Raises VenueError for another answer than a pong."""
        identity = self._next_id()
        self._require_ok("ping", await self._call(link, identity, self._requests.plain(identity, "ping")))

    def on_reply(self, frame: Frame) -> bool:
        """Take the reply to one of these requests; False when it is somebody else's."""
        call = self._calls.pop(frame.id, None) if isinstance(frame.id, str) else None
        if call is None:
            return False
        if not call[1].done():
            call[1].set_result(frame)
        return True

    def on_lost(self, link: Link) -> None:
        """End the waiting for replies on a connection that is gone."""
        for asked_on, future in self._calls.values():
            if asked_on is link and not future.done():
                future.set_exception(
                    VenueError("order connection", "closed", "a reply before it closes", "wait for the reconnect")
                )

    async def _authenticate(self, link: Link) -> None:
        if self._requests.can_log_on:
            reply = await self._call_signed(link, _LOGON)
            if reply.status == 200:
                self._own_session(_LOGON, reply)
                link.logged_on = True
            elif reply.error is None or reply.error.code != outcomes.NOT_OFFERED:
                raise _refusal(_LOGON, reply)
        if not link.logged_on:
            self._require_ok(_SUBSCRIBE_SIGNED, await self._call_signed(link, _SUBSCRIBE_SIGNED))
            return
        identity = self._next_id()
        self._require_ok(_SUBSCRIBE, await self._call(link, identity, self._requests.plain(identity, _SUBSCRIBE)))
        await self.check_session(link)

    def _own_session(self, what: str, reply: Frame) -> SessionStatus:
        self._require_ok(what, reply)
        try:
            status = decode_session_status(reply.result)
        except msgspec.MsgspecError as error:
            raise VenueError(what, str(error), "apiKey, authorizedSince and userDataStream", "check venue.api_url") from None
        if status.api_key != self._requests.api_key or status.authorized_since is None:
            raise VenueError(what, "not logged on under our key", "a session of our key", "reconnect")
        return status

    def _require_ok(self, what: str, reply: Frame) -> None:
        if reply.status != 200:
            raise _refusal(what, reply)

    def _next_id(self) -> str:
        self._call_number += 1
        return f"K{self._call_number}"

    async def _call_signed(self, link: Link, method: str) -> Frame:
        now_ms = self._offset.venue_ns(self._clock.now_ns()) // NS_PER_MS
        identity = self._next_id()
        return await self._call(link, identity, self._requests.signed(identity, method, {}, now_ms))

    async def _call(self, link: Link, identity: str, message: bytes) -> Frame:
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._calls[identity] = link, future
        try:
            link.send(message)
            return await asyncio.wait_for(future, _REPLY_TIMEOUT_S)
        except TimeoutError:
            raise VenueError(
                "venue.api_url", link.url, f"a reply within {_REPLY_TIMEOUT_S:g} s", "check the network or the venue's status"
            ) from None
        finally:
            self._calls.pop(identity, None)


def _refusal(what: str, reply: Frame) -> VenueError:
    code, text = (reply.error.code, reply.error.msg) if reply.error is not None else (0, "no reason")
    if reply.error is not None and reply.status is not None and outcomes.refuses_key(reply.status, code):
        return KeyRefused(what, code, text)
    return VenueError(what, f"{reply.status}: {code} {text}", "status 200", REMEDY)
