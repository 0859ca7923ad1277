"""REST over a real socket: signatures, weights, errors, and requests that are not HTTP."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode, urlsplit

import pytest

from sentinel.errors import VenueError
from sentinel.sim.venue.faults import FaultPlan
from sentinel.sim.venue.limits import LimitConfig
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.sim.venue.server import VenueServer
from tests.sim.venue.fake_exchange import FakeExchange
from tests.sim.venue.venue_client import KEY, START_MS, http, parse_http, run, sign, signed_http

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "1", "price": "1", "newClientOrderId": "a"}


def test_public_requests_are_answered_with_their_weight() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange()) as venue:
            status, headers, body = await http(venue.rest_url, "GET", "/api/v3/depth?symbol=BTCUSDT&limit=1000")
            assert (status, len(body["bids"]), headers["x-mbx-used-weight-1m"]) == (200, 1000, "50")
            status, headers, body = await http(venue.rest_url, "GET", "/api/v3/depth?symbol=BTCUSDT&limit=5000")
            assert headers["x-mbx-used-weight-1m"] == "300"
            status, headers, body = await http(venue.rest_url, "GET", "/api/v3/time")
            assert (status, START_MS <= body["serverTime"] < START_MS + 5000) == (200, True)
            _, headers, body = await http(venue.rest_url, "GET", "/api/v3/trades?symbol=BTCUSDT&limit=5000")
            assert (len(body), headers["x-mbx-used-weight-1m"]) == (1000, "326")
            assert isinstance((await http(venue.rest_url, "GET", "/api/v3/ticker/price"))[2], list)
            one = await http(venue.rest_url, "GET", "/api/v3/ticker/bookTicker?symbol=BTCUSDT")
            assert (one[2], one[1]["x-mbx-used-weight-1m"]) == ({"symbol": "BTCUSDT"}, "332")
            micro = await http(venue.rest_url, "GET", "/api/v3/time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
            assert micro[2]["serverTime"] >= START_MS * 1000
            _, _, info = await http(venue.rest_url, "GET", '/api/v3/exchangeInfo?symbols=%5B"BTCUSDT","ETHUSDT"%5D')
            assert [item["symbol"] for item in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
            assert {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000} in info[
                "rateLimits"
            ]

    run(main())


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/api/v3/depth", 400, -1102),
        ("/api/v3/depth?symbol=NONE", 400, -1121),
        ("/api/v3/depth?symbol=BTCUSDT&limit=x", 400, -1130),
        ("/api/v3/depth?symbol=BTCUSDT&symbol=ETHUSDT", 400, -1101),
        ("/api/v3/depth?symbol=BTCUSDT&speed=1", 400, -1104),
        ("/api/v3/exchangeInfo?symbols=oops", 400, -1135),
        ('/api/v3/exchangeInfo?symbols=["A","A"]', 400, -1151),
        ("/api/v3/exchangeInfo?symbols=[]&symbol=A", 400, -1128),
        ("/api/v3/nothing", 404, -1020),
        ("/api/v3/openOrders", 401, -2014),
    ],
)
def test_wrong_request_is_refused_with_its_code(target: str, status: int, code: int) -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange()) as venue:
            answer = await http(venue.rest_url, "GET", target)
            assert (answer[0], answer[2]["code"]) == (status, code)

    run(main())


def test_signed_order_is_placed_queried_and_counted() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY]) as venue:
            status, headers, body = await signed_http(venue.rest_url, "POST", "/api/v3/order", ORDER)
            assert (status, body["orderId"], headers["x-mbx-order-count-10s"]) == (200, 1, "1")
            assert headers["x-mbx-used-weight-1m"] == "0"
            query = {"symbol": "BTCUSDT", "origClientOrderId": "a"}
            assert (await signed_http(venue.rest_url, "GET", "/api/v3/order", query))[2]["orderId"] == 1
            counts = await signed_http(venue.rest_url, "GET", "/api/v3/rateLimit/order", {})
            assert [(item["interval"], item["count"]) for item in counts[2]] == [("SECOND", 1), ("DAY", 1)]
            refused = await signed_http(venue.rest_url, "POST", "/api/v3/order", ORDER)
            assert (refused[0], refused[2]["code"], refused[1]["x-mbx-order-count-10s"]) == (400, -2010, "1")
            replaced = await signed_http(venue.rest_url, "POST", "/api/v3/order/cancelReplace", {"symbol": "BTCUSDT"})
            assert (replaced[0], replaced[2]["code"], replaced[2]["data"]["cancelResult"]) == (400, -2022, "FAILURE")

    run(main())


def test_order_parameters_in_the_body_are_signed_with_the_query() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY]) as venue:
            query, body = urlencode({"timestamp": START_MS}), urlencode(ORDER)
            text = f"{body}&signature={sign(query + body)}"
            answer = await http(venue.rest_url, "POST", f"/api/v3/order?{query}", text, {"X-MBX-APIKEY": KEY.key})
            assert (answer[0], answer[2]["clientOrderId"]) == (200, "a")
            wrong = f"{body}&signature={sign(body + query)}"
            answer = await http(venue.rest_url, "POST", f"/api/v3/order?{query}", wrong, {"X-MBX-APIKEY": KEY.key})
            assert (answer[0], answer[2]["code"]) == (400, -1022)

    run(main())


def test_stale_request_and_unencoded_query_are_refused_before_the_exchange() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY]) as venue:
            late = await signed_http(venue.rest_url, "POST", "/api/v3/order", ORDER, timestamp=START_MS - 6000)
            assert (late[0], late[2]["code"]) == (400, -1021)
            query = f'symbol="X"&timestamp={START_MS}'
            answer = await http(
                venue.rest_url, "POST", f"/api/v3/order?{query}&signature={sign(query)}", headers={"X-MBX-APIKEY": KEY.key}
            )
            assert (answer[0], answer[2]["code"]) == (400, -1022)
            assert not exchange.orders

    run(main())


def test_weight_limit_answers_429_with_retry_after_and_then_bans() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), limits=LimitConfig(weight_per_minute=3)) as venue:
            for _ in range(3):
                assert (await http(venue.rest_url, "GET", "/api/v3/ping"))[0] == 200
            status, headers, body = await http(venue.rest_url, "GET", "/api/v3/ping")
            assert (status, body["code"], 0 < int(headers["retry-after"]) <= 60) == (429, -1003, True)
            for _ in range(10):
                status, headers, body = await http(venue.rest_url, "GET", "/api/v3/ping")
            assert (status, int(headers["retry-after"]) in (120, 121)) == (418, True)

    run(main())


def test_defect_inside_the_exchange_is_a_500_and_not_the_end_of_the_server() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY]) as venue:
            status, _, body = await signed_http(venue.rest_url, "GET", "/api/v3/account", {})
            assert (status, body["code"]) == (500, -1000)
            assert (await http(venue.rest_url, "GET", "/api/v3/ping"))[0] == 200

    run(main())


@pytest.mark.parametrize(
    "raw",
    [
        b"NONSENSE\r\n\r\n",
        b"PATCH / HTTP/1.1\r\n\r\n",
        b"GET / SPDY/3\r\n\r\n",
        b"GET nothing HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nbroken header\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
def test_bytes_that_are_not_http_are_refused_and_the_server_lives(raw: bytes) -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange()) as venue:
            address = urlsplit(venue.rest_url)
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(raw)
            status, _, _ = parse_http(await asyncio.wait_for(reader.read(), 60))
            assert status in (400, 431)
            assert (await http(venue.rest_url, "GET", "/api/v3/ping"))[0] == 200

    run(main())


def test_one_connection_carries_several_requests() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange()) as venue:
            address = urlsplit(venue.rest_url)
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            for _ in range(3):
                writer.write(b"GET /api/v3/ping HTTP/1.1\r\nHost: x\r\n\r\n")
                head = await reader.readuntil(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                assert await reader.readexactly(2) == b"{}"
            writer.close()

    run(main())


def test_faults_after_acceptance_leave_the_order_at_the_exchange() -> None:
    async def main() -> None:
        exchange, faults = FakeExchange(), FaultPlan()
        async with VenueServer(exchange, [KEY], faults=faults) as venue:

            async def place(name: str) -> tuple[int, object]:
                status, _, body = await signed_http(venue.rest_url, "POST", "/api/v3/order", {**ORDER, "newClientOrderId": name})
                return status, body

            faults.inject("drop_request", target="order.place")
            assert (await place("lost"))[0] == 0
            faults.inject("drop_response", target="order.place")
            assert (await place("unanswered"))[0] == 0
            faults.inject("error_after_accept", target="order.place")
            status, body = await place("unknown")
            assert (status, isinstance(body, dict) and body["code"]) == (503, -1007)
            faults.inject("close_mid_frame", target="order.place")
            await place("half")
            assert list(exchange.orders) == ["unanswered", "unknown", "half"]

    run(main())


def test_switches_of_the_simulation_are_reached_over_http() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), pace=PaceConfig(speed=1.0)) as venue:
            assert (await http(venue.rest_url, "POST", "/sim/fault?kind=drop_request&target=ping"))[0] == 200
            assert (await http(venue.rest_url, "GET", "/api/v3/ping"))[0] == 0
            status, _, body = await http(venue.rest_url, "GET", "/sim/status")
            assert (status, body["faults"]) == (200, {"drop_request": 1})
            assert (await http(venue.rest_url, "POST", "/sim/fault?kind=nonsense"))[0] == 400
            assert (await http(venue.rest_url, "POST", "/sim/fault?kind=drop_request&count=x"))[0] == 400
            assert (await http(venue.rest_url, "GET", "/sim/nothing"))[0] == 404

    run(main())


def test_taken_port_is_a_typed_error_that_names_it() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange()) as venue:
            rest_port, port = urlsplit(venue.rest_url).port, urlsplit(venue.stream_url).port
            assert rest_port is not None
            assert port is not None
            with pytest.raises(VenueError, match=f"rest_port = {rest_port}"):
                await VenueServer(FakeExchange(), rest_port=rest_port).start()
            with pytest.raises(VenueError, match=f"^port = {port}"):
                await VenueServer(FakeExchange(), port=port).start()

    run(main())
