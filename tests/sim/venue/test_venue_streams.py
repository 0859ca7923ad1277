"""Market streams over a real socket: forms, control messages, limits, faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.limits import LimitConfig
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.sim.venue.server import VenueServer
from tests.sim.venue.fake_exchange import START_NS, FakeExchange
from tests.sim.venue.venue_client import receive, run, socket

TRADE = "btcusdt@trade"


@asynccontextmanager
async def venue(**options: Any) -> AsyncIterator[VenueServer]:
    async with VenueServer(FakeExchange(), pace=PaceConfig(speed=2.0), **options) as server:
        yield server


async def control(connection: Any, message: Any) -> Any:
    """Send a control message; its answer, past the stream messages in between."""
    await connection.send(message if isinstance(message, str) else json.dumps(message))
    while True:
        answer = await receive(connection)
        if "stream" not in answer and answer.get("e") != "trade":
            return answer


async def receive_many(connection: Any) -> None:
    """A fault meets the next message sent, not the next one read: others may be under way."""
    for _ in range(1000):
        await receive(connection)


def test_raw_and_combined_forms_of_one_trade() -> None:
    async def main() -> None:
        async with venue() as server:
            raw = await socket(f"{server.stream_url}/ws/{TRADE}")
            combined = await socket(f"{server.stream_url}/stream?streams={TRADE}/ethusdt@trade")
            plain, wrapped = await receive(raw), await receive(combined)
            assert wrapped["stream"] == TRADE
            assert wrapped["data"].keys() == plain.keys()
            assert (plain["e"], plain["p"], plain["T"] - START_NS // 10**6 >= 10) == ("trade", "100.00000000", True)

    run(main())


def test_microsecond_time_unit_multiplies_every_time_of_a_payload() -> None:
    async def main() -> None:
        async with venue() as server:
            trade = await receive(await socket(f"{server.stream_url}/ws/{TRADE}?timeUnit=MICROSECOND"))
            assert trade["E"] == trade["T"] >= START_NS // 1000
            assert trade["t"] < 1000

    run(main())


def test_subscribing_listing_and_unsubscribing() -> None:
    async def main() -> None:
        async with venue() as server:
            connection = await socket(f"{server.stream_url}/ws")
            assert await control(connection, {"method": "SUBSCRIBE", "params": [TRADE, TRADE, "x@y"], "id": 1}) == {
                "result": None,
                "id": 1,
            }
            assert (await receive(connection))["e"] == "trade"
            assert await control(connection, {"method": "LIST_SUBSCRIPTIONS", "id": "a1"}) == {
                "result": [TRADE, "x@y"],
                "id": "a1",
            }
            assert await control(connection, {"method": "UNSUBSCRIBE", "params": [TRADE], "id": None}) == {
                "result": None,
                "id": None,
            }
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(connection.recv(), 0.1)

    run(main())


def test_combined_property_switches_the_form() -> None:
    async def main() -> None:
        async with venue() as server:
            connection = await socket(f"{server.stream_url}/ws/{TRADE}")
            assert (await control(connection, {"method": "GET_PROPERTY", "params": ["combined"], "id": 1}))["result"] is False
            assert (await control(connection, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 2})) == {
                "result": None,
                "id": 2,
            }
            assert (await receive(connection))["stream"] == TRADE

    run(main())


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ('{"method":', 3, "Invalid JSON: expected value at line 1 column"),
        ("[" * 100_000, 3, "Invalid JSON"),
        ("[]", 2, "Invalid request: missing field `method`"),
        ('{"method":"SUBSCRIB","id":1}', 2, "Invalid request: unknown variant `SUBSCRIB`"),
        ('{"method":["x"],"id":1}', 2, "Invalid request: unknown variant"),
        ('{"method":"SUBSCRIBE","params":["a@b"]}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBE","params":["a@b"],"id":1.5}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBE","params":["a@b"],"id":"with-dash"}', 2, "request ID must be an unsigned integer"),
        ('{"method":"SUBSCRIBE","params":[1],"id":1}', 2, "params must be an array of stream names"),
        ('{"method":"SUBSCRIBE","params":"a@b","id":1}', 2, "params must be an array"),
        ('{"method":"LIST_SUBSCRIPTIONS","params":["x"],"id":1}', 2, "too many parameters"),
        ('{"method":"SET_PROPERTY","params":["speed",1],"id":1}', 0, "Unknown property"),
        ('{"method":"SET_PROPERTY","params":["combined",1],"id":1}', 1, "Invalid value type: expected Boolean"),
        ('{"method":"GET_PROPERTY","params":[1],"id":1}', 2, "property name must be a string"),
        ('{"method":"GET_PROPERTY","params":["combined",1],"id":1}', 2, "too many parameters"),
    ],
)
def test_wrong_control_message_is_answered_with_its_error(message: str, code: int, text: str) -> None:
    async def main() -> None:
        async with venue() as server:
            answer = await control(await socket(f"{server.stream_url}/ws"), message)
            assert answer["code"] == code
            assert text in answer["msg"]

    run(main())


def test_sixth_client_frame_within_a_second_ends_the_connection() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange()) as server:
            connection = await socket(f"{server.stream_url}/ws")
            for number in range(5):
                await connection.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            for number in range(5):
                assert (await receive(connection))["id"] == number
            await connection.ping()
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(connection.recv(), 60)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008

    run(main())


def test_more_streams_than_allowed_are_refused_in_the_url_and_cut_in_a_subscription() -> None:
    async def main() -> None:
        async with venue(limits=LimitConfig(streams_per_connection=3)) as server:
            with pytest.raises(InvalidStatus) as refused:
                await socket(f"{server.stream_url}/stream?streams=a@t/b@t/c@t/d@t")
            assert refused.value.response.status_code == 400
            connection = await socket(f"{server.stream_url}/stream?streams=a@t/b@t")
            await connection.send(json.dumps({"method": "SUBSCRIBE", "params": ["c@t", "d@t"], "id": 1}))
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(connection.recv(), 60)

    run(main())


def test_connection_attempts_beyond_the_limit_and_unknown_paths_are_refused() -> None:
    async def main() -> None:
        async with venue(limits=LimitConfig(connects_per_5min=3)) as server:
            with pytest.raises(InvalidStatus) as unknown:
                await socket(f"{server.stream_url}/nothing")
            assert unknown.value.response.status_code == 404
            for _ in range(2):
                await socket(f"{server.stream_url}/ws")
            with pytest.raises(InvalidStatus) as refused:
                await socket(f"{server.stream_url}/ws")
            assert refused.value.response.status_code == 429

    run(main())


def test_dropped_and_duplicated_messages_show_in_the_trade_ids() -> None:
    async def main() -> None:
        faults = FaultPlan()
        async with venue(faults=faults) as server:
            connection = await socket(f"{server.stream_url}/ws/{TRADE}")

            last = (await receive(connection))["t"]

            async def first_step_other_than_one() -> int:
                # Trades already under way when the fault is set are whole.
                nonlocal last
                for _ in range(1000):
                    last, before = (await receive(connection))["t"], last
                    if last != before + 1:
                        return int(last - before)
                raise AssertionError("a thousand trades, none dropped or doubled")

            faults.inject(FaultKind.DROP_MESSAGE, target=TRADE)
            assert await first_step_other_than_one() == 2
            faults.inject(FaultKind.DUPLICATE_MESSAGE, target=TRADE)
            assert await first_step_other_than_one() == 0
            ids = [(await receive(connection))["t"] for _ in range(20)]
            assert ids == list(range(ids[0], ids[0] + 20))

    run(main())


def test_malformed_message_is_a_whole_frame_of_broken_json() -> None:
    async def main() -> None:
        faults = FaultPlan()
        async with venue(faults=faults) as server:
            connection = await socket(f"{server.stream_url}/ws/{TRADE}")
            faults.inject(FaultKind.MALFORMED_MESSAGE, target=TRADE)
            with pytest.raises(json.JSONDecodeError):
                await receive_many(connection)
            assert (await receive(connection))["t"] > 0

    run(main())


def test_stalled_connection_stays_open_and_silent() -> None:
    async def main() -> None:
        faults = FaultPlan()
        async with venue(faults=faults) as server:
            stalled = await socket(f"{server.stream_url}/ws/{TRADE}")
            await receive(stalled)
            faults.inject(FaultKind.STALL, target=TRADE)
            await asyncio.sleep(0.05)
            before = server.status()["connections"]
            await asyncio.sleep(0.1)
            assert server.status()["connections"] == before
            assert stalled.close_code is None
            assert (await receive(await socket(f"{server.stream_url}/ws/{TRADE}")))["t"] > 1

    run(main())


def test_closing_mid_frame_ends_the_stream_without_a_close_frame() -> None:
    async def main() -> None:
        faults = FaultPlan()
        async with venue(faults=faults) as server:
            connection = await socket(f"{server.stream_url}/ws/{TRADE}")
            faults.inject(FaultKind.CLOSE_MID_FRAME, target=TRADE)
            with pytest.raises(ConnectionClosed) as closed:
                await receive_many(connection)
            assert closed.value.rcvd is None
            assert (await receive(await socket(f"{server.stream_url}/ws/{TRADE}")))["t"] > 1

    run(main())


def test_shutdown_is_announced_in_the_form_of_each_connection_and_then_cut() -> None:
    async def main() -> None:
        async with venue() as server:
            raw = await socket(f"{server.stream_url}/ws")
            combined = await socket(f"{server.stream_url}/stream")
            api = await socket(server.api_url)
            server.announce_shutdown()
            assert (await receive(raw))["e"] == "serverShutdown"
            wrapped = await receive(combined)
            assert (wrapped["stream"], wrapped["data"]["e"]) == ("!serverShutdown", "serverShutdown")
            assert (await receive(api))["event"]["e"] == "serverShutdown"
            server.cut_connections()
            for connection in (raw, combined, api):
                with pytest.raises(ConnectionClosed) as closed:
                    await asyncio.wait_for(connection.recv(), 60)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001

    run(main())
