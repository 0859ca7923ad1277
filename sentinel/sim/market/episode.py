"""A pump or a dump: how price, activity and the takers' side run after its onset.

The curves follow 157 labelled pumps on a spot exchange: trades a second, share of takers who buy, their sizes and the price path
lie between the median and the 75th percentile by time since onset; the median peak of +20 % comes after 32 s, and 11 % of it is
left after an hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

Knots = tuple[tuple[float, float], ...]

PEAK_S = 32.0
HOUR_S = 3600.0
KEPT_AFTER_HOUR = 0.11

#: Share of the gain reached, by seconds of a 32 s rise.
_RISE: Knots = ((0.0, 0.0), (0.3, 0.10), (1.0, 0.18), (5.0, 0.47), (10.0, 0.62), (20.0, 0.86), (PEAK_S, 1.0))
#: Share of the gain kept, by fraction of the decay: over a real hour, and where an hour is pressed into minutes.
_KEPT = (1.0, 0.80, 0.62, 0.42, 0.30, 0.17, KEPT_AFTER_HOUR)
_HOUR_FRACTIONS = (0.0, 0.008, 0.025, 0.075, 0.16, 0.5, 1.0)
_MINUTES_FRACTIONS = (0.0, 0.05, 0.13, 0.32, 0.53, 0.80, 1.0)
#: By seconds since onset.
_TRADES_PER_S: Knots = (
    (0.0, 26.0),
    (2.0, 22.0),
    (5.0, 15.0),
    (20.0, 12.0),
    (40.0, 8.0),
    (90.0, 4.5),
    (200.0, 2.4),
    (450.0, 1.2),
    (1200.0, 0.5),
    (3600.0, 0.0),
)
_WITH_SHARE: Knots = ((0.0, 0.88), (2.0, 0.78), (7.0, 0.72), (20.0, 0.60), (32.0, 0.52), (60.0, 0.45), (3600.0, 0.44))
_SIZE: Knots = ((0.0, 2.4), (5.0, 1.9), (60.0, 1.5), (300.0, 1.3), (3600.0, 1.0))


def interpolate(knots: Knots, x: float) -> float:
    """Piecewise linear, constant outside the knots."""
    if x <= knots[0][0]:
        return knots[0][1]
    for (x0, y0), (x1, y1) in pairwise(knots):
        if x < x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return knots[-1][1]


@dataclass(frozen=True, slots=True)
class Episode:
    """One event. ``direction`` +1 is a pump, -1 a dump (its mirror: the price is divided by what a pump multiplies it with).

    ``gain`` is the peak move of the pump (0.20 = +20 %); ``decay_s`` the time after the peak in which all but 11 % of it goes.
    """

    symbol: str
    onset_s: float
    direction: int = 1
    gain: float = 0.20
    peak_s: float = PEAK_S
    decay_s: float = HOUR_S

    def move(self, since_s: float) -> float:
        """Factor on the fair price, by seconds since onset."""
        if since_s <= 0.0:
            return 1.0
        if since_s <= self.peak_s:
            share = interpolate(_RISE, since_s * PEAK_S / self.peak_s)
        else:
            real = min(self.decay_s / HOUR_S, 1.0)
            fractions = [real * h + (1.0 - real) * m for h, m in zip(_HOUR_FRACTIONS, _MINUTES_FRACTIONS, strict=True)]
            share = interpolate(tuple(zip(fractions, _KEPT, strict=True)), (since_s - self.peak_s) / self.decay_s)
        factor = 1.0 + self.gain * share
        return factor if self.direction > 0 else 1.0 / factor

    def trades_per_s(self, since_s: float) -> float:
        """Trades a second on top of the coin's own."""
        return 0.0 if since_s < 0.0 else interpolate(_TRADES_PER_S, since_s)

    def buy_share(self, since_s: float) -> float:
        """Share of takers who buy."""
        if since_s < 0.0:
            return 0.5
        share = interpolate(_WITH_SHARE, since_s)
        return share if self.direction > 0 else 1.0 - share

    def size_factor(self, since_s: float) -> float:
        """Factor on the coin's mean trade."""
        return 1.0 if since_s < 0.0 else interpolate(_SIZE, since_s)
