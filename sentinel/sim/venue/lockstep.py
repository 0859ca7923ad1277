"""What moves the venue's time: a client in lock-step, or the wall clock.

In lock-step virtual time stands still until a client opens ``/lockstep``. Then, step by step: the
exchange advances to its next event (events of one quantum are one step, and a step comes at least
every ``max_step_ns``), the frames go out on the ordinary connections, and the step is announced as
``{"step", "now_ns", "sent": {connection: frames sent on it so far}}``. The client answers
``{"done", "sent": {connection: frames it has sent}}``; when that many have arrived they are taken
in the order (connection, arrival), and the next step begins. A connection cut in a step is listed
in it one last time. When nothing is left to happen the steps carry ``"end": true``.

When the client leaves, what it has sent takes effect, the market runs on for ``release_ns`` and
time stands still again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from sentinel.sim.venue.connection import VenueConnection
from sentinel.sim.venue.keepalive import Keepalive
from sentinel.sim.venue.timeline import Timeline
from sentinel.units import NS_PER_MS, NS_PER_S

_SETTLE_S = 0.05
_MAX_IDLE_S = 0.5
_MIN_SLEEP_S = 0.0005
#: As long a time of the wall clock is caught up with at once.
_MAX_BEHIND_NS = 100 * NS_PER_MS


@dataclass(frozen=True)
class PaceConfig:
    """``speed`` is virtual seconds per wall second; in lock-step 0 means as fast as the client follows."""

    speed: float = 0.0
    quantum_ns: int = 5 * NS_PER_MS
    max_step_ns: int = 100 * NS_PER_MS
    release_ns: int = 2 * NS_PER_S


class _Done(msgspec.Struct):
    done: int
    sent: dict[str, int]


class _Step(msgspec.Struct, omit_defaults=True):
    step: int
    now_ns: int
    sent: dict[str, int]
    end: bool = False


class Connections:
    """The ordinary connections by number. ``ended`` keeps those that closed until the next step tells of them."""

    def __init__(self) -> None:
        self._next = 1
        self.open: dict[int, VenueConnection] = {}
        self.ended: dict[int, VenueConnection] = {}

    def take_number(self) -> int:
        number = self._next
        self._next += 1
        return number

    def opened(self, connection: VenueConnection) -> None:
        self.open[connection.number] = connection

    def closed(self, connection: VenueConnection) -> None:
        if self.open.pop(connection.number, None) is not None:
            self.ended[connection.number] = connection

    def in_order(self) -> list[VenueConnection]:
        """Open and just ended ones, by number."""
        return sorted([*self.open.values(), *self.ended.values()], key=lambda connection: connection.number)


class WallDriver:
    """Virtual time follows the wall clock, ``speed`` times as fast, from the exchange's own start time.

    Faster than the wall clock, it goes at most as fast as this machine can: otherwise a busy one would fall ever further
    behind, and in the end answer nobody.
    """

    def __init__(self, timeline: Timeline, connections: Connections, keepalive: Keepalive, pace: PaceConfig) -> None:
        self._timeline = timeline
        self._connections = connections
        self._keepalive = keepalive
        self._speed = pace.speed or 1.0
        self._start_ns = timeline.now_ns
        self._wall_start_ns = time.monotonic_ns()
        self._wake = asyncio.Event()

    def touch(self) -> None:
        """Bring the exchange up to the present, before something from outside is taken."""
        elapsed = time.monotonic_ns() - self._wall_start_ns
        now_ns = self._start_ns + int(elapsed * self._speed)
        too_much_ns = now_ns - self._timeline.now_ns - int(_MAX_BEHIND_NS * self._speed)
        if self._speed > 1.0 and too_much_ns > 0:
            now_ns -= too_much_ns
            self._start_ns -= too_much_ns
        if now_ns > self._timeline.now_ns:
            self._timeline.advance(now_ns)

    def settle(self) -> None:
        """Send what an interaction produced, and reconsider when to wake."""
        self._timeline.flush()
        self._wake.set()

    def wake(self) -> None:
        self._wake.set()

    def arrived(self, connection: VenueConnection, text: bytes) -> None:
        self.touch()
        connection.frames_taken += 1
        if connection.session is not None:
            connection.session.receive(text)
        self.settle()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            self.touch()
            tend_ns = self._keepalive.next_time()
            if tend_ns is not None and tend_ns <= self._timeline.now_ns:
                self._keepalive.tend(self._connections.open.values(), self._timeline.now_ns)
            self._connections.ended.clear()
            self._timeline.flush()
            moments = [moment for moment in (self._timeline.next_time(), self._keepalive.next_time()) if moment is not None]
            wait_ns = (min(moments) - self._timeline.now_ns) / self._speed if moments else _MAX_IDLE_S * NS_PER_S
            # A timer that sets the event: asyncio.wait_for of Python 3.11 can swallow a cancellation.
            timer = loop.call_later(min(max(wait_ns / NS_PER_S, _MIN_SLEEP_S), _MAX_IDLE_S), self._wake.set)
            await self._wake.wait()
            timer.cancel()


class LockstepDriver:
    """Virtual time follows the client's confirmations."""

    def __init__(self, timeline: Timeline, connections: Connections, keepalive: Keepalive, pace: PaceConfig) -> None:
        self._timeline = timeline
        self._connections = connections
        self._keepalive = keepalive
        self._pace = pace
        self._link: VenueConnection | None = None
        self._step = 0
        self._done: _Done | None = None
        self._changed = asyncio.Event()
        self._decode = msgspec.json.Decoder(_Done).decode
        self._encode = msgspec.json.Encoder().encode
        self._speed_from = (0, 0.0)
        self.malformed = 0
        timeline.frozen = True

    @property
    def linked(self) -> bool:
        return self._link is not None

    def touch(self) -> None:
        """Time moves only by steps."""

    def settle(self) -> None:
        """Outside the steps answers leave at once; within them they leave with the next step."""
        if self._timeline.frozen:
            self._timeline.flush()

    def wake(self) -> None:
        """A live market cannot be stepped; what it has waits for the next step."""

    def arrived(self, connection: VenueConnection, text: bytes) -> None:
        """Keep a message for the boundary of the step, or take it at once while time stands still."""
        if self._timeline.frozen:
            connection.frames_taken += 1
            if connection.session is not None:
                connection.session.receive(text)
            self._timeline.flush()
        else:
            connection.inbox.append(text)
            self._changed.set()

    def link(self, connection: VenueConnection) -> None:
        """A client joins; the next step is announced to it."""
        self._link = connection
        self._done = None
        self._speed_from = (self._timeline.now_ns, asyncio.get_running_loop().time())
        self._changed.set()

    def unlink(self, connection: VenueConnection) -> None:
        if self._link is connection:
            self._link = None
            self._changed.set()

    def confirmed(self, text: bytes) -> None:
        """A message on the lock-step link; one that is no confirmation of the current step ends the link."""
        try:
            done = self._decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            done = None
        if done is None or done.done != self._step:
            self.malformed += 1
            if self._link is not None:
                self._link.cut(1008, f'expected {{"done":{self._step},"sent":{{...}}}}')
            return
        self._done = done
        self._changed.set()

    async def run(self) -> None:
        while True:
            await self._until(lambda: self._link is not None)
            self._timeline.frozen = False
            while self._link is not None:
                await self._advance(self._next_stop())
                self._announce()
                if await self._confirmation():
                    self._take_messages()
            await self._release()
            self._timeline.frozen = True
            # A client that came back meanwhile waits for answers before it joins.
            self._take_everything()
            self._timeline.flush()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _next_stop(self) -> int:
        now_ns, pace = self._timeline.now_ns, self._pace
        latest = now_ns + pace.max_step_ns
        next_ns = self._timeline.next_time()
        if next_ns is None:
            return latest
        return min(-(-max(next_ns, now_ns + 1) // pace.quantum_ns) * pace.quantum_ns, latest)

    async def _advance(self, to_ns: int) -> None:
        tend_ns = self._keepalive.next_time()
        if tend_ns is not None and tend_ns <= to_ns:
            await self._keepalive.await_pongs(self._connections.open.values(), to_ns)
        if self._pace.speed > 0.0 and self._link is not None:
            since_ns, since = self._speed_from
            wait = since + (to_ns - since_ns) / NS_PER_S / self._pace.speed - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
        self._timeline.advance(to_ns)
        if tend_ns is not None and tend_ns <= to_ns:
            self._keepalive.tend(self._connections.open.values(), to_ns)
        self._timeline.flush()

    def _announce(self) -> None:
        self._step += 1
        self._done = None
        connections = self._connections
        sent = {str(number): connection.frames_sent for number, connection in connections.open.items()}
        for number, connection in tuple(connections.ended.items()):
            sent[str(number)] = connection.frames_sent
            if not connection.inbox:
                del connections.ended[number]
        if self._link is not None:
            self._link.queue(self._encode(_Step(self._step, self._timeline.now_ns, sent, self._timeline.is_over())))
        self._timeline.flush()

    async def _confirmation(self) -> bool:
        """Wait for the client's word and for the frames it says it has sent; False when it left."""
        await self._until(lambda: self._link is None or (self._done is not None and self._has_all(self._done)))
        return self._link is not None

    def _has_all(self, done: _Done) -> bool:
        for name, frames in done.sent.items():
            connection = self._connections.open.get(int(name)) if name.isascii() and name.isdigit() else None
            if connection is not None and connection.is_open and connection.frames_received < frames:
                return False
        return True

    def _take_messages(self) -> None:
        claims: dict[str, Any] = self._done.sent if self._done is not None else {}
        for connection in self._connections.in_order():
            if connection.inbox:
                claimed = claims.get(str(connection.number), connection.frames_received)
                self._take(connection, claimed - connection.frames_taken)

    def _take_everything(self) -> None:
        for connection in self._connections.in_order():
            self._take(connection, len(connection.inbox))

    def _take(self, connection: VenueConnection, count: int) -> None:
        messages, connection.inbox = connection.inbox[: max(count, 0)], connection.inbox[max(count, 0) :]
        for text in messages:
            connection.frames_taken += 1
            if connection.session is not None:
                connection.session.receive(text)

    async def _release(self) -> None:
        """The client left: its last messages take effect, and the market runs on for a while."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SETTLE_S
        while self._connections.open and loop.time() < deadline:
            await asyncio.sleep(0.002)
        self._take_everything()
        await self._run_on(self._pace.release_ns)
        self._connections.ended.clear()

    async def pass_time(self, duration_ns: int) -> None:
        """Let the market go on without a client; nothing where one drives it."""
        if self._link is None and self._timeline.frozen:
            await self._run_on(duration_ns)

    async def _run_on(self, duration_ns: int) -> None:
        until_ns = self._timeline.now_ns + duration_ns
        while self._timeline.now_ns < until_ns:
            await self._advance(min(self._next_stop(), until_ns))
            await asyncio.sleep(0)
