"""Loopback WebSocket to order intent: feed, ring, journal, engine and gate beside two Python clients.

    python benchmarks/bench_pipeline.py [--rate 50000] [--seconds 8] [--runs 3] [--symbols 100]

A sender in another process, on the last CPU, first gives an hour of quiet trades, then sends trades, one quote in twenty,
at --rate ("paced") or 64 frames a write as fast as they are taken ("flood"). Every trade is scored by the forest, a third of
the time the rule fires, and about 80 times a second an order intent leaves (the engine permits at most 1,000 a minute).
Latency runs from before the write into the sender's socket to the moment a message is done with ("decided"), its intent
stands in the journal ("intent"), or the order, signed, was taken by the order connection's socket ("sent"); the last two
count from the first message of the intent's symbol in the read that caused it. The order connection is the real one to a
server that never answers; each order expires unfilled after a millisecond. The daemon's tick and rehearsals run too.
"busy poll" is the daemon with feed.busy_poll, and the same for a peer. The second line of each leaves out the messages
written while the sender or the client had just been put off its CPU by something else, and says how many are left.
The peers parse the same messages and compute the two features of the rule and the rule in Python: no forest, risk, book,
order or journal. The number of times the rule fires must be equal.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import picows
import uvloop
import websockets
from loopback import CONTEXT, WINDOW_NS, Preemptions, disturbed, frame, machine, send_frames, take_orders
from numpy.typing import NDArray
from python_rule import RuleOfSymbol

from sentinel.config import Config, parse_config
from sentinel.host.clock import LiveClock
from sentinel.host.control_record import control_record
from sentinel.host.engine_host import EngineHost
from sentinel.host.feeds.binance_spot import BinanceSpotFeed
from sentinel.host.gateway import Gateway
from sentinel.host.ingress import TimedSink
from sentinel.host.latency import summarize_table
from sentinel.host.tuning import busy_poll, quiet_process
from sentinel.host.venues.binance_spot import Credentials
from sentinel.host.venues.binance_spot.desk import Desk
from sentinel.host.venues.binance_spot.messages import RateLimitRow
from sentinel.host.venues.binance_spot.outbound import Outbound
from sentinel.host.venues.binance_spot.rehearsal import Rehearsal
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.host.venues.link import Link
from sentinel.host.virtual_time import TICK_NS
from sentinel.host.wall_time import REHEARSE_S
from sentinel.model.artifact import load_model, save_model
from sentinel.units import E8
from sentinel.wire import Command, InstrumentField, Kind, OrderEventKind, Venue, client_order_id

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
        self.orders: list[tuple[int, int]] = []
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


class UnansweredSession:
    """The order session's way out, to a venue that never answers: each order expires unfilled a millisecond later."""

    def __init__(self, link: Link, coins: list[str], clock: LiveClock) -> None:
        self.host: EngineHost | None = None
        self.sent_ns: list[int] = []
        self._link = link
        self._desk = Desk(coins, clock, self, 0, Venue.BINANCE_SPOT)
        limits = [("ORDERS", "SECOND", 10), ("ORDERS", "DAY", 1), ("REQUEST_WEIGHT", "MINUTE", 1)]
        self._desk.budget.observe([RateLimitRow(kind, unit, count, 1_000_000) for kind, unit, count in limits], clock.now_ns())
        requests = Requests(Credentials("k" * 64, "s" * 64), 5_000)
        self._outbound = Outbound(self._desk, requests)
        self._rehearsal = Rehearsal(coins, clock, requests)

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        assert self.host is not None
        self.host.accept(records)

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        self._outbound.place(self._link, key, symbol, side, order_type, tif, price, qty)
        self.sent_ns.append(time.monotonic_ns())
        asyncio.get_running_loop().call_later(0.001, self._expire, key, int(symbol[1:4]))

    def _expire(self, key: int, symbol: int) -> None:
        self._desk.take(client_order_id(key))
        self._desk.emit(OrderEventKind.EXPIRED, key, symbol, self._desk.now_ns())
        self._desk.deliver()

    def rehearse(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        self._rehearsal.place(key, symbol, side, order_type, tif, price, qty)

    def deny(self, key: int, symbol: str) -> None:
        raise AssertionError("an order was denied")

    def cancel(self, key: int, symbol: str) -> None:
        raise AssertionError("an IOC order was cancelled")

    def query(self, key: int, symbol: str) -> None:
        raise AssertionError("an order that ended was queried")

    @property
    def refused(self) -> int:
        return self._desk.counters["not_sent"]


class CountingSink:
    """Hands records to the engine and then counts them as done with; notes which of them caused an intent."""

    def __init__(self, times: Times, session: UnansweredSession, connected: int) -> None:
        self.accept: Callable[[NDArray[Any]], None] | None = None
        self.gateway: Gateway | None = None
        self._times = times
        self._session = session
        self._statuses = connected
        self._read: NDArray[Any] | None = None

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        assert self.accept is not None
        self._read = records
        self.accept(records)
        self._read = None
        if self._statuses:  # one LIVE a symbol when the connection comes up
            self._statuses -= len(records)
        else:
            self._times.add(len(records))

    def dispatch(self, slots: NDArray[Any], ready_ns: int) -> None:
        assert self.gateway is not None
        self._session.sent_ns.clear()
        self.gateway.dispatch(slots, ready_ns)
        heads = slots[:, 3]
        places = heads[(heads & 0xFF == Kind.PLACE) & (heads >> 40 & 0xFF == 0)]
        if self._read is None:  # an order event may cause an order too
            return
        for place, sent_ns in zip(places, self._session.sent_ns, strict=True):
            cause = self._times.count + int(np.argmax(self._read[:, 3] >> 48 == place >> 48))
            self._times.intents.append((cause, ready_ns))
            self._times.orders.append((cause, sent_ns))


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
            "risk": {
                "max_orders_per_s": 10_000,
                "max_orders_per_10s": 10_000,
                "max_orders_per_minute": 10_000,
                "max_repeats_per_minute": 1_000,
                "max_order_to_trade": 10_000,
                "max_notional_per_10s": 1_000_000_000,
                "max_notional_per_minute": 1_000_000_000,
                "max_net_notional": 1_000_000_000,
                "max_open_orders": 200,
                "ack_timeout_ms": 60_000,
            },
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


async def tick(host: EngineHost, gateway: Gateway, clock: LiveClock) -> None:
    """What the daemon does between messages."""
    due = 0
    while True:
        await asyncio.sleep(REHEARSE_S)
        gateway.rehearse()
        now = clock.now_ns()
        if now >= due:
            due = now + TICK_NS
            host.control(Command.TICK, now)
            host.tend_journal(now)


async def ours(port: int, symbols: int, times: Times) -> None:
    mine, theirs = CONTEXT.Pipe()
    venue = CONTEXT.Process(target=take_orders, args=(theirs,), daemon=True)
    venue.start()
    link = await Link.open(f"ws://127.0.0.1:{mine.recv()}", lambda link, payload: None, lambda link: None)
    with tempfile.TemporaryDirectory() as directory:
        config = pipeline_config(port, symbols, Path(directory))
        clock = LiveClock()
        session = UnansweredSession(link, config.feed.symbols, clock)
        counting = CountingSink(times, session, symbols)
        host = session.host = EngineHost(config, counting.dispatch)
        counting.gateway = Gateway(session, config.feed.symbols, host.latency, permits=host.permits)
        counting.accept = host.accept
        open_market(host, symbols, clock.now_ns())
        sink = TimedSink(counting, host.latency)
        feed = BinanceSpotFeed(config.venue, config.feed, sink, clock, on_receive=sink.started)
        quiet_process()
        await feed.start()
        ticking = asyncio.ensure_future(tick(host, counting.gateway, clock))
        await times.ready.wait()
        host.latency[:] = 0
        await times.finished.wait()
        ticking.cancel()
        counters, engine = feed.counters, host.counters()
        await feed.stop()
        times.fired, times.stages = engine["anomalies"], summarize_table(host.latency)
        host.close()
    link.close()
    venue.join(5)
    refused = {name: counters[name] for name in ("malformed", "duplicates", "unknown_symbol", "missing_trades")}
    if any(refused.values()) or engine["bad_input"] or session.refused:
        raise SystemExit(f"messages were refused: {refused}, bad input {engine['bad_input']}, orders {session.refused}")


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


def run(client: Client, symbols: int, messages: int, rate: int, pace: int, busy: bool = False) -> dict[str, Any]:
    """One client and one sender. ``rate`` spaces the times in the messages; ``pace`` is that of the sender, 0 for a flood."""
    first = history_frames(symbols)
    total = first + messages
    mine, theirs = CONTEXT.Pipe()
    arguments = (symbols, messages, rate, time.time_ns() // 60_000_000_000 * 60_000)
    sender = CONTEXT.Process(target=send_frames, args=(theirs, make_stream, arguments, first, pace), daemon=True)
    sender.start()
    theirs.close()
    port = mine.recv()

    waits = Preemptions()

    async def main() -> Times:
        times = Times(first, total)
        task = asyncio.ensure_future(client(port, symbols, times))
        await asyncio.wait({task, asyncio.ensure_future(times.ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        stop = busy_poll(asyncio.get_running_loop()) if busy else None
        watching = asyncio.ensure_future(watch(waits))
        mine.send("go")
        await asyncio.wait_for(task, 300)
        watching.cancel()
        if stop is not None:
            stop()
        return times

    try:
        times = uvloop.run(main())
        sent = np.frombuffer(mine.recv_bytes(), np.int64)
        bad = disturbed(sent, waits.samples, mine.recv())
    finally:
        sender.terminate()
        sender.join()
    settled = first + min(SETTLE, messages // 4)
    return {
        "decided": percentiles((times.done_ns - sent)[settled:], bad[settled:]),
        "intent": percentiles(*since(times.intents, sent, bad, settled)),
        "sent": percentiles(*since(times.orders, sent, bad, settled)),
        "undisturbed": 1.0 - float(bad[settled:].mean()),
        "intents": len(times.intents),
        "rate": messages / (times.done_ns[-1] - sent[first]) * 1e3,
        "fired": times.fired,
        "stages": times.stages,
    }


async def watch(waits: Preemptions) -> None:
    while True:
        waits.sample(time.monotonic_ns())
        await asyncio.sleep(WINDOW_NS / 1e9)


def since(events: list[tuple[int, int]], sent: Any, bad: Any, settled: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Latency of each event after the write of the message that caused it, and whether that write was disturbed."""
    cause, at = np.array([event for event in events if event[0] >= settled], np.int64).reshape(-1, 2).T
    return at - sent[cause], bad[cause]


def percentiles(latencies_ns: NDArray[Any], bad: NDArray[Any]) -> list[float]:
    """p50 and p99, us: of all, then of the undisturbed."""
    result: list[float] = []
    for some in (latencies_ns, latencies_ns[~bad]):
        result += (np.percentile(some, (50, 99)) / 1e3).tolist() if len(some) else [float("nan")] * 2
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--flood", type=int, default=500_000, help="messages of a flood")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--symbols", type=int, default=100)
    parser.add_argument("--only", choices=list(CLIENTS), nargs="+", default=list(CLIENTS), metavar="CLIENT")
    options = parser.parse_args()
    print(machine())
    print(f"picows {picows.__version__}, websockets {websockets.__version__}, uvloop {uvloop.__version__}")
    messages = int(options.rate * options.seconds)
    columns = "".join(f"{name + ' p50 / p99 us':>24}" for name in ("decided", "intent", "sent"))
    print(f"\nat {options.rate} msg/s {'':16}{columns}  flood M msg/s  rule hits")
    fired: set[int] = set()
    flooded: set[int] = set()
    for name, client in ((name, CLIENTS[name]) for name in options.only):
        for busy in (False, True):
            paced = [run(client, options.symbols, messages, options.rate, options.rate, busy) for _ in range(options.runs)]
            floods = [] if busy else [run(client, options.symbols, options.flood, options.rate, 0) for _ in range(options.runs)]
            fired |= {result["fired"] for result in paced}
            flooded |= {result["fired"] for result in floods}
            speed = f"{statistics.median(result['rate'] for result in floods):.3f}" if floods else "-"
            for k, label in ((0, name + ", busy poll" * busy), (2, "  while both had their CPU")):
                line = f"{label:30}"
                for which in ("decided", "intent", "sent"):
                    p50, p99 = (statistics.median(result[which][k + j] for result in paced) for j in (0, 1))
                    line += f"{p50:12.1f} / {p99:<9.1f}" if which == "decided" or client is ours else f"{'-':>24}"
                share = statistics.median(result["undisturbed"] for result in paced)
                end = f" {share:14.0%}" if k else f" {speed:>14}  {sorted(fired)} {sorted(flooded)}"
                print(line + end, flush=True)
            if client is ours:
                stages = "  ".join(f"{k} {v['p50_ns']}/{v['p99_ns']}" for k, v in paced[-1]["stages"].items())
                print(f"{'':30}{paced[-1]['intents']} intents; stages p50/p99 ns: {stages}", flush=True)
    if len(fired) != 1 or len(flooded) != 1:
        raise SystemExit(f"the rule fired differently: {sorted(fired)}, {sorted(flooded)}")


if __name__ == "__main__":
    main()
