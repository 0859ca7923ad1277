from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.host.latency import new_latency_table, record_latency
from sentinel.research.reports.charts import equity_chart, first_of_bursts, latency_chart, price_chart, thin_series
from sentinel.research.reports.run_report import Signal, StageLatency
from sentinel.wire import SignalCode
from tests.research.reports.sample_run import sample_report


@given(st.lists(st.integers(-(2**62), 2**62), max_size=400), st.integers(4, 50))
def test_thinned_series_keeps_ends_and_extremes_within_the_limit(values: list[int], limit: int) -> None:
    series = np.array(values, np.int64)
    t_ns, thin = thin_series(np.arange(len(series)), series, limit)
    assert len(thin) <= max(limit, 0) or len(series) <= limit
    assert list(series[t_ns]) == list(thin)
    assert bool(np.all(np.diff(t_ns) > 0))
    if values:
        assert (thin[0], thin[-1]) == (values[0], values[-1])
        assert (thin.min(), thin.max()) == (min(values), max(values))


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=60))
def test_latency_outline_counts_every_event_once(latencies: list[int]) -> None:
    table = new_latency_table()
    for value in latencies:
        record_latency(table, 0, value)
    stage = StageLatency.from_histogram("ingress", table[0])
    (trace,) = latency_chart([stage], 500_000).data
    assert int(np.sum(trace.customdata)) == len(latencies) == stage.count
    assert (trace.customdata[0], trace.customdata[-1]) == (0, 0)
    assert trace.x[0] * 1_000 <= max(1, min(latencies))
    assert trace.x[-1] * 1_000 >= max(latencies) * 0.96


def test_budget_is_a_line_on_the_latency_chart() -> None:
    report = sample_report()
    figure = latency_chart(list(report.latency), report.budget_ns)
    (line,) = figure.layout.shapes
    assert line.x0 == line.x1 == 500.0
    assert [trace.name for trace in figure.data] == ["ingress", "features", "decision", "risk", "execution"]


def test_stage_without_events_draws_without_failing() -> None:
    empty = StageLatency.from_histogram("execution", new_latency_table()[0])
    (trace,) = latency_chart([empty], 500_000).data
    assert len(trace.x) == 0


def test_fills_sit_at_their_time_and_price() -> None:
    report = sample_report()
    figure = price_chart(report, report.prices[0])
    traces = {trace.name: trace for trace in figure.data}
    for fill in report.fills:
        trace = traces[f"{fill.side} fill"]
        assert list(trace.y) == [pytest.approx(fill.price_e8 / 1e8)]
        assert np.array(trace.x, "datetime64[ns]").astype(np.int64)[0] == fill.t_ns


def test_price_chart_of_another_symbol_shows_no_foreign_marks() -> None:
    report = sample_report()
    other = dataclasses.replace(report.prices[0], symbol="QUIETUSDT")
    figure = price_chart(report, other)
    assert [trace.name for trace in figure.data] == ["price"]
    assert not figure.layout.shapes


def test_burst_of_anomalies_is_one_mark() -> None:
    signals = [Signal(t, "X", SignalCode.ANOMALY, 1) for t in (0, 10**9, 2 * 10**9, 5 * 10**9, 7 * 10**9)]
    assert [signal.t_ns for signal in first_of_bursts(signals)] == [0, 5 * 10**9]


def test_equity_chart_shows_quote_units() -> None:
    report = sample_report()
    (trace,) = equity_chart(report, report.equity).data
    assert trace.y[0] == 100_000.0
