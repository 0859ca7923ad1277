"""The AWS top by the shell's own port names: what only the shell does, and that each bus is wired to the right pins."""

from __future__ import annotations

import os
import zlib
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from sentinel.host.cards.registers import MAGIC, Ocl, Sda, Status, TripCause, split
from sentinel.image.project import ID_DEVICE, ID_SUBSYSTEM, ID_SUBSYSTEM_VENDOR, ID_VENDOR
from sentinel.image.targets import TARGETS
from sentinel.wire import CARD_BEAT, DECISION, SLOT_BYTES, BeatKind, DecisionFlag, Kind
from tests.cocotb.pressure import TICK_NS

TARGET = TARGETS[os.environ.get("CARD_TARGET", "f2")]
RING = 0x5_4321_0000
PATIENCE = 400
BAR1 = "bar1"


class Pins:
    """Drives the shell's pins by hand, one clock at a time; signals are looked at between two rising edges."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        for port in TARGET.ports:
            if port.direction == "input":
                getattr(dut, port.name).value = 0
        Clock(dut.clk_main_a0, TICK_NS, "ns").start()
        cocotb.start_soon(self._count())

    @classmethod
    async def out_of_reset(cls, dut: Any) -> Pins:
        pins = cls(dut)
        await pins.reset()
        # Memories are cleared first.
        for _ in range(PATIENCE):
            if not int(dut.cl_sh_status_vled.value) >> 4 & 1:
                return pins
            await pins.cycles(8)
        raise AssertionError("clearing never ends")

    async def reset(self) -> None:
        self.dut.rst_main_n.value = 0
        await self.cycles(6)
        self.dut.rst_main_n.value = 1
        await self.cycles(8)

    async def cycles(self, count: int) -> None:
        for _ in range(count):
            await FallingEdge(self.dut.clk_main_a0)

    async def _count(self) -> None:
        ticks = 1_000
        while True:
            self.dut.sh_cl_glcount0.value = ticks
            await RisingEdge(self.dut.clk_main_a0)
            ticks += 1

    def into(self, bus: str, signal: str) -> Any:
        prefix = TARGET.unused_window[0] if bus == BAR1 and TARGET.unused_window else TARGET.into[bus]
        return getattr(self.dut, prefix + signal)

    def out_of(self, bus: str, signal: str) -> Any:
        prefix = TARGET.unused_window[1] if bus == BAR1 and TARGET.unused_window else TARGET.out_of[bus]
        return getattr(self.dut, prefix + signal)

    async def _shake(self, bus: str, channel: str) -> None:
        """A valid of ours until its ready."""
        self.into(bus, f"{channel}valid").value = 1
        for _ in range(PATIENCE):
            taken = int(self.out_of(bus, f"{channel}ready").value)
            await self.cycles(1)
            if taken:
                self.into(bus, f"{channel}valid").value = 0
                return
        raise AssertionError(f"{bus} {channel} is not taken")

    async def _answer(self, bus: str, channel: str) -> None:
        """Until a valid of theirs; it is taken with the next edge."""
        self.into(bus, f"{channel}ready").value = 1
        for _ in range(PATIENCE):
            if int(self.out_of(bus, f"{channel}valid").value):
                return
            await self.cycles(1)
        raise AssertionError(f"{bus} {channel} does not come")

    async def _taken(self, bus: str, channel: str) -> None:
        await self.cycles(1)
        self.into(bus, f"{channel}ready").value = 0

    async def read(self, bus: str, address: int) -> tuple[int, int]:
        """Value and response."""
        self.into(bus, "araddr").value = address
        await self._shake(bus, "ar")
        await self._answer(bus, "r")
        value, response = int(self.out_of(bus, "rdata").value), int(self.out_of(bus, "rresp").value)
        await self._taken(bus, "r")
        return value, response

    async def write(self, bus: str, address: int, value: int) -> int:
        """The response."""
        self.into(bus, "awaddr").value = address
        await self._shake(bus, "aw")
        self.into(bus, "wdata").value, self.into(bus, "wstrb").value = value, 0xF
        await self._shake(bus, "w")
        await self._answer(bus, "b")
        response = int(self.out_of(bus, "bresp").value)
        await self._taken(bus, "b")
        return response

    async def store(self, beat: bytes, awid: int) -> int:
        """64 bytes to PCIS; the id of the answer."""
        for name, value in (("awid", awid), ("awaddr", 0), ("awlen", 0), ("awsize", 6)):
            self.into("pcis", name).value = value
        await self._shake("pcis", "aw")
        for name, value in (("wdata", int.from_bytes(beat, "little")), ("wstrb", (1 << SLOT_BYTES) - 1), ("wlast", 1)):
            self.into("pcis", name).value = value
        await self._shake("pcis", "w")
        await self._answer("pcis", "b")
        found = int(self.out_of("pcis", "bid").value)
        assert int(self.out_of("pcis", "bresp").value) == 0
        await self._taken("pcis", "b")
        return found

    async def record(self) -> tuple[int, bytes]:
        """The next write on PCIM: where to, and what; it is answered."""
        await self._answer("pcim", "aw")
        address = int(self.out_of("pcim", "awaddr").value)
        shape = [int(self.out_of("pcim", name).value) for name in ("awlen", "awsize")]
        name = int(self.out_of("pcim", "awid").value)
        await self._taken("pcim", "aw")
        assert shape == [0, 6]
        await self._answer("pcim", "w")
        data, strobe = int(self.out_of("pcim", "wdata").value), int(self.out_of("pcim", "wstrb").value)
        assert (strobe, int(self.out_of("pcim", "wlast").value)) == ((1 << SLOT_BYTES) - 1, 1)
        await self._taken("pcim", "w")
        self.into("pcim", "bid").value = name
        await self._shake("pcim", "b")
        return address, data.to_bytes(SLOT_BYTES, "little")

    async def causes(self) -> TripCause:
        return TripCause((await self.read("ocl", Ocl.TRIP_CAUSES))[0])

    async def place_ring(self) -> None:
        for register, word in split("PCIM_BASE", RING):
            await self.write("ocl", register, word)
        await self.write("ocl", Ocl.PCIM_SLOTS, 16)
        await self.write("ocl", Ocl.PCIM_ENABLE, 1)


def _vector(seq: int) -> bytes:
    beat = np.zeros(1, CARD_BEAT)
    beat["seq"], beat["kind"], beat["symbol"], beat["check"] = seq, BeatKind.VECTOR, 5, seq ^ 0xFFFFFFFF
    return beat.tobytes()


@cocotb.test()
async def both_register_windows_answer(dut: Any) -> None:
    pins = await Pins.out_of_reset(dut)
    assert await pins.read("ocl", Ocl.MAGIC) == (MAGIC, 0)
    assert await pins.write("ocl", Ocl.SCRATCH, 0x09AB_CDEF) == 0
    assert await pins.read("ocl", Ocl.SCRATCH) == (0x09AB_CDEF, 0)
    status, response = await pins.read("sda", Sda.STATUS)
    assert response == 0
    assert status & Status.TRIPPED


@cocotb.test()
async def ids_and_constant_outputs_are_what_the_shell_wants(dut: Any) -> None:
    await Pins.out_of_reset(dut)
    assert int(dut.cl_sh_id0.value) == ID_DEVICE << 16 | ID_VENDOR
    assert int(dut.cl_sh_id1.value) == ID_SUBSYSTEM << 16 | ID_SUBSYSTEM_VENDOR
    for port in TARGET.ports:
        if port.direction == "output" and port.name in TARGET.ties:
            assert int(getattr(dut, port.name).value) == int(TARGET.ties[port.name].split("'b")[1], 2), port.name
    for name in ("cl_sh_status0", "cl_sh_status1", "cl_sh_dma_wr_full", "cl_sh_dma_rd_full"):
        assert int(getattr(dut, name).value) == 0


@cocotb.test()
async def window_that_nobody_uses_refuses_instead_of_hanging(dut: Any) -> None:
    pins = await Pins.out_of_reset(dut)
    if TARGET.unused_window is not None:
        assert (await pins.read(BAR1, 0x40))[1] == 2
        assert await pins.write(BAR1, 0x40, 1) == 2


@cocotb.test()
async def store_becomes_a_record_in_host_memory(dut: Any) -> None:
    pins = await Pins.out_of_reset(dut)
    await pins.place_ring()
    for number in range(3):
        # A host's access has this id.
        assert await pins.store(_vector(number), 0x20) == 0x20
        address, data = await pins.record()
        assert address == RING + number * SLOT_BYTES
        decision = np.frombuffer(data, DECISION)[0]
        assert (decision["kind"], decision["seq"], decision["symbol"]) == (Kind.DECISION, number, 5)
        assert decision["flags"] == DecisionFlag.NO_MODEL
        assert decision["crc32"] == zlib.crc32(data[:-4])
        # The shell's counter is the card's time.
        assert 1_000 < decision["now"] <= int(dut.sh_cl_glcount0.value)


@cocotb.test()
@cocotb.parametrize(how=["vdip", "flr", "power"])
async def switch_function_reset_and_power_trip(dut: Any, how: str) -> None:
    pins = await Pins.out_of_reset(dut)
    assert TripCause.VDIP not in await pins.causes()
    pin, value = {
        "vdip": (dut.sh_cl_status_vdip, 1),
        "flr": (dut.sh_cl_flr_assert, 1),
        "power": (dut.sh_cl_pwr_state, 3),
    }[how]
    pin.value = value
    done = 0
    for _ in range(20):
        await pins.cycles(1)
        done += int(dut.cl_sh_flr_done.value)
    assert done == (how == "flr")
    assert TripCause.VDIP in await pins.causes()
    assert int(dut.cl_sh_status_vled.value) & 1


@cocotb.test()
async def reset_in_the_middle_of_traffic_leaves_nothing_behind(dut: Any) -> None:
    pins = await Pins.out_of_reset(dut)
    await pins.place_ring()
    # An address without its data, a record nobody takes, a read whose answer nobody takes.
    await pins.store(_vector(0), 1)
    pins.into("pcis", "awid").value = 2
    await pins._shake("pcis", "aw")
    pins.into("ocl", "araddr").value = Ocl.MAGIC
    await pins._shake("ocl", "ar")
    await pins.cycles(60)
    assert int(pins.out_of("pcim", "awvalid").value)
    await pins.reset()
    for bus, channel in (("pcim", "aw"), ("pcim", "w"), ("ocl", "r"), ("pcis", "b")):
        assert not int(pins.out_of(bus, f"{channel}valid").value), (bus, channel)
    assert await pins.read("ocl", Ocl.MAGIC) == (MAGIC, 0)
    for _ in range(PATIENCE):
        if not int(dut.cl_sh_status_vled.value) >> 4 & 1:
            break
        await pins.cycles(8)
    await pins.place_ring()
    assert await pins.store(_vector(0), 3) == 3
    address, data = await pins.record()
    assert address == RING
    assert np.frombuffer(data, DECISION)[0]["seq"] == 0
