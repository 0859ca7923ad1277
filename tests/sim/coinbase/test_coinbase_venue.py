"""The simulated Coinbase Exchange as plain clients see it: `websockets` for the feed, raw HTTP for REST."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect

from sentinel.errors import VenueError
from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer, QuoteFeeLedger
from sentinel.sim.coinbase.limits import LimitConfig
from sentinel.sim.market.source import Market
from sentinel.sim.venue.account import CommissionRates
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8, format_e8
from sentinel.wire import Side
from tests.sim.scripted_market import ScriptedSource

SECRET = base64.b64encode(b"S" * 32).decode()
INSTRUMENT = Instrument("AAA-USD", "AAA", "USD", tick=E8 // 100, step=E8 // 1000)
ACCOUNTS = {"paper": {"USD": 10_000 * E8, "AAA": 10 * E8}, "other": {"USD": 10_000 * E8, "AAA": 10 * E8}}
RATES = CommissionRates(maker=E8 // 2000, taker=E8 // 1000)


class Client:
    """One REST client with a key; ``answer`` is (status, JSON, headers)."""

    def __init__(self, server: CoinbaseServer, key: str = "paper") -> None:
        self._url = server.rest_url.removeprefix("http://")
        self.key = key
        self.skew_s = 0.0

    def proof(self, text: str) -> tuple[str, str]:
        timestamp = f"{time.time() + self.skew_s:.3f}"
        digest = hmac.new(base64.b64decode(SECRET), (timestamp + text).encode(), hashlib.sha256).digest()
        return timestamp, base64.b64encode(digest).decode()

    async def answer(self, verb: str, target: str, body: Any = None, signed: bool = True) -> tuple[int, Any, dict[str, str]]:
        text = json.dumps(body) if body is not None else ""
        head = {"Host": self._url, "User-Agent": "test", "Connection": "close", "Content-Length": str(len(text))}
        if signed:
            timestamp, signature = self.proof(f"{verb}{target}{text}")
            head |= {"CB-ACCESS-KEY": self.key, "CB-ACCESS-SIGN": signature, "CB-ACCESS-TIMESTAMP": timestamp}
            head["CB-ACCESS-PASSPHRASE"] = "p"
        host, _, port = self._url.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        writer.write(f"{verb} {target} HTTP/1.1\r\n{lines}\r\n{text}".encode())
        raw = await reader.read()
        writer.close()
        first, _, payload = raw.partition(b"\r\n\r\n")
        status, *headers = first.decode().split("\r\n")
        named = dict(line.lower().split(": ", 1) for line in headers)
        return int(status.split()[1]), json.loads(payload), named

    async def place(self, **changes: Any) -> tuple[int, Any, dict[str, str]]:
        order = {"product_id": "AAA-USD", "side": "buy", "type": "limit", "price": "101", "size": "1", "client_oid": str(uuid4())}
        return await self.answer("POST", "/orders", order | changes)


Scenario = Callable[[CoinbaseServer, Client], Coroutine[Any, Any, None]]


def play(scenario: Scenario, limits: LimitConfig | None = None) -> None:
    async def run() -> None:
        def opening(market: Market) -> None:
            market.set_level(0, Side.BUY, 99 * E8, 5 * E8)
            market.set_level(0, Side.SELL, 101 * E8, 5 * E8)

        source = ScriptedSource((INSTRUMENT,), opening=[opening], start_ns=time.time_ns())
        exchange = Exchange((INSTRUMENT,), source, ACCOUNTS, ledger=QuoteFeeLedger(ACCOUNTS, RATES))
        keys = [
            CoinbaseKey("paper", "p", SECRET, "paper"),
            CoinbaseKey("other", "p", SECRET, "other"),
            CoinbaseKey("viewer", "p", SECRET, "paper", may_trade=False),
        ]
        async with CoinbaseServer(exchange, keys, limits=limits) as server:
            await scenario(server, Client(server))

    asyncio.run(asyncio.wait_for(run(), 60))


async def subscribe(socket: ClientConnection, *channels: str, client: Client | None = None) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "subscribe", "product_ids": ["AAA-USD"], "channels": list(channels)}
    if client is not None:
        timestamp, signature = client.proof("GET/users/self/verify")
        message |= {"key": client.key, "passphrase": "p", "timestamp": timestamp, "signature": signature}
    await socket.send(json.dumps(message))
    return await hear(socket)


async def hear(socket: ClientConnection, *kinds: str) -> dict[str, Any]:
    """The next message, or the next of these types."""
    while True:
        message: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 60))
        if not kinds or message["type"] in kinds:
            return message


# --- REST ------------------------------------------------------------------------------------------


def test_an_order_is_pending_at_first_and_found_by_either_id() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        oid = str(uuid4())
        status, order, _ = await client.place(client_oid=oid, size="7", price="101")
        assert (status, order["status"], order["client_oid"], order["filled_size"]) == (200, "pending", oid, "0")
        UUID(order["id"])
        for name in (order["id"], f"client:{oid}"):
            status, found, _ = await client.answer("GET", f"/orders/{name}")
            assert (status, found["status"], found["filled_size"]) == (200, "open", "5.00000000")
            assert found["executed_value"] == "505.0000000000000000"
            assert found["fill_fees"] == "0.5050000000000000"
        status, fills, _ = await client.answer("GET", f"/fills?order_id={order['id']}")
        assert [(row["size"], row["fee"], row["liquidity"], row["side"]) for row in fills] == [
            ("5.00000000", "0.5050000000000000", "T", "buy")
        ]
        status, gone, _ = await client.answer("DELETE", f"/orders/{order['id']}")
        assert (status, gone) == (200, order["id"])
        status, found, _ = await client.answer("GET", f"/orders/{order['id']}")
        assert (found["status"], found["done_reason"], found["settled"]) == ("done", "canceled", True)

    play(scenario)


def test_a_cancelled_order_that_never_traded_is_forgotten() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        _, order, _ = await client.place(price="90")
        await client.answer("DELETE", f"/orders/{order['id']}")
        assert (await client.answer("GET", f"/orders/{order['id']}"))[0] == 404
        assert (await client.answer("DELETE", f"/orders/{order['id']}"))[0] == 404
        assert (await client.answer("GET", "/orders?status=all"))[1] == []

    play(scenario)


def test_all_open_orders_of_a_profile_or_of_a_product_are_cancelled_at_once() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        _, kept, _ = await Client(server, "other").place(price="90")
        placed = {(await client.place(price=price))[1]["id"] for price in ("90", "91")}
        status, cancelled, _ = await client.answer("DELETE", "/orders?product_id=AAA-USD")
        assert (status, set(cancelled)) == (200, placed)
        assert (await client.answer("DELETE", "/orders"))[:2] == (200, [])
        _, others, _ = await Client(server, "other").answer("GET", "/orders?status=open")
        assert [row["id"] for row in others] == [kept["id"]]
        assert (await client.answer("DELETE", "/orders?product_id=NOPE-USD"))[:2] == (404, {"message": "ProductNotFound"})
        assert (await client.answer("DELETE", "/orders?Product_id=AAA-USD"))[0] == 400

    play(scenario)


def test_anybody_may_ask_for_the_time() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        status, told, _ = await client.answer("GET", "/time")
        assert status == 200
        assert abs(told["epoch"] - server.exchange.now_ns / 1e9) < 60
        assert told["iso"].endswith("Z")

    play(scenario)


def test_fee_rates_are_those_of_the_account() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        status, fees, _ = await client.answer("GET", "/fees")
        rates = server.exchange.ledger.accounts["paper"].rates
        assert status == 200
        assert (fees["maker_fee_rate"], fees["taker_fee_rate"]) == (format_e8(rates.maker), format_e8(rates.taker))

    play(scenario)


def test_accounts_see_their_own_orders_fills_and_balances() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        _, order, _ = await client.place()
        other = Client(server, "other")
        assert (await other.answer("GET", f"/orders/{order['id']}"))[0] == 404
        assert (await other.answer("GET", "/fills?product_id=AAA-USD"))[1] == []
        rows = {row["currency"]: row for row in (await client.answer("GET", "/accounts"))[1]}
        assert rows["AAA"]["balance"] == "11.0000000000000000"
        assert rows["USD"]["available"] == "9898.89900000"

    play(scenario)


@pytest.mark.parametrize(
    ("changes", "status", "text"),
    [
        ({"size": "1.0001"}, 400, "size"),
        ({"price": "100.001"}, 400, "price"),
        ({"size": "0.001"}, 400, "size"),
        ({"size": "99"}, 400, "Insufficient funds"),
        ({"side": "hold"}, 400, "side"),
        ({"product_id": "NO-SUCH"}, 404, "NotFound"),
        ({"funds": "5"}, 400, "funds"),
        ({"stp": "xx"}, 400, "stp"),
        ({"size": "-1"}, 400, "quantity"),
    ],
)
def test_an_order_outside_the_rules_is_refused_with_a_message(changes: dict[str, str], status: int, text: str) -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        found, body, _ = await client.place(**changes)
        assert (found, list(body)) == (status, ["message"])
        assert text in body["message"]

    play(scenario)


def test_requests_without_a_good_proof_are_refused() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        assert (await client.answer("GET", "/accounts", signed=False))[0] == 401
        late = Client(server)
        late.skew_s = -40
        assert (await late.answer("GET", "/accounts"))[1] == {"message": "request timestamp expired"}
        viewer = Client(server, "viewer")
        assert (await viewer.answer("GET", "/accounts"))[0] == 200
        assert (await viewer.place())[0] == 403
        assert (await client.answer("GET", "/products", signed=False))[0] == 200
        assert (await client.answer("PUT", "/orders"))[0] == 404

    play(scenario)


def test_pages_follow_the_cursor_and_hold_every_fill_once() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        for _ in range(5):
            await client.place(size="1")
        seen, after = [], ""
        while True:
            _, rows, headers = await client.answer("GET", f"/fills?product_id=AAA-USD&limit=2{after}")
            seen += [row["trade_id"] for row in rows]
            if "cb-after" not in headers:
                break
            after = f"&after={headers['cb-after']}"
        assert seen == sorted(set(seen), reverse=True)
        assert len(seen) == 5

    play(scenario)


def test_requests_beyond_the_burst_are_refused_until_time_has_passed() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        statuses = [(await client.answer("GET", "/accounts"))[0] for _ in range(5)]
        assert statuses[:3] == [200] * 3
        assert 429 in statuses
        assert (await client.answer("GET", "/fills?product_id=AAA-USD"))[0] == 200

    play(scenario, LimitConfig(private_per_s=1, private_burst=3))


def test_the_book_is_that_of_the_exchange() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        _, book, _ = await client.answer("GET", "/products/AAA-USD/book?level=2", signed=False)
        assert book["bids"] == [["99.00000000", "5.00000000", 1]]
        assert book["asks"] == [["101.00000000", "5.00000000", 1]]
        assert (await client.answer("GET", "/products/AAA-USD/book?level=9", signed=False))[0] == 400

    play(scenario)


# --- the feed --------------------------------------------------------------------------------------


def test_a_subscription_is_listed_and_begins_with_the_book() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        async with connect(server.feed_url) as socket:
            told = await subscribe(socket, "level2_batch", "matches", "heartbeat")
            assert told["type"] == "subscriptions"
            assert {row["name"] for row in told["channels"]} == {"level2_50", "matches", "heartbeat"}
            assert (await hear(socket))["type"] == "snapshot"
            beats = [await hear(socket, "heartbeat") for _ in range(2)]
            assert beats[1]["sequence"] >= beats[0]["sequence"]
            await client.place(size="2")
            trade = await hear(socket, "match")
            assert (trade["side"], trade["size"], trade["price"]) == ("sell", "2.00000000", "101.00000000")
            change = await hear(socket, "l2update")
            assert change["changes"] == [["sell", "101.00000000", "3.00000000"]]
            assert (await hear(socket, "heartbeat"))["last_trade_id"] == trade["trade_id"]

    play(scenario)


def test_the_user_channel_tells_its_owner_the_life_of_an_order_in_order() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        async with connect(server.feed_url) as mine, connect(server.feed_url) as theirs:
            await subscribe(mine, "user", client=client)
            await subscribe(theirs, "user", client=Client(server, "other"))
            _, order, _ = await client.place(size="7")
            messages = [await hear(mine) for _ in range(3)]
            assert [message["type"] for message in messages] == ["received", "match", "open"]
            sequences = [message["sequence"] for message in messages]
            assert sequences == sorted(set(sequences))
            assert messages[0]["client_oid"] == order["client_oid"]
            assert (messages[1]["taker_order_id"], messages[1]["taker_fee_rate"]) == (order["id"], "0.00100000")
            assert "maker_fee_rate" not in messages[1]
            assert messages[2]["remaining_size"] == "2.00000000"
            await client.answer("DELETE", f"/orders/client:{order['client_oid']}")
            done = await hear(mine)
            assert (done["type"], done["reason"], done["remaining_size"]) == ("done", "canceled", "2.00000000")
            await Client(server, "other").place(price="90")
            assert (await hear(theirs))["type"] == "received"

    play(scenario)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "subscribe", "product_ids": ["AAA-USD"], "channels": ["user"]},
        {"type": "subscribe", "product_ids": ["AAA-USD"], "channels": ["level2"], "key": "paper", "signature": "AAAA"},
        {"type": "subscribe", "product_ids": ["NO-SUCH"], "channels": ["matches"]},
        {"type": "subscribe", "product_ids": ["AAA-USD"], "channels": ["everything"]},
        {"type": "shout", "channels": []},
        {"type": "subscribe"},
        ["subscribe"],
        "subscribe",
    ],
)
def test_a_subscription_that_cannot_be_is_an_error(message: Any) -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        async with connect(server.feed_url) as socket:
            await socket.send(json.dumps(message))
            assert (await hear(socket))["type"] == "error"

    play(scenario)


def test_an_unsubscribed_channel_is_silent() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        async with connect(server.feed_url) as socket:
            await subscribe(socket, "matches", "heartbeat")
            await socket.send(json.dumps({"type": "unsubscribe", "product_ids": ["AAA-USD"], "channels": ["matches"]}))
            assert [row["name"] for row in (await hear(socket, "subscriptions"))["channels"]] == ["heartbeat"]
            await client.place()
            assert (await hear(socket))["type"] == "heartbeat"

    play(scenario)


def test_a_taken_port_is_named() -> None:
    async def scenario(server: CoinbaseServer, client: Client) -> None:
        port = int(server.feed_url.rpartition(":")[2])
        with pytest.raises(VenueError, match="port"):
            async with CoinbaseServer(server.exchange, port=port):
                pass

    play(scenario)


# --- settlement ------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 10**12), st.integers(1, 10**10), st.booleans())))
def test_settlement_keeps_every_asset_whole_and_takes_the_fee_in_quote(fills: list[tuple[str, int, int, bool]]) -> None:
    ledger = QuoteFeeLedger(ACCOUNTS, RATES)
    account = ledger.accounts["paper"]
    before = {asset: ledger.total(asset) for asset in ("USD", "AAA")}
    for side, price, qty, maker in fills:
        usd = account.balance("USD").free
        wire_side = Side.BUY if side == "buy" else Side.SELL
        amount, commission, asset = ledger.settle(account, INSTRUMENT, wire_side, price, qty, maker, 0)
        rate = RATES.maker if maker else RATES.taker
        assert asset == "USD"
        assert commission == -(-price * qty * rate // (E8 * E8))
        assert account.balance("USD").free - usd == (-amount if side == "buy" else amount) - commission
    assert {asset: ledger.total(asset) for asset in before} == before
