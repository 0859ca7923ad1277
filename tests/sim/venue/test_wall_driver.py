"""A venue by the wall clock, on a machine that cannot keep up."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from sentinel.sim.venue.keepalive import Keepalive, KeepaliveConfig
from sentinel.sim.venue.lockstep import Connections, PaceConfig, WallDriver
from sentinel.units import NS_PER_MS, NS_PER_S


class Time:
    """A timeline that only notes how far it was moved."""

    now_ns = 0

    def advance(self, now_ns: int) -> None:
        self.now_ns = now_ns


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The wall clock, ns."""
    wall = [0]
    monkeypatch.setattr(time, "monotonic_ns", lambda: wall[0])
    return wall


def _driver(speed: float) -> tuple[WallDriver, Time]:
    timeline = Time()
    return WallDriver(cast(Any, timeline), Connections(), Keepalive(KeepaliveConfig()), PaceConfig(speed=speed)), timeline


def test_a_fast_venue_that_was_kept_from_running_goes_on_from_where_it_was(wall: list[int]) -> None:
    driver, timeline = _driver(10.0)
    wall[0] = 50 * NS_PER_MS
    driver.touch()
    assert timeline.now_ns == 500 * NS_PER_MS
    wall[0] += 60 * NS_PER_S
    driver.touch()
    caught_up_ns = timeline.now_ns
    assert caught_up_ns == 1_500 * NS_PER_MS
    wall[0] += 10 * NS_PER_MS
    driver.touch()
    assert timeline.now_ns == caught_up_ns + 100 * NS_PER_MS


def test_a_venue_at_the_speed_of_the_wall_clock_keeps_its_time(wall: list[int]) -> None:
    driver, timeline = _driver(1.0)
    wall[0] = 60 * NS_PER_S
    driver.touch()
    assert timeline.now_ns == 60 * NS_PER_S
