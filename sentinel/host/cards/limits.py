"""Limits of the gate on a card: every value checked against what its register holds before one word is written."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, fields

from sentinel.errors import CardError
from sentinel.host.cards.registers import OCL_FIELDS, OCL_WORDS, STAGED_LIMITS, WORD_BITS, Ocl, split
from sentinel.units import BPS, CARD_TICK_NS, NS_PER_S

TICKS_PER_S = NS_PER_S // CARD_TICK_NS
_TWO_WORDS, _FOUR_WORDS = (1 << 2 * WORD_BITS) - 1, (1 << 4 * WORD_BITS) - 1


@dataclass(frozen=True)
class CardLimits:
    """Notionals in e16 quote units (limit_e8 * 10^8), money in e8, times in ticks of 4 ns.

    ``duplicate_window`` 0: never a duplicate by content; ``reject_trip`` 0: rejects in a row never trip. The watchdog's
    answer must come between ``watchdog_min`` and ``watchdog_max`` after its challenge, one each ``watchdog_period``.
    """

    version: int
    max_order_notional: int
    max_gross_notional: int
    max_daily_loss: int
    collar_bps: int = 500
    max_drawdown_bps: int = 2_000
    reference_max_age: int = 5 * TICKS_PER_S
    heartbeat_max_age: int = TICKS_PER_S
    equity_max_age: int = 10 * TICKS_PER_S
    duplicate_window: int = TICKS_PER_S
    window: int = 60 * TICKS_PER_S
    permits_per_window: int = 1_000
    reject_trip: int = 100
    watchdog_period: int = TICKS_PER_S
    watchdog_min: int = TICKS_PER_S // 100
    watchdog_max: int = TICKS_PER_S // 2

    def check(self) -> None:
        """Raise CardError for the first value outside what the card takes."""
        for field in fields(self):
            low, high = _RANGES.get(field.name, (1, _TWO_WORDS))
            value = getattr(self, field.name)
            if not low <= value <= high:
                raise CardError(f"limits.{field.name}", value, f"{low}..{high}", "the card would cut it: choose one that fits")
        if not self.watchdog_min < self.watchdog_max <= self.watchdog_period:
            times = self.watchdog_min, self.watchdog_max, self.watchdog_period
            raise CardError("limits.watchdog", times, "min < max <= period", "leave the host a window to answer in")

    def writes(self) -> list[tuple[Ocl, int]]:
        """The staged registers and their words, in the order the commit's CRC is taken. Raises CardError as ``check``."""
        self.check()
        words: dict[Ocl, int] = {}
        for field in fields(self):
            name = _REGISTERS[field.name]
            value = getattr(self, field.name)
            words |= dict(split(name, value)) if name in OCL_WORDS else {Ocl[name]: value}
        return [(register, words[register]) for register in STAGED_LIMITS]


def commit_crc(writes: list[tuple[Ocl, int]]) -> int:
    """What LIMITS_COMMIT wants: CRC-32 of the staged words, little-endian."""
    return zlib.crc32(b"".join(word.to_bytes(4, "little") for _, word in writes))


def _register_name(field: str) -> str:
    if field == "version":
        return "LIMITS_VERSION"
    return field.upper() if field.startswith("watchdog") else f"LIMIT_{field.upper()}"


_REGISTERS = {field.name: _register_name(field.name) for field in fields(CardLimits)}
_RANGES = {
    "version": (1, OCL_FIELDS[Ocl.LIMITS_VERSION]["value"].mask),
    "max_order_notional": (1, _FOUR_WORDS),
    "max_gross_notional": (1, _FOUR_WORDS),
    "collar_bps": (1, BPS),
    "max_drawdown_bps": (1, BPS),
    "duplicate_window": (0, _TWO_WORDS),
    "permits_per_window": (1, 1_000),
    "reject_trip": (0, OCL_FIELDS[Ocl.LIMIT_REJECT_TRIP]["value"].mask),
    "watchdog_min": (0, _TWO_WORDS),
}
