"""Keeps one good connection: time, subscription, reconnect, and a successor before the old one is cut.

The venue cuts every connection after 24 hours and announces a shutdown: a successor is then opened and
subscribed first, and the old connection stays until its replies have come. Both deliver user data for a
while; trade ids make the repetition harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from sentinel.errors import SentinelError, VenueError
from sentinel.host.ports import Clock
from sentinel.host.venues.binance_spot import outcomes
from sentinel.host.venues.binance_spot.clock_offset import ClockOffset
from sentinel.host.venues.binance_spot.link import Link
from sentinel.host.venues.binance_spot.messages import Frame, decode_server_time
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.units import NS_PER_MS

_log = logging.getLogger(__name__)

_REPLY_TIMEOUT_S = 10.0
_SYNC_EVERY_S = 30.0
_SYNC_SAMPLES = 5
_ROTATE_AFTER_S = 23.8 * 3600
_DRAIN_S = 10.0
_BACKOFF_MIN_S, _BACKOFF_MAX_S = 0.25, 30.0
_CONNECTS, _CONNECT_WINDOW_S = 150, 300.0  # half of what the venue allows an address
_SUBSCRIBE = "userDataStream.subscribe.signature"


class LinkOwner(Protocol):
    def on_message(self, link: Link, payload: bytes) -> None: ...

    def on_link_lost(self, link: Link) -> None: ...

    def on_key_refused(self, code: int, message: str) -> None: ...

    async def on_link_replaced(self) -> None: ...


class LinkKeeper:
    """``current`` is the connection for new requests, None while there is none."""

    def __init__(self, url: str, requests: Requests, offset: ClockOffset, clock: Clock, owner: LinkOwner) -> None:
        self.current: Link | None = None
        self._url = url
        self._requests = requests
        self._offset = offset
        self._clock = clock
        self._owner = owner
        self._links: list[Link] = []
        self._calls: dict[str, asyncio.Future[Frame]] = {}
        self._call_number = 0
        self._connects: deque[float] = deque()
        self._wake = asyncio.Event()
        self._replace = False
        self._resync = False
        self._refused = False
        self._failed_handovers = 0
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def links(self) -> tuple[Link, ...]:
        return tuple(self._links)

    async def start(self) -> None:
        """Open the first connection. Raises VenueError."""
        self.current = await self._establish()
        self._spawn(self._watch())

    async def stop(self) -> None:
        """Close every connection and end every task."""
        self._stopping = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        links, self.current = self.links, None
        for link in links:
            link.close()
        for link in links:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(link.wait_closed(), _REPLY_TIMEOUT_S)

    def resync_clock(self) -> None:
        """Measure the clock offset again soon."""
        self._resync = True
        self._wake.set()

    def replace_soon(self) -> None:
        """Open a successor, then retire the current connection."""
        self._replace = True
        self._wake.set()

    def drop(self) -> None:
        """Give the current connection up: it no longer tells what happens to the account."""
        if self.current is not None:
            self.current.close()

    def on_reply(self, frame: Frame) -> bool:
        """Take the reply to one of the keeper's own requests; False when it is somebody else's."""
        future = self._calls.pop(frame.id, None) if isinstance(frame.id, str) else None
        if future is None:
            return False
        if not future.done():
            future.set_result(frame)
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_lost(self, link: Link) -> None:
        if link in self._links:
            self._links.remove(link)
        if self.current is link:
            self.current = None
        self._owner.on_link_lost(link)
        self._wake.set()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        born = synced = loop.time()
        while not self._stopping:
            self._wake.clear()
            if self.current is None and not self._refused:
                if await self._reconnect():
                    born = synced = loop.time()
                    self._replace = False
                    await self._hand_over()
                continue
            if self._replace or loop.time() - born > _ROTATE_AFTER_S:
                if await self._succeed():
                    born = synced = loop.time()
                continue
            if self._resync or loop.time() - synced > _SYNC_EVERY_S:
                self._resync = False
                synced = loop.time()
                await self._resync_on_current()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _SYNC_EVERY_S)

    async def _hand_over(self) -> None:
        try:
            await self._owner.on_link_replaced()
        except Exception as error:
            # Orders on an account that could not be reconciled would be orders in the dark: begin anew.
            _log.error("reconnected, but not reconciled: %s", error, exc_info=not isinstance(error, SentinelError))
            self._failed_handovers += 1
            self.drop()
        else:
            self._failed_handovers = 0

    async def _reconnect(self) -> bool:
        delay = min(_BACKOFF_MIN_S * 2**self._failed_handovers, _BACKOFF_MAX_S)
        while not self._refused:
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            try:
                self.current = await self._establish()
            except VenueError as error:
                _log.warning("order connection not re-established: %s", error)
                delay = min(2 * delay, _BACKOFF_MAX_S)
            else:
                return True
        return False

    async def _succeed(self) -> bool:
        try:
            successor = await self._establish()
        except VenueError as error:
            _log.warning("no successor for the order connection yet: %s", error)
            await asyncio.sleep(_BACKOFF_MIN_S)
            return False
        old, self.current, self._replace = self.current, successor, False
        if old is not None:
            self._spawn(self._retire(old))
        else:
            # Lost before its successor was subscribed: nobody has told what happened in between.
            await self._hand_over()
        return True

    async def _retire(self, link: Link) -> None:
        await asyncio.sleep(_DRAIN_S)
        link.close()

    async def _establish(self) -> Link:
        await self._await_turn()
        link = await Link.open(self._url, self._owner.on_message, self._on_lost)
        self._links.append(link)
        try:
            server_ms = await self._measure_offset(link, _SYNC_SAMPLES)
            await self._subscribe(link)
        except BaseException:
            link.close()
            raise
        if link.lockstep_id is not None:
            self._offset.follow_lockstep(server_ms)
        return link

    async def _await_turn(self) -> None:
        loop = asyncio.get_running_loop()
        while self._connects and self._connects[0] < loop.time() - _CONNECT_WINDOW_S:
            self._connects.popleft()
        if len(self._connects) >= _CONNECTS:
            await asyncio.sleep(self._connects[0] + _CONNECT_WINDOW_S - loop.time())
        self._connects.append(loop.time())

    async def _subscribe(self, link: Link) -> None:
        now_ms = self._offset.venue_ns(self._clock.now_ns()) // NS_PER_MS
        identity = self._next_id()
        reply = await self._call(link, identity, self._requests.signed(identity, _SUBSCRIBE, {}, now_ms))
        if reply.status == 200:
            return
        code, text = (reply.error.code, reply.error.msg) if reply.error is not None else (0, "no reason")
        if reply.status is not None and outcomes.reaction(reply.status, code) is outcomes.Reaction.HALT_KEY:
            self._refused = True
            self._owner.on_key_refused(code, text)
        raise VenueError(
            "user data stream", f"{code} {text}", "a subscription", "check the API key, its permissions and the clock"
        )

    async def _measure_offset(self, link: Link, samples: int) -> int:
        self._offset.begin_round()
        server_ms = 0
        for _ in range(samples):
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

    async def _resync_on_current(self) -> None:
        if self.current is None or self.current.lockstep_id is not None:
            return
        try:
            await self._measure_offset(self.current, _SYNC_SAMPLES)
        except VenueError as error:
            _log.warning("clock offset not measured: %s", error)

    def _next_id(self) -> str:
        self._call_number += 1
        return f"K{self._call_number}"

    async def _call(self, link: Link, identity: str, message: bytes) -> Frame:
        future: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._calls[identity] = future
        try:
            link.send(message)
            return await asyncio.wait_for(future, _REPLY_TIMEOUT_S)
        except TimeoutError:
            raise VenueError(
                "venue.api_url", self._url, f"a reply within {_REPLY_TIMEOUT_S:g} s", "check the network or the venue's status"
            ) from None
        finally:
            self._calls.pop(identity, None)
