from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.research.detection.event_wise import EventScore, SymbolScore, score_symbol, summary
from sentinel.research.detection.recordings import Event, Series
from sentinel.units import NS_PER_S

BASE = 1_600_000_000 * NS_PER_S
ONSETS_S = (20_000, 60_000)
END = 1 << 62


def recorded(hours: int = 24) -> Series:
    t_ns = BASE + np.arange(0, hours * 3600, 60, dtype=np.int64) * NS_PER_S
    ones = np.ones(len(t_ns), np.int64)
    events = tuple(Event(f"e{s}", BASE + s * NS_PER_S, BASE + s * NS_PER_S) for s in ONSETS_S)
    fresh = np.zeros(len(t_ns), bool)
    return Series("X", t_ns, ones, ones, ones.astype(np.int8), fresh, events, np.zeros(0, np.int64))


def at(*seconds: float) -> np.ndarray:
    return BASE + np.rint(np.array(sorted(seconds)) * 1e9).astype(np.int64)


def test_delay_is_of_the_first_alarm_from_five_minutes_before_the_onset() -> None:
    score = score_symbol(recorded(), at(19_699, 19_700, 20_004, 60_007.5, 60_009), 0, END)
    assert score.delays_s.tolist() == [-300.0, 7.5]
    assert (score.early, score.false) == (1, 0)


def test_an_alarm_after_two_minutes_is_a_miss_and_not_false() -> None:
    score = score_symbol(recorded(), at(20_121), 0, END)
    assert score.delays_s.tolist() == [np.inf, np.inf]
    assert (score.after, score.false) == (1, 0)


@given(st.lists(st.floats(0, 86_000), max_size=20))
def test_every_alarm_is_counted_once(seconds: list[float]) -> None:
    score = score_symbol(recorded(), at(*seconds), 0, END)
    in_pumps = sum(-300 <= s - onset < 60 for s in seconds for onset in ONSETS_S)
    assert score.early + score.after + score.false + score.listed + score.unlabelled + in_pumps == len(seconds)


def test_only_the_span_asked_for_is_scored() -> None:
    score = score_symbol(recorded(), at(100, 20_001, 60_001, 80_000), BASE + 40_000 * NS_PER_S, END)
    assert score.delays_s.tolist() == [1.0]
    assert score.false == 1
    assert score.coin_days == pytest.approx((86_400 - 40_000 - 2 * 7200) / 86_400, abs=0.01)


def test_hard_negatives_lie_away_from_pumps_and_are_alarmed_by_an_alarm_near_them() -> None:
    moves = np.stack([at(1000, 19_999, 40_000), at(1030, 20_050, 40_100)], axis=1)
    score = score_symbol(recorded(), at(1085), 0, END, moves)
    assert (score.hard, score.hard_alarmed) == (2, 1)
    assert score_symbol(recorded(), at(1095), 0, END, moves).hard_alarmed == 0


def part(delays: list[float], false: int = 0, days: float = 10.0) -> SymbolScore:
    return SymbolScore("X", days, np.array(delays), 0, 0, false, 0, 0, 0, 0)


def test_summary_counts_shares_over_all_pumps_and_delays_over_those_found() -> None:
    figures = summary(EventScore((part([1.0, 3.0], false=1), part([20.0, np.inf]))))
    assert (figures["events"], figures["detected_5s"], figures["detected_60s"]) == (4, 0.5, 0.75)
    assert (figures["delay_median_s"], figures["false_alarms_per_coin_day"]) == (3.0, 0.05)
    assert figures["precision_60s"] == 0.75
    low, high = figures["intervals"]["detected_60s"]
    assert low < 0.75 < high
    low, high = figures["intervals"]["false_alarms_per_coin_day"]
    assert low == 0.0 < high == pytest.approx(0.1)


def test_intervals_narrow_with_more_pumps() -> None:
    widths = []
    for copies in (4, 64):
        low, high = summary(EventScore((part([1.0, np.inf] * copies),)))["intervals"]["detected_60s"]
        widths.append(high - low)
    assert widths[1] < widths[0] / 3


def test_nothing_to_score_gives_no_shares_rather_than_numbers() -> None:
    figures = summary(EventScore((part([]),)))
    assert figures["events"] == 0
    assert figures["detected_60s"] is figures["delay_median_s"] is figures["hard_negatives_alarmed"] is None
    assert figures["intervals"]["detected_60s"] is None
    assert "nan" not in repr(figures)
