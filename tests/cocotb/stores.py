"""The host's stores to PCIS, transfer by transfer: any strobes, any bursts, any number under way."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import cocotb
from cocotb.triggers import Event
from cocotbext.axi import AxiWriteBus
from cocotbext.axi.axi_channels import AxiAWSource, AxiAWTransaction, AxiBSink, AxiWSource, AxiWTransaction

from sentinel.wire import SLOT_BYTES

ALL_BYTES = (1 << SLOT_BYTES) - 1
FULL_SIZE = 6


class Transfer(NamedTuple):
    """One transfer of a burst: 64 bytes of the bus, and which of them are written."""

    data: int
    strobe: int = ALL_BYTES


class Stores:
    """The write master on PCIS. Every burst must be answered once, with its id, in order, and well."""

    def __init__(self, dut: Any) -> None:
        bus = AxiWriteBus.from_prefix(dut, "pcis")
        self.addresses, self.data = AxiAWSource(bus.aw, dut.clk, dut.rst), AxiWSource(bus.w, dut.clk, dut.rst)
        self.answers = AxiBSink(bus.b, dut.clk, dut.rst)
        self._waiting: deque[int] = deque()
        self.most_waiting = 0
        self._answered = Event()
        self.trouble: list[str] = []
        cocotb.start_soon(self._collect())

    @property
    def channels(self) -> list[Any]:
        """To be paused: write address, write data, response."""
        return [self.addresses, self.data, self.answers]

    def burst(self, address: int, transfers: Sequence[Transfer], size: int = FULL_SIZE, awid: int = 0) -> None:
        """Put a burst on the bus behind those already there."""
        assert address % 4096 + (len(transfers) << size) <= 4096 + address % (1 << size), "crosses 4 KiB"
        self.addresses.send_nowait(AxiAWTransaction(awid=awid, awaddr=address, awlen=len(transfers) - 1, awsize=size, awburst=1))
        for number, transfer in enumerate(transfers):
            last = number == len(transfers) - 1
            self.data.send_nowait(AxiWTransaction(wdata=transfer.data, wstrb=transfer.strobe, wlast=int(last)))
        self._waiting.append(awid)
        self.most_waiting = max(self.most_waiting, len(self._waiting))

    async def answered(self) -> None:
        """Return when every burst has its answer."""
        while self._waiting:
            self._answered.clear()
            await self._answered.wait()
        assert not self.trouble, self.trouble

    async def _collect(self) -> None:
        while True:
            answer = await self.answers.recv()
            awid, response = int(answer.bid), int(answer.bresp)
            if not self._waiting or self._waiting.popleft() != awid or response:
                self.trouble.append(f"answer {response} for id {awid} out of turn")
            self._answered.set()
