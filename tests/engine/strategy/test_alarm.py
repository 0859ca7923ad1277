"""One alarm an episode, against a plain statement of the rule; and the engine's own alarms."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as hs

from sentinel.engine.strategy.alarm import raises_alarm, stays_open
from sentinel.wire import SignalCode
from tests.engine.world import SECOND, World

THRESHOLD, HYSTERESIS, QUIET = 100, 30, 50


@given(steps=hs.lists(hs.tuples(hs.integers(0, 80), hs.sampled_from([0, 69, 70, 99, 100, 150])), max_size=60))
def test_an_episode_has_one_alarm_and_ends_with_quiet(steps: list[tuple[int, int]]) -> None:
    until, now, alarms = 0, 1, []
    expected, last = [], None
    for gap, lead in steps:
        now += gap
        if raises_alarm(until, now, lead, THRESHOLD):
            alarms.append(now)
        if stays_open(until, now, lead, THRESHOLD, HYSTERESIS):
            until = now + QUIET
        if last is not None and now - last >= QUIET:
            last = None
        if lead >= THRESHOLD or (last is not None and lead >= THRESHOLD - HYSTERESIS):
            if last is None:
                expected.append(now)
            last = now
    assert alarms == expected


@pytest.mark.parametrize(("pause_s", "alarms"), [(20, 1), (70, 2)])
def test_engine_raises_one_alarm_a_pump_and_another_after_the_quiet(pause_s: int, alarms: int) -> None:
    world = World(alarm_quiet_ns=60 * SECOND, cooldown_ns=0, setup_expiry_ns=SECOND, entry_wait_ns=SECOND).start().quiet()
    world.pump(1.2)
    world.wait(pause_s * SECOND)
    world.pump(1.3)
    assert len(world.signals(SignalCode.ANOMALY)) == alarms
