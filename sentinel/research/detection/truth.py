"""What an alarm at a given time counts as.

Around a labelled onset: from 300 s before it the pump; from 2 h to 300 s before it "early", neither hit nor false;
to 2 h after it aftermath. Within 2 h of a pump that has no label, or that only a list knows, nothing can be said.
Every other time is a normal day, on which each alarm is false.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from sentinel.research.detection.recordings import Series
from sentinel.units import NS_PER_S

AROUND_S = 7200
BEFORE_S = 300
PUMP_S = 60


class Zone(IntEnum):
    """Where a time lies. A later zone of this list wins where two overlap."""

    NORMAL = 0
    LISTED = 1  # within 2 h of a pump that only a list knows
    UNLABELLED = 2  # within 2 h of an event without an onset label
    AFTER = 3  # 60 s to 2 h after an onset
    EARLY = 4  # 2 h to 300 s before an onset
    PUMP = 5  # 300 s before an onset to 60 s after it


def zones(one: Series, t_ns: NDArray[np.int64]) -> NDArray[np.int8]:
    """Zone of each of the ascending times ``t_ns``, int8[n]."""
    result = np.zeros(len(t_ns), np.int8)

    def mark(center_ns: int, first_s: int, end_s: int, zone: Zone) -> None:
        low, high = np.searchsorted(t_ns, [center_ns + first_s * NS_PER_S, center_ns + end_s * NS_PER_S])
        result[low:high] = np.maximum(result[low:high], zone)

    onsets = one.onsets_ns
    for listed in _listed_alone(one):
        mark(listed, -AROUND_S, AROUND_S, Zone.LISTED)
    for event in one.events:
        if not event.onset_ns:
            mark(event.announced_ns, -AROUND_S, AROUND_S, Zone.UNLABELLED)
    for onset in onsets.tolist():
        mark(onset, PUMP_S, AROUND_S, Zone.AFTER)
        mark(onset, -AROUND_S, -BEFORE_S, Zone.EARLY)
        mark(onset, -BEFORE_S, PUMP_S, Zone.PUMP)
    return result


def _listed_alone(one: Series) -> list[int]:
    """Announcements (ns) in lists that no labelled onset is near."""
    onsets = one.onsets_ns
    return [at for at in one.listed_ns.tolist() if not len(onsets) or np.abs(onsets - at).min() > AROUND_S * NS_PER_S]


def normal_days(one: Series, start_ns: int, end_ns: int) -> float:
    """Days of recording between two times that are Zone.NORMAL: on them, and only on them, an alarm is false."""
    around = AROUND_S * NS_PER_S
    centers = [*one.onsets_ns.tolist(), *_listed_alone(one)]
    centers += [event.announced_ns for event in one.events if not event.onset_ns]
    days, free_from = 0.0, start_ns
    for center in sorted(centers):
        if center - around > free_from:
            days += one.recorded_days(free_from, min(center - around, end_ns))
        free_from = max(free_from, center + around)
    return days + (one.recorded_days(free_from, end_ns) if free_from < end_ns else 0.0)


def pump_of(one: Series, t_ns: NDArray[np.int64], within_s: int = PUMP_S) -> NDArray[np.int64]:
    """Index into ``one.labelled`` of the pump each time belongs to (300 s before the onset to ``within_s`` after it), else -1."""
    result = np.full(len(t_ns), -1, np.int64)
    for number, onset in enumerate(one.onsets_ns.tolist()):
        low, high = np.searchsorted(t_ns, [onset - BEFORE_S * NS_PER_S, onset + within_s * NS_PER_S])
        result[low:high] = number
    return result
