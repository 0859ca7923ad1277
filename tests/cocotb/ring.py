"""The host's memory behind PCIM: every record that arrives is checked, and kept in order."""

from __future__ import annotations

import zlib
from collections import defaultdict
from typing import Any

import numpy as np
from cocotb.triggers import Event
from cocotbext.axi import AxiSlaveWrite, AxiWriteBus

from sentinel.wire import CARD_STATUS, DECISION, PERMIT, SLOT_BYTES, Kind

_LAYOUTS = {Kind.DECISION: DECISION, Kind.PERMIT: PERMIT, Kind.CARD_STATUS: CARD_STATUS}
RING_ADDRESS = 0x3_4567_8000
RING_SLOTS = 64


class Ring:
    """The slave on PCIM. ``records`` holds what came, by kind; ``numbers`` the slot number of each.

    A record must be one whole write of 64 bytes at its place, bear the next number and the CRC-32 of what it says.
    ``refuse`` answers writes with SLVERR instead of taking them.
    """

    def __init__(self, dut: Any) -> None:
        self.slave = AxiSlaveWrite(AxiWriteBus.from_prefix(dut, "pcim"), dut.clk, dut.rst, target=self)
        self.address, self.slots = RING_ADDRESS, RING_SLOTS
        self.records: dict[Kind, list[Any]] = defaultdict(list)
        self.order: list[Kind] = []
        self.memory: dict[int, bytes] = {}
        self.next_number = 1
        self.refuse = False
        self.arrival = Event()
        self.trouble: list[str] = []

    @property
    def channels(self) -> list[Any]:
        """To be paused: write address, write data, response."""
        return [self.slave.aw_channel, self.slave.w_channel, self.slave.b_channel]

    async def write(self, address: int, data: bytes) -> None:
        """Take a write from the bus; called by the slave, an exception becomes SLVERR."""
        if self.refuse:
            raise ConnectionError("refused")
        # Inside the slave an exception would only be an error response: kept, and raised by ``check``.
        trouble = self._take(address, bytes(data))
        if trouble:
            self.trouble.append(trouble)
        self.arrival.set()

    def restart(self) -> None:
        """The ring is enabled anew: numbers begin at 1."""
        self.next_number = 1

    def check(self) -> None:
        """Fail for whatever was wrong with a record so far."""
        assert not self.trouble, self.trouble

    def _take(self, address: int, data: bytes) -> str:
        number, expected = self.next_number, self.address + (self.next_number - 1) % self.slots * SLOT_BYTES
        self.memory[address] = data
        self.next_number += 1
        if len(data) != SLOT_BYTES:
            return f"record {number}: {len(data)} bytes at {address:#x}"
        slot, crc = np.frombuffer(data, "<u4")[-2:]
        if address != expected or slot != number or crc != zlib.crc32(data[:-4]):
            return f"record {number}: at {address:#x} for {expected:#x}, slot {slot}, CRC {crc:#x} of {data.hex()}"
        kind = data[24]
        if kind not in _LAYOUTS:
            return f"record {number}: kind {kind}"
        self.order.append(Kind(kind))
        self.records[Kind(kind)].append(np.frombuffer(data, _LAYOUTS[Kind(kind)])[0])
        return ""
