"""A register slice: cuts every path of a stream, both ways, without losing throughput."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Slice(wiring.Component):
    """One element a cycle, a cycle later. ``output`` and ``input.ready`` come from flip-flops (a second place holds what comes
    in the cycle in which the output stops).

    Attributes
    ----------
    input : In(stream). output : Out(stream), the same elements in the same order.
    """

    def __init__(self, shape: ShapeLike) -> None:
        self._bits = Shape.cast(shape).width
        super().__init__({"input": In(stream.Signature(shape)), "output": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kept, full, valid = Signal(self._bits, reset_less=True), Signal(), Signal()
        given = Signal(self._bits, reset_less=True)
        arrived, shown = Value.cast(self.input.payload), Value.cast(self.output.payload)
        m.d.comb += [self.input.ready.eq(~full), self.output.valid.eq(valid), shown.eq(given)]
        with m.If(~valid | self.output.ready):
            m.d.sync += [given.eq(Mux(full, kept, arrived)), valid.eq(full | self.input.valid), full.eq(0)]
        with m.Elif(self.input.valid & ~full):
            m.d.sync += [kept.eq(arrived), full.eq(1)]
        return m
