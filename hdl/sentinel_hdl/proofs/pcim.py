"""Proofs of PCIM: it keeps the rules of AXI4, loses no count of what it wrote, and lets no permit out once closed."""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cat, Cover, Elaboratable, Module, Signal

from sentinel.wire import PERMIT, Kind, Verdict
from sentinel_hdl.beats import layout
from sentinel_hdl.bus.pcim import OUTSTANDING, Pcim
from sentinel_hdl.tools.proof import Proof

TIMEOUT = 6
COUNT_BITS = 8


class PcimSpecification(Elaboratable):
    """PCIM between streams that keep their payload while it is not taken and a bus that answers only what was written."""

    def __init__(self, reach: bool = False) -> None:
        self.reach = reach
        self.dut = dut = Pcim(id_bits=2, timeout=TIMEOUT)
        streams = dut.permits, dut.decisions, dut.statuses
        self.ports = [
            *(signal for one in streams for signal in (one.payload, one.valid)),
            *(dut.closed, dut.base, dut.slots, dut.enable),
            *(dut.bus.awready, dut.bus.wready, dut.bus.bid, dut.bus.bresp, dut.bus.bvalid),
        ]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self.dut
        bus = dut.bus
        started = Signal()
        m.d.sync += started.eq(1)
        # What the host configures stands still while the ring is enabled; only permits come on their stream.
        m.d.comb += [
            Assume(layout(PERMIT)(dut.permits.payload).kind == int(Kind.PERMIT)),
            Assume(dut.decisions.payload[192:200] == int(Kind.DECISION)),
            Assume(dut.statuses.payload[192:200] == int(Kind.CARD_STATUS)),
        ]
        for one in (dut.permits, dut.decisions, dut.statuses):
            held, payload = Signal(), Signal.like(one.payload)
            m.d.sync += [held.eq(one.valid & ~one.ready), payload.eq(one.payload)]
            with m.If(held):
                m.d.comb += [Assume(one.valid), Assume(one.payload == payload)]

        owed = Signal(range(OUTSTANDING + 1))
        m.d.comb += Assume(~bus.bvalid | (owed != 0))
        # A write is answered after both its address and its data have been taken.
        addresses, data = Signal(COUNT_BITS), Signal(COUNT_BITS)
        answers = Signal(COUNT_BITS)
        address_taken, data_taken = bus.awvalid & bus.awready, bus.wvalid & bus.wready
        m.d.sync += [
            addresses.eq(addresses + address_taken),
            data.eq(data + data_taken),
            answers.eq(answers + bus.bvalid),
        ]
        m.d.comb += Assume(~bus.bvalid | ((addresses != answers) & (data != answers)))
        issued = Signal()
        m.d.comb += issued.eq(dut.issuing)
        m.d.sync += owed.eq(owed + issued - bus.bvalid)

        record = layout(PERMIT)(bus.wdata)
        fresh, closed_before = Signal(), Signal()
        m.d.sync += [fresh.eq(issued), closed_before.eq(dut.closed)]
        permit = (record.kind == int(Kind.PERMIT)) & (record.verdict == int(Verdict.PERMIT))
        if self.reach:
            m.d.comb += [
                Cover(fresh & permit & (record.slot == 3)),
                Cover(fresh & (record.kind == int(Kind.PERMIT)) & ~permit & closed_before & (record.flags != 0)),
                Cover(bus.awvalid & ~bus.wvalid & (owed == 2)),
                Cover(dut.fault & dut.enable & (dut.slots != 0) & (dut.base != 0) & started & (answers == 1)),
            ]
            return m
        self._stable(m, "aw", bus.awvalid, bus.awready, Cat(bus.awaddr, bus.awlen, bus.awsize, bus.awid))
        self._stable(m, "w", bus.wvalid, bus.wready, Cat(bus.wdata, bus.wstrb, bus.wlast))
        m.d.comb += [
            # Single beats of 64 aligned bytes, so never across 4 KiB; every answer is taken at once.
            Assert((bus.awlen == 0) & (bus.awsize == 6) & bus.wlast & bus.wstrb.all() & bus.bready),
            Assert(dut.outstanding == owed),
            Assert(owed[:COUNT_BITS] == (addresses + bus.awvalid - answers)[: len(owed)]),
            Assert(owed[:COUNT_BITS] == (data + bus.wvalid - answers)[: len(owed)]),
        ]
        # Nothing leaves as a permit if the switch was closed in the cycle before it came onto the bus.
        with m.If(fresh & closed_before):
            m.d.comb += Assert(~permit)
        return m

    @staticmethod
    def _stable(m: Module, name: str, valid: Signal, ready: Signal, payload: Signal) -> None:
        """A3.2.1: once valid, valid and unchanged until the handshake."""
        waiting, before = Signal(name=f"{name}_waiting"), Signal(len(payload), name=f"{name}_before")
        m.d.sync += [waiting.eq(valid & ~ready), before.eq(payload)]
        with m.If(waiting):
            m.d.comb += [Assert(valid), Assert(payload == before)]


def _pcim(reach: bool = False) -> tuple[Elaboratable, list[Signal]]:
    specification = PcimSpecification(reach)
    return specification, specification.ports


CORE = "pcim"
PROOFS = [
    Proof("pcim_prove", CORE, "P1 P9", _pcim, "prove", 2),
    Proof("pcim_cover", CORE, "P1 P9", lambda: _pcim(True), "cover", 16),
]
