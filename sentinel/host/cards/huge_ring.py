"""Host memory that a card may write: one locked huge page, and where the card finds it.

A huge page is contiguous and never moves, so one address serves the whole ring. It belongs to a file of hugetlbfs that stays:
the card of a process that was killed goes on writing, to memory that nobody else is given. The next process takes it over.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os

import numpy as np
from numpy.typing import NDArray

from sentinel.errors import CardError
from sentinel.host.cards.slots import Tree
from sentinel.wire import SLOT_BYTES

HUGE_PAGE = 2 << 20
RING_SLOTS = 4096
_PAGE = mmap.PAGESIZE
# A word of /proc/self/pagemap: bit 63 present, bits 0..54 the frame, zero for a process without CAP_SYS_ADMIN.
_ENTRY, _PRESENT, _FRAME = 8, 1 << 63, (1 << 55) - 1


class HugeRing:
    """``slots`` uint32[RING_SLOTS, 16] in one huge page; ``address`` is its physical address, 64-byte aligned.

    Args:
        tree: where the kernel's files are.
        slot: the card's number; each has a page of its own. The caller holds the slot's lock.

    Raises CardError where no huge page is free, it cannot be locked, or its physical address is kept from this process.
    """

    def __init__(self, tree: Tree, slot: int) -> None:
        path = tree.huge_pages() / f"sentinel-card-{slot}"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.ftruncate(file, HUGE_PAGE)
                self._memory = mmap.mmap(file, HUGE_PAGE, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            finally:
                os.close(file)
        except OSError as error:
            raise CardError(
                "huge pages", str(path), "one free page of 2 MiB", f"reserve some: sysctl vm.nr_hugepages=16 ({error.strerror})"
            ) from None
        self._bytes: NDArray[np.uint8] | None = np.frombuffer(self._memory, np.uint8)
        try:
            self._memory.madvise(mmap.MADV_DONTFORK)
            virtual = int(self._bytes.ctypes.data)
            _lock(virtual)
            self._bytes[:] = 0
            self.address = _physical(tree, virtual)
        except CardError:
            self.close()
            raise
        self.slots: NDArray[np.uint32] = self._bytes[: RING_SLOTS * SLOT_BYTES].view(np.uint32).reshape(RING_SLOTS, -1)

    def close(self) -> None:
        """Look at the page no more; the file keeps it. Idempotent."""
        self._bytes = None
        self.slots = np.zeros((2, SLOT_BYTES // 4), np.uint32)
        # Where somebody still looks at the ring, the page goes with the last view.
        with contextlib.suppress(BufferError):
            self._memory.close()


def _lock(address: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    library.mlock.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    if library.mlock(address, HUGE_PAGE) != 0:
        number = ctypes.get_errno()
        raise CardError(
            "mlock",
            os.strerror(number),
            "2 MiB of locked memory",
            "raise it: ulimit -l unlimited, or LimitMEMLOCK= of the service",
        )


def _physical(tree: Tree, virtual: int) -> int:
    """The physical address of a huge page. Raises CardError where the kernel does not tell, or the page is not one piece."""
    frames = []
    try:
        with tree.pagemap.open("rb", buffering=0) as file:
            for at in (virtual, virtual + HUGE_PAGE - _PAGE):
                entry = int.from_bytes(os.pread(file.fileno(), _ENTRY, at // _PAGE * _ENTRY), "little")
                frames.append(entry & _FRAME if entry & _PRESENT else None)
    except OSError as error:
        raise CardError("pagemap", str(tree.pagemap), "a readable file", f"run as root ({error.strerror})") from None
    first, last = frames
    if first is None or last is None:
        raise CardError("pagemap", "not present", "a page in memory", "the ring is not locked: reserve more huge pages")
    if first == 0:
        raise CardError(
            "pagemap", 0, "the physical address of the ring", "give the process CAP_SYS_ADMIN (run as root): the kernel hides it"
        )
    if last - first != (HUGE_PAGE - _PAGE) // _PAGE:
        raise CardError("pagemap", f"{first:#x}..{last:#x}", "one contiguous huge page", "reserve huge pages of 2 MiB")
    return first * _PAGE
