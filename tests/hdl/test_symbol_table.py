"""The hand-over of a symbol's row: held until the gate takes it, a second commit meanwhile is dropped and said."""

from __future__ import annotations

import random

from amaranth.sim import SimulatorContext
from sentinel_hdl.symbol_table import SymbolLayout, SymbolTablePort

from tests.hdl.axi_lite_master import simulate

Row = dict[str, int]


def random_row(rng: random.Random) -> Row:
    return {name: rng.getrandbits(field.width) for name, field in SymbolLayout()}


def test_each_row_is_handed_over_once_and_unchanged_whatever_the_gate_waits() -> None:
    dut = SymbolTablePort()
    rng = random.Random(2)
    sent: list[Row] = []
    taken: list[Row] = []

    async def software(ctx: SimulatorContext) -> None:
        for count in range(200):
            row = random_row(rng)
            ctx.set(dut.row, row)
            ctx.set(dut.commit, 1)
            await ctx.tick()
            ctx.set(dut.commit, 0)
            ctx.set(dut.row, random_row(rng))
            sent.append(row)
            while ctx.get(dut.busy):
                await ctx.tick()
            assert ctx.get(dut.taken) == count + 1
        assert not ctx.get(dut.overrun)

    async def gate(ctx: SimulatorContext) -> None:
        while True:
            ready = rng.random() < 0.3
            ctx.set(dut.table_ready, int(ready))
            if ready and ctx.get(dut.table_write.valid):
                taken.append({name: ctx.get(dut.table_write[name]) for name, _ in SymbolLayout()})
            await ctx.tick()

    simulate(dut, software, watch=gate)
    assert taken == sent


def test_a_commit_while_one_is_pending_is_dropped_and_said() -> None:
    dut = SymbolTablePort()
    rng = random.Random(4)
    first, second = random_row(rng), random_row(rng)

    async def bench(ctx: SimulatorContext) -> None:
        for row in (first, second):
            ctx.set(dut.row, row)
            ctx.set(dut.commit, 1)
            await ctx.tick()
        ctx.set(dut.commit, 0)
        assert ctx.get(dut.overrun)
        assert {name: ctx.get(dut.table_write[name]) for name, _ in SymbolLayout()} == first
        ctx.set(dut.table_ready, 1)
        await ctx.tick()
        await ctx.tick().repeat(3)
        assert not ctx.get(dut.busy)
        assert ctx.get(dut.taken) == 1
        assert ctx.get(dut.overrun)

    simulate(dut, bench)
