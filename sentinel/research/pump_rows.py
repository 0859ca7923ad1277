"""Feature rows of labelled series: the engine's own feature code, replayed tick by tick, and what each row means."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.features import FeatureState, clear_symbol, fill_vector, new_feature_state, update_trade
from sentinel.model.feature_spec import TAPE_FEATURES
from sentinel.native import JIT
from sentinel.research.pump_data import Series, Zone
from sentinel.units import NS_PER_S
from sentinel.wire import MAX_FEATURES

#: A row in the first minute counts as part of the pump once the price has moved by this much.
MOVE_MIN = 0.01
#: Weight of all sampled background rows together, relative to all hard negatives.
BACKGROUND_SHARE = 0.5
EPISODE_SECONDS = 600

_NORMAL, _PUMP = int(Zone.NORMAL), int(Zone.PUMP)


@dataclass(frozen=True)
class Rows:
    """Kept rows of all series, in order of (cold, mirrored, series, time).

    ``x`` float32[n, 13]; ``t_ns``; ``series`` index; ``mirrored`` bool; ``zone``; ``with_event`` bool: the price moved the
    way the event of this series moves (up, or down where mirrored); ``fires`` bool: a rule bit is set;
    ``cold`` bool: of a series restarted about once an hour.
    """

    x: NDArray[np.float32]
    t_ns: NDArray[np.int64]
    series: NDArray[np.int32]
    mirrored: NDArray[np.bool_]
    zone: NDArray[np.int8]
    with_event: NDArray[np.bool_]
    fires: NDArray[np.bool_]
    cold: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.t_ns)

    def take(self, chosen: NDArray[Any]) -> Rows:
        return Rows(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


@njit(**JIT)
def _replay(
    fs: FeatureState,
    t_ns: NDArray[np.int64],
    price: NDArray[np.int64],
    qty: NDArray[np.int64],
    side: NDArray[np.int8],
    zone: NDArray[np.int8],
    fresh: NDArray[np.bool_],
    limits: NDArray[np.float32],
    sampled: NDArray[np.bool_],
    vector: NDArray[np.float32],
    x: NDArray[np.float32],
    index: NDArray[np.int64],
    fires: NDArray[np.bool_],
) -> int:
    count = 0
    for i in range(len(t_ns)):
        if fresh[i]:
            clear_symbol(fs, 0)
        if update_trade(fs, 0, t_ns[i], price[i], qty[i], np.int64(side[i])) == 0:
            continue
        fill_vector(fs, 0, t_ns[i], vector, False)
        move = abs(vector[0])
        fired = move > limits[0] and vector[1] > limits[1]
        if not (fired or (zone[i] == _PUMP and move > limits[2]) or (zone[i] == _NORMAL and sampled[i])):
            continue
        x[count, :] = vector[: x.shape[1]]
        index[count] = i
        fires[count] = fired
        count += 1
    return count


def build_rows(series: list[Series], price_delta_min: float, volume_ratio_min: float, sample_every: int, seed: int) -> Rows:
    """Replay every series and its mirror image, with full history and restarted.

    Kept are each row on which a rule fires, rows of pumps, and one in ``sample_every`` of the rest.
    """
    random = np.random.default_rng(seed)
    limits = np.array([price_delta_min, volume_ratio_min, MOVE_MIN], np.float32)
    parts = []
    for cold, mirrored in product((False, True), repeat=2):
        for number, original in enumerate(series):
            one = original.mirrored() if mirrored else original
            one = one.restarted(random) if cold else one
            size = len(one.t_ns)
            x = np.empty((size, TAPE_FEATURES), np.float32)
            index, fires = np.empty(size, np.int64), np.empty(size, bool)
            sampled = random.random(size) < 1.0 / sample_every
            arrays = (one.t_ns, one.price, one.qty, one.side, one.zone, one.fresh)
            vector = np.empty(MAX_FEATURES, np.float32)
            count = _replay(new_feature_state(1), *arrays, limits, sampled, vector, x, index, fires)
            kept, rows = index[:count], x[:count].copy()
            with_event = (rows[:, 0] < 0) if mirrored else (rows[:, 0] > 0)
            numbers, flags = np.full(count, number, np.int32), (np.full(count, mirrored), np.full(count, cold))
            parts.append((rows, one.t_ns[kept], numbers, flags[0], one.zone[kept], with_event, fires[:count].copy(), flags[1]))
    return Rows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def labels(rows: Rows) -> NDArray[np.int8]:
    """1: part of a pump or mirrored pump. 0: not. -1: left out.

    The way back after a pump is 0: it looks like a dump, and buying into it loses. A renewed rise within
    the hour is left out, as is everything in zone UNKNOWN.
    """
    result = np.full(len(rows), -1, np.int8)
    result[rows.zone == Zone.NORMAL] = 0
    result[(rows.zone == Zone.AFTER) & ~rows.with_event] = 0
    result[(rows.zone == Zone.PUMP) & rows.with_event & (np.abs(rows.x[:, 0]) > MOVE_MIN)] = 1
    return result


def weights(rows: Rows, label: NDArray[np.int8]) -> NDArray[np.float32]:
    """Each episode (10 minutes of one series in which a rule fires, or one pump) weighs 1, however many trades it has."""
    result = np.zeros(len(rows), np.float64)
    # Pumps start on the full or half hour: shifted buckets keep each in one.
    bucket = (rows.t_ns + EPISODE_SECONDS // 2 * NS_PER_S) // (EPISODE_SECONDS * NS_PER_S)
    group = ((rows.series.astype(np.int64) * 2 + rows.mirrored) * 2 + rows.cold) * (1 << 40) + bucket
    for chosen in (label == 1, (label == 0) & rows.fires):
        _, inverse, counts = np.unique(group[chosen], return_inverse=True, return_counts=True)
        result[chosen] = 1.0 / counts[inverse]
    hard, background = (label == 0) & rows.fires, (label == 0) & ~rows.fires
    if background.any():
        result[background] = BACKGROUND_SHARE * max(result[hard].sum(), 1.0) / background.sum()
    return result.astype(np.float32)
