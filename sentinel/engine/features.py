"""The feature vector: what each slot of model.feature_spec is, computed from windows, quote and sentiment.

Only + - * / sqrt in float64 on exact integer sums, rounded once to float32: x86-64 and arm64 agree bit for bit.

Ratios compare a short window with the hour before it: from the start of the minute 60 minutes ago to the
start of the 60 s window, or from the symbol's first trade if that is later. They add one trade of mean size
(or one event) to that hour, so they stay finite on a coin that was quiet all hour, and are 0 until the hour
before spans at least 60 s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.windows import (
    FeatureState,
    clear_symbol,
    last_price,
    new_feature_state,
    standard_deviation,
    update_trade,
)
from sentinel.native import JIT
from sentinel.wire import BEAT_FEATURES, MAX_FEATURES

__all__ = [
    "FeatureState",
    "clear_symbol",
    "fill_vector",
    "last_price",
    "new_feature_state",
    "set_sentiment",
    "update_bbo",
    "update_trade",
]

NAN = np.float32(np.nan)


@njit(inline="always", **JIT)
def update_bbo(fs: FeatureState, s: int, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
    """Set the best bid and ask of symbol ``s`` (e8); zeros mean absent."""
    head = fs.symbols[s]
    head.bid = bid
    head.bid_qty = bid_qty
    head.ask = ask
    head.ask_qty = ask_qty


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
        for slot in range(BEAT_FEATURES):
            out[slot] = NAN
        return
    _fill_tape(head, now, out)
    if full:
        _fill_rest(head, out)


@njit(**JIT)
def _fill_tape(head: Any, now: int, out: NDArray[np.float32]) -> None:
    price = head.last_price
    delta = np.float64(price - head.ref_60) * head.inverse_60
    volume_15 = np.float64(head.volume_15 + head.open_volume)
    volume_60 = np.float64(head.volume_60 + head.open_volume)
    out[0] = np.float32(delta)
    out[1] = np.float32(volume_60 * head.volume_rate * (1.0 / 60.0))
    out[2] = np.float32(np.float64(head.sentiment_e8) * 1e-8) if now < head.sentiment_expiry else NAN
    out[3] = np.float32(np.float64(price - head.ref_5) * head.inverse_5)
    out[4] = np.float32(np.float64(price - head.ref_15) * head.inverse_15)
    out[5] = np.float32(np.float64(price - head.ref_300) * head.inverse_300)
    out[6] = np.float32(np.float64(head.volume_5 + head.open_volume) * head.volume_rate * (1.0 / 5.0))
    out[7] = np.float32(np.float64(head.trades_15 + head.open_trades) * head.trade_rate * (1.0 / 15.0))
    out[8] = np.float32(np.float64(head.rush_15 + head.open_rush) * head.rush_rate * (1.0 / 15.0))
    out[9] = np.float32(np.float64(head.rush_flow_15 + head.open_rush_flow) / max(volume_15, 1.0))
    out[10] = np.float32(np.float64(head.flow_60 + head.open_flow) / max(volume_60, 1.0))
    high = max(head.high_1h, head.minute_high)
    low = min(head.low_1h, head.minute_low)
    # (price - low) / low + (price - high) / high with one division
    balance = np.float64(price - low) * np.float64(high) + np.float64(price - high) * np.float64(low)
    out[11] = np.float32(balance / (np.float64(low) * np.float64(high)))
    out[12] = np.float32(delta * 1e6 * head.inverse_volatility)


@njit(**JIT)
def _fill_rest(head: Any, out: NDArray[np.float32]) -> None:
    if 0 < head.bid < head.ask:
        bid = np.float64(head.bid)
        ask = np.float64(head.ask)
        mid = (bid + ask) * 0.5
        out[13] = np.float32((ask - bid) / mid)
        if head.bid_qty > 0 and head.ask_qty > 0:
            bid_qty = np.float64(head.bid_qty)
            ask_qty = np.float64(head.ask_qty)
            imbalance = (bid_qty - ask_qty) / (bid_qty + ask_qty)
            out[14] = np.float32(imbalance)
            # (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty) - mid, simplified
            out[15] = np.float32(imbalance * (ask - bid) * 0.5 / mid)
    out[16] = _relative(head.last_price, max(head.high_5m, head.minute_high))
    out[17] = _relative(head.last_price, min(head.low_5m, head.minute_low))
    out[18] = _relative(head.last_price, max(head.high_1h, head.minute_high))
    out[19] = _relative(head.last_price, min(head.low_1h, head.minute_low))
    out[20] = np.float32(np.float64(head.second % 86_400) / 86_400.0)
    out[21] = np.float32(np.float64(head.second % 3_600) / 3_600.0)
    if head.gap_ns >= 0:
        out[22] = np.float32(np.float64(head.gap_ns) * 1e-9)
    if head.mean_trade > 0.0:
        volume_15 = np.float64(head.volume_15 + head.open_volume)
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
