"""A single-producer, single-consumer ring of 64-byte records, lock-free, in anonymous or shared memory.

The producer publishes ``head`` and the consumer ``tail``, each with a release store that the other
side reads with an acquire load; both only ever grow. The producer keeps a copy of the tail and
looks at the consumer's cache line only when the copy says there is no room. A record that does not
fit is refused and counted, never dropped in silence.

Layout in int64 words, after which the slots start at a page boundary::

    0 magic   1 slots   2 layout version
    16 head                       written by the producer
    32 tail as the producer last saw it, 33 high-water mark, 34 refused records
    48 tail                       written by the consumer
    512 ... slots x 8 words
"""

from __future__ import annotations

import contextlib
import mmap
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.errors import RingError
from sentinel.native import JIT, borrow, load_acquire, store_release
from sentinel.wire import SLOT_BYTES, RecordViews, record_views

MIN_SLOTS = 64
MAX_SLOTS = 1 << 24
HEADER_WORDS = 512
SLOT_WORDS = SLOT_BYTES // 8

_MAGIC = 0x53544C2D52494E47
_LAYOUT_VERSION = 1
_SLOTS, _VERSION, _HEAD, _SEEN_TAIL, _HIGH_WATER, _REFUSED, _TAIL = 1, 2, 16, 32, 33, 34, 48

_MAP_HUGETLB = 0x40000
_HUGE_PAGE = 2 << 20
_SHARED_DIRECTORY = Path("/dev/shm")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@njit(**JIT)
def ring_push(words: Any, mask: int, records: Any, n: int) -> int:
    """Append ``records[:n]`` (int64[n, 8]) and publish them at once. Returns n, or 0 when they do not fit."""
    ring = borrow(words)
    source = borrow(records)
    head = ring[_HEAD]
    occupied = head + n - ring[_SEEN_TAIL]
    # The true occupancy is needed for the room check and for a new high-water mark, not otherwise.
    if occupied > mask + 1 or occupied > ring[_HIGH_WATER]:
        tail = load_acquire(ring, _TAIL)
        ring[_SEEN_TAIL] = tail
        occupied = head + n - tail
        if occupied > mask + 1:
            ring[_REFUSED] += n
            return 0
        if occupied > ring[_HIGH_WATER]:
            ring[_HIGH_WATER] = occupied
    for i in range(n):
        at = HEADER_WORDS + ((head + i) & mask) * SLOT_WORDS
        for k in range(SLOT_WORDS):
            ring[at + k] = source[i, k]
    store_release(ring, _HEAD, head + n)
    return n


@njit(**JIT)
def ring_range(words: Any) -> tuple[int, int]:
    """(tail, head): the consumer may read slots ``tail & mask`` up to, not including, ``head & mask``."""
    ring = borrow(words)
    return ring[_TAIL], load_acquire(ring, _HEAD)


@njit(**JIT)
def ring_release(words: Any, new_tail: int) -> None:
    """Give every slot before ``new_tail`` back to the producer. Consumer only."""
    ring = borrow(words)
    store_release(ring, _TAIL, new_tail)


@njit(**JIT)
def _publish_header(header: Any) -> None:
    """Publish a finished header: whoever sees the magic sees the rest."""
    store_release(header, 0, _MAGIC)


class Ring:
    """A ring of 64-byte slots; make one with ``Ring.create`` or ``Ring.attach``.

    ``words`` (int64, header and slots) and ``mask`` are what the numba functions take. ``slots`` is
    the int64[n, 8] view of the slots and ``views`` the same memory as typed records. ``pages`` says
    what memory was obtained: ``hugetlb``, ``transparent`` (huge pages asked for by madvise) or ``normal``.
    """

    def __init__(self, memory: mmap.mmap, path: Path | None, pages: str) -> None:
        self._memory: mmap.mmap | None = memory
        self._path = path
        self.pages = pages
        self.words: NDArray[np.int64] = np.frombuffer(memory, np.int64)
        self.capacity = int(self.words[_SLOTS])
        self.mask = self.capacity - 1
        self.slots: NDArray[np.int64] = self.words[HEADER_WORDS : HEADER_WORDS + self.capacity * SLOT_WORDS].reshape(
            -1, SLOT_WORDS
        )
        self.views: RecordViews = record_views(self.slots)

    @classmethod
    def create(cls, slots: int, name: str | None = None, huge_pages: bool = True) -> Ring:
        """A new, empty ring of ``slots`` (a power of two) records.

        Without a name it lives in private memory of this process, for use between threads. With a
        name it is shared memory other processes attach to. Raises RingError for a bad size or name,
        a name in use, or memory that cannot be had.
        """
        if not (isinstance(slots, int) and MIN_SLOTS <= slots <= MAX_SLOTS and slots & (slots - 1) == 0):
            raise RingError("ring.slots", slots, f"a power of two from {MIN_SLOTS} to {MAX_SLOTS}", "choose for example 65536")
        size = (HEADER_WORDS + slots * SLOT_WORDS) * 8
        if name is None:
            memory, pages = _anonymous(size, huge_pages)
            path = None
        else:
            memory, pages, path = _named(size, name, huge_pages)
        header = np.frombuffer(memory, np.int64, HEADER_WORDS)
        header[_SLOTS] = slots
        header[_VERSION] = _LAYOUT_VERSION
        _publish_header(header)
        return cls(memory, path, pages)

    @classmethod
    def attach(cls, name: str) -> Ring:
        """The ring another process created under ``name``. Raises RingError when there is none or it is not a ring."""
        path = _shared_path(name)
        try:
            with open(path, "r+b") as file:
                size = os.fstat(file.fileno()).st_size
                if size < (HEADER_WORDS + MIN_SLOTS * SLOT_WORDS) * 8:
                    raise RingError("ring.name", name, "a ring", f"{path} is too small; its creator may still be starting")
                memory = mmap.mmap(file.fileno(), size)
        except OSError as error:
            raise RingError("ring.name", name, "an existing ring", f"start its creator first ({error.strerror})") from None
        words = np.frombuffer(memory, np.int64)
        slots = int(words[_SLOTS])
        if int(words[0]) != _MAGIC or int(words[_VERSION]) != _LAYOUT_VERSION or len(words) < HEADER_WORDS + slots * SLOT_WORDS:
            raise RingError("ring.name", name, f"a ring of layout version {_LAYOUT_VERSION}", f"{path} is something else")
        return cls(memory, path, "normal")

    def push(self, records: NDArray[Any]) -> int:
        """Append int64[n, 8] records, all or none. Returns n, or 0 (counted in ``refused``) when they do not fit."""
        return int(ring_push(self.words, self.mask, records, len(records)))

    def available(self) -> int:
        """Records the consumer can read now."""
        tail, head = ring_range(self.words)
        return int(head - tail)

    def occupancy(self) -> float:
        """Share of the slots in use, 0 to 1."""
        return self.available() / self.capacity

    @property
    def high_water(self) -> int:
        """Most records ever waiting at once."""
        return int(self.words[_HIGH_WATER])

    @property
    def refused(self) -> int:
        """Records that did not fit and were handed back to the producer."""
        return int(self.words[_REFUSED])

    def close(self) -> None:
        """Let go of the memory. Views taken from the ring keep the mapping alive until they are gone."""
        if self._memory is None:
            return
        memory, self._memory = self._memory, None
        nothing = np.zeros(0, np.int64)
        self.words, self.slots, self.views = nothing, nothing.reshape(0, SLOT_WORDS), record_views(nothing)
        with contextlib.suppress(BufferError):
            memory.close()

    def unlink(self) -> None:
        """Remove the name, so that no one else can attach. Nothing happens for an unnamed ring."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Ring:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
        self.unlink()


def _anonymous(size: int, huge_pages: bool) -> tuple[mmap.mmap, str]:
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    if huge_pages:
        rounded = -(-size // _HUGE_PAGE) * _HUGE_PAGE
        # Populate, so that missing pages in the pool show up here and not as a fault later.
        with contextlib.suppress(OSError):
            return mmap.mmap(-1, rounded, flags | _MAP_HUGETLB | mmap.MAP_POPULATE), "hugetlb"
    try:
        memory = mmap.mmap(-1, size, flags)
    except OSError as error:
        raise RingError("ring.slots", size, "memory the host has", f"use fewer slots ({error.strerror})") from None
    return memory, _advise_huge(memory, "enabled") if huge_pages else "normal"


def _named(size: int, name: str, huge_pages: bool) -> tuple[mmap.mmap, str, Path]:
    path = _shared_path(name)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise RingError("ring.name", name, "a name not in use", f"remove {path} if its owner is gone") from None
    except OSError as error:
        raise RingError("ring.name", name, "shared memory", f"check {path.parent} ({error.strerror})") from None
    try:
        # Reserve the pages now: shared memory that runs out later kills the process with SIGBUS.
        os.posix_fallocate(descriptor, 0, size)
        memory = mmap.mmap(descriptor, size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise RingError(
            "ring.slots", size, f"bytes free in {path.parent}", f"use fewer slots or enlarge it ({error.strerror})"
        ) from None
    finally:
        os.close(descriptor)
    return memory, _advise_huge(memory, "shmem_enabled") if huge_pages else "normal", path


def _shared_path(name: str) -> Path:
    if _NAME.fullmatch(name) is None:
        raise RingError("ring.name", name, "1 to 200 of A-Z a-z 0-9 . _ -", "choose a plain name")
    return _SHARED_DIRECTORY / name


def _advise_huge(memory: mmap.mmap, setting: str) -> str:
    try:
        chosen = Path("/sys/kernel/mm/transparent_hugepage", setting).read_text().split("[")[1].split("]")[0]
        memory.madvise(mmap.MADV_HUGEPAGE)
    except (OSError, IndexError):
        return "normal"
    return "transparent" if chosen in ("always", "madvise", "advise", "within_size", "force") else "normal"
