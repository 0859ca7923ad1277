"""PCIS against a model of bytes: beats from pieces in any order, size and burst, with pauses on every channel."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("amaranth", reason="the hdl extra is not installed")

from amaranth.sim import Simulator
from sentinel_hdl.benches.pcis import BEAT, Slots
from sentinel_hdl.bus.axi_lite import Response
from sentinel_hdl.bus.pcis import Pcis

SLOTS = 4


def make_bursts(rng: random.Random, count: int) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """(address, size, transfers of data and strobes); strobes lie in the bytes that the transfer's size and address name."""
    bursts = []
    for _ in range(count):
        size = rng.choice([6, 6, 6, 5, 4, 2])
        width = 1 << size
        address = rng.randrange(SLOTS * BEAT // width) * width
        transfers = []
        for number in range(rng.choice([1, 1, 2, 4, 7])):
            lane = (address + number * width) % BEAT
            window = ((1 << width) - 1) << lane
            strobes = window if rng.random() < 0.6 else window & rng.getrandbits(BEAT)
            transfers.append((rng.getrandbits(512), strobes))
        bursts.append((address, size, transfers))
    return bursts


@pytest.mark.parametrize("seed", range(6))
def test_beats_are_the_bytes_that_came_whatever_their_order_and_the_pauses(seed: int) -> None:
    rng = random.Random(seed)
    bursts = make_bursts(rng, 120)
    model = Slots(SLOTS)
    for address, size, transfers in bursts:
        for number, (data, strobes) in enumerate(transfers):
            model.transfer(address + (number << size), data, strobes)
    dut = Pcis(slots=SLOTS, outstanding=4, id_bits=4)
    got: list[int] = []
    answered: list[int] = []
    pauses = [rng.choice([0.0, 0.3, 0.8]) for _ in range(4)]

    async def addresses(ctx: Any) -> None:
        for number, (address, size, transfers) in enumerate(bursts):
            while rng.random() < pauses[0]:
                await ctx.tick()
            for name, value in (("awaddr", address), ("awlen", len(transfers) - 1), ("awsize", size), ("awid", number % 16)):
                ctx.set(getattr(dut.bus, name), value)
            ctx.set(dut.bus.awvalid, 1)
            await ctx.tick().until(dut.bus.awready)
            ctx.set(dut.bus.awvalid, 0)

    async def writes(ctx: Any) -> None:
        for _, _, moves in bursts:
            for number, (data, strobes) in enumerate(moves):
                while rng.random() < pauses[1]:
                    await ctx.tick()
                ctx.set(dut.bus.wdata, data)
                ctx.set(dut.bus.wstrb, strobes)
                ctx.set(dut.bus.wlast, number == len(moves) - 1)
                ctx.set(dut.bus.wvalid, 1)
                await ctx.tick().until(dut.bus.wready)
                ctx.set(dut.bus.wvalid, 0)

    async def answers(ctx: Any) -> None:
        while len(answered) < len(bursts):
            ctx.set(dut.bus.bready, rng.random() >= pauses[2])
            _, _, valid, ready, number, response = await ctx.tick().sample(
                dut.bus.bvalid, dut.bus.bready, dut.bus.bid, dut.bus.bresp
            )
            if valid and ready:
                answered.append(number)
                assert response == Response.OKAY

    async def beats(ctx: Any) -> None:
        while len(got) < len(model.beats):
            ctx.set(dut.beats.ready, rng.random() >= pauses[3])
            _, _, valid, ready, payload = await ctx.tick().sample(dut.beats.valid, dut.beats.ready, dut.beats.payload)
            if valid and ready:
                got.append(payload)

    simulator = Simulator(dut)
    simulator.add_clock(4e-9)
    for bench in (addresses, writes, answers, beats):
        simulator.add_testbench(bench)
    simulator.run()
    assert got == list(model.beats)
    assert len(got) > 20
    assert answered == [number % 16 for number in range(len(bursts))]


def test_reads_answer_zeros_with_an_error_for_every_transfer_asked() -> None:
    dut = Pcis(slots=SLOTS, outstanding=4, id_bits=4)

    async def bench(ctx: Any) -> None:
        for length in (0, 3):
            ctx.set(dut.bus.arlen, length)
            ctx.set(dut.bus.arid, 5 + length)
            ctx.set(dut.bus.arvalid, 1)
            await ctx.tick().until(dut.bus.arready)
            ctx.set(dut.bus.arvalid, 0)
            ctx.set(dut.bus.rready, 1)
            for number in range(length + 1):
                result = await ctx.tick().sample(dut.bus.rdata, dut.bus.rresp, dut.bus.rid, dut.bus.rlast).until(dut.bus.rvalid)
                assert result == (0, Response.SLVERR, 5 + length, number == length)
            ctx.set(dut.bus.rready, 0)

    simulator = Simulator(dut)
    simulator.add_clock(4e-9)
    simulator.add_testbench(bench)
    simulator.run()
