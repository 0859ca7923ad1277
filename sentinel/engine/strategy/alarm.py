"""When a margin becomes an alarm: once an episode, however many trades qualify in it.

An alarm needs a lead of at least the model's threshold and opens an episode. Each further decision that leads by at
least the threshold less the hysteresis keeps it open; it ends after ``alarm_quiet_ns`` without one.
"""

from __future__ import annotations

from numba import njit

from sentinel.native import JIT


@njit(inline="always", **JIT)
def stays_open(until: int, now: int, lead: int, threshold: int, hysteresis: int) -> bool:
    """A decision opens an episode or keeps one open; ``until``: ns up to which the present one lasts."""
    return lead >= (threshold - hysteresis if now < until else threshold)


@njit(inline="always", **JIT)
def raises_alarm(until: int, now: int, lead: int, threshold: int) -> bool:
    """A decision opens an episode."""
    return lead >= threshold and now >= until
