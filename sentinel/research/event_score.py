"""How a decider does on events: detected or not and when, and false alarms a day of recording, not row by row.

Rows of one burst are not independent: a row-wise score flatters a detector. Here an event counts once, and
alarms closer than ten minutes count once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.research.pump_data import BEFORE_SECONDS, Series, Zone
from sentinel.research.pump_rows import EPISODE_SECONDS, Rows
from sentinel.units import NS_PER_S

DEADLINES_S = (30, 60, 120)


@dataclass(frozen=True)
class EventScore:
    """Counts over one span of time and one direction (pumps, or their mirror images as dumps).

    ``false_same``/``false_other``: alarms on normal rows in the direction of the events, and against it.
    ``wrong_way``: events whose way back raised an alarm in the hour after.
    """

    events: int
    detected: dict[int, int]
    median_delay_s: float | None
    early: int
    wrong_way: int
    false_same: int
    false_other: int
    coin_days: float

    def f_score(self, beta: float = 1.0) -> float:
        """F-measure of events detected within 60 s; a missed event weighs beta^2 times a false alarm."""
        found, square = self.detected[60], beta * beta
        total = (1 + square) * found + square * (self.events - found) + self.false_same + self.false_other
        return (1 + square) * found / total if total else 0.0

    def as_dict(self) -> dict[str, Any]:
        false = self.false_same + self.false_other
        return {
            "events": self.events,
            **{f"detected_{seconds}s": count for seconds, count in self.detected.items()},
            "median_delay_s": self.median_delay_s,
            "alarm_in_10min_before": self.early,
            "alarm_on_the_way_back": self.wrong_way,
            "false_alarms": false,
            "false_alarms_same_direction": self.false_same,
            "coin_days": round(self.coin_days, 1),
            "false_alarms_per_coin_day": round(false / self.coin_days, 4) if self.coin_days else None,
            "precision_60s": round(self.detected[60] / (self.detected[60] + false), 4) if self.detected[60] + false else None,
            "recall_60s": round(self.detected[60] / self.events, 4) if self.events else None,
            "f1_60s": round(self.f_score(), 4),
        }


def score_events(
    rows: Rows, alarm: NDArray[np.bool_], series: list[Series], start_ns: int, end_ns: int, mirrored: bool, cold: bool = False
) -> EventScore:
    """Score ``alarm`` (bool per row) on the span [start, end) of the original or mirrored series, history full or cut."""
    chosen = np.flatnonzero(
        alarm & (rows.mirrored == mirrored) & (rows.cold == cold) & (rows.t_ns >= start_ns) & (rows.t_ns < end_ns)
    )
    alarms = rows.take(chosen)
    detected = dict.fromkeys(DEADLINES_S, 0)
    delays: list[float] = []
    events = early = wrong_way = 0
    false = {True: 0, False: 0}
    days = 0.0
    for number, one in enumerate(series):
        days += one.recorded_days(start_ns, end_ns)
        mine = alarms.take(alarms.series == number)
        for same in (True, False):
            normal = (mine.zone == Zone.NORMAL) & (mine.with_event == same)
            false[same] += count_episodes(mine.t_ns[normal])
        for onset in one.onsets_ns[(one.onsets_ns >= start_ns) & (one.onsets_ns < end_ns)]:
            since = (mine.t_ns - onset) / NS_PER_S
            events += 1
            early += bool((mine.with_event & (since >= -BEFORE_SECONDS) & (since < 0)).any())
            wrong_way += bool((~mine.with_event & (since >= 0) & (since < 3600)).any())
            found = since[mine.with_event & (since >= 0) & (since <= max(DEADLINES_S))]
            if len(found):
                delays.append(float(found.min()))
                for seconds in DEADLINES_S:
                    detected[seconds] += bool(found.min() <= seconds)
    median = round(float(np.median(delays)), 3) if delays else None
    return EventScore(events, detected, median, early, wrong_way, false[True], false[False], days)


def price_after_alarms(
    rows: Rows, alarm: NDArray[np.bool_], series: list[Series], start_ns: int, end_ns: int, zone: Zone
) -> dict[str, Any]:
    """How far the price came back against the move, from 25 s to 30 min after each alarm episode in ``zone``.

    Prints only: no spread, no fee, no size. Positive is what a contrarian hopes for.
    """
    chosen = alarm & ~rows.mirrored & ~rows.cold & (rows.zone == zone) & (rows.t_ns >= start_ns) & (rows.t_ns < end_ns)
    gains = []
    for number, one in enumerate(series):
        mine = rows.take(chosen & (rows.series == number))
        for i in episode_starts(mine.t_ns):
            entry, leave = np.searchsorted(one.t_ns, mine.t_ns[i] + np.array([25, 1800]) * NS_PER_S, side="right") - 1
            gains.append(-np.sign(mine.x[i, 0]) * (one.price[leave] / one.price[entry] - 1))
    values = np.array(gains)
    return {
        "alarms": len(values),
        "mean_pct": round(float(values.mean()) * 100, 2) if len(values) else None,
        "median_pct": round(float(np.median(values)) * 100, 2) if len(values) else None,
    }


def count_episodes(t_ns: NDArray[np.int64]) -> int:
    """Alarms, each opening a pause of ten minutes in which no other counts."""
    return len(episode_starts(np.sort(t_ns)))


def episode_starts(t_ns: NDArray[np.int64]) -> list[int]:
    """Indices into ascending times of the alarms that open an episode."""
    starts, free_from = [], np.iinfo(np.int64).min
    for i, t in enumerate(t_ns):
        if t >= free_from:
            starts.append(i)
            free_from = t + EPISODE_SECONDS * NS_PER_S
    return starts
