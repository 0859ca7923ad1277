"""Rolling windows over each symbol's trades: exact integer sums over closed one-second and one-minute buckets.

Only buckets that saw a trade are stored, in two small rings. Every window keeps a tail into its ring;
when time moves on, entries that left the window are subtracted once, and the close of the last one is the
window's reference price. Work per trade is therefore bounded however long a coin was quiet, and the price
before a quiet gap is the reference of the first trade after it.

A window of L seconds is the open second and the L - 1 before it. Windows follow trade (exchange) time: a late
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

# open_*: the open second; minute_*: the open minute; *_5, *_15, *_60: sums over the closed seconds of those windows;
# hour_*: sums over the 60 closed minutes; ref_*: last price before the window, inverse_*: 1 / ref_*.
# Volumes in quote e8, flow = bought - sold. Pairs [2] are buyers, sellers. What every trade touches comes first.
_HEAD = [
    ("<i8", ("next_second_ns", "second", "last_price", "last_t", "gap_ns")),
    ("<i8", ("open_volume", "open_flow", "open_trades", "open_rush", "open_rush_flow")),
    ("<i8", ("minute_volume", "minute_trades", "minute_rush", "minute_high", "minute_low")),
    (("<i8", (2,)), ("print_ms", "prints", "print_volume")),
    ("<i8", ("volume_5", "volume_15", "volume_60", "flow_60", "trades_15", "rush_15", "rush_flow_15")),
    ("<i8", ("ref_5", "ref_15", "ref_60", "ref_300", "high_1h", "low_1h", "sentiment_e8", "sentiment_expiry")),
    ("<f8", ("inverse_5", "inverse_15", "inverse_60", "inverse_300", "inverse_volatility")),
    ("<f8", ("volume_rate", "trade_rate", "rush_rate")),
    ("<i8", ("bid", "bid_qty", "ask", "ask_qty", "high_5m", "low_5m")),
    ("<f8", ("mean_trade", "volume_sum", "volume_squares", "volume_std", "rush_sum", "rush_squares", "rush_std")),
    ("<i8", ("minute", "start_second", "seconds_end", "tail_5", "tail_15", "tail_60", "trades_60", "rush_60")),
    ("<i8", ("hour_volume", "hour_trades", "hour_rush", "hour_square", "prior_close", "minutes_end", "tail_5m", "tail_1h")),
    ("<i8", ("strikes", "late", "ignored")),
]
SYMBOL = np.dtype([(name, form) for form, names in _HEAD for name in names])
SECOND = np.dtype([(name, "<i8") for name in ("second", "volume", "flow", "trades", "rush", "rush_flow", "close", "pad")])
MINUTE = np.dtype([(name, "<i8") for name in ("minute", "volume", "trades", "rush", "close", "high", "low", "square")])


class FeatureState(NamedTuple):
    """Per-symbol state of the features: plain arrays, complete for a snapshot.

    ``symbols``: SYMBOL[S]; ``seconds``: SECOND[S, 64] and ``minutes``: MINUTE[S, 64], rings of closed buckets.
    """

    symbols: NDArray[Any]
    seconds: NDArray[Any]
    minutes: NDArray[Any]


def new_feature_state(symbols: int) -> FeatureState:
    """Empty state for ``symbols`` symbols; about 8.7 KiB each. Raises ValueError below one symbol."""
    if symbols < 1:
        raise ValueError(f"symbols = {symbols}: allowed is 1 or more; pass the length of the symbol table")
    return FeatureState(np.zeros(symbols, SYMBOL), np.zeros((symbols, RING), SECOND), np.zeros((symbols, RING), MINUTE))


@njit(**JIT)
def clear_symbol(fs: FeatureState, s: int) -> None:
    """Forget the trades of symbol ``s`` (after a feed outage, say); quote, sentiment and counters stay."""
    head = fs.symbols[s]
    head.last_price = 0
    head.last_t = 0
    head.strikes = 0


@njit(**JIT)
def _start(fs: FeatureState, s: int, t: int, price: int) -> None:
    head = fs.symbols[s]
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
    head.volume_rate = head.trade_rate = head.rush_rate = head.mean_trade = 0.0
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
def _roll_minute(fs: FeatureState, s: int, minute: int) -> None:
    head = fs.symbols[s]
    closed = head.minute
    end = head.minutes_end
    entry = fs.minutes[s, end & MASK]
    move = np.float64(head.last_price - head.prior_close) / np.float64(head.prior_close) * 1e6
    move_ppm = np.int64(MOVE_CAP_PPM) if move > MOVE_CAP_PPM else np.int64(move)
    entry.minute = closed
    entry.volume = head.minute_volume
    entry.trades = head.minute_trades
    entry.rush = head.minute_rush
    entry.close = head.last_price
    entry.high = head.minute_high
    entry.low = head.minute_low
    entry.square = move_ppm * move_ppm
    head.hour_volume += entry.volume
    head.hour_trades += entry.trades
    head.hour_rush += entry.rush
    head.hour_square += entry.square
    head.prior_close = head.last_price
    end += 1
    head.minutes_end = end
    head.minute = minute
    head.minute_volume = head.minute_trades = head.minute_rush = 0
    head.minute_high = 0
    head.minute_low = np.int64(INT64_MAX)
    while head.tail_1h < end and fs.minutes[s, head.tail_1h & MASK].minute < minute - 60:
        old = fs.minutes[s, head.tail_1h & MASK]
        head.hour_volume -= old.volume
        head.hour_trades -= old.trades
        head.hour_rush -= old.rush
        head.hour_square -= old.square
        head.tail_1h += 1
    while head.tail_5m < end and fs.minutes[s, head.tail_5m & MASK].minute <= minute - 5:
        head.ref_300 = fs.minutes[s, head.tail_5m & MASK].close
        head.inverse_300 = 1.0 / np.float64(head.ref_300)
        head.tail_5m += 1
    # The minute just closed may be the move that is being judged: it stays out of the scale for one minute.
    judged = entry.square if minute - closed == 1 else 0
    minutes = np.float64(max(1, min(60, minute - head.start_second // 60)))
    head.inverse_volatility = 1.0 / np.sqrt(np.float64(head.hour_square - judged) / minutes + VOLATILITY_FLOOR)
    _recount_minutes(fs, s)


@njit(**JIT)
def _recount_minutes(fs: FeatureState, s: int) -> None:
    """Extremes and standard deviations over the closed minutes, summed afresh in a fixed order: no drift."""
    head = fs.symbols[s]
    high_5m = high_1h = np.int64(0)
    low_5m = low_1h = np.int64(INT64_MAX)
    volume_sum = volume_squares = rush_sum = rush_squares = 0.0
    oldest_volume = oldest_rush = 0.0
    for i in range(head.minutes_end - 1, head.tail_1h - 1, -1):
        entry = fs.minutes[s, i & MASK]
        age = head.minute - entry.minute
        if age >= 60:
            break
        high_1h = max(high_1h, entry.high)
        low_1h = min(low_1h, entry.low)
        if age < 5:
            high_5m = high_1h
            low_5m = low_1h
        if age < STD_MINUTES:
            volume = np.float64(entry.volume)
            rush = np.float64(entry.rush)
            volume_sum += volume
            volume_squares += volume * volume
            rush_sum += rush
            rush_squares += rush * rush
        elif age == STD_MINUTES:
            oldest_volume = np.float64(entry.volume)
            oldest_rush = np.float64(entry.rush)
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
def _roll_second(fs: FeatureState, s: int, second: int) -> None:
    head = fs.symbols[s]
    end = head.seconds_end
    entry = fs.seconds[s, end & MASK]
    entry.second = head.second
    entry.volume = head.open_volume
    entry.flow = head.open_flow
    entry.trades = head.open_trades
    entry.rush = head.open_rush
    entry.rush_flow = head.open_rush_flow
    entry.close = head.last_price
    head.volume_5 += entry.volume
    head.volume_15 += entry.volume
    head.volume_60 += entry.volume
    head.flow_60 += entry.flow
    head.trades_15 += entry.trades
    head.trades_60 += entry.trades
    head.rush_15 += entry.rush
    head.rush_60 += entry.rush
    head.rush_flow_15 += entry.rush_flow
    closed_mean = np.float64(entry.volume) / np.float64(entry.trades)
    end += 1
    head.seconds_end = end
    head.second = second
    head.next_second_ns = (second + 1) * NS
    head.open_volume = head.open_flow = head.open_trades = head.open_rush = head.open_rush_flow = 0
    while head.tail_5 < end and fs.seconds[s, head.tail_5 & MASK].second <= second - 5:
        old = fs.seconds[s, head.tail_5 & MASK]
        head.volume_5 -= old.volume
        head.ref_5 = old.close
        head.inverse_5 = 1.0 / np.float64(old.close)
        head.tail_5 += 1
    while head.tail_15 < end and fs.seconds[s, head.tail_15 & MASK].second <= second - 15:
        old = fs.seconds[s, head.tail_15 & MASK]
        head.volume_15 -= old.volume
        head.trades_15 -= old.trades
        head.rush_15 -= old.rush
        head.rush_flow_15 -= old.rush_flow
        head.ref_15 = old.close
        head.inverse_15 = 1.0 / np.float64(old.close)
        head.tail_15 += 1
    while head.tail_60 < end and fs.seconds[s, head.tail_60 & MASK].second <= second - 60:
        old = fs.seconds[s, head.tail_60 & MASK]
        head.volume_60 -= old.volume
        head.flow_60 -= old.flow
        head.trades_60 -= old.trades
        head.rush_60 -= old.rush
        head.ref_60 = old.close
        head.inverse_60 = 1.0 / np.float64(old.close)
        head.tail_60 += 1
    minute = second // 60
    if minute != head.minute:
        _roll_minute(fs, s, minute)
    _refresh_rates(head, closed_mean)


@njit(**JIT)
def _refresh_rates(head: Any, closed_mean: float) -> None:
    """Seconds of the hour before over what it held: constant while a second is open, so divided once a second."""
    trades = head.hour_trades + head.minute_trades
    volume = head.hour_volume + head.minute_volume
    head.mean_trade = np.float64(volume) / np.float64(trades) if trades > 0 else closed_mean
    history = head.second - 59 - max(head.start_second, (head.minute - 60) * 60)
    head.volume_rate = head.trade_rate = head.rush_rate = 0.0
    if history < MIN_HISTORY_S:
        return
    seconds = np.float64(history)
    before = np.float64(volume - head.volume_60) + head.mean_trade
    if before > 0.0:
        head.volume_rate = seconds / before
    head.trade_rate = seconds / np.float64(trades - head.trades_60 + 1)
    head.rush_rate = seconds / np.float64(head.hour_rush + head.minute_rush - head.rush_60 + 1)


@njit(**JIT)
def update_trade(fs: FeatureState, s: int, t_exchange: int, price: int, qty: int, side: int) -> int:
    """Add one trade of symbol ``s``: exchange time ns, price and quantity e8, ``side`` = the aggressor (wire.Side).

    Returns 1, or 0 when the trade was ignored and counted (price, quantity or time not positive, or more than
    a minute older than the open second). Prints of one side in one millisecond are one rush order from the
    second print on (La Morgia et al., "Pump and Dumps in the Bitcoin Era", ICCCN 2020).
    """
    head = fs.symbols[s]
    if price <= 0 or qty <= 0 or t_exchange <= 0:
        head.ignored += 1
        return 0
    if head.last_price == 0:
        _start(fs, s, t_exchange, price)
    elif t_exchange >= head.last_t:
        if t_exchange >= head.next_second_ns:
            _roll_second(fs, s, t_exchange // NS)
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
        _start(fs, s, t_exchange, price)
    volume = min(notional_nb(price, qty), MINUTE_VOLUME_CAP - head.minute_volume)
    head.last_price = price
    head.open_volume += volume
    head.open_trades += 1
    head.minute_volume += volume
    head.minute_trades += 1
    head.minute_high = max(head.minute_high, price)
    head.minute_low = min(head.minute_low, price)
    k = 0 if side == BUY else 1
    flow = volume if side == BUY else -volume
    head.open_flow += flow
    millisecond = t_exchange // NS_PER_MS
    if millisecond != head.print_ms[k]:
        head.print_ms[k] = millisecond
        head.prints[k] = 1
        head.print_volume[k] = flow
        return 1
    if head.prints[k] == 1:
        head.open_rush += 1
        head.minute_rush += 1
        head.open_rush_flow += head.print_volume[k]
    head.prints[k] += 1
    head.open_rush_flow += flow
    return 1


@njit(**JIT)
def last_price(fs: FeatureState, s: int) -> int:
    """Price e8 of the last trade of symbol ``s``; 0 before the first."""
    return fs.symbols[s].last_price
