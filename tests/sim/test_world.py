"""The world of one thread: time that jumps, connections in memory, processes that end without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from sentinel.errors import VenueError
from sentinel.sim.world import Process, VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.end()


def run(loop: VirtualLoop, work: Coroutine[Any, Any, Any]) -> Any:
    return loop.run_until_complete(work)


def test_time_moves_only_to_the_next_timer_and_in_their_order(loop: VirtualLoop) -> None:
    seen: list[tuple[str, float]] = []

    async def sleeper(name: str, delay: float) -> None:
        await asyncio.sleep(delay)
        seen.append((name, loop.time()))

    async def main() -> None:
        await asyncio.gather(sleeper("long", 3600.0), sleeper("short", 0.25), sleeper("same", 0.25))

    run(loop, main())
    assert seen == [("short", 0.25), ("same", 0.25), ("long", 3600.0)]


def test_a_time_out_strikes_in_virtual_time(loop: VirtualLoop) -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().create_future(), 1e6)
        return loop.time()

    assert run(loop, main()) == 1e6


def test_a_wait_that_nothing_ends_is_an_error_not_a_hang(loop: VirtualLoop) -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(VenueError, match="something left to happen"):
        run(loop, main())


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1000):
        writer.write(data.upper())
    writer.write(b"BYE")
    writer.close()


def test_bytes_come_whole_in_order_and_before_the_end_of_the_connection(loop: VirtualLoop) -> None:
    async def main() -> bytes:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        for part in (b"a", b"b" * 5000, b"c"):
            writer.write(part)
        writer.write_eof()
        return await reader.read()

    assert run(loop, main()) == b"A" + b"B" * 5000 + b"CBYE"


def test_an_address_nobody_listens_on_refuses(loop: VirtualLoop) -> None:
    async def main() -> None:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            await asyncio.start_server(_echo, "127.0.0.1", port)
        server.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    run(loop, main())


def test_a_killed_process_runs_no_further_and_what_it_sent_still_arrives(loop: VirtualLoop) -> None:
    received: list[bytes] = []
    ran: list[str] = []

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    async def victim(port: int) -> None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"last words")
            ran.append("wrote")
            loop.kill(process)
            writer.write(b"from beyond")
            await asyncio.sleep(0)
            ran.append("went on")
        finally:
            if process.alive:
                ran.append("cleaned up")

    process = Process()

    async def main() -> None:
        server = await asyncio.start_server(sink, "127.0.0.1", 0)
        task = loop.create_task(victim(server.sockets[0].getsockname()[1]), context=process.context())
        await asyncio.sleep(1.0)
        assert not task.done()

    run(loop, main())
    assert received == [b"last words"]
    assert ran == ["wrote"]


def test_a_killed_process_leaves_others_alone(loop: VirtualLoop) -> None:
    ticks = {"dead": 0, "living": 0}

    async def tick(name: str) -> None:
        while True:
            await asyncio.sleep(1.0)
            ticks[name] += 1

    async def main() -> None:
        dead, living = Process(), Process()
        loop.create_task(tick("dead"), context=dead.context())
        task = loop.create_task(tick("living"), context=living.context())
        await asyncio.sleep(3.5)
        loop.kill(dead)
        await asyncio.sleep(3.0)
        task.cancel()

    run(loop, main())
    assert ticks == {"dead": 3, "living": 6}
