"""The emitted risk gate and its integer reference, side by side on the same beats."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentinel_hdl.limits import LimitsLayout
from sentinel_hdl.symbol_table import TableWriteLayout
from sentinel_hdl.tools.gate_stream import (
    CAUSES_NOW,
    LEVELS,
    PULSES,
    SYMBOLS,
    UNKNOWN_TO_REFERENCE,
    Sent,
    causes_in,
    packed_limits,
    packed_row,
    record_of,
)

from sentinel.model.gate import GateLimits, GateModel, SymbolLimits
from sentinel.wire import PERMIT, BeatKind

SHIM = Path(__file__).with_name("risk_gate.cpp")
STEP = np.dtype(
    [("beat", "u1", 64), ("now", "<u8"), ("closed", "<u4"), ("causes_now", "<u4"), ("arm", "<u4"), ("arm_epoch", "<u4")]
)
OUTCOME = np.dtype([("permit", "u1", 64), ("given", "<u4"), ("cycles", "<u4"), ("causes", "<u4"), ("levels", "<u4")])


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


class RtlGate:
    """The gate as emitted."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._gate = ctypes.c_void_p(library.gate_new())

    def close(self) -> None:
        self._library.gate_free(self._gate)

    def set_limits(self, limits: GateLimits) -> None:
        words, count = _words(packed_limits(limits), LimitsLayout().size)
        self._library.gate_set_limits(self._gate, words, count)

    def set_symbol(self, symbol: int, row: SymbolLimits) -> None:
        words, count = _words(packed_row(symbol, row), TableWriteLayout().size)
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
        steps["arm"], steps["causes_now"] = [one.arm for one in sent], CAUSES_NOW
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
            expected = record_of(answer)
            if answer is not None:
                controls.append(answer.control)
            context = f"beat {i} of {BeatKind(one.beat[6]).name} at {one.now}"
            assert out["permit"].tobytes() == expected, f"{context}: {np.frombuffer(out['permit'].tobytes(), PERMIT)} {answer}"
            assert out["given"] == (answer is not None), context
            pulses = causes_in(out["causes"], PULSES)
            assert pulses == model.causes & PULSES, f"{context}: {pulses} {model.causes}"
            levels = causes_in(out["levels"], LEVELS)
            assert levels == model.levels(one.now), f"{context}: {levels} {model.levels(one.now)}"
            assert not out["causes"] & UNKNOWN_TO_REFERENCE, context
        return controls, outcomes
