"""LiveClock: close to UTC, never back."""

from __future__ import annotations

import time

import pytest

from sentinel.host.clock import LiveClock


def test_time_is_utc() -> None:
    clock = LiveClock()
    assert abs(clock.now_ns() - time.time_ns()) < 50_000_000


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
    assert abs(clock.now_ns() - time.time_ns()) < 50_000_000
    assert not caplog.records
