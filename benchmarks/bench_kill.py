"""From the kill word stored to the gate closed, under full load.

    python benchmarks/bench_kill.py [--rounds 400]

One process does nothing but turn the engine and pass orders through the daemon's gateway, back to back: permits, the order's
text, its signature, bytes handed to a socket. Another, on another CPU, stores the kill word at a moment chosen at random, as
the kill process does. Measured are the last order handed to the socket, and the first look at the word from which on none
is, after it was stored. Fails (exit 1) if an order left whose pass began after the word was stored, or if a round sent none;
a 99th percentile above 1 ms, in the rounds within which the kernel put nothing else on the trading CPU, is said to be missed.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import resource
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from loopback import CONTEXT, machine, pin_to_last_cpu

from sentinel.config import parse_config
from sentinel.host.engine_host import EngineHost
from sentinel.host.gateway import Gateway
from sentinel.host.kill_word import KillLevel, KillState, KillTrigger, KillWordWriter
from sentinel.host.tuning import quiet_process
from sentinel.host.venues.binance_spot import Credentials
from sentinel.host.venues.binance_spot.requests import Requests
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import Command, Kind, OrderType, Side, TimeInForce, client_order_id, empty_slots, record_views

BOUND_MS = 1.0
SYMBOL = "AAAUSDT"
_DAY_NS = 86_400 * NS_PER_S


class Wire:
    """The way of an order from the gate to a socket that takes everything; notes each pass."""

    def __init__(self) -> None:
        self.end, self.other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.other.setblocking(False)
        self.requests = Requests(Credentials("K" * 64, "S" * 64), 1000)
        self.sent_ns = self.denied_ns = self.orders = 0

    def place(self, key: int, symbol: str, side: int, order_type: int, tif: int, price: int, qty: int) -> None:
        stamp = time.time_ns() // NS_PER_MS
        message = self.requests.place(client_order_id(key), symbol, side, order_type, tif, price, qty, stamp)
        assert message is not None
        self.end.send(message)
        self.sent_ns = time.monotonic_ns()
        self.orders += 1
        self.other.recv(4096)

    def deny(self, key: int, symbol: str) -> None:
        self.denied_ns = time.monotonic_ns()

    def cancel(self, key: int, symbol: str) -> None: ...

    def query(self, key: int, symbol: str) -> None: ...

    def rehearse(self, *order: Any) -> None: ...


def _switches() -> int:
    """How often this thread was put off its CPU while it had work."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def trade(directory: str, pipe: Any) -> None:
    """For each message of ``pipe``: arm, then turn and pass until the first refusal; sends what the round saw."""
    pin_to_last_cpu()
    logging.disable()
    venue = {"rest_url": "http://127.0.0.1:9", "stream_url": "ws://127.0.0.1:9"}
    settings = {"venue": venue, "feed": {"symbols": [SYMBOL]}, "store": {"directory": directory, "segment_mib": 64}}
    host = EngineHost(parse_config(settings), lambda slots, ready_ns: None)
    wire = Wire()
    gateway = Gateway(wire, [SYMBOL], host.latency, permits=host.permits)
    now_ns = host.now_ns + _DAY_NS
    host.control(Command.EPOCH, now_ns, id=host.epoch)
    host.control(Command.RECOVERING, now_ns)
    host.control(Command.RECOVERED, now_ns)
    slots = empty_slots(2)
    views = record_views(slots)
    views.intent1["kind"], views.intent2["kind"] = Kind.PLACE, Kind.PLACE
    views.intent2["part"][1] = 1
    first = views.intent1[0]
    first["side"], first["order_type"], first["tif"] = Side.BUY, OrderType.LIMIT, TimeInForce.IOC
    first["price"], first["qty"] = 100 * E8, E8
    quiet_process()
    key = 0
    pipe.send("ready")
    while pipe.recv():
        epoch = int(host.state.glob["arm_epoch"][0]) + 1
        host.kill_word.look()
        host.obey_kill_word()
        host.control(Command.ARM, host.now_ns, id=epoch)
        first["arm_epoch"] = epoch
        wire.sent_ns = wire.denied_ns = wire.orders = 0
        switches = _switches()
        pass_ns = 0
        pipe.send("armed")
        until_ns = time.monotonic_ns() + 5 * NS_PER_S
        while not wire.denied_ns and time.monotonic_ns() < until_ns:
            host.control(Command.TICK, host.now_ns + 1000)
            key += 1
            first["client_key"] = 1 << 48 | key
            before, began_ns = wire.orders, time.monotonic_ns()
            gateway.dispatch(slots, began_ns)
            if wire.orders > before:
                pass_ns = began_ns
        pipe.send((wire.orders, pass_ns, wire.sent_ns, host.kill_seen_ns, _switches() - switches))
    host.close()


def main() -> int:
    """Print the figures; 1 if an order left too late, or none did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=400)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as directory:
        writer = KillWordWriter(Path(directory))
        writer.store(KillState(KillLevel.OPEN, KillTrigger.NONE, 1))
        mine, other = CONTEXT.Pipe()
        child = CONTEXT.Process(target=trade, args=(directory, other))
        child.start()
        mine.recv()
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cpus[: max(1, len(cpus) - 1)])
        rounds, passes, late = [], 0, 0
        for number in range(options.rounds):
            writer.store(KillState(KillLevel.OPEN, KillTrigger.NONE, number % 1000 + 1))
            mine.send(True)
            mine.recv()
            time.sleep(random.uniform(0.002, 0.02))
            stored_ns = writer.store(KillState(KillLevel.STOP_NEW, KillTrigger.OPERATOR, number % 1000 + 1))
            orders, pass_ns, sent_ns, seen_ns, switches = mine.recv()
            passes += orders
            late += pass_ns > stored_ns
            rounds.append((max(sent_ns - stored_ns, 0) / NS_PER_MS, (seen_ns - stored_ns) / NS_PER_MS, switches == 0))
        mine.send(False)
        child.join()
        writer.close()
    table = np.array(rounds)
    quiet = table[table[:, 2] == 1]
    print(f"{passes} orders in {len(table)} rounds; {late} left whose pass began after the word was stored")
    print(f"{len(quiet)} rounds on a quiet core: nothing else ran on it from the first order to the closed gate")
    print("after the kill word was stored, ms           p50      p99      max")
    p99 = 0.0
    for name, values in (("quiet core", quiet), ("all rounds", table)):
        for column, what in enumerate(("last order at the socket", "gate closed")):
            figures = np.percentile(values[:, column], [50, 99, 100]) if len(values) else np.full(3, np.nan)
            print(f"{name + ', ' + what:<40}" + "".join(f" {figure:8.3f}" for figure in figures))
            if values is quiet and len(quiet):
                p99 = max(p99, float(figures[1]))
    print(f"99th percentile on a quiet core {p99:.3f} ms, bound {BOUND_MS:g} ms: {'MISSED' if p99 > BOUND_MS else 'met'}")
    failed = late > 0 or passes < options.rounds
    print("FAILED" if failed else "ok")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
