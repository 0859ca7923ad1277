"""The control socket: who is let in, what is refused, and that nothing on it holds up the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sentinel.errors import ControlError, VenueError
from sentinel.host.control import client, endpoint, server
from sentinel.host.control.endpoint import Peer
from sentinel.host.control.protocol import (
    MAX_REQUEST_BYTES,
    CancelAll,
    Kill,
    Orders,
    Positions,
    Reconcile,
    Request,
    decode_request,
    encode_request,
)
from sentinel.host.control.server import ControlServer


class Answering:
    """Answers every request with its own name, after ``until`` where it is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[Request, Peer]] = []
        self.until: asyncio.Event | None = None
        self.fails: Exception | None = None

    async def __call__(self, request: Request, peer: Peer) -> dict[str, Any]:
        self.asked.append((request, peer))
        if self.until is not None:
            await self.until.wait()
        if self.fails is not None:
            raise self.fails
        return {"name": type(request).__name__}


@contextlib.asynccontextmanager
async def serving(directory: Path, owner_uid: int | None = None) -> AsyncIterator[tuple[ControlServer, Answering]]:
    answering = Answering()
    control = ControlServer(directory, answering, owner_uid)
    control.start()
    try:
        yield control, answering
    finally:
        await control.stop()


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await asyncio.wait_for(scenario(), 60)

    uvloop.run(run())


async def ask(directory: Path, request: Request) -> dict[str, Any]:
    return await asyncio.to_thread(client.ask, directory, request, 5.0)


async def say(directory: Path, raw: bytes, wait_for: int = 1) -> list[dict[str, Any]]:
    """What comes back for ``raw``: ``wait_for`` lines, or as many as come before the end."""

    def exchange() -> list[bytes]:
        with endpoint.connect(directory, 5.0) as connection:
            connection.sendall(raw)
            answer = b""
            while answer.count(b"\n") < wait_for and (part := connection.recv(65_536)):
                answer += part
            return answer.splitlines()

    return [json.loads(line) for line in await asyncio.to_thread(exchange)]


def test_a_request_is_answered_and_the_kernel_says_who_asked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (_, answering):
            assert await ask(tmp_path, CancelAll(within_s=3.0)) == {"name": "CancelAll"}
            ((request, peer),) = answering.asked
            assert request == CancelAll(within_s=3.0)
            assert peer == Peer(os.getpid(), os.geteuid())

    play(scenario)


def test_several_requests_follow_each_other_on_one_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / endpoint.SOCKET_NAME))
            for request in (Orders(), Positions()):
                writer.write(encode_request(request))
                assert json.loads(await reader.readline()) == {"result": {"name": type(request).__name__}}
            writer.close()

    play(scenario)


def test_the_socket_is_its_owners_alone_and_goes_with_the_daemon(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / endpoint.SOCKET_NAME
        async with serving(tmp_path):
            assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        assert not path.exists()

    previous = os.umask(0)
    try:
        play(scenario)
    finally:
        os.umask(previous)


def test_another_user_is_turned_away_by_the_kernels_word(tmp_path: Path) -> None:
    """Past file permissions: as root by becoming somebody else, else by a server that belongs to somebody else."""

    async def scenario() -> None:
        root = os.geteuid() == 0
        async with serving(tmp_path, None if root else os.geteuid() + 1) as (control, answering):
            os.chmod(tmp_path, 0o711)
            os.chmod(tmp_path / endpoint.SOCKET_NAME, 0o666)
            with endpoint._named(tmp_path) as path, socket.socket(socket.AF_UNIX) as connection:
                if root:
                    os.seteuid(65_534)
                try:
                    connection.connect(path)
                finally:
                    if root:
                        os.seteuid(0)
                connection.setblocking(False)
                raw = await asyncio.get_running_loop().sock_recv(connection, 65_536)
                assert json.loads(raw)["error"]["field"] == "user"
                assert await asyncio.get_running_loop().sock_recv(connection, 1) == b""
            assert (control.refused, answering.asked) == (1, [])

    play(scenario)


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"orders\n",
        b'{"do":"sell"}\n',
        b'{"do":"orders","all":1}\n',
        b'{"do":"cancel_all","within_s":1e9}\n',
        b'{"do":"cancel_all","within_s":"soon"}\n',
        b'{"do":"arm","nonce":7}\n',
        b'{"do":"arm","nonce":"' + b"x" * 65 + b'"}\n',
        b"[" * 2000 + b"\n",
        b"\xff\xfe\n",
        b'{"do":"orders"}{"do":"kill"}\n',
    ],
    ids=lambda raw: raw[:30].decode("latin-1").strip(),
)
def test_what_is_no_request_is_refused_and_counted_and_the_connection_lives(tmp_path: Path, raw: bytes) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (control, answering):
            (refusal,) = await say(tmp_path, raw)
            assert refusal["error"]["type"] == "ControlError"
            assert await ask(tmp_path, Orders()) == {"name": "Orders"}
            assert (control.refused, len(answering.asked)) == (1, 1)

    play(scenario)


def test_a_request_without_end_is_cut_off(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (control, _):
            answers = await say(tmp_path, b"x" * (MAX_REQUEST_BYTES + 1), wait_for=2)
            assert [answer["error"]["field"] for answer in answers] == ["request"]
            assert control.refused == 1

    play(scenario)


def test_refusals_and_errors_reach_the_client_typed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (_, answering):
            answering.fails = VenueError("answer to account", "<html>", "JSON", "check venue.rest_url")
            with pytest.raises(ControlError) as refused:
                await ask(tmp_path, Reconcile())
            assert (refused.value.field, refused.value.value) == ("answer to account", "<html>")
            assert (refused.value.allowed, refused.value.remedy) == ("JSON", "check venue.rest_url")
            answering.fails = ZeroDivisionError("unforeseen")
            with pytest.raises(ControlError, match="see the log"):
                await ask(tmp_path, Kill())
            answering.fails = None
            assert await ask(tmp_path, Orders()) == {"name": "Orders"}

    play(scenario)


def test_a_slow_answer_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (_, answering):
            answering.until = asyncio.Event()
            slow = asyncio.ensure_future(ask(tmp_path, Reconcile()))
            while not answering.asked:
                await asyncio.sleep(0.001)
            waiting, answering.until = answering.until, None
            assert await ask(tmp_path, Orders()) == {"name": "Orders"}
            assert not slow.done()
            waiting.set()
            assert await slow == {"name": "Reconcile"}

    play(scenario)


def test_a_client_that_leaves_or_says_nothing_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_IDLE_S", 0.05)

    async def scenario() -> None:
        async with serving(tmp_path):
            with endpoint.connect(tmp_path, 5.0) as silent:
                silent.setblocking(False)
                assert await asyncio.get_running_loop().sock_recv(silent, 1) == b""
            with endpoint.connect(tmp_path, 5.0) as leaving:
                leaving.sendall(encode_request(Orders()))
            assert await ask(tmp_path, Orders()) == {"name": "Orders"}

    play(scenario)


def test_a_flood_of_connections_is_closed_and_one_that_ends_makes_room(tmp_path: Path) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with serving(tmp_path):
            held = [endpoint.connect(tmp_path, 5.0) for _ in range(8)]
            for connection in held:
                connection.setblocking(False)
                await loop.sock_sendall(connection, encode_request(Orders()))
                assert await loop.sock_recv(connection, 4096)
            with endpoint.connect(tmp_path, 5.0) as one_more:
                one_more.setblocking(False)
                assert await loop.sock_recv(one_more, 1) == b""
            for connection in held:
                connection.close()
            while True:
                with contextlib.suppress(ControlError):
                    assert await ask(tmp_path, Orders()) == {"name": "Orders"}
                    return

    play(scenario)


def test_what_a_dead_daemon_left_is_replaced_and_another_file_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / endpoint.SOCKET_NAME))
        with pytest.raises(ControlError, match="running daemon"):
            await ask(tmp_path, Orders())
        async with serving(tmp_path):
            assert await ask(tmp_path, Orders()) == {"name": "Orders"}
        (tmp_path / endpoint.SOCKET_NAME).write_text("mine")
        with pytest.raises(ControlError, match="no other file"):
            ControlServer(tmp_path, Answering()).start()
        assert (tmp_path / endpoint.SOCKET_NAME).read_text() == "mine"

    play(scenario)


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    async def scenario() -> None:
        directory = tmp_path / ("d" * 200) / "store"
        directory.mkdir(parents=True)
        async with serving(directory):
            assert await ask(directory, Orders()) == {"name": "Orders"}
        assert not (directory / endpoint.SOCKET_NAME).exists()

    play(scenario)


def test_a_directory_that_others_may_write_to_holds_no_socket_and_is_not_believed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path):
            os.chmod(tmp_path, 0o707)
            with pytest.raises(ControlError, match="chmod o-w"):
                await ask(tmp_path, Orders())
        with pytest.raises(ControlError, match="chmod o-w"):
            ControlServer(tmp_path, Answering()).start()

    play(scenario)


def test_without_a_daemon_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ControlError, match="sentinel run"):
            client.ask(directory, Orders())


def test_stopping_ends_an_answer_under_way(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as (control, answering):
            answering.until = asyncio.Event()
            slow = asyncio.ensure_future(ask(tmp_path, Reconcile()))
            while not answering.asked:
                await asyncio.sleep(0.001)
            await control.stop()
            with pytest.raises(ControlError):
                await slow

    play(scenario)


@pytest.mark.parametrize("request_", [Orders(), Positions(), Reconcile(accept=True), CancelAll(0.5), Kill()])
def test_requests_survive_the_wire(request_: Request) -> None:
    assert decode_request(encode_request(request_).rstrip(b"\n")) == request_
