"""The trading day: 00:00 to 24:00 UTC."""

from __future__ import annotations

from typing import Any

from numba import njit

from sentinel.native import JIT
from sentinel.units import NS_PER_S

DAY_NS = 86_400 * NS_PER_S


@njit(**JIT)
def roll_day(g: Any) -> None:
    """Begin the account's day anew once engine time is in another.

    From the profit last seen: what the first price of the day brings or costs is the new day's.
    """
    day = g.now // DAY_NS
    if g.day != day:
        g.day = day
        g.day_pnl = g.pnl
        g.day_orders = 0


@njit(**JIT)
def roll_symbol_day(g: Any, y: Any) -> None:
    """The same for what is counted of a symbol."""
    day = g.now // DAY_NS
    if y.day != day:
        y.day = day
        y.day_orders = y.day_fills = y.day_quotes = y.day_short_quotes = y.ratio_warned = 0
