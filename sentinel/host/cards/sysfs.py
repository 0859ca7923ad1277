"""A Bus over a card of an AWS instance, through the files that the kernel shows of its PCIe functions.

OCL is ``resource0`` of the application function, mapped uncached although F2's is prefetchable; SDA is ``resource4`` of
the management function; PCIS is ``resource4_wc``, write-combined. Only the first page of each is mapped: the register
files and the assembly slots are there. Nothing here asks a tool or changes the card; ``opened`` does.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import CardError
from sentinel.host.cards.huge_ring import HugeRing
from sentinel.host.cards.mmio import WINDOW, read32, relax, write32, write64
from sentinel.host.cards.registers import Ocl
from sentinel.host.cards.slots import Slot
from sentinel.units import CARD_TICK_NS, NS_PER_S
from sentinel.wire import SLOT_BYTES

#: A decision takes microseconds; a card that needs a millisecond is in trouble, and the CPU answers.
TIMEOUT_US = 1_000
_PAGE = mmap.PAGESIZE


class Window:
    """The first page of a BAR, mapped shared. Raises CardError where the file is absent, too short or refused."""

    def __init__(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_SYNC | os.O_CLOEXEC)
        except FileNotFoundError:
            raise CardError(
                path.name, str(path), "a file of the card's function", "scan the bus again: fpga-describe-local-image -R"
            ) from None
        except OSError as error:
            raise _refused(path, error) from None
        try:
            self._memory = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        except ValueError:
            raise CardError(
                path.name, os.fstat(descriptor).st_size, f"at least {_PAGE} bytes", "the BAR has no memory: scan the bus again"
            ) from None
        except OSError as error:
            raise _refused(path, error) from None
        finally:
            os.close(descriptor)
        self._bytes: NDArray[np.uint8] | None = np.frombuffer(self._memory, np.uint8)
        self.address = int(self._bytes.ctypes.data)

    def close(self) -> None:
        """Unmap. Idempotent."""
        self._bytes = None
        self._memory.close()


class SysfsBus:
    """The Bus of one slot.

    Args:
        slot: whose windows are mapped; it holds an image, or every read is all ones.
        ring: what the card writes to; None for a bus that only reads and writes registers.
        timeout_us: after which an unanswered vector goes to the CPU.

    Raises CardError for a window that cannot be mapped; after ``close`` nothing answers.
    """

    def __init__(self, slot: Slot, ring: HugeRing | None = None, timeout_us: int = TIMEOUT_US) -> None:
        self._host_ring = ring
        self._unused: NDArray[np.uint32] = np.zeros((2, SLOT_BYTES // 4), np.uint32)
        self.poll_limit, self.timeout_ns = 0, timeout_us * 1_000
        self.write64_address, self.relax_address = int(write64.address or 0), int(relax.address or 0)
        with contextlib.ExitStack() as opened:
            windows = []
            for path in (slot.application / "resource0", slot.management / "resource4", slot.application / "resource4_wc"):
                windows.append(Window(path))
                opened.callback(windows[-1].close)
            self._ocl, self._sda, self._pcis = windows
            self._open = opened.pop_all()
        self._window = np.array([(self._pcis.address, _PAGE)], WINDOW)
        self.context = int(self._window.ctypes.data)

    @property
    def ring(self) -> NDArray[np.uint32]:
        return self._unused if self._host_ring is None else self._host_ring.slots

    @property
    def ring_address(self) -> int:
        return 0 if self._host_ring is None else self._host_ring.address

    def ocl_read(self, offset: int) -> int:
        return int(read32(_register(self._ocl, offset)))

    def ocl_write(self, offset: int, value: int) -> None:
        write32(_register(self._ocl, offset), value)

    def sda_read(self, offset: int) -> int:
        return int(read32(_register(self._sda, offset)))

    def sda_write(self, offset: int, value: int) -> None:
        write32(_register(self._sda, offset), value)

    def pcis_write64(self, offset: int, data: bytes) -> bool:
        if len(data) != SLOT_BYTES:
            raise CardError("beat", len(data), f"{SLOT_BYTES} bytes", "pad it")
        beat = np.frombuffer(data, np.uint32)
        return bool(write64.ctypes(self.context, offset, beat.ctypes.data) == 0)

    def relax(self) -> None:
        """The card runs by itself; another thread may."""
        time.sleep(0)

    def wait_ticks(self, ticks: int) -> None:
        until = time.monotonic_ns() + ticks * CARD_TICK_NS
        while (left := until - time.monotonic_ns()) > 0:
            time.sleep(left / NS_PER_S)

    def close(self) -> None:
        """Stop the card's writing to the ring, then unmap its windows. Idempotent."""
        if self._host_ring is not None and self._window["size"][0]:
            self.ocl_write(Ocl.PCIM_ENABLE, 0)
            # A read pushes the write before it: what comes after finds no ring any more.
            self.ocl_read(Ocl.PCIM_ENABLE)
        self._window["size"] = 0
        self._open.close()


def _register(window: Window, offset: int) -> int:
    if not 0 <= offset <= _PAGE - 4 or offset % 4:
        raise CardError("register", f"{offset:#x}", f"a multiple of 4 below {_PAGE:#x}", "use a name of the register map")
    return window.address + offset


def _refused(path: Path, error: OSError) -> CardError:
    return CardError(
        path.name,
        f"{path}: {error.strerror}",
        "a file that may be mapped",
        "run as root; where the kernel is locked down (secure boot), no program may map a card's memory",
    )
