"""The emitted gate equals the integer reference on random streams of beats that live on the edges of the controls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("amaranth")

from sentinel.model.gate import AMOUNT_MAX, GateLimits, SymbolLimits
from sentinel.wire import (
    EQUITY_BEAT,
    HEARTBEAT_BEAT,
    ORDER_BEAT,
    ORDER_EVENT_BEAT,
    REFERENCE_BEAT,
    BeatKind,
    Control,
    ExposureEvent,
    Side,
)
from tests.hdl.gate_harness import SYMBOLS, Pair, Sent, gate_library

#: Every control the hardware has but MEMORY_FAULT, which random beats can't cause.
CONTROLS = frozenset(
    {
        0,
        *(Control.KILLED, Control.BAD_INPUT, Control.ARM_EPOCH, Control.LIMITS_VERSION, Control.SYMBOL_HALTED),
        *(Control.DUPLICATE, Control.MAX_QTY, Control.MAX_NOTIONAL, Control.STALE_REFERENCE, Control.PRICE_COLLAR),
        *(Control.POSITION_LIMIT, Control.GROSS_EXPOSURE, Control.TRADES_PER_MINUTE),
    }
)
PRICE = 1_000_000


@pytest.fixture(scope="module")
def library() -> Any:
    from sentinel_hdl.tools.errors import ToolError

    try:
        return gate_library()
    except ToolError as error:
        pytest.skip(f"no Verilated gate: {error}")


def make_limits(rng: np.random.Generator) -> GateLimits:
    return GateLimits(
        version=int(rng.integers(1, 4)),
        max_order_notional=PRICE * int(rng.choice([60, 100, 1 << 90])),
        max_gross_notional=PRICE * int(rng.choice([300, 1000, 1 << 100])),
        collar_bps=int(rng.choice([1, 50, 500, 10_000])),
        max_drawdown_bps=int(rng.choice([1, 500, 2000, 10_000])),
        max_daily_loss=int(rng.choice([1, 1000, 1 << 40])),
        reference_max_age=int(rng.choice([50, 500, 1 << 50])),
        heartbeat_max_age=int(rng.choice([100, 1 << 50])),
        equity_max_age=int(rng.choice([200, 1 << 50])),
        duplicate_window=int(rng.choice([0, 20, 100])),
        window=int(rng.choice([200, 2000])),
        permits_per_window=int(rng.choice([1, 3, 10, 1000])),
        reject_trip=int(rng.choice([0, 1, 5])),
    )


def make_rows(rng: np.random.Generator) -> dict[int, SymbolLimits]:
    rows = {
        s: SymbolLimits(True, int(rng.choice([50, 90, AMOUNT_MAX])), int(rng.choice([100, 200, AMOUNT_MAX]))) for s in range(3)
    }
    return {**rows, 3: SymbolLimits(False, 100, 100)}


class Stream:
    """Random beats: mostly sensible ones around a common price, now and then one field astray."""

    def __init__(self, rng: np.random.Generator, limits: GateLimits) -> None:
        self._rng, self._limits = rng, limits
        self.now, self.key, self.epoch = 1000, 1, 1
        self._order: dict[str, int] = {}

    def take(self, count: int) -> Iterator[Sent]:
        for _ in range(count):
            self.now += int(self._rng.choice([0, 1, 3, 10, 60, 300], p=[0.2, 0.3, 0.25, 0.15, 0.08, 0.02]))
            arm = bool(self._rng.random() < 0.02)
            if arm:
                self.epoch, self.key = self.epoch + 1, int(self._rng.integers(1, 5))
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
        return bytes(beat.tobytes())

    def _amount(self, usual: int) -> int:
        if self._rng.random() < 0.03:
            return int(self._rng.choice([0, -1, 1, AMOUNT_MAX, AMOUNT_MAX + 1, (1 << 63) - 1, -(1 << 63)]))
        return usual

    def _near(self) -> int:
        return int(PRICE + self._rng.choice([-1, 1]) * self._rng.choice([0, 1, 99, 100, 101, 4999, 5000, 5001, 50_000, 50_001]))

    def _symbol(self) -> int:
        return int(self._rng.choice([0, 1, 2, 3, SYMBOLS - 1], p=[0.4, 0.25, 0.25, 0.05, 0.05]))

    def _make_order(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, ORDER_BEAT)
        if self._order and self._rng.random() < 0.15:
            values = dict(self._order)
        else:
            values = {
                "symbol": self._symbol(),
                "price": self._amount(self._near()),
                "qty": self._amount(int(self._rng.choice([1, 10, 49, 50, 51, 60, 90, 91, 100, 101]))),
                "side": int(self._rng.choice([Side.BUY, Side.SELL, 0, 3], p=[0.49, 0.49, 0.01, 0.01])),
                "flags": int(self._rng.choice([0, 1, 2, 3], p=[0.85, 0.13, 0.01, 0.01])),
            }
        self._order = values
        if self._rng.random() < 0.95:
            self.key += int(self._rng.integers(1, 3))
        values = {
            **values,
            "client_key": self.key,
            "arm_epoch": self.epoch - int(self._rng.random() < 0.02),
            "limits_version": self._limits.version + int(self._rng.random() < 0.02),
        }
        for name, value in values.items():
            beat[name] = value
        return beat

    def _make_event(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, ORDER_EVENT_BEAT)
        event = int(self._rng.choice([*ExposureEvent, 0, 4], p=[0.5, 0.3, 0.16, 0.02, 0.02]))
        qty = int(self._rng.choice([1, 10, 50, 100]))
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
        bid = PRICE + int(self._rng.choice([-100, -1, 0, 1, 100]))
        beat["symbol"], beat["bid"] = self._symbol(), self._amount(bid)
        beat["ask"] = self._amount(bid + int(self._rng.choice([1, 2, 100, 0, -1], p=[0.5, 0.3, 0.1, 0.05, 0.05])))
        return beat

    def _make_equity(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, EQUITY_BEAT)
        beat["equity"] = int(self._rng.choice([10_000, 9_999, 9_500, 8_001, 8_000, 10_500, 1, 0, -5, (1 << 63) - 1, -(1 << 63)]))
        beat["day_start"] = int(self._rng.choice([10_000, 9_000, 11_000, -(1 << 63)]))
        return beat


def run_stream(library: Any, seed: int, beats: int) -> tuple[Counter[int], int]:
    rng = np.random.default_rng(seed)
    limits = make_limits(rng)
    pair = Pair(library, limits, make_rows(rng))
    try:
        controls, outcomes = pair.compare(list(Stream(rng, limits).take(beats)))
    finally:
        pair.rtl.close()
    cycles = outcomes["cycles"][outcomes["given"] != 0]
    assert len(set(cycles.tolist())) <= 1, "a verdict takes the same time whatever it says"
    return Counter(controls), int(cycles.max(initial=0))


def check(library: Any, streams: int, beats: int) -> None:
    seen: Counter[int] = Counter()
    for seed in range(streams):
        controls, cycles = run_stream(library, seed, beats)
        seen += controls
        assert cycles <= 8
    assert set(seen) == CONTROLS, f"never refused by {CONTROLS - set(seen)}"


def test_emitted_gate_equals_the_reference_on_random_streams(library: Any) -> None:
    check(library, streams=200, beats=500)


@pytest.mark.full
def test_emitted_gate_equals_the_reference_on_a_million_beats(library: Any) -> None:
    check(library, streams=2_000, beats=500)
