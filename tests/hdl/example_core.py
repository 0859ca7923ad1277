"""Small cores for the tests of the hardware tools: an adder pipeline, and a gate with its specification."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Assert, Cover, Elaboratable, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from sentinel_hdl.tools.proof import Build


class Adder(wiring.Component):
    """``total`` = a + b one cycle later, ``product`` = low halves, ``found`` = the word stored at ``a``'s low five bits."""

    def __init__(self, width: int = 64) -> None:
        self.width = width
        ports = {"a": In(width), "b": In(width), "total": Out(width), "product": Out(32), "both__set": Out(1), "found": Out(8)}
        super().__init__(ports)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        a, b = Signal(self.width), Signal(self.width)
        m.submodules.words = words = memory.Memory(shape=8, depth=32, init=[])
        write, read = words.write_port(), words.read_port(domain="comb")
        m.d.comb += [write.addr.eq(a), write.data.eq(b), write.en.eq(b[-1]), read.addr.eq(a)]
        m.d.sync += [a.eq(self.a), b.eq(self.b), self.total.eq(a + b), self.product.eq(a[:16] * b[:16])]
        m.d.sync += [self.both__set.eq(a[0] & b[0] & a[1] & b[1]), self.found.eq(read.data)]
        return m


class Gate(wiring.Component):
    """Passes ``valid`` while open; ``trip`` closes, ``arm`` opens. ``leak`` plants a one-cycle hole."""

    def __init__(self, leak: bool = False) -> None:
        self.leak = leak
        super().__init__({"valid": In(1), "trip": In(1), "arm": In(1), "passed": Out(1), "tripped": Out(1, init=1)})

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        # The second term changes nothing: mutants of it are equivalent.
        closed = self.tripped | (self.trip & ~Signal(name="never")) | (self.tripped & self.valid)
        m.d.comb += self.passed.eq(self.valid & ~(self.tripped if self.leak else closed))
        m.d.sync += self.tripped.eq(Mux(self.trip, 1, Mux(self.arm, 0, self.tripped)))
        return m


class GateSpecification(Elaboratable):
    """What the gate promises; without ``complete`` a gate that never opens keeps every promise."""

    def __init__(self, leak: bool = False, complete: bool = True) -> None:
        self.gate = Gate(leak)
        self.complete = complete
        self.ports = [self.gate.valid, self.gate.trip, self.gate.arm]

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.gate = gate = self.gate
        m.d.comb += Assert(~(gate.passed & (gate.tripped | gate.trip)))
        if self.complete:
            expected = Signal(init=1)
            m.d.sync += expected.eq(gate.trip | (expected & ~gate.arm))
            m.d.comb += [Assert(expected == gate.tripped), Assert(gate.passed == (gate.valid & ~expected & ~gate.trip))]
        m.d.comb += Cover(gate.passed)
        return m


class Counter(Elaboratable):
    """Counts 0 to 5; that it is never 9 is true, but not by induction of depth 3."""

    def __init__(self) -> None:
        self.enable = Signal()

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        count = Signal(4)
        with m.If(self.enable):
            m.d.sync += count.eq(Mux(count == 5, 0, count + 1))
        m.d.comb += [Assert(count != 9), Cover(count == 7)]
        return m


def gate(leak: bool = False, complete: bool = True) -> Build:
    """Build of a gate's specification."""

    def build() -> tuple[Elaboratable, list[Signal]]:
        specification = GateSpecification(leak, complete)
        return specification, specification.ports

    return build


def counter() -> tuple[Elaboratable, list[Signal]]:
    """Build of the counter."""
    specification = Counter()
    return specification, [specification.enable]
