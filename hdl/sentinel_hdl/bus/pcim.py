"""PCIM: records to the host's ring, each a single write of 64 bytes.

Record k (counted from 1) goes to slot (k - 1) modulo the ring's slots. Every record carries k and a CRC-32 in its last two
words, so a host that polls its own memory knows a whole new record from an old or half written one.
"""

from __future__ import annotations

from functools import reduce
from operator import xor

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from sentinel.wire import PERMIT, Control, Kind, PermitFlag, Verdict
from sentinel_hdl.beats import RECORD_BITS, SLOT_OFFSET
from sentinel_hdl.bus import axi4
from sentinel_hdl.bus.axi_lite import Response
from sentinel_hdl.crc32 import LATENCY, MESSAGE_BYTES, Crc32, parity_sets

#: Cycles after which the bus counts as stuck: half of the shell's 8 us, after which it loses the write itself.
TIMEOUT = 1000
OUTSTANDING = 63


def _offset(field: str) -> int:
    assert PERMIT.fields is not None
    return 8 * int(PERMIT.fields[field][1])


#: What turns a permit into a reject of control KILLED: bits to invert, and what that does to its CRC-32.
_STOP_BITS = (
    (int(Verdict.PERMIT) ^ int(Verdict.REJECT)) << _offset("verdict")
    | int(Control.KILLED) << _offset("control")
    | int(PermitFlag.COUNTED) << _offset("flags")
)
_STOP_CRC = reduce(
    xor,
    (1 << bit for bit, positions in enumerate(parity_sets()[1]) for position in positions if _STOP_BITS >> position & 1),
)


_PARITY_BITS = 64


def _parity(record: Value) -> Value:
    """Of each word of a record before its number."""
    return Cat(record[start : start + _PARITY_BITS].xor() for start in range(0, SLOT_OFFSET, _PARITY_BITS))


class Pcim(wiring.Component):
    """Permits go first, then decisions, then status records.

    A permit on its way while the switch closes leaves as a reject (control KILLED, flag COUNTED: the gate has counted its
    exposure): what is not yet on the bus when ``closed`` rises never lets an order out.

    Attributes
    ----------
    permits, decisions, statuses : In(stream of 512 bits); records without their last two words.
    closed : In; the kill switch lets nothing pass.
    base : In(64), slots : In(17), a power of two, enable : In. Records are numbered from 1 each time ``enable`` rises.
    bus : Out(axi4.WriteSignature())
    fault : Out, level: disabled, no ring, or the bus stuck or in error (the last two until ``enable`` falls). Then
        records are dropped and the streams run on, so that nothing before them can stall.
    writes, stalls, errors, dropped : Out, pulses to count. upset : Out, pulse: a bit flipped before the CRC was made.
    """

    def __init__(self, id_bits: int = axi4.ID_BITS, timeout: int = TIMEOUT) -> None:
        self.timeout = timeout
        # Writes without an answer, and one being put on the bus: seen by proofs.
        self.outstanding, self.issuing = Signal(range(OUTSTANDING + 1)), Signal()
        record_stream = stream.Signature(RECORD_BITS)
        super().__init__(
            {
                "permits": In(record_stream),
                "decisions": In(record_stream),
                "statuses": In(record_stream),
                "closed": In(1),
                "base": In(64),
                "slots": In(17),
                "enable": In(1),
                "bus": Out(axi4.WriteSignature(id_bits)),
                "fault": Out(1, init=1),
                "writes": Out(1),
                "stalls": Out(1),
                "errors": Out(1),
                "dropped": Out(1),
                "upset": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus
        broken = Signal()
        usable = Signal()
        advance = Signal()
        m.d.comb += usable.eq(self.enable & (self.slots != 0) & (self.base != 0) & ~broken)
        m.d.sync += self.fault.eq(~usable)

        incoming, arrives = Signal(RECORD_BITS), Signal()
        decision = ~self.permits.valid & self.decisions.valid
        m.d.comb += [
            incoming.eq(
                Mux(self.permits.valid, self.permits.payload, Mux(decision, self.decisions.payload, self.statuses.payload))
            ),
            arrives.eq(self.permits.valid | self.decisions.valid | self.statuses.valid),
            self.permits.ready.eq(advance | ~usable),
            self.decisions.ready.eq((advance | ~usable) & ~self.permits.valid),
            self.statuses.ready.eq((advance | ~usable) & ~self.permits.valid & ~self.decisions.valid),
        ]
        m.d.sync += self.dropped.eq(arrives & ~usable)
        valid, record, address, torn = self._number(m, incoming, arrives & usable, advance)

        # The record keeps pace with its CRC; a bit that flips from here on is one the CRC tells of.
        m.submodules.crc = crc = Crc32()
        m.d.comb += crc.message.eq(record[: 8 * MESSAGE_BYTES])
        for stage in range(LATENCY):
            next_valid, next_torn = Signal(name=f"valid_{stage}"), Signal.like(torn, name=f"torn_{stage}")
            next_record = Signal(8 * MESSAGE_BYTES, name=f"record_{stage}", reset_less=True)
            next_address = Signal(64, name=f"address_{stage}", reset_less=True)
            m.d.comb += crc.enable[stage].eq(advance & valid)
            with m.If(advance):
                m.d.sync += [next_valid.eq(valid), next_torn.eq(torn)]
                with m.If(valid):
                    m.d.sync += [next_record.eq(record), next_address.eq(address)]
            valid, record, address, torn = next_valid, next_record, next_address, next_torn
            if stage == 0:
                torn = torn.any()
                m.d.sync += self.upset.eq(valid & torn)

        stop = Signal()
        permit = (record[_offset("kind") :][:8] == int(Kind.PERMIT)) & (record[_offset("verdict") :][:8] == int(Verdict.PERMIT))
        m.d.comb += stop.eq(permit & (self.closed | torn))
        self._issue(
            m,
            valid,
            Cat(record ^ Mux(stop, Const(_STOP_BITS, 8 * MESSAGE_BYTES), 0), crc.crc ^ Mux(stop, _STOP_CRC, 0)),
            address,
            advance,
        )
        self._watch(m, broken)
        m.d.comb += [bus.awid.eq(0), bus.awlen.eq(0), bus.awsize.eq(axi4.FULL_SIZE), bus.wlast.eq(1), bus.bready.eq(1)]
        m.d.comb += bus.wstrb.eq(~Const(0, axi4.STROBE_BITS))
        return m

    def _number(self, m: Module, incoming: Signal, arrives: Signal, advance: Signal) -> tuple[Signal, Signal, Signal, Value]:
        """The record with its number, its place in the ring, and its words that are not as they came."""
        valid = Signal()
        record, address = Signal(RECORD_BITS, reset_less=True), Signal(64, reset_less=True)
        number = Signal(32, init=1)
        index = Signal(17)
        m.d.comb += index.eq((number - 1) & (self.slots - 1))
        with m.If(advance):
            m.d.sync += valid.eq(arrives)
            with m.If(arrives):
                m.d.sync += [
                    record.eq(Cat(incoming[:SLOT_OFFSET], number)),
                    address.eq(self.base + (index << 6)),
                    number.eq(Mux(number.all(), 1, number + 1)),
                ]
        with m.If(~self.enable):
            m.d.sync += number.eq(1)
        parity = Signal(SLOT_OFFSET // _PARITY_BITS, reset_less=True)
        with m.If(advance & arrives):
            m.d.sync += parity.eq(_parity(incoming))
        return valid, record, address, _parity(record) ^ parity

    def _issue(self, m: Module, valid: Signal, record: Signal, address: Signal, advance: Signal) -> None:
        bus = self.bus
        outstanding, take = self.outstanding, self.issuing
        busy, room = Signal(), Signal()
        m.d.comb += [
            busy.eq((bus.awvalid & ~bus.awready) | (bus.wvalid & ~bus.wready)),
            room.eq(outstanding != OUTSTANDING),
            advance.eq(~valid | (~busy & room)),
            take.eq(valid & advance),
        ]
        with m.If(bus.awready):
            m.d.sync += bus.awvalid.eq(0)
        with m.If(bus.wready):
            m.d.sync += bus.wvalid.eq(0)
        with m.If(take):
            m.d.sync += [bus.awvalid.eq(1), bus.wvalid.eq(1), bus.awaddr.eq(address), bus.wdata.eq(record)]
        answered = bus.bvalid & (outstanding != 0)
        m.d.sync += [
            outstanding.eq(outstanding + take - answered),
            self.writes.eq(take),
            self.stalls.eq(valid & ~advance),
            self.errors.eq(bus.bvalid & (bus.bresp != Response.OKAY)),
        ]

    def _watch(self, m: Module, broken: Signal) -> None:
        """The bus is stuck when it owes something and nothing has happened for ``timeout`` cycles."""
        bus = self.bus
        silent = Signal(range(self.timeout + 1))
        moved = (bus.awvalid & bus.awready) | (bus.wvalid & bus.wready) | bus.bvalid
        with m.If(moved | (self.outstanding == 0)):
            m.d.sync += silent.eq(0)
        with m.Elif(silent != self.timeout):
            m.d.sync += silent.eq(silent + 1)
        with m.If(~self.enable):
            m.d.sync += broken.eq(0)
        with m.Elif((silent == self.timeout) | (bus.bvalid & (bus.bresp != Response.OKAY))):
            m.d.sync += broken.eq(1)
