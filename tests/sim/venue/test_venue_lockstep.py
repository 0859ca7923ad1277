"""Lock-step over real sockets: steps, barriers, latency, release, reconnection and pacing."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.keepalive import KeepaliveConfig
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.sim.venue.server import VenueServer
from tests.host.waiting import until
from tests.sim.venue.fake_exchange import MS, START_NS, FakeExchange
from tests.sim.venue.venue_client import KEY, ask, http, receive, run, signed, socket

S = 1000 * MS
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "price": "1", "quantity": "1", "recvWindow": 60_000}
TRADE = "btcusdt@trade"


class Peer:
    """An ordinary connection with its counts, and what it has received."""

    def __init__(self, connection: ClientConnection) -> None:
        assert connection.response is not None
        self.connection = connection
        self.name = connection.response.headers["X-Lockstep-Connection"]
        self.sent = 0
        self.received: list[Any] = []

    async def send(self, message: dict[str, Any]) -> None:
        await self.connection.send(json.dumps(message))
        self.sent += 1

    async def catch_up(self, frames: int) -> None:
        while len(self.received) < frames:
            self.received.append(await receive(self.connection))


async def peer(url: str) -> Peer:
    return Peer(await socket(url))


async def step(link: ClientConnection, *peers: Peer) -> dict[str, Any]:
    """Receive a step and all its frames, without confirming it."""
    announced = await receive(link)
    for one in peers:
        await one.catch_up(announced["sent"][one.name])
    return announced


async def confirm(link: ClientConnection, number: int, *peers: Peer) -> None:
    await link.send(json.dumps({"done": number, "sent": {one.name: one.sent for one in peers}}))


def order(name: str) -> dict[str, Any]:
    return {"id": name, "method": "order.place", "params": signed({**ORDER, "newClientOrderId": name})}


def test_time_stands_still_until_a_client_joins_and_requests_are_answered_meanwhile() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY], lockstep=True) as venue:
            api = await peer(venue.api_url)
            answer = await ask(api.connection, "time")
            assert answer["result"]["serverTime"] * MS == START_NS
            await asyncio.sleep(0.05)
            assert exchange.now_ns == START_NS

    run(main())


def test_each_step_announces_time_and_frames_and_waits_for_its_confirmation() -> None:
    async def main() -> None:
        exchange = FakeExchange(every_ns=10 * MS)
        async with VenueServer(exchange, lockstep=True) as venue:
            stream = await peer(f"{venue.stream_url}/ws/{TRADE}")
            link = await socket(venue.lockstep_url)
            assert link.response is not None
            assert "X-Lockstep-Connection" not in link.response.headers
            for number in range(1, 6):
                announced = await step(link, stream)
                assert announced == {"step": number, "now_ns": START_NS + number * 10 * MS, "sent": {stream.name: number}}
                await asyncio.sleep(0.01)
                assert exchange.now_ns == announced["now_ns"]
                await confirm(link, number, stream)
            assert [trade["t"] for trade in stream.received] == [1, 2, 3, 4, 5]

    run(main())


def test_events_of_one_quantum_are_one_step_and_idle_time_passes_in_steps_of_100_ms() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(every_ns=MS), lockstep=True) as venue:
            stream = await peer(f"{venue.stream_url}/ws/{TRADE}")
            link = await socket(venue.lockstep_url)
            assert (await step(link, stream))["sent"] == {stream.name: 5}
        async with VenueServer(FakeExchange(every_ns=250 * MS), lockstep=True) as venue:
            link = await socket(venue.lockstep_url)
            times = []
            for number in range(1, 5):
                times.append((await receive(link))["now_ns"] - START_NS)
                await confirm(link, number)
            assert times == [100 * MS, 200 * MS, 250 * MS, 350 * MS]

    run(main())


def test_order_takes_effect_after_the_virtual_latency_and_is_answered_in_the_step_of_that_time() -> None:
    async def main() -> None:
        exchange = FakeExchange(every_ns=100 * MS)
        async with VenueServer(exchange, [KEY], lockstep=True, latency_ns=7 * MS, jitter_ns=0) as venue:
            api = await peer(venue.api_url)
            await api.send({"id": 0, "method": "userDataStream.subscribe.signature", "params": signed({})})
            await api.catch_up(1)
            link = await socket(venue.lockstep_url)
            first = await step(link, api)
            await api.send(order("a"))
            await confirm(link, 1, api)
            second = await step(link, api)
            assert exchange.placed_at_ns == [first["now_ns"] + 7 * MS]
            assert second["now_ns"] == first["now_ns"] + 10 * MS
            assert {message.get("id") for message in api.received[1:]} == {"a", None}

    run(main())


def test_boundary_waits_for_the_frames_the_client_says_it_has_sent() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY], lockstep=True) as venue:
            api = await peer(venue.api_url)
            link = await socket(venue.lockstep_url)
            await step(link, api)
            await link.send(json.dumps({"done": 1, "sent": {api.name: 1}}))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(link.recv(), 0.05)
            await api.send(order("a"))
            await step(link, api)
            assert list(exchange.orders) == ["a"]

    run(main())


def test_frames_beyond_the_confirmation_belong_to_the_next_boundary() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY], lockstep=True) as venue:
            api = await peer(venue.api_url)
            link = await socket(venue.lockstep_url)
            await step(link, api)
            await api.send(order("a"))
            await api.send(order("b"))
            api.sent = 1
            await asyncio.sleep(0.05)
            await confirm(link, 1, api)
            await step(link, api)
            assert list(exchange.orders) == ["a"]
            api.sent = 2
            await confirm(link, 2, api)
            await step(link, api)
            assert list(exchange.orders) == ["a", "b"]

    run(main())


def test_requests_of_one_boundary_are_taken_by_connection_then_arrival() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY], lockstep=True, jitter_ns=0) as venue:
            first, second = await peer(venue.api_url), await peer(venue.api_url)
            link = await socket(venue.lockstep_url)
            await step(link, first, second)
            await second.send(order("c"))
            await asyncio.sleep(0.02)
            await first.send(order("a"))
            await first.send(order("b"))
            await confirm(link, 1, first, second)
            await step(link, first, second)
            assert list(exchange.orders) == ["a", "b", "c"]

    run(main())


def test_subscription_within_the_steps_is_answered_in_the_next_one() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), lockstep=True) as venue:
            stream = await peer(f"{venue.stream_url}/ws")
            link = await socket(venue.lockstep_url)
            await step(link, stream)
            await stream.send({"method": "SUBSCRIBE", "params": [TRADE], "id": 1})
            await confirm(link, 1, stream)
            await step(link, stream)
            assert stream.received[0] == {"result": None, "id": 1}
            assert stream.received[1]["t"] == 2

    run(main())


def test_rest_is_answered_at_once_at_the_time_of_the_step() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), lockstep=True) as venue:
            link = await socket(venue.lockstep_url)
            announced = await receive(link)
            _, _, body = await http(venue.rest_url, "GET", "/api/v3/time")
            assert body["serverTime"] * MS == announced["now_ns"]

    run(main())


def test_end_of_the_scenario_is_told_and_time_goes_on_as_long_as_the_client_confirms() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(end_ns=START_NS + 20 * MS), lockstep=True) as venue:
            link = await socket(venue.lockstep_url)
            ends = []
            for number in range(1, 5):
                announced = await receive(link)
                ends.append((announced["now_ns"] - START_NS, announced.get("end", False)))
                await confirm(link, number)
            assert ends == [(10 * MS, False), (20 * MS, True), (120 * MS, True), (220 * MS, True)]

    run(main())


def test_market_runs_on_for_two_seconds_when_the_client_leaves_and_its_last_orders_take_effect() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY], lockstep=True) as venue:
            api = await peer(venue.api_url)
            link = await socket(venue.lockstep_url)
            announced = await step(link, api)
            await api.send(order("last"))
            await asyncio.sleep(0.02)
            for connection in (link, api.connection):
                connection.transport.abort()
            await until(lambda: exchange.now_ns >= announced["now_ns"] + 2 * S)
            await asyncio.sleep(0.05)
            assert list(exchange.orders) == ["last"]
            assert exchange.now_ns == announced["now_ns"] + 2 * S
            again = await peer(venue.api_url)
            answer = await ask(
                again.connection, "order.status", signed({"symbol": "BTCUSDT", "origClientOrderId": "last", "recvWindow": 60_000})
            )
            assert answer["status"] == 200
            link = await socket(venue.lockstep_url)
            resumed = await receive(link)
            assert resumed["step"] == announced["step"] + 1
            assert resumed["now_ns"] == announced["now_ns"] + 2 * S + 10 * MS

    run(main())


def test_client_that_comes_back_while_the_market_runs_on_is_answered_before_it_joins() -> None:
    async def main() -> None:
        pace = PaceConfig(release_ns=20 * S)
        async with VenueServer(FakeExchange(every_ns=MS), [KEY], lockstep=True, pace=pace) as venue:
            link = await socket(venue.lockstep_url)
            await receive(link)
            link.transport.abort()
            await asyncio.sleep(0.01)
            answer_ns = 0
            while answer_ns < START_NS + 20 * S:
                api = await peer(venue.api_url)
                answer_ns = (await ask(api.connection, "time"))["result"]["serverTime"] * MS
                await api.connection.close()

    run(main())


def test_second_client_is_refused_while_one_drives() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), lockstep=True) as venue:
            link = await socket(venue.lockstep_url)
            await receive(link)
            with pytest.raises(InvalidStatus) as refused:
                await socket(venue.lockstep_url)
            assert refused.value.response.status_code == 409

    run(main())


def test_venue_on_the_wall_clock_has_no_lockstep() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange()) as venue:
            assert "lockstep_url" not in venue.urls()
            with pytest.raises(InvalidStatus):
                await socket(venue.lockstep_url)
            connection = await socket(f"{venue.stream_url}/ws")
            assert connection.response is not None
            assert "X-Lockstep-Connection" not in connection.response.headers

    run(main())


@pytest.mark.parametrize(
    "text", ["nonsense", "{}", '{"done":7,"sent":{}}', '{"done":"1","sent":{}}', '{"done":1,"sent":{"1":-1.5}}']
)
def test_wrong_confirmation_ends_the_link_and_the_venue_waits_for_another(text: str) -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), lockstep=True) as venue:
            link = await socket(venue.lockstep_url)
            await receive(link)
            await link.send(text)
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(link.recv(), 60)
            await asyncio.sleep(0.1)
            assert (await receive(await socket(venue.lockstep_url)))["step"] == 2

    run(main())


def test_connection_cut_in_a_step_is_listed_once_more_and_then_forgotten() -> None:
    async def main() -> None:
        faults = FaultPlan()
        async with VenueServer(FakeExchange(), lockstep=True, faults=faults) as venue:
            stream = await peer(f"{venue.stream_url}/ws/{TRADE}")
            other = await peer(f"{venue.stream_url}/ws")
            link = await socket(venue.lockstep_url)
            await step(link, stream)
            faults.inject(FaultKind.CLOSE_MID_FRAME, target=TRADE)
            await confirm(link, 1, stream)
            assert (await receive(link))["sent"] == {stream.name: 1, other.name: 0}
            with pytest.raises(ConnectionClosed):
                await stream.connection.recv()
            await asyncio.sleep(0.05)
            await confirm(link, 2, stream)
            assert (await receive(link))["sent"] == {stream.name: 1, other.name: 0}
            await confirm(link, 3, other)
            assert (await receive(link))["sent"] == {other.name: 0}

    run(main())


def test_speed_paces_the_steps_against_the_wall_clock() -> None:
    async def main() -> None:
        pace = PaceConfig(speed=2.0)
        async with VenueServer(FakeExchange(), lockstep=True, pace=pace) as venue:
            link = await socket(venue.lockstep_url)
            began = time.monotonic()
            for number in range(1, 41):
                await receive(link)
                await confirm(link, number)
            assert time.monotonic() - began > 0.18

    run(main())


def test_same_seed_gives_the_same_frames() -> None:
    async def transcript(seed: int) -> list[Any]:
        async with VenueServer(FakeExchange(every_ns=3 * MS), [KEY], lockstep=True, seed=seed) as venue:
            stream, api = await peer(f"{venue.stream_url}/stream?streams={TRADE}"), await peer(venue.api_url)
            await api.send({"id": 0, "method": "userDataStream.subscribe.signature", "params": signed({})})
            await api.catch_up(1)
            link = await socket(venue.lockstep_url)
            steps = []
            for number in range(1, 60):
                steps.append(await step(link, stream, api))
                if number % 3 == 0:
                    await api.send(order(f"o{number}"))
                await confirm(link, number, stream, api)
            return [steps, stream.received, api.received]

    async def main() -> None:
        first, second, other = await transcript(5), await transcript(5), await transcript(6)
        assert first == second
        assert first[2] != other[2]

    run(main())


def test_pings_come_every_20_virtual_seconds_and_their_pongs_keep_the_connection() -> None:
    async def main() -> None:
        exchange = FakeExchange(every_ns=3600 * S)
        async with VenueServer(exchange, lockstep=True) as venue:
            stream = await peer(f"{venue.stream_url}/ws")
            link = await socket(venue.lockstep_url)
            for number in range(1, 2001):
                await receive(link)
                await confirm(link, number, stream)
            assert exchange.now_ns - START_NS >= 199 * S
            await stream.send({"method": "LIST_SUBSCRIPTIONS", "id": 1})
            await receive(link)
            await confirm(link, 2001, stream)
            assert (await receive(stream.connection))["id"] == 1

    run(main())


def test_connection_ends_after_its_lifetime_on_the_venues_clock() -> None:
    async def main() -> None:
        keepalive = KeepaliveConfig(lifetime_ns=S)
        async with VenueServer(FakeExchange(every_ns=3600 * S), lockstep=True, keepalive=keepalive) as venue:
            stream = await peer(f"{venue.stream_url}/ws")
            link = await socket(venue.lockstep_url)
            for number in range(1, 11):
                await receive(link)
                await confirm(link, number)
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(stream.connection.recv(), 60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1000

    run(main())
