from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.research.event_score import EventScore, count_episodes, price_after_alarms, score_events
from sentinel.research.pump_data import Series, Zone
from sentinel.research.pump_rows import Rows
from sentinel.units import NS_PER_S

ONSET = 100_000
END = 200_000


def _series() -> Series:
    t = np.arange(0, END, 60, dtype=np.int64) * NS_PER_S
    n = len(t)
    ones = np.ones(n, np.int64)
    onsets = np.array([ONSET * NS_PER_S])
    return Series("AAABTC", t, ones, ones, np.ones(n, np.int8), np.zeros(n, np.int8), np.zeros(n, bool), onsets)


def _score(alarms: list[tuple[int, bool, Zone]], mirrored: bool = False, start: int = 0) -> EventScore:
    """``alarms``: (second, in the event's direction, zone)."""
    n = len(alarms)
    rows = Rows(
        np.zeros((n, 13), np.float32),
        np.array([t * NS_PER_S for t, _, _ in alarms], np.int64),
        np.zeros(n, np.int32),
        np.zeros(n, bool),
        np.array([zone for _, _, zone in alarms], np.int8),
        np.array([same for _, same, _ in alarms], bool),
        np.ones(n, bool),
        np.zeros(n, bool),
    )
    return score_events(rows, np.ones(n, bool), [_series()], start * NS_PER_S, END * NS_PER_S, mirrored)


@pytest.mark.parametrize(
    ("second", "counts"), [(0, (1, 1, 1)), (30, (1, 1, 1)), (31, (0, 1, 1)), (61, (0, 0, 1)), (121, (0, 0, 0))]
)
def test_an_event_is_detected_within_each_deadline(second: int, counts: tuple[int, int, int]) -> None:
    score = _score([(ONSET + second, True, Zone.PUMP), (ONSET + second + 5, True, Zone.PUMP)])
    assert tuple(score.detected.values()) == counts
    assert score.median_delay_s == (second if counts[2] else None)
    assert score.events == 1


def test_an_alarm_against_the_event_does_not_detect_it_but_is_counted() -> None:
    score = _score([(ONSET + 300, False, Zone.AFTER)])
    assert (score.detected[120], score.wrong_way, score.false_other) == (0, 1, 0)


def test_an_early_alarm_is_counted_apart() -> None:
    score = _score([(ONSET - 100, True, Zone.UNKNOWN)])
    assert (score.early, score.detected[120], score.false_same) == (1, 0, 0)


def test_false_alarms_are_episodes_by_direction() -> None:
    score = _score([(10, True, Zone.NORMAL), (20, True, Zone.NORMAL), (609, True, Zone.NORMAL), (611, True, Zone.NORMAL)])
    assert (score.false_same, score.false_other) == (2, 0)
    assert _score([(10, False, Zone.NORMAL)]).false_other == 1


def test_only_the_span_and_the_side_asked_for_count() -> None:
    assert _score([(10, True, Zone.NORMAL)], start=50).false_same == 0
    assert _score([(10, True, Zone.NORMAL)], mirrored=True).false_same == 0
    assert _score([], start=ONSET + 1).events == 0


def test_f1_weighs_missed_events_and_false_alarms_alike() -> None:
    score = EventScore(10, {30: 5, 60: 8, 120: 9}, 4.0, 0, 0, 3, 1, 2.0)
    precision, recall = 8 / 12, 8 / 10
    assert score.f_score() == pytest.approx(2 * precision * recall / (precision + recall))
    assert score.as_dict()["false_alarms_per_coin_day"] == 2.0
    assert score.as_dict()["precision_60s"] == pytest.approx(precision, abs=1e-4)


def test_a_missed_event_weighs_beta_squared_false_alarms() -> None:
    missed = EventScore(10, {30: 8, 60: 8, 120: 8}, 4.0, 0, 0, 0, 0, 2.0)
    alarmed = EventScore(8, {30: 8, 60: 8, 120: 8}, 4.0, 0, 0, 4, 4, 2.0)
    assert missed.f_score(2.0) == pytest.approx(alarmed.f_score(2.0))
    assert missed.f_score() > alarmed.f_score()


def test_the_price_after_an_alarm_is_measured_against_the_move() -> None:
    price = np.full(20, 1000, np.int64)
    price[5:] = 1100  # up at 300 s, half of it back by the end
    price[12:] = 1045
    t = np.arange(20, dtype=np.int64) * 60 * NS_PER_S
    one = replace(_series(), t_ns=t, price=price)
    x = np.zeros((3, 13), np.float32)
    x[:, 0] = 0.1
    off = np.zeros(3, bool)
    rows = Rows(x, t[[5, 6, 19]], np.zeros(3, np.int32), off, np.full(3, Zone.PUMP, np.int8), ~off, ~off, off)
    result = price_after_alarms(rows, np.array([True, True, False]), [one], 0, END * NS_PER_S, Zone.PUMP)
    assert result == {"alarms": 1, "mean_pct": 5.0, "median_pct": 5.0}
    assert price_after_alarms(rows, ~off, [one], 0, END * NS_PER_S, Zone.NORMAL)["alarms"] == 0


@given(st.lists(st.integers(0, 5000), max_size=60))
def test_episodes_are_what_a_pause_of_ten_minutes_lets_through(seconds: list[int]) -> None:
    taken: list[int] = []
    for t in sorted(seconds):
        if not taken or t - taken[-1] >= 600:
            taken.append(t)
    assert count_episodes(np.array(seconds, np.int64) * NS_PER_S) == len(taken)
