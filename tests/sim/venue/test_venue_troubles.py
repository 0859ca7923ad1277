"""What a venue does in bad hours: limits, bans, a wrong clock, user data that comes late or twice, maintenance."""

from __future__ import annotations

from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sentinel.errors import VenueError
from sentinel.sim.venue.faults import FaultKind, FaultPlan
from sentinel.sim.venue.server import VenueServer
from tests.sim.venue.fake_exchange import FakeExchange
from tests.sim.venue.venue_client import KEY, START_MS, ask, http, receive, run, signed, signed_http, socket

TRADE = "btcusdt@trade"
MS = 1_000_000


def order(name: str) -> dict[str, Any]:
    fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "price": "1", "quantity": "1", "recvWindow": 60_000}
    return signed({**fields, "newClientOrderId": name})


@pytest.mark.parametrize(("kind", "status"), [(FaultKind.RATE_LIMIT, 429), (FaultKind.BAN, 418)])
def test_a_limit_refuses_everything_until_the_time_it_names(kind: FaultKind, status: int) -> None:
    async def main() -> None:
        exchange, faults = FakeExchange(), FaultPlan()
        async with VenueServer(exchange, [KEY], faults=faults) as venue:
            connection = await socket(venue.api_url)
            faults.inject(kind, target="order.place", delay_ns=300 * MS)
            answer = await ask(connection, "order.place", order("a"))
            assert (answer["status"], answer["error"]["code"]) == (status, -1003)
            data = answer["error"]["data"]
            assert 0 < data["retryAfter"] - data["serverTime"] <= 301
            assert (await ask(connection, "time"))["status"] == status
            refused, headers, body = await http(venue.rest_url, "GET", "/api/v3/time")
            assert (refused, headers["retry-after"], body["code"]) == (status, "1", -1003)
            assert exchange.orders == {}
            while exchange.now_ns // MS <= data["retryAfter"]:
                assert (await ask(connection, "ping", identity=None))["status"] in (200, status)
            assert (await ask(connection, "order.place", order("b")))["status"] == 200

    run(main())


def test_a_venue_whose_clock_is_ahead_refuses_a_timestamp_once() -> None:
    async def main() -> None:
        exchange, faults = FakeExchange(), FaultPlan()
        async with VenueServer(exchange, [KEY], faults=faults) as venue:
            connection = await socket(venue.api_url)
            faults.inject(FaultKind.CLOCK_SKEW, target="order.place", delay_ns=100_000 * MS)
            assert (await ask(connection, "order.place", order("a")))["error"]["code"] == -1021
            assert (await ask(connection, "order.place", order("b")))["status"] == 200
            faults.inject(FaultKind.CLOCK_SKEW, target="openOrders.status", delay_ns=100_000 * MS)
            status, _, body = await signed_http(venue.rest_url, "GET", "/api/v3/openOrders", {"recvWindow": 60_000})
            assert (status, body["code"]) == (400, -1021)
            assert list(exchange.orders) == ["b"]

    run(main())


def test_an_error_nobody_has_published_comes_after_the_order_took_effect() -> None:
    async def main() -> None:
        exchange, faults = FakeExchange(), FaultPlan()
        async with VenueServer(exchange, [KEY], faults=faults) as venue:
            connection = await socket(venue.api_url)
            faults.inject(FaultKind.UNKNOWN_ERROR, target="order.place")
            answer = await ask(connection, "order.place", order("a"))
            assert (answer["status"], answer["error"]["code"]) == (400, -4321)
            assert list(exchange.orders) == ["a"]
            faults.inject(FaultKind.UNKNOWN_ERROR, target="time")
            status, _, body = await http(venue.rest_url, "GET", "/api/v3/time")
            assert (status, body["code"]) == (400, -4321)

    run(main())


async def _events(kinds: list[FaultKind], count: int) -> list[str]:
    """Ids of the orders of the first ``count`` events, each kind striking the next event."""
    faults = FaultPlan()
    async with VenueServer(FakeExchange(), [KEY], faults=faults) as venue:
        follower, trader = await socket(venue.api_url), await socket(venue.api_url)
        await ask(follower, "userDataStream.subscribe.signature", signed({}))
        for kind in kinds:
            faults.inject(kind, target="executionReport", delay_ns=100 * MS)
        for name in ("a", "b", "c"):
            assert (await ask(trader, "order.place", order(name)))["status"] == 200
        return [(await receive(follower))["event"]["c"] for _ in range(count)]


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        (FaultKind.DELAY_EVENT, ["b", "c", "a"]),
        (FaultKind.DUPLICATE_EVENT, ["a", "a", "b", "c"]),
        (FaultKind.REORDER_EVENT, ["b", "a", "c"]),
    ],
)
def test_user_data_comes_late_twice_or_after_the_next(kind: FaultKind, seen: list[str]) -> None:
    async def main() -> None:
        assert await _events([kind], len(seen)) == seen

    run(main())


def test_an_event_that_waits_for_a_next_one_does_not_wait_for_ever() -> None:
    async def main() -> None:
        assert sorted(await _events([FaultKind.REORDER_EVENT] * 3, 3)) == ["a", "b", "c"]

    run(main())


def test_a_market_message_comes_after_the_next_one() -> None:
    async def main() -> None:
        faults = FaultPlan()
        async with VenueServer(FakeExchange(), faults=faults) as venue:
            connection = await socket(f"{venue.stream_url}/ws/{TRADE}")
            await receive(connection)
            faults.inject(FaultKind.REORDER_MESSAGE, target=TRADE)
            # The fault meets the next message sent, which need not be the next one read.
            ids = [(await receive(connection))["t"]]
            while ids == sorted(ids):
                ids.append((await receive(connection))["t"])
            assert ids[-2] == ids[-1] + 1
            assert sorted(ids) == list(range(min(ids), min(ids) + len(ids)))

    run(main())


async def _reached(venue: VenueServer) -> dict[str, bool]:
    """Which parts take a new client."""
    found = {"rest": (await http(venue.rest_url, "GET", "/api/v3/time"))[0] == 200}
    for part, url in (("api", venue.api_url), ("streams", f"{venue.stream_url}/ws/{TRADE}")):
        try:
            await (await socket(url)).close()
            found[part] = True
        except InvalidStatus as error:
            found[part] = error.response.status_code != 503
    return found


@pytest.mark.parametrize("parts", [("rest",), ("api",), ("streams",), ("rest", "api", "streams")])
def test_an_outage_ends_its_connections_and_refuses_new_ones_until_it_is_over(parts: tuple[str, ...]) -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY]) as venue:
            api, stream = await socket(venue.api_url), await socket(f"{venue.stream_url}/ws/{TRADE}")
            await receive(stream)
            venue.set_outage(parts)
            assert await _reached(venue) == {part: part not in parts for part in ("rest", "api", "streams")}
            for part, work in (("api", lambda: ask(api, "time")), ("streams", lambda: _drain(stream))):
                if part in parts:
                    with pytest.raises(ConnectionClosed):
                        await work()
                else:
                    await work()
            venue.set_outage(())
            assert all((await _reached(venue)).values())

    async def _drain(connection: Any) -> None:
        for _ in range(50):
            await receive(connection)

    run(main())


def test_an_outage_of_an_unknown_part_is_refused() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange()) as venue:
            with pytest.raises(VenueError, match="rest, streams"):
                venue.set_outage(["fax"])

    run(main())


def test_rates_change_while_a_plan_is_in_use() -> None:
    plan = FaultPlan(1, {FaultKind.BAN: 1.0}, delays_ns={FaultKind.BAN: 7})
    plan.inject(FaultKind.STALL)
    struck = plan.take(FaultKind.BAN, "x")
    assert struck is not None
    assert struck.delay_ns == 7
    plan.set_rates({})
    assert not plan.active
    assert plan.take(FaultKind.BAN, "x") is None
    assert plan.take(FaultKind.STALL, "x") is None


def test_something_is_done_at_a_time_of_the_venue() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange) as venue:
            done: list[int] = []
            venue.at((START_MS + 60) * MS, lambda: done.append(exchange.now_ns))
            connection = await socket(f"{venue.stream_url}/ws/{TRADE}")
            while not done:
                await receive(connection)
            assert done == [(START_MS + 60) * MS]

    run(main())
