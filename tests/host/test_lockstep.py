"""The barrier, against a venue that is only a WebSocket server with a script."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from sentinel.errors import VenueError
from sentinel.host import lockstep
from sentinel.host.lockstep import LockstepClient, VirtualClock


class _Link:
    def __init__(self, lockstep_id: str | None) -> None:
        self.lockstep_id = lockstep_id
        self.frames_received = 0
        self.frames_sent = 0


class _Run:
    """A client whose steps are noted, and the confirmations its venue got."""

    def __init__(self, links: list[_Link]) -> None:
        self.links = links
        self.pending = 0
        self.stepped: list[int] = []
        self.held = 0
        self.confirmed: list[dict[str, Any]] = []
        self.finished = False

    def on_step(self, now_ns: int) -> None:
        self.stepped.append(now_ns)
        for link in self.links:
            link.frames_sent += 1

    def on_done(self) -> None:
        self.held += 1

    async def against(self, steps: list[dict[str, Any]], stop: asyncio.Event | None = None) -> None:
        async def venue(connection: ServerConnection) -> None:
            for step in steps:
                await connection.send(json.dumps(step))
                if not step.get("end"):
                    self.confirmed.append(json.loads(await connection.recv()))

        async with serve(venue, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            client = LockstepClient(
                f"ws://127.0.0.1:{port}", lambda: self.links, lambda: self.pending, self.on_step, self.on_done
            )
            self.finished = await asyncio.wait_for(client.run(stop or asyncio.Event()), 60)


def test_each_step_runs_once_and_is_confirmed_with_the_frames_sent() -> None:
    run = _Run([_Link("1"), _Link(None)])
    asyncio.run(
        run.against(
            [
                {"step": 1, "now_ns": 10, "sent": {}},
                {"step": 2, "now_ns": 20, "sent": {}},
                {"step": 3, "now_ns": 30, "sent": {}, "end": True},
            ]
        )
    )
    assert run.finished
    assert run.stepped == [10, 20, 30]
    assert run.confirmed == [{"done": 1, "sent": {"1": 1}}, {"done": 2, "sent": {"1": 2}}]
    assert run.held == 3


def test_a_step_waits_for_its_frames_and_for_requests_under_way() -> None:
    link = _Link("7")
    run = _Run([link])
    run.pending = 1
    seen: list[tuple[int, int]] = []
    run.on_step = lambda now_ns: seen.append((link.frames_received, run.pending))  # type: ignore[method-assign]

    async def scenario() -> None:
        async def deliver() -> None:
            await asyncio.sleep(0.05)
            link.frames_received = 3
            await asyncio.sleep(0.05)
            run.pending = 0

        await asyncio.gather(deliver(), run.against([{"step": 1, "now_ns": 5, "sent": {"7": 3, "8": 99}, "end": True}]))

    asyncio.run(scenario())
    assert seen == [(3, 0)]


def test_frames_that_never_come_are_an_error_that_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lockstep, "_BARRIER_TIMEOUT_S", 0.1)
    run = _Run([_Link("4")])
    with pytest.raises(VenueError, match=r"'4': 0.*of step 9"):
        asyncio.run(run.against([{"step": 9, "now_ns": 5, "sent": {"4": 1}}]))


def test_a_venue_that_closes_ends_the_run_unfinished() -> None:
    run = _Run([])
    asyncio.run(run.against([{"step": 1, "now_ns": 5, "sent": {}}]))
    assert not run.finished
    assert run.stepped == [5]


def test_virtual_time_never_goes_back() -> None:
    clock = VirtualClock(5)
    clock.advance(9)
    clock.advance(7)
    assert clock.now_ns() == 9
