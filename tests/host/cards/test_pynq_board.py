"""The PYNQ back end through PYNQ's own Overlay and MMIO, over a pynq Device that is the simulated card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sentinel.engine.forest_cpu import CpuDecider, pack_beats
from sentinel.errors import CardError
from sentinel.host.cards.driver import CardDriver
from sentinel.host.cards.pynq_board import RING_SLOTS, WINDOWS, PynqBus
from sentinel.host.cards.registers import Status, TripCause
from sentinel.model.artifact import load_model
from sentinel.sim.card.simulated import SimulatedCard

pynq = pytest.importorskip("pynq", reason="needs the extra pynq")

ARTIFACT = load_model()
#: Where the overlay has its windows; each 64 KiB.
BASE = {"ocl": 0x0180_0000, "sda": 0x0181_0000, "pcis": 0x0182_0000}
SIZE = 1 << 16


class SimulatedDevice(pynq.Device):  # type: ignore[misc,name-defined]
    """XRT's device as PYNQ sees it: register accesses by address, buffers that are made visible on request."""

    def __init__(self, card: SimulatedCard, windows: tuple[str, ...] = WINDOWS) -> None:
        super().__init__("simulated")
        self.card, self.windows = card, windows
        self.capabilities = {"REGISTER_RW": True}
        self.name, self.bitfile_name = "simulated", ""

    def read_registers(self, address: int, length: int) -> bytes:
        name, offset = self._window(address)
        read = self.card.ocl_read if name == "ocl" else self.card.sda_read
        return b"".join(read(offset + at).to_bytes(4, "little") for at in range(0, length, 4))

    def write_registers(self, address: int, data: bytes) -> None:
        name, offset = self._window(address)
        for at in range(0, len(data), 4):
            word = data[at : at + 4]
            if name == "pcis":
                slot, place = (offset + at) // 64 * 64, (offset + at) % 64
                beat = bytes(place) + word + bytes(60 - place)
                self.card.write_strobed(slot, beat, 0xF << place)
            else:
                (self.card.ocl_write if name == "ocl" else self.card.sda_write)(offset + at, int.from_bytes(word, "little"))

    def _window(self, address: int) -> tuple[str, int]:
        return next((name, address - base) for name, base in BASE.items() if base <= address < base + SIZE)

    default_memory = SimpleNamespace(idx=0)

    def allocate_bo(self, size: int, bank: int, cacheable: bool) -> int:
        assert size == self.card.ring.nbytes
        return 1

    def map_bo(self, bo: int) -> Any:
        return self.card.ring.data.cast("B")

    def get_device_address(self, bo: int) -> int:
        return self.card.ring_address

    def invalidate(self, bo: int, offset: int, address: int, size: int) -> None:
        self.card.relax()

    def get_bitfile_metadata(self, name: str, partial: bool = False) -> Any:
        blocks = {w: {"phys_addr": BASE[w], "addr_range": SIZE, "type": "sentinel", "fullpath": w} for w in self.windows}
        empty: dict[str, Any] = {}
        return SimpleNamespace(
            ip_dict=blocks, gpio_dict=empty, interrupt_controllers=empty, interrupt_pins=empty, hierarchy_dict=empty,
            mem_dict=empty, clock_dict=empty, refresh_hierarchy_dict=lambda: None,
        )  # fmt: skip

    def set_bitfile_name(self, name: str) -> None:
        self.bitfile_name, self.parser = name, self.get_bitfile_metadata(name)

    def download(self, bitstream: Any, parser: Any = None) -> None:
        self.card.reset()


@pytest.fixture
def board(core_library: Path) -> Iterator[SimulatedCard]:
    with SimulatedCard(core_library, ring_slots=RING_SLOTS) as card:
        yield card


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "sentinel.xclbin"
    path.write_bytes(b"xclbin2")
    return path


def test_board_decides_bit_for_bit_as_the_cpu_and_trips_over_both_windows(board: SimulatedCard, image: Path) -> None:
    bus = PynqBus(image, SimulatedDevice(board))
    driver = CardDriver(bus)
    driver.identify()
    driver.start()
    driver.load_model(ARTIFACT, ARTIFACT.rules)
    vectors = np.random.default_rng(8).normal(size=(100, 26)).astype(np.float32)
    expected = CpuDecider(ARTIFACT, ARTIFACT.rules, False).score(vectors)
    assert (driver.decider(ARTIFACT).score(pack_beats(vectors)) == expected).all()
    assert driver.counters()["faults_torn"] == 0
    driver.kill()
    driver.kill_by_management()
    assert {TripCause.SOFTWARE_OCL, TripCause.SOFTWARE_SDA} <= set(driver.causes())
    assert Status.TRIPPED in driver.status()


@pytest.mark.parametrize("offset", [-64, 32, SIZE])
def test_beat_outside_the_window_is_refused(board: SimulatedCard, image: Path, offset: int) -> None:
    bus = PynqBus(image, SimulatedDevice(board))
    assert not bus.pcis_write64(offset, bytes(64))
    assert bus.pcis_write64(0, bytes(64))


def test_overlay_without_the_cores_windows_is_refused_by_name(board: SimulatedCard, image: Path) -> None:
    with pytest.raises(CardError, match="'pcis'"):
        PynqBus(image, SimulatedDevice(board, ("ocl", "sda")))


def test_overlay_that_is_not_there_is_refused(board: SimulatedCard, tmp_path: Path) -> None:
    with pytest.raises(CardError, match="check the path"):
        PynqBus(tmp_path / "none.xclbin", SimulatedDevice(board))
