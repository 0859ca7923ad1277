"""Rolling windows over each symbol's trades: exact integer sums over closed one-second and one-minute buckets.

Only buckets that saw a trade are stored, in two small rings. Every window keeps a tail into its ring;
when time moves on, entries that left the window are subtracted once, and the close of the last one is the
window's reference price. Work per trade is therefore bounded however long a coin was quiet, and the price
before a quiet gap is the reference of the first trade after it.

A window of L seconds is the open second and the L - 1 before it. The level before a jump is remembered for as long as
the price stays away from it, an hour at most: it tells a move that begins from one that has gone on for minutes.
 Windows follow trade (exchange) time: a late
trade joins the open bucket, a closed bucket never changes. A trade more than a minute older than the open
second is ignored; three in a row mean the clock had been wrong, and the symbol's history starts anew.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.native import JIT
from sentinel.units import INT64_MAX, NS_PER_MS, NS_PER_S, notional_nb
from sentinel.wire import Side

RING = 64  # buckets kept: more than the 60 seconds, and the 60 minutes, any window covers
MASK = RING - 1
NS = NS_PER_S
BUY = int(Side.BUY)
#: Cap of one minute's quote volume (e8), so that an hour of them cannot overflow int64.
MINUTE_VOLUME_CAP = 1 << 56
FAR_LATE_NS = 60 * NS
FAR_LATE_STRIKES = 3
#: One-minute moves are squared in parts per million; the cap keeps 61 squares within int64.
MOVE_CAP_PPM = 10_000_000
STD_MINUTES = 15
#: Seconds the hour before the window must span before any ratio to it is given.
MIN_HISTORY_S = 60
#: Floor of the squared one-minute volatility, in squared parts per million: 10 basis points.
VOLATILITY_FLOOR = 1_000_000.0
#: A jump begins 1/JUMP (1 %) away from the last price before the 60 s window and is over once half of that is left.
JUMP = 100
JUMP_NS = 3600 * NS
DAY_HOURS = 24

# Columns of a closed second and of a closed minute in their rings.
SECOND, VOLUME, FLOW, TRADES, RUSH, RUSH_FLOW, CLOSE, SWEEP = range(8)
MINUTE, M_VOLUME, M_TRADES, M_RUSH, M_CLOSE, M_HIGH, M_LOW, M_SQUARE = range(8)

# hours: quote volume of the last 24 closed hours, by hour modulo 24.

# One record a symbol, so that the hot functions pass one pointer. What every trade touches comes first.
# open_*: the open second; minute_*: the open minute; *_5, *_15, *_60: sums over the closed seconds of those windows;
# hour_*: sums over the 60 closed minutes; ref_*: last price before the window, inverse_*: 1 / ref_*.
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
def _start(head: Any, t: int, price: int) -> None:
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


@njit(**JIT)
def standard_deviation(total: float, squares: float) -> float:
    """Standard deviation of STD_MINUTES values from their sum and sum of squares; 0 where rounding goes below it."""
    mean = total / STD_MINUTES
    variance = squares / STD_MINUTES - mean * mean
    return np.sqrt(variance) if variance > 0.0 else 0.0


@njit(**JIT)
def _roll_minute(head: Any, minute: int) -> None:
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


@njit(**JIT)
def _roll_second(head: Any, second: int) -> None:
    end = head.seconds_end
    entry = head.seconds[end & MASK]
    entry[SECOND] = head.second
    entry[VOLUME] = head.open_volume
    entry[FLOW] = head.open_flow
    entry[TRADES] = head.open_trades
    entry[RUSH] = head.open_rush
    entry[RUSH_FLOW] = head.open_rush_flow
    entry[CLOSE] = head.last_price
    entry[SWEEP] = head.open_sweep
    head.volume_5 += entry[VOLUME]
    head.volume_15 += entry[VOLUME]
    head.volume_60 += entry[VOLUME]
    head.flow_60 += entry[FLOW]
    head.trades_15 += entry[TRADES]
    head.trades_60 += entry[TRADES]
    head.rush_15 += entry[RUSH]
    head.rush_60 += entry[RUSH]
    head.rush_flow_15 += entry[RUSH_FLOW]
    closed_mean = np.float64(entry[VOLUME]) / np.float64(entry[TRADES])
    end += 1
    head.seconds_end = end
    head.second = second
    head.next_second_ns = (second + 1) * NS
    head.open_volume = head.open_flow = head.open_trades = head.open_rush = head.open_rush_flow = head.open_sweep = 0
    while head.tail_5 < end and head.seconds[head.tail_5 & MASK, SECOND] <= second - 5:
        old = head.seconds[head.tail_5 & MASK]
        head.volume_5 -= old[VOLUME]
        head.ref_5 = old[CLOSE]
        head.inverse_5 = 1.0 / np.float64(old[CLOSE])
        head.tail_5 += 1
    while head.tail_15 < end and head.seconds[head.tail_15 & MASK, SECOND] <= second - 15:
        old = head.seconds[head.tail_15 & MASK]
        head.volume_15 -= old[VOLUME]
        head.trades_15 -= old[TRADES]
        head.rush_15 -= old[RUSH]
        head.rush_flow_15 -= old[RUSH_FLOW]
        head.ref_15 = old[CLOSE]
        head.inverse_15 = 1.0 / np.float64(old[CLOSE])
        head.tail_15 += 1
    sweep = np.int64(0)
    for i in range(head.tail_15, end):
        sweep = max(sweep, head.seconds[i & MASK, SWEEP])
    head.sweep_15 = sweep
    while head.tail_60 < end and head.seconds[head.tail_60 & MASK, SECOND] <= second - 60:
        old = head.seconds[head.tail_60 & MASK]
        head.volume_60 -= old[VOLUME]
        head.flow_60 -= old[FLOW]
        head.trades_60 -= old[TRADES]
        head.rush_60 -= old[RUSH]
        head.ref_60 = old[CLOSE]
        head.inverse_60 = 1.0 / np.float64(old[CLOSE])
        head.tail_60 += 1
    minute = second // 60
    if minute != head.minute:
        _roll_minute(head, minute)
    _refresh_rates(head, closed_mean)


@njit(**JIT)
def _refresh_rates(head: Any, closed_mean: float) -> None:
    """Seconds of the hour before over what it held: constant while a second is open, so divided once a second."""
    trades = head.hour_trades + head.minute_trades
    volume = head.hour_volume + head.minute_volume
    head.mean_trade = np.float64(volume) / np.float64(trades) if trades > 0 else closed_mean
    history = head.second - 59 - max(head.start_second, (head.minute - 60) * 60)
    head.volume_rate = head.busiest_scale = 0.0
    head.trade_expected = head.trade_scale = head.rush_expected = head.rush_scale = 0.0
    if history < MIN_HISTORY_S:
        return
    seconds = np.float64(history)
    before = np.float64(volume - head.volume_60) + head.mean_trade
    if before > 0.0:
        head.volume_rate = seconds / before
        head.busiest_scale = 1.0 / (np.float64(head.busiest_minute) + head.mean_trade)
    # Arrivals as of a Poisson process: the variance of a count is what is expected of it.
    head.trade_expected = np.float64(trades - head.trades_60 + 1) * 15.0 / seconds
    head.trade_scale = 1.0 / np.sqrt(head.trade_expected + 1.0)
    head.rush_expected = np.float64(head.hour_rush + head.minute_rush - head.rush_60 + 1) * 15.0 / seconds
    head.rush_scale = 1.0 / np.sqrt(head.rush_expected + 1.0)


@njit(**JIT)
def _follow_jump(head: Any, t: int, price: int) -> None:
    level = head.jump_level
    if level > 0:
        left = price - level if head.jump_up != 0 else level - price
        if np.float64(left) * (2.0 * JUMP) >= np.float64(level) and t - head.jump_t < JUMP_NS:
            return
        head.jump_level = 0
    away = price - head.ref_60
    if np.float64(abs(away)) * JUMP >= np.float64(head.ref_60):
        head.jump_level = head.ref_60
        head.jump_t = t
        head.jump_up = 1 if away > 0 else 0


@njit(inline="always", **JIT)
def update_trade(fs: FeatureState, s: int, t_exchange: int, price: int, qty: int, side: int) -> int:
    """Add one trade of symbol ``s``: exchange time ns, price and quantity e8, ``side`` = the aggressor (wire.Side).

    Returns 1, or 0 when the trade was ignored and counted (price, quantity or time not positive, or more than
    a minute older than the open second). Prints of one side in one millisecond are one rush order from the
    second print on (La Morgia et al., "Pump and Dumps in the Bitcoin Era", ICCCN 2020).
    """
    return _add_trade(fs.symbols[s], t_exchange, price, qty, side)


@njit(**JIT)
def _add_trade(head: Any, t_exchange: int, price: int, qty: int, side: int) -> int:
    if price <= 0 or qty <= 0 or t_exchange <= 0:
        head.ignored += 1
        return 0
    if head.last_price == 0:
        _start(head, t_exchange, price)
    elif t_exchange >= head.last_t:
        if t_exchange >= head.next_second_ns:
            _roll_second(head, t_exchange // NS)
        head.gap_ns = t_exchange - head.last_t
        head.last_t = t_exchange
        head.strikes = 0
    elif t_exchange >= head.next_second_ns - NS - FAR_LATE_NS:
        head.gap_ns = 0
        head.late += 1
        head.strikes = 0
    else:
        head.ignored += 1
        head.strikes += 1
        if head.strikes < FAR_LATE_STRIKES:
            return 0
        _start(head, t_exchange, price)
    volume = min(notional_nb(price, qty), MINUTE_VOLUME_CAP - head.minute_volume)
    head.last_price = price
    head.open_volume += volume
    head.open_trades += 1
    head.minute_volume += volume
    head.minute_trades += 1
    head.minute_high = max(head.minute_high, price)
    head.minute_low = min(head.minute_low, price)
    head.open_hour_volume += volume
    _follow_jump(head, t_exchange, price)
    k = 0 if side == BUY else 1
    flow = volume if side == BUY else -volume
    head.open_flow += flow
    millisecond = t_exchange // NS_PER_MS
    if millisecond != head.print_ms[k]:
        head.print_ms[k] = millisecond
        head.prints[k] = 1
        head.print_volume[k] = flow
        head.open_sweep = max(head.open_sweep, 1)
        return 1
    if head.prints[k] == 1:
        head.open_rush += 1
        head.minute_rush += 1
        head.open_rush_flow += head.print_volume[k]
    head.prints[k] += 1
    head.open_sweep = max(head.open_sweep, head.prints[k])
    head.open_rush_flow += flow
    return 1


@njit(**JIT)
def last_price(fs: FeatureState, s: int) -> int:
    """Price e8 of the last trade of symbol ``s``; 0 before the first."""
    return fs.symbols[s].last_price
