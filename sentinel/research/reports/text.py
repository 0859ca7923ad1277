"""Figures as people read them: money, durations, latencies, times of day."""

from __future__ import annotations

from datetime import UTC, datetime

from sentinel.units import E8, NS_PER_S


def money(value_e8: int, decimals: int = 2) -> str:
    """``123456789012`` -> ``"1,234.57"``, rounded half away from zero without a float."""
    unit = E8 // 10**decimals
    rounded = (abs(value_e8) + unit // 2) // unit
    whole, fraction = divmod(rounded, 10**decimals)
    sign = "-" if value_e8 < 0 and rounded else ""
    return f"{sign}{whole:,}.{fraction:0{decimals}d}" if decimals else f"{sign}{whole:,}"


def signed_money(value_e8: int, decimals: int = 2) -> str:
    """As money, with a plus sign on gains."""
    text = money(value_e8, decimals)
    return f"+{text}" if value_e8 > 0 else text


def quantity(value_e8: int) -> str:
    """``250000000`` -> ``"2.5"``: thousands separated, no trailing zeros."""
    text = money(value_e8, 8).rstrip("0").rstrip(".")
    return text or "0"


def latency(value_ns: int) -> str:
    """``850`` -> ``"850 ns"``, ``12345`` -> ``"12.3 µs"``, up to seconds."""
    if value_ns < 1_000:
        return f"{value_ns} ns"
    for unit, scale in (("µs", 1_000), ("ms", 1_000_000)):
        if value_ns < 999.5 * scale:
            scaled = value_ns / scale
            return f"{scaled:.1f} {unit}" if scaled < 99.95 else f"{scaled:.0f} {unit}"
    return f"{value_ns / NS_PER_S:.2f} s"


def duration(seconds: float) -> str:
    """``754.2`` -> ``"12 min 34 s"``; below a minute one decimal."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def clock(t_ns: int) -> str:
    """UTC time of day with milliseconds, ``"12:34:56.789"``."""
    seconds, rest = divmod(t_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S}.{rest // 1_000_000:03d}"


def day_and_clock(t_ns: int) -> str:
    """UTC date and time to the second."""
    return f"{datetime.fromtimestamp(t_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M:%S}"


def words(name: str) -> str:
    """``"ENTRY_RETRACE"`` -> ``"entry retrace"``."""
    return name.replace("_", " ").lower()
