"""Engine step: features, rule, forest, strategy and risk on every event, beside trade replays of other engines.

    python benchmarks/bench_engine.py [--symbols 500] [--events 400000] [--repeats 7] [--peers PYTHON]

"busy": 20,000 trades a second over all symbols, a third of them in the millisecond of the one before; "quiet": 500 a second,
so that nearly every trade closes a one-second bucket. "quotes": every second event is a best bid and ask. The state hash
must be the same in every repeat: a faster step that decides otherwise is no faster step. The peers replay the same trades
of one symbol to a strategy that counts them: no features, model, risk or journal. They need an environment of their own
(benchmarks/peers.txt; benchmarks/run --peers makes it).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from loopback import machine
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
BUSY, QUIET = 20_000, 500
PEER_PYTHON = Path(__file__).resolve().parent.parent / "build" / "peers" / "bin" / "python"


def market(symbols: int, events: int, rate: int, quotes: bool, seed: int = 1) -> NDArray[np.int64]:
    """``events`` slots at ``rate`` a second over all symbols, prices on a slow random walk; a third share a time."""
    rng = np.random.default_rng(seed)
    slots = empty_slots(events)
    m = record_views(slots).market
    m["symbol"] = rng.integers(0, symbols, events)
    gaps = np.where(rng.random(events) < 1 / 3, 0.0, rng.exponential(1.5 * NS_PER_S / rate, events))
    m["t_recv"] = m["t_exchange"] = T0 + np.cumsum(gaps.astype(np.int64))
    walk = np.cumsum(rng.normal(0.0, 1e-5, events))
    price = (100 * E8 * (1.0 + m["symbol"] / symbols) * np.exp(walk)).astype(np.int64)
    trade = np.arange(events) % 2 == 0 if quotes else np.ones(events, np.bool_)
    m["kind"] = np.where(trade, Kind.TRADE, Kind.BBO)
    m["side"] = np.where(trade, rng.integers(1, 3, events), Side.NONE)
    m["price"] = np.where(trade, price, price - price // 10_000)
    m["qty"] = (rng.lognormal(0, 2, events) * 1e7).astype(np.int64) + 1
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


def run(slots: NDArray[np.int64], symbols: int, on_rule: bool) -> tuple[float, str]:
    """Seconds for all slots, and the state hash."""
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
    return time.perf_counter() - began, state_hash(state)


def run_bare(slots: NDArray[np.int64], symbols: int) -> tuple[float, str]:
    """Seconds of the floor, and its sums."""
    views, sums = record_views(slots), np.zeros(symbols, np.int64)
    began = time.perf_counter()
    bare_loop(views, (1 << 62) - 1, 0, len(slots), sums)
    return time.perf_counter() - began, f"{int(sums.sum()) & 0xFFFFFFFFFFFFFFFF:016x}"


def row(name: str, events: int, seconds: list[float], note: str) -> None:
    """One line: median, best, note."""
    median, best = statistics.median(seconds), min(seconds)
    speeds = f"{median / events * 1e9:9.1f} {events / median / 1e6:9.3f} {events / best / 1e6:9.3f}"
    print(f"{name:48} {speeds}   {note}", flush=True)


def peers(python: Path, slots: NDArray[np.int64], repeats: int) -> None:
    """Rows of nautilus_trader and hftbacktest, or why there are none."""
    m = record_views(slots).market
    trades = np.stack([m["t_exchange"], m["price"], m["qty"], m["side"].astype(np.int64)], 1)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "trades.npy"
        np.save(path, trades)
        for name in ("hftbacktest", "nautilus_trader"):
            command = [str(python), str(Path(__file__).parent / "peer_replay.py"), name, str(path), str(repeats)]
            try:
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
                result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            except FileNotFoundError:
                print(f"{name:48} not measured: no {python}; `benchmarks/run --peers` installs it")
            except (subprocess.SubprocessError, ValueError, IndexError) as error:
                reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
                print(f"{name:48} not measured: {reason[-1] if reason else error}")
            else:
                row(f"{name} {result['version']}, trade replay, 1 symbol", result["trades"], result["seconds"], "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peers", type=Path, default=PEER_PYTHON, help="Python of the peers' environment")
    options = parser.parse_args()
    symbols, events = options.symbols, options.events
    print(machine())
    print(f"{'':48} {'ns/event':>9} {'M/s':>9} {'best M/s':>9}   state hash")
    busy, quiet = market(symbols, events, BUSY, False), market(symbols, events, QUIET, False)
    quoted, single = market(symbols, events, BUSY, True), market(1, events, 40, False)
    rows: list[tuple[str, Callable[[], tuple[float, str]]]] = [
        (f"forest on every event, busy, {symbols} symbols", lambda: run(busy, symbols, False)),
        (f"forest on every event, quiet, {symbols} symbols", lambda: run(quiet, symbols, False)),
        ("forest on every event, 1 symbol", lambda: run(single, 1, False)),
        (f"rule-gated, busy, {symbols} symbols", lambda: run(busy, symbols, True)),
        (f"rule-gated, busy with quotes, {symbols} symbols", lambda: run(quoted, symbols, True)),
        (f"rule-gated, quiet, {symbols} symbols", lambda: run(quiet, symbols, True)),
        ("rule-gated, 1 symbol", lambda: run(single, 1, True)),
        ("bare loop over the records", lambda: run_bare(busy, symbols)),
    ]
    for name, work in rows:
        work()
        results = [work() for _ in range(options.repeats)]
        if len({digest for _, digest in results}) != 1:
            raise SystemExit(f"{name}: results differ between repeats")
        row(name, events, [seconds for seconds, _ in results], results[0][1][:16])
    peers(options.peers, single[: events // 4], max(1, options.repeats // 2))


if __name__ == "__main__":
    main()
