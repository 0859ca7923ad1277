"""The ring of 64-byte records between two threads and two processes, beside multiprocessing's Queue and Pipe.

    python benchmarks/bench_ring.py [--records 20000000] [--runs 5]

Throughput: the producer writes, the consumer reads every word of every record. Hop: the producer stamps
each record with the clock and waits for the next due time, the consumer reads the clock when it sees it
(the clock itself costs about 20 ns). Figures are medians over the runs and, in brackets, the best run: on a
machine that others use, a spinning side is often put off the CPU for milliseconds. Every run checks
that all records came, whole, by a sum the consumer makes.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

from sentinel.host.monotonic import monotonic_ns
from sentinel.host.ring import Ring, ring_push, ring_range, ring_release
from sentinel.native import JIT, borrow

_CONTEXT = multiprocessing.get_context("spawn")


@njit(**JIT)
def produce(words: Any, mask: int, total: int, batch: int) -> None:
    ring = borrow(words)
    block = np.zeros((batch, 8), np.int64)
    sent = 0
    while sent < total:
        n = min(batch, total - sent)
        for i in range(n):
            block[i, 0] = sent + i
            block[i, 7] = sent + i
        while ring_push(ring, mask, block, n) == 0:
            pass
        sent += n


@njit(**JIT)
def consume(words: Any, slots: Any, mask: int, total: int) -> int:
    ring = borrow(words)
    data = borrow(slots)
    seen = 0
    check = 0
    while seen < total:
        tail, head = ring_range(ring)
        for i in range(tail, head):
            for k in range(8):
                check += data[i & mask, k]
        ring_release(ring, head)
        seen += head - tail
    return check


@njit(**JIT)
def produce_paced(words: Any, mask: int, total: int, gap_ns: int) -> None:
    ring = borrow(words)
    block = np.zeros((1, 8), np.int64)
    due = monotonic_ns()
    for _ in range(total):
        due += gap_ns
        now = monotonic_ns()
        while now < due:
            now = monotonic_ns()
        block[0, 0] = now
        while ring_push(ring, mask, block, 1) == 0:
            pass


@njit(**JIT)
def consume_stamped(words: Any, slots: Any, mask: int, hops: Any) -> None:
    ring = borrow(words)
    data = borrow(slots)
    out = borrow(hops)
    seen = 0
    while seen < len(out):
        tail, head = ring_range(ring)
        for i in range(tail, head):
            out[seen] = monotonic_ns() - data[i & mask, 0]
            seen += 1
        ring_release(ring, head)


def expected(total: int) -> int:
    return total * (total - 1)


def produce_in_process(name: str, total: int, batch: int, gap_ns: int) -> None:
    ring = Ring.attach(name)
    if gap_ns:
        produce_paced(ring.words, ring.mask, total, gap_ns)
    else:
        produce(ring.words, ring.mask, total, batch)


def both_ends(slots: int, processes: bool, work: Callable[[Ring], Any], total: int, batch: int = 0, gap_ns: int = 0) -> Any:
    """Run ``work`` on the consumer's side while the producer sends ``total`` records."""
    name = f"sentinel-bench-{os.getpid()}" if processes else None
    with Ring.create(slots, name) as ring:
        if processes:
            sender: Any = _CONTEXT.Process(target=produce_in_process, args=(name, total, batch, gap_ns))
        elif gap_ns:
            sender = threading.Thread(target=produce_paced, args=(ring.words, ring.mask, total, gap_ns))
        else:
            sender = threading.Thread(target=produce, args=(ring.words, ring.mask, total, batch))
        sender.start()
        while ring.available() == 0:
            if not sender.is_alive():
                raise SystemExit("the producer ended before it sent anything")
        begin = time.perf_counter_ns()
        result = work(ring)
        elapsed = time.perf_counter_ns() - begin
        sender.join()
    return result, elapsed


def throughput(slots: int, processes: bool, total: int, batch: int) -> float:
    """Million records a second."""
    check, elapsed = both_ends(slots, processes, lambda r: consume(r.words, r.slots, r.mask, total), total, batch)
    assert check == expected(total), "records were lost or damaged"
    return total / elapsed * 1e3


def hop(slots: int, processes: bool, total: int, gap_ns: int) -> tuple[float, float]:
    """(p50, p99) ns from one side to the other."""
    hops = np.zeros(total, np.int64)
    both_ends(slots, processes, lambda r: consume_stamped(r.words, r.slots, r.mask, hops), total, gap_ns=gap_ns)
    settled = hops[total // 10 :]
    return float(np.percentile(settled, 50)), float(np.percentile(settled, 99))


def send_objects(put: Any, total: int, stamped: bool) -> None:
    record = bytes(56)
    for _ in range(total):
        if stamped:
            time.sleep(0.0002)
        put(time.monotonic_ns().to_bytes(8, "little") + record)


def peer(make: Callable[[], tuple[Any, Any]], total: int, stamped: bool) -> tuple[float, float, float]:
    """(million records a second, p50 ns, p99 ns) of a queue or pipe between processes; only one half is meant."""
    put, get = make()
    sender = _CONTEXT.Process(target=send_objects, args=(put, total, stamped))
    sender.start()
    get()
    hops = np.zeros(total - 1, np.int64)
    begin = time.perf_counter_ns()
    for k in range(total - 1):
        hops[k] = -int.from_bytes(get()[:8], "little") + time.monotonic_ns()
    elapsed = time.perf_counter_ns() - begin
    sender.join()
    return total / elapsed * 1e3, float(np.percentile(hops, 50)), float(np.percentile(hops, 99))


class PutQueue:
    def __init__(self, queue: Any) -> None:
        self.queue = queue

    def __call__(self, record: bytes) -> None:
        self.queue.put(record)


class SendPipe:
    def __init__(self, end: Any) -> None:
        self.end = end

    def __call__(self, record: bytes) -> None:
        self.end.send_bytes(record)


def make_queue() -> tuple[Any, Any]:
    queue: Any = _CONTEXT.Queue()
    return PutQueue(queue), queue.get


def make_pipe() -> tuple[Any, Any]:
    receive, send = _CONTEXT.Pipe(duplex=False)
    return SendPipe(send), receive.recv_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    cpu = [line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{cpu[0] if cpu else platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(f"command: {' '.join(sys.argv)}")
    warm = 1000
    throughput(1024, False, warm, 64)
    hop(1024, False, warm, 1000)
    print(f"\n{'':44} {'M rec/s':>18} {'hop p50 ns':>20} {'p99 ns':>24}")

    def row(name: str, rates: list[float], hops: list[tuple[float, float]]) -> None:
        text = f"{name:44} {statistics.median(rates):9.3f} ({max(rates):7.3f})"
        if hops:
            for k, width in ((0, 10), (1, 12)):
                values = [hop[k] for hop in hops]
                text += f" {statistics.median(values):{width}.0f} ({min(values):{width - 2}.0f})"
        print(text)

    for slots, text in ((1 << 10, "1 Ki"), (1 << 16, "64 Ki"), (1 << 23, "8 Mi")):
        for processes in (False, True):
            rates = [throughput(slots, processes, options.records, 64) for _ in range(options.runs)]
            hops = [hop(slots, processes, 200_000, 2_000) for _ in range(options.runs)]
            row(f"ring, {text} slots, {'processes' if processes else 'threads'}, 64 a push", rates, hops)
    row(
        "ring, 64 Ki slots, threads, 1 a push",
        [throughput(1 << 16, False, options.records // 4, 1) for _ in range(options.runs)],
        [],
    )
    for name, make in (("multiprocessing.Queue", make_queue), ("multiprocessing.Pipe", make_pipe)):
        rates = [peer(make, 50_000, False)[0] for _ in range(options.runs)]
        row(name, rates, [peer(make, 2_000, True)[1:] for _ in range(options.runs)])


if __name__ == "__main__":
    main()
