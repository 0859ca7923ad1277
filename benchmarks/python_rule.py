"""The pump rule and the two features it reads, as a Python client would keep them: the peers of bench_pipeline.

Gives exactly what sentinel.engine.windows and sentinel.engine.features give for trades in order of time.
"""

from __future__ import annotations

from collections import deque

import numpy as np

E8 = 100_000_000


def _above(threshold: float) -> float:
    """The float64 that separates what rounds to float32 above ``threshold`` from what does not."""
    low = np.float32(threshold)
    return (float(low) + float(np.nextafter(low, np.float32(np.inf)))) / 2


class RuleOfSymbol:
    """Price move over 60 s and volume against the hour before, of one symbol."""

    __slots__ = (
        "_above_delta",
        "_above_ratio",
        "_hour",
        "_hour_trades",
        "_hour_volume",
        "_inverse",
        "_minute",
        "_minute_trades",
        "_minute_volume",
        "_open_trades",
        "_open_volume",
        "_price",
        "_rate",
        "_reference",
        "_second",
        "_start",
        "_volume_60",
        "_window",
    )

    def __init__(self, delta: float, ratio: float) -> None:
        self._above_delta, self._above_ratio = _above(delta), _above(ratio)
        self._second = self._start = self._minute = -1
        self._open_volume = self._open_trades = self._minute_volume = self._minute_trades = 0
        self._hour_volume = self._hour_trades = self._volume_60 = 0
        self._rate = self._inverse = 0.0
        self._price = self._reference = 0
        self._window: deque[tuple[int, int, int]] = deque()
        self._hour: deque[tuple[int, int, int]] = deque()

    def fires(self, t_ms: int, price: int, qty: int) -> int:
        """Add a trade (exchange time ms, price and quantity e8); 1 for a pump, -1 for a dump, else 0."""
        if t_ms >= (self._second + 1) * 1000:
            self._roll(t_ms // 1000, price)
        volume = price * qty // E8
        self._open_volume += volume
        self._open_trades += 1
        self._minute_volume += volume
        self._minute_trades += 1
        self._price = price
        if float(self._volume_60 + self._open_volume) * self._rate * (1.0 / 60.0) <= self._above_ratio:
            return 0
        delta = float(price - self._reference) * self._inverse
        return 1 if delta > self._above_delta else -1 if delta < -self._above_delta else 0

    def _roll(self, second: int, price: int) -> None:
        if self._start < 0:
            self._second = self._start = second
            self._minute = second // 60
            self._reference, self._inverse = price, 1.0 / price
            return
        self._window.append((self._second, self._open_volume, self._price))
        self._volume_60 += self._open_volume
        closed_mean = self._open_volume / self._open_trades
        self._second = second
        self._open_volume = self._open_trades = 0
        while self._window and self._window[0][0] <= second - 60:
            _, volume, self._reference = self._window.popleft()
            self._volume_60 -= volume
            self._inverse = 1.0 / self._reference
        minute = second // 60
        if minute != self._minute:
            self._hour.append((self._minute, self._minute_volume, self._minute_trades))
            self._hour_volume += self._minute_volume
            self._hour_trades += self._minute_trades
            self._minute, self._minute_volume, self._minute_trades = minute, 0, 0
            while self._hour and self._hour[0][0] < minute - 60:
                _, volume, trades = self._hour.popleft()
                self._hour_volume -= volume
                self._hour_trades -= trades
        trades, volume = self._hour_trades + self._minute_trades, self._hour_volume + self._minute_volume
        mean = volume / trades if trades else closed_mean
        history = second - 59 - max(self._start, (minute - 60) * 60)
        before = float(volume - self._volume_60) + mean
        self._rate = history / before if history >= 60 and before > 0.0 else 0.0
