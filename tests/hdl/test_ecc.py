"""The SECDED code: any one flipped bit of a word is corrected, any two are found out."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

pytest.importorskip("amaranth")

from amaranth.hdl import Elaboratable, Module, Signal
from amaranth.sim import Simulator
from sentinel_hdl.ecc import CODE_BITS, DATA_BITS, decode, encode


class _Code(Elaboratable):
    """A word, its code with some bits flipped, and that decoded."""

    def __init__(self) -> None:
        self.word, self.flips = Signal(DATA_BITS), Signal(CODE_BITS)
        self.writing, self.reading = Signal(init=1), Signal(init=1)
        self.code, self.data = Signal(CODE_BITS), Signal(DATA_BITS)
        self.corrected, self.uncorrectable = Signal(), Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        with m.If(self.writing):
            code = encode(m, self.word)
        m.d.comb += self.code.eq(code)
        with m.If(self.reading):
            decoded = decode(m, self.code ^ self.flips)
        m.d.comb += [
            self.data.eq(decoded.data),
            self.corrected.eq(decoded.corrected),
            self.uncorrectable.eq(decoded.uncorrectable),
        ]
        return m


def test_every_single_flip_is_corrected_and_every_double_flip_found_out() -> None:
    core, rng = _Code(), random.Random(1)

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        ctx.set(core.word, 0)
        assert ctx.get(core.code) == 0
        flips = [(), *((i,) for i in range(CODE_BITS)), *combinations(range(CODE_BITS), 2)]
        for bits in flips:
            word = rng.choice((0, (1 << DATA_BITS) - 1, rng.getrandbits(DATA_BITS)))
            ctx.set(core.word, word)
            ctx.set(core.flips, sum(1 << bit for bit in bits))
            assert ctx.get(core.code) & (1 << DATA_BITS) - 1 == word
            assert (ctx.get(core.corrected), ctx.get(core.uncorrectable)) == (len(bits) == 1, len(bits) == 2), bits
            if len(bits) < 2:
                assert ctx.get(core.data) == word, bits

    simulator = Simulator(core)
    simulator.add_testbench(bench)
    simulator.run()
