"""How well alarms meet labelled pumps: shares detected in time, delays, false alarms per coin-day, hard negatives.

A hit is the first alarm in [onset - 300 s, onset + d]. Alarms from 2 h to 300 s before an onset are early: neither hit
nor false. False are alarms on normal days (truth.Zone.NORMAL), and coin-days are of normal days; those near pumps that
only lists know are counted apart. Delays are those of the pumps found within 120 s. Intervals hold 95 %: shares and
delays by resampling events, rates by resampling symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.research.detection.recordings import Series
from sentinel.research.detection.truth import BEFORE_S, Zone, normal_days, zones
from sentinel.units import NS_PER_S

DEADLINES_S = (5, 15, 30, 60, 120)
RESAMPLES = 2000
#: A hard negative: the price moves this much within 60 s, more than 2 h from any known pump.
HARD_MOVE = 0.03
#: An alarm this close to a hard negative is put down to it.
HARD_MARGIN_S = 60


@dataclass(frozen=True)
class SymbolScore:
    """What one symbol adds. ``coin_days``: normal days recorded; ``delays_s``: of each labelled pump of the span, inf where
    no alarm came within 120 s."""

    symbol: str
    coin_days: float
    delays_s: NDArray[np.float64]
    early: int
    after: int
    false: int
    listed: int
    unlabelled: int
    hard: int
    hard_alarmed: int


@dataclass(frozen=True)
class EventScore:
    """All symbols of one span."""

    parts: tuple[SymbolScore, ...]

    @property
    def delays_s(self) -> NDArray[np.float64]:
        return np.concatenate([np.zeros(0), *(part.delays_s for part in self.parts)])

    @property
    def coin_days(self) -> float:
        return sum(part.coin_days for part in self.parts)

    def total(self, name: str) -> int:
        return sum(getattr(part, name) for part in self.parts)

    @property
    def false_rate(self) -> float:
        """False alarms per coin-day; 0 without any recording."""
        return self.total("false") / self.coin_days if self.coin_days else 0.0

    def detected(self, seconds: float) -> float:
        """Share of labelled pumps alarmed in [onset - 300 s, onset + seconds]; NaN without any."""
        delays = self.delays_s
        return float((delays <= seconds).mean()) if len(delays) else float("nan")


def score_symbol(
    one: Series, alarm_ns: NDArray[np.int64], start_ns: int, end_ns: int, hard_moves: NDArray[np.int64] | None = None
) -> SymbolScore:
    """Score the ascending alarm times of one symbol on the span [start, end).

    ``hard_moves``: int64[n, 2] from ``replay.sharp_moves``; None leaves hard negatives out.
    """
    alarm_ns = alarm_ns[(alarm_ns >= start_ns) & (alarm_ns < end_ns)]
    where = zones(one, alarm_ns)
    delays = []
    for onset in one.onsets_ns.tolist():
        if start_ns <= onset < end_ns:
            since = (alarm_ns - onset) / NS_PER_S
            hits = since[(since >= -BEFORE_S) & (since <= DEADLINES_S[-1])]
            delays.append(float(hits[0]) if len(hits) else float("inf"))
    hard = alarmed = 0
    if hard_moves is not None:
        inside = hard_moves[(hard_moves[:, 0] >= start_ns) & (hard_moves[:, 0] < end_ns)]
        inside = inside[(zones(one, inside[:, 0]) == Zone.NORMAL) & (zones(one, inside[:, 1]) == Zone.NORMAL)]
        hard = len(inside)
        margin = HARD_MARGIN_S * NS_PER_S
        first = np.searchsorted(alarm_ns, inside[:, 0] - margin)
        alarmed = int((np.searchsorted(alarm_ns, inside[:, 1] + margin) > first).sum())
    counts = np.bincount(where, minlength=len(Zone))
    return SymbolScore(
        one.symbol,
        normal_days(one, start_ns, end_ns),
        np.array(delays),
        int(counts[Zone.EARLY]),
        int(counts[Zone.AFTER]),
        int(counts[Zone.NORMAL]),
        int(counts[Zone.LISTED]),
        int(counts[Zone.UNLABELLED]),
        hard,
        alarmed,
    )


def summary(score: EventScore, seed: int = 1) -> dict[str, Any]:
    """The figures of ``--json``: shares 0 to 1, seconds, per coin-day; ``intervals`` holds [low, high] of each."""
    delays = score.delays_s
    found = delays[np.isfinite(delays)]
    random = np.random.default_rng(seed)
    figures: dict[str, Any] = {"events": len(delays)}
    intervals: dict[str, list[float] | None] = {}
    for seconds in DEADLINES_S:
        hits = (delays <= seconds).astype(float)
        figures[f"detected_{seconds}s"] = round(score.detected(seconds), 4) if len(hits) else None
        intervals[f"detected_{seconds}s"] = _resampled(hits, partial(np.mean, axis=-1), random)
    for name, share in (("delay_median_s", 50), ("delay_p90_s", 90)):
        figures[name] = round(float(np.percentile(found, share)), 3) if len(found) else None
        intervals[name] = _resampled(found, partial(np.percentile, q=share, axis=-1), random)
    figures["false_alarms"] = score.total("false")
    figures["coin_days"] = round(score.coin_days, 1)
    figures["false_alarms_per_coin_day"] = round(score.false_rate, 5)
    intervals["false_alarms_per_coin_day"] = _rate_interval(score.parts, "false", "coin_days", random)
    hard = score.total("hard")
    figures["hard_negatives"] = hard
    figures["hard_negatives_alarmed"] = round(score.total("hard_alarmed") / hard, 4) if hard else None
    intervals["hard_negatives_alarmed"] = _rate_interval(score.parts, "hard_alarmed", "hard", random)
    found_60s, false = int((delays <= 60).sum()), score.total("false")
    figures["precision_60s"] = round(found_60s / (found_60s + false), 4) if found_60s + false else None
    figures["alarms_early"] = score.total("early")
    figures["alarms_after"] = score.total("after")
    figures["alarms_near_listed_pumps"] = score.total("listed")
    figures["alarms_near_unlabelled_events"] = score.total("unlabelled")
    figures["intervals"] = intervals
    return figures


def _resampled(values: NDArray[np.float64], statistic: Callable[..., Any], random: np.random.Generator) -> list[float] | None:
    if len(values) == 0:
        return None
    drawn = values[random.integers(0, len(values), (RESAMPLES, len(values)))]
    return [round(float(edge), 4) for edge in np.percentile(statistic(drawn), (2.5, 97.5))]


def _rate_interval(parts: Sequence[SymbolScore], above: str, below: str, random: np.random.Generator) -> list[float] | None:
    upper = np.array([getattr(part, above) for part in parts], float)
    lower = np.array([getattr(part, below) for part in parts], float)
    if not lower.sum():
        return None
    drawn = random.integers(0, len(parts), (RESAMPLES, len(parts)))
    totals = lower[drawn].sum(axis=1)
    rates = upper[drawn].sum(axis=1)[totals > 0] / totals[totals > 0]
    return [round(float(edge), 5) for edge in np.percentile(rates, (2.5, 97.5))]
