"""An AXI4-Lite register file built from the register map.

Member names are those of the map in lower case: ``<register>_<field>``, and ``<register>_we`` for the strobe of
a write. Nothing else in the cores knows an address.
"""

from __future__ import annotations

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Elaboratable, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out

from .bus import axi_lite
from .bus.axi_lite import Response
from .mux import select_into
from .register_map import Field, Register, RegisterMap, Source

WORD_SHIFT = 2  # address bits within a word, which choose no register
BLOCK_BITS = 4  # a first stage of the read multiplexer chooses among 16 words
FULL_STROBE = (1 << axi_lite.STROBE_BITS) - 1


def select(choices: Sequence[Value], index: Value) -> Value:
    """``choices[index]`` as a tree of two-way multiplexers, which maps onto MUXF7 and MUXF8."""
    if len(choices) == 1:
        return choices[0]
    half = 1 << (len(choices) - 1).bit_length() - 1
    low, high = select(choices[:half], index), select(choices[half:], index)
    return Mux(index[half.bit_length() - 1], high, low)


class RegisterFile(wiring.Component):
    """Registers of one map behind an AXI4-Lite slave that answers every access.

    Parameters
    ----------
    register_map
        The registers.

    Attributes
    ----------
    bus : In(axi_lite.Signature())
        One write and one read at a time; address and data of a write may come in either order.
    tripped : In(1), only where the map locks registers while armed
        0 refuses writes to registers that are written only while tripped.
    <register>_<field> : Out
        Last value written to a field of software.
    <register>_we : Out(1)
        The register has been written. Up for the one cycle after the last handshake of the write (of address or
        data), together with the new value. Refused writes give none; a kill register's write is never refused.
    <register>_<field> : In
        Value of a field of hardware; of a sticky field, the bits to set.

    A write is refused (SLVERR, no effect) where the address has no register, the register is read only, not all
    four bytes are written, or the register is locked. Bits without a field are ignored. Both count in the field
    that the map marks for it. A read of an address without a register answers 0 with SLVERR.
    """

    def __init__(self, register_map: RegisterMap) -> None:
        self.register_map = register_map
        self.locks = any(r.write_while_tripped for r in register_map)
        members: dict[str, Member] = {"bus": In(axi_lite.Signature())}
        if self.locks:
            members["tripped"] = In(1)
        for r in register_map:
            if r.writable:
                members[f"{r.member}_we"] = Out(1)
            for f in r.fields:
                name = f"{r.member}_{f.name}"
                if name in members:
                    raise ValueError(f"two members of the register file are called {name}")
                if f.source is Source.SOFTWARE:
                    members[name] = Out(f.width, init=f.reset)
                elif f.source in (Source.HARDWARE, Source.STICKY):
                    members[name] = In(f.width)
        # What a proof by induction must see of the inside: a write half accepted, and storage without a port.
        self.held_word = Signal(axi_lite.ADDRESS_BITS - WORD_SHIFT)
        self.held_data = Signal(axi_lite.DATA_BITS)
        self.held_strobe = Signal(axi_lite.STROBE_BITS)
        self.hidden = {
            f"{r.member}_{f.name}": Signal(f.width, init=f.reset, name=f"stored_{r.member}_{f.name}")
            for r in register_map
            for f in r.fields
            if f.source in (Source.STICKY, Source.BAD_WRITES)
        }
        super().__init__(members)

    def elaborate(self, platform: object) -> Elaboratable:
        """One write machine, one read machine, the storage."""
        m = Module()
        readable: dict[str, Value] = {}
        bad_write = self._write(m, readable)
        for r in self.register_map:
            for f in r.fields:
                name = f"{r.member}_{f.name}"
                if f.source is Source.CONSTANT:
                    readable[name] = Const(f.reset, f.width)
                elif f.source is Source.HARDWARE:
                    readable[name] = getattr(self, name)
                elif f.source is Source.BAD_WRITES:
                    count = self.hidden[name]
                    with m.If(bad_write & (count != (1 << f.width) - 1)):
                        m.d.sync += count.eq(count + 1)
                    readable[name] = count
        self._read(m, readable)
        return m

    def _write(self, m: Module, readable: dict[str, Value]) -> Value:
        """Accepts writes and stores them; the answer is derived from the strobes that the write gave."""
        bus = self.bus
        aw_held = Signal()
        w_held = Signal()
        held_word, held_data, held_strobe = self.held_word, self.held_data, self.held_strobe
        word = Signal.like(held_word, name="word")
        data = Signal.like(held_data, name="data")
        strobe = Signal.like(held_strobe, name="strobe")
        whole = Signal()
        fire = Signal()
        done = Signal()
        answered = Signal()
        m.d.comb += [
            bus.awready.eq(~aw_held),
            bus.wready.eq(~w_held),
            word.eq(Mux(aw_held, held_word, bus.awaddr[WORD_SHIFT:])),
            data.eq(Mux(w_held, held_data, bus.wdata)),
            strobe.eq(Mux(w_held, held_strobe, bus.wstrb)),
            fire.eq((aw_held | bus.awvalid) & (w_held | bus.wvalid) & ~done & ~answered),
            whole.eq(strobe == FULL_STROBE),
        ]
        # Both stay held until the response is taken, so that one write is under way at a time.
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [aw_held.eq(1), held_word.eq(bus.awaddr[WORD_SHIFT:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [w_held.eq(1), held_data.eq(bus.wdata), held_strobe.eq(bus.wstrb)]
        m.d.sync += done.eq(fire)

        strobes, ignored = [], []
        for r in self.register_map:
            if not r.writable:
                continue
            accept = Signal(name=f"{r.member}_accept")
            allowed = whole & self.tripped if r.write_while_tripped else whole
            m.d.comb += accept.eq(fire & (word == r.address >> WORD_SHIFT) & (1 if r.kill_on_write else allowed))
            strobe_out = getattr(self, f"{r.member}_we")
            m.d.sync += strobe_out.eq(accept)
            strobes.append(strobe_out)
            if reserved := ~r.write_mask & (1 << axi_lite.DATA_BITS) - 1:
                ignored.append(strobe_out & (held_data & reserved).any())
            for f in r.fields:
                self._store(m, r, f, accept, data, readable)

        accepted = Cat(strobes).any()
        bad_write = Signal()
        m.d.comb += bus.bvalid.eq(answered)
        m.d.sync += bad_write.eq(done & (~accepted | Cat(ignored).any()))
        with m.If(done):
            m.d.sync += [answered.eq(1), bus.bresp.eq(Mux(accepted, Response.OKAY, Response.SLVERR))]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += [answered.eq(0), aw_held.eq(0), w_held.eq(0)]
        return bad_write

    def _store(self, m: Module, r: Register, f: Field, accept: Value, data: Value, readable: dict[str, Value]) -> None:
        name, written = f"{r.member}_{f.name}", data[f.low : f.high + 1]
        if f.source is Source.SOFTWARE:
            stored = getattr(self, name)
            with m.If(accept):
                m.d.sync += stored.eq(written)
            if f.pulse:
                with m.Else():
                    m.d.sync += stored.eq(0)
        elif f.source is Source.STICKY:
            stored = self.hidden[name]
            m.d.sync += stored.eq((stored & ~Mux(accept, written, 0)) | getattr(self, name))
        else:
            return
        if f.readable:
            readable[name] = stored

    def _word_of(self, r: Register, readable: dict[str, Value]) -> Value:
        parts: list[Value] = []
        filled = 0
        for f in sorted(r.fields, key=lambda f: f.low):
            parts += [Const(0, f.low - filled), readable.get(f"{r.member}_{f.name}", Const(0, f.width))]
            filled = f.high + 1
        return Cat(*parts, Const(0, axi_lite.DATA_BITS - filled))

    def _read(self, m: Module, readable: dict[str, Value]) -> None:
        """Answers a read three cycles after its address: hold, choose within each block of 16 words, choose a block."""
        bus = self.bus
        words = {r.address >> WORD_SHIFT: self._word_of(r, readable) for r in self.register_map}
        busy = Signal()
        held = Signal()
        looked_up = Signal()
        answered = Signal()
        word = Signal(axi_lite.ADDRESS_BITS - WORD_SHIFT)
        m.d.comb += [bus.arready.eq(~busy), bus.rvalid.eq(answered)]
        m.d.sync += [held.eq(0), looked_up.eq(held)]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [word.eq(bus.araddr[WORD_SHIFT:]), held.eq(1), busy.eq(1)]

        blocks = max(words) // (1 << BLOCK_BITS) + 1
        offset, block = word[:BLOCK_BITS], word[BLOCK_BITS:]
        chosen: list[Value] = []
        mapped: list[Value] = []
        zero = Const(0, axi_lite.DATA_BITS)
        for number in range(blocks):
            inside = [words.get(number << BLOCK_BITS | i) for i in range(1 << BLOCK_BITS)]
            value, known = Signal(axi_lite.DATA_BITS, name=f"block_{number}"), Signal(name=f"block_{number}_mapped")
            # Chosen only when asked: a simulator then spends nothing on an idle bus.
            with m.If(held):
                select_into(m, value, [zero if w is None else w for w in inside], offset)
                used = select([Const(w is not None, 1) for w in inside], offset)
                m.d.sync += known.eq(used & (block == number))
            chosen.append(value)
            mapped.append(known)
        with m.If(looked_up):
            hit = Cat(mapped).any()
            data = select(chosen, block[: max(1, (blocks - 1).bit_length())])
            m.d.sync += [
                answered.eq(1),
                bus.rdata.eq(Mux(hit, data, 0)),
                bus.rresp.eq(Mux(hit, Response.OKAY, Response.SLVERR)),
            ]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += [answered.eq(0), busy.eq(0)]
