from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.research.detection.recordings import Event, Series
from sentinel.research.detection.truth import Zone, normal_days, pump_of, zones
from sentinel.units import NS_PER_S

BASE = 1_600_000_000 * NS_PER_S


def series(onsets: list[int], unlabelled: list[int] | None = None, listed: list[int] | None = None) -> Series:
    """A series without trades whose pumps lie so many seconds after BASE."""
    none = np.zeros(0, np.int64)
    events = [Event(f"e{s}", BASE + s * NS_PER_S, BASE + s * NS_PER_S) for s in onsets]
    events += [Event(f"u{s}", BASE + s * NS_PER_S, 0) for s in unlabelled or []]
    listed_ns = np.array(listed or [], np.int64) * NS_PER_S + BASE
    return Series("X", none, none, none, none.astype(np.int8), none.astype(bool), tuple(events), listed_ns)


def zone_at(one: Series, second: int) -> Zone:
    return Zone(int(zones(one, np.array([BASE + second * NS_PER_S]))[0]))


ONSET = 50_000
OFFSETS = st.integers(-20_000, 20_000)


@given(OFFSETS)
def test_time_around_an_onset_counts_as_the_definition_says(offset: int) -> None:
    expected = Zone.NORMAL
    if -7200 <= offset < -300:
        expected = Zone.EARLY
    elif -300 <= offset < 60:
        expected = Zone.PUMP
    elif 60 <= offset < 7200:
        expected = Zone.AFTER
    assert zone_at(series([ONSET]), ONSET + offset) == expected


@given(OFFSETS, st.integers(-20_000, 20_000))
def test_the_pump_itself_wins_over_the_surroundings_of_another(offset: int, distance: int) -> None:
    both = series(sorted([ONSET, ONSET + distance]))
    single = {zone_at(series([ONSET]), ONSET + offset), zone_at(series([ONSET + distance]), ONSET + offset)}
    assert zone_at(both, ONSET + offset) == max(single)


@given(OFFSETS)
def test_nothing_is_said_near_pumps_without_a_label(offset: int) -> None:
    near = -7200 <= offset < 7200
    assert zone_at(series([], unlabelled=[ONSET]), ONSET + offset) == (Zone.UNLABELLED if near else Zone.NORMAL)
    assert zone_at(series([], listed=[ONSET]), ONSET + offset) == (Zone.LISTED if near else Zone.NORMAL)


def test_a_list_adds_nothing_where_a_labelled_onset_is() -> None:
    assert zone_at(series([ONSET], listed=[ONSET - 600]), ONSET - 7500) == Zone.NORMAL


def test_times_of_a_pump_know_which_it_is() -> None:
    times = BASE + np.array([100, ONSET - 301, ONSET - 300, ONSET + 59, ONSET + 60, 90_000]) * NS_PER_S
    assert pump_of(series([1000, ONSET]), times).tolist() == [-1, -1, 1, 1, -1, -1]
    assert pump_of(series([1000, ONSET]), times, within_s=120).tolist() == [-1, -1, 1, 1, 1, -1]


SECONDS = st.lists(st.integers(0, 90_000), max_size=3)


@given(SECONDS, SECONDS, SECONDS, st.integers(0, 90_000), st.integers(0, 90_000))
def test_normal_days_are_the_recorded_time_on_which_an_alarm_is_false(
    onsets: list[int], unlabelled: list[int], listed: list[int], start: int, end: int
) -> None:
    times = BASE + np.arange(0, 90_000, 10) * NS_PER_S
    one = replace(series(sorted(onsets), unlabelled, listed), t_ns=times)
    start_ns, end_ns = BASE + min(start, end) * NS_PER_S, BASE + max(start, end) * NS_PER_S
    normal = (zones(one, times) == Zone.NORMAL) & (times >= start_ns) & (times < end_ns)
    # A step at each border of each window may fall on either side.
    assert normal_days(one, start_ns, end_ns) == pytest.approx(normal.sum() * 10 / 86_400, abs=20 * 10 / 86_400)
