"""A register bus channel by channel: any strobes, address and data of a write in either order."""

from __future__ import annotations

from typing import Any

from cocotbext.axi import AxiLiteBus
from cocotbext.axi.axil_channels import (
    AxiLiteARSource,
    AxiLiteARTransaction,
    AxiLiteAWSource,
    AxiLiteAWTransaction,
    AxiLiteBSink,
    AxiLiteRSink,
    AxiLiteWSource,
    AxiLiteWTransaction,
)

from tests.cocotb.card import Card
from tests.cocotb.stores import Stores

FULL_STROBE = 0xF


class LiteChannels:
    """One AXI4-Lite master; accesses are put on the bus at once and answered in order."""

    def __init__(self, dut: Any, prefix: str) -> None:
        bus = AxiLiteBus.from_prefix(dut, prefix)
        self.aw, self.w = AxiLiteAWSource(bus.write.aw, dut.clk, dut.rst), AxiLiteWSource(bus.write.w, dut.clk, dut.rst)
        self.b = AxiLiteBSink(bus.write.b, dut.clk, dut.rst)
        self.ar, self.r = AxiLiteARSource(bus.read.ar, dut.clk, dut.rst), AxiLiteRSink(bus.read.r, dut.clk, dut.rst)

    @property
    def channels(self) -> list[Any]:
        """To be paused."""
        return [self.aw, self.w, self.b, self.ar, self.r]

    async def write(self, address: int, value: int, strobe: int = FULL_STROBE) -> int:
        """The response of a write."""
        self.aw.send_nowait(AxiLiteAWTransaction(awaddr=address))
        self.w.send_nowait(AxiLiteWTransaction(wdata=value, wstrb=strobe))
        return int((await self.b.recv()).bresp)

    async def read(self, address: int) -> tuple[int, int]:
        """Value and response of a read."""
        self.ar.send_nowait(AxiLiteARTransaction(araddr=address))
        answer = await self.r.recv()
        return int(answer.rdata), int(answer.rresp)


class BareCard(Card):
    """A card whose register buses are driven channel by channel."""

    def _masters(self, dut: Any) -> None:
        self.stores = Stores(dut)
        self.ocl, self.sda = LiteChannels(dut, "ocl"), LiteChannels(dut, "sda")

    async def look(self, master: LiteChannels, address: int) -> tuple[int, int]:
        return await master.read(address)

    async def put(self, master: LiteChannels, address: int, value: int) -> int:
        return await master.write(address, value)
