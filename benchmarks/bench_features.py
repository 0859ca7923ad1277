"""Features and rule, the book and its oracle: nanoseconds an event inside one compiled loop.

    python benchmarks/bench_features.py [--events 1000000] [--runs 9]

Every row is the median of the runs (spread beside it) on one core. The hash of all vectors is printed:
a speed counts only while it stays the same.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.book import (
    BookState,
    book_best,
    book_end_event,
    book_level,
    check_bbo,
    new_book_state,
    remember_bbo,
)
from sentinel.engine.features import FeatureState, fill_vector, new_feature_state, update_trade
from sentinel.native import JIT, borrow, float_bits
from sentinel.wire import MAX_FEATURES

S = 1_000_000_000
E8 = 100_000_000
START = 1_600_000_000 * S


@njit(**JIT)
def score_trades(state: FeatureState, trades: NDArray[np.int64], out: NDArray[np.float32], full: bool) -> int:
    """Update, vector and the pump rule for each trade; returns how many passed the rule."""
    fs = FeatureState(borrow(state.symbols))
    vector = borrow(out)
    passed = 0
    for i in range(trades.shape[0]):
        s, t = trades[i, 0], trades[i, 1]
        update_trade(fs, s, t, trades[i, 2], trades[i, 3], trades[i, 4])
        fill_vector(fs, s, t, vector, full)
        passed += vector[0] > np.float32(0.02) and vector[1] > np.float32(3.0) and not vector[2] >= np.float32(0.6)
    return passed


@njit(**JIT)
def hash_vectors(state: FeatureState, trades: NDArray[np.int64], out: NDArray[np.float32]) -> np.uint64:
    """FNV-1a over the bits of every vector."""
    value = np.uint64(0xCBF29CE484222325)
    for i in range(trades.shape[0]):
        update_trade(state, trades[i, 0], trades[i, 1], trades[i, 2], trades[i, 3], trades[i, 4])
        fill_vector(state, trades[i, 0], trades[i, 1], out, True)
        for slot in range(out.shape[0]):
            bits = np.uint64(0x7FC00000) if np.isnan(out[slot]) else np.uint64(float_bits(out[slot]))
            value = (value ^ bits) * np.uint64(0x100000001B3)
    return value


@njit(**JIT)
def change_levels(state: BookState, levels: NDArray[np.int64]) -> None:
    """One level change for each row."""
    bs = BookState(borrow(state.books))
    for i in range(levels.shape[0]):
        book_level(bs, 0, levels[i, 0], levels[i, 1], levels[i, 2])


@njit(**JIT)
def check_tickers(state: BookState, count: int) -> int:
    """A ticker, and a check 200 tickers back, for each of ``count`` update ids; returns the matches."""
    bs = BookState(borrow(state.books))
    matches = 0
    best = book_best(bs, 0)
    for update_id in range(1, count + 1):
        remember_bbo(bs, 0, update_id, best.bid, best.bid_qty, best.ask, best.ask_qty)
        book_end_event(bs, 0)
        matches += check_bbo(bs, 0, update_id - 200)
    return matches


def random_trades(rng: np.random.Generator, count: int, symbols: int, rate: float) -> NDArray[np.int64]:
    """int64[count, 5] of symbol, t, price, qty, side at ``rate`` trades a second over all symbols; a third in one ms."""
    gaps = np.where(rng.random(count) < 1 / 3, 0.0, rng.exponential(1.5 * S / rate, count)).astype(np.int64)
    price = (100 * E8 * np.exp(np.cumsum(rng.normal(0, 1e-5, count)))).astype(np.int64)
    columns = (
        rng.integers(0, symbols, count),
        START + np.cumsum(gaps),
        price,
        (rng.lognormal(0, 2, count) * 1e7).astype(np.int64) + 1,
        rng.integers(1, 3, count),
    )
    return np.ascontiguousarray(np.stack(columns, 1), dtype=np.int64)


def random_levels(rng: np.random.Generator, count: int, depth: int) -> NDArray[np.int64]:
    """int64[count, 3] of side, price, qty: mostly near the touch, 40 % deletions, as the venue sends them."""
    distance = np.minimum(rng.exponential(depth / 8, count).astype(np.int64), depth - 1)
    side = rng.integers(1, 3, count)
    price = np.where(side == 1, 1_000_000 - distance, 1_000_001 + distance)
    qty = np.where(rng.random(count) < 0.4, 0, rng.integers(1, 10**9, count))
    return np.ascontiguousarray(np.stack((side, price, qty), 1), dtype=np.int64)


def measure(runs: int, events: int, prepare: Callable[[], Any], work: Callable[[Any], Any]) -> tuple[float, float, float]:
    """Median, least and greatest nanoseconds an event over ``runs`` runs, each on a fresh state; the first is not counted."""
    figures = []
    for _ in range(runs + 1):
        state = prepare()
        begin = time.perf_counter_ns()
        work(state)
        figures.append((time.perf_counter_ns() - begin) / events)
    return statistics.median(figures[1:]), min(figures[1:]), max(figures[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    events, runs = args.events, args.runs
    print(f"{platform.machine()} {platform.system()}, Python {platform.python_version()}: {' '.join(sys.argv)}")
    print(f"{'':58}  median     min     max  ns/event")

    def row(name: str, figures: tuple[float, float, float]) -> None:
        print(f"{name:58} {figures[0]:7.1f} {figures[1]:7.1f} {figures[2]:7.1f}")

    out = np.zeros(MAX_FEATURES, np.float32)
    digest = 0
    for symbols, rate in ((1, 200.0), (500, 20_000.0), (500, 5_000.0), (500, 500.0), (500, 10.0)):
        trades = random_trades(np.random.default_rng(1), events, symbols, rate)
        for full, slots in ((False, 13), (True, 26)):
            figures = measure(
                runs,
                events,
                lambda symbols=symbols: new_feature_state(symbols),  # type: ignore[misc]
                lambda fs, trades=trades, full=full: score_trades(fs, trades, out, full),  # type: ignore[misc]
            )
            row(f"features + rule, {symbols} symbols, {rate / symbols:g} trades/s each, {slots} slots", figures)
        digest = zlib.crc32(int(hash_vectors(new_feature_state(symbols), trades, out)).to_bytes(8, "little"), digest)

    for depth in (100, 1000, 5000):
        levels = random_levels(np.random.default_rng(3), events, depth)
        figures = measure(
            runs,
            events,
            lambda: new_book_state(1),
            lambda bs, levels=levels: change_levels(bs, levels),  # type: ignore[misc]
        )
        row(f"book level, {depth} levels a side", figures)

    def touched_book() -> BookState:
        bs = new_book_state(1)
        book_level(bs, 0, 1, 100, 5)
        book_level(bs, 0, 2, 101, 5)
        return bs

    row("oracle: ticker + end of event + check", measure(runs, events, touched_book, lambda bs: check_tickers(bs, events)))
    print(f"hash of all vectors: {digest:08x}")


if __name__ == "__main__":
    main()
