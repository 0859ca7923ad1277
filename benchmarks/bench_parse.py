"""Exchange JSON to 64-byte records: our parser beside msgspec and orjson, nanoseconds a message.

    python benchmarks/bench_parse.py [--messages 8192] [--runs 25]

Figures are per message, over reads of 64 messages (p50 and p99 of the reads; median over the runs), all
in one process on one core. "decode" makes the library's own objects and stops; "to integers" also
turns times, ids and decimal strings into exact integers, which is what a record needs. The rows marked =
produced records with the same hash as ours: only those do the same work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from sentinel.host.feeds.stream import MarketStream
from sentinel.host.feeds.workspace import Workspace
from sentinel.units import parse_e8
from sentinel.wire import Kind, MarketFlag, Side, Venue

SYMBOLS = [f"COIN{k}USDT" for k in range(500)]
READ = 64
T_RECV = 1_723_161_255_350_000_000
VENUE = int(Venue.BINANCE_SPOT) << 32


class Trade(msgspec.Struct):
    e: str
    E: int
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class TradeMessage(msgspec.Struct):
    stream: str
    data: Trade


class Ticker(msgspec.Struct):
    u: int
    s: str
    b: str
    B: str
    a: str
    A: str


class TickerMessage(msgspec.Struct):
    stream: str
    data: Ticker


class Depth(msgspec.Struct):
    e: str
    E: int
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class DepthMessage(msgspec.Struct):
    stream: str
    data: Depth


def make_messages(kind: str, count: int) -> list[bytes]:
    """Messages as the venue prints them, over 500 symbols."""
    random = np.random.default_rng(7)
    messages = []
    last_ids = random.integers(1_000_000, 5_000_000_000, 500).tolist()
    levels_of_price = np.exp(random.uniform(np.log(0.001), np.log(70_000), 500)).tolist()
    for k in range(count):
        index = int(random.integers(500))
        symbol = SYMBOLS[index]
        last_ids[index] += 1
        price = f"{levels_of_price[index] * random.uniform(0.99, 1.01):.8f}"
        higher = f"{float(price) + 0.01:.8f}"
        qty = f"{random.uniform(0.001, 500):.8f}"
        now = 1_723_161_255_000 + k // 200
        data: dict[str, Any]
        if kind == "trade":
            name = "trade"
            data = {"e": "trade", "E": now, "s": symbol, "t": last_ids[index], "p": price, "q": qty, "T": now - 1}
            data |= {"m": bool(k & 1), "M": True}
        elif kind == "bookTicker":
            name = "bookTicker"
            data = {"u": last_ids[index], "s": symbol, "b": price, "B": qty, "a": higher, "A": qty}
        else:
            name = "depth@100ms"
            levels = [[f"{float(price) + j:.8f}", qty] for j in range(10)]
            data = {"e": "depthUpdate", "E": now, "s": symbol, "U": last_ids[index], "u": last_ids[index]}
            data |= {"b": levels, "a": levels}
        body = {"stream": f"{symbol.lower()}@{name}", "data": data}
        messages.append(json.dumps(body, separators=(",", ":")).encode())
    return messages


def trade_row(s: int, t: Any, p: str, q: str, trade_time: Any, maker: bool) -> tuple[int, ...]:
    head = Kind.TRADE | (Side.SELL if maker else Side.BUY) << 8 | VENUE | s << 48
    return t, T_RECV, trade_time * 1_000_000, head, parse_e8(p), parse_e8(q), 0, 0


def ticker_row(s: int, u: int, b: str, b_qty: str, a: str, a_qty: str) -> tuple[int, ...]:
    return u, T_RECV, 0, Kind.BBO | VENUE | s << 48, parse_e8(b), parse_e8(b_qty), parse_e8(a), parse_e8(a_qty)


def depth_rows(s: int, event_time: int, u: int, b: Any, a: Any) -> list[tuple[int, ...]]:
    rows: list[tuple[int, ...]] = []
    last = len(b) + len(a) - 1
    for side, levels in ((Side.BUY, b), (Side.SELL, a)):
        for p, q in levels:
            flag = MarketFlag.LAST_OF_EVENT << 16 if len(rows) == last else 0
            head = Kind.LEVEL | side << 8 | flag | VENUE | s << 48
            rows.append((u, T_RECV, event_time * 1_000_000, head, parse_e8(p), parse_e8(q), 0, 0))
    return rows


INDEX = {name: k for k, name in enumerate(SYMBOLS)}


def from_msgspec(kind: str) -> tuple[Callable[[bytes], Any], Callable[[bytes], list[tuple[int, ...]]]]:
    """(decode, to integers) by typed structs."""
    if kind == "trade":
        decode = msgspec.json.Decoder(TradeMessage).decode

        def rows(payload: bytes) -> list[tuple[int, ...]]:
            d = decode(payload).data
            return [trade_row(INDEX[d.s], d.t, d.p, d.q, d.T, d.m)]

        return decode, rows
    if kind == "bookTicker":
        decode_ticker = msgspec.json.Decoder(TickerMessage).decode

        def ticker_rows(payload: bytes) -> list[tuple[int, ...]]:
            d = decode_ticker(payload).data
            return [ticker_row(INDEX[d.s], d.u, d.b, d.B, d.a, d.A)]

        return decode_ticker, ticker_rows
    decode_depth = msgspec.json.Decoder(DepthMessage).decode

    def level_rows(payload: bytes) -> list[tuple[int, ...]]:
        d = decode_depth(payload).data
        return depth_rows(INDEX[d.s], d.E, d.u, d.b, d.a)

    return decode_depth, level_rows


def from_orjson(kind: str) -> tuple[Callable[[bytes], Any], Callable[[bytes], list[tuple[int, ...]]]] | None:
    """(decode, to integers) by orjson's dicts; None where it is not installed."""
    try:
        from orjson import loads
    except ImportError:
        return None

    def rows(payload: bytes) -> list[tuple[int, ...]]:
        d = loads(payload)["data"]
        if kind == "trade":
            return [trade_row(INDEX[d["s"]], d["t"], d["p"], d["q"], d["T"], d["m"])]
        if kind == "bookTicker":
            return [ticker_row(INDEX[d["s"]], d["u"], d["b"], d["B"], d["a"], d["A"])]
        return depth_rows(INDEX[d["s"]], d["E"], d["u"], d["b"], d["a"])

    return loads, rows


class Nowhere:
    def deliver(self, source: int, records: np.ndarray) -> None:
        pass


def new_stream(kind: str, messages: list[bytes]) -> MarketStream:
    """A stream whose books, where there are any, are live at each symbol's first event."""
    depth = SYMBOLS if kind.startswith("depth") else []
    stream = MarketStream(SYMBOLS, depth, Nowhere(), lambda s: None, lambda s, n: None)
    if depth:
        firsts = {json.loads(m)["data"]["s"]: m for m in reversed(messages)}
        for symbol, message in firsts.items():
            stream.on_frames(1, [message], T_RECV)
            snapshot = {"lastUpdateId": json.loads(message)["data"]["u"], "bids": [], "asks": []}
            stream.on_snapshot(INDEX[symbol], json.dumps(snapshot).encode(), T_RECV)
    return stream


def digest(records: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(records, np.int64).tobytes()).hexdigest()[:16]


class Way:
    """One way to do it: ``run(k)`` handles read k of ``size`` messages; ``prepare(k)`` comes before, untimed."""

    def __init__(self, run: Callable[[int], Any], reads: int, size: int, prepare: Callable[[int], Any] = lambda k: None):
        self.run, self.reads, self.size, self.prepare = run, reads, size, prepare


def time_reads(way: Way) -> tuple[float, float]:
    """(p50, p99) of ns per message over all reads."""
    reads, size, run = way.reads, way.size, way.run
    times = np.empty(reads)
    clock = time.perf_counter_ns
    for k in range(reads):
        way.prepare(k)
        before = clock()
        run(k)
        times[k] = clock() - before
    return float(np.percentile(times, 50)) / size, float(np.percentile(times, 99)) / size


def rows_of(kind: str, messages: list[bytes], runs: int) -> list[tuple[str, float, float, str]]:
    """(name, p50, p99, results hash or '-') of every way to do it, the hash over all messages."""
    reads = len(messages) // READ
    groups = [messages[k * READ : (k + 1) * READ] for k in range(reads)]
    ways: list[tuple[str, Callable[[], Way], Callable[[], str]]] = []

    def ours() -> Way:
        work = Workspace(SYMBOLS)
        return Way(lambda k: work.parse(0, 0, READ), reads, READ, lambda k: work.load(groups[k], T_RECV))

    def our_hash() -> str:
        work = Workspace(SYMBOLS)
        made = []
        for group in groups:
            work.load(group, T_RECV)
            count = work.parse(0, 0, READ)[3]
            made.append(work.out[:count].copy())
        return digest(np.concatenate(made))

    def stream(size: int) -> Callable[[], Way]:
        def make() -> Way:
            object_ = new_stream(kind, messages)
            if size == READ:
                return Way(lambda k: object_.on_frames(1, groups[k], T_RECV), reads, READ)
            singles = [[m] for m in messages[: reads * 8]]
            return Way(lambda k: object_.on_frames(1, singles[k], T_RECV), len(singles), 1)

        return make

    def library(function: Callable[[bytes], Any]) -> Callable[[], Way]:
        def run(k: int) -> None:
            for message in groups[k]:
                function(message)

        return lambda: Way(run, reads, READ)

    def library_hash(function: Callable[[bytes], list[tuple[int, ...]]]) -> Callable[[], str]:
        return lambda: digest(np.array([row for message in messages[: reads * READ] for row in function(message)], np.int64))

    none = "-"
    ways.append(("ours, compiled parser, 64 a call", ours, our_hash))
    ways.append(("ours, bytes to delivered records, 64 a read", stream(READ), lambda: none))
    ways.append(("ours, bytes to delivered records, 1 a read", stream(1), lambda: none))
    decode, to_rows = from_msgspec(kind)
    ways.append(("msgspec typed, decode", library(decode), lambda: none))
    ways.append(("msgspec typed, to integers", library(to_rows), library_hash(to_rows)))
    peer = from_orjson(kind)
    if peer is not None:
        ways.append(("orjson, decode", library(peer[0]), lambda: none))
        ways.append(("orjson, to integers", library(peer[1]), library_hash(peer[1])))
    results = []
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in ways}
    for _ in range(runs):
        for name, make, _ in ways:
            figures[name].append(time_reads(make()))
    for name, _, hashed in ways:
        p50 = statistics.median(p for p, _ in figures[name])
        p99 = statistics.median(p for _, p in figures[name])
        results.append((name, p50, p99, hashed()))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--messages", type=int, default=8_192)
    parser.add_argument("--runs", type=int, default=25)
    options = parser.parse_args()
    cpu = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = cpu[0] if cpu else platform.machine()
    print(f"{model}, Python {platform.python_version()}, numpy {np.__version__}, msgspec {msgspec.__version__}")
    print(f"command: {' '.join(sys.argv)}")
    for kind in ("trade", "bookTicker", "depth 10+10"):
        messages = make_messages(kind, options.messages if kind != "depth 10+10" else options.messages // 4)
        results = rows_of(kind, messages, options.runs)
        mine, reference = results[0][1], results[0][3]
        print(f"\n{kind}, {statistics.mean(map(len, messages)):.0f} bytes, results hash {reference}")
        print(f"  {'':46} {'p50 ns':>8} {'p99 ns':>8} {'M msg/s':>8} {'x ours':>7}")
        for name, p50, p99, hashed in results:
            same = "=" if hashed == reference else " "
            assert hashed in ("-", reference), f"{name} made other records than ours"
            print(f"{same} {name:46} {p50:8.1f} {p99:8.1f} {1e3 / p50:8.2f} {p50 / mine:7.1f}")


if __name__ == "__main__":
    main()
