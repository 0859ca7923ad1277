"""Closed minutes and hours of a symbol: sums, extremes and spreads over the hour, and the rate of the day."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine.window_state import (
    DAY_HOURS,
    M_CLOSE,
    M_HIGH,
    M_LOW,
    M_RUSH,
    M_SQUARE,
    M_TRADES,
    M_VOLUME,
    MASK,
    MINUTE,
    VOLATILITY_FLOOR,
)
from sentinel.native import JIT
from sentinel.units import INT64_MAX

#: One-minute moves are squared in parts per million; the cap keeps 61 squares within int64.
MOVE_CAP_PPM = 10_000_000
STD_MINUTES = 15


@njit(**JIT)
def standard_deviation(total: float, squares: float) -> float:
    """Standard deviation of STD_MINUTES values from their sum and sum of squares; 0 where rounding goes below it."""
    mean = total / STD_MINUTES
    variance = squares / STD_MINUTES - mean * mean
    return np.sqrt(variance) if variance > 0.0 else 0.0


@njit(**JIT)
def roll_minute(head: Any, minute: int) -> None:
    """Close the open minute; ``minute`` is the new one."""
    closed = head.minute
    end = head.minutes_end
    entry = head.minutes[end & MASK]
    move = np.float64(head.last_price - head.prior_close) / np.float64(head.prior_close) * 1e6
    move_ppm = np.int64(MOVE_CAP_PPM) if move > MOVE_CAP_PPM else np.int64(move)
    entry[MINUTE] = closed
    entry[M_VOLUME] = head.minute_volume
    entry[M_TRADES] = head.minute_trades
    entry[M_RUSH] = head.minute_rush
    entry[M_CLOSE] = head.last_price
    entry[M_HIGH] = head.minute_high
    entry[M_LOW] = head.minute_low
    entry[M_SQUARE] = move_ppm * move_ppm
    head.hour_volume += entry[M_VOLUME]
    head.hour_trades += entry[M_TRADES]
    head.hour_rush += entry[M_RUSH]
    head.hour_square += entry[M_SQUARE]
    head.prior_close = head.last_price
    end += 1
    head.minutes_end = end
    head.minute = minute
    head.minute_volume = head.minute_trades = head.minute_rush = 0
    head.minute_high = 0
    head.minute_low = np.int64(INT64_MAX)
    if minute // 60 != head.hour:
        _roll_hour(head, minute // 60)
    while head.tail_1h < end and head.minutes[head.tail_1h & MASK, MINUTE] < minute - 60:
        old = head.minutes[head.tail_1h & MASK]
        head.hour_volume -= old[M_VOLUME]
        head.hour_trades -= old[M_TRADES]
        head.hour_rush -= old[M_RUSH]
        head.hour_square -= old[M_SQUARE]
        head.tail_1h += 1
    while head.tail_5m < end and head.minutes[head.tail_5m & MASK, MINUTE] <= minute - 5:
        head.ref_300 = head.minutes[head.tail_5m & MASK, M_CLOSE]
        head.inverse_300 = 1.0 / np.float64(head.ref_300)
        head.tail_5m += 1
    # The minute just closed may be the move that is being judged: it stays out of the scale for one minute.
    judged = entry[M_SQUARE] if minute - closed == 1 else 0
    minutes = np.float64(max(1, min(60, minute - head.start_second // 60)))
    head.inverse_volatility = 1.0 / np.sqrt(np.float64(head.hour_square - judged) / minutes + VOLATILITY_FLOOR)
    _recount_minutes(head)


@njit(**JIT)
def _roll_hour(head: Any, hour: int) -> None:
    """``day_rate``: seconds of up to 24 whole hours over the quote volume they held."""
    head.hours[head.hour % DAY_HOURS] = head.open_hour_volume
    for quiet in range(head.hour + 1, min(hour, head.hour + 1 + DAY_HOURS)):
        head.hours[quiet % DAY_HOURS] = 0
    head.hour = hour
    head.open_hour_volume = 0
    start = max(hour - DAY_HOURS, head.start_second // 3600 + 1)
    volume = 0.0
    for closed in range(start, hour):
        volume += np.float64(head.hours[closed % DAY_HOURS])
    head.day_rate = np.float64((hour - start) * 3600) / volume if volume > 0.0 else 0.0


@njit(**JIT)
def _recount_minutes(head: Any) -> None:
    """Extremes and standard deviations over the closed minutes, summed afresh in a fixed order: no drift."""
    high_5m = high_1h = np.int64(0)
    low_5m = low_1h = np.int64(INT64_MAX)
    volume_sum = volume_squares = rush_sum = rush_squares = 0.0
    oldest_volume = oldest_rush = 0.0
    busiest = np.int64(0)
    for i in range(head.minutes_end - 1, head.tail_1h - 1, -1):
        entry = head.minutes[i & MASK]
        age = head.minute - entry[MINUTE]
        if age >= 60:
            break
        high_1h = max(high_1h, entry[M_HIGH])
        low_1h = min(low_1h, entry[M_LOW])
        if age > 1:
            busiest = max(busiest, entry[M_VOLUME])
        if age < 5:
            high_5m = high_1h
            low_5m = low_1h
        if age < STD_MINUTES:
            volume = np.float64(entry[M_VOLUME])
            rush = np.float64(entry[M_RUSH])
            volume_sum += volume
            volume_squares += volume * volume
            rush_sum += rush
            rush_squares += rush * rush
        elif age == STD_MINUTES:
            oldest_volume = np.float64(entry[M_VOLUME])
            oldest_rush = np.float64(entry[M_RUSH])
    head.busiest_minute = busiest
    head.high_5m = high_5m
    head.low_5m = low_5m
    head.high_1h = high_1h
    head.low_1h = low_1h
    head.volume_sum = volume_sum
    head.volume_squares = volume_squares
    head.rush_sum = rush_sum
    head.rush_squares = rush_squares
    head.volume_std = standard_deviation(volume_sum + oldest_volume, volume_squares + oldest_volume * oldest_volume)
    head.rush_std = standard_deviation(rush_sum + oldest_rush, rush_squares + oldest_rush * oldest_rush)
