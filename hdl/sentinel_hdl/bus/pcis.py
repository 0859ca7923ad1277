"""PCIS: 64-byte beats from the host, assembled from whatever pieces the bus brings them in.

The host stores a beat into one of 32 slots of 64 bytes. A processor's write-combining buffer may split the store, in any
order and even over several bursts, so a slot collects bytes until it has all 64, hands the beat on, and is empty again.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from sentinel_hdl.bus import axi4
from sentinel_hdl.bus.axi_lite import Response

BEAT_SHIFT = 6  # log2 of the bytes of a beat
OUTSTANDING = 32
WORDS, WORD_BYTES = 8, 8


class Pcis(wiring.Component):
    """AXI4 slave for writes of any length, size and strobes; reads are answered with SLVERR and zeros.

    Attributes
    ----------
    bus : In(axi4.Signature())
        Bursts are taken as INCR. Up to ``outstanding`` write addresses wait for their data.
    beats : Out(stream of 512 bits)
        Complete beats in the order they were completed. Data waits for a reader only where it hits a slot whose last
        beat has not been read, and for ``slots`` cycles after reset, until no slot has a byte.
    """

    def __init__(self, slots: int = 32, outstanding: int = OUTSTANDING, id_bits: int = axi4.ID_BITS) -> None:
        self.slots, self.outstanding, self.id_bits = slots, outstanding, id_bits
        beats = stream.Signature(axi4.DATA_BITS)
        super().__init__({"bus": In(axi4.Signature(id_bits)), "beats": Out(beats), "parity": Out(WORDS)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._writes(m)
        self._reads(m)
        return m

    def _writes(self, m: Module) -> None:
        bus = self.bus
        slot_bits = ceil_log2(self.slots)
        address_bits = slot_bits + BEAT_SHIFT
        m.submodules.addresses = addresses = SyncFIFO(width=self.id_bits + 3 + address_bits, depth=self.outstanding)
        m.submodules.answers = answers = SyncFIFO(width=self.id_bits, depth=self.outstanding)
        m.submodules.complete = complete = SyncFIFO(width=slot_bits, depth=self.slots)
        m.d.comb += [
            addresses.w_data[: self.id_bits].eq(bus.awid),
            addresses.w_data[self.id_bits : self.id_bits + 3].eq(bus.awsize),
            addresses.w_data[self.id_bits + 3 :].eq(bus.awaddr),
            addresses.w_en.eq(bus.awvalid),
            bus.awready.eq(addresses.w_rdy),
            bus.bid.eq(answers.r_data),
            bus.bresp.eq(Response.OKAY),
            bus.bvalid.eq(answers.r_rdy),
            answers.r_en.eq(bus.bready),
        ]
        # The burst whose data is now on the bus: its own address, then counted on. The next one is fetched with its last data.
        burst, address = Signal(), Signal(address_bits)
        identity, size, slot = Signal(self.id_bits), Signal(3), Signal(slot_bits)
        take, waiting = Signal(), Signal(self.slots)
        # The slot that got its last byte in the cycle before.
        filled, filled_slot = Signal(), Signal(slot_bits)
        # Bytes of a beat that a reset cut off must not complete another: memories keep what they hold.
        clearing = Signal(init=1)
        m.d.comb += [
            slot.eq(address[BEAT_SHIFT:]),
            bus.wready.eq(burst & answers.w_rdy & ~waiting.bit_select(slot, 1) & ~(filled & (slot == filled_slot))),
            take.eq(bus.wvalid & bus.wready),
            addresses.r_en.eq((~burst & ~clearing) | (take & bus.wlast)),
            answers.w_en.eq(take & bus.wlast),
            answers.w_data.eq(identity),
        ]
        with m.If(clearing):
            m.d.sync += [address.eq(address + (1 << BEAT_SHIFT)), clearing.eq(slot != self.slots - 1)]
        with m.Elif(addresses.r_en):
            m.d.sync += [
                burst.eq(addresses.r_rdy),
                identity.eq(addresses.r_data[: self.id_bits]),
                size.eq(addresses.r_data[self.id_bits : self.id_bits + 3]),
                address.eq(addresses.r_data[self.id_bits + 3 :]),
            ]
        with m.Elif(take):
            # The next address is aligned to the size of a transfer, as the protocol has it.
            m.d.sync += address.eq((((address >> size) + 1) << size)[:address_bits])

        memory = Memory(shape=axi4.DATA_BITS, depth=self.slots, init=[])
        m.submodules.memory = memory
        write, read = memory.write_port(granularity=8), memory.read_port(domain="comb")
        parities = Memory(shape=axi4.STROBE_BITS, depth=self.slots, init=[])
        m.submodules.parities = parities
        parity_write, parity_read = parities.write_port(granularity=1), parities.read_port(domain="comb")
        m.d.comb += [
            parity_write.addr.eq(write.addr),
            parity_write.data.eq(Cat(bus.wdata.word_select(i, 8).xor() for i in range(axi4.STROBE_BITS))),
            parity_write.en.eq(write.en),
            parity_read.addr.eq(read.addr),
        ]
        had = Memory(shape=axi4.STROBE_BITS, depth=self.slots, init=[])
        m.submodules.had = had
        had_write, had_read = had.write_port(), had.read_port(domain="comb")
        has, whole = Signal(axi4.STROBE_BITS), Signal()
        m.d.comb += [
            write.addr.eq(slot),
            write.data.eq(bus.wdata),
            write.en.eq(Mux(take, bus.wstrb, 0)),
            had_read.addr.eq(slot),
            has.eq(had_read.data | bus.wstrb),
            whole.eq(has.all()),
            had_write.addr.eq(slot),
            had_write.data.eq(Mux(whole | clearing, 0, has)),
            had_write.en.eq(take | clearing),
            complete.w_data.eq(filled_slot),
            complete.w_en.eq(filled),
        ]
        m.d.sync += [filled.eq(take & whole), filled_slot.eq(slot)]
        give = Signal()
        m.d.comb += [
            read.addr.eq(complete.r_data),
            give.eq(complete.r_rdy & (~self.beats.valid | self.beats.ready)),
            complete.r_en.eq(give),
        ]
        with m.If(give):
            m.d.sync += waiting.bit_select(complete.r_data, 1).eq(0)
        with m.If(filled):
            m.d.sync += waiting.bit_select(filled_slot, 1).eq(1)
        with m.If(self.beats.ready):
            m.d.sync += self.beats.valid.eq(0)
        with m.If(give):
            m.d.sync += [self.beats.valid.eq(1), self.beats.payload.eq(read.data)]
            m.d.sync += self.parity.eq(Cat(parity_read.data.word_select(i, WORD_BYTES).xor() for i in range(WORDS)))

    def _reads(self, m: Module) -> None:
        bus = self.bus
        left = Signal(8)
        m.d.comb += [
            bus.arready.eq(~bus.rvalid),
            bus.rdata.eq(Const(0, axi4.DATA_BITS)),
            bus.rresp.eq(Response.SLVERR),
            bus.rlast.eq(left == 0),
        ]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rvalid.eq(1), bus.rid.eq(bus.arid), left.eq(bus.arlen)]
        with m.Elif(bus.rvalid & bus.rready):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 0):
                m.d.sync += bus.rvalid.eq(0)
