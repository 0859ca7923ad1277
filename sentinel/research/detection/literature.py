"""The 12 features of La Morgia et al., "Pump and Dumps in the Bitcoin Era" (ICCCN 2020), for comparison.

Time is cut into chunks; chunks without a buy are left out. Of the rush orders (distinct milliseconds with more than one
buy), buys, volume and price of each chunk a moving mean and standard deviation is taken over WINDOW chunks (the mean of
price: over 10), and the feature is its relative change against the chunk before. Sine and cosine tell hour and minute.
The authors' downloader repeated pages of trades; their rows are kept here, as in the published figures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "std_rush_order",
    "avg_rush_order",
    "std_trades",
    "std_volume",
    "avg_volume",
    "std_price",
    "avg_price",
    "avg_price_max",
    "hour_sin",
    "hour_cos",
    "minute_sin",
    "minute_cos",
)
#: Chunks of the moving window for each chunk length in seconds.
WINDOW = {25: 900, 15: 900, 5: 700}
PRICE_WINDOW = 10


@dataclass(frozen=True)
class Chunks:
    """``start_s`` int64[n]: start of each chunk with a buy, in seconds; ``x`` float64[n, 12], NaN where not yet known."""

    start_s: NDArray[np.int64]
    x: NDArray[np.float64]


def chunk_features(t_ms: NDArray[np.int64], price_e8: NDArray[np.int64], qty_e8: NDArray[np.int64], chunk_s: int) -> Chunks:
    """Features of the buys (taker side) of one recording; the arrays are int64[n] in any order of time."""
    order = np.argsort(t_ms, kind="stable")
    t, price = t_ms[order], price_e8[order] * 1e-8
    volume = price * (qty_e8[order] * 1e-8)
    chunk = t // (chunk_s * 1000)
    first = _starts(chunk)
    count = np.diff(np.append(first, len(t))).astype(float)
    instant = _starts(t)
    rushed = (np.diff(np.append(instant, len(t))) > 1).astype(float)
    rush = np.add.reduceat(rushed, _starts(chunk[instant]))
    spent = np.add.reduceat(volume, first)
    mean_price, highest = np.add.reduceat(price, first) / count, np.maximum.reduceat(price, first)
    window = WINDOW[chunk_s]
    start_s = chunk[first] * chunk_s
    hour, minute = start_s // 3600 % 24, start_s // 60 % 60
    columns = [
        change(moving_std(rush, window)),
        change(moving_mean(rush, window)),
        change(moving_std(count, window)),
        change(moving_std(spent, window)),
        change(moving_mean(spent, window)),
        change(moving_std(mean_price, window)),
        change(moving_mean(mean_price, PRICE_WINDOW)),
        change(moving_mean(highest, PRICE_WINDOW)),
        # The published script divides by 23 and 59.
        np.sin(2 * np.pi * hour / 23),
        np.cos(2 * np.pi * hour / 23),
        np.sin(2 * np.pi * minute / 59),
        np.cos(2 * np.pi * minute / 59),
    ]
    return Chunks(start_s, np.stack(columns, axis=1))


def _starts(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where a run of equal values begins."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1]))


def moving_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean of the last ``window`` of float64[n] values at each of them, NaN before there are so many."""
    result = np.full(len(values), np.nan)
    if len(values) >= window:
        total = np.concatenate(([0.0], np.cumsum(values)))
        result[window - 1 :] = (total[window:] - total[:-window]) / window
    return result


def moving_std(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Sample standard deviation of the last ``window`` of float64[n] values, NaN before there are so many."""
    result = np.full(len(values), np.nan)
    if len(values) >= window:
        centred = values - values[0]  # a mean over all would let later values into earlier results
        squares = moving_mean(centred * centred, window) - moving_mean(centred, window) ** 2
        result = np.sqrt(np.maximum(squares, 0.0) * window / (window - 1))
    return result


def change(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Relative change of each of float64[n] values against the one before it; NaN for the first and for 0 after 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.append(np.nan, values[1:] / values[:-1] - 1.0)
