"""A register slice: cuts every path of a stream, both ways, without losing throughput."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out


class Slice(wiring.Component):
    """One element a cycle, a cycle later. ``output`` and ``input.ready`` come from flip-flops (a second place holds what comes
    in the cycle in which the output stops). In reset nothing is taken.

    Attributes
    ----------
    input : In(stream). output : Out(stream), the same elements in the same order.
    """

    def __init__(self, shape: ShapeLike) -> None:
        self._bits = Shape.cast(shape).width
        super().__init__({"input": In(stream.Signature(shape)), "output": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kept, given = Signal(self._bits, reset_less=True), Signal(self._bits, reset_less=True)
        # ``ready`` is ``~full`` but in reset: what is taken then is lost.
        full, ready, valid = Signal(), Signal(), Signal()
        arrived, shown = Value.cast(self.input.payload), Value.cast(self.output.payload)
        m.d.comb += [self.input.ready.eq(ready), self.output.valid.eq(valid), shown.eq(given)]
        with m.If(~valid | self.output.ready):
            m.d.sync += [given.eq(Mux(full, kept, arrived)), valid.eq(full | (self.input.valid & ready))]
            m.d.sync += [full.eq(0), ready.eq(1)]
        with m.Elif(self.input.valid & ready):
            m.d.sync += [kept.eq(arrived), full.eq(1), ready.eq(0)]
        return m
