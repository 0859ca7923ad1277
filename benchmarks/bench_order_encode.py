"""Order intent to signed bytes handed to the socket: our order path beside python-binance, ccxt and a plain aiohttp client.

    python -m pip install --target build/peers-orders -r benchmarks/peers_orders.txt     (once)
    python benchmarks/bench_order_encode.py [--orders 5000] [--runs 5] [--peers build/peers-orders]

Every client makes the same HMAC-signed limit order, with a new client order id each time, and is timed from the call until
its transport is asked to take the complete message; the transport takes it and does nothing. Ours begins with the intent's
record at the gateway and goes through the session's budget, requests in flight and SENT event. Ours, python-binance and
aiohttp speak the WebSocket API, ccxt REST, as its create_order does. "into a socket" is ours with the frame written into a
loopback connection. "Paced" sleeps 20 ms before each order, ours with a rehearsal half-way as in the daemon: between orders
the caches forget them. Before anything is timed the
clock is held still, each client's message is taken apart, its parameters must be the same as ours, and its signature must
be what the venue computes; over the WebSocket API it must be ours to the letter. Figures are medians over the runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import hmac
import json
import logging
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qsl

import uvloop
from loopback import CONTEXT, machine, take_orders

from sentinel.config import VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.gateway import Gateway
from sentinel.host.latency import new_latency_table
from sentinel.host.tuning import quiet_process
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.host.venues.link import Link
from sentinel.units import parse_e8
from sentinel.wire import Kind, OrderType, Side, TimeInForce, client_key, client_order_id, empty_slots, record_views

ORDER_TAG = "BENCHTAG"
API_KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"  # the pair of the venue's own example
SYMBOL, BASE, QUOTE, PRICE, QTY, RECV_WINDOW_MS = "BTCUSDT", "BTC", "USDT", "61837.63", "0.02", 1000
HELD_S = 1_723_161_255.412
PACE_S = 0.02
WARM_UP = 300
INSTALL = "python -m pip install --target build/peers-orders -r benchmarks/peers_orders.txt"
NO_LIMIT = 1_000_000_000


class Taker:
    """The transport: notes when it was asked to take a message, and the message."""

    def __init__(self) -> None:
        self.message: Any = None
        self.at_ns = 0

    def take(self, message: Any) -> None:
        self.at_ns = time.perf_counter_ns()
        self.message = message


class BenchClock:
    """The live clock, or one that stands still."""

    def __init__(self) -> None:
        self.held_ns = 0
        self._live = LiveClock()

    def now_ns(self) -> int:
        return self.held_ns or self._live.now_ns()


class _Events:
    def deliver(self, source: int, records: Any) -> None:
        pass


class Ours:
    """Gateway and session as the daemon has them, on a link whose transport is ``taker`` or a real one."""

    def __init__(self, clock: BenchClock, link: Link | None = None) -> None:
        self.taker = Taker()
        venue = VenueConfig(
            rest_url="http://127.0.0.1:9",
            stream_url="ws://127.0.0.1:9",
            api_url="ws://127.0.0.1:9",
            recv_window_ms=RECV_WINDOW_MS,
        )
        key = Credentials(API_KEY, SECRET)
        self._session = BinanceSpotSession(venue, [SYMBOL], key, clock, _Events(), 0, order_tag=ORDER_TAG)
        self._link = link or self._deaf_link()
        self._session._keeper.current = self._link
        self._gateway = Gateway(self._session, [SYMBOL], new_latency_table())
        limits = [("ORDERS", "SECOND", 10), ("ORDERS", "DAY", 1), ("REQUEST_WEIGHT", "MINUTE", 1)]
        self._limits = [
            {"rateLimitType": kind, "interval": unit, "intervalNum": count, "limit": NO_LIMIT, "count": 0}
            for kind, unit, count in limits
        ]
        # Any message may name the limits; this one answers nothing.
        logging.disable(logging.WARNING)
        self._answer("no request")
        logging.disable(logging.NOTSET)

    def _deaf_link(self) -> Link:
        link = Link(lambda link, payload: None, lambda link: None)
        transport: Any = SimpleNamespace(
            is_disconnected=False,
            response=SimpleNamespace(headers={}),
            underlying_transport=SimpleNamespace(get_extra_info=lambda name: None),
            send=lambda kind, message: self.taker.take(message),
        )
        link.on_ws_connected(transport)
        return link

    def _answer(self, identity: str) -> None:
        refusal = {"id": identity, "status": 400, "error": {"code": -2010, "msg": "no"}, "rateLimits": self._limits}
        self._session.on_message(self._link, json.dumps(refusal).encode())

    async def place(self, number: int) -> int:
        slots = empty_slots(2)
        views, key = record_views(slots), client_key(1, 1, number)
        for part, view in enumerate((views.intent1, views.intent2)):
            view["kind"][part], view["part"][part], view["client_key"][part] = Kind.PLACE, part, key
        views.intent1["side"][0], views.intent1["order_type"][0] = Side.BUY, OrderType.LIMIT
        views.intent1["tif"][0] = TimeInForce.IOC
        views.intent1["price"][0], views.intent1["qty"][0] = parse_e8(PRICE), parse_e8(QTY)
        begin = time.perf_counter_ns()
        self._gateway.dispatch(slots, begin)
        took = (self.taker.at_ns or time.perf_counter_ns()) - begin
        self._answer(client_order_id(key, ORDER_TAG))
        return took

    def rehearse(self) -> None:
        self._gateway.rehearse()


def order_of(number: int) -> dict[str, str]:
    """The parameters a user of a peer passes."""
    return {
        "symbol": SYMBOL,
        "side": "BUY",
        "type": "LIMIT",
        "timeInForce": "IOC",
        "quantity": QTY,
        "price": PRICE,
        "newClientOrderId": client_order_id(client_key(1, 1, number), ORDER_TAG),
        "newOrderRespType": "FULL",
        "selfTradePreventionMode": "EXPIRE_MAKER",
    }


class PythonBinance:
    """AsyncClient.ws_create_order on a connection that is up."""

    def __init__(self) -> None:
        from binance import AsyncClient

        self.taker = Taker()
        self._client = AsyncClient(API_KEY, SECRET)
        self._client.ws_api._ensure_ws_connection = self._connected
        self._client.ws_api.ws = self

    async def _connected(self) -> None:
        pass

    async def send(self, text: str) -> None:
        self.taker.take(text)
        for future in self._client.ws_api._responses.values():
            if not future.done():
                future.set_result({"result": {}})

    async def place(self, number: int) -> int:
        order = order_of(number)
        begin = time.perf_counter_ns()
        await self._client.ws_create_order(id=order["newClientOrderId"], recvWindow=RECV_WINDOW_MS, **order)
        return self.taker.at_ns - begin

    async def close(self) -> None:
        self._client.ws_api.ws = None
        await self._client.session.close()


class Ccxt:
    """binance.create_order, whose last step before the network is ``fetch``."""

    def __init__(self) -> None:
        import ccxt

        self.taker = Taker()
        options = {"recvWindow": RECV_WINDOW_MS, "crossMarginPairsData": [], "isolatedMarginPairsData": []}
        self._exchange = ccxt.binance({"apiKey": API_KEY, "secret": SECRET, "enableRateLimit": False, "options": options})
        row: dict[str, Any] = {
            "symbol": SYMBOL, "status": "TRADING", "baseAsset": BASE, "quoteAsset": QUOTE, "baseAssetPrecision": 8,
            "quotePrecision": 8, "isSpotTradingAllowed": True, "permissionSets": [["SPOT"]], "orderTypes": ["LIMIT"],
            "filters": [
                {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "1000000", "tickSize": "0.01"},
                {"filterType": "LOT_SIZE", "minQty": "0.00001", "maxQty": "9000", "stepSize": "0.00001"},
            ],
        }  # fmt: skip
        self._exchange.set_markets([self._exchange.parse_market(row)])
        self._exchange.fetch = self._fetch

    def _fetch(self, url: str, method: str = "GET", headers: Any = None, body: Any = None) -> dict[str, Any]:
        self.taker.take(body)
        return {"symbol": SYMBOL, "orderId": 1, "status": "NEW"}

    async def place(self, number: int) -> int:
        order = order_of(number)
        names = ("timeInForce", "newClientOrderId", "newOrderRespType", "selfTradePreventionMode")
        begin = time.perf_counter_ns()
        self._exchange.create_order(
            f"{BASE}/{QUOTE}", "limit", "buy", float(QTY), float(PRICE), {name: order[name] for name in names}
        )
        return self.taker.at_ns - begin


class Aiohttp:
    """A client of a few lines: parameters sorted, signed, as JSON into aiohttp's WebSocket writer."""

    def __init__(self) -> None:
        from aiohttp import WSMsgType
        from aiohttp.http import WebSocketWriter

        self.taker = Taker()
        transport: Any = SimpleNamespace(is_closing=lambda: False, write=self.taker.take)
        self._text = WSMsgType.TEXT
        self._writer = WebSocketWriter(SimpleNamespace(_drain_helper=self._drained, _paused=False), transport, use_mask=True)

    async def _drained(self) -> None:
        pass

    async def place(self, number: int) -> int:
        order = order_of(number)
        begin = time.perf_counter_ns()
        params = {**order, "recvWindow": RECV_WINDOW_MS, "timestamp": int(time.time() * 1000), "apiKey": API_KEY}
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        params["signature"] = hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest()
        request = {"id": order["newClientOrderId"], "method": "order.place", "params": params}
        await self._writer.send_frame(json.dumps(request).encode(), self._text)
        return self.taker.at_ns - begin


def text_of(message: Any) -> str:
    """A WebSocket text as it was handed over, unmasked where it is a client's frame already."""
    if isinstance(message, str):
        return message
    raw = bytes(message)
    if raw[:1] == b"{":
        return raw.decode()
    assert raw[:2] == b"\x81\xfe", "a masked text frame with a 16-bit length"
    mask, body = raw[4:8], raw[8:]
    return bytes(byte ^ mask[k % 4] for k, byte in enumerate(body)).decode()


def signed_parameters(message: Any) -> tuple[dict[str, str], str]:
    """Parameters and signature; the signature is checked the venue's way, over the WebSocket API or, as a form, REST."""
    if isinstance(message, str) and message.startswith(("symbol=", "timestamp=")):
        payload, _, signature = message.rpartition("&signature=")
        params = dict(parse_qsl(payload))
    else:
        params = {name: str(value) for name, value in json.loads(text_of(message))["params"].items()}
        signature = params.pop("signature")
        payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
        assert params.pop("apiKey") == API_KEY
    if signature != hmac.new(SECRET.encode(), payload.encode(), hashlib.sha256).hexdigest():
        raise SystemExit(f"a wrong signature: {message!r}")
    return params, signature


async def check_same(ours: Ours, clock: BenchClock, peers: dict[str, Any]) -> str:
    """All clients make the same order at the same time; returns our signature."""
    number = 7
    held_ns = int(HELD_S * 1000) * 1_000_000
    with patch("time.time", return_value=HELD_S), patch("time.time_ns", return_value=held_ns):
        clock.held_ns = held_ns
        await ours.place(number)
        clock.held_ns = 0
        mine, signature = signed_parameters(ours.taker.message)
        for name, client in peers.items():
            await client.place(number)
            params, other = signed_parameters(client.taker.message)
            if params != mine:
                raise SystemExit(f"{name} made another order: {params}, ours {mine}")
            if not isinstance(client, Ccxt) and other != signature:
                raise SystemExit(f"{name} signed differently")
    return signature


async def pause(client: Any) -> None:
    """What passes between two orders when they are rare."""
    await asyncio.sleep(PACE_S / 2)
    if isinstance(client, Ours):
        client.rehearse()
    await asyncio.sleep(PACE_S / 2)


async def measure(client: Any, orders: int, runs: int, paced: bool = False) -> list[float]:
    """p50, p99 and largest, us: medians over the runs."""
    numbers = count(1 << 20 << paced)
    for _ in range(min(WARM_UP, orders)):
        await client.place(next(numbers))
    figures = []
    for _ in range(runs):
        times = []
        for _ in range(orders):
            if paced:
                await pause(client)
            times.append(await client.place(next(numbers)) / 1e3)
        times.sort()
        figures.append((times[len(times) // 2], times[len(times) * 99 // 100], times[-1]))
    return [statistics.median(column) for column in zip(*figures, strict=True)]


def peers_at(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Clients that could be imported, and why the others could not."""
    sys.path.append(str(folder))
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for name, kind in (("python-binance", PythonBinance), ("ccxt", Ccxt), ("aiohttp", Aiohttp)):
        try:
            found[f"{name} {version(name)}"] = kind()
        except (ModuleNotFoundError, PackageNotFoundError) as error:
            missing[name] = f"not installed ({error}): {INSTALL}"
    return found, missing


async def run(options: argparse.Namespace) -> None:
    clock = BenchClock()
    peers, missing = peers_at(options.peers)
    ours = Ours(clock)
    signature = await check_same(ours, clock, peers)
    print(f"same order, same signature {signature[:16]} from all {1 + len(peers)} clients\n")
    print(f"{'us':30} {'p50':>9} {'p99':>9} {'max':>9} {'paced p50':>15} {'p99':>9}")
    mine, theirs = CONTEXT.Pipe()
    venue = CONTEXT.Process(target=take_orders, args=(theirs,), daemon=True)
    venue.start()
    link = await Link.open(f"ws://127.0.0.1:{mine.recv()}", lambda link, payload: None, lambda link: None)
    wired = Ours(clock, link)
    quiet_process()
    for name, client in {"ours": ours, "ours, into a socket": wired, **peers}.items():
        p50, p99, largest = await measure(client, options.orders, options.runs)
        slow50, slow99, _ = await measure(client, max(options.orders // 50, 1), options.runs, paced=True)
        print(f"{name:30} {p50:9.1f} {p99:9.1f} {largest:9.1f} {slow50:15.1f} {slow99:9.1f}", flush=True)
    for name, why in missing.items():
        print(f"{name:30} {'-':>9} {'-':>9} {'-':>9} {'-':>15} {'-':>9}  {why}")
    for client in peers.values():
        if isinstance(client, PythonBinance):
            await client.close()
    link.close()
    venue.join(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peers", type=Path, default=Path("build/peers-orders"), help="where the peers were installed")
    options = parser.parse_args()
    print(machine())
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run(options))


if __name__ == "__main__":
    main()
