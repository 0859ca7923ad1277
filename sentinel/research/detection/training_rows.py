"""The rows a model is fitted on: the engine's vectors on which a rule fires, what each means and what it weighs.

Every series is used four times: as recorded and upside down, so that dumps are learnt as well as pumps, and with its
history cut about once an hour, so that a detector just started is served too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.model.feature_spec import Feature
from sentinel.research.detection.recordings import Recordings, Series
from sentinel.research.detection.replay import vectors
from sentinel.research.detection.truth import PUMP_S, Zone, pump_of, zones
from sentinel.units import NS_PER_S

#: Outputs of a 3-class model, in the order ``read_decision`` of the engine reads them.
BUY_CLASS, SELL_CLASS, HOLD_CLASS = 0, 1, 2

EPISODE_NS = 600 * NS_PER_S
#: Of the trades on which no rule fires, this share is kept: what the forest says there matters to people only.
BACKGROUND_KEPT = 1 / 200
#: Weight of all background rows together, relative to all hard negatives.
BACKGROUND_SHARE = 0.2
#: A pump weighs as much as this many episodes of a normal day.
PUMP_WEIGHT = 10.0


@dataclass(frozen=True)
class RuleLimits:
    """The part of the rule that the tape decides: plain ratios (0.02 = 2 %, 3.0 = three times the average)."""

    price_delta_min: float
    volume_ratio_min: float


@dataclass(frozen=True)
class Rows:
    """Kept rows of all series, in order of (cold, mirrored, series, time).

    ``x`` float32[n, 13]; ``t_ns``; ``series`` index; ``mirrored``, ``cold`` bool: of a series upside down, of one restarted
    about once an hour; ``fires`` bool: a rule bit is set; ``label`` int8: 1 part of a pump or mirrored pump, 0 not, -1 left
    out; ``pump`` int64: which labelled pump of the series, or -1.
    """

    x: NDArray[np.float32]
    t_ns: NDArray[np.int64]
    series: NDArray[np.int32]
    mirrored: NDArray[np.bool_]
    cold: NDArray[np.bool_]
    fires: NDArray[np.bool_]
    label: NDArray[np.int8]
    pump: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.t_ns)

    def take(self, chosen: NDArray[Any]) -> Rows:
        return Rows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def build_rows(recordings: Recordings, limits: RuleLimits, until_ns: int, seed: int, progress: Callable[[str], object]) -> Rows:
    """Rows of all trades before ``until_ns``."""
    random = np.random.default_rng(seed)
    parts = []
    for cold, mirrored in product((False, True), repeat=2):
        progress(f"replaying {len(recordings.series)} symbols" + " upside down" * mirrored + " restarted each hour" * cold)
        for number, original in enumerate(recordings.series):
            one = original.mirrored() if mirrored else original
            one = one.restarted(random) if cold else one
            parts.extend(_rows_of(one, number, mirrored, cold, limits, until_ns, random))
    return Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _rows_of(
    one: Series, number: int, mirrored: bool, cold: bool, limits: RuleLimits, until_ns: int, random: np.random.Generator
) -> list[tuple[NDArray[Any], ...]]:
    parts: list[tuple[NDArray[Any], ...]] = []
    for x, index in vectors(one):
        delta = x[:, Feature.PRICE_DELTA]
        fires = (np.abs(delta) > np.float32(limits.price_delta_min)) & (
            x[:, Feature.VOLUME_RATIO] > np.float32(limits.volume_ratio_min)
        )
        kept = np.flatnonzero((fires | (random.random(len(x)) < BACKGROUND_KEPT)) & (one.t_ns[index] < until_ns))
        t_ns, moves = one.t_ns[index[kept]], delta[kept]
        label = _labels(zones(one, t_ns), (moves < 0) if mirrored else (moves > 0), fires[kept])
        which, upside_down, restarted = (
            np.full(len(kept), number, np.int32),
            np.full(len(kept), mirrored),
            np.full(len(kept), cold),
        )
        parts.append((x[kept].copy(), t_ns, which, upside_down, restarted, fires[kept], label, pump_of(one, t_ns, PUMP_S)))
    return parts


def _labels(zone: NDArray[np.int8], with_event: NDArray[np.bool_], fires: NDArray[np.bool_]) -> NDArray[np.int8]:
    """The way back after a pump is 0: it looks like a dump, and buying into it loses."""
    result = np.full(len(zone), -1, np.int8)
    result[zone == Zone.NORMAL] = 0
    result[(zone == Zone.AFTER) & ~with_event] = 0
    result[(zone == Zone.PUMP) & with_event & fires] = 1
    return result


def targets(rows: Rows, classes: int) -> NDArray[np.int8]:
    """What each row teaches, -1 where nothing: 0/1 for 2 ``classes``; for 3 the side to take, against a pump or a dump."""
    if classes == 2:
        return rows.label
    side = np.where(rows.x[:, Feature.PRICE_DELTA] > 0, SELL_CLASS, BUY_CLASS)
    known = np.where(rows.label == 1, side, HOLD_CLASS)
    return np.where(rows.label < 0, -1, known).astype(np.int8)


def weights(rows: Rows) -> NDArray[np.float32]:
    """An episode (10 minutes of one series in which a rule fires) weighs 1, a pump PUMP_WEIGHT, however many trades it has."""
    result = np.zeros(len(rows), np.float64)
    stream = ((rows.series.astype(np.int64) * 2 + rows.mirrored) * 2 + rows.cold) << 40
    hard, background = (rows.label == 0) & rows.fires, (rows.label == 0) & ~rows.fires
    for chosen, group, weight in ((rows.label == 1, rows.pump, PUMP_WEIGHT), (hard, rows.t_ns // EPISODE_NS, 1.0)):
        _, inverse, counts = np.unique((stream + group)[chosen], return_inverse=True, return_counts=True)
        result[chosen] = weight / counts[inverse]
    if background.any():
        result[background] = BACKGROUND_SHARE * max(result[hard].sum(), 1.0) / background.sum()
    return result.astype(np.float32)
