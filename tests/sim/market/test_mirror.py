"""Following a live exchange: here another server on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from sentinel.errors import FeedError
from sentinel.sim.market import mirror
from sentinel.sim.market.mirror import MirrorSource
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8

COIN = Instrument("XUSDT", "X", "USDT", tick=E8 // 100, step=E8, min_qty=E8)
SNAPSHOT = {"lastUpdateId": 20, "bids": [["0.99", "50"]], "asks": [["1.01", "50"]]}


@contextmanager
def rest_server(answers: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(answers.get(self.path.split("?")[0], {})).encode()
            self.send_response(200 if self.path.split("?")[0] in answers else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def depth(first: int, last: int, bids: list[list[str]]) -> str:
    data = {"e": "depthUpdate", "E": 1, "s": "XUSDT", "U": first, "u": last, "b": bids, "a": []}
    return json.dumps({"stream": "xusdt@depth@100ms", "data": data})


TICKER = json.dumps(
    {"stream": "xusdt@bookTicker", "data": {"u": 22, "s": "XUSDT", "b": "0.99", "B": "40", "a": "1.01", "A": "50"}}
)


async def until(condition: Callable[[], bool], exchange: Exchange) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline, "the mirror did not get there"
        await asyncio.sleep(0.01)
        exchange.advance(time.time_ns())


def test_a_live_market_is_relayed_and_paper_orders_trade_against_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "SNAPSHOT_PAUSE_S", 0.01)
    monkeypatch.setattr(mirror, "BACKOFF_S", (0.05,))
    paths: list[str] = []
    connections: list[ServerConnection] = []

    async def talk(connection: ServerConnection) -> None:
        assert connection.request is not None
        paths.append(connection.request.path)
        connections.append(connection)
        for message in ("not json", '{"stream": 5, "data": 6}', depth(18, 21, [["0.98", "7"]]), TICKER):
            await connection.send(message)
        await connection.send(json.dumps({"stream": "yusdt@trade", "data": {"s": "YUSDT"}}))
        await connection.send(json.dumps({"stream": "xusdt@trade", "data": {"e": "trade", "s": "XUSDT", "p": "-1"}}))
        await connection.wait_closed()

    async def scenario(rest_url: str) -> None:
        async with serve(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            source = await MirrorSource.open_live(f"ws://127.0.0.1:{port}", rest_url, ["XUSDT"], ["XUSDT"])
            exchange = Exchange(source.instruments, source, {"a": {"USDT": 100 * E8}})
            seen: list[tuple[str, dict[str, Any]]] = []
            exchange.publish = lambda stream, payload: seen.append((stream, payload))
            woken: list[bool] = []
            source.notify = lambda: woken.append(True)
            with pytest.raises(ApiError):
                exchange.depth("XUSDT")
            following = asyncio.create_task(source.follow())
            await until(lambda: source.counters["malformed"] == 3 and len(seen) == 2 and _synced(exchange), exchange)
            assert [stream for stream, _ in seen] == ["xusdt@depth@100ms", "xusdt@bookTicker"]
            assert woken
            assert source.counters["unknown"] == 1
            assert exchange.depth("XUSDT")["lastUpdateId"] == 21
            assert exchange.depth("XUSDT")["bids"] == [["0.99000000", "50.00000000"], ["0.98000000", "7.00000000"]]
            order = {"symbol": "XUSDT", "side": "BUY", "type": "MARKET", "quantity": "10"}
            assert exchange.place("a", order)["fills"][0]["price"] == "1.01000000"
            await connections[0].close()
            await until(lambda: source.counters["reconnects"] == 1 and len(paths) == 2, exchange)
            following.cancel()
            with pytest.raises(asyncio.CancelledError):
                await following

    with rest_server({"/api/v3/exchangeInfo": {"symbols": [COIN.exchange_info()]}, "/api/v3/depth": SNAPSHOT}) as (url, asked):
        asyncio.run(scenario(url))
    assert paths[0] == "/stream?streams=xusdt@trade/xusdt@bookTicker/xusdt@depth@100ms"
    assert asked[0] == "/api/v3/exchangeInfo?symbols=%5B%22XUSDT%22%5D"
    assert asked[1] == "/api/v3/depth?symbol=XUSDT&limit=1000"


def _synced(exchange: Exchange) -> bool:
    try:
        return exchange.depth("XUSDT")["lastUpdateId"] == 21
    except ApiError:
        return False


def test_symbols_the_exchange_lacks_are_named() -> None:
    with rest_server({"/api/v3/exchangeInfo": {"symbols": []}}) as (url, _), pytest.raises(FeedError, match="XUSDT"):
        asyncio.run(MirrorSource.open_live("ws://127.0.0.1:1", url, ["XUSDT"]))


def test_an_unreachable_exchange_is_named() -> None:
    with rest_server({}) as (url, _), pytest.raises(FeedError, match="rest_url"):
        asyncio.run(MirrorSource.open_live("ws://127.0.0.1:1", url, ["XUSDT"]))


def test_messages_beyond_the_queue_are_counted_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "MAX_QUEUED", 3)
    source = MirrorSource("ws://127.0.0.1:1", "http://127.0.0.1:1", [COIN])
    for _ in range(5):
        source._receive(TICKER)
    assert (source.counters["messages"], source.counters["dropped"]) == (3, 2)
