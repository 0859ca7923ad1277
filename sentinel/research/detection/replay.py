"""A symbol's trades through the engine's own code: its feature vectors, what a model makes of them, and its alarms.

Everything here is what the daemon runs: ``update_trade`` and ``fill_vector`` of the engine, the compiled decider, the
alarm rule of the router. A test runs the whole engine over the same trades and demands the same alarms.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.features import FeatureState, clear_symbol, fill_vector, new_feature_state, update_trade
from sentinel.engine.forest_cpu import CpuDecider
from sentinel.engine.strategy.alarm import raises_alarm, stays_open
from sentinel.engine.strategy.decision import read_decision
from sentinel.model.artifact import ModelArtifact
from sentinel.model.feature_spec import Feature
from sentinel.native import JIT
from sentinel.research.detection.recordings import Series
from sentinel.units import NS_PER_S
from sentinel.wire import BEAT_FEATURES, MAX_FEATURES, Side

BLOCK = 1 << 18
SELL = int(Side.SELL)


@dataclass(frozen=True)
class AlarmRule:
    """The router's part of an alarm: quiet time that ends an episode (ns), hysteresis in log-odds."""

    quiet_ns: int = 600 * NS_PER_S
    hysteresis: float = 0.0


@dataclass(frozen=True)
class Leads:
    """The trades of one series on which a rule fired: time (ns), the integer lead of the side the model takes (a binary
    model's margin, or how far the best of three classes leads the second), and whether that side is SELL, against a rise."""

    t_ns: NDArray[np.int64]
    lead: NDArray[np.int64]
    sells: NDArray[np.bool_]


@njit(**JIT)
def _vectors(
    fs: FeatureState,
    t_ns: NDArray[np.int64],
    price: NDArray[np.int64],
    qty: NDArray[np.int64],
    side: NDArray[np.int8],
    fresh: NDArray[np.bool_],
    start: int,
    x: NDArray[np.float32],
    index: NDArray[np.int64],
    vector: NDArray[np.float32],
) -> tuple[int, int]:
    count = 0
    width = x.shape[1]
    i = start
    while i < len(t_ns) and count < len(index):
        if fresh[i]:
            clear_symbol(fs, 0)
        if update_trade(fs, 0, t_ns[i], price[i], qty[i], np.int64(side[i])) != 0:
            fill_vector(fs, 0, t_ns[i], vector, width > BEAT_FEATURES)
            for k in range(width):
                x[count, k] = vector[k]
            index[count] = i
            count += 1
        i += 1
    return i, count


def vectors(one: Series, width: int = BEAT_FEATURES) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Blocks of (float32[n, width] vectors, int64[n] index of the trade each follows), in order of time.

    The arrays are reused from block to block: copy what is to be kept.
    """
    state = new_feature_state(1)
    size = min(BLOCK, len(one.t_ns))
    x, index, scratch = np.empty((size, width), np.float32), np.empty(size, np.int64), np.empty(MAX_FEATURES, np.float32)
    start = 0
    while start < len(one.t_ns):
        start, count = _vectors(state, one.t_ns, one.price, one.qty, one.side, one.fresh, start, x, index, scratch)
        yield x[:count], index[:count]


def vectors_at(one: Series, times_ns: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vector after the last trade before each of the ascending times, float32[n, 26]; NaN before the first trade."""
    wanted = np.searchsorted(one.t_ns, times_ns) - 1
    result = np.full((len(times_ns), MAX_FEATURES), np.nan, np.float32)
    for x, index in vectors(one, MAX_FEATURES):
        mine = np.flatnonzero(wanted >= index[0])
        result[mine] = x[np.searchsorted(index, wanted[mine], side="right") - 1]
    return result


def leads(one: Series, artifact: ModelArtifact) -> Leads:
    """What the model says wherever a rule fires and it takes a side."""
    decider = CpuDecider(artifact, artifact.rules, forest_on_rule=True)
    highest = max(artifact.heap.highest_feature, artifact.rules.highest_feature)
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]] = []
    for x, index in vectors(one, MAX_FEATURES if highest >= BEAT_FEATURES else BEAT_FEATURES):
        told = read_leads(one.t_ns[index], decider.score(x), artifact.classes, x)
        parts.append((told.t_ns, told.lead, told.sells))
    return Leads(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def read_leads(t_ns: NDArray[np.int64], decisions: NDArray[Any], outputs: int, x: NDArray[np.float32]) -> Leads:
    """Leads of decisions (wire.DECISION[n]: rule bits and the margins of ``outputs`` classes) on vectors ``x``."""
    fired, lead, sells = _read(decisions, outputs, x[:, Feature.PRICE_DELTA].copy().view(np.uint32))
    return Leads(t_ns[fired], lead, sells)


@njit(**JIT)
def _read(
    decisions: NDArray[Any], classes: int, delta_bits: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    size = len(decisions)
    chosen, lead, sells = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.bool_)
    count = 0
    for i in range(size):
        call = read_decision(decisions[i], classes, np.int64(delta_bits[i]))
        if call.side != 0:
            chosen[count], lead[count], sells[count] = i, call.lead, call.side == SELL
            count += 1
    return chosen[:count].copy(), lead[:count].copy(), sells[:count].copy()


@njit(**JIT)
def _alarms(
    t_ns: NDArray[np.int64], lead: NDArray[np.int64], threshold: int, hysteresis: int, quiet_ns: int
) -> NDArray[np.int64]:
    chosen = np.empty(len(t_ns), np.int64)
    count, until = 0, np.int64(0)
    for i in range(len(t_ns)):
        if not stays_open(until, t_ns[i], lead[i], threshold, hysteresis):
            continue
        if raises_alarm(until, t_ns[i], lead[i], threshold):
            chosen[count] = i
            count += 1
        until = t_ns[i] + quiet_ns
    return chosen[:count].copy()


def alarms(found: Leads, threshold: int, hysteresis: int, quiet_ns: int) -> NDArray[np.int64]:
    """Indices into ``found`` of the rows that raise an alarm, by the rule of the strategy router."""
    return _alarms(found.t_ns, found.lead, threshold, hysteresis, quiet_ns)


@njit(**JIT)
def _sharp_moves(
    t_ns: NDArray[np.int64], price: NDArray[np.int64], fresh: NDArray[np.bool_], least: float, quiet_ns: int, window_ns: int
) -> NDArray[np.int64]:
    size = len(t_ns)
    spans = np.empty((size, 2), np.int64)
    # Indices of the prints that can still be the lowest and the highest of the window, in order of time.
    lowest, highest = np.empty(size, np.int64), np.empty(size, np.int64)
    low = low_end = high = high_end = count = 0
    for i in range(size):
        if fresh[i]:
            low, high = low_end, high_end
        while low < low_end and price[lowest[low_end - 1]] >= price[i]:
            low_end -= 1
        while high < high_end and price[highest[high_end - 1]] <= price[i]:
            high_end -= 1
        lowest[low_end], highest[high_end] = i, i
        low_end += 1
        high_end += 1
        while t_ns[lowest[low]] < t_ns[i] - window_ns:
            low += 1
        while t_ns[highest[high]] < t_ns[i] - window_ns:
            high += 1
        now = np.float64(price[i])
        if now < (1.0 + least) * price[lowest[low]] and now > (1.0 - least) * price[highest[high]]:
            continue
        if count > 0 and t_ns[i] - spans[count - 1, 1] < quiet_ns:
            spans[count - 1, 1] = t_ns[i]
        else:
            spans[count, 0] = spans[count, 1] = t_ns[i]
            count += 1
    return spans[:count].copy()


def sharp_moves(one: Series, least: float, quiet_ns: int, window_ns: int = 60 * NS_PER_S) -> NDArray[np.int64]:
    """First and last time (ns, int64[n, 2]) of each episode in which a print lies ``least`` (a share) above the lowest or
    below the highest print of the ``window_ns`` before it."""
    return _sharp_moves(one.t_ns, one.price, one.fresh, least, quiet_ns, window_ns)
