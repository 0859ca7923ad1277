"""What a contrarian could have got after alarms, bounded by prints alone: no book of any known pump is recorded.

A sale is assumed at the price of a later trade whose seller was the taker (it met the bid), a purchase at one whose buyer was
the taker (it met the ask), never in the millisecond that decided. So the spread is paid; size, impact and queue are unknown,
and so is which coins could have been borrowed and sold short. Against a rise (``sells``) the position is short, against a fall
it is long.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import product
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.config import StrategyConfig
from sentinel.native import JIT
from sentinel.research.detection.recordings import GAP_SECONDS, Series
from sentinel.units import BPS, NS_PER_MS, NS_PER_S
from sentinel.wire import Side

HOLD_S = 1800
#: Without a print to enter at within this time there is no entry.
ENTRY_WITHIN_S = 60
WIN = 0.003
FEE_BPS = 10
#: The price before a move is that of the last trade this long before the alarm.
BASE_S = 60
#: At 100 % no edge would be left, so entry is by the wait alone. Single prints across the spread reach the small shares at once.
RETRACES_BPS = (0, 1000, 2000, 3000, 4000, 6000, 8000, 10_000)
WAITS_S = (15.0, 30.0, 60.0, 120.0, 180.0, 300.0)
EXPIRIES_S = (120.0, 180.0, 300.0, 600.0)
LEAST_ENTERED = 0.8
RESAMPLES = 2000
CHOICE_RULE = (
    "the best mean net gain of an entry among settings that enter at least 80 % of their setups;"
    " the present setting stays unless the 95 % interval of the paired difference lies above 0"
)
NOTES = (
    "Which of these coins could have been borrowed and sold short is unknown; most had no spot margin.",
    "Prices are those of prints. No book is recorded: size, impact and the depth behind a print are unknown.",
    "An order meets the first later print on its side; one that would have missed is taken to be sent again.",
    "Intervals hold 95 % by resampling alarms; alarms on one coin are not independent of each other.",
    "The best of many settings is flattered by the choice: its figures are no forecast.",
)

_BUY, _SELL = int(Side.BUY), int(Side.SELL)


@dataclass(frozen=True)
class Alarms:
    """Ascending alarm times of one series (ns, int64[n]), each that of a trade, and ``sells`` bool[n]: against a rise."""

    series: Series
    t_ns: NDArray[np.int64]
    sells: NDArray[np.bool_]

    def before(self, end_ns: int) -> Alarms:
        kept = self.t_ns < end_ns
        return Alarms(self.series, self.t_ns[kept], self.sells[kept])


class Fate(IntEnum):
    """What became of an alarm."""

    TRADED = 0  # entered and left
    EXPIRED = 1  # no entry in time
    BUSY = 2  # the setup, position or pause before it had not ended
    OPEN = 3  # the recording ends or pauses first


@dataclass(frozen=True)
class Outcomes:
    """Of each alarm: ``gain`` and ``adverse`` float64[n] (shares of the entry price, NaN without a trade), ``fate`` int8[n].

    ``adverse`` is the furthest any print went against the position, 0 or more.
    """

    gain: NDArray[np.float64]
    adverse: NDArray[np.float64]
    fate: NDArray[np.int8]


@njit(**JIT)
def _next_print(t_ns: NDArray[np.int64], side: NDArray[np.int8], i: int, wanted: int, until: int) -> int:
    """Index of the first print from ``i`` on with taker ``wanted``, no later than ``until``; -1 if none."""
    while i < len(t_ns) and t_ns[i] <= until:
        if side[i] == wanted:
            return i
        i += 1
    return -1


@njit(**JIT)
def _gain(entry: float, price: float, sell: bool) -> float:
    return (entry - price) / entry if sell else (price - entry) / entry


@njit(**JIT)
def _hold(
    t_ns: NDArray[np.int64],
    price: NDArray[np.int64],
    side: NDArray[np.int8],
    alarm_ns: NDArray[np.int64],
    sells: NDArray[np.bool_],
    delay_ns: int,
    hold_ns: int,
    within_ns: int,
    gap_ns: int,
    gain: NDArray[np.float64],
    adverse: NDArray[np.float64],
    fate: NDArray[np.int8],
) -> None:
    for k in range(len(alarm_ns)):
        sell = sells[k]
        start = alarm_ns[k] + delay_ns
        first = np.searchsorted(t_ns, start, side="right")
        entry = _next_print(t_ns, side, first, _SELL if sell else _BUY, start + within_ns)
        if entry < 0:
            fate[k] = Fate.EXPIRED
            continue
        end = alarm_ns[k] + hold_ns
        last = max(np.searchsorted(t_ns, end), entry + 1)
        leave = _next_print(t_ns, side, last, _BUY if sell else _SELL, end + gap_ns)
        if leave < 0:
            fate[k] = Fate.OPEN
            continue
        gain[k] = _gain(price[entry], price[leave], sell)
        adverse[k] = 0.0
        for i in range(entry, leave + 1):
            adverse[k] = max(adverse[k], -_gain(price[entry], price[i], sell))
        fate[k] = Fate.TRADED


def hold_outcomes(alarms: Alarms, delay_s: float) -> Outcomes:
    """Enter at the first print of the right side later than alarm + ``delay_s``, leave at one from alarm + HOLD_S on; no fees.

    EXPIRED: no such print within ENTRY_WITHIN_S; OPEN: none to leave at within GAP_SECONDS.
    """
    one, size = alarms.series, len(alarms.t_ns)
    result = Outcomes(np.full(size, np.nan), np.full(size, np.nan), np.zeros(size, np.int8))
    times = (round(delay_s * 1000) * NS_PER_MS, HOLD_S * NS_PER_S, ENTRY_WITHIN_S * NS_PER_S, GAP_SECONDS * NS_PER_S)
    arrays = (one.t_ns, one.price, one.side, alarms.t_ns, alarms.sells)
    _hold(*arrays, *times, result.gain, result.adverse, result.fate)
    return result


def after_alarms(alarms: Sequence[Alarms], delays_s: Sequence[float], seed: int = 1) -> dict[str, Any]:
    """By delay: how alarms fared, entered that much later and left 30 min after the alarm. Gains are shares before fees.

    Each delay has alarms, traded, not_entered, not_left, and of those traded gain_median, gain_mean, win_share (gain above
    0.3 %), adverse_median, adverse_p90, with ``intervals`` [low, high]; None where nothing was traded.
    """
    random = np.random.default_rng(seed)
    by_delay = {}
    for delay in delays_s:
        parts = [hold_outcomes(one, delay) for one in alarms]
        fate = np.concatenate([np.zeros(0, np.int8), *(part.fate for part in parts)])
        traded = fate == Fate.TRADED
        gain = np.concatenate([np.zeros(0), *(part.gain for part in parts)])[traded]
        adverse = np.concatenate([np.zeros(0), *(part.adverse for part in parts)])[traded]
        figures: dict[str, Any] = {"alarms": len(fate), "traded": len(gain)}
        figures |= {"not_entered": int((fate == Fate.EXPIRED).sum()), "not_left": int((fate == Fate.OPEN).sum())}
        statistics: dict[str, tuple[NDArray[np.float64], Callable[..., Any]]] = {
            "gain_median": (gain, np.median),
            "gain_mean": (gain, np.mean),
            "win_share": ((gain > WIN).astype(float), np.mean),
            "adverse_median": (adverse, np.median),
            "adverse_p90": (adverse, _percentile_90),
        }
        drawn = random.integers(0, max(len(gain), 1), (RESAMPLES, len(gain)))
        intervals: dict[str, list[float] | None] = {}
        for name, (values, statistic) in statistics.items():
            figures[name] = round(float(statistic(values)), 5) if len(values) else None
            intervals[name] = _interval(statistic(values[drawn], axis=-1)) if len(values) else None
        by_delay[f"{delay:g}s"] = {**figures, "intervals": intervals}
    return {"hold_s": HOLD_S, "by_delay": by_delay, "notes": list(NOTES)}


def _percentile_90(values: NDArray[np.float64], axis: int = -1) -> Any:
    return np.percentile(values, 90, axis=axis)


def _interval(values: NDArray[np.float64]) -> list[float]:
    return [round(float(edge), 5) for edge in np.percentile(values, (2.5, 97.5))]


@dataclass(frozen=True)
class Entry:
    """The router's entry: share of the move given back (bps), wait and expiry in seconds."""

    retrace_bps: int
    wait_s: float
    expiry_s: float


@njit(**JIT)
def _route(
    t_ns: NDArray[np.int64],
    price: NDArray[np.int64],
    side: NDArray[np.int8],
    alarm_ns: NDArray[np.int64],
    sells: NDArray[np.bool_],
    base: NDArray[np.int64],
    retrace: float,
    wait_ns: int,
    expiry_ns: int,
    stop: float,
    take: float,
    horizon_ns: int,
    cooldown_ns: int,
    slippage: float,
    gap_ns: int,
    gain: NDArray[np.float64],
    adverse: NDArray[np.float64],
    fate: NDArray[np.int8],
) -> None:
    free_ns = np.int64(0)
    for k in range(len(alarm_ns)):
        if alarm_ns[k] < free_ns:
            fate[k] = Fate.BUSY
            continue
        sell, start = sells[k], alarm_ns[k]
        sign = 1.0 if sell else -1.0
        i = np.searchsorted(t_ns, start, side="right")
        mark = extreme = np.float64(price[i - 1])
        ready_ns, entry = np.int64(-1), -1
        while i < len(t_ns) and t_ns[i] - start < expiry_ns:
            move, back = (extreme - base[k]) * sign, (extreme - mark) * sign
            if ready_ns < 0 and move > 0 and back >= move * retrace:
                ready_ns = t_ns[i - 1]
            ready = (0 <= ready_ns < t_ns[i]) or t_ns[i] - start > wait_ns
            # The limit lies beyond the touch by the slippage and must still leave an edge.
            edge = (price[i] * (1.0 - slippage * sign) - base[k]) * sign
            if ready and edge > 0 and side[i] == (_SELL if sell else _BUY):
                entry = i
                break
            mark = np.float64(price[i])
            extreme = max(extreme, mark) if sell else min(extreme, mark)
            i += 1
        if entry < 0:
            fate[k] = Fate.EXPIRED
            free_ns = start + expiry_ns + cooldown_ns
            continue
        paid, entered = np.float64(price[entry]), t_ns[entry]
        leaving_ns, leave, worst = np.int64(-1), -1, 0.0
        i = entry + 1
        while i < len(t_ns) and t_ns[i] - t_ns[i - 1] <= gap_ns:
            now = _gain(paid, price[i], sell)
            worst = max(worst, -now)
            left = (0 <= leaving_ns < t_ns[i]) or t_ns[i] - entered > horizon_ns
            if left and side[i] == (_BUY if sell else _SELL):
                leave = i
                break
            if leaving_ns < 0 and (now <= -stop or now >= take):
                leaving_ns = t_ns[i]
            i += 1
        if leave < 0:
            fate[k] = Fate.OPEN
            free_ns = entered + horizon_ns + cooldown_ns
            continue
        fate[k] = Fate.TRADED
        gain[k], adverse[k] = _gain(paid, price[leave], sell), worst
        free_ns = t_ns[leave] + cooldown_ns


def route_outcomes(alarms: Alarms, entry: Entry, strategy: StrategyConfig) -> Outcomes:
    """The router on prints: entry after a retrace or a wait while an edge is left, exit by stop, target or horizon.

    ``gain`` is net of FEE_BPS a side. Stop, target, horizon, cool-down and slippage are the strategy's. The price before the
    move is that of the last trade BASE_S before the alarm, or of the first since a pause. Every alarm is a setup unless BUSY.
    """
    one, size = alarms.series, len(alarms.t_ns)
    at_alarm = np.searchsorted(one.t_ns, alarms.t_ns, side="right") - 1
    since = np.maximum.accumulate(np.where(one.fresh, np.arange(len(one.t_ns)), 0))[at_alarm]
    before = np.searchsorted(one.t_ns, alarms.t_ns - BASE_S * NS_PER_S, side="right") - 1
    result = Outcomes(np.full(size, np.nan), np.full(size, np.nan), np.zeros(size, np.int8))
    _route(
        one.t_ns,
        one.price,
        one.side,
        alarms.t_ns,
        alarms.sells,
        one.price[np.maximum(before, since)],
        entry.retrace_bps / BPS,
        round(entry.wait_s * NS_PER_S),
        round(entry.expiry_s * NS_PER_S),
        strategy.stop_loss_bps / BPS,
        strategy.take_profit_bps / BPS,
        strategy.horizon_ms * NS_PER_MS,
        strategy.cooldown_ms * NS_PER_MS,
        strategy.slippage_bps / BPS,
        GAP_SECONDS * NS_PER_S,
        result.gain,
        result.adverse,
        result.fate,
    )
    return Outcomes(_net(result.gain, alarms.sells), result.adverse, result.fate)


def _net(gain: NDArray[np.float64], sells: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Less the fee on both legs; the second is paid on what the position was left at."""
    left_at = np.where(sells, 1.0 - gain, 1.0 + gain)
    return gain - FEE_BPS / BPS * (1.0 + left_at)


def tune_entry(alarms: Sequence[Alarms], strategy: StrategyConfig, until_ns: int, seed: int = 1) -> dict[str, Any]:
    """Retrace, wait and expiry on a grid, on alarms before ``until_ns`` alone: the training part.

    The alarms should be those of models fitted without their symbol: a model alarms too early on pumps it was fitted on.
    ``table`` has a row for each setting: retrace_bps, wait_s, expiry_s, setups, entered, open, mean, median (net gain of an
    entry), win_share (net gain above 0), mean_interval. ``present`` is the row of ``strategy``, ``best`` the best that enters
    enough, ``gain_over_present`` the 95 % interval of their paired difference, ``chosen`` the row to use, by ``rule``.
    """
    training = [one.before(until_ns) for one in alarms]
    size = sum(len(one.t_ns) for one in training)
    drawn = np.random.default_rng(seed).integers(0, max(size, 1), (RESAMPLES, size))
    present = Entry(strategy.retrace_bps, strategy.entry_wait_ms / 1000, strategy.setup_expiry_ms / 1000)
    grid = [Entry(*setting) for setting in product(RETRACES_BPS, WAITS_S, EXPIRIES_S)]
    rows, nets = {}, {}
    for entry in dict.fromkeys((present, *grid)):
        parts = [route_outcomes(one, entry, strategy) for one in training]
        nets[entry] = np.concatenate([np.zeros(0), *(part.gain for part in parts)])
        fate = np.concatenate([np.zeros(0, np.int8), *(part.fate for part in parts)])
        rows[entry] = _row(entry, nets[entry], fate, drawn)
    able = [entry for entry in grid if rows[entry]["entered"] >= LEAST_ENTERED * max(rows[entry]["setups"], 1)]
    able = [entry for entry in able if rows[entry]["mean"] is not None]
    # Of equals the one nearest to the present setting.
    kept = {entry: sum(getattr(entry, name) == getattr(present, name) for name in Entry.__dataclass_fields__) for entry in able}
    best = max(able, key=lambda entry: (rows[entry]["mean"], kept[entry]), default=present)
    over = None
    if best != present and rows[present]["mean"] is not None:
        over = _interval(_means(nets[best], drawn) - _means(nets[present], drawn))
    return {
        "alarms": size,
        "table": [rows[entry] for entry in grid],
        "present": rows[present],
        "best": rows[best],
        "gain_over_present": over,
        "chosen": rows[best if over is not None and over[0] > 0 else present],
        "rule": CHOICE_RULE,
        "fee_bps_a_side": FEE_BPS,
        "notes": list(NOTES),
    }


def _row(entry: Entry, net: NDArray[np.float64], fate: NDArray[np.int8], drawn: NDArray[np.int64]) -> dict[str, Any]:
    traded = net[fate == Fate.TRADED]
    return {
        "retrace_bps": entry.retrace_bps,
        "wait_s": entry.wait_s,
        "expiry_s": entry.expiry_s,
        "setups": int((fate != Fate.BUSY).sum()),
        "entered": int(((fate == Fate.TRADED) | (fate == Fate.OPEN)).sum()),
        "open": int((fate == Fate.OPEN).sum()),
        "mean": round(float(traded.mean()), 5) if len(traded) else None,
        "median": round(float(np.median(traded)), 5) if len(traded) else None,
        "win_share": round(float((traded > 0).mean()), 4) if len(traded) else None,
        "mean_interval": _interval(_means(net, drawn)) if len(traded) else None,
    }


def _means(net: NDArray[np.float64], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of the entries in each resample of alarms; 0 where a resample holds none."""
    values = net[drawn]
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
