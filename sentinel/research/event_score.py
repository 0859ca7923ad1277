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

    @property
    def f1(self) -> float:
        """Of events detected within 60 s against all events and all false alarms."""
        found = self.detected[60]
        total = self.events + found + self.false_same + self.false_other
        return 2.0 * found / total if total else 0.0

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
            "f1_60s": round(self.f1, 4),
        }


def score_events(
    rows: Rows, alarm: NDArray[np.bool_], series: list[Series], start_ns: int, end_ns: int, mirrored: bool
) -> EventScore:
    """Score ``alarm`` (bool per row) on the span [start, end) of the original or the mirrored series."""
    chosen = np.flatnonzero(alarm & (rows.mirrored == mirrored) & (rows.t_ns >= start_ns) & (rows.t_ns < end_ns))
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


def count_episodes(t_ns: NDArray[np.int64]) -> int:
    """Alarms, each opening a pause of ten minutes in which no other counts."""
    count, free_from = 0, np.iinfo(np.int64).min
    for t in np.sort(t_ns):
        if t >= free_from:
            count += 1
            free_from = t + EPISODE_SECONDS * NS_PER_S
    return count
