"""The WebSocket API over a real socket: requests, user data, sessions, races and faults."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.faults import FaultPlan
from sentinel.sim.venue.limits import LimitConfig
from sentinel.sim.venue.server import VenueServer
from tests.sim.venue.fake_exchange import FakeExchange
from tests.sim.venue.venue_client import KEY, SECRET, START_MS, ask, receive, run, signed, socket

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "price": "1", "quantity": "1", "recvWindow": 60_000}


def order(name: str, **changes: Any) -> dict[str, Any]:
    return signed({**ORDER, "newClientOrderId": name, **changes})


def test_request_and_response_carry_the_same_id_and_the_limits() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY]) as venue:
            connection = await socket(venue.api_url)
            answer = await ask(connection, "v3/time", identity="x-1")
            assert (answer["id"], answer["status"], answer["result"]["serverTime"] >= START_MS) == ("x-1", 200, True)
            assert answer["rateLimits"] == [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 3}
            ]
            assert "rateLimits" not in await ask(connection, "ping", {"returnRateLimits": False}, identity=None)
            quiet = await socket(venue.api_url + "?returnRateLimits=false&timeUnit=MICROSECOND")
            answer = await ask(quiet, "time")
            assert ("rateLimits" in answer, answer["result"]["serverTime"] >= START_MS * 1000) == (False, True)

    run(main())


def test_order_is_placed_with_its_user_data_on_the_same_socket() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY]) as venue:
            connection = await socket(venue.api_url)
            subscribed = await ask(connection, "userDataStream.subscribe.signature", signed({}))
            assert subscribed["result"] == {"subscriptionId": 0}
            repeated = await ask(connection, "userDataStream.subscribe.signature", signed({}))
            assert (repeated["status"], repeated["error"]["code"]) == (400, -2035)
            await connection.send(json.dumps({"id": "o", "method": "order.place", "params": order("a")}))
            messages = [await receive(connection) for _ in range(2)]
            response = next(message for message in messages if "status" in message)
            event = next(message for message in messages if "event" in message)
            assert (response["id"], response["status"], response["result"]["clientOrderId"]) == ("o", 200, "a")
            assert [limit["count"] for limit in response["rateLimits"]] == [1, 1, 6]
            assert (event["subscriptionId"], event["event"]["x"], event["event"]["c"]) == (0, "NEW", "a")
            assert (await ask(connection, "session.subscriptions"))["result"] == [{"subscriptionId": 0}]
            assert (await ask(connection, "userDataStream.unsubscribe", {"subscriptionId": 0}))["result"] == {}
            unknown = await ask(connection, "userDataStream.unsubscribe", {"subscriptionId": 0})
            assert unknown["error"]["code"] == -2036
            assert (await ask(connection, "order.place", order("b")))["status"] == 200

    run(main())


def test_response_and_user_data_arrive_in_either_order() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY], seed=3) as venue:
            connection = await socket(venue.api_url)
            await ask(connection, "userDataStream.subscribe.signature", signed({}))
            response_first = 0
            for number in range(30):
                await connection.send(json.dumps({"id": number, "method": "order.place", "params": order(f"o{number}")}))
                messages = [await receive(connection) for _ in range(2)]
                response_first += "status" in messages[0]
            assert 5 < response_first < 25

    run(main())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", -1135),
        ("[]", -1135),
        ('{"id":1}', -1135),
        ('{"id":1,"method":5}', -1135),
        ('{"id":{},"method":"ping"}', -1135),
        ('{"id":1,"method":"ping","params":[]}', -1135),
        ("[" * 100_000, -1135),
        ('{"id":1,"method":"order.fly"}', -1020),
        ('{"id":1,"method":"depth"}', -1102),
        ('{"id":1,"method":"depth","params":{"symbol":"NONE"}}', -1121),
        ('{"id":1,"method":"ping","params":{"x":1}}', -1104),
        ('{"id":1,"method":"order.place","params":{}}', -1102),
        ('{"id":1,"method":"userDataStream.subscribe"}', -1002),
    ],
)
def test_wrong_request_is_answered_with_its_code_and_the_session_lives(text: str, code: int) -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY]) as venue:
            connection = await socket(venue.api_url)
            await connection.send(text)
            answer = await receive(connection)
            assert (400 <= answer["status"] < 500, answer["error"]["code"]) == (True, code)
            assert (await ask(connection, "ping"))["status"] == 200

    run(main())


def test_decimal_numbers_are_signed_and_read_exactly_as_written() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY]) as venue:
            connection = await socket(venue.api_url)
            params = order("a", price="0.10")
            text = json.dumps(params).replace('"0.10"', "0.10")
            await connection.send('{"id":1,"method":"order.place","params":' + text + "}")
            assert (await receive(connection))["status"] == 200

    run(main())


def test_signature_key_time_and_permission_are_checked_before_the_exchange() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        reader = ApiKey("reader", SECRET, "paper", permissions=frozenset({"USER_DATA"}))
        async with VenueServer(exchange, [KEY, reader]) as venue:
            connection = await socket(venue.api_url)

            async def refusal(params: dict[str, Any]) -> tuple[int, int]:
                answer = await ask(connection, "order.place", params)
                return answer["status"], answer["error"]["code"]

            assert await refusal({**order("a"), "price": "2"}) == (400, -1022)
            assert await refusal(order("a", apiKey="unknown")) == (401, -2015)
            assert await refusal(order("a", apiKey="reader")) == (401, -2015)
            assert await refusal(order("a", timestamp=START_MS - 70_000)) == (400, -1021)
            assert await refusal(order("a", timestamp=START_MS + 70_000)) == (400, -1021)
            assert await refusal(order("a", timestamp="soon")) == (400, -1102)
            assert not exchange.orders

    run(main())


def test_request_that_grows_stale_on_its_way_is_refused_at_the_matching_engine() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY], latency_ns=50_000_000, jitter_ns=0) as venue:
            connection = await socket(venue.api_url)
            server_ms = (await ask(connection, "time"))["result"]["serverTime"]
            answer = await ask(connection, "order.place", order("a", timestamp=server_ms, recvWindow=40))
            assert (answer["status"], answer["error"]["code"]) == (400, -1021)
            assert not exchange.orders

    run(main())


def test_order_limit_answers_429_with_the_time_to_retry() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY], limits=LimitConfig(orders_per_10s=2)) as venue:
            connection = await socket(venue.api_url)
            answers = [await ask(connection, "order.place", order(f"o{number}")) for number in range(3)]
            assert [answer["status"] for answer in answers] == [200, 200, 429]
            error = answers[2]["error"]
            assert error["code"] == -1015
            assert error["data"]["serverTime"] < error["data"]["retryAfter"] <= error["data"]["serverTime"] + 10_000
            market = await ask(connection, "order.place", order("m", type="MARKET"))
            assert market["error"]["code"] == -1015

    run(main())


def test_cancel_replace_above_the_order_limit_can_still_cancel() -> None:
    async def main() -> None:
        exchange = FakeExchange()
        async with VenueServer(exchange, [KEY], limits=LimitConfig(orders_per_10s=1)) as venue:
            connection = await socket(venue.api_url)
            await ask(connection, "order.place", order("a"))
            params = {**ORDER, "cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": "a"}
            refused = await ask(connection, "order.cancelReplace", signed(params))
            assert (refused["status"], refused["error"]["code"], list(exchange.orders)) == (429, -1015, ["a"])
            params["orderRateLimitExceededMode"] = "CANCEL_ONLY"
            half = await ask(connection, "order.cancelReplace", signed(params))
            assert (half["status"], half["error"]["code"]) == (409, -2021)
            assert half["error"]["data"]["cancelResult"] == "SUCCESS"
            assert half["error"]["data"]["newOrderResponse"]["code"] == -1015
            assert not exchange.orders

    run(main())


def test_faults_lose_delay_double_and_falsify_responses_but_not_orders() -> None:
    async def main() -> None:
        exchange, faults = FakeExchange(), FaultPlan()
        async with VenueServer(exchange, [KEY], faults=faults) as venue:
            connection = await socket(venue.api_url)

            async def place(name: str) -> None:
                await connection.send(json.dumps({"id": name, "method": "order.place", "params": order(name)}))

            faults.inject("drop_request", target="order.place")
            await place("lost")
            faults.inject("drop_response", target="order.place")
            await place("unanswered")
            faults.inject("delay_response", target="order.place", delay_ns=50_000_000)
            await place("late")
            await place("next")
            assert [(await receive(connection))["id"] for _ in range(2)] == ["next", "late"]
            faults.inject("duplicate_response", target="order.place")
            await place("twice")
            assert [(await receive(connection))["id"] for _ in range(2)] == ["twice", "twice"]
            faults.inject("error_after_accept", target="order.place")
            await place("unknown")
            answer = await receive(connection)
            assert (answer["status"], answer["error"]["code"]) == (503, -1007)
            faults.inject("reset_after_accept", target="order.place")
            await place("reset")
            with pytest.raises(ConnectionClosed):
                await receive(connection)
            assert list(exchange.orders) == ["unanswered", "late", "next", "twice", "unknown", "reset"]

    run(main())


def test_a_logon_session_needs_no_key_per_request_until_the_key_is_revoked() -> None:
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = ApiKey("edkey", public.decode(), "paper", "ED25519")

    def logon(name: str) -> dict[str, Any]:
        payload = f"apiKey={name}&timestamp={START_MS}"
        return {"apiKey": name, "timestamp": START_MS, "signature": base64.b64encode(private.sign(payload.encode())).decode()}

    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY, key]) as venue:
            connection = await socket(venue.api_url)
            refused = await ask(connection, "session.logon", signed({}))
            assert (refused["id"], refused["status"], refused["error"]["code"]) == (1, 400, -4056)
            forged = {**logon("edkey"), "signature": base64.b64encode(bytes(64)).decode()}
            assert (await ask(connection, "session.logon", forged))["error"]["code"] == -1022
            unready = await ask(connection, "userDataStream.subscribe")
            assert (unready["status"], unready["error"]["code"]) == (401, -1002)
            assert (await ask(connection, "session.status"))["result"]["apiKey"] is None
            status = (await ask(connection, "session.logon", logon("edkey")))["result"]
            assert (status["apiKey"], status["userDataStream"]) == ("edkey", False)
            assert (await ask(connection, "userDataStream.subscribe"))["result"] == {"subscriptionId": 0}
            answer = await ask(connection, "order.status", {"symbol": "BTCUSDT", "origClientOrderId": "x", "timestamp": START_MS})
            assert answer["error"]["code"] == -2013
            out = (await ask(connection, "session.logout"))["result"]
            assert (out["apiKey"], out["userDataStream"]) == (None, False)
            await ask(connection, "session.logon", logon("edkey"))
            venue.gateway.keys.revoke("edkey")
            answer = await ask(connection, "openOrders.status", {"timestamp": START_MS})
            assert (answer["id"], answer["status"], answer["error"]["code"]) == (None, 401, -2015)
            assert (await ask(connection, "session.status"))["result"]["apiKey"] is None
            unsigned = await ask(connection, "openOrders.status", {"timestamp": START_MS})
            assert (unsigned["id"], unsigned["status"], unsigned["error"]["code"]) == (1, 400, -1102)

    run(main())


@pytest.mark.parametrize("method", ["session.status", "userDataStream.subscribe"])
def test_what_speaks_for_a_revoked_key_ends_the_session(method: str) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    private = ed25519.Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    async def main() -> None:
        async with VenueServer(FakeExchange(), [ApiKey("edkey", public.decode(), "paper", "ED25519")]) as venue:
            connection = await socket(venue.api_url)
            signature = base64.b64encode(private.sign(f"apiKey=edkey&timestamp={START_MS}".encode())).decode()
            params = {"apiKey": "edkey", "timestamp": START_MS, "signature": signature}
            assert (await ask(connection, "session.logon", params))["status"] == 200
            venue.gateway.keys.revoke("edkey")
            assert (await ask(connection, "time"))["status"] == 200
            answer = await ask(connection, method)
            assert (answer["id"], answer["status"], answer["error"]["code"]) == (None, 401, -2015)
            assert (await ask(connection, "session.logon", params))["error"]["code"] == -2015

    run(main())


def test_a_banned_address_cannot_open_a_session() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange(), [KEY]) as venue:
            venue.gateway.weights("127.0.0.1").ban(venue.exchange.now_ns)
            with pytest.raises(Exception, match="HTTP 418"):
                await socket(venue.api_url)

    run(main())


def test_fragmented_request_is_one_message() -> None:
    async def main() -> None:
        async with VenueServer(FakeExchange()) as venue:
            connection = await socket(venue.api_url)
            await connection.send(['{"id":1,', '"method":', '"ping"}'])
            assert (await receive(connection))["status"] == 200

    run(main())


def test_user_data_follows_only_its_account() -> None:
    async def main() -> None:
        other = ApiKey("other", SECRET, "someone")
        async with VenueServer(FakeExchange(), [KEY, other]) as venue:
            mine, theirs = await socket(venue.api_url), await socket(venue.api_url)
            await ask(mine, "userDataStream.subscribe.signature", signed({}))
            await ask(theirs, "userDataStream.subscribe.signature", signed({"apiKey": "other"}))
            trader = await socket(venue.api_url)
            assert (await ask(trader, "order.place", order("a")))["status"] == 200
            assert (await receive(mine))["event"]["c"] == "a"
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(theirs.recv(), 0.1)

    run(main())
