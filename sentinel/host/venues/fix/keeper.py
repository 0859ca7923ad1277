"""Keeps one FIX session up: reconnects after a loss, and moves to a new one before the venue's maintenance."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from sentinel.errors import SentinelError, VenueError
from sentinel.host.ports import Clock
from sentinel.host.venues.background import pause_s, watch_over
from sentinel.host.venues.binance_spot.outcomes import Reaction
from sentinel.host.venues.fix.dialect import Dialect
from sentinel.host.venues.fix.logon import Logon
from sentinel.host.venues.fix.protocol import Ended, EndReason, Event, LoggedOn, Notice
from sentinel.host.venues.fix.session import FixAddress, FixSession

_log = logging.getLogger(__name__)

# Binance counts 15 connection attempts in 30 s, Coinbase two logons a second.
_FIRST_WAIT_S = 2.0
_LONGEST_WAIT_S = 30.0
_HANDOVER_S = 5.0


class SessionKeeper:
    """``on_event(session, event)`` gets every event of every session; ``on_up`` is awaited after each reconnect.

    The logons are used in turn: a name stays taken for a while when its session was not closed cleanly, and
    with two of them the successor is up before the old session goes. With one, there is a pause between them.
    """

    def __init__(
        self,
        address: FixAddress,
        dialect: Dialect,
        logons: Sequence[Logon],
        clock: Clock,
        on_event: Callable[[FixSession, Event], None],
        on_up: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.current: FixSession | None = None
        self.halted: str | None = None
        self.reconnects = 0
        #: How often the task that keeps a session up was ended by a defect, and begun anew.
        self.deaths = 0
        self._address = address
        self._dialect = dialect
        self._logons = list(logons)
        self._clock = clock
        self._on_event = on_event
        self._on_up = on_up
        self._opened = 0
        self._sessions: set[FixSession] = set()
        self._leaving: FixSession | None = None
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Open the first session. Raises VenueError."""
        await self._open()
        self._begin()

    async def stop(self) -> None:
        """Log out everywhere. Idempotent."""
        self._stopping = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*(session.close() for session in list(self._sessions)))

    def drop(self) -> None:
        """Cut the present session: its successor is reconciled."""
        if self.current is not None:
            self.current.abort()

    def _begin(self) -> None:
        if not self._stopping:
            self._task = asyncio.create_task(self._keep())
            watch_over(self._task, "the keeping of a FIX session", self._on_died)

    def _on_died(self) -> None:
        """A session that nobody keeps up is not used: begin anew."""
        self.deaths += 1
        for session in list(self._sessions):
            session.abort()
        self._wanted.set()
        asyncio.get_running_loop().call_later(pause_s(self.deaths), self._begin)

    async def _open(self) -> None:
        logon = self._logons[self._opened % len(self._logons)]
        self._opened += 1
        await FixSession.open(self._address, self._dialect.begin_string, logon, self._clock, self._take)

    def _take(self, session: FixSession, event: Event) -> None:
        if isinstance(event, LoggedOn):
            self._sessions.add(session)
            self.current = session
        elif isinstance(event, Notice):
            _log.warning("FIX session: the venue announces maintenance")
            if session is self.current:
                self._leaving = session
                self._wanted.set()
        elif isinstance(event, Ended):
            self._lost(session, event)
        self._on_event(session, event)

    def _lost(self, session: FixSession, ended: Ended) -> None:
        self._sessions.discard(session)
        verdicts = self._dialect.verdicts
        # Of the other ends the text is ours.
        said = ended.text if ended.reason in (EndReason.LOGON_REFUSED, EndReason.PEER_LOGOUT) else ""
        refused = ended.reason is EndReason.LOGON_REFUSED and verdicts.refuses_logon(ended.code, said)
        if refused or verdicts.reaction(ended.code, said) is Reaction.HALT_KEY:
            self.halted = self.halted or f"{ended.code} {ended.text}"
            _log.error("the venue refuses the FIX key (%d): no new session", ended.code)
        if session is self.current:
            self.current = None
            self._wanted.set()
            if ended.reason is not EndReason.LOGGED_OUT:
                _log.warning("FIX session lost: %s", ended.reason.value)

    async def _keep(self) -> None:
        wait = _FIRST_WAIT_S
        while self.halted is None:
            await self._wanted.wait()
            self._wanted.clear()
            old = self.current
            if old is not None and old is not self._leaving:
                continue
            if old is not None and len(self._logons) == 1:
                await old.close()
                old = None
            if await self._reopen():
                wait = _FIRST_WAIT_S
                if old is not None:
                    # Answers to what was asked on the old session may still be on their way.
                    await asyncio.sleep(_HANDOVER_S)
                    await old.close()
            else:
                self._wanted.set()
                await asyncio.sleep(wait * random.uniform(0.5, 1.0))
                wait = min(2 * wait, _LONGEST_WAIT_S)

    async def _reopen(self) -> bool:
        try:
            await self._open()
        except VenueError as error:
            _log.warning("no FIX session yet: %s", type(error).__name__)
            return False
        self.reconnects += 1
        try:
            if self._on_up is not None:
                await self._on_up()
        except Exception as error:
            # Orders on an account that could not be reconciled would be orders in the dark: begin anew.
            _log.error("FIX session up, but not reconciled: %s", error, exc_info=not isinstance(error, SentinelError))
            if self.current is not None:
                await self.current.close()
            return False
        return True
