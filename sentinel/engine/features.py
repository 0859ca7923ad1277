"""The feature vector: what each slot of model.feature_spec is, computed from windows and sentiment.

Only + - * / sqrt in float64 on exact integer sums, rounded once to float32: x86-64 and arm64 agree bit for bit.

Ratios compare a short window with the hour before it: from the start of the minute 60 minutes ago to the
start of the 60 s window, or from the symbol's first trade if that is later. They add one trade of mean size
(or one event) to that hour, so they stay finite on a coin that was quiet all hour, and they and the surges are 0
until the hour before spans at least 60 s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.minutes import standard_deviation
from sentinel.engine.window_state import FeatureState, clear_symbol, new_feature_state
from sentinel.engine.windows import last_price, update_trade
from sentinel.native import JIT
from sentinel.wire import BEAT_FEATURES, MAX_FEATURES

__all__ = [
    "FeatureState",
    "clear_symbol",
    "fill_vector",
    "last_price",
    "new_feature_state",
    "set_sentiment",
    "update_trade",
]

NAN = np.float32(np.nan)


@njit(**JIT)
def set_sentiment(fs: FeatureState, s: int, sentiment_e8: int, expiry_ns: int) -> None:
    """Set the news sentiment of symbol ``s`` (-1e8 to 1e8), valid while now < ``expiry_ns``."""
    head = fs.symbols[s]
    head.sentiment_e8 = sentiment_e8
    head.sentiment_expiry = expiry_ns


@njit(inline="always", **JIT)
def fill_vector(fs: FeatureState, s: int, now: int, out: NDArray[np.float32], full: bool) -> None:
    """Write the vector of symbol ``s`` after its last trade to ``out`` float32[26].

    ``now`` (ns, engine time) only decides whether the sentiment has expired. ``full`` False fills slots 0-12
    and sets the rest NaN. Before the first trade every slot is NaN.
    """
    _fill(fs.symbols[s], now, out, full)


@njit(**JIT)
def _fill(head: Any, now: int, out: NDArray[np.float32], full: bool) -> None:
    for slot in range(BEAT_FEATURES if head.last_price > 0 else 0, MAX_FEATURES):
        out[slot] = NAN
    if head.last_price == 0:
        return
    _fill_tape(head, now, out)
    if full:
        _fill_rest(head, out)


@njit(**JIT)
def _fill_tape(head: Any, now: int, out: NDArray[np.float32]) -> None:
    price = head.last_price
    delta = np.float64(price - head.ref_60) * head.inverse_60
    volume_60 = np.float64(head.volume_60 + head.open_volume)
    out[0] = np.float32(delta)
    out[1] = np.float32(volume_60 * head.volume_rate * (1.0 / 60.0))
    out[2] = np.float32(np.float64(head.sentiment_e8) * 1e-8) if now < head.sentiment_expiry else NAN
    out[3] = np.float32(np.float64(price - head.ref_5) * head.inverse_5)
    out[4] = np.float32(np.float64(price - head.ref_15) * head.inverse_15)
    out[5] = np.float32(np.float64(price - head.ref_300) * head.inverse_300)
    out[6] = np.float32(max(head.sweep_15, head.open_sweep))
    trades = np.float64(head.trades_15 + head.open_trades)
    rushes = np.float64(head.rush_15 + head.open_rush)
    out[7] = np.float32((trades - head.trade_expected) * head.trade_scale)
    out[8] = np.float32((rushes - head.rush_expected) * head.rush_scale)
    out[9] = np.float32(np.float64(head.second % 3_600) * (1.0 / 3_600.0))
    out[10] = np.float32(volume_60 * head.day_rate * (1.0 / 60.0))
    out[11] = np.float32(volume_60 * head.busiest_scale)
    out[12] = np.float32(delta * 1e6 * head.inverse_volatility)


@njit(**JIT)
def _fill_rest(head: Any, out: NDArray[np.float32]) -> None:
    price = head.last_price
    if head.jump_level > 0:
        out[13] = np.float32(np.float64(head.last_t - head.jump_t) * 1e-9)
        out[14] = _relative(price, head.jump_level)
    else:
        out[14] = np.float32(0.0)
    out[15] = _balance(price, max(head.high_5m, head.minute_high), min(head.low_5m, head.minute_low))
    volume_15 = np.float64(head.volume_15 + head.open_volume)
    volume_60 = np.float64(head.volume_60 + head.open_volume)
    out[16] = np.float32(np.float64(head.rush_flow_15 + head.open_rush_flow) / max(volume_15, 1.0))
    out[17] = np.float32(np.float64(head.volume_5 + head.open_volume) * head.volume_rate * (1.0 / 5.0))
    out[18] = _balance(price, max(head.high_1h, head.minute_high), min(head.low_1h, head.minute_low))
    out[19] = np.float32(np.float64(head.hour_volume + head.minute_volume - head.volume_60 - head.open_volume) * 1e-8)
    out[20] = np.float32(np.float64(head.flow_60 + head.open_flow) / max(volume_60, 1.0))
    out[21] = np.float32(np.float64(head.second % 86_400) * (1.0 / 86_400.0))
    if head.gap_ns >= 0:
        out[22] = np.float32(np.float64(head.gap_ns) * 1e-9)
    if head.mean_trade > 0.0:
        out[23] = np.float32(volume_15 / (np.float64(head.trades_15 + head.open_trades) * head.mean_trade))
        volume = np.float64(head.minute_volume)
        std = standard_deviation(head.volume_sum + volume, head.volume_squares + volume * volume)
        out[24] = np.float32((std - head.volume_std) / (head.volume_std + head.mean_trade))
    rush = np.float64(head.minute_rush)
    std = standard_deviation(head.rush_sum + rush, head.rush_squares + rush * rush)
    out[25] = np.float32((std - head.rush_std) / (head.rush_std + 1.0))


@njit(**JIT)
def _relative(price: int, reference: int) -> np.float32:
    return np.float32(np.float64(price - reference) / np.float64(reference))


@njit(**JIT)
def _balance(price: int, high: int, low: int) -> np.float32:
    """(price - low) / low + (price - high) / high with one division."""
    balance = np.float64(price - low) * np.float64(high) + np.float64(price - high) * np.float64(low)
    return np.float32(balance / (np.float64(low) * np.float64(high)))
