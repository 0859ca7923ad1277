"""Stores to PCIS in whatever pieces: what comes out are the beats of a model that only counts bytes."""

from __future__ import annotations

import os
from random import Random
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiMaster, AxiMasterRead, AxiReadBus

from sentinel.host.cards.registers import BeatFault, Ocl
from sentinel.wire import CARD_BEAT, HEARTBEAT_BEAT, SLOT_BYTES, BeatKind, Kind, Verdict
from tests.cocotb.card import PCIS_SLOTS, SLVERR, SYMBOL, Card, core_of, random_of
from tests.cocotb.pressure import Pressure, apply
from tests.cocotb.stores import ALL_BYTES, FULL_SIZE, Transfer

#: Of a write's id, as wide as the shell has it.
ID_BITS = int(os.environ.get("CARD_ID_BITS", "16"))

WINDOW = PCIS_SLOTS * SLOT_BYTES
#: The FIFO of addresses.
OUTSTANDING = 32


class ByteModel:
    """32 slots that give a beat away when all of its bytes have come."""

    def __init__(self) -> None:
        self.data, self.has = [0] * PCIS_SLOTS, [0] * PCIS_SLOTS
        self.beats: list[int] = []

    def burst(self, address: int, transfers: list[Transfer], size: int) -> None:
        for data, strobe in transfers:
            slot = address // SLOT_BYTES % PCIS_SLOTS
            for byte in range(SLOT_BYTES):
                if strobe >> byte & 1:
                    self.data[slot] = self.data[slot] & ~(0xFF << 8 * byte) | data & 0xFF << 8 * byte
            self.has[slot] |= strobe
            if self.has[slot] == ALL_BYTES:
                self.beats.append(self.data[slot])
                self.has[slot] = 0
            address = ((address >> size) + 1) << size


async def assembled(card: Card, beats: list[int]) -> None:
    """Note what the slots hand on, cycle by cycle."""
    pcis = core_of(card.dut).pcis
    while True:
        await RisingEdge(card.clk)
        if pcis.beats__valid.value and pcis.beats__ready.value:
            beats.append(int(pcis.beats__payload.value))


def sound_beat(seq: int, random: Random) -> int:
    """A heartbeat with noise in all fields nobody reads."""
    beat = np.zeros(1, CARD_BEAT)
    beat["kind"], beat["seq"], beat["check"] = BeatKind.HEARTBEAT, seq, ~np.uint32(seq)
    beat["words"] = [random.getrandbits(32) for _ in range(13)]
    return int.from_bytes(beat.tobytes(), "little")


def pieces(random: Random, count: int) -> list[int]:
    """A partition of the 64 bytes into ``count`` sets, as strobes."""
    strobes = [0] * count
    for byte in range(SLOT_BYTES):
        strobes[random.randrange(count)] |= 1 << byte
    return [strobe for strobe in strobes if strobe]


@cocotb.test()
@cocotb.parametrize(pressure=list(Pressure))
async def beats_in_pieces_come_out_whole_and_in_the_order_of_completion(dut: Any, pressure: Pressure) -> None:
    """Bytes of up to 32 beats under way at once, in any order; a piece may bring bytes that were there already."""
    card = await Card.started(dut, pressure)
    random, model, found, seq = random_of(f"pieces {pressure.name}"), ByteModel(), list[int](), 0
    cocotb.start_soon(assembled(card, found))
    for _ in range(4 if pressure is Pressure.HEAVY else 25):
        batch: list[tuple[int, Transfer]] = []
        slots = random.sample(range(PCIS_SLOTS), random.randint(1, PCIS_SLOTS))
        for slot in slots:
            beat = sound_beat(0, random)
            for strobe in pieces(random, random.choice([1, 2, 3, 8, 64])):
                noise = random.getrandbits(512)
                mask = sum(0xFF << 8 * byte for byte in range(SLOT_BYTES) if strobe >> byte & 1)
                batch.append((slot, Transfer(beat & mask | noise & ~mask, strobe)))
        random.shuffle(batch)
        for slot, transfer in batch:
            address = slot * SLOT_BYTES + random.randrange(1 << 40) * WINDOW
            card.stores.burst(address, [transfer], awid=random.getrandbits(ID_BITS))
            model.burst(address, [transfer], FULL_SIZE)
            seq += 1
    await card.stores.answered()
    await card.until(lambda: len(found) >= len(model.beats), "the last beat", 400)
    assert found == model.beats
    assert await card.read(Ocl.BEATS) == len(found)
    # Every one has the number 0: the first is taken, the rest are replays, and none is torn.
    assert await card.read(Ocl.FAULTS_REPLAY) == len(found) - 1
    assert await card.read(Ocl.FAULTS_TORN) == 0


@cocotb.test()
@cocotb.parametrize(pressure=[Pressure.IDLE, Pressure.RANDOM])
async def bursts_of_any_length_size_and_strobes_are_counted_byte_by_byte(dut: Any, pressure: Pressure) -> None:
    card = await Card.started(dut, pressure)
    random, model, found = random_of(f"bursts {pressure.name}"), ByteModel(), list[int]()
    cocotb.start_soon(assembled(card, found))
    for _ in range(400):
        size = random.choice([FULL_SIZE] * 4 + list(range(FULL_SIZE)))
        length = random.choice([1, 2, 3, 16, 32, 64])
        address = random.randrange(4096 - (length << size) + 1)
        transfers, at = [], address
        for _ in range(length):
            low = at % SLOT_BYTES
            high = (at % SLOT_BYTES >> size) + 1 << size
            lanes = (1 << high) - (1 << low)
            strobe = lanes & random.choice([ALL_BYTES, ALL_BYTES, random.getrandbits(64), 0])
            transfers.append(Transfer(random.getrandbits(512), strobe))
            at = ((at >> size) + 1) << size
        card.stores.burst(address, transfers, size, random.getrandbits(ID_BITS))
        model.burst(address, transfers, size)
    await card.stores.answered()
    await card.until(lambda: len(found) >= len(model.beats), "the last beat", 400)
    assert len(model.beats) > 500
    assert found == model.beats
    assert await card.read(Ocl.BEATS) == len(found)
    # Noise whose last word happens to be the complement of the first is not to be expected.
    assert await card.read(Ocl.FAULTS_TORN) == len(found)
    assert await card.read(Ocl.BEAT_FAULTS) == BeatFault.TORN


@cocotb.test()
async def many_stores_under_way_are_all_answered_in_order(dut: Any) -> None:
    card = await Card.started(dut)
    apply(Pressure.HEAVY, dut.clk, [card.stores.answers], card.random)
    for _ in range(300):
        card.heartbeat()
    await card.stores.answered()
    assert card.stores.most_waiting == 300
    await card.settled()
    assert await card.read(Ocl.BEATS) == 300
    assert await card.read(Ocl.BEAT_FAULTS) == 0


@cocotb.test()
async def addresses_wait_for_their_data_up_to_their_number(dut: Any) -> None:
    card = await Card.started(dut)
    card.stores.data.pause = True
    for _ in range(OUTSTANDING + 8):
        card.heartbeat()
    await card.cycles(200)
    # One is on the bus and not taken, and one is with the slots, ready for its data.
    assert OUTSTANDING <= OUTSTANDING + 8 - card.stores.addresses.count() - 1 <= OUTSTANDING + 1
    assert not int(dut.pcis_awready.value)
    card.stores.data.pause = False
    await card.settled()
    assert await card.read(Ocl.BEATS) == OUTSTANDING + 8


@cocotb.test()
async def data_before_its_address_waits(dut: Any) -> None:
    card = await Card.started(dut)
    card.stores.addresses.pause = True
    for _ in range(8):
        card.heartbeat()
    await card.cycles(100)
    assert not int(dut.pcis_wready.value)
    assert await card.read(Ocl.BEATS) == 0
    card.stores.addresses.pause = False
    await card.settled()
    assert await card.read(Ocl.BEATS) == 8


@cocotb.test()
async def slot_hit_again_before_its_beat_is_read_loses_nothing(dut: Any) -> None:
    """All beats into one slot, while the gate takes 24 cycles for each."""
    card = await Card.started(dut)
    for _ in range(100):
        card._slot = 5
        card.reference()
    await card.settled()
    assert await card.read(Ocl.BEATS) == 100
    assert await card.read(Ocl.BEAT_FAULTS) == 0


@cocotb.test()
async def reads_are_answered_with_zeros_and_an_error(dut: Any) -> None:
    card = await Card.started(dut)
    master = AxiMasterRead(AxiReadBus.from_prefix(dut, "pcis"), dut.clk, dut.rst)
    random = random_of("reads")
    for length in (1, 4, 64, 100, 4096):
        address = random.randrange(1 << 40) * 4096
        answer = await master.read(address, length)
        assert bytes(answer.data) == bytes(length)
        assert int(answer.resp) == SLVERR
    apply(Pressure.RANDOM, dut.clk, [master.ar_channel, master.r_channel], random)
    operations = [master.init_read(64 * i, 256) for i in range(40)]
    for operation in operations:
        await operation.wait()
        assert bytes(operation.data.data) == bytes(256)
    card.order(1, 1)
    assert (await card.verdict())["verdict"] == Verdict.REJECT


class MasterCard(Card):
    """A card whose stores are left to cocotbext-axi's own master."""

    def _masters(self, dut: Any) -> None:
        super()._masters(dut)
        self.master = AxiMaster(AxiBus.from_prefix(dut, "pcis"), dut.clk, dut.rst)

    def _write_master(self, dut: Any) -> Any:
        return None


@cocotb.test()
async def beats_written_as_memory_arrive(dut: Any) -> None:
    """A host that copies many beats at once, in chunks that end anywhere."""
    card = MasterCard(dut)
    await card.reset()
    await card.start()
    random = random_of("memory")
    for _ in range(20):
        count, at = random.randint(1, PCIS_SLOTS), random.randrange(PCIS_SLOTS)
        beats = b""
        for _ in range(count):
            beats += card.beat(HEARTBEAT_BEAT, BeatKind.HEARTBEAT)
            card.next_seq += 1
        address = at * SLOT_BYTES
        while beats:
            size = random.choice([len(beats), random.randint(1, 200)])
            await card.master.write(address, beats[:size], awid=random.getrandbits(4))
            address, beats = address + len(beats[:size]), beats[size:]
    await card.cycles(600)
    assert await card.read(Ocl.BEATS) == card.next_seq
    assert await card.read(Ocl.BEAT_FAULTS) == 0


@cocotb.test()
async def half_a_beat_does_no_harm(dut: Any) -> None:
    """A store that never ends leaves its slot open; whole stores to it and to others go on."""
    card = await Card.started(dut)
    card.stores.burst(0, [Transfer(0, 0xFFFF)])
    for _ in range(3 * PCIS_SLOTS):
        card.heartbeat()
    card.vector(np.ones(13, np.float32))
    decision = (await card.take(Kind.DECISION))[0]
    assert (decision["symbol"], decision["seq"]) == (SYMBOL, 3 * PCIS_SLOTS)
    assert await card.read(Ocl.BEAT_FAULTS) == 0


@cocotb.test()
async def bytes_from_before_a_reset_are_forgotten(dut: Any) -> None:
    card = await Card.started(dut)
    old, new = sound_beat(0, random_of("old")), sound_beat(0, random_of("new"))
    middle, ends = 0xFFFF << 24, ALL_BYTES & ~(0xFFFF << 24)
    card.stores.burst(0, [Transfer(old, middle)])
    await card.stores.answered()
    await card.reset()
    await card.start()
    found: list[int] = []
    cocotb.start_soon(assembled(card, found))
    card.stores.burst(0, [Transfer(new, ends)])
    await card.cycles(50)
    assert not found, "a beat of bytes from before and after the reset"
    card.stores.burst(0, [Transfer(new, middle)])
    await card.cycles(50)
    assert found == [new]
