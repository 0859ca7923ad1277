"""How long decisions took, in cycles, as a histogram."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

BINS = 16
FIRST_EDGE, BIN_SHIFT = 16, 2
COUNT_BITS = 31


class LatencyHistogram(wiring.Component):
    """Bin i counts latencies of 16 + 4 i cycles and less than 4 more; the first also shorter, the last also longer ones.

    Attributes: ``sample`` In, ``cycle_in``, ``cycle_out`` In(32); ``clear`` In; ``bins`` Out. Counts stop at their largest.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "sample": In(1),
                "cycle_in": In(32),
                "cycle_out": In(32),
                "clear": In(1),
                "bins": Out(data.ArrayLayout(COUNT_BITS, BINS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        took, taken, number, counted = Signal(32), Signal(), Signal(range(BINS)), Signal()
        m.d.sync += [took.eq(self.cycle_out - self.cycle_in), taken.eq(self.sample), counted.eq(taken)]
        above = took - FIRST_EDGE
        m.d.sync += number.eq(
            Mux(took < FIRST_EDGE, 0, Mux(took[6:].any() & (took >= FIRST_EDGE + 64), BINS - 1, above[BIN_SHIFT:]))
        )
        for i in range(BINS):
            with m.If(self.clear):
                m.d.sync += self.bins[i].eq(0)
            with m.Elif(counted & (number == i) & ~self.bins[i].all()):
                m.d.sync += self.bins[i].eq(self.bins[i] + 1)
        return m
