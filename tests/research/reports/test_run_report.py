from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from sentinel.host.latency import bucket_floor, new_latency_table, record_latency
from sentinel.research.reports.run_report import EquityPath, PricePath, ReportError, StageLatency
from tests.research.reports.sample_run import sample_report


def test_summary_is_plain_json_with_exact_money() -> None:
    summary = sample_report().summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["realised_pnl"] == "36.00000000"
    assert summary["fees"] == "0.38000000"
    assert (summary["equity_start"], summary["equity_end"]) == ("100000.00000000", "100036.00000000")
    assert summary["signals"] == {"ANOMALY": 600, "ARMED": 1, "ENTRY": 1, "EXIT": 1}
    assert summary["orders_by_state"] == {"FILLED": 2}
    assert list(summary["latency"]) == ["ingress", "features", "decision", "risk", "execution"]
    assert set(summary["latency"]["risk"]) == {"count", "p50_ns", "p99_ns", "p99_9_ns", "max_ns"}


def test_stage_latency_keeps_every_used_bucket() -> None:
    table = new_latency_table()
    for value in (5, 5, 1_000, 70_000):
        record_latency(table, 0, value)
    stage = StageLatency.from_histogram("ingress", table[0])
    assert stage.count == int(stage.counts.sum()) == 4
    assert list(stage.counts) == [2, 1, 1]
    assert stage.floor_ns[0] == 5
    assert all(int(floor) in {bucket_floor(int(i)) for i in np.flatnonzero(table[0])} for floor in stage.floor_ns)


def test_series_of_unequal_length_is_refused() -> None:
    with pytest.raises(ReportError, match="prices of X"):
        PricePath("X", np.arange(3), np.arange(2))


def test_series_whose_time_goes_back_is_refused() -> None:
    with pytest.raises(ReportError, match="equity"):
        EquityPath(np.array([1, 3, 2]), np.arange(3))


@pytest.mark.parametrize("change", [{"ended_ns": 0}, {"budget_ns": 0}])
def test_report_with_impossible_span_or_budget_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ReportError, match=next(iter(change))):
        dataclasses.replace(sample_report(), **change)


def test_run_without_equity_has_a_summary() -> None:
    empty = np.zeros(0, np.int64)
    report = dataclasses.replace(sample_report(), equity=EquityPath(empty, empty))
    assert report.summary()["equity_end"] == "0.00000000"
