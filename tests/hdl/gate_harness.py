"""The emitted risk gate and its integer reference, side by side on the same beats."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.model.gate import Cause, GateLimits, GateModel, SymbolLimits
from sentinel.wire import PERMIT, BeatKind, Control, Kind

SHIM = Path(__file__).with_name("risk_gate.cpp")
SYMBOLS = 16
STEP = np.dtype(
    [("beat", "u1", 64), ("now", "<u8"), ("closed", "<u4"), ("causes_now", "<u4"), ("arm", "<u4"), ("arm_epoch", "<u4")]
)
OUTCOME = np.dtype([("permit", "u1", 64), ("given", "<u4"), ("cycles", "<u4"), ("causes", "<u4"), ("levels", "<u4")])
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
UNKNOWN_TO_REFERENCE = 1 << 1 | 1 << 10  # memory, illegal


def gate_library() -> Any:
    """The Verilated gate; raises ToolError without the tools."""
    from sentinel_hdl.tools.emit import verilog_text
    from sentinel_hdl.tools.verilator import shared_library

    text = verilog_text("risk_gate", symbols=SYMBOLS)
    library = ctypes.CDLL(str(shared_library("sentinel_risk_gate", text, SHIM.read_text(encoding="utf-8"))))
    library.gate_new.restype = ctypes.c_void_p
    for name in ("gate_free", "gate_set_limits", "gate_set_row", "gate_run"):
        getattr(library, name).argtypes = None
    return library


def _words(value: int, bits: int) -> Any:
    count = -(-bits // 32)
    return (ctypes.c_uint32 * count)(*(value >> 32 * i & 0xFFFFFFFF for i in range(count))), count


@dataclass
class Sent:
    """One beat as it is given to both."""

    beat: bytes
    now: int
    closed: bool = False
    arm: bool = False


class RtlGate:
    """The gate as emitted."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._gate = ctypes.c_void_p(library.gate_new())

    def close(self) -> None:
        self._library.gate_free(self._gate)

    def set_limits(self, limits: GateLimits) -> None:
        from sentinel_hdl.limits import LimitsLayout

        layout, value = LimitsLayout(), 0
        for name, placed in layout:
            value |= getattr(limits, str(name)) << placed.offset
        words, count = _words(value, layout.size)
        self._library.gate_set_limits(self._gate, words, count)

    def set_symbol(self, symbol: int, row: SymbolLimits) -> None:
        from sentinel_hdl.symbol_table import TableWriteLayout

        layout = TableWriteLayout()
        values = {"valid": 1, "symbol": symbol, **row._asdict()}
        packed = sum(int(values[str(name)]) << placed.offset for name, placed in layout)
        words, count = _words(packed, layout.size)
        assert self._library.gate_set_row(self._gate, words, count) == 1

    def run(self, steps: NDArray[np.void]) -> NDArray[np.void]:
        outcomes = np.zeros(len(steps), OUTCOME)
        status = self._library.gate_run(
            self._gate, ctypes.c_void_p(steps.ctypes.data), ctypes.c_void_p(outcomes.ctypes.data), ctypes.c_uint32(len(steps))
        )
        assert status == 0, "the gate hangs"
        return outcomes


class Pair:
    """Both gates with the same limits and table."""

    def __init__(self, library: Any, limits: GateLimits, rows: dict[int, SymbolLimits]) -> None:
        self.rtl, self.model = RtlGate(library), GateModel(limits)
        self.rtl.set_limits(limits)
        for symbol, row in rows.items():
            self.rtl.set_symbol(symbol, row)
            self.model.set_symbol(symbol, row)

    def compare(self, sent: list[Sent]) -> tuple[list[int], NDArray[np.void]]:
        """Send beats to both; asserts equal records and causes. Gives the control of every order, and what the RTL gave."""
        steps, model = np.zeros(len(sent), STEP), self.model
        steps["beat"] = np.frombuffer(b"".join(one.beat for one in sent), np.uint8).reshape(-1, 64)
        steps["now"], steps["closed"] = [one.now for one in sent], [one.closed for one in sent]
        steps["arm"], steps["causes_now"] = [one.arm for one in sent], 0x155
        epoch = model.arm_epoch
        epochs = []
        for one in sent:
            epoch += one.arm
            epochs.append(epoch)
        steps["arm_epoch"] = epochs
        outcomes = self.rtl.run(steps)
        controls = []
        for i, (one, out) in enumerate(zip(sent, outcomes, strict=True)):
            if one.arm:
                model.arm(model.arm_epoch + 1)
            model.causes.clear()
            answer = model.beat(one.beat, one.now, one.closed)
            expected = bytes(64)
            if answer is not None:
                record = np.zeros(1, PERMIT)
                for name in ("client_key", "now", "seq", "verdict", "symbol", "control", "arm_epoch"):
                    record[name] = getattr(answer, name)
                record["kind"], record["observed"] = Kind.PERMIT, 0x155 if answer.control == Control.KILLED else 0
                expected = record.tobytes()
                controls.append(answer.control)
            context = f"beat {i} of {BeatKind(one.beat[6]).name} at {one.now}"
            assert out["permit"].tobytes() == expected, f"{context}: {np.frombuffer(out['permit'].tobytes(), PERMIT)} {answer}"
            assert out["given"] == (answer is not None), context
            pulses = {cause for cause in PULSES if out["causes"] >> CAUSE_BITS[cause] & 1}
            assert pulses == model.causes & PULSES, f"{context}: {pulses} {model.causes}"
            levels = {cause for cause in LEVELS if out["levels"] >> CAUSE_BITS[cause] & 1}
            assert levels == model.levels(one.now), f"{context}: {levels} {model.levels(one.now)}"
            assert not out["causes"] & UNKNOWN_TO_REFERENCE, context
        return controls, outcomes
