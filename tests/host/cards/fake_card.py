"""A card in Python behind the Bus: registers in a dict, decisions by the CPU decider, faults on demand."""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.engine.forest_cpu import CpuDecider
from sentinel.host.cards.bus import ALL_ONES
from sentinel.wire import CARD_BEAT, DECISION, SLOT_BYTES, BeatKind

_WRITE64 = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
_RELAX = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

Answer = Callable[[NDArray[np.void]], list[NDArray[np.void]]]


class FakeCard:
    """Answers each vector at the next ``relax``. Knobs: ``dead``, ``frozen``, ``takes_writes`` and ``mangle``.

    ``mangle(records)`` sees the records (uint8[64] each, sealed with slot and CRC) due at one relax and returns those to
    write, as (slot number, bytes) pairs.
    """

    def __init__(self, decider: CpuDecider, slots: int = 64) -> None:
        self.ring = np.zeros((slots, 16), np.uint32)
        self.ring_address = 1 << 33
        self.poll_limit, self.timeout_ns, self.context = 16, 0, 0
        self.decider = decider
        self.dead = self.frozen = False
        self.takes_writes = True
        self.mangle: Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]] = lambda due: due
        self.alter: Callable[[NDArray[np.void]], None] = lambda decision: None
        self.extra: list[NDArray[np.void]] = []
        self.offsets: list[int] = []
        self.seqs: list[int] = []
        self.slot = 1
        self.registers: dict[int, int] = {}
        self.writes: list[tuple[int, int]] = []
        self._due: list[NDArray[np.void]] = []
        self._first: NDArray[np.void] | None = None
        self._callbacks = _WRITE64(self._write64), _RELAX(lambda context: self.relax())
        self.write64_address, self.relax_address = (ctypes.cast(c, ctypes.c_void_p).value or 0 for c in self._callbacks)

    def _write64(self, context: int, offset: int, beat: int) -> int:
        return 0 if self.pcis_write64(offset, ctypes.string_at(beat, SLOT_BYTES)) else 1

    def pcis_write64(self, offset: int, data: bytes) -> bool:
        if not self.takes_writes or self.dead:
            return False
        self.offsets.append(offset)
        beat = np.frombuffer(data, CARD_BEAT).copy()
        self.seqs.append(int(beat["seq"][0]))
        if beat["kind"][0] != BeatKind.VECTOR:
            return True
        parts = [beat]
        if self.decider.beats == 2:
            if beat["part"][0] == 0:
                self._first = beat
                return True
            assert self._first is not None
            parts = [self._first, beat]
        self._due.append(np.concatenate(parts))
        return True

    def relax(self) -> None:
        if self.dead or self.frozen:
            return
        records: list[Any] = []
        for beats in self._due:
            decision = np.zeros(1, DECISION)
            call = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_void_p] * 3, ctypes.c_int64)(self.decider.address)
            both = np.zeros(2, CARD_BEAT)
            both[: len(beats)] = beats
            assert call(self.decider.context, both.ctypes.data, decision.ctypes.data, 0) == 0
            decision["cycle_in"], decision["cycle_out"], decision["now"] = 1000, 1035, 77
            self.alter(decision)
            records.append(decision)
        self._due.clear()
        records += self.extra
        self.extra = []
        sealed = []
        for record in records:
            sealed.append((self.slot, seal(record, self.slot)))
            self.slot += 1
        for slot, data in self.mangle(sealed):
            self.put(slot, data)

    def put(self, slot: int, data: bytes) -> None:
        """Write one record to where ``slot`` belongs."""
        self.ring[(slot - 1) % len(self.ring)] = np.frombuffer(data, np.uint32)

    def wait_ticks(self, ticks: int) -> None:
        pass

    def ocl_read(self, offset: int) -> int:
        return ALL_ONES if self.dead else self.registers.get(offset, 0)

    def ocl_write(self, offset: int, value: int) -> None:
        self.writes.append((offset, value))
        if not self.dead:
            self.registers[offset] = value

    def sda_read(self, offset: int) -> int:
        return self.ocl_read(offset)

    def sda_write(self, offset: int, value: int) -> None:
        self.writes.append((-offset, value))


def seal(record: NDArray[np.void], slot: int) -> bytes:
    """The bytes of a record as the card writes them under a slot number."""
    head = record.tobytes()[:56] + slot.to_bytes(4, "little")
    return head + zlib.crc32(head).to_bytes(4, "little")
