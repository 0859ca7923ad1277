"""A made-up run with every part of a report filled in: a pump sold and bought back, and its latencies."""

from __future__ import annotations

import numpy as np

from sentinel.host.latency import Stage, new_latency_table, record_latency
from sentinel.research.reports.run_report import (
    EquityPath,
    Fill,
    KnownEvent,
    Order,
    PricePath,
    RoundTrip,
    RunReport,
    Signal,
    StageLatency,
)
from sentinel.units import E8, NS_PER_S
from sentinel.wire import SignalCode

START_NS = 1_723_161_255 * NS_PER_S
MEDIAN_NS = {Stage.INGRESS: 9_000, Stage.FEATURES: 250, Stage.DECISION: 500, Stage.RISK: 120, Stage.EXECUTION: 60_000}


def sample_report(title: str = "Sentinel demo, seed 7") -> RunReport:
    """Twelve minutes of one coin with a pump at minute four; deterministic."""
    rng = np.random.default_rng(7)
    seconds = np.sort(rng.uniform(0, 720, 20_000))
    shape = np.interp(seconds, [0, 240, 272, 330, 420, 720], [1.0, 1.0, 1.21, 1.09, 1.04, 1.02])
    price = (0.000125 * E8 * 100 * shape * (1 + rng.normal(0, 0.0006, len(seconds)))).astype(np.int64) * 100
    t_ns = (START_NS + seconds * NS_PER_S).astype(np.int64)

    def at(second: float) -> int:
        return START_NS + int(second * NS_PER_S)

    def price_at(second: float) -> int:
        return int(price[np.searchsorted(seconds, second)])

    fills = (
        Fill(at(290), "PUMPUSDT", "SELL", price_at(290), 40_000 * E8, 20_000_000, "USDT", "ENTRY_RETRACE", "STL-0000000000001"),
        Fill(at(420), "PUMPUSDT", "BUY", price_at(420), 40_000 * E8, 18_000_000, "USDT", "EXIT_TAKE_PROFIT", "STL-0000000000002"),
    )
    orders = tuple(
        Order(f.t_ns, f.symbol, f.side, "LIMIT IOC", f.price_e8, f.qty_e8, f.qty_e8, "FILLED", f.reason, f.order_id)
        for f in fills
    )
    anomalies = [
        Signal(at(245 + i * 0.05), "PUMPUSDT", SignalCode.ANOMALY, price_at(245 + i * 0.05), 4200 + i) for i in range(600)
    ]
    equity_t = np.arange(0, 721, 5)
    table = new_latency_table()
    for stage, median in MEDIAN_NS.items():
        for value in rng.lognormal(np.log(median), 0.5, 3_000):
            record_latency(table, int(stage), int(value))
    return RunReport(
        title=title,
        quote_asset="USDT",
        started_ns=START_NS,
        ended_ns=at(720),
        wall_seconds=41.2,
        state_hash="3f" * 32,
        counts={"market events": 120_000, "decisions": 20_000, "anomalies": 600, "orders": 2, "fills": 2},
        equity=EquityPath(
            (START_NS + equity_t * NS_PER_S).astype(np.int64), (100_000 * E8 + equity_t * 5_000_000).astype(np.int64)
        ),
        config={"feed.symbols": "PUMPUSDT", "risk.max_drawdown_bps": "2000"},
        prices=(PricePath("PUMPUSDT", t_ns, price),),
        known_events=(KnownEvent("PUMPUSDT", "pump", at(240), at(330)),),
        signals=(
            *anomalies,
            Signal(at(245.2), "PUMPUSDT", SignalCode.ARMED, price_at(245.2), 4200, "setup 1"),
            Signal(at(290), "PUMPUSDT", SignalCode.ENTRY, price_at(290), 4300, "retraced 20 %"),
            Signal(at(420), "PUMPUSDT", SignalCode.EXIT, price_at(420), 0, "take profit"),
        ),
        fills=fills,
        orders=orders,
        round_trips=(RoundTrip("PUMPUSDT", at(290), at(420), 3_600_000_000, 38_000_000, "EXIT_TAKE_PROFIT"),),
        latency=tuple(StageLatency.from_histogram(stage.name.lower(), table[stage]) for stage in Stage),
        notes=("The market and the exchange are simulated; the protocol, the engine and the order path are the real ones.",),
    )
