"""Loopback WebSocket to order intent: feed, ring, journal, engine and gate beside two Python clients.

    python benchmarks/bench_pipeline.py [--rate 50000] [--seconds 8] [--runs 3] [--symbols 100]

A sender in another process first gives an hour of quiet trades, then sends trades, one quote in twenty, at --rate ("paced")
or 64 frames a write as fast as they are taken ("flood"). Every trade is scored by the forest, a third of the time the rule
fires, and about 80 times a second an order intent leaves (the engine permits at most 1,000 a minute). Latency runs from
the write into the socket to the moment a message is done with ("decided") or its intent reaches the order session
("intent", counted from the oldest message of its read). The peers parse the same messages and compute the two features of
the rule and the rule in Python: no forest, risk, book, order or journal. The number of times the rule fires must be equal.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import picows
import uvloop
import websockets
from loopback import CONTEXT, frame, machine, send_frames
from numpy.typing import NDArray
from python_rule import RuleOfSymbol

from sentinel.config import Config, parse_config
from sentinel.host.clock import LiveClock
from sentinel.host.engine_host import EngineHost, control_record
from sentinel.host.feeds.binance_spot import BinanceSpotFeed
from sentinel.host.gateway import Gateway
from sentinel.host.ingress import LiveIngress, TimedSink
from sentinel.host.latency import summarize_table
from sentinel.host.tuning import quiet_process
from sentinel.host.venues.order_events import RecordBatch
from sentinel.model.artifact import load_model, save_model
from sentinel.units import E8
from sentinel.wire import Command, InstrumentField, OrderEventKind, Venue

HISTORY_S, HISTORY_STEP_S = 3_700, 20
QUIET_BEFORE_S = 5
QUOTE_EVERY = 20
INTENTS_PER_S = 80
EVERYTHING = -(1 << 30)  # a margin threshold no margin lies below
SETTLE = 5_000  # messages at the start of a paced run that are not counted


def names(symbols: int) -> list[str]:
    return [f"C{k:03d}USDT" for k in range(symbols)]


def make_stream(symbols: int, messages: int, rate: int, now_ms: int) -> tuple[bytes, NDArray[np.int64]]:
    """Frames and their ends: history first, then ``messages`` whose times are ``rate`` a second apart."""
    coins, frames = names(symbols), []
    trade_ids, quote_ids = [0] * symbols, [0] * symbols
    base = [E8 * (10 + k % 90) for k in range(symbols)]
    start_ms = now_ms - QUIET_BEFORE_S * 1000

    def text(value: int) -> bytes:
        return b"%d.%08d" % divmod(value, E8)

    def trade(s: int, t_ms: int, price: int, qty: int) -> bytes:
        trade_ids[s] += 1
        low = coins[s].lower()
        head = f'{{"stream":"{low}@trade","data":{{"e":"trade","E":{t_ms},"s":"{coins[s]}","t":{trade_ids[s]},"p":"'.encode()
        side = b"true" if trade_ids[s] & 1 else b"false"
        return head + text(price) + b'","q":"' + text(qty) + b'","T":%d,"m":%b,"M":true}}' % (t_ms, side)

    def quote(s: int, price: int) -> bytes:
        quote_ids[s] += 1
        low = coins[s].lower()
        head = f'{{"stream":"{low}@bookTicker","data":{{"u":{quote_ids[s]},"s":"{coins[s]}","b":"'.encode()
        below, above = text(price - price // 10_000), text(price + price // 10_000)
        return head + below + b'","B":"25.00000000","a":"' + above + b'","A":"25.00000000"}}'

    for second in range(HISTORY_S, QUIET_BEFORE_S, -HISTORY_STEP_S):
        for s in range(symbols):
            frames.append(frame(trade(s, now_ms - second * 1000 + s, base[s], E8 * (1 + s % 7))))
    rng = np.random.default_rng(7)
    order = rng.integers(0, symbols, messages).tolist()
    quantities = rng.integers(1, 50 * E8, messages).tolist()
    period = 8.0 * rate
    for k in range(messages):
        s = order[k]
        phase = (k / period + s / symbols) % 1.0
        swing = 4.0 * abs(phase - 0.5) - 1.0  # a triangle between -1 and 1
        price = base[s] + int(base[s] * 0.03 * swing)
        if k % QUOTE_EVERY == 0:
            frames.append(frame(quote(s, price)))
        else:
            frames.append(frame(trade(s, start_ms + k * 1000 // rate, price, quantities[k])))
    return b"".join(frames), np.cumsum([len(f) for f in frames])


def history_frames(symbols: int) -> int:
    return len(range(HISTORY_S, QUIET_BEFORE_S, -HISTORY_STEP_S)) * symbols


class Times:
    """When each message was done with, in order of their coming, and when intents were."""

    def __init__(self, first: int, total: int) -> None:
        self.done_ns = np.zeros(total, np.int64)
        self.count = 0
        self.intents: list[tuple[int, int]] = []
        self.fired = 0
        self.stages: dict[str, dict[str, Any]] = {}
        self.ready = asyncio.Event()
        self.finished = asyncio.Event()
        self._first = first

    def add(self, count: int) -> None:
        """``count`` more messages are done with."""
        self.done_ns[self.count : self.count + count] = time.monotonic_ns()
        self.advance(count)

    def add_one(self) -> None:
        self.done_ns[self.count] = time.monotonic_ns()
        self.advance(1)

    def advance(self, count: int) -> None:
        self.count += count
        if self.count == self._first:
            self.ready.set()
        elif self.count == len(self.done_ns):
            self.finished.set()


class ExpiringSession:
    """Takes orders, notes when, and lets each expire unfilled a millisecond later."""

    def __init__(self, times: Times, clock: LiveClock) -> None:
        self.host: EngineHost | None = None
        self._times = times
        self._clock = clock

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        self._times.intents.append((self._times.count, time.monotonic_ns()))
        asyncio.get_running_loop().call_later(0.001, self._expire, key, int(symbol[1:4]))

    def _expire(self, key: int, symbol: int) -> None:
        batch, now = RecordBatch(Venue.BINANCE_SPOT), self._clock.now_ns()
        for event in (OrderEventKind.SENT, OrderEventKind.EXPIRED):
            batch.order_event(event, key, symbol, now)
        assert self.host is not None
        self.host.accept(batch.take())

    def rehearse(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        pass

    def deny(self, key: int, symbol: str) -> None:
        raise AssertionError("an order was denied")

    def cancel(self, key: int, symbol: str) -> None:
        raise AssertionError("an IOC order was cancelled")

    def query(self, key: int, symbol: str) -> None:
        raise AssertionError("an order that ended was queried")


class CountingSink:
    """Hands records to the engine and then counts them as done with."""

    def __init__(self, ingress: LiveIngress, times: Times, connected: int) -> None:
        self._ingress = ingress
        self._times = times
        self._statuses = connected

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        self._ingress.deliver(source, records)
        if self._statuses:  # one LIVE a symbol when the connection comes up
            self._statuses -= len(records)
        else:
            self._times.add(len(records))


def pipeline_config(port: int, symbols: int, directory: Path) -> Config:
    """Enters at once on every rule hit, and again after each order that expired."""
    model = directory / "eager.stl"
    default = load_model("default")
    margins = default.size_margins.copy()
    margins[0] = EVERYTHING
    save_model(replace(default, threshold=EVERYTHING, size_margins=margins), model)
    return parse_config(
        {
            "model": str(model),
            "venue": {"rest_url": "http://127.0.0.1:9", "stream_url": f"ws://127.0.0.1:{port}"},
            "feed": {"symbols": names(symbols), "streams_per_connection": 1024},
            "strategy": {"market": "usdm", "entry": "immediate", "exit_retry_ms": symbols * 1000 // INTENTS_PER_S},
            "risk": {"max_orders_per_10s": 10_000, "max_open_orders": 200, "ack_timeout_ms": 60_000},
            "store": {"directory": str(directory / "store")},
        },
        "benchmark",
    )


def open_market(host: EngineHost, symbols: int, now: int) -> None:
    """Filters, cash, recovered and armed."""
    host.control(Command.EPOCH, now, id=host.epoch)
    host.control(Command.RECOVERING, now)
    host.control(Command.QUOTE_BALANCE, now, value=100_000 * E8)
    filters = {InstrumentField.TRADING: 1, InstrumentField.TICK_SIZE: 1_000, InstrumentField.STEP_SIZE: 1_000}
    for s in range(symbols):
        for name, value in filters.items():
            host.accept(control_record(Command.INSTRUMENT, now, symbol=s, id=name, value=value))
    host.control(Command.RECOVERED, now)
    host.control(Command.ARM, now, id=host.epoch)


async def ours(port: int, symbols: int, times: Times) -> None:
    with tempfile.TemporaryDirectory() as directory:
        config = pipeline_config(port, symbols, Path(directory))
        clock = LiveClock()
        session = ExpiringSession(times, clock)
        gateway: list[Gateway] = []
        host = EngineHost(config, lambda slots, ready_ns: gateway[0].dispatch(slots, ready_ns))
        gateway.append(Gateway(session, config.feed.symbols, host.latency))
        session.host = host
        open_market(host, symbols, clock.now_ns())
        sink = TimedSink(CountingSink(LiveIngress(host.accept), times, symbols), host.latency)
        feed = BinanceSpotFeed(config.venue, config.feed, sink, clock, on_receive=sink.started)
        quiet_process()
        await feed.start()
        await times.ready.wait()
        host.latency[:] = 0
        await times.finished.wait()
        counters, engine = feed.counters, host.counters()
        await feed.stop()
        times.fired, times.stages = engine["anomalies"], summarize_table(host.latency)
        host.close()
    refused = {name: counters[name] for name in ("malformed", "duplicates", "unknown_symbol", "missing_trades")}
    if any(refused.values()) or engine["bad_input"]:
        raise SystemExit(f"messages were refused: {refused}, bad input {engine['bad_input']}")


class Ticker(msgspec.Struct):
    """Fields of a trade; a bookTicker has none of them but the name."""

    s: str
    t: int = 0
    p: str = ""
    q: str = ""
    T: int = 0
    m: bool = False


class Message(msgspec.Struct):
    data: Ticker


def python_rules(symbols: int) -> dict[str, RuleOfSymbol]:
    return {name: RuleOfSymbol(0.02, 3.0) for name in names(symbols)}


async def websockets_orjson(port: int, symbols: int, times: Times) -> None:
    from orjson import loads

    rules = python_rules(symbols)
    quiet_process()
    async with websockets.connect(f"ws://127.0.0.1:{port}", compression=None, max_queue=None) as connection:
        async for message in connection:
            data = loads(message)["data"]
            if "T" in data:
                price, qty = int(data["p"].replace(".", "")), int(data["q"].replace(".", ""))
                if rules[data["s"]].fires(data["T"], price, qty):
                    times.fired += 1
            times.add_one()
            if times.finished.is_set():
                return


async def picows_msgspec(port: int, symbols: int, times: Times) -> None:
    decode, rules = msgspec.json.Decoder(Message).decode, python_rules(symbols)
    quiet_process()

    class Listener(picows.WSListener):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            if frame.msg_type == picows.WSMsgType.TEXT:
                data = decode(frame.get_payload_as_memoryview()).data
                if data.T:
                    price, qty = int(data.p.replace(".", "")), int(data.q.replace(".", ""))
                    if rules[data.s].fires(data.T, price, qty):
                        times.fired += 1
                times.add_one()

    transport, _ = await picows.ws_connect(Listener, f"ws://127.0.0.1:{port}/")
    await times.finished.wait()
    transport.disconnect()


Client = Callable[[int, int, Times], Awaitable[None]]
CLIENTS: dict[str, Client] = {
    "sentinel": ours,
    "picows + msgspec": picows_msgspec,
    "websockets + orjson": websockets_orjson,
}


def run(client: Client, symbols: int, messages: int, rate: int, pace: int) -> dict[str, Any]:
    """One client and one sender. ``rate`` spaces the times in the messages; ``pace`` is that of the sender, 0 for a flood."""
    first = history_frames(symbols)
    total = first + messages
    memory = SharedMemory(create=True, size=8 * total)
    mine, theirs = CONTEXT.Pipe()
    arguments = (symbols, messages, rate, time.time_ns() // 60_000_000_000 * 60_000)
    sender = CONTEXT.Process(target=send_frames, args=(theirs, make_stream, arguments, first, pace))
    sender.start()
    mine.send(memory.name)
    port = mine.recv()

    async def main() -> Times:
        times = Times(first, total)
        task = asyncio.ensure_future(client(port, symbols, times))
        await asyncio.wait({task, asyncio.ensure_future(times.ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        mine.send("go")
        await asyncio.wait_for(task, 300)
        return times

    try:
        times = uvloop.run(main())
        sent = np.ndarray(total, np.int64, memory.buf).copy()
    finally:
        sender.join(1)
        sender.terminate()
        memory.close()
        memory.unlink()
    settled = first + min(SETTLE, messages // 4)
    decided = (times.done_ns - sent)[settled:] / 1e3
    intents = np.array([t - sent[k] for k, t in times.intents if k >= settled]) / 1e3
    return {
        "decided": np.percentile(decided, (50, 99)).tolist(),
        "intent": np.percentile(intents, (50, 99)).tolist() if len(intents) else [float("nan")] * 2,
        "intents": len(intents),
        "rate": messages / (times.done_ns[-1] - sent[first]) * 1e3,
        "fired": times.fired,
        "stages": times.stages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--flood", type=int, default=500_000, help="messages of a flood")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--symbols", type=int, default=100)
    options = parser.parse_args()
    print(machine())
    print(f"picows {picows.__version__}, websockets {websockets.__version__}, uvloop {uvloop.__version__}")
    paced_messages = int(options.rate * options.seconds)
    print(f"\n{'':22} {options.rate:>7} msg/s: decided p50 / p99 us    intent p50 / p99 us    flood M msg/s    rule hits")
    fired: set[tuple[int, int]] = set()
    for name, client in CLIENTS.items():
        paced = [run(client, options.symbols, paced_messages, options.rate, options.rate) for _ in range(options.runs)]
        flood = [run(client, options.symbols, options.flood, options.rate, 0) for _ in range(options.runs)]
        (d50, d99), (i50, i99) = (
            [statistics.median(r[which][k] for r in paced) for k in (0, 1)] for which in ("decided", "intent")
        )
        fired |= {(r["fired"], f["fired"]) for r, f in zip(paced, flood, strict=True)}
        intent = f"{i50:8.1f} / {i99:<8.1f}" if client is ours else f"{'-':>19}"
        speed = statistics.median(r["rate"] for r in flood)
        print(f"{name:22} {'':>7}        {d50:8.1f} / {d99:<10.1f} {intent:>19} {speed:16.3f}    {sorted(fired)}")
        if client is ours:
            stages = "  ".join(f"{k} {v['p50_ns']}/{v['p99_ns']}" for k, v in paced[-1]["stages"].items())
            print(f"{'':22} {paced[-1]['intents']} intents; stages p50/p99 ns: {stages}")
    if len(fired) != 1:
        raise SystemExit(f"the rule fired differently: {sorted(fired)}")


if __name__ == "__main__":
    main()
