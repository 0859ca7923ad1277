"""Keeps one good connection: handshake, reconnect, and a successor before the old one is cut.

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

from sentinel.errors import SentinelError, VenueError
from sentinel.host.venues.background import pause_s, watch_over
from sentinel.host.venues.key_refused import KeyRefused
from sentinel.host.venues.link import Link

_log = logging.getLogger(__name__)

_CLOSE_TIMEOUT_S = 10.0
_CHECK_EVERY_S = 30.0
_ROTATE_AFTER_S = 23.8 * 3600
_DRAIN_S = 10.0
_BACKOFF_MIN_S, _BACKOFF_MAX_S = 0.25, 30.0
_CONNECTS, _CONNECT_WINDOW_S = 150, 300.0  # half of what the venue allows an address


class LinkOwner(Protocol):
    def on_link_ready(self) -> None: ...

    def on_message(self, link: Link, payload: bytes) -> None: ...

    def on_link_lost(self, link: Link) -> None: ...

    def on_key_refused(self, code: int, message: str) -> None: ...

    async def on_link_replaced(self) -> None: ...

    def on_task_died(self) -> None: ...


class Preparation(Protocol):
    """What makes a new connection fit for orders, and finds out whether it still is; see ``binance_spot.handshake.Handshake``."""

    def must_wait(self) -> bool: ...

    async def prepare(self, link: Link) -> None: ...

    async def measure_offset(self, link: Link) -> int: ...

    async def check_session(self, link: Link) -> None: ...

    def on_lost(self, link: Link) -> None: ...


class LinkKeeper:
    """``current`` is the connection for new requests, None while there is none.

    ``connects`` holds the times of the last attempts to connect; keepers of one venue share it, as it counts per address.
    """

    def __init__(self, url: str, handshake: Preparation, owner: LinkOwner, connects: deque[float]) -> None:
        self.current: Link | None = None
        self._url = url
        self._handshake = handshake
        self._owner = owner
        self._links: list[Link] = []
        self._connects = connects
        self._wake = asyncio.Event()
        self._replace = False
        self._check = False
        self.refused = False
        self._failed_handovers = 0
        self._deaths = 0
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def links(self) -> tuple[Link, ...]:
        return tuple(self._links)

    async def start(self) -> None:
        """Open the first connection. Raises VenueError."""
        self._use(await self._establish())
        self.start_later()

    def start_later(self) -> None:
        """Keep a connection from now on; the first may take as long as it takes."""
        if not self._stopping:
            watch_over(self._spawn(self._watch()), "the watch over the order connection", self._on_watch_died)

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
                await asyncio.wait_for(link.wait_closed(), _CLOSE_TIMEOUT_S)

    def check_soon(self) -> None:
        """Measure the clock offset again soon, and ask whether a connection that has logged on still is."""
        self._check = True
        self._wake.set()

    def replace_soon(self) -> None:
        """Open a successor, then retire the current connection."""
        self._replace = True
        self._wake.set()

    def give_up(self, code: int, message: str) -> None:
        """The venue refuses our key: close every connection and open none again."""
        self.refused = True
        for link in self.links:
            link.close()
        self._owner.on_key_refused(code, message)

    def _use(self, link: Link) -> None:
        self.current = link
        self._owner.on_link_ready()

    def _on_watch_died(self) -> None:
        """A connection that nobody watches is not used: begin anew."""
        self._deaths += 1
        self._owner.on_task_died()
        for link in self.links:
            link.close()
        asyncio.get_running_loop().call_later(pause_s(self._deaths), self.start_later)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _on_lost(self, link: Link) -> None:
        if link in self._links:
            self._links.remove(link)
        if self.current is link:
            self.current = None
        self._handshake.on_lost(link)
        self._owner.on_link_lost(link)
        self._wake.set()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        born = checked = loop.time()
        while not self._stopping:
            self._wake.clear()
            if self.refused:
                return
            if self.current is None:
                if await self._reconnect():
                    born = checked = loop.time()
                    self._replace = False
                    await self._hand_over()
                continue
            if (self._replace or loop.time() - born > _ROTATE_AFTER_S) and not self._handshake.must_wait():
                if await self._succeed():
                    born = checked = loop.time()
                continue
            if (self._check or loop.time() - checked > _CHECK_EVERY_S) and not self._handshake.must_wait():
                self._check = False
                checked = loop.time()
                await self._check_current()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _CHECK_EVERY_S)

    async def _hand_over(self) -> None:
        try:
            await self._owner.on_link_replaced()
        except Exception as error:
            # Orders on an account that could not be reconciled would be orders in the dark: begin anew.
            _log.error("reconnected, but not reconciled: %s", error, exc_info=not isinstance(error, SentinelError))
            self._failed_handovers += 1
            if self.current is not None:
                self.current.close()
        else:
            self._failed_handovers = 0

    async def _reconnect(self) -> bool:
        delay = min(_BACKOFF_MIN_S * 2**self._failed_handovers, _BACKOFF_MAX_S)
        # Before Python 3.12 a cancellation is lost where a reply, or the loss of one, meets it: ``stop`` would wait for ever.
        while not self.refused and not self._stopping:
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            try:
                self._use(await self._establish())
            except VenueError as error:
                _log.warning("order connection not re-established: %s", error)
                delay = min(2 * delay, _BACKOFF_MAX_S)
            else:
                return not self._stopping
        return False

    async def _succeed(self) -> bool:
        try:
            successor = await self._establish()
        except VenueError as error:
            _log.warning("no successor for the order connection yet: %s", error)
            await asyncio.sleep(_BACKOFF_MIN_S)
            return False
        old, self._replace = self.current, False
        self._use(successor)
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
        if self._handshake.must_wait():
            raise VenueError("order connection", "told to wait", "no connection before that is over", "wait for the reconnect")
        await self._await_turn()
        link = await Link.open(self._url, self._owner.on_message, self._on_lost)
        self._links.append(link)
        try:
            await self._handshake.prepare(link)
            if not link.is_open:
                raise VenueError("order connection", "closed", "an open connection", "wait for the reconnect")
        except BaseException as error:
            link.close()
            if isinstance(error, KeyRefused):
                self.give_up(error.code, error.text)
            raise
        return link

    async def _await_turn(self) -> None:
        loop = asyncio.get_running_loop()
        while self._connects and self._connects[0] < loop.time() - _CONNECT_WINDOW_S:
            self._connects.popleft()
        if len(self._connects) >= _CONNECTS:
            await asyncio.sleep(self._connects[0] + _CONNECT_WINDOW_S - loop.time())
        self._connects.append(loop.time())

    async def _check_current(self) -> None:
        link = self.current
        if link is None or link.lockstep_id is not None:
            return
        try:
            await self._handshake.measure_offset(link)
        except VenueError as error:
            _log.warning("clock offset not measured: %s", error)
        if not link.logged_on:
            return
        try:
            await self._handshake.check_session(link)
        except VenueError as error:
            # Not ours any more, or silent about the account: a new connection logs on again and is reconciled.
            _log.warning("the order connection's logon is gone: %s", error)
            link.close()
