"""Loopback WebSocket to parsed record: our feed beside websockets + orjson and picows + msgspec.

    python benchmarks/bench_websocket.py [--rate 50000] [--seconds 4] [--runs 3]

A sender in another process writes 180-byte trades whose trade id is the monotonic clock at the moment
of sending. Each receiver turns every message into integers and reads the clock when the record is there.
"paced" sends what is due at --rate, as it becomes due; "flood" sends 64 frames a write as fast as the
receiver takes them. Figures are medians over the runs. All receivers must see every message, in order.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import multiprocessing
import os
import platform
import socket
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import picows
import uvloop
import websockets
from numba import njit

from sentinel.config import FeedConfig, VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.feeds.binance_spot import BinanceSpotFeed
from sentinel.host.monotonic import monotonic_ns
from sentinel.native import JIT
from sentinel.units import parse_e8
from sentinel.wire import Kind

WARM_UP = 2_000
FRAMES_PER_WRITE = 64
_CONTEXT = multiprocessing.get_context("spawn")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def frame_parts() -> tuple[bytes, bytes]:
    """A trade frame around its 16-digit trade id."""
    now = time.time_ns() // 1_000_000
    head = b'{"stream":"btcusdt@trade","data":{"e":"trade","E":%d,"s":"BTCUSDT","t":' % now
    tail = b',"p":"61837.63000000","q":"0.02000000","T":%d,"m":true,"M":true}}' % now
    size = len(head) + 16 + len(tail)
    return b"\x81\x7e" + size.to_bytes(2, "big") + head, tail


def send_trades(port_pipe: Any, rate: int, total: int) -> None:
    """Accept one WebSocket and send ``total`` trades: at ``rate`` a second, or at once for 0."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port_pipe.send(server.getsockname()[1])
        peer, _ = server.accept()
    request = b""
    while b"\r\n\r\n" not in request:
        request += peer.recv(4096)
    key = next(line.split(b":")[1].strip() for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + _GUID).digest())
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
    peer.sendall(upgrade % accept)
    time.sleep(0.2)
    head, tail = frame_parts()
    base = 10**15  # keeps 16 digits
    clock = time.monotonic_ns
    sent = 0
    begin = clock()
    while sent < total:
        now = clock()
        due = min(total, (now - begin) * rate // 1_000_000_000) if rate else total
        count = min(due - sent, FRAMES_PER_WRITE)
        if count <= 0:
            continue
        # Distinct and rising ids, so that no receiver takes two for one; the error is below 64 ns.
        peer.sendall(b"".join([head + b"%d" % (base + now + k) + tail for k in range(count)]))
        sent += count
    peer.settimeout(30)
    try:
        while peer.recv(4096):
            pass
    except OSError:
        pass
    peer.close()


@njit(**JIT)
def stamp(records: Any, out: Any, cursor: int) -> int:
    """Latency of each trade among ``records`` into ``out``; the new cursor."""
    now = monotonic_ns() + 10**15
    for i in range(len(records)):
        if records[i, 3] & 0xFF == Kind.TRADE.value:
            out[cursor] = now - records[i, 0]
            cursor += 1
    return cursor


class Latencies:
    """A sink that reads the clock when the record is there."""

    def __init__(self, total: int) -> None:
        self.out = np.zeros(total, np.int64)
        self.count = 0
        self.first = self.last = 0
        self.done = asyncio.Event()

    def deliver(self, source: int, records: np.ndarray) -> None:
        self.advance(stamp(records, self.out, self.count))

    def add(self, trade_id: int) -> None:
        now = time.monotonic_ns()
        self.out[self.count] = now + 10**15 - trade_id
        self.advance(self.count + 1)

    def advance(self, count: int) -> None:
        if count and not self.first:
            self.first = time.monotonic_ns()
        self.count = count
        if count == len(self.out):
            self.last = time.monotonic_ns()
            self.done.set()


async def ours(port: int, seen: Latencies) -> None:
    venue = VenueConfig(stream_url=f"ws://127.0.0.1:{port}", rest_url="http://127.0.0.1:9")
    feed = BinanceSpotFeed(venue, FeedConfig(symbols=["BTCUSDT"]), seen, LiveClock())
    await feed.start()
    await seen.done.wait()
    counters = feed.counters
    await feed.stop()
    assert (counters["malformed"], counters["duplicates"]) == (0, 0)


async def websockets_orjson(port: int, seen: Latencies) -> None:
    from orjson import loads

    async with websockets.connect(f"ws://127.0.0.1:{port}", compression=None, max_queue=None) as connection:
        async for message in connection:
            data = loads(message)["data"]
            record = (data["t"], parse_e8(data["p"]), parse_e8(data["q"]), data["T"] * 1_000_000, data["m"])
            seen.add(record[0])
            if seen.done.is_set():
                return


class Trade(msgspec.Struct):
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class Message(msgspec.Struct):
    data: Trade


async def picows_msgspec(port: int, seen: Latencies) -> None:
    decode = msgspec.json.Decoder(Message).decode

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                data = decode(frame.get_payload_as_memoryview()).data
                record = (data.t, parse_e8(data.p), parse_e8(data.q), data.T * 1_000_000, data.m)
                seen.add(record[0])

    transport, _ = await picows.ws_connect(Listener, f"ws://127.0.0.1:{port}/")
    await seen.done.wait()
    transport.disconnect()


Receiver = Callable[[int, Latencies], Awaitable[None]]


def run(receiver: Receiver, use_uvloop: bool, rate: int, total: int) -> tuple[float, float, float]:
    """(p50 us, p99 us, million messages a second) of one receiver and one sender."""
    ours_end, theirs = _CONTEXT.Pipe()
    sender = _CONTEXT.Process(target=send_trades, args=(theirs, rate, total))
    sender.start()
    port = ours_end.recv()

    async def main() -> Latencies:
        seen = Latencies(total)
        await asyncio.wait_for(receiver(port, seen), 120)
        return seen

    if use_uvloop:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            seen = runner.run(main())
    else:
        seen = asyncio.run(main())
    sender.join(10)
    settled = seen.out[min(WARM_UP, total // 10) :] / 1e3
    return float(np.percentile(settled, 50)), float(np.percentile(settled, 99)), total / (seen.last - seen.first) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--flood", type=int, default=500_000, help="messages of a flood")
    options = parser.parse_args()
    cpu = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{cpu[0] if cpu else platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(f"picows {picows.__version__}, websockets {websockets.__version__}, uvloop {uvloop.__version__}")
    print(f"command: {' '.join(sys.argv)}")
    stamp(np.zeros((1, 8), np.int64), np.zeros(1, np.int64), 0)
    receivers: list[tuple[str, Receiver, bool]] = [
        ("ours (uvloop)", ours, True),
        ("ours (asyncio)", ours, False),
        ("picows + msgspec (uvloop)", picows_msgspec, True),
        ("websockets + orjson (uvloop)", websockets_orjson, True),
    ]
    print(f"\n{'':32} {options.rate:>8} msg/s: p50 us {'p99 us':>9} {'flood M msg/s':>15}")
    for name, receiver, use_uvloop in receivers:
        paced = [run(receiver, use_uvloop, options.rate, int(options.rate * options.seconds)) for _ in range(options.runs)]
        flood = [run(receiver, use_uvloop, 0, options.flood)[2] for _ in range(options.runs)]
        p50, p99 = (statistics.median(figure[k] for figure in paced) for k in (0, 1))
        print(f"{name:32} {p50:22.1f} {p99:9.1f} {statistics.median(flood):15.3f}")


if __name__ == "__main__":
    main()
