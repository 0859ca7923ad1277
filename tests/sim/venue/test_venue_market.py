"""The venue with the real exchange behind it: a seeded market and a recorded one, over sockets."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from sentinel.sim.market.capture_source import CaptureSource
from sentinel.sim.market.mirror import MirrorSource
from sentinel.sim.market.model import demo_market
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.keepalive import KeepaliveConfig
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.sim.venue.server import VenueServer
from tests.sim.venue.test_venue_lockstep import Peer, confirm, peer, step
from tests.sim.venue.venue_client import KEY, ask, http, receive, run, signed, socket

E8 = 10**8
S = 10**9


def demo_exchange(seed: int = 1) -> Exchange:
    source = demo_market(seed, minutes=5.0)
    return Exchange(source.instruments, source, {"paper": {"USDT": 100_000 * E8, "NOVA": 50_000 * E8}}, seed)


async def drive(venue: VenueServer, link: Any, peers: list[Peer], until_ns: int, orders: dict[int, dict[str, Any]]) -> None:
    """Follow the venue up to ``until_ns``, sending ``orders`` (by step) on the last peer."""
    announced = await step(link, *peers)
    while announced["now_ns"] < until_ns:
        message = orders.get(announced["step"])
        if message is not None:
            await peers[-1].send(message)
        await confirm(link, announced["step"], *peers)
        announced = await step(link, *peers)


def ioc(name: str, side: str, price: str, now_ns: int) -> dict[str, Any]:
    params = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "IOC", "price": price, "quantity": "0.01"}
    timing = {"timestamp": now_ns // 10**6, "recvWindow": 60_000}
    return {"id": name, "method": "order.place", "params": signed({**params, "newClientOrderId": name, **timing})}


async def _trade_on_demo_market(seed: int) -> list[Any]:
    exchange = demo_exchange(seed)
    start_ns = exchange.now_ns
    async with VenueServer(exchange, [KEY], lockstep=True, seed=seed) as venue:
        _, _, book = await http(venue.rest_url, "GET", "/api/v3/depth?symbol=BTCUSDT&limit=5")
        price = book["asks"][0][0]
        far = f"{float(price) * 1.01:.2f}"
        stream = await peer(f"{venue.stream_url}/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms")
        api = await peer(venue.api_url)
        subscribe = signed({"timestamp": start_ns // 10**6})
        await api.send({"id": 0, "method": "userDataStream.subscribe.signature", "params": subscribe})
        await api.catch_up(1)
        link = await socket(venue.lockstep_url)
        orders = {10: ioc("buy", "BUY", far, start_ns), 40: ioc("none", "BUY", f"{float(price) * 0.99:.2f}", start_ns)}
        await drive(venue, link, [stream, api], start_ns + 5 * S, orders)
        return [stream.received, api.received]


def test_ioc_order_on_the_demo_market_is_filled_reported_and_accounted() -> None:
    async def main() -> None:
        market, mine = await _trade_on_demo_market(1)
        assert {message["stream"] for message in market} == {
            "btcusdt@trade",
            "btcusdt@bookTicker",
            "btcusdt@depth@100ms",
        }
        responses = {message["id"]: message for message in mine if "status" in message}
        assert responses["buy"]["result"]["status"] == "FILLED"
        assert responses["none"]["result"]["status"] == "EXPIRED"
        assert responses["none"]["result"]["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
        events = [message["event"] for message in mine if "event" in message]
        reports = [(event["c"], event["x"]) for event in events if event["e"] == "executionReport"]
        assert reports[0] == ("buy", "NEW")
        assert {report for report in reports if report[0] == "buy"} == {("buy", "NEW"), ("buy", "TRADE")}
        assert [report for report in reports if report[0] == "none"] == [("none", "NEW"), ("none", "EXPIRED")]
        assert any(event["e"] == "outboundAccountPosition" for event in events)

    run(main())


def test_one_seed_gives_one_session_frame_by_frame() -> None:
    async def main() -> None:
        first, second = await _trade_on_demo_market(2), await _trade_on_demo_market(2)
        assert first == second
        assert (await _trade_on_demo_market(3))[0] != first[0]

    run(main())


class _Book:
    """A plain depth book by the venue's own procedure."""

    def __init__(self, snapshot: dict[str, Any]) -> None:
        self.last = snapshot["lastUpdateId"]
        self.sides: dict[str, dict[str, str]] = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}

    def apply(self, event: dict[str, Any]) -> bool:
        """Returns False for an event older than the book."""
        if event["u"] <= self.last:
            return False
        assert event["U"] <= self.last + 1, "gap"
        for side, levels in self.sides.items():
            for price, qty in event[side]:
                if float(qty) == 0.0:
                    levels.pop(price, None)
                else:
                    levels[price] = qty
        self.last = event["u"]
        return True

    def top(self) -> tuple[tuple[str, str], tuple[str, str]]:
        bid, ask = max(self.sides["b"], key=float), min(self.sides["a"], key=float)
        return (bid, self.sides["b"][bid]), (ask, self.sides["a"][ask])


def test_capture_served_over_sockets_keeps_the_book_equal_to_the_book_ticker(shared_data: Path) -> None:
    path = shared_data / "captures" / "binance_spot_btcusdt_20240808.ndjsonl.zst"

    async def main() -> None:
        source = CaptureSource(path)
        exchange = Exchange(source.instruments, source, {"paper": {}}, 0)
        until_ns = exchange.now_ns + 60 * S
        async with VenueServer(exchange, lockstep=True, pace=PaceConfig(quantum_ns=20_000_000)) as venue:
            stream = await peer(f"{venue.stream_url}/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms")
            _, _, snapshot = await http(venue.rest_url, "GET", "/api/v3/depth?symbol=BTCUSDT&limit=5000")
            link = await socket(venue.lockstep_url)
            await drive(venue, link, [stream], until_ns, {})
        book, checked, depth_events = _Book(snapshot), 0, 0
        tickers: list[tuple[int, Any]] = []
        for message in stream.received:
            data = message["data"]
            if message["stream"].endswith("@bookTicker"):
                tickers.append((data["u"], ((data["b"], data["B"]), (data["a"], data["A"]))))
            elif message["stream"].endswith("@depth@100ms") and book.apply(data):
                depth_events += 1
                known = [top for update_id, top in tickers[-2000:] if update_id <= book.last]
                if known:
                    checked += 1
                    assert book.top() == known[-1]
        assert depth_events > 550
        assert checked >= depth_events - 1

    run(main())


def test_paper_order_on_a_mirrored_exchange_is_filled_at_its_price_and_never_reaches_it() -> None:
    async def main() -> None:
        live_exchange = demo_exchange()
        async with VenueServer(live_exchange, pace=PaceConfig(speed=1.0)) as live:
            source = await MirrorSource.open_live(live.stream_url, live.rest_url, ["BTCUSDT"], ["BTCUSDT"])
            exchange = Exchange(source.instruments, source, {"paper": {"USDT": 100_000 * E8}}, 0)
            async with VenueServer(exchange, [KEY]) as venue:
                source.notify = venue.wake
                follower = asyncio.create_task(source.follow())
                stream = await socket(f"{venue.stream_url}/ws/btcusdt@bookTicker")
                ticker = await receive(stream)
                api = await socket(venue.api_url)
                message = ioc("buy", "BUY", f"{float(ticker['a']) * 1.01:.2f}", exchange.now_ns)
                answer = await ask(api, message["method"], message["params"])
                follower.cancel()
                assert answer["result"]["status"] == "FILLED"
                assert abs(float(answer["result"]["fills"][0]["price"]) / float(ticker["a"]) - 1) < 0.005
            assert not live_exchange.open_orders("paper", {})
            assert live_exchange.my_trades("paper", {"symbol": "BTCUSDT"}) == []

    run(main())


def test_picows_reads_the_same_stream_and_answers_pings() -> None:
    texts: list[str] = []

    class Listener(WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.TEXT:
                texts.append(frame.get_payload_as_ascii_text())

    async def main() -> None:
        exchange, keepalive = demo_exchange(), KeepaliveConfig(ping_interval_ns=S, pong_timeout_ns=60 * S)
        start_ns = exchange.now_ns
        async with VenueServer(exchange, pace=PaceConfig(speed=20.0), keepalive=keepalive) as venue:
            transport, _ = await ws_connect(Listener, f"{venue.stream_url}/ws/btcusdt@bookTicker")
            while exchange.now_ns < start_ns + 90 * S:
                await asyncio.sleep(0.01)
            assert len(venue.status()["connections"]) == 1
            ids = [json.loads(text)["u"] for text in texts]
            assert len(ids) > 5
            assert ids == sorted(set(ids))
            transport.disconnect()

    run(main())
