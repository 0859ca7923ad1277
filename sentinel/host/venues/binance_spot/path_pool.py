"""A connection ready for orders on each of the venue's addresses; requests take the fastest that is healthy.

Every connection is subscribed to the account's user data, so the loss of one loses no news while another stands: what
was asked on the lost one is in doubt, and the rest goes on. Only when none was left is the account to be reconciled.
A single address is neither measured nor compared.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from sentinel.errors import VenueError
from sentinel.host.venues.background import watch_over
from sentinel.host.venues.binance_spot.desk import Desk
from sentinel.host.venues.binance_spot.handshake import Handshake
from sentinel.host.venues.binance_spot.messages import Frame
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.keeper import LinkKeeper
from sentinel.host.venues.key_refused import KeyRefused
from sentinel.host.venues.link import Link
from sentinel.host.venues.paths import PathChooser, PathReport, watch_path

_PING_WEIGHT = 1


class PoolOwner(Protocol):
    """Who uses the connections."""

    def on_message(self, link: Link, payload: bytes) -> None: ...

    def on_link_lost(self, link: Link) -> None: ...

    def on_key_refused(self, code: int, message: str) -> None: ...

    async def on_link_replaced(self) -> None: ...


class PathPool:
    """``current`` is the connection for new requests, None while there is none."""

    def __init__(self, urls: Sequence[str], handshake: Handshake, desk: Desk, owner: PoolOwner) -> None:
        self.current: Link | None = None
        self._handshake = handshake
        self._desk = desk
        self._owner = owner
        self._chooser = PathChooser(len(urls))
        connects: deque[float] = deque()
        self._paths = [_Path(self, number, url, handshake, connects) for number, url in enumerate(urls)]
        self._dark = False
        self._reconciling = asyncio.Lock()

    @property
    def links(self) -> tuple[Link, ...]:
        return tuple(link for path in self._paths for link in path.keeper.links)

    def reports(self) -> list[PathReport]:
        """What is known of each path, in the order of the settings."""
        return [self._chooser.report(path.number, path.url) for path in self._paths]

    async def start(self) -> None:
        """Open the first connection that can be had; the other paths follow by themselves. Raises VenueError for none."""
        errors: list[VenueError] = []
        waiting = deque(self._paths)
        while self.current is None:
            if not waiting:
                raise errors[0]
            path = waiting.popleft()
            try:
                await path.keeper.start()
            except KeyRefused:
                raise
            except VenueError as error:
                errors.append(error)
        assert self.current is not None
        # In lock-step the venue counts every frame of one connection.
        if self.current.lockstep_id is None:
            for path in self._paths:
                if path.keeper.current is None:
                    path.keeper.start_later()

    async def stop(self) -> None:
        """Close every connection and end every task."""
        for path in self._paths:
            path.end_watch()
        for path in self._paths:
            await path.keeper.stop()
        self.current = None

    def check_soon(self, link: Link | None) -> None:
        """Measure the clock offset again soon, and ask whether ``link`` (None: any), if it has logged on, still is."""
        self._of(link).check_soon()

    def replace_soon(self, link: Link) -> None:
        """Open a successor of ``link``, then retire it."""
        self._of(link).replace_soon()

    def drop(self, link: Link) -> None:
        """Give ``link`` up: it no longer tells what happens to the account."""
        link.close()

    def give_up(self, code: int, message: str) -> None:
        """The venue refuses our key: close every connection and open none again."""
        for path in self._paths:
            if not path.keeper.refused:
                path.keeper.give_up(code, message)

    def on_reply(self, frame: Frame) -> bool:
        """Take the reply to one of the handshake's requests; False when it is somebody else's."""
        return self._handshake.on_reply(frame)

    def _of(self, link: Link | None) -> LinkKeeper:
        return next((path.keeper for path in self._paths if link in path.keeper.links), self._paths[0].keeper)

    def _use_best(self) -> None:
        chosen = self._chooser.chosen
        self.current = None if chosen is None else self._paths[chosen].keeper.current
        self._desk.counters["path_changes"] = self._chooser.changes

    # Called by the paths

    def on_ready(self, path: _Path) -> None:
        self._chooser.opened(path.number)
        self._use_best()
        if len(self._paths) > 1:
            path.begin_watch(self._chooser, self._ping, self._use_best)

    def on_message(self, link: Link, payload: bytes) -> None:
        self._owner.on_message(link, payload)

    def on_lost(self, path: _Path, link: Link) -> None:
        was_up = self.current is not None
        if path.keeper.current is None:
            path.end_watch()
            self._chooser.lost(path.number)
            self._use_best()
            self._dark = self._dark or (was_up and self.current is None)
        self._owner.on_link_lost(link)

    def on_key_refused(self, path: _Path, code: int, message: str) -> None:
        for other in self._paths:
            if other is not path and not other.keeper.refused:
                other.keeper.give_up(code, message)
        self._owner.on_key_refused(code, message)

    def on_task_died(self) -> None:
        self._desk.counters["dead_tasks"] += 1

    async def on_replaced(self) -> None:
        async with self._reconciling:
            if self._dark:
                # A loss from here on is another one, to be answered by another look at the account.
                self._dark = False
                try:
                    await self._owner.on_link_replaced()
                except BaseException:
                    self._dark = True
                    raise

    async def _ping(self, link: Link) -> None:
        desk = self._desk
        if desk.budget.for_request(desk.venue_ns(), _PING_WEIGHT) != LocalCode.NONE:
            raise VenueError("ping", "not sent", "room in the venue's limits", "wait for the next minute")
        try:
            await self._handshake.ping(link)
        finally:
            desk.budget.land(_PING_WEIGHT)


class _Path:
    """One address: its keeper, and the task that measures it."""

    def __init__(self, pool: PathPool, number: int, url: str, handshake: Handshake, connects: deque[float]) -> None:
        self.number = number
        self.url = url
        self.keeper = LinkKeeper(url, handshake, self, connects)
        self._pool = pool
        self._watch: asyncio.Task[None] | None = None

    def begin_watch(self, chooser: PathChooser, ping: Callable[[Link], Awaitable[None]], changed: Callable[[], None]) -> None:
        """Measure the present connection from now on, and no earlier one."""
        self.end_watch()
        link = self.keeper.current
        assert link is not None
        work = watch_path(chooser, self.number, lambda: ping(link), changed, link.abort)
        self._watch = asyncio.get_running_loop().create_task(work)
        watch_over(self._watch, f"the measuring of {self.url}", lambda: self._on_watch_died(link))

    def _on_watch_died(self, link: Link) -> None:
        """Nobody would notice its silence: a new connection is measured anew."""
        self._pool.on_task_died()
        link.abort()

    def end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    # Called by the keeper

    def on_link_ready(self) -> None:
        self._pool.on_ready(self)

    def on_message(self, link: Link, payload: bytes) -> None:
        self._pool.on_message(link, payload)

    def on_link_lost(self, link: Link) -> None:
        self._pool.on_lost(self, link)

    def on_key_refused(self, code: int, message: str) -> None:
        self._pool.on_key_refused(self, code, message)

    async def on_link_replaced(self) -> None:
        await self._pool.on_replaced()

    def on_task_died(self) -> None:
        self._pool.on_task_died()
