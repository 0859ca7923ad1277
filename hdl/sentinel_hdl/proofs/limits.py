"""Proofs of the limits: in force are only limits within their ranges, taken while tripped and undisturbed (P8's premise).

That the CRC-32 is the right one is the simulation's part: tests/hdl/test_limits.py compares every bit with zlib.
"""

from __future__ import annotations

import struct
import zlib
from functools import reduce
from operator import or_

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Mux, ResetSignal, Signal, Value

from sentinel_hdl.limits import BPS_MAX, CHECK_STAGES, PERMITS_MAX, Limits
from sentinel_hdl.tools.proof import Proof

CHECK_CYCLES = 40  # the longest that a commit is checked, as the map says
AT_LEAST_ONE = (
    "LIMIT_MAX_ORDER_NOTIONAL", "LIMIT_MAX_GROSS_NOTIONAL", "LIMIT_REFERENCE_MAX_AGE", "LIMIT_HEARTBEAT_MAX_AGE",
    "LIMIT_EQUITY_MAX_AGE", "LIMIT_WINDOW", "LIMIT_MAX_DAILY_LOSS", "LIMITS_VERSION", "LIMIT_COLLAR_BPS",
    "LIMIT_MAX_DRAWDOWN_BPS", "LIMIT_PERMITS_PER_WINDOW",
)  # fmt: skip
AT_MOST = {"LIMIT_COLLAR_BPS": BPS_MAX, "LIMIT_MAX_DRAWDOWN_BPS": BPS_MAX, "LIMIT_PERMITS_PER_WINDOW": PERMITS_MAX}


class LimitsSpecification(Elaboratable):
    """Limits whose staged words change only with ``staged_we``, as the register file does it.

    ``scripted``: one commit of words that are all zero, or the lowest limits allowed, with the CRC of either. A
    solver does not find words for a CRC by itself in any useful time.
    """

    def __init__(self, scripted: bool = False) -> None:
        self.scripted = scripted
        self.dut = Limits()
        self.ports = [self.dut.staged, self.dut.staged_we, self.dut.commit.as_value(), self.dut.tripped]

    def _implemented(self, words: Value) -> list[Value]:
        """The bits of each staged word that the map has."""
        return [words.word_select(i, 32)[: len(copy)] for i, copy in enumerate(self.dut.active)]

    def _in_range(self, words: list[Value]) -> Value:
        names = [r.name for r in self.dut.registers]
        bad: list[Value] = [
            ~reduce(or_, (word.any() for name, word in zip(names, words, strict=True) if name.startswith(limit)))
            for limit in AT_LEAST_ONE
        ]
        bad += [words[names.index(limit)] > most for limit, most in AT_MOST.items()]
        return ~Cat(bad).any()

    def elaborate(self, platform: object) -> Elaboratable:
        """The last cycle beside this one."""
        m = Module()
        m.submodules.dut = dut = self.dut
        started = Signal()
        staged_before = Signal.like(dut.staged)
        undisturbed = Signal(range(4))  # cycles since staged words last changed, as far as it matters
        busy_cycles = Signal(range(CHECK_CYCLES + 2))
        m.d.sync += [started.eq(1), staged_before.eq(dut.staged)]
        with m.If(started & ~dut.staged_we):
            m.d.comb += Assume(dut.staged == staged_before)
        unused = [self.dut.staged.word_select(i, 32)[len(copy) :] for i, copy in enumerate(dut.active)]
        m.d.comb += Assume(~Cat(unused).any())

        if self.scripted:
            self._script(m)

        in_force = Cat(dut.active)
        in_force_before = Signal.like(in_force)
        may_change = Signal()
        m.d.sync += [
            in_force_before.eq(in_force),
            may_change.eq(dut.busy & dut.tripped & ~dut.staged_we & ~dut.commit.valid),
        ]
        m.d.sync += busy_cycles.eq(0)
        with m.If(dut.busy & ~dut.commit.valid):
            m.d.sync += busy_cycles.eq(busy_cycles + 1)

        with m.If(dut.staged_we):
            m.d.sync += undisturbed.eq(0)
        with m.Elif(undisturbed != 3):
            m.d.sync += undisturbed.eq(undisturbed + 1)

        changed = in_force != in_force_before
        with m.If(started & changed):
            m.d.comb += [
                Assert(may_change),
                Assert(in_force == Cat(self._implemented(staged_before))),
                Cover(1),
            ]
        with m.If(~dut.fault):
            m.d.comb += [Assert(self._in_range(list(dut.active))), Assert(dut.loaded), Cover(1)]
        m.d.comb += [
            Assert(Cat(dut.shadow) == ~Cat(dut.active)),
            Assert(self._in_range(list(dut.active)) | (in_force == 0)),
            Assert(~dut.error_shadow),
            Assert(busy_cycles < CHECK_CYCLES),
        ]
        for name in ("busy", "error_crc", "error_range", "error_raced"):
            with m.If(getattr(dut, name)):
                m.d.comb += [Assert(dut.fault), Cover(1)]
        m.d.comb += Cover(dut.error_range & ~dut.error_crc)
        self._invariants(m, self._implemented(dut.staged), undisturbed, busy_cycles)
        return m

    def _script(self, m: Module) -> None:
        names = [r.name for r in self.dut.registers]
        firsts = {next(name for name in names if name.startswith(limit)) for limit in AT_LEAST_ONE}
        allowed = []
        for words in ([0] * len(names), [int(name in firsts) for name in names]):
            raw = struct.pack(f"<{len(words)}I", *words)
            allowed.append((int.from_bytes(raw, "little"), zlib.crc32(raw)))
        lowest = Signal()
        cycle = Signal(range(4))
        with m.If(cycle != 3):
            m.d.sync += cycle.eq(cycle + 1)
        m.d.comb += [
            lowest.eq(AnyConst(1)),
            Assume(~ResetSignal()),
            Assume(self.dut.staged == Mux(lowest, allowed[1][0], allowed[0][0])),
            Assume(self.dut.commit.valid == (cycle == 2)),
            Assume((self.dut.commit.crc == allowed[0][1]) | (self.dut.commit.crc == allowed[1][1])),
        ]

    def _invariants(self, m: Module, staged: list[Value], undisturbed: Signal, busy_cycles: Signal) -> None:
        """What induction must know of the walk."""
        dut = self.dut
        m.d.comb += [
            Assert(~dut.differs.any()),
            Assert(~dut.busy | (dut.index == busy_cycles)),
            Assert(~dut.busy | (dut.index <= len(staged) + CHECK_STAGES)),
        ]
        with m.If((undisturbed >= 2) & ~dut.staged_we):
            m.d.comb += Assert(dut.out_of_range == ~self._in_range(staged))
        with m.If(dut.busy & ~dut.raced & (busy_cycles >= 2)):
            m.d.comb += Assert(undisturbed >= 2)


def _build(scripted: bool) -> tuple[Elaboratable, list[Signal]]:
    specification = LimitsSpecification(scripted)
    return specification, specification.ports


PROOFS = [
    Proof("limits_prove", "limits", "P8", lambda: _build(False), "prove", 3, 200),
    Proof("limits_cover", "limits", "P8", lambda: _build(True), "cover", CHECK_CYCLES, 300),
]
