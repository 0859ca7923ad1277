"""Engine step: rule, forest, strategy and risk on every trade, beside a bare loop over the same records.

    python benchmarks/bench_engine.py [--symbols 500] [--events 200000] [--repeats 7]

The results hash must be the same in every repeat: a faster step that decides otherwise is no faster step.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.engine.state import EngineSpec, new_effects, new_state
from sentinel.engine.state_hash import state_hash
from sentinel.engine.step import step_many
from sentinel.model.artifact import load_model
from sentinel.native import JIT, borrow
from sentinel.units import E8, NS_PER_S
from sentinel.wire import Command, Kind, RecordViews, Side, empty_slots, record_views

T0 = 1_700_000_000 * NS_PER_S
MS = 1_000_000


def market(symbols: int, events: int, seed: int = 1) -> NDArray[np.int64]:
    """``events`` slots, trades and quotes in turn, prices on a slow random walk, a burst of same-ms trades now and then."""
    rng = np.random.default_rng(seed)
    slots = empty_slots(events)
    m = record_views(slots).market
    m["symbol"] = rng.integers(0, symbols, events)
    m["t_recv"] = m["t_exchange"] = T0 + np.cumsum(rng.integers(0, 4, events)) * MS
    walk = np.cumsum(rng.normal(0.0, 2e-5, events))
    price = (E8 * (1.0 + m["symbol"] / symbols) * np.exp(walk)).astype(np.int64)
    trade = np.arange(events) % 2 == 0
    m["kind"] = np.where(trade, Kind.TRADE, Kind.BBO)
    m["side"] = np.where(trade, rng.integers(1, 3, events), Side.NONE)
    m["price"] = np.where(trade, price, price - price // 10_000)
    m["qty"] = rng.integers(1, 100, events) * E8 // 10
    m["price2"] = np.where(trade, 0, price + price // 10_000)
    m["qty2"] = np.where(trade, 0, E8)
    return slots


def prologue() -> NDArray[np.int64]:
    """EPOCH, recovery, funds, ARM."""
    slots = empty_slots(5)
    e = record_views(slots).control
    e["kind"], e["t"], e["symbol"] = Kind.CONTROL, T0, 0xFFFF
    e["command"] = [Command.EPOCH, Command.RECOVERING, Command.QUOTE_BALANCE, Command.RECOVERED, Command.ARM]
    e["id"] = [1, 0, 0, 0, 1]
    e["value"] = [0, 0, 100_000 * E8, 0, 0]
    return slots


@njit(**JIT)
def bare_loop(inp: RecordViews, mask: int, start: int, end: int, sums: NDArray[np.int64]) -> int:
    """The floor: read each record, add its price and quantity per symbol."""
    records, totals = borrow(inp), borrow(sums)
    for index in range(start, end):
        m = records.market[index & mask]
        totals[np.int64(m.symbol)] += m.price ^ m.qty
    return end


def run(slots: NDArray[np.int64], symbols: int, on_rule: bool) -> tuple[float, str, int]:
    """Seconds for all slots, state hash, decisions."""
    artifact = load_model("default")
    decider = CpuDecider(artifact, artifact.rules, on_rule)
    spec = EngineSpec(
        symbols=symbols,
        classes=artifact.classes,
        threshold=artifact.threshold,
        size_margins=tuple(int(v) for v in artifact.size_margins),
        size_steps_bps=tuple(int(v) for v in artifact.size_bps),
    )
    state, out = new_state(spec), new_effects(4096)
    dec = np.array([decider.address, decider.context, 0, 0], np.int64)
    start = prologue()
    step_many(state, dec, record_views(start), 0xFFFF, 0, len(start), out)
    views = record_views(slots)
    mask = (1 << 62) - 1
    began = time.perf_counter()
    done = 0
    while done < len(slots):
        out.cursor[0] = 0
        done = step_many(state, dec, views, mask, done, len(slots), out)
    return time.perf_counter() - began, state_hash(state), int(state.counters[0]["decisions"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    slots = market(arguments.symbols, arguments.events)
    print(f"{platform.machine()} {platform.processor() or ''} python {platform.python_version()}, median of {arguments.repeats}")
    rows: list[tuple[str, Any]] = [
        ("forest on every trade", lambda: run(slots, arguments.symbols, False)),
        ("forest where the rule fires", lambda: run(slots, arguments.symbols, True)),
    ]
    for name, work in rows:
        work()
        results = [work() for _ in range(arguments.repeats)]
        if len({digest for _, digest, _ in results}) != 1:
            raise SystemExit(f"{name}: results differ between repeats")
        seconds = statistics.median(s for s, _, _ in results)
        per_event = seconds / len(slots) * 1e9
        speed = f"{name:30} {per_event:8.1f} ns/event {1e3 / per_event:8.2f} M events/s"
        print(f"{speed}  {results[0][2]} decisions  {results[0][1][:16]}")
    views, sums = record_views(slots), np.zeros(arguments.symbols, np.int64)
    bare_loop(views, (1 << 62) - 1, 0, len(slots), sums)
    times = []
    for _ in range(arguments.repeats):
        began = time.perf_counter()
        bare_loop(views, (1 << 62) - 1, 0, len(slots), sums)
        times.append(time.perf_counter() - began)
    per_event = statistics.median(times) / len(slots) * 1e9
    print(f"{'bare loop over the records':30} {per_event:8.1f} ns/event {1e3 / per_event:8.2f} M events/s")


if __name__ == "__main__":
    main()
