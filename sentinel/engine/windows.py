"""Rolling windows over each symbol's trades: exact integer sums over closed one-second and one-minute buckets.

Only buckets that saw a trade are stored, in two small rings. Every window keeps a tail into its ring;
when time moves on, entries that left the window are subtracted once, and the close of the last one is the
window's reference price. Work per trade is therefore bounded however long a coin was quiet, and the price
before a quiet gap is the reference of the first trade after it.

A window of L seconds is the open second and the L - 1 before it. The level before a jump is remembered for as long as
the price stays away from it, an hour at most: it tells a move that begins from one that has gone on for minutes.
Windows follow trade (exchange) time: a late trade joins the open bucket, a closed bucket never changes. A trade more
than a minute older than the open second is ignored; three in a row mean the clock had been wrong, and the symbol's
history starts anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from sentinel.engine.minutes import roll_minute
from sentinel.engine.window_state import (
    CLOSE,
    FLOW,
    MASK,
    NS,
    RUSH,
    RUSH_FLOW,
    SECOND,
    SWEEP,
    TRADES,
    VOLUME,
    FeatureState,
    start_symbol,
)
from sentinel.native import JIT
from sentinel.units import NS_PER_MS
from sentinel.wide_money import notional_nb
from sentinel.wire import Side

BUY = int(Side.BUY)
#: Cap of one minute's quote volume (e8), so that an hour of them cannot overflow int64.
MINUTE_VOLUME_CAP = 1 << 56
FAR_LATE_NS = 60 * NS
FAR_LATE_STRIKES = 3
#: Seconds the hour before the window must span before any ratio to it is given.
MIN_HISTORY_S = 60
#: A jump begins 1/JUMP (1 %) away from the last price before the 60 s window and is over once half of that is left.
JUMP = 100
JUMP_NS = 3600 * NS


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
        roll_minute(head, minute)
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
        start_symbol(head, t_exchange, price)
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
        start_symbol(head, t_exchange, price)
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
