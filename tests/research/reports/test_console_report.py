from __future__ import annotations

import dataclasses
import io

import numpy as np
from rich.console import Console

from sentinel.host.latency import new_latency_table
from sentinel.research.reports.console_report import MAX_ROWS, print_report
from sentinel.research.reports.run_report import EquityPath, RunReport, StageLatency
from tests.research.reports.sample_run import START_NS, sample_report


def _printed(report: RunReport, width: int = 140) -> str:
    buffer = io.StringIO()
    print_report(report, Console(file=buffer, width=width))
    return buffer.getvalue()


def test_report_shows_outcome_orders_and_latency_beside_the_budget() -> None:
    printed = _printed(sample_report())
    for expected in (
        "Sentinel demo, seed 7",
        "+36.00",
        "120,000",
        "entry retrace",
        "budget 500 µs",
        "p99.9",
        "execution",
        "3f3f",
    ):
        assert expected in printed


def test_narrow_terminal_cuts_no_time_and_no_figure() -> None:
    printed = _printed(sample_report(), width=80)
    assert "…" not in printed
    assert "23:59:05.000" in printed


def test_square_brackets_in_a_title_are_text() -> None:
    assert "[red]x[/red]" in _printed(sample_report(title="[red]x[/red]"))


def test_long_order_list_says_how_many_are_left_out() -> None:
    report = sample_report()
    printed = _printed(dataclasses.replace(report, orders=tuple(report.orders) * 15))
    assert f"{30 - MAX_ROWS} more in the HTML report" in printed


def test_run_in_which_nothing_happened_prints() -> None:
    empty = np.zeros(0, np.int64)
    report = RunReport(
        title="quiet",
        quote_asset="USDT",
        started_ns=START_NS,
        ended_ns=START_NS,
        wall_seconds=0.0,
        state_hash="00",
        counts={"market events": 0},
        equity=EquityPath(empty, empty),
        latency=(StageLatency.from_histogram("ingress", new_latency_table()[0]),),
    )
    assert "quiet" in _printed(report)
