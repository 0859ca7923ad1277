"""Orders at a steady rate against the simulated exchange: acknowledgements, latency and memory, minute by minute.

    python benchmarks/bench_order_rate.py [--rate 200] [--minutes 10]

The exchange runs in a process of its own on loopback, without latency of its own; the order session is the daemon's, with
real sockets, signatures, replies and user data. Of four orders two fill, one expires unfilled and one rests until it is
cancelled at its acknowledgement. The engine is left out: it permits 1,000 orders a minute, by design.
Latency runs from the call until the acknowledgement's record is delivered. Memory is what the kernel counts: VmRSS, and of
it what is not backed by files. Fails (exit 1) if an order is refused, lost or in doubt, or if the memory not backed by files
grows by more than 4 MiB after the first minute, which warms caches and allocators: over ten minutes that is 40 bytes an order.
A pace that was not kept is said to be missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import uvloop
from loopback import CONTEXT, machine, pin_to_last_cpu
from numpy.typing import NDArray

from sentinel.config import VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.latency import count_latency, new_latency_table, summarize
from sentinel.host.tuning import quiet_process
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.sim.market.source import Market
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.limits import LimitConfig
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8, NS_PER_MS
from sentinel.wire import Kind, OrderEventKind, OrderType, Side, TimeInForce, client_key, record_views

KEY, SECRET = "K" * 64, "S" * 64
SYMBOL = "AAAUSDT"
RECV_WINDOW_MS = 5_000  # the venue's own default
BOUND_KIB = 4096
MINUTE_S = 60.0
STEP_S = 0.005
NO_LIMIT = 1_000_000_000
LIMIT, GTC, IOC = int(OrderType.LIMIT), int(TimeInForce.GTC), int(TimeInForce.IOC)
#: Side, price and time in force: two that fill, one that does not, one that rests.
ORDERS = [(Side.BUY, 101, IOC), (Side.SELL, 99, IOC), (Side.BUY, 98, IOC), (Side.BUY, 90, GTC)]
RESTING = 3
QTY = E8 // 10


class DeepMarket:
    """One symbol, 99 to 101, deeper than all orders together; nothing moves."""

    instruments: tuple[Instrument, ...] = (Instrument(SYMBOL, "AAA", "USDT", tick=E8 // 100, step=E8 // 1000, max_orders=1000),)
    end_ns: int | None = None
    relays: bool = False
    maker_size: tuple[int, ...] = (0,)

    def __init__(self) -> None:
        self.start_ns = time.time_ns() // NS_PER_MS * NS_PER_MS

    def open(self, market: Market) -> None:
        market.set_level(0, Side.BUY, 99 * E8, 1_000_000 * E8)
        market.set_level(0, Side.SELL, 101 * E8, 1_000_000 * E8)

    def next_time(self) -> int | None:
        return None

    def fire(self, market: Market) -> None:
        raise AssertionError("nothing is due")

    def snapshot(self, symbol: int, limit: int) -> dict[str, Any] | None:
        return None


def serve(pipe: Any) -> None:
    """The exchange: sends its addresses through ``pipe`` and serves until the other end closes."""
    pin_to_last_cpu()
    uvloop.run(_serve(pipe))


async def _serve(pipe: Any) -> None:
    market = DeepMarket()
    exchange = Exchange(market.instruments, market, {"paper": {"USDT": 100_000_000 * E8, "AAA": 1_000_000 * E8}})
    limits = LimitConfig(NO_LIMIT, NO_LIMIT, NO_LIMIT)
    async with VenueServer(exchange, [ApiKey(KEY, SECRET, "paper")], latency_ns=0, jitter_ns=0, limits=limits) as venue:
        pipe.send(venue.urls())
        closed = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), closed.set)
        await closed.wait()


class Orders:
    """The sink of the session: what became of each order."""

    def __init__(self) -> None:
        self.waiting: dict[int, int] = {}
        self.resting: set[int] = set()
        self.to_cancel: list[int] = []
        self.outcomes: Counter[str] = Counter()
        self.codes: Counter[int] = Counter()
        self.latency = new_latency_table()
        # Touched now: a page first touched later would look like growth.
        self.latency += 0

    def deliver(self, source: int, records: NDArray[Any]) -> None:
        now, views = time.monotonic_ns(), record_views(records)
        for k in range(len(records)):
            row = views.order1[k]
            if row["kind"] == Kind.ORDER_EVENT and row["part"] == 0:
                self._event(int(row["event"]), int(row["client_key"]), int(row["error_code"]), now)

    def _event(self, event: int, key: int, code: int, now: int) -> None:
        if event == OrderEventKind.CANCELED and key in self.resting:
            self.resting.discard(key)
            self.outcomes["cancelled"] += 1
        if event in (OrderEventKind.SENT, OrderEventKind.TRADE, OrderEventKind.CANCELED, OrderEventKind.EXPIRED):
            return
        begin = self.waiting.pop(key, None)
        if event == OrderEventKind.ACKED:
            if begin is not None:
                self.outcomes["accepted"] += 1
                count_latency(self.latency, 0, now - begin)
                if key in self.resting:
                    self.to_cancel.append(key)
        else:
            self.resting.discard(key)
            self.outcomes[OrderEventKind(event).name.lower()] += 1
            self.codes[code] += 1


def memory_kib(pid: int) -> tuple[int, int]:
    """(VmRSS, RssAnon) of a process."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(lines["VmRSS"].split()[0]), int(lines["RssAnon"].split()[0])


async def send_minute(session: BinanceSpotSession, orders: Orders, first: int, rate: int, seconds: float) -> tuple[int, float]:
    """Orders ``first`` onwards as they become due; returns the next number and the most an order left late, s."""
    begin, sent, latest, total = time.monotonic(), 0, 0.0, round(rate * seconds)
    while sent < total:
        now = time.monotonic()
        due = min(total, int((now - begin) * rate) + 1)
        while sent < due:
            latest = max(latest, now - begin - sent / rate)
            number = first + sent
            side, price, tif = ORDERS[number % len(ORDERS)]
            key = client_key(1, 1, number)
            if number % len(ORDERS) == RESTING:
                orders.resting.add(key)
            orders.waiting[key] = time.monotonic_ns()
            session.place(key, SYMBOL, int(side), LIMIT, tif, price * E8, QTY)
            sent += 1
        for key in orders.to_cancel:
            session.cancel(key, SYMBOL)
        orders.to_cancel.clear()
        await asyncio.sleep(STEP_S)
    return first + total, latest


async def settle(session: BinanceSpotSession, orders: Orders) -> None:
    """Until every order is answered and every resting one cancelled, a minute at most."""
    deadline = time.monotonic() + 60
    while (orders.waiting or orders.resting) and time.monotonic() < deadline:
        for key in orders.to_cancel:
            session.cancel(key, SYMBOL)
        orders.to_cancel.clear()
        await asyncio.sleep(STEP_S)


async def run(options: argparse.Namespace) -> list[str]:
    mine, theirs = CONTEXT.Pipe()
    venue = CONTEXT.Process(target=serve, args=(theirs,), daemon=True)
    venue.start()
    theirs.close()
    orders = Orders()
    venue_config = VenueConfig(**mine.recv(), recv_window_ms=RECV_WINDOW_MS)
    session = BinanceSpotSession(venue_config, [SYMBOL], Credentials(KEY, SECRET), LiveClock(), orders, 0)
    await session.connect()
    # The venue names its true limits with its first answers.
    orders.waiting[client_key(1, 1, 0)] = time.monotonic_ns()
    session.place(client_key(1, 1, 0), SYMBOL, int(Side.BUY), LIMIT, IOC, 98 * E8, QTY)
    await settle(session, orders)
    orders.latency[:] = 0
    orders.outcomes.clear()
    orders.codes.clear()
    quiet_process()
    assert venue.pid is not None
    number, late, whole, failures, first_kib, begin = 1, 0.0, new_latency_table(), [], 0, time.monotonic()
    minutes = [min(MINUTE_S, options.minutes * 60 - k * MINUTE_S) for k in range(-int(-options.minutes // 1))]
    print(f"{'minute':>6} {'accepted':>9} {'rejected':>9} {'p50 us':>8} {'p99 us':>8} {'max us':>9}", end="")
    print(f" {'RSS MiB':>17} {'not of files':>17} {'exchange RSS':>17}")
    before, before_venue = memory_kib(os.getpid()), memory_kib(venue.pid)
    for k, seconds in enumerate(minutes, 1):
        accepted, rejected = orders.outcomes["accepted"], orders.outcomes["rejected"]
        number, latest = await send_minute(session, orders, number, options.rate, seconds)
        late = max(late, latest)
        after, after_venue = memory_kib(os.getpid()), memory_kib(venue.pid)
        figures = summarize(orders.latency[0])
        whole += orders.latency
        orders.latency[:] = 0
        counts = f"{orders.outcomes['accepted'] - accepted:9d} {orders.outcomes['rejected'] - rejected:9d}"
        times = f"{figures['p50_ns'] / 1e3:8.0f} {figures['p99_ns'] / 1e3:8.0f} {figures['max_ns'] / 1e3:9.0f}"
        spans = [(before[0], after[0]), (before[1], after[1]), (before_venue[0], after_venue[0])]
        text = " ".join(f"{low / 1024:7.2f} -> {high / 1024:6.2f}" for low, high in spans)
        print(f"{k:6d} {counts} {times} {text}", flush=True)
        before, before_venue = after, after_venue
        first_kib = first_kib or after[1]
    elapsed = time.monotonic() - begin
    await settle(session, orders)
    growth_kib = before[1] - first_kib
    counters = {name: count for name, count in session.counters.items() if count}
    await session.close()
    mine.close()
    venue.join(10)
    total = summarize(whole[0])
    sent = number - 1
    print(f"\n{sent} orders in {elapsed:.1f} s, {sent / elapsed:.1f}/s, the latest {late * 1e3:.1f} ms after its time")
    print(f"outcomes {json.dumps(dict(orders.outcomes))}, codes {dict(orders.codes)}, session {json.dumps(counters)}")
    print(f"acknowledged after p50 {total['p50_ns'] / 1e3:.0f}, p99 {total['p99_ns'] / 1e3:.0f}, p99.9 "
          f"{total['p99_9_ns'] / 1e3:.0f}, max {total['max_ns'] / 1e3:.0f} us")  # fmt: skip
    print(f"memory not backed by files after the first minute: {growth_kib:+d} KiB, bound {BOUND_KIB} KiB")
    if orders.outcomes["accepted"] != sent or orders.waiting or orders.resting:
        failures.append(f"{len(orders.waiting)} orders unanswered, {len(orders.resting)} not cancelled, {dict(orders.outcomes)}")
    if sent / elapsed < 0.99 * options.rate:
        print(f"MISSED: the pace was not kept: {sent / elapsed:.1f} orders/s")
    if growth_kib > BOUND_KIB:
        failures.append(f"memory grew by {growth_kib} KiB")
    return failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=200, help="orders a second")
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    print(machine())
    failures = uvloop.run(run(options))
    for failure in failures:
        print(f"FAILED: {failure}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
