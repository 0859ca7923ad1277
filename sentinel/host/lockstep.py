"""The client's end of lock-step: virtual time, and a barrier with the venue at each of its steps.

A venue in lock-step sends the frames of one step on the ordinary connections and then, on the
``/lockstep`` connection, ``{"step", "now_ns", "sent": {connection: frames}}``. The client waits
until it has all of them, runs the engine, and answers ``{"done", "sent": {connection: frames}}``;
the venue takes the next step only after that.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from sentinel.errors import VenueError
from sentinel.host.ports import LockstepLink

_BARRIER_TIMEOUT_S = 30.0


class VirtualClock:
    """The venue's virtual time; moves only at a barrier."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        return self._now_ns

    def advance(self, now_ns: int) -> None:
        self._now_ns = max(self._now_ns, now_ns)


class Step(msgspec.Struct):
    """Of the venue: virtual time is ``now_ns``, and so many data frames were sent on each connection."""

    step: int
    now_ns: int
    sent: dict[str, int]
    end: bool = False


class Done(msgspec.Struct):
    """Of the client: step ``done`` is finished, and so many data frames were sent on each connection."""

    done: int
    sent: dict[str, int]


class LockstepClient:
    """Runs ``on_step(now_ns)`` once per step, after every frame of the step has arrived.

    Args:
        url: the venue's ``/lockstep`` endpoint.
        links: called at each barrier for the connections that count.
        pending: number of requests in flight outside the counted connections (REST); the barrier waits for 0.
        on_step: takes the new virtual time; all it sends belongs to this step.
        on_done: called once the step is finished, before the venue is told so.
    """

    def __init__(
        self,
        url: str,
        links: Callable[[], Iterable[LockstepLink]],
        pending: Callable[[], int],
        on_step: Callable[[int], None],
        on_done: Callable[[], None],
    ) -> None:
        self._url = url
        self._links = links
        self._pending = pending
        self._on_step = on_step
        self._on_done = on_done
        self.steps = 0

    async def run(self, stop: asyncio.Event) -> bool:
        """Follow the venue until the scenario ends (True), or ``stop`` is set or the venue closes (False)."""
        decoder = msgspec.json.Decoder(Step)
        encoder = msgspec.json.Encoder()
        async with connect(self._url, compression=None, max_size=1 << 20, ping_interval=None) as socket:
            while not stop.is_set():
                try:
                    step = decoder.decode(await socket.recv())
                except ConnectionClosed:
                    return False
                await self._barrier(step)
                self._on_step(step.now_ns)
                await self._settle()
                self.steps += 1
                self._on_done()
                if step.end:
                    return True
                await socket.send(encoder.encode(Done(step.step, self._sent())), text=True)
        return False

    def _sent(self) -> dict[str, int]:
        return {link.lockstep_id: link.frames_sent for link in self._links() if link.lockstep_id is not None}

    async def _barrier(self, step: Step) -> None:
        deadline = time.monotonic() + _BARRIER_TIMEOUT_S
        while True:
            late = [
                link
                for link in self._links()
                if link.lockstep_id is not None and link.frames_received < step.sent.get(link.lockstep_id, 0)
            ]
            if not late and self._pending() == 0:
                return
            if time.monotonic() > deadline:
                detail: dict[str, Any] = {str(link.lockstep_id): link.frames_received for link in late}
                raise VenueError(
                    "lockstep",
                    detail,
                    f"the frames {step.sent} of step {step.step}",
                    "check that the venue counts data frames only",
                )
            await asyncio.sleep(0)

    async def _settle(self) -> None:
        """Let requests started by the step (a snapshot after a gap) finish inside it."""
        while self._pending() > 0:
            await asyncio.sleep(0)
