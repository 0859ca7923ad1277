"""Recall against false alarms over all thresholds, and the threshold a budget of false alarms allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.research.detection.event_wise import DEADLINES_S, EventScore, score_symbol
from sentinel.research.detection.recordings import Series
from sentinel.research.detection.replay import AlarmRule, Leads, alarms

#: Candidate thresholds as log-odds.
THRESHOLDS = np.arange(-4.0, 8.01, 1 / 16)


@dataclass(frozen=True)
class CurvePoint:
    """What one threshold (log-odds) gives."""

    threshold: float
    score: EventScore

    def as_dict(self) -> dict[str, Any]:
        known = len(self.score.delays_s) > 0
        shares = {f"detected_{seconds}s": round(self.score.detected(seconds), 4) if known else None for seconds in DEADLINES_S}
        return {"threshold": self.threshold, "false_alarms_per_coin_day": round(self.score.false_rate, 5), **shares}


def score_alarms(
    series: Sequence[Series],
    found: Sequence[Leads],
    threshold: float,
    rule: AlarmRule,
    unit: float,
    start_ns: int,
    end_ns: int,
    moves: Sequence[NDArray[np.int64]] | None = None,
) -> EventScore:
    """Score of all symbols at ``threshold`` (log-odds); ``unit``: log-odds of one step of the leads' integer grid.

    ``moves``: of each series its sharp moves; without them hard negatives are not counted.
    """
    margin, hysteresis = round(threshold / unit), round(rule.hysteresis / unit)
    parts = []
    for number, (one, mine) in enumerate(zip(series, found, strict=True)):
        chosen = alarms(mine, margin, hysteresis, rule.quiet_ns)
        parts.append(score_symbol(one, mine.t_ns[chosen], start_ns, end_ns, moves[number] if moves else None))
    return EventScore(tuple(parts))


def curve(
    series: Sequence[Series], found: Sequence[Leads], rule: AlarmRule, unit: float, start_ns: int, end_ns: int
) -> list[CurvePoint]:
    """A point for each of THRESHOLDS, ascending."""
    return [
        CurvePoint(float(value), score_alarms(series, found, float(value), rule, unit, start_ns, end_ns)) for value in THRESHOLDS
    ]


def within_budget(points: Sequence[CurvePoint], budget: float) -> CurvePoint:
    """The lowest threshold from which on no point exceeds ``budget`` false alarms per coin-day; the highest if all do."""
    chosen = points[-1]
    for point in reversed(points):
        if point.score.false_rate > budget:
            break
        chosen = point
    return chosen
