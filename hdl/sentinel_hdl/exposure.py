"""The gate's sums over all symbols: notional of open orders and value of positions, and what a gross limit leaves of them."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sentinel_hdl.wide_sum import CHUNK, WideSum


class Exposure(wiring.Component):
    """Sums are e16 and wider than any product of amounts by what all symbols can add. Operations start ``cycles`` apart.

    Attributes
    ----------
    operand : In, taken with the strobe.
    add_open, take_open : In, strobes: open notional plus or minus ``operand``; below 0 it becomes 0, with ``underflow``.
    add_value, take_value : In, strobes: value of all positions plus or minus ``operand``.
    total : In, strobe: gross exposure becomes open notional plus value of positions.
    headroom : In, strobe: ``room`` becomes ``limit`` minus gross exposure, ``none`` says that it is below 0.
    """

    def __init__(self, product_bits: int, symbols: int) -> None:
        self.bits = product_bits + symbols.bit_length() + 3
        self.cycles = -(-self.bits // CHUNK) + 2
        super().__init__(
            {
                "operand": In(128),
                "limit": In(128),
                "add_open": In(1),
                "take_open": In(1),
                "add_value": In(1),
                "take_value": In(1),
                "total": In(1),
                "headroom": In(1),
                "room": Out(self.bits),
                "none": Out(1, init=1),
                "underflow": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sums = sums = WideSum(self.bits)
        opened, value, gross = (Signal(self.bits, name=name) for name in ("open_notional", "position_value", "gross"))
        operations = Cat(self.add_open, self.take_open, self.add_value, self.take_value, self.total, self.headroom)
        current, asked = Signal(6), Signal()
        a, b, subtract = Signal(self.bits, reset_less=True), Signal(self.bits, reset_less=True), Signal()
        # A cycle to choose, so that no sum waits for a multiplexer.
        m.d.comb += asked.eq(operations.any())
        m.d.sync += sums.start.eq(asked)
        with m.If(asked):
            m.d.sync += [
                current.eq(operations),
                subtract.eq(self.take_open | self.take_value | self.headroom),
                a.eq(Mux(self.headroom, self.limit, Mux(self.add_value | self.take_value, value, opened))),
                b.eq(Mux(self.headroom, gross, Mux(self.total, value, self.operand))),
            ]
        m.d.comb += [sums.subtract.eq(subtract), sums.a.eq(a), sums.b.eq(b)]
        m.d.sync += self.underflow.eq(0)
        with m.If(sums.done):
            with m.If(current[:2].any()):
                m.d.sync += [
                    opened.eq(Mux(current[1] & sums.overflow, 0, sums.result)),
                    self.underflow.eq(current[1] & sums.overflow),
                ]
            with m.If(current[2:4].any()):
                m.d.sync += value.eq(sums.result)
            with m.If(current[4]):
                m.d.sync += gross.eq(sums.result)
            with m.If(current[5]):
                m.d.sync += [self.room.eq(sums.result), self.none.eq(sums.overflow)]
        return m
