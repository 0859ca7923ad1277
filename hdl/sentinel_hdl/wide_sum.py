"""Sums wider than a cycle: added in chunks, lowest first, a chunk a cycle."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

CHUNK = 48


class WideSum(wiring.Component):
    """``result`` = ``a`` + ``b``, or with ``subtract`` ``a`` - ``b``; ``done`` ``cycles`` after ``start``.

    The inputs hold still until ``done``. ``overflow`` is the carry out, or the borrow of a difference below 0.
    """

    def __init__(self, bits: int) -> None:
        self.bits = bits
        self.cycles = -(-bits // CHUNK)
        super().__init__(
            {
                "a": In(bits),
                "b": In(bits),
                "subtract": In(1),
                "start": In(1),
                "done": Out(1),
                "result": Out(bits),
                "overflow": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        turn = Signal(self.cycles)
        carry = Signal()
        m.d.sync += [turn.eq(Cat(self.start, turn[:-1])), self.done.eq(self.start if self.cycles == 1 else turn[self.cycles - 2])]
        active: list[Value] = [self.start, *(turn[i] for i in range(self.cycles - 1))]
        for i, start in enumerate(range(0, self.bits, CHUNK)):
            a, b = self.a[start : start + CHUNK], self.b[start : start + CHUNK]
            carry_in: Value = self.subtract if i == 0 else carry
            total = Signal(len(a) + 1, name=f"total_{i}")
            m.d.comb += total.eq(a + Mux(self.subtract, ~b, b) + carry_in)
            with m.If(active[i]):
                m.d.sync += [self.result[start : start + CHUNK].eq(total[:-1]), carry.eq(total[-1])]
        m.d.comb += self.overflow.eq(carry ^ self.subtract)
        return m
