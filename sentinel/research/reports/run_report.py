"""What one run did, as plain data: the input of the console and the HTML report.

Times are int64 ns UTC (virtual time in a simulated run), prices, quantities and money int64 in units
of 1e-8. Floats appear only where a chart is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import FieldError
from sentinel.host.latency import BUDGET_NS, bucket_floor, summarize
from sentinel.units import format_e8
from sentinel.wire import SignalCode

Int64Array = NDArray[np.int64]


class ReportError(FieldError):
    """A report that cannot be drawn from the data it was given."""


@dataclass(frozen=True)
class PricePath:
    """Trade prices of one symbol: t_ns int64[n] ascending, price_e8 int64[n]."""

    symbol: str
    t_ns: Int64Array
    price_e8: Int64Array

    def __post_init__(self) -> None:
        _check_series(f"prices of {self.symbol}", self.t_ns, self.price_e8)


@dataclass(frozen=True)
class EquityPath:
    """Equity in the quote asset: t_ns int64[n] ascending, equity_e8 int64[n]."""

    t_ns: Int64Array
    equity_e8: Int64Array

    def __post_init__(self) -> None:
        _check_series("equity", self.t_ns, self.equity_e8)


@dataclass(frozen=True)
class KnownEvent:
    """A pump or dump the simulated market contains, for comparison; empty on real data."""

    symbol: str
    kind: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True)
class Signal:
    """One SIGNAL effect of the engine. ``detail`` is a short text for people."""

    t_ns: int
    symbol: str
    code: SignalCode
    price_e8: int
    margin: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Fill:
    """One execution. ``side`` is "BUY" or "SELL"; the fee is in units of its own asset."""

    t_ns: int
    symbol: str
    side: str
    price_e8: int
    qty_e8: int
    fee_e8: int
    fee_asset: str
    reason: str
    order_id: str


@dataclass(frozen=True)
class Order:
    """One order at its last known state. ``reason`` is the bona-fide reason every intent carries."""

    t_ns: int
    symbol: str
    side: str
    kind: str
    price_e8: int
    qty_e8: int
    filled_e8: int
    state: str
    reason: str
    order_id: str


@dataclass(frozen=True)
class RoundTrip:
    """One closed position; ``pnl_e8`` is net of ``fees_e8``, both in the quote asset."""

    symbol: str
    opened_ns: int
    closed_ns: int
    pnl_e8: int
    fees_e8: int
    exit_reason: str


@dataclass(frozen=True)
class StageLatency:
    """Latency of one stage: percentiles and the histogram they come from.

    ``floor_ns`` int64[n] ascending holds the smallest latency of each bucket, ``counts`` int64[n] how
    many events fell into it.
    """

    stage: str
    count: int
    p50_ns: int
    p99_ns: int
    p99_9_ns: int
    max_ns: int
    floor_ns: Int64Array
    counts: Int64Array

    @classmethod
    def from_histogram(cls, stage: str, histogram: Int64Array) -> StageLatency:
        """From one row of a latency table (sentinel.host.latency); empty buckets are left out."""
        summary = summarize(histogram)
        used = np.flatnonzero(histogram)
        return cls(
            stage=stage,
            floor_ns=np.array([bucket_floor(int(index)) for index in used], np.int64),
            counts=np.asarray(histogram)[used].astype(np.int64),
            **summary,
        )

    def summary(self) -> dict[str, int]:
        """The percentiles without the histogram, for ``--json``."""
        return {
            "count": self.count,
            "p50_ns": self.p50_ns,
            "p99_ns": self.p99_ns,
            "p99_9_ns": self.p99_9_ns,
            "max_ns": self.max_ns,
        }


@dataclass(frozen=True)
class RunReport:
    """Everything the report shows.

    ``counts`` are shown in their order ("market events" -> 120000). ``notes`` say what was simulated
    and what was not. ``latency`` is in the order an event passes the stages.
    """

    title: str
    quote_asset: str
    started_ns: int
    ended_ns: int
    wall_seconds: float
    state_hash: str
    counts: dict[str, int]
    equity: EquityPath
    config: dict[str, str] = field(default_factory=dict)
    prices: Sequence[PricePath] = ()
    known_events: Sequence[KnownEvent] = ()
    signals: Sequence[Signal] = ()
    fills: Sequence[Fill] = ()
    orders: Sequence[Order] = ()
    round_trips: Sequence[RoundTrip] = ()
    latency: Sequence[StageLatency] = ()
    budget_ns: int = BUDGET_NS
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.ended_ns < self.started_ns:
            raise ReportError("ended_ns", self.ended_ns, f"at least started_ns {self.started_ns}", "swap them")
        if self.budget_ns <= 0:
            raise ReportError("budget_ns", self.budget_ns, "a positive time", "pass the latency budget in ns")

    @property
    def realised_pnl_e8(self) -> int:
        """Net PnL of the closed round trips, in the quote asset."""
        return sum(trip.pnl_e8 for trip in self.round_trips)

    @property
    def fees_e8(self) -> int:
        """Fees of the closed round trips, in the quote asset."""
        return sum(trip.fees_e8 for trip in self.round_trips)

    def summary(self) -> dict[str, Any]:
        """The figures of the report as JSON-able values; money as decimal strings."""
        first, last = (int(self.equity.equity_e8[i]) for i in (0, -1)) if len(self.equity.equity_e8) else (0, 0)
        return {
            "state_hash": self.state_hash,
            "counts": dict(self.counts),
            "signals": _count_by(signal.code.name for signal in self.signals),
            "orders_by_state": _count_by(order.state for order in self.orders),
            "round_trips": len(self.round_trips),
            "realised_pnl": format_e8(self.realised_pnl_e8),
            "fees": format_e8(self.fees_e8),
            "equity_start": format_e8(first),
            "equity_end": format_e8(last),
            "quote_asset": self.quote_asset,
            "market_seconds": (self.ended_ns - self.started_ns) / 1e9,
            "wall_seconds": round(self.wall_seconds, 3),
            "latency": {stage.stage: stage.summary() for stage in self.latency},
            "budget_ns": self.budget_ns,
        }


def _check_series(name: str, t_ns: Int64Array, values: Int64Array) -> None:
    if len(t_ns) != len(values):
        raise ReportError(name, (len(t_ns), len(values)), "as many times as values", "pass arrays of one length")
    if len(t_ns) > 1 and bool(np.any(np.diff(t_ns) < 0)):
        raise ReportError(name, "times that go back", "ascending times", "sort the series by time")


def _count_by(names: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
