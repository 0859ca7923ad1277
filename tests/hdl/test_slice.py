"""A register slice passes on every element once and in order, at full rate, whatever either side waits."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="needs the hdl extra")

from amaranth.sim import SimulatorContext
from sentinel_hdl.bus.slice import Slice

from tests.hdl.axi_lite_master import simulate

WIDTH = 24


def _run(offered: float, taken: float, cycles: int) -> tuple[list[int], list[int]]:
    """What went in and what came out, the first offered and the second taken with these probabilities a cycle."""
    dut: Any = Slice(WIDTH)
    rng = random.Random(round(1000 * offered + 10 * taken))
    sent: list[int] = []
    received: list[int] = []

    async def both(ctx: SimulatorContext) -> None:
        held: int | None = None
        shown: int | None = None
        for _ in range(cycles):
            if held is None and rng.random() < offered:
                held = rng.getrandbits(WIDTH)
            ctx.set(dut.input.valid, int(held is not None))
            ctx.set(dut.input.payload, rng.getrandbits(WIDTH) if held is None else held)
            given = (ctx.get(dut.output.valid), ctx.get(dut.output.payload), ctx.get(dut.input.ready))
            ready = int(rng.random() < taken)
            ctx.set(dut.output.ready, ready)
            # Neither side sees in this cycle what the other does in it.
            assert (ctx.get(dut.output.valid), ctx.get(dut.output.payload), ctx.get(dut.input.ready)) == given
            if shown is not None:
                assert given[0], "valid fell before the element was taken"
                assert given[1] == shown
            shown = given[1] if given[0] and not ready else None
            if given[0] and ready:
                received.append(given[1])
            if held is not None and given[2]:
                sent.append(held)
                held = None
            await ctx.tick()

    simulate(dut, both)
    return sent, received


@pytest.mark.parametrize("offered", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("taken", [0.1, 0.5, 1.0])
def test_elements_come_out_once_and_in_order(offered: float, taken: float) -> None:
    sent, received = _run(offered, taken, 600)
    assert len(received) > 30
    assert sent[: len(received)] == received
    assert len(sent) - len(received) <= 2


def test_an_element_passes_every_cycle_after_the_first_which_follows_a_reset() -> None:
    sent, received = _run(1.0, 1.0, 200)
    assert len(sent) == 199
    assert len(received) == 198


def test_nothing_is_taken_in_reset() -> None:
    dut: Any = Slice(WIDTH)

    async def offer(ctx: SimulatorContext) -> None:
        ctx.set(dut.input.valid, 1)
        assert not ctx.get(dut.input.ready)
        await ctx.tick()
        assert ctx.get(dut.input.ready)
        assert not ctx.get(dut.output.valid)
        await ctx.tick()
        assert ctx.get(dut.output.valid)

    simulate(dut, offer)
