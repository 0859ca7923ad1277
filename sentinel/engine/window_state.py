"""State of the rolling windows: one record a symbol, laid out so that the hot functions pass one pointer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.native import JIT
from sentinel.units import NS_PER_S

RING = 64  # buckets kept: more than the 60 seconds, and the 60 minutes, any window covers
MASK = RING - 1
NS = NS_PER_S
#: Floor of the squared one-minute volatility, in squared parts per million: 10 basis points.
VOLATILITY_FLOOR = 1_000_000.0
DAY_HOURS = 24

# Columns of a closed second and of a closed minute in their rings.
SECOND, VOLUME, FLOW, TRADES, RUSH, RUSH_FLOW, CLOSE, SWEEP = range(8)
MINUTE, M_VOLUME, M_TRADES, M_RUSH, M_CLOSE, M_HIGH, M_LOW, M_SQUARE = range(8)

# One record a symbol, so that the hot functions pass one pointer. What every trade touches comes first.
# open_*: the open second; minute_*: the open minute; *_5, *_15, *_60: sums over the closed seconds of those windows;
# hour_*: sums over the 60 closed minutes; ref_*: last price before the window, inverse_*: 1 / ref_*.
# hours: quote volume of the last 24 closed hours, by hour modulo 24.
# Volumes in quote e8, flow = bought - sold. Pairs [2] are buyers, sellers.
_HEAD: list[tuple[Any, tuple[str, ...]]] = [
    ("<i8", ("next_second_ns", "second", "last_price", "last_t", "gap_ns")),
    ("<i8", ("open_volume", "open_flow", "open_trades", "open_rush", "open_rush_flow")),
    ("<i8", ("minute_volume", "minute_trades", "minute_rush", "minute_high", "minute_low")),
    (("<i8", (2,)), ("print_ms", "prints", "print_volume")),
    ("<i8", ("volume_5", "volume_15", "volume_60", "flow_60", "trades_15", "rush_15", "rush_flow_15")),
    ("<i8", ("ref_5", "ref_15", "ref_60", "ref_300", "high_1h", "low_1h", "sentiment_e8", "sentiment_expiry")),
    ("<f8", ("inverse_5", "inverse_15", "inverse_60", "inverse_300", "inverse_volatility")),
    ("<f8", ("volume_rate", "trade_expected", "trade_scale", "rush_expected", "rush_scale", "busiest_scale", "day_rate")),
    ("<i8", ("high_5m", "low_5m", "jump_level", "jump_t", "jump_up", "open_sweep", "sweep_15")),
    ("<f8", ("mean_trade", "volume_sum", "volume_squares", "volume_std", "rush_sum", "rush_squares", "rush_std")),
    ("<i8", ("minute", "start_second", "seconds_end", "tail_5", "tail_15", "tail_60", "trades_60", "rush_60")),
    ("<i8", ("hour_volume", "hour_trades", "hour_rush", "hour_square", "prior_close", "minutes_end", "tail_5m", "tail_1h")),
    ("<i8", ("hour", "open_hour_volume", "busiest_minute")),
    ("<i8", ("strikes", "late", "ignored")),
    (("<i8", (RING, 8)), ("seconds", "minutes")),
    (("<i8", (DAY_HOURS,)), ("hours",)),
]
SYMBOL = np.dtype([(name, form) for form, names in _HEAD for name in names])


class FeatureState(NamedTuple):
    """State of the features: plain arrays, complete for a snapshot. ``symbols``: SYMBOL[S]."""

    symbols: NDArray[Any]


def new_feature_state(symbols: int) -> FeatureState:
    """Empty state for ``symbols`` symbols; about 9 KiB each. Raises ValueError below one symbol."""
    if symbols < 1:
        raise ValueError(f"symbols = {symbols}: allowed is 1 or more; pass the length of the symbol table")
    return FeatureState(np.zeros(symbols, SYMBOL))


@njit(**JIT)
def clear_symbol(fs: FeatureState, s: int) -> None:
    """Forget the trades of symbol ``s`` (after a feed outage, say); sentiment and counters stay."""
    head = fs.symbols[s]
    head.last_price = 0
    head.last_t = 0
    head.strikes = 0


@njit(**JIT)
def start_symbol(head: Any, t: int, price: int) -> None:
    """Begin a history with a first trade at ``t`` (ns) of ``price`` (e8)."""
    head.second = t // NS
    head.minute = head.second // 60
    head.next_second_ns = (head.second + 1) * NS
    head.start_second = head.second
    head.gap_ns = -1
    head.last_t = t
    head.strikes = 0
    head.open_volume = head.open_flow = head.open_trades = head.open_rush = head.open_rush_flow = 0
    head.minute_volume = head.minute_trades = head.minute_rush = 0
    head.minute_high = head.minute_low = price
    for k in range(2):
        head.print_ms[k] = -1
        head.prints[k] = 0
        head.print_volume[k] = 0
    head.volume_5 = head.volume_15 = head.volume_60 = head.flow_60 = 0
    head.trades_15 = head.trades_60 = head.rush_15 = head.rush_60 = head.rush_flow_15 = 0
    head.hour_volume = head.hour_trades = head.hour_rush = head.hour_square = 0
    head.ref_5 = head.ref_15 = head.ref_60 = head.ref_300 = head.prior_close = price
    head.inverse_5 = head.inverse_15 = head.inverse_60 = head.inverse_300 = 1.0 / np.float64(price)
    head.high_5m = head.low_5m = head.high_1h = head.low_1h = price
    head.jump_level = head.jump_t = head.jump_up = head.open_sweep = head.sweep_15 = 0
    head.hour = head.second // 3600
    head.open_hour_volume = head.busiest_minute = 0
    for k in range(DAY_HOURS):
        head.hours[k] = 0
    head.volume_rate = head.mean_trade = head.busiest_scale = head.day_rate = 0.0
    head.trade_expected = head.trade_scale = head.rush_expected = head.rush_scale = 0.0
    head.volume_sum = head.volume_squares = head.volume_std = 0.0
    head.rush_sum = head.rush_squares = head.rush_std = 0.0
    head.inverse_volatility = 1.0 / np.sqrt(VOLATILITY_FLOOR)
    head.seconds_end = head.tail_5 = head.tail_15 = head.tail_60 = 0
    head.minutes_end = head.tail_5m = head.tail_1h = 0
