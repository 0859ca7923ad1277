"""The risk gate: what all controls together take an order, and each alone.

    python benchmarks/bench_risk_gate.py [--orders 200000] [--runs 5]

One order that every control lets through is asked about again and again, its quantity changing, in an account where every
control has something to look at: clock, approval, impact, liquidity and the second source on, a price beyond the floor of the
dynamic collar, 20 live orders, 300 permits in the last minute, a book of 64 levels a side. Each is timed by the monotonic
clock in compiled code. "cold" walks through 4 MiB before each order, as an order is rare. A control's own figure is the mean
of a loop.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
from loopback import machine
from numba import njit
from numpy.typing import NDArray

from sentinel.engine import risk
from sentinel.engine.book import book_end_event, book_level
from sentinel.engine.frame import bind, glob, hour_volume, params, proposal, reference_price, symbol, volatility
from sentinel.engine.risk.exposure import asked_notional, open_value
from sentinel.engine.state import Effects, EngineSpec, EngineState, new_effects, new_state
from sentinel.host.monotonic import monotonic_ns
from sentinel.native import JIT
from sentinel.units import E8, NS_PER_S
from sentinel.wire import OrderState, OrderType, Reason, RecordViews, Side, TimeInForce, TradingState, empty_slots, record_views

T0 = 1_700_000_000 * NS_PER_S
LIVE, PERMITS, LEVELS = 20, 300, 64
STEP = E8 // 1_000
SECOND_MOVE_PPM = 1_500
Args = tuple[EngineState, NDArray[np.int64], RecordViews, Effects]


@njit(**JIT)
def time_orders(st: Any, dec: Any, inp: Any, out: Any, spent: Any, cold: Any) -> int:
    """Nanoseconds of each check into ``spent``; how many were refused. ``cold``: int64[n] walked through before each."""
    f = bind(st, dec, inp, 0, out)
    q = proposal(f, 0)
    refused = walked = 0
    for k in range(spent.shape[0]):
        for i in range(0, cold.shape[0], 8):
            walked += cold[i]
        q.qty = E8 + (k & 7) * STEP
        began = monotonic_ns()
        verdict = risk.check_order(f, q)
        spent[k] = monotonic_ns() - began
        refused += 1 if verdict.control != 0 else 0
    return refused + walked


@njit(**JIT)
def time_clock(spent: Any) -> None:
    """Nanoseconds between two readings of the clock: what each figure of an order contains of it."""
    for k in range(spent.shape[0]):
        began = monotonic_ns()
        spent[k] = monotonic_ns() - began


def loop_of(control: Any) -> Any:
    """A compiled loop over one control, in which the order changes each time: nanoseconds for ``count`` calls."""

    @njit(nogil=True, boundscheck=False, error_model="numpy")
    def run(st: Any, dec: Any, inp: Any, out: Any, count: int) -> Any:
        f = bind(st, dec, inp, 0, out)
        q = proposal(f, 0)
        refused = 0
        began = monotonic_ns()
        for k in range(count):
            q.qty = E8 + (k & 7) * STEP
            refused += 1 if control(f, q).control != 0 else 0
        return monotonic_ns() - began, refused

    return run


def controls() -> dict[str, Any]:
    """Every control as a function of frame and order, in the order they are asked in."""
    plain: dict[str, Callable[[Any, Any], Any]] = {
        "A1 killed": lambda f, q: risk.killed(glob(f)),
        "E8 journal": lambda f, q: risk.journal(glob(f)),
        "B12 clock": lambda f, q: risk.clock(glob(f), params(f)),
        "A2 trading_state": lambda f, q: risk.trading_state(glob(f), q),
        "A4 restricted": lambda f, q: risk.restricted(glob(f), params(f), symbol(f, q.symbol), q),
        "A5 symbol_halt": lambda f, q: risk.symbol_halt(symbol(f, q.symbol)),
        "A5 instrument_age": lambda f, q: risk.instrument_age(glob(f), params(f), symbol(f, q.symbol), q),
        "B1 sane_order": lambda f, q: risk.sane_order(q),
        "B7 order_type": lambda f, q: risk.order_type(q),
        "M0 no_reason": lambda f, q: risk.no_reason(q),
        "B10 signal_age": lambda f, q: risk.signal_age(glob(f), params(f), q),
        "A2 only_reduces": lambda f, q: risk.only_reduces(symbol(f, q.symbol), q),
        "E4 unknown_order": lambda f, q: risk.unknown_order(symbol(f, q.symbol)),
        "B1 max_qty": lambda f, q: risk.max_qty(params(f), symbol(f, q.symbol), q),
        "B2 max_notional": lambda f, q: risk.max_notional(params(f), symbol(f, q.symbol), q),
        "B5 fresh_reference": lambda f, q: risk.fresh_reference(glob(f), params(f), symbol(f, q.symbol)),
        "B5 source_gap": lambda f, q: risk.source_gap(f, glob(f), params(f), symbol(f, q.symbol), q),
        "B3 price_collar": lambda f, q: risk.price_collar(params(f), symbol(f, q.symbol), q),
        "B4 dynamic_collar": lambda f, q: risk.dynamic_collar(
            params(f), symbol(f, q.symbol), q, risk.squared_moves(volatility(f, q.symbol), symbol(f, q.symbol), glob(f).now)
        ),
        "B4 adverse_drift": lambda f, q: risk.adverse_drift(params(f), symbol(f, q.symbol), q, reference_price(f, q.symbol)),
        "B8 duplicate": lambda f, q: risk.duplicate(glob(f), params(f), symbol(f, q.symbol), q),
        "M8 joins_push": lambda f, q: risk.joins_push(glob(f), params(f), symbol(f, q.symbol), q),
        "B6 venue_filter": lambda f, q: risk.venue_filter(symbol(f, q.symbol), q),
        "D7 open_orders": lambda f, q: risk.open_orders(glob(f), params(f), symbol(f, q.symbol), q),
        "D1 position_limit": lambda f, q: risk.position_limit(params(f), symbol(f, q.symbol), q),
        "D2 gross_exposure": lambda f, q: risk.gross_exposure(
            glob(f), params(f), q, asked_notional(symbol(f, q.symbol), q), open_value(f)
        ),
        "D2 net_exposure": lambda f, q: risk.net_exposure(
            glob(f), params(f), q, asked_notional(symbol(f, q.symbol), q), glob(f).open_notional
        ),
        "D3 free_capital": lambda f, q: risk.free_capital(
            glob(f), params(f), q, asked_notional(symbol(f, q.symbol), q), glob(f).open_notional
        ),
        "D6 drawdown": lambda f, q: risk.drawdown(glob(f), params(f)),
        "D8 liquidity": lambda f, q: risk.liquidity(params(f), symbol(f, q.symbol), q, hour_volume(f, q.symbol)),
        "D5 daily_loss": lambda f, q: risk.daily_loss(glob(f), params(f), q),
        "C2 order_rate": lambda f, q: risk.order_rate(f, q),
        "C3 turnover": lambda f, q: risk.turnover(glob(f), params(f), q, asked_notional(symbol(f, q.symbol), q)),
        "C7 order_to_trade": lambda f, q: risk.order_to_trade(glob(f), params(f), symbol(f, q.symbol), q),
        "C7 quote_life": lambda f, q: risk.quote_life(glob(f), params(f), symbol(f, q.symbol), q),
        "C4 repeated": lambda f, q: risk.repeated(f, params(f), symbol(f, q.symbol), q),
        "C2 trades_per_minute": lambda f, q: risk.trades_per_minute(f),
        "B11 impact": lambda f, q: risk.impact(f, params(f), symbol(f, q.symbol), q),
        "B9 self_match": lambda f, q: risk.self_match(f, symbol(f, q.symbol), q),
        "H1 needs_approval": lambda f, q: risk.needs_approval(f, q, asked_notional(symbol(f, q.symbol), q)),
    }
    return {name: njit(nogil=True, error_model="numpy")(function) for name, function in plain.items()}


def desk() -> Args:
    """An account in which every control looks at something, and an order that all let through."""
    spec = EngineSpec(
        symbols=2,
        books=(0,),
        max_instrument_age_ns=600 * NS_PER_S,
        max_clock_error_ns=100_000,
        max_orders_per_s=1_000,
        max_orders_per_10s=1_000,
        max_orders_per_minute=1_000,
        max_open_orders=200,
        max_repeats_per_minute=1_000,
        max_exit_minutes=15,
        approval_notional_per_minute=50_000 * E8,
        max_source_gap_bps=100,
        collar_floor_bps=10,
        collar_spreads=100,
    )
    state = new_state(spec)
    g, y, q = state.glob[0], state.symbols[0], state.scratch.proposals[0]
    sent = {"sent_10s": E8, "sent_minute": PERMITS * E8, "count_minute": PERMITS, "permit_head": PERMITS, "order_head": PERMITS}
    account = {
        "now": T0,
        "trading_state": TradingState.ACTIVE,
        "clock_error": 1_000,
        "clock_t": T0,
        "day": T0 // (86_400 * NS_PER_S),
    }
    money = {
        "cash": 100_000 * E8,
        "equity_peak": 100_000 * E8,
        "permit_count": PERMITS,
        "order_count": PERMITS,
        "live_orders": LIVE,
        "sequence": LIVE,
    }
    quote = {"bid": E8 - 10_000, "ask": E8 + 10_000, "bbo_t": T0, "last_price": E8, "trading": 1, "instrument_t": T0}
    moves = {"book_t": T0, "trade_t": T0, "second_end": T0 + NS_PER_S}
    rules = {
        "tick_size": 10_000,
        "step_size": STEP,
        "min_qty": STEP,
        "min_notional": STEP,
        "band_up_bps": 20_000,
        "band_down_bps": 5_000,
    }
    past = {"open_sell": E8, "push_side": Side.SELL, "push_t": T0, "sent_t": T0, "sent_buys": 2_000, "day": account["day"]}
    order = {"symbol": 0, "side": Side.BUY, "price": E8, "qty": E8, "order_type": OrderType.LIMIT, "tif": TimeInForce.IOC}
    why = {
        "reason": Reason.ENTRY_WAIT,
        "setup_id": 1,
        "t_signal": T0,
        "fair_value": 2 * E8,
        "ref_price": E8,
        "edge_bps": 50,
        "strategy": 1,
    }
    for record, values in ((g, sent | account | money), (y, quote | moves | rules | past), (q, order | why)):
        for name, value in values.items():
            record[name] = value
    state.volatility["second"], state.volatility["squares"] = T0 // NS_PER_S, SECOND_MOVE_PPM**2
    state.volatility["total"] = state.volatility["squares"].sum(axis=1)
    state.permits[:PERMITS] = state.order_times[:PERMITS] = T0 - 59 * NS_PER_S + np.arange(PERMITS) * (NS_PER_S // 10)
    state.permit_notes["notional"][:PERMITS] = E8
    state.features.symbols["ref_60"], state.features.symbols["hour_volume"] = E8, 1_000_000 * E8
    # As the engine puts them: at the slots of their keys, the last of which it gave out last.
    live = state.orders[1 : LIVE + 1]
    live["key"], live["state"], live["symbol"], live["side"], live["price"] = (
        np.arange(LIVE) + 1,
        OrderState.ACKED,
        1,
        Side.SELL,
        E8,
    )
    live["symbol"][-1], live["price"][-1] = 0, 2 * E8
    for level in range(LEVELS):
        book_level(state.book, 0, Side.BUY, E8 - 10_000 * (1 + level), 100 * E8)
        book_level(state.book, 0, Side.SELL, E8 - 10_000 * level + 64 * 10_000, 100 * E8)
    book_end_event(state.book, 0)
    q["price"] = E8 + 64 * 10_000
    return state, np.zeros(4, np.int64), record_views(empty_slots(1)), new_effects(64)


def percentiles(values: NDArray[np.int64]) -> tuple[float, float, float]:
    """p50, p99, p99.9."""
    return tuple(float(v) for v in np.percentile(values, (50, 99, 99.9)))  # type: ignore[return-value]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=200_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    args, spent = desk(), np.zeros(options.orders, np.int64)
    print(machine())
    time_clock(spent)
    print(f"{'reading the clock, in each figure of an order':52} {percentiles(spent)[0]:8.0f} ns p50")
    print(f"{'':52} {'p50 ns':>8} {'p99 ns':>8} {'p99.9':>8}   medians of {options.runs} runs")
    for name, cold, count in (("warm", 0, options.orders), ("cold", 4 << 17, max(options.orders // 100, 10))):
        found = []
        for _ in range(1 + options.runs):
            refused = time_orders(*args, spent[:count], np.zeros(cold, np.int64))
            if refused:
                raise SystemExit(f"{refused} of {count} orders were refused: the figures are not those of all controls")
            found.append(percentiles(spent[:count]))
        medians = [statistics.median(figures) for figures in zip(*found[1:], strict=True)]
        label = f"all controls, one order, {name}"
        print(f"{label:52} {medians[0]:8.0f} {medians[1]:8.0f} {medians[2]:8.0f}", flush=True)
    print(f"\n{'each control alone':52} {'mean ns':>8}")
    for name, control in controls().items():
        run = loop_of(control)
        run(*args, 8)
        times = []
        for _ in range(options.runs):
            took, refused = run(*args, options.orders)
            times.append(took / options.orders)
            if refused:
                raise SystemExit(f"{name} refused {refused} orders")
        print(f"{name:52} {statistics.median(times):8.1f}", flush=True)


if __name__ == "__main__":
    main()
