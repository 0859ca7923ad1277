"""LiveClock: close to UTC, never back."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

from sentinel import host
from sentinel.host.clock import LiveClock

#: As far from the system clock the daemon's may be.
_APART_NS = 50_000_000


def test_time_is_utc() -> None:
    clock = LiveClock()
    # However long this process was kept waiting between two readings.
    before_ns = time.time_ns()
    assert before_ns - _APART_NS <= clock.now_ns() <= time.time_ns() + _APART_NS


def test_time_never_goes_back() -> None:
    clock = LiveClock()
    stamps = [clock.now_ns() for _ in range(10_000)]
    assert stamps == sorted(stamps)


def test_system_clock_set_back_by_an_hour_moves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = LiveClock()
    before = clock.now_ns()
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600_000_000_000)
    assert before <= clock.now_ns() < before + 10_000_000_000


def test_time_goes_on_from_the_last_record_where_the_system_clock_was_set_back_between_two_starts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    last_ns = time.time_ns() + 3_600_000_000_000
    clock = LiveClock(not_before_ns=last_ns)
    assert last_ns <= clock.now_ns() < last_ns + 10_000_000_000
    assert "behind the last record" in caplog.text
    stamps = [clock.now_ns() for _ in range(1000)]
    assert stamps == sorted(stamps)
    assert stamps[-1] > last_ns


def test_a_record_of_the_past_does_not_move_the_clock(caplog: pytest.LogCaptureFixture) -> None:
    clock = LiveClock(not_before_ns=time.time_ns() - 3_600_000_000_000)
    before_ns = time.time_ns()
    assert before_ns - _APART_NS <= clock.now_ns() <= time.time_ns() + _APART_NS
    assert not caplog.records


@pytest.mark.parametrize("step_ns", [5_000_000, -5_000_000, 3_600_000_000_000])
def test_how_far_it_has_strayed_is_the_step_of_the_system_clock(step_ns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = LiveClock()
    assert clock.strayed_ns() < 1_000_000
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + step_ns)
    assert clock.strayed_ns() == pytest.approx(abs(step_ns), abs=1_000_000)


def test_nothing_else_in_the_host_reads_the_wall_clock() -> None:
    """Every time-out and every timer is by the monotonic clock."""
    wall = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}
    found = set()
    for path in Path(host.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, (ast.Name, ast.Attribute)):
                owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                if (owner, node.attr) in wall:
                    found.add(path.name)
            if isinstance(node, ast.ImportFrom) and node.module == "time":
                assert not {alias.name for alias in node.names} & {"time", "time_ns"}, path
    assert found == {"clock.py"}
