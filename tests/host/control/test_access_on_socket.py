"""Roles at a real control socket over a real journal: what each user got, and what the audit trail says of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sentinel.config_access import AccessConfig
from sentinel.engine.state_hash import state_hash
from sentinel.host.control import endpoint
from sentinel.host.control.access import Access
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.gatekeeper import Gatekeeper
from sentinel.host.control.protocol import Arm, Kill, Orders, Request, encode_request
from sentinel.host.control.server import ControlServer
from sentinel.host.engine_host import EngineHost
from sentinel.host.replay import JournalReplay, state_of
from sentinel.host.store.journal_reader import read_segments
from sentinel.ops.audit.build import RecordBuilder
from sentinel.ops.audit.fields import record_fields
from sentinel.ops.audit.records import AuditKind
from sentinel.units import NS_PER_S
from sentinel.wire import Command
from tests.host.control.persons import UIDS, write_roles
from tests.host.plain_config import plain_config
from tests.host.venues.offline_session import ManualClock

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may be somebody else for a moment")


class Place:
    """An engine's host behind a control socket; whatever is granted steps a TICK."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = EngineHost(plain_config(directory), lambda slots, ready_ns: None)
        self.clock = ManualClock()
        self.clock.ns = 1_790_000_000 * NS_PER_S
        (directory / "roles").mkdir()
        self.access = Access(AccessConfig(roles=str(write_roles(directory / "roles"))))
        self.done: list[Request] = []

    async def answer(self, request: Request, who: Peer) -> dict[str, Any]:
        self.done.append(request)
        self.host.control(Command.TICK, self.clock.ns)
        return {"who": who.uid}

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[ControlServer]:
        keeper = Gatekeeper(self.answer, self.access, self.host, self.clock)
        server = ControlServer(
            self.directory,
            keeper.answer,
            admits=self.access.admits,
            turned_away=keeper.turned_away,
            everybody=self.access.has_roles,
        )
        server.start()
        try:
            yield server
        finally:
            await server.stop()

    async def connect_as(self, uid: int) -> socket.socket:
        """Connected as that user: the kernel keeps who it was at that moment."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.directory.chmod(0o711)
        with endpoint._named(self.directory) as path:
            while True:
                os.seteuid(uid)
                try:
                    connection.connect(path)
                    return connection
                except BlockingIOError:
                    # As many wait already as may.
                    pass
                finally:
                    os.seteuid(0)
                await asyncio.sleep(0.001)

    async def ask_as(self, uid: int, request: Request) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        with await self.connect_as(uid) as connection:
            raw = b""
            # Closed unread where he holds too many already.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await loop.sock_sendall(connection, encode_request(request))
                while not raw.endswith(b"\n") and (part := await loop.sock_recv(connection, 65_536)):
                    raw += part
        return dict(json.loads(raw or b"{}"))

    def trail(self) -> list[dict[str, Any]]:
        """The ACCESS records of the audit trail."""
        builder = RecordBuilder(self.directory, None)
        records = [record for taken in read_segments(self.directory) for record in builder.build(taken)]
        return [record_fields(one, ())["record"] for one in records if one["kind"] == AuditKind.ACCESS]


def play(scenario: Any) -> None:
    async def run() -> None:
        await asyncio.wait_for(scenario(), 60)

    uvloop.run(run())


@pytest.mark.control("C4")
@pytest.mark.control("E15")
def test_what_a_user_may_is_done_what_he_may_not_refused_and_all_of_it_is_in_the_trail(tmp_path: Path) -> None:
    place = Place(tmp_path)

    async def scenario() -> None:
        async with place.serving():
            assert await place.ask_as(UIDS["dave"], Orders()) == {"result": {"who": UIDS["dave"]}}
            assert (await place.ask_as(UIDS["dave"], Kill()))["error"]["field"] == "role"
            assert (await place.ask_as(UIDS["carol"], Arm("0" * 16)))["error"]["field"] == "role"
            assert await place.ask_as(UIDS["carol"], Kill()) == {"result": {"who": UIDS["carol"]}}
            assert (await place.ask_as(4_242, Kill()))["error"]["field"] == "user"
            assert await place.ask_as(UIDS["alice"], Arm("0" * 16)) == {"result": {"who": UIDS["alice"]}}

    play(scenario)
    assert place.done == [Orders(), Kill(), Arm("0" * 16)]
    expected = state_hash(place.host.state)
    place.host.close()
    said = [(one["person"], one["uid"], one["role"], one["request"], one["result"]) for one in place.trail()]
    assert said == [
        ("dave", UIDS["dave"], "VIEWER", "ORDERS", "GRANTED"),
        ("dave", UIDS["dave"], "VIEWER", "KILL", "DENIED"),
        ("carol", UIDS["carol"], "TRADER", "ARM", "DENIED"),
        ("carol", UIDS["carol"], "TRADER", "KILL", "GRANTED"),
        ("", 4_242, "NONE", "CONNECT", "DENIED"),
        ("alice", UIDS["alice"], "RISK", "ARM", "GRANTED"),
    ]
    # The engine never saw any of it.
    state, _ = state_of(tmp_path)
    replay = JournalReplay(tmp_path, state)
    replay.run()
    assert (state_hash(state), replay.inputs, replay.mismatched_effects) == (expected, 3, 0)


def test_a_user_who_holds_every_connection_he_gets_keeps_nobody_else_out(tmp_path: Path) -> None:
    place = Place(tmp_path)

    async def scenario() -> None:
        async with place.serving():
            held = [await place.connect_as(uid) for uid in (UIDS["dave"], 4_242) for _ in range(20)]
            assert await place.ask_as(UIDS["carol"], Kill()) == {"result": {"who": UIDS["carol"]}}
            closed = 0
            for connection in held[:20]:
                with contextlib.suppress(BlockingIOError, ConnectionResetError):
                    closed += connection.recv(1) == b""
            assert closed == 12
            for connection in held:
                connection.close()
            while "result" not in await place.ask_as(UIDS["dave"], Orders()):
                await asyncio.sleep(0.01)

    play(scenario)
    place.host.close()


def test_a_journal_in_memory_keeps_the_records_until_the_disk_takes_them(tmp_path: Path) -> None:
    place = Place(tmp_path)
    keeper = Gatekeeper(place.answer, place.access, place.host, place.clock)
    place.host.spilling.lose(OSError(28, "full"))
    for _ in range(3):
        asyncio.run(keeper.answer(Orders(), Peer(1, UIDS["dave"])))
    assert place.host.spilling.waiting >= 3
    place.host.close()
    assert [one["person"] for one in place.trail()] == ["dave"] * 3
