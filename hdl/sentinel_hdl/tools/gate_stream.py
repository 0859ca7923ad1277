"""What the risk gate and its integer reference are both given, packed as the gate takes it, and random streams of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sentinel.model.gate import AMOUNT_MAX, Cause, GateLimits, GateVerdict, SymbolLimits
from sentinel.wire import (
    EQUITY_BEAT,
    HEARTBEAT_BEAT,
    ORDER_BEAT,
    ORDER_EVENT_BEAT,
    PERMIT,
    REFERENCE_BEAT,
    BeatKind,
    Control,
    ExposureEvent,
    Kind,
    Side,
)
from sentinel_hdl.limits import LimitsLayout
from sentinel_hdl.symbol_table import TableWriteLayout

SYMBOLS, WINDOW_DEPTH = 16, 16
#: GateCausesLayout's bits by the reference's names; the others have no counterpart in it.
CAUSE_BITS = {
    Cause.BEAT_FAULT: 0,
    Cause.EXPOSURE_FAULT: 2,
    Cause.HEARTBEAT: 3,
    Cause.STALE_EQUITY: 4,
    Cause.DRAWDOWN: 5,
    Cause.DAILY_LOSS: 6,
    Cause.PERMIT_RATE: 7,
    Cause.GROSS_EXPOSURE: 8,
    Cause.REJECTS: 9,
}
PULSES = frozenset({Cause.BEAT_FAULT, Cause.EXPOSURE_FAULT, Cause.GROSS_EXPOSURE, Cause.REJECTS})
LEVELS = frozenset(CAUSE_BITS) - PULSES
MEMORY, ILLEGAL = 1 << 1, 1 << 10
UNKNOWN_TO_REFERENCE = MEMORY | ILLEGAL
#: What the gate is told are the causes while it is closed, where that does not vary.
CAUSES_NOW = 0x155


@dataclass
class Sent:
    """One beat as it is given to both."""

    beat: bytes
    now: int
    closed: bool = False
    arm: bool = False


def packed_limits(limits: GateLimits) -> int:
    """The limits as the gate takes them."""
    return sum(getattr(limits, str(name)) << placed.offset for name, placed in LimitsLayout())


def packed_row(symbol: int, row: SymbolLimits) -> int:
    """A write of the symbol table as the gate takes it."""
    values = {"valid": 1, "symbol": symbol, **row._asdict()}
    return sum(int(values[str(name)]) << placed.offset for name, placed in TableWriteLayout())


def record_of(answer: GateVerdict | None, causes_now: int = CAUSES_NOW) -> bytes:
    """The reference's answer as the gate gives it, zeros where it gives none."""
    if answer is None:
        return bytes(64)
    record = np.zeros(1, PERMIT)
    for name in ("client_key", "now", "seq", "verdict", "symbol", "control", "arm_epoch"):
        record[name] = getattr(answer, name)
    record["kind"], record["observed"] = Kind.PERMIT, causes_now if answer.control == Control.KILLED else 0
    return bytes(record.tobytes())


def causes_in(word: int, among: frozenset[Cause]) -> set[Cause]:
    """The reference's causes in a word of the gate's."""
    return {cause for cause in among if word >> CAUSE_BITS[cause] & 1}


class Scale(NamedTuple):
    """About what a unit of quantity costs, how many e8 a unit is, and what a unit of money is."""

    price: int
    unit: int
    money: int


def make_scale(rng: np.random.Generator) -> Scale:
    """Usual sizes, or any up to where a limit must hold that no amount overflows."""
    if rng.random() < 0.5:
        return Scale(1_000_000, 1, 1)
    bits = rng.integers((17, 0, 0), (59, 53, 46))
    if rng.random() < 0.3:
        bits[0] = 58
    return Scale(*(int(rng.integers(1 << int(n), 2 << int(n))) for n in bits))


def make_limits(rng: np.random.Generator, scale: Scale, permits: int = 1000) -> GateLimits:
    """Limits of any strictness; ``permits`` is the most there may be in a window."""
    notional = scale.price * scale.unit
    return GateLimits(
        version=int(rng.integers(1, 1 << 32)),
        max_order_notional=int(rng.choice(np.array([60 * notional, 100 * notional, 1 << 122], object))),
        max_gross_notional=int(rng.choice(np.array([300 * notional, 1000 * notional, 1 << 126], object))),
        collar_bps=int(rng.choice([1, 50, 500, 10_000])),
        max_drawdown_bps=int(rng.choice([1, 500, 2000, 10_000])),
        max_daily_loss=scale.money * int(rng.choice([1, 1000, 1 << 15])),
        reference_max_age=int(rng.choice([50, 500, 1 << 50])),
        heartbeat_max_age=int(rng.choice([100, 1 << 50])),
        equity_max_age=int(rng.choice([200, 1 << 50])),
        duplicate_window=int(rng.choice([0, 20, 100])),
        window=int(rng.choice([200, 2000])),
        permits_per_window=int(rng.choice([1, 3, 10, permits])),
        reject_trip=int(rng.choice([0, 1, 5])),
    )


def make_rows(rng: np.random.Generator, scale: Scale) -> dict[int, SymbolLimits]:
    """Three symbols that may be traded, one that may not."""

    def most(*units: int) -> int:
        return [*(scale.unit * n for n in units), AMOUNT_MAX][int(rng.integers(len(units) + 1))]

    rows = {s: SymbolLimits(True, most(50, 90), most(100, 200)) for s in range(3)}
    return {**rows, 3: SymbolLimits(False, 100 * scale.unit, 100 * scale.unit)}


class Stream:
    """Random beats: mostly sensible ones around a common price, now and then one field astray."""

    def __init__(self, rng: np.random.Generator, limits: GateLimits, scale: Scale) -> None:
        self._rng, self._limits, self._scale = rng, limits, scale
        self.now, self.key, self.epoch = (
            int(rng.choice([1000, int(rng.integers(1 << 62)), (1 << 62) + int(rng.integers(1 << 61))])),
            1,
            1,
        )
        self._order: dict[str, int] = {}

    def take(self, count: int) -> Iterator[Sent]:
        """So many beats, with their times."""
        for _ in range(count):
            self.now += int(self._rng.choice([0, 1, 3, 10, 60, 300], p=[0.2, 0.3, 0.25, 0.15, 0.08, 0.02]))
            arm = bool(self._rng.random() < 0.02)
            if arm:
                self.epoch, self.key = self.epoch + 1, [1, 4, int(self._rng.integers(1 << 62))][int(self._rng.integers(3))]
            yield Sent(self._beat(), self.now, closed=bool(self._rng.random() < 0.03), arm=arm)

    def _beat(self) -> bytes:
        kinds = [BeatKind.ORDER, BeatKind.ORDER_EVENT, BeatKind.REFERENCE_PRICE, BeatKind.EQUITY, BeatKind.HEARTBEAT]
        kind = BeatKind(int(self._rng.choice(kinds, p=[0.5, 0.22, 0.18, 0.05, 0.05])))
        make = {
            BeatKind.ORDER: self._make_order,
            BeatKind.ORDER_EVENT: self._make_event,
            BeatKind.REFERENCE_PRICE: self._make_reference,
            BeatKind.EQUITY: self._make_equity,
            BeatKind.HEARTBEAT: lambda: np.zeros(1, HEARTBEAT_BEAT),
        }[kind]
        beat = make()
        beat["kind"] = kind
        beat["seq"] = self._rng.integers(1 << 32)
        return bytes(beat.tobytes())

    def _amount(self, usual: int) -> int:
        if self._rng.random() < 0.03:
            return int(self._rng.choice([0, -1, 1, AMOUNT_MAX, AMOUNT_MAX + 1, (1 << 63) - 1, -(1 << 63)]))
        return usual

    def _rare_bit(self, bits: int) -> int:
        """Mostly 0, now and then one bit of so many."""
        return int(self._rng.random() < 0.02) << int(self._rng.integers(bits))

    def _near(self) -> int:
        base, sign = self._scale.price, int(self._rng.choice([-1, 1]))
        bps = int(self._rng.choice([0, 1, 50, 500, 3]))
        return base + sign * (base * bps // 10_000 + int(self._rng.choice([-1, 0, 1])))

    def _qty(self, units: list[int]) -> int:
        qty = self._scale.unit * int(self._rng.choice(units))
        return qty if self._rng.random() < 0.7 else max(1, qty - int(self._rng.integers(self._scale.unit)))

    def _symbol(self) -> int:
        return int(self._rng.choice([0, 1, 2, 3, SYMBOLS - 1], p=[0.4, 0.25, 0.25, 0.05, 0.05]))

    def _make_order(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, ORDER_BEAT)
        if self._order and self._rng.random() < 0.2:
            # The same again, or all but one bit of it.
            values = dict(self._order)
            if self._rng.random() < 0.3:
                values[str(self._rng.choice(["price", "qty"]))] ^= 1 << int(self._rng.integers(61))
        else:
            values = {
                "symbol": self._symbol(),
                "price": self._amount(self._near()),
                "qty": self._amount(self._qty([1, 10, 49, 50, 51, 60, 90, 91, 100, 101])),
                "side": int(self._rng.choice([Side.BUY, Side.SELL, 0, 3], p=[0.49, 0.49, 0.01, 0.01])),
                "flags": int(self._rng.choice([0, 1, 2, 3], p=[0.85, 0.13, 0.01, 0.01])),
            }
            if self._rng.random() < 0.08:
                values |= {name: int(self._rng.integers(AMOUNT_MAX >> 1, AMOUNT_MAX)) for name in ("price", "qty")}
        self._order = values
        if self._rng.random() < 0.95:
            self.key += int(self._rng.integers(1, 3))
        values = {
            **values,
            "client_key": self.key,
            "arm_epoch": self.epoch ^ self._rare_bit(32),
            "limits_version": self._limits.version ^ self._rare_bit(32),
        }
        for name, value in values.items():
            beat[name] = value
        return beat

    def _make_event(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, ORDER_EVENT_BEAT)
        event = int(self._rng.choice([*ExposureEvent, 0, 4], p=[0.5, 0.3, 0.16, 0.02, 0.02]))
        qty = self._qty([1, 10, 50, 100])
        if event == ExposureEvent.ADJUST and self._rng.random() < 0.5:
            qty = -qty
        beat["event"], beat["symbol"], beat["qty"], beat["price"] = (
            event,
            self._symbol(),
            self._amount(qty),
            self._amount(self._near()),
        )
        beat["side"] = int(self._rng.choice([Side.BUY, Side.SELL, 0], p=[0.5, 0.48, 0.02]))
        return beat

    def _make_reference(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, REFERENCE_BEAT)
        bid = self._scale.price + int(self._rng.choice([-100, -1, 0, 1, 100]))
        beat["symbol"], beat["bid"] = self._symbol(), self._amount(bid)
        beat["ask"] = self._amount(bid + int(self._rng.choice([1, 2, 100, 0, -1], p=[0.5, 0.3, 0.1, 0.05, 0.05])))
        return beat

    def _make_equity(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, EQUITY_BEAT)
        money = self._scale.money
        equity = money * int(self._rng.choice([10_000, 9_999, 9_500, 8_001, 8_000, 10_500, 1, 0, -5]))
        beat["equity"] = int(self._rng.choice([equity + int(self._rng.integers(money))] * 9 + [(1 << 63) - 1, -(1 << 63)]))
        beat["day_start"] = int(self._rng.choice([10_000 * money] * 2 + [9_000 * money, 11_000 * money, -(1 << 63)]))
        return beat
