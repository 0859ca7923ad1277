from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="the data extra is not installed")

from sentinel.research.detection.event_wise import EventScore, SymbolScore
from sentinel.research.detection.recordings import load_recordings
from sentinel.research.detection.replay import AlarmRule, Leads
from sentinel.research.detection.threshold import THRESHOLDS, CurvePoint, curve, within_budget
from sentinel.research.detection.truth import Zone, zones
from tests.research.pump_recording import write_recording

UNIT = 2.0**-8


def point(threshold: float, false: int) -> CurvePoint:
    return CurvePoint(threshold, EventScore((SymbolScore("X", 100.0, np.zeros(1), 0, 0, false, 0, 0, 0, 0),)))


def test_lowest_threshold_is_chosen_from_which_on_the_budget_holds() -> None:
    points = [point(0.0, 1), point(1.0, 9), point(2.0, 3), point(3.0, 2), point(4.0, 0)]
    assert within_budget(points, 0.03).threshold == 2.0  # 0.0 would hold too, but 1.0 does not
    assert within_budget(points, 0.5).threshold == 0.0
    assert within_budget(points[:2], 0.001).threshold == 1.0


def test_curve_counts_fewer_alarms_the_higher_the_threshold(tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("recording")
    (place / "pump_trades").mkdir()
    write_recording(place / "pump_trades", events=3)
    series = load_recordings(place).series
    random = np.random.default_rng(1)
    found = []
    for one in series:
        t_ns = one.t_ns[::40]
        found.append(Leads(t_ns, (random.normal(0, 3, len(t_ns)) / UNIT).astype(np.int64), np.ones(len(t_ns), bool)))
    points = curve(series, found, AlarmRule(quiet_ns=1), UNIT, 0, 1 << 62)
    assert [p.threshold for p in points] == THRESHOLDS.tolist()
    rates = [p.score.false_rate for p in points]
    assert rates[0] > rates[len(rates) // 2] > rates[-1]
    assert all(a >= b for a, b in pairwise(rates))
    in_pumps = outside = 0
    for one, mine in zip(series, found, strict=True):
        where = zones(one, mine.t_ns[mine.lead >= round(-4.0 / UNIT)])
        in_pumps += int((where == Zone.PUMP).sum())
        outside += int((where != Zone.PUMP).sum())
    assert in_pumps > 0
    assert sum(points[0].score.total(name) for name in ("false", "early", "after", "listed", "unlabelled")) == outside
