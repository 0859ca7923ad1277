"""Proofs of the risk gate at small sizes: 4-bit amounts, two symbols, a window of four permits; times and keys in full."""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, Signal

from sentinel.wire import PERMIT, BeatKind, Control, Verdict
from sentinel_hdl.beats import ORDER, layout
from sentinel_hdl.permit_window import PermitWindow
from sentinel_hdl.risk_gate import KINDS, LAST, VERDICT, RiskGate
from sentinel_hdl.tools.proof import Proof

AMOUNT_BITS, SYMBOLS, WINDOW_DEPTH = 4, 2, 4
_SOON = (Control.KILLED, Control.BAD_INPUT, Control.ARM_EPOCH, Control.LIMITS_VERSION, Control.SYMBOL_HALTED)


class GateSpecification(Elaboratable):
    """The gate with free inputs, and beside it what has been asked and answered.

    ``reach``: cover the refusals that an order meets first, instead of asserting. That every control is reached, and a
    permit, is the simulation's part: tests/hdl/test_risk_gate_reference.py.
    """

    def __init__(self, reach: bool = False) -> None:
        self.reach = reach
        self.dut = dut = RiskGate(symbols=SYMBOLS, window_depth=WINDOW_DEPTH, amount_bits=AMOUNT_BITS)
        self.ports = [
            *(dut.beats.payload, dut.beats.valid, dut.permits.ready, dut.now, dut.limits.as_value(), dut.arm_epoch),
            *(dut.closed, dut.causes_now, dut.armed_pulse, dut.table_write.as_value(), dut.peak_write, dut.peak),
        ]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        incoming = ORDER(dut.beats.payload)
        taken = dut.beats.valid & dut.beats.ready
        is_order = incoming.kind == int(BeatKind.ORDER)
        started, fresh, closed_before = Signal(), Signal(), Signal()
        m.d.sync += [started.eq(1), fresh.eq(dut.deciding), closed_before.eq(dut.closed)]
        # Limits and arm epoch stand still while armed; a beat's symbol is one there is (Intake).
        before = Signal.like(dut.limits.as_value())
        m.d.sync += before.eq(dut.limits.as_value())
        with m.If(started):
            m.d.comb += Assume(dut.limits.as_value() == before)
        m.d.comb += [Assume(incoming.symbol < SYMBOLS), Assume(dut.table_write.symbol < SYMBOLS)]
        record = layout(PERMIT)(dut.permits.payload)
        passed = fresh & (record.verdict == int(Verdict.PERMIT))
        if self.reach:
            m.d.comb += [Cover(fresh & (record.control == int(control)) & (record.seq == 1)) for control in _SOON]
            return m
        self._steps(m, taken)
        self._answers(m, taken, is_order, fresh, record)
        self._closing(m, fresh, passed, closed_before, record)
        return m

    def _steps(self, m: Module, taken: Signal) -> None:
        """P12: a beat is through in a bounded time."""
        dut, at = self.dut, Signal(range(LAST + 2))
        with m.If(taken):
            m.d.sync += at.eq(1)
        with m.Elif(at != 0):
            m.d.sync += at.eq(Mux(at == LAST, 0, at + 1))
        m.d.comb += [
            Assert((dut.step == 0) | (dut.step == 1 << at)),
            Assert((dut.step == 0) | (dut.kinds == Cat(dut.beat.kind == int(kind) for kind in KINDS))),
        ]

    def _answers(self, m: Module, taken: Signal, is_order: Signal, fresh: Signal, record: Signal) -> None:
        """P6 and P5: each order has one record, in order, of its own key and symbol, with the next number."""
        dut = self.dut
        asked, answered = Signal(8), Signal(8)
        key, symbol = Signal(64), Signal(16)
        waiting = Signal()
        with m.If(taken & is_order):
            m.d.sync += [
                asked.eq(asked + 1),
                key.eq(ORDER(dut.beats.payload).client_key),
                symbol.eq(ORDER(dut.beats.payload).symbol),
                waiting.eq(1),
            ]
        with m.If(dut.deciding):
            m.d.sync += [answered.eq(answered + 1), waiting.eq(0)]
        early = dut.step[1 : VERDICT + 1].any() & (dut.beat.kind == int(BeatKind.ORDER))
        m.d.comb += [
            Assert(waiting == early),
            Assert(asked == (answered + waiting)[:8]),
            Assert(~waiting | ((ORDER(dut.beat.as_value()).client_key == key) & (dut.beat.symbol == symbol))),
            Assert(dut.number[:8] == (answered + 1)[:8]),
        ]
        with m.If(fresh):
            m.d.comb += [
                Assert(dut.permits.valid),
                Assert((record.client_key == key) & (record.symbol == symbol)),
                Assert(record.seq[:8] == answered),
                Assert((record.verdict == int(Verdict.PERMIT)) == (record.control == 0)),
            ]

    def _closing(self, m: Module, fresh: Signal, passed: Signal, closed_before: Signal, record: Signal) -> None:
        """P1 and P2: nothing passes a closed switch, and what must trip does so with the verdict."""
        dut = self.dut
        m.d.comb += [
            Assert(~(passed & closed_before)),
            Assert(~fresh | ~closed_before | (record.control == int(Control.KILLED))),
            Assert(dut.causes.gross == (fresh & (record.control == int(Control.GROSS_EXPOSURE)))),
            Assert(~(fresh & (record.control == int(Control.TRADES_PER_MINUTE))) | dut.causes.permit_rate),
        ]


class WindowSpecification(Elaboratable):
    """P7: the window asked as the gate asks it, with any times that don't go back."""

    def __init__(self, reach: bool = False) -> None:
        self.reach = reach
        self.dut = PermitWindow(WINDOW_DEPTH)
        self.want = Signal()
        self.ports = [self.dut.now, self.want]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        limit, window = AnyConst(3), AnyConst(5)
        turn = Signal(PermitWindow.LATENCY + 2, init=1)
        m.d.sync += turn.eq(turn.rotate_left(1))
        before, started = Signal(64), Signal()
        m.d.sync += [before.eq(dut.now), started.eq(1)]
        m.d.comb += [Assume(dut.now < 64), Assume((limit >= 1) & (limit <= WINDOW_DEPTH)), Assume(window != 0)]
        with m.If(started):
            m.d.comb += Assume(Mux(turn[0], dut.now >= before, dut.now == before))
        m.d.comb += [
            dut.limit.eq(limit),
            dut.window.eq(window),
            dut.ask.eq(turn[0]),
            dut.record.eq(turn[PermitWindow.LATENCY] & self.want & ~dut.full),
        ]
        times = [Signal(64, name=f"time_{i}") for i in range(WINDOW_DEPTH)]
        count = Signal(range(WINDOW_DEPTH + 1))
        with m.If(dut.record):
            m.d.sync += [late.eq(early) for early, late in zip([dut.now, *times], times, strict=False)]
            m.d.sync += count.eq(Mux(count == WINDOW_DEPTH, count, count + 1))
        oldest = Signal(64)
        for i in range(WINDOW_DEPTH):
            with m.If(limit == i + 1):
                m.d.comb += oldest.eq(times[i])
        full = (count >= limit) & (dut.now - oldest < window)
        if self.reach:
            m.d.comb += [Cover(turn[PermitWindow.LATENCY] & dut.full & (limit == 2)), Cover(dut.record & (count == 3))]
            return m
        m.d.comb += Assert(~dut.fault)
        with m.If(turn[PermitWindow.LATENCY]):
            m.d.comb += Assert(dut.full == full)
        return m


def _gate(reach: bool = False) -> tuple[Elaboratable, list[Signal]]:
    specification = GateSpecification(reach)
    return specification, specification.ports


def _window(reach: bool = False) -> tuple[Elaboratable, list[Signal]]:
    specification = WindowSpecification(reach)
    return specification, specification.ports


CORE = "risk_gate"
PROOFS = [
    Proof("risk_gate_window_bmc", CORE, "P7", _window, "bmc", 14),
    Proof("risk_gate_window_cover", CORE, "P7", lambda: _window(True), "cover", 26),
    # Boolector finds no end to these two.
    Proof("risk_gate_answers_prove", CORE, "P1 P2 P5 P6 P12", _gate, "prove", 2, solvers=("z3",)),
    Proof(
        "risk_gate_answers_cover",
        CORE,
        "P1 P2 P5 P6 P12",
        lambda: _gate(True),
        "cover",
        13,
        timeout_s=1800,
        long=True,
        solvers=("z3",),
    ),
]
