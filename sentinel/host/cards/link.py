"""The link to a card in compiled code: numbered beats out, checked records in.

A message to the card carries the link's own running number, one higher than the last whatever it holds; the
engine's numbers never leave the host. Records come into the ring in slots that are numbered too. A record is
taken only when its slot number is the awaited one and its CRC-32 right; permits and heartbeats of the card go to
queues of their own whoever was polling, decisions to whoever asked for one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sentinel.engine.layout import record_dtype
from sentinel.errors import CardError
from sentinel.host.cards.bus import Bus, call_relax, call_write64
from sentinel.host.store.frames import crc32_word
from sentinel.native import INNER, JIT, array_at, load_acquire, record_at
from sentinel.wire import CARD_BEAT, CARD_STATUS, PERMIT, SLOT_BYTES, Kind

PCIS_SLOTS = 32
QUEUE_SLOTS = 4096
CYCLE_BINS = 256

#: What ``take`` found besides a record's Kind.
NOTHING, DAMAGED, QUEUE_FULL = 0, -1, -2

# One record a link. Addresses first; next_* are uint32 values; counters since the link was made.
LINK = record_dtype(
    """
    bus write64 relax ring ring_mask outgoing record permits statuses cycles
    next_slot next_seq assembly_slot poll_limit timeout_ns
    permit_head permit_tail status_head status_tail
    messages refused_writes records damaged lost_records stray_records dropped_statuses
    model_crc classes beats forest_on_rule fail_after shadow shadow_context shadow_decision
    failed misses decisions timeouts late contradictions mismatches bypassed
    """
)
LINK_COUNTED = ("messages", "refused_writes", "records", "damaged", "lost_records", "stray_records", "dropped_statuses")

_DECISION, _PERMIT, _STATUS = int(Kind.DECISION), int(Kind.PERMIT), int(Kind.CARD_STATUS)
_WORDS = SLOT_BYTES // 8
_LOW32 = 0xFFFFFFFF
_HALF = 1 << 31
#: What the running (inverted) CRC-32 is after any message and its own CRC-32.
_RESIDUE = 0xDEBB20E3
_ALL = np.uint32(0xFFFFFFFF)

link_at = record_at(LINK)
_i64_at, _u32_at = array_at(np.dtype(np.int64)), array_at(np.dtype(np.uint32))


@njit(**INNER)
def words32(address: int, count: int) -> Any:
    """``count`` uint32 words at an address."""
    return _u32_at(address, count)


@njit(**INNER)
def ahead(number: int, of: int) -> int:
    """How far a 32-bit running number lies ahead of another: negative when behind."""
    distance = (number - of) & _LOW32
    return distance - (_LOW32 + 1) if distance >= _HALF else distance


@njit(**INNER)
def _following(slot: int) -> int:
    return 1 if slot == _LOW32 else slot + 1


@njit(**INNER)
def _slot_address(k: Any, slot: int) -> int:
    return k.ring + ((slot - 1) & k.ring_mask) * SLOT_BYTES


@njit(**INNER)
def send(k: Any, source: int, parts: int, seq: int) -> int:
    """Send the ``parts`` beats at address ``source`` under number ``seq``. Returns 0, or 1 where the bus refused one."""
    for part in range(parts):
        beat, given = _u32_at(k.outgoing + part * SLOT_BYTES, 16), _u32_at(source + part * SLOT_BYTES, 16)
        for word in range(1, 15):
            beat[word] = given[word]
        beat[0] = np.uint32(seq)
        beat[15] = ~np.uint32(seq)
        if call_write64(k.write64, k.bus, k.assembly_slot * SLOT_BYTES, k.outgoing + part * SLOT_BYTES) != 0:
            k.refused_writes += 1
            if part == 0:
                # Nothing of it left: the number is free, or the card would miss it.
                k.next_seq = seq
                return 1
            k.messages += 1
            return 1
        k.assembly_slot = (k.assembly_slot + 1) % PCIS_SLOTS
    k.messages += 1
    return 0


@njit(**INNER)
def claim_seq(k: Any) -> int:
    """The number of the next message."""
    seq = k.next_seq
    k.next_seq = (seq + 1) & _LOW32
    return seq


@njit(**INNER)
def _copy(source: int, target: int) -> None:
    given, kept = _i64_at(source, _WORDS), _i64_at(target, _WORDS)
    for word in range(_WORDS):
        kept[word] = given[word]


@njit(**INNER)
def _intact(record: int) -> bool:
    words = _i64_at(record, _WORDS)
    crc = _ALL
    for word in range(_WORDS):
        crc = crc32_word(crc, np.uint64(words[word]))
    return np.int64(crc) == _RESIDUE


@njit(**INNER)
def take(k: Any) -> int:
    """Take the next record out of the ring into ``k.record``.

    Returns its kind; NOTHING, also for a record of no kind; DAMAGED where the awaited slot has a wrong CRC (it stays: it
    may still be being written); QUEUE_FULL where a permit has no room (it stays). Permits and heartbeats are queued here.
    """
    address = _slot_address(k, k.next_slot)
    number = load_acquire(_i64_at(address, _WORDS), 7) & _LOW32
    if number != k.next_slot:
        if number != 0 and ahead(number, k.next_slot) > 0 and (number - k.next_slot) & k.ring_mask == 0:
            _copy(address, k.record)
            if not _intact(k.record):
                return DAMAGED
            # The card has gone round the ring: what was there is overwritten, the rest of the lap is still whole.
            oldest = (number - k.ring_mask) & _LOW32
            k.lost_records += ahead(oldest, k.next_slot)
            k.next_slot = max(oldest, 1)
        return NOTHING
    _copy(address, k.record)
    if not _intact(k.record):
        return DAMAGED
    kind = _i64_at(k.record, _WORDS)[3] & 0xFF
    if kind == _PERMIT:
        if k.permit_head - k.permit_tail >= QUEUE_SLOTS:
            return QUEUE_FULL
        _copy(k.record, k.permits + (k.permit_head % QUEUE_SLOTS) * SLOT_BYTES)
        k.permit_head += 1
    elif kind == _STATUS:
        # The newest says everything an older one did.
        if k.status_head - k.status_tail >= QUEUE_SLOTS:
            k.status_tail += 1
            k.dropped_statuses += 1
        _copy(k.record, k.statuses + (k.status_head % QUEUE_SLOTS) * SLOT_BYTES)
        k.status_head += 1
    elif kind != _DECISION:
        k.stray_records += 1
    k.records += 1
    k.next_slot = _following(k.next_slot)
    return kind


@njit(**INNER)
def give_up(k: Any) -> None:
    """After a time-out: step over a damaged or missing record if the card has gone on behind it."""
    slot = k.next_slot
    if load_acquire(_i64_at(_slot_address(k, slot), _WORDS), 7) & _LOW32 == slot:
        _copy(_slot_address(k, slot), k.record)
        if not _intact(k.record):
            k.damaged += 1
            k.next_slot = _following(slot)
        return
    for missing in range(1, k.ring_mask + 1):
        slot = _following(slot)
        if load_acquire(_i64_at(_slot_address(k, slot), _WORDS), 7) & _LOW32 == slot:
            k.lost_records += missing
            k.next_slot = slot
            return


@njit(**JIT)
def _step_over(link: int) -> None:
    give_up(link_at(link))


@njit(**JIT)
def _send_message(link: int, beats: int, parts: int) -> int:
    k = link_at(link)
    return send(k, beats, parts, claim_seq(k))


@njit(**JIT)
def _send_each(link: int, beats: int, count: int) -> int:
    k = link_at(link)
    for i in range(count):
        if send(k, beats + i * SLOT_BYTES, 1, claim_seq(k)) != 0:
            return 1
    return 0


@njit(**JIT)
def _poll(link: int, looks: int) -> int:
    k = link_at(link)
    taken = 0
    while looks > 0:
        kind = take(k)
        if kind > 0:
            taken += 1
            # Nobody waits for a decision here: it answers a vector that timed out.
            k.late += int(kind == _DECISION)
            continue
        if kind == QUEUE_FULL:
            break
        looks -= 1
        if looks > 0:
            call_relax(k.relax, k.bus)
    return taken


def _refused(seq: int) -> CardError:
    return CardError("card write", seq, "64-byte stores the bus takes", "the card hangs or is gone: load its image again")


class CardLink:
    """Owns the buffers of one link; the compiled functions reach them through ``address``.

    The ring's memory is the bus's. Raises CardError for a ring that is no power of two.
    """

    def __init__(self, bus: Bus) -> None:
        slots = len(bus.ring)
        if slots < 2 or slots & (slots - 1) or bus.ring.shape[1:] != (16,):
            raise CardError("card ring", bus.ring.shape, "a power of two of 64-byte slots", "give the bus another ring")
        self.bus = bus
        self._words = np.zeros(1, LINK)
        self._scratch = np.zeros((4, SLOT_BYTES), np.uint8)
        self._permits = np.zeros(QUEUE_SLOTS, PERMIT)
        self._statuses = np.zeros(QUEUE_SLOTS, CARD_STATUS)
        #: How many decisions took how many cycles of the card; the last bin holds all longer ones.
        self.cycles = np.zeros(CYCLE_BINS, np.int64)
        self.state = self._words[0]
        k = self.state
        k["bus"], k["write64"], k["relax"] = bus.context, bus.write64_address, bus.relax_address
        k["ring"], k["ring_mask"] = bus.ring.ctypes.data, slots - 1
        k["outgoing"], k["record"], k["shadow_decision"] = (self._scratch[i:].ctypes.data for i in (0, 2, 3))
        k["permits"], k["statuses"], k["cycles"] = (a.ctypes.data for a in (self._permits, self._statuses, self.cycles))
        k["poll_limit"], k["timeout_ns"] = bus.poll_limit, bus.timeout_ns
        k["next_slot"], k["beats"] = 1, 1
        self.address = int(self._words.ctypes.data)

    def restart(self, next_slot: int, next_seq: int) -> None:
        """Begin anew at a slot number and a message number, with an empty ring and empty queues."""
        self.bus.ring[:] = 0
        k = self.state
        k["next_slot"], k["next_seq"] = next_slot, next_seq
        k["permit_tail"], k["status_tail"] = k["permit_head"], k["status_head"]
        k["failed"] = k["misses"] = 0

    def send(self, beats: NDArray[np.void]) -> int:
        """Send one message of one or two CARD_BEAT-sized records; numbers and checks are filled in. Returns its number.

        Raises CardError where the bus refuses it.
        """
        block = np.ascontiguousarray(beats).view(CARD_BEAT).reshape(-1)
        seq = int(self.state["next_seq"])
        if _send_message(self.address, block.ctypes.data, len(block)) != 0:
            raise _refused(seq)
        return seq

    def poll(self, looks: int = 1) -> int:
        """Take what is in the ring, looking again up to ``looks`` times once it is empty. Returns the records taken."""
        return int(_poll(self.address, looks))

    def permits(self) -> NDArray[np.void]:
        """PERMIT[n] since the last call, in the card's order."""
        return self._drain(self._permits, "permit")

    def statuses(self) -> NDArray[np.void]:
        """CARD_STATUS[n] since the last call, oldest first; beyond 4,096 the oldest are dropped and counted."""
        return self._drain(self._statuses, "status")

    def send_each(self, beats: NDArray[np.void]) -> None:
        """Send CARD_BEAT-sized records[n], each as a message of its own. Raises CardError where the bus refuses one."""
        block = np.ascontiguousarray(beats).view(CARD_BEAT).reshape(-1)
        if _send_each(self.address, block.ctypes.data, len(block)) != 0:
            raise _refused(int(self.state["next_seq"]))

    def step_over(self) -> None:
        """Give up a damaged or missing record, if the card has gone on behind it."""
        _step_over(self.address)

    def _drain(self, queue: NDArray[np.void], name: str) -> NDArray[np.void]:
        tail, head = int(self.state[f"{name}_tail"]), int(self.state[f"{name}_head"])
        self.state[f"{name}_tail"] = head
        return queue[np.arange(tail, head) % QUEUE_SLOTS]

    def counters(self) -> dict[str, int]:
        """Messages, records and what was wrong with them, by name."""
        return {name: int(self.state[name]) for name in LINK_COUNTED}
