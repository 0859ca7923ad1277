"""The shape of a pump and of its mirror."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.sim.market.episode import HOUR_S, KEPT_AFTER_HOUR, Episode, interpolate

PUMP = Episode("X", 100.0)


def test_the_peak_comes_after_its_time_and_a_ninth_is_left_after_the_decay() -> None:
    for decay_s in (HOUR_S, 240.0):
        pump = Episode("X", 100.0, gain=0.2, decay_s=decay_s)
        assert pump.move(32.0) == pytest.approx(1.2)
        assert pump.move(32.0 + decay_s) == pytest.approx(1.0 + 0.2 * KEPT_AFTER_HOUR)
        assert pump.move(1e9) == pump.move(32.0 + decay_s)


def test_nothing_happens_before_the_onset() -> None:
    assert (PUMP.move(-1.0), PUMP.trades_per_s(-1.0), PUMP.buy_share(-1.0), PUMP.size_factor(-1.0)) == (1.0, 0.0, 0.5, 1.0)


@given(st.floats(0.0, 5000.0), st.floats(0.0, 5000.0))
def test_the_price_rises_to_the_peak_and_falls_after_it(first: float, second: float) -> None:
    early, late = sorted((first, second))
    if late <= PUMP.peak_s:
        assert PUMP.move(early) <= PUMP.move(late)
    elif early >= PUMP.peak_s:
        assert PUMP.move(early) >= PUMP.move(late)
    assert 1.0 <= PUMP.move(first) <= 1.2


@given(st.floats(0.0, 5000.0))
def test_a_dump_is_the_mirror_of_a_pump(since_s: float) -> None:
    dump = Episode("X", 100.0, direction=-1)
    assert dump.move(since_s) * PUMP.move(since_s) == pytest.approx(1.0)
    assert dump.buy_share(since_s) + PUMP.buy_share(since_s) == pytest.approx(1.0)
    assert dump.trades_per_s(since_s) == PUMP.trades_per_s(since_s)


def test_interpolation_is_linear_and_flat_outside() -> None:
    knots = ((0.0, 1.0), (2.0, 3.0), (4.0, 0.0))
    assert [interpolate(knots, x) for x in (-1.0, 0.0, 1.0, 2.0, 3.0, 9.0)] == [1.0, 1.0, 2.0, 3.0, 1.5, 0.0]
