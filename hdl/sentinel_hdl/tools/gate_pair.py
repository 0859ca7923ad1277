"""The simulated risk gate and its integer reference, given the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sentinel.model.gate import Cause, GateLimits, GateModel, SymbolLimits
from sentinel.wire import ORDER_BEAT, PERMIT, REFERENCE_BEAT, BeatKind, Side
from sentinel_hdl.tools.gate_stream import (
    CAUSE_BITS,
    LEVELS,
    PULSES,
    UNKNOWN_TO_REFERENCE,
    Sent,
    causes_in,
    packed_limits,
    packed_row,
    record_of,
)
from sentinel_hdl.tools.simulation import Simulation

#: Cycles in which whatever is to come has come.
PATIENCE = 80
_PULSE_BITS = sum(1 << CAUSE_BITS[cause] for cause in PULSES) | UNKNOWN_TO_REFERENCE
_IDLE_OUTPUTS = ("permits__valid", "permitted", "rejected", "corrected", "last_control")


class GatePair:
    """The simulated gate and its reference: one beat at a time, the gate's reader pausing now and then.

    ``causes``, ``corrected``, ``permitted`` and ``rejected`` are what the gate told since the last beat was given.
    """

    def __init__(self, sim: Simulation, rng: np.random.Generator, limits: GateLimits, moving_window: bool) -> None:
        self.sim, self.rng, self.moving_window, self.model = sim, rng, moving_window, GateModel(limits)
        # Whether the rate still stands depends on the windows there were since, which no card changes while armed.
        self.levels = LEVELS - {Cause.PERMIT_RATE} if moving_window else LEVELS
        self.causes = self.corrected = self.permitted = self.rejected = self.causes_now = 0
        for name, port in sim.ports.items():
            if not port.output and name not in ("clk", "mutant"):
                sim[name] = 0
        sim["rst"] = 1
        sim.tick()
        assert not sim["causes"] & _PULSE_BITS, "a cause outlives the reset"
        assert not any(sim[name] for name in _IDLE_OUTPUTS), "an answer outlives the reset"
        sim.tick()
        sim["rst"] = 0
        self.wait("clearing", 0)
        self.set_limits()

    def tick(self) -> None:
        """A cycle, and what it tells."""
        self.sim.tick()
        self.causes |= self.sim["causes"]
        self.corrected |= self.sim["corrected"]
        self.permitted += self.sim["permitted"]
        self.rejected += self.sim["rejected"]

    def wait(self, port: str, value: int) -> None:
        """Until the port has the value."""
        for _ in range(PATIENCE):
            if self.sim[port] == value:
                return
            self.tick()
        raise AssertionError(f"{port} never becomes {value}")

    def set_limits(self, **changes: int) -> None:
        """These limits are others now, for both."""
        self.model.set_limits(replace(self.model.limits, **changes))
        self.sim["limits"] = packed_limits(self.model.limits)

    def set_row(self, symbol: int, row: SymbolLimits) -> None:
        """Write the symbol table of both."""
        self.wait("table_ready", 1)
        self.sim["table_write"] = packed_row(symbol, row)
        self.tick()
        self.sim["table_write"] = 0
        self.model.set_symbol(symbol, row)

    def set_peak(self, peak: int) -> None:
        """Write the peak of equity of both."""
        self.model.peak = peak
        self.sim["peak"], self.sim["peak_write"] = peak, 1
        self.tick()
        self.sim["peak_write"] = 0

    def make_order(self, symbol: int, side: int, price: int, qty: int, key: int) -> np.ndarray[Any, Any]:
        """An order of this epoch and these limits."""
        beat = np.zeros(1, ORDER_BEAT)
        beat["kind"], beat["symbol"], beat["side"], beat["price"], beat["qty"] = BeatKind.ORDER, symbol, side, price, qty
        beat["client_key"], beat["arm_epoch"], beat["limits_version"] = key, self.model.arm_epoch, self.model.limits.version
        return beat

    def check(self, beat: np.ndarray[Any, Any], now: int) -> None:
        """Give a beat to both, which answer the same."""
        record, _ = self.send(Sent(beat.tobytes(), now))
        answer = self.model.beat(beat.tobytes(), now, False)
        assert record == record_of(answer), f"{np.frombuffer(record, PERMIT)} {answer}"

    def check_levels(self, now: int, watched: frozenset[Cause]) -> None:
        """The levels of both are the same after some cycles at ``now``."""
        self.sim["now"] = now
        for _ in range(PATIENCE):
            self.tick()
        assert causes_in(self.sim["causes"], watched) == self.model.levels(now) & watched, f"{now}: {self.model.limits}"

    def send(self, one: Sent) -> tuple[bytes, int]:
        """Give a beat to the gate; the record that came of it, zeros for none, and how many did."""
        sim = self.sim
        sim["now"], sim["arm_epoch"], sim["armed_pulse"] = one.now, self.model.arm_epoch, int(one.arm)
        self.tick()
        self.causes_now = int(self.rng.integers(1 << 32))
        sim["armed_pulse"], sim["closed"], sim["causes_now"] = 0, int(one.closed), self.causes_now
        sim["beats__payload"], sim["beats__valid"] = int.from_bytes(one.beat, "little"), 1
        self.causes = self.corrected = self.permitted = self.rejected = 0
        self.wait("beats__ready", 1)
        record, given, eager = bytes(64), 0, self.rng.random() < 0.7
        for _ in range(PATIENCE):
            sim["permits__ready"] = int(eager or self.rng.random() < 0.2)
            if sim["permits__valid"] and sim["permits__ready"]:
                record, given = sim["permits__payload"].to_bytes(64, "little"), given + 1
            self.tick()
            sim["beats__valid"] = 0
            if not sim["busy"] and not sim["permits__valid"]:
                break
        for _ in range(5):
            self.tick()
        return record, given

    def answer(self) -> list[bytes]:
        """A cycle, and the record that was taken in it."""
        sim = self.sim
        sim["permits__ready"] = int(self.rng.random() < 0.5)
        taken = [sim["permits__payload"].to_bytes(64, "little")] if sim["permits__valid"] and sim["permits__ready"] else []
        self.tick()
        return taken


def make_quote(symbol: int, side: int, reference: int) -> np.ndarray[Any, Any]:
    """A quote in which an order of this side meets the price ``reference``."""
    quote = np.zeros(1, REFERENCE_BEAT)
    quote["kind"], quote["symbol"] = BeatKind.REFERENCE_PRICE, symbol
    quote["bid"], quote["ask"] = (reference - 1, reference) if side == Side.BUY else (reference, reference + 1)
    return quote
