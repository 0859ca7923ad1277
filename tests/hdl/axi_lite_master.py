"""An AXI4-Lite master for simulations: every order of the channels, and a response that is taken late."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator, SimulatorContext

OKAY, SLVERR = 0, 2
ANSWER_CYCLES = 16  # every access is answered within so many cycles of its last handshake
TestBench = Callable[[SimulatorContext], Awaitable[None]]


def simulate(dut: Elaboratable, *benches: TestBench, watch: TestBench | None = None) -> None:
    """Run test benches side by side on a core at 250 MHz until the last ends; ``watch`` runs as long as they do."""
    sim = Simulator(dut)
    sim.add_clock(4e-9)
    for bench in benches:
        sim.add_testbench(bench)
    if watch is not None:
        sim.add_testbench(watch, background=True)
    sim.run()


class Master:
    """Drives one bus; each method is one access."""

    def __init__(self, ctx: SimulatorContext, bus: Any) -> None:
        self.ctx = ctx
        self.bus = bus

    async def write(
        self, address: int, data: int, strobe: int = 0xF, *, address_after: int = 0, data_after: int = 0, take_after: int = 0
    ) -> int:
        """The response. ``address_after`` and ``data_after``: cycles until each channel is valid."""
        ctx, bus = self.ctx, self.bus
        address_done = data_done = False
        cycle = 0
        while not (address_done and data_done):
            ctx.set(bus.awvalid, int(not address_done and cycle >= address_after))
            ctx.set(bus.wvalid, int(not data_done and cycle >= data_after))
            ctx.set(bus.awaddr, address if ctx.get(bus.awvalid) else 0xBAD0_BAD0)
            ctx.set(bus.wdata, data if ctx.get(bus.wvalid) else 0xBAD1_BAD1)
            ctx.set(bus.wstrb, strobe if ctx.get(bus.wvalid) else 0)
            address_taken = ctx.get(bus.awvalid) and ctx.get(bus.awready)
            data_taken = ctx.get(bus.wvalid) and ctx.get(bus.wready)
            await ctx.tick()
            address_done |= bool(address_taken)
            data_done |= bool(data_taken)
            cycle += 1
            assert cycle < ANSWER_CYCLES + max(address_after, data_after), "write not accepted"
        ctx.set(bus.awvalid, 0)
        ctx.set(bus.wvalid, 0)
        await self._until(bus.bvalid)
        response = ctx.get(bus.bresp)
        for _ in range(take_after):
            await ctx.tick()
            assert ctx.get(bus.bvalid)
            assert ctx.get(bus.bresp) == response
        ctx.set(bus.bready, 1)
        await ctx.tick()
        ctx.set(bus.bready, 0)
        return int(response)

    async def read(self, address: int, *, take_after: int = 0) -> tuple[int, int]:
        """Data and response."""
        ctx, bus = self.ctx, self.bus
        ctx.set(bus.araddr, address)
        ctx.set(bus.arvalid, 1)
        await self._until(bus.arready)
        await ctx.tick()
        ctx.set(bus.arvalid, 0)
        ctx.set(bus.araddr, 0xBAD2_BAD2)
        await self._until(bus.rvalid)
        answer = int(ctx.get(bus.rdata)), int(ctx.get(bus.rresp))
        for _ in range(take_after):
            await ctx.tick()
            assert ctx.get(bus.rvalid)
            assert (ctx.get(bus.rdata), ctx.get(bus.rresp)) == answer
        ctx.set(bus.rready, 1)
        await ctx.tick()
        ctx.set(bus.rready, 0)
        return answer

    async def _until(self, signal: Any) -> None:
        for _ in range(ANSWER_CYCLES):
            if self.ctx.get(signal):
                return
            await self.ctx.tick()
        raise AssertionError(f"{signal} did not come within {ANSWER_CYCLES} cycles")
