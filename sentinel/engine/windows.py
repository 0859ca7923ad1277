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
from sentinel.units import notional_nb
from sentinel.wire import Side

RING = 64  # buckets kept: more than the 60 seconds, and the 60 minutes, any window covers
MASK = RING - 1
NS = 1_000_000_000
NS_PER_MS = 1_000_000
BUY = int(Side.BUY)
#: Cap of one minute's quote volume (e8), so that an hour of them cannot overflow int64.
MINUTE_VOLUME_CAP = 1 << 56
FAR_LATE_NS = 60 * NS
FAR_LATE_STRIKES = 3
#: One-minute moves are squared in parts per million; the cap keeps 61 squares within int64.
MOVE_CAP_PPM = 10_000_000
STD_MINUTES = 15

# open_*: the open second; minute_*: the open minute; *_5, *_15, *_60: sums over the closed seconds of those windows;
# hour_*: sums over the 60 closed minutes. ref_*: last price before the window. Volumes in quote e8, flow = bought - sold.
_HEAD_FIELDS = """
    next_second_ns second minute start_second last_price last_t gap_ns
    open_volume open_flow open_trades open_rush open_rush_flow
    minute_volume minute_trades minute_rush minute_high minute_low
    volume_5 volume_15 volume_60 flow_60
    trades_15 trades_60 rush_15 rush_60 rush_flow_15
    hour_volume hour_trades hour_rush hour_square last_square
    ref_5 ref_15 ref_60 ref_300 high_5m low_5m high_1h low_1h
    buy_ms buy_prints buy_volume sell_ms sell_prints sell_volume
    bid bid_qty ask ask_qty sentiment_e8 sentiment_expiry
    seconds_end tail_5 tail_15 tail_60 minutes_end tail_5m tail_1h prior_close
    strikes late ignored
""".split()
_HEAD_FLOATS = "volume_sum volume_squares volume_std rush_sum rush_squares rush_std".split()
SYMBOL = np.dtype([(name, "<i8") for name in _HEAD_FIELDS] + [(name, "<f8") for name in _HEAD_FLOATS])
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
    """Empty state for ``symbols`` symbols; about 9 KiB each. Raises ValueError below one symbol."""
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
    second = t // NS
    head.second = second
    head.minute = second // 60
    head.next_second_ns = (second + 1) * NS
    head.start_second = second
    head.gap_ns = -1
    head.last_t = t
    head.strikes = 0
    head.open_volume = head.open_flow = head.open_trades = head.open_rush = head.open_rush_flow = 0
    head.minute_volume = head.minute_trades = head.minute_rush = 0
    head.minute_high = head.minute_low = price
    head.volume_5 = head.volume_15 = head.volume_60 = head.flow_60 = 0
    head.trades_15 = head.trades_60 = head.rush_15 = head.rush_60 = head.rush_flow_15 = 0
    head.hour_volume = head.hour_trades = head.hour_rush = head.hour_square = head.last_square = 0
    head.ref_5 = head.ref_15 = head.ref_60 = head.ref_300 = head.prior_close = price
    head.high_5m = head.low_5m = head.high_1h = head.low_1h = price
    head.buy_ms = head.sell_ms = -1
    head.buy_prints = head.buy_volume = head.sell_prints = head.sell_volume = 0
    head.seconds_end = head.tail_5 = head.tail_15 = head.tail_60 = 0
    head.minutes_end = head.tail_5m = head.tail_1h = 0
    head.volume_sum = head.volume_squares = head.volume_std = 0.0
    head.rush_sum = head.rush_squares = head.rush_std = 0.0


@njit(**JIT)
def standard_deviation(total: float, squares: float) -> float:
    mean = total / STD_MINUTES
    variance = squares / STD_MINUTES - mean * mean
    return np.sqrt(variance) if variance > 0.0 else 0.0


@njit(**JIT)
def _roll_minute(fs: FeatureState, s: int, minute: int) -> None:
    head = fs.symbols[s]
    end = head.minutes_end
    entry = fs.minutes[s, end & MASK]
    close = head.last_price
    move = np.float64(close - head.prior_close) / np.float64(head.prior_close) * 1e6
    move_ppm = np.int64(MOVE_CAP_PPM) if move > MOVE_CAP_PPM else np.int64(move)
    entry.minute = head.minute
    entry.volume = head.minute_volume
    entry.trades = head.minute_trades
    entry.rush = head.minute_rush
    entry.close = close
    entry.high = head.minute_high
    entry.low = head.minute_low
    entry.square = move_ppm * move_ppm
    head.hour_volume += entry.volume
    head.hour_trades += entry.trades
    head.hour_rush += entry.rush
    head.hour_square += entry.square
    head.last_square = entry.square if minute - head.minute == 1 else 0
    head.prior_close = close
    end += 1
    head.minutes_end = end
    head.minute = minute
    head.minute_volume = head.minute_trades = head.minute_rush = 0
    head.minute_high = 0
    head.minute_low = np.int64(0x7FFFFFFFFFFFFFFF)
    while head.tail_1h < end and fs.minutes[s, head.tail_1h & MASK].minute < minute - 60:
        old = fs.minutes[s, head.tail_1h & MASK]
        head.hour_volume -= old.volume
        head.hour_trades -= old.trades
        head.hour_rush -= old.rush
        head.hour_square -= old.square
        head.tail_1h += 1
    while head.tail_5m < end and fs.minutes[s, head.tail_5m & MASK].minute <= minute - 5:
        head.ref_300 = fs.minutes[s, head.tail_5m & MASK].close
        head.tail_5m += 1
    _recount_minutes(fs, s)


@njit(**JIT)
def _recount_minutes(fs: FeatureState, s: int) -> None:
    """Extremes and standard deviations over the closed minutes, summed afresh in a fixed order: no drift."""
    head = fs.symbols[s]
    high_5m = high_1h = np.int64(0)
    low_5m = low_1h = np.int64(0x7FFFFFFFFFFFFFFF)
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
            high_5m = max(high_5m, entry.high)
            low_5m = min(low_5m, entry.low)
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
    head.volume_5 += head.open_volume
    head.volume_15 += head.open_volume
    head.volume_60 += head.open_volume
    head.flow_60 += head.open_flow
    head.trades_15 += head.open_trades
    head.trades_60 += head.open_trades
    head.rush_15 += head.open_rush
    head.rush_60 += head.open_rush
    head.rush_flow_15 += head.open_rush_flow
    end += 1
    head.seconds_end = end
    head.second = second
    head.next_second_ns = (second + 1) * NS
    head.open_volume = head.open_flow = head.open_trades = head.open_rush = head.open_rush_flow = 0
    while head.tail_5 < end and fs.seconds[s, head.tail_5 & MASK].second <= second - 5:
        old = fs.seconds[s, head.tail_5 & MASK]
        head.volume_5 -= old.volume
        head.ref_5 = old.close
        head.tail_5 += 1
    while head.tail_15 < end and fs.seconds[s, head.tail_15 & MASK].second <= second - 15:
        old = fs.seconds[s, head.tail_15 & MASK]
        head.volume_15 -= old.volume
        head.trades_15 -= old.trades
        head.rush_15 -= old.rush
        head.rush_flow_15 -= old.rush_flow
        head.ref_15 = old.close
        head.tail_15 += 1
    while head.tail_60 < end and fs.seconds[s, head.tail_60 & MASK].second <= second - 60:
        old = fs.seconds[s, head.tail_60 & MASK]
        head.volume_60 -= old.volume
        head.flow_60 -= old.flow
        head.trades_60 -= old.trades
        head.rush_60 -= old.rush
        head.ref_60 = old.close
        head.tail_60 += 1
    minute = second // 60
    if minute != head.minute:
        _roll_minute(fs, s, minute)


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
    elif t_exchange >= head.next_second_ns:
        _roll_second(fs, s, t_exchange // NS)
        head.gap_ns = t_exchange - head.last_t
        head.last_t = t_exchange
        head.strikes = 0
    elif t_exchange >= head.last_t:
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
    head.open_volume += volume
    head.open_trades += 1
    head.minute_volume += volume
    head.minute_trades += 1
    head.minute_high = max(head.minute_high, price)
    head.minute_low = min(head.minute_low, price)
    head.last_price = price
    millisecond = t_exchange // NS_PER_MS
    if side == BUY:
        head.open_flow += volume
        if millisecond != head.buy_ms:
            head.buy_ms = millisecond
            head.buy_prints = 1
            head.buy_volume = volume
        else:
            if head.buy_prints == 1:
                head.open_rush += 1
                head.minute_rush += 1
                head.open_rush_flow += head.buy_volume
            head.buy_prints += 1
            head.open_rush_flow += volume
    else:
        head.open_flow -= volume
        if millisecond != head.sell_ms:
            head.sell_ms = millisecond
            head.sell_prints = 1
            head.sell_volume = volume
        else:
            if head.sell_prints == 1:
                head.open_rush += 1
                head.minute_rush += 1
                head.open_rush_flow -= head.sell_volume
            head.sell_prints += 1
            head.open_rush_flow -= volume
    return 1


@njit(**JIT)
def last_price(fs: FeatureState, s: int) -> int:
    """Price e8 of the last trade of symbol ``s``; 0 before the first."""
    return fs.symbols[s].last_price
