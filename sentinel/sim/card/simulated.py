"""The simulated card: the emitted core, clocked inside this process, as one Bus like any other.

Its time is its own: a tick is one cycle of the core, and nothing runs unless somebody accesses the card or relaxes.
So only its cycles mean anything; wall time says how fast this machine simulates.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import CardError
from sentinel.sim.card.library import build_library, core_verilog, load_library
from sentinel.units import CARD_TICK_NS
from sentinel.wire import SLOT_BYTES

RING_SLOTS = 4096
#: Above 4 GiB, so that no address fits one register.
RING_ADDRESS = 0x12_3456_0000
#: After so long the shell gives an access up; 8 us, as ``shim.cpp`` has it.
SHELL_TIMEOUT_CYCLES = 2_000
#: For the beats that wait inside for the gate, 28 cycles each.
_TO_SETTLE = 640
_ALL_STROBES = (1 << SLOT_BYTES) - 1
_COUNTERS = ("cycles", "records", "stray_writes", "refused_beats", "lite_timeouts", "pcis_timeouts", "pcis_errors")


class RecordFault(IntEnum):
    """What may befall a record; as ``shim.cpp`` numbers them."""

    DAMAGED = 1  # a bit of it flips
    LOST = 2
    OVERTAKEN = 3  # the next one is in the ring before it


class SimulatedCard:
    """A Bus over the emitted core, tripped and empty as after power-on.

    Args:
        library: a shared library of ``build_library``; None builds the core's, or takes the one built before.
        ring_slots: of the host's ring, a power of two.
        progress: told what a first build is doing.

    ``response`` is that of the last register access: 0 OKAY, 2 SLVERR, -1 no answer within 8 us. Raises CardError
    where the library cannot be built.
    """

    def __init__(
        self, library: Path | None = None, ring_slots: int = RING_SLOTS, progress: Callable[[str], None] = lambda text: None
    ) -> None:
        self._library = load_library(library or build_library(core_verilog(progress), progress))
        self.ring: NDArray[np.uint32] = np.zeros((ring_slots, SLOT_BYTES // 4), np.uint32)
        self.ring_address = RING_ADDRESS
        self.poll_limit, self.timeout_ns = 64, 0
        self.response = 0
        self.context = int(self._library.card_new())
        self.write64_address = self._address("card_write64")
        self.relax_address = self._address("card_relax")
        self._library.card_set_ring(self.context, self.ring.ctypes.data, self.ring_address, self.ring.nbytes)
        place = (ctypes.c_uint64 * len(_COUNTERS)).from_address(self._library.card_counters(self.context))
        self._counters: NDArray[np.uint64] = np.ctypeslib.as_array(place)

    def _address(self, name: str) -> int:
        return int(ctypes.cast(getattr(self._library, name), ctypes.c_void_p).value or 0)

    def close(self) -> None:
        """Free the model; the card is gone. Idempotent."""
        if self.context:
            self._counters = self._counters.copy()
            self._library.card_free(self.context)
            self.context = 0

    def __enter__(self) -> SimulatedCard:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def reset(self) -> None:
        """Eight cycles of reset: tripped, no model, no limits. The ring's memory is the host's and stays."""
        self._library.card_reset(self.context)

    def ocl_read(self, offset: int) -> int:
        return self._read(self._library.card_ocl_read, offset)

    def ocl_write(self, offset: int, value: int) -> None:
        self.response = self._library.card_ocl_write(self.context, offset, value)

    def sda_read(self, offset: int) -> int:
        return self._read(self._library.card_sda_read, offset)

    def sda_write(self, offset: int, value: int) -> None:
        self.response = self._library.card_sda_write(self.context, offset, value)

    def _read(self, function: Callable[..., int], offset: int) -> int:
        value = ctypes.c_uint32()
        self.response = function(self.context, offset, ctypes.byref(value))
        return value.value

    def pcis_write64(self, offset: int, data: bytes) -> bool:
        return self.write_strobed(offset, data, _ALL_STROBES)

    def write_strobed(self, offset: int, data: bytes, strobe: int) -> bool:
        """Store those of 64 bytes whose strobe bit is set, as a write-combining buffer that is flushed early does."""
        if len(data) != SLOT_BYTES:
            raise CardError("beat", len(data), f"{SLOT_BYTES} bytes", "pad it")
        return bool(self._library.card_write_strobed(self.context, offset, data, strobe) == 0)

    def relax(self) -> None:
        """Up to 64 cycles, less when a record comes into the ring."""
        self._library.card_relax(self.context)

    def wait_ticks(self, ticks: int) -> None:
        """Move the card's time ahead by a jump, then let it see the new time for a few cycles."""
        self.now += ticks
        self.step(8)

    def step(self, cycles: int = 1) -> None:
        """Run exactly so many cycles."""
        self._library.card_step(self.context, cycles)

    def run(self, records: int, cycles: int) -> int:
        """Run until so many records more have come into the ring, at most ``cycles``; returns the cycles run."""
        return int(self._library.card_run(self.context, records, cycles))

    @property
    def now(self) -> int:
        """The card's time in ticks of 4 ns: virtual, one tick a cycle, settable."""
        return int(self._library.card_now(self.context))

    @now.setter
    def now(self, ticks: int) -> None:
        self._library.card_set_now(self.context, ticks)

    def follow(self, now_ns: int) -> None:
        """Take the host's time, ns, where that is ahead; a card's never goes back. What it was told before is done by then."""
        for _ in range(SHELL_TIMEOUT_CYCLES):
            if not self.outstanding:
                break
            self.step(64)
        self.step(_TO_SETTLE)
        ticks = now_ns // CARD_TICK_NS - self.now
        if ticks > 0:
            self.wait_ticks(ticks)

    def set_pauses(self, pcis: int = 0, ring: int = 0, answers: int = 0, seed: int = 1) -> None:
        """In how many of 256 cycles, at random, each side makes the other wait: beats, ring writes, their answers."""
        self._library.card_set_pauses(self.context, pcis, ring, answers, seed)

    def pull(self) -> None:
        """Take the card out of its slot: reads are all ones, stores vanish, nothing comes."""
        self._library.card_pull(self.context)

    def stop_clock(self) -> None:
        """As the shell does above the power limit: every access times out, stores wait until the bus takes no more."""
        self._library.card_stop_clock(self.context)

    def spoil_record(self, fault: RecordFault) -> None:
        """Do this to the next record on its way to the ring."""
        self._library.card_spoil_record(self.context, int(fault))

    def set_vdip(self, value: int) -> None:
        """The virtual DIP switches; switch 0 is the operator's kill."""
        self._library.card_set_vdip(self.context, value)

    @property
    def vled(self) -> int:
        return int(self._library.card_vled(self.context))

    @property
    def irq(self) -> bool:
        return bool(self._library.card_irq(self.context))

    @property
    def outstanding(self) -> int:
        """Stores the core has not answered yet."""
        return int(self._library.card_outstanding(self.context))

    def counters(self) -> dict[str, int]:
        """Cycles, records, and accesses given up or misplaced, since the card was made."""
        return dict(zip(_COUNTERS, self._counters.tolist(), strict=True))
