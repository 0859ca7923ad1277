"""Proofs of the register files: bus rules (P9), read-back (P10) and bounded response (P12).

The model is written from the map and the rules of docs/registers.md: it knows handshakes, not the register file.
"""

from __future__ import annotations

from amaranth.asserts import AnyConst
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Elaboratable, Module, Mux, Signal, Value

from sentinel_hdl.bus.axi_lite import Response
from sentinel_hdl.proofs.axi_lite_rules import AxiLiteSlaveRules
from sentinel_hdl.register_file import RegisterFile, select
from sentinel_hdl.register_map import Field, RegisterMap, Source, load
from sentinel_hdl.tools.proof import Build, Mode, Mutation, Proof

WORD = 32
#: One register of each kind the map has, in near and far blocks of the address space.
KINDS = (
    "MAGIC", "MAP_HASH", "STATUS", "CONTROL", "SCRATCH", "BAD_WRITES", "KILL", "ARM_KEY", "TRIP_CAUSES",
    "LIMIT_COLLAR_BPS", "LIMITS_VERSION", "LIMITS_COMMIT", "MODEL_FLAGS", "PCIM_BASE_LO", "BEAT_FAULTS", "LATENCY_BIN_15",
)  # fmt: skip


def reduced() -> RegisterMap:
    """The OCL map with one register of each kind: small enough to prove in seconds and to mutate."""
    ocl = load()["sentinel_ocl"]
    return RegisterMap("reduced", ocl.title, tuple(r for r in ocl if r.name in KINDS))


class _Writes:
    """What the bus shows of the write under way, and what the map says of it."""

    def __init__(self, m: Module, dut: RegisterFile) -> None:
        bus = dut.bus
        self.address_seen, self.data_seen, self.fired, self.answered = (
            Signal(name=n) for n in ("aw_seen", "w_seen", "fired", "answered")
        )
        word, data, strobe = Signal(WORD - 2, name="aw_word"), Signal(WORD, name="w_data"), Signal(4, name="w_strobe")
        takes_address, takes_data = bus.awvalid & bus.awready, bus.wvalid & bus.wready
        with m.If(takes_address):
            m.d.sync += [self.address_seen.eq(1), word.eq(bus.awaddr[2:])]
        with m.If(takes_data):
            m.d.sync += [self.data_seen.eq(1), data.eq(bus.wdata), strobe.eq(bus.wstrb)]
        #: The cycle of the last handshake of the write, and the write.
        self.fires = Signal(name="fires")
        m.d.comb += self.fires.eq(
            (self.address_seen | takes_address) & (self.data_seen | takes_data) & ~self.fired & ~self.answered
        )
        self.word = Mux(self.address_seen, word, bus.awaddr[2:])
        self.data = Mux(self.data_seen, data, bus.wdata)
        strobe_now = Mux(self.data_seen, strobe, bus.wstrb)
        m.d.sync += self.fired.eq(self.fires)
        with m.If(self.fired):
            m.d.sync += self.answered.eq(1)
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += [self.address_seen.eq(0), self.data_seen.eq(0), self.answered.eq(0)]

        self.accepts: dict[str, Value] = {}
        ignored: list[Value] = []
        for r in dut.register_map:
            if not r.writable:
                continue
            allowed = Const(1) if r.kill_on_write else strobe_now.all()
            if r.write_while_tripped:
                allowed &= dut.tripped
            accept = Signal(name=f"accepts_{r.member}")
            m.d.comb += accept.eq(self.fires & (self.word == r.address // 4) & allowed)
            self.accepts[r.name] = accept
            ignored.append(accept & (self.data & ~r.write_mask & (1 << WORD) - 1).any())
        self.accepted = Cat(self.accepts.values()).any()
        self.bad = self.fires & (~self.accepted | Cat(ignored).any())
        # Invariants for induction: what the register file holds is what the bus showed.
        with m.If(self.address_seen):
            m.d.comb += Assert(dut.held_word == word)
        with m.If(self.data_seen):
            m.d.comb += [Assert(dut.held_data == data), Assert(dut.held_strobe == strobe)]


class RegisterFileSpecification(Elaboratable):
    """A register file under any traffic beside a model of its map.

    P12: a request is taken at once unless one is under way, a write is answered in the second cycle after its last
    handshake, a read in the third. P10: a chosen register (any) reads and shows what was last accepted, its
    strobe comes with each accepted write and never otherwise, and every response is the one the map says.
    ``cover_each`` covers every register's read and strobe; the simulation does so for the whole map.
    """

    def __init__(self, register_map: RegisterMap, cover_each: bool = True) -> None:
        self.dut = RegisterFile(register_map)
        self.cover_each = cover_each
        bus = self.dut.bus
        self.rules = AxiLiteSlaveRules(bus)
        self.ports: list[Signal] = [bus.awaddr, bus.awvalid, bus.wdata, bus.wstrb, bus.wvalid, bus.bready]
        self.ports += [bus.araddr, bus.arvalid, bus.rready]
        self.ports += [self.dut.tripped] if self.dut.locks else []
        for r in register_map:
            self.ports += [
                getattr(self.dut, f"{r.member}_{f.name}") for f in r.fields if f.source in (Source.HARDWARE, Source.STICKY)
            ]

    def elaborate(self, platform: object) -> Elaboratable:
        """The register file, the bus rules and the model side by side."""
        m = Module()
        m.submodules.dut = dut = self.dut
        m.submodules.rules = self.rules
        writes = _Writes(m, dut)
        self._answers_of_writes(m, writes)
        self._read_back(m, writes)
        return m

    def _answers_of_writes(self, m: Module, writes: _Writes) -> None:
        bus = self.dut.bus
        response = Signal(2)
        with m.If(writes.fires):
            m.d.sync += response.eq(Mux(writes.accepted, Response.OKAY, Response.SLVERR))
        m.d.comb += [
            Assert(bus.awready == ~writes.address_seen),
            Assert(bus.wready == ~writes.data_seen),
            Assert(bus.bvalid == writes.answered),
            Assert(~(writes.fired & writes.answered)),
            Assert(self.rules.open_requests["aw"] == writes.address_seen),
            Assert(self.rules.open_requests["w"] == writes.data_seen),
            Assert((writes.fired | writes.answered) == (writes.address_seen & writes.data_seen)),
        ]
        with m.If(bus.bvalid):
            m.d.comb += Assert(bus.bresp == response)
        m.d.comb += [Cover(bus.bvalid & (response == r)) for r in (Response.OKAY, Response.SLVERR)]

    def _read_back(self, m: Module, writes: _Writes) -> None:
        dut, bus = self.dut, self.dut.bus
        registers = dut.register_map.registers
        pick = Signal(range(len(registers)))
        m.d.comb += [pick.eq(AnyConst(len(pick))), Assume(pick < len(registers))]
        shown = [self._shown(m, f"{r.member}_", r.fields, writes, writes.accepts.get(r.name)) for r in registers]

        strobe_due = Signal()
        picked_accept = select([writes.accepts.get(r.name, Const(0)) for r in registers], pick)
        picked_strobe = select([getattr(dut, f"{r.member}_we") if r.writable else Const(0) for r in registers], pick)
        m.d.sync += strobe_due.eq(picked_accept)
        m.d.comb += Assert(picked_strobe == strobe_due)
        m.d.comb += Cover(strobe_due)
        if self.cover_each:
            m.d.comb += [Cover(getattr(dut, f"{r.member}_we")) for r in registers if r.writable]

        # The value a read answers with is the one of the cycle after its address.
        asked, looked_up, answered = (Signal(name=n) for n in ("asked", "looked_up", "read_answered"))
        word, data, known = Signal(WORD - 2, name="ar_word"), Signal(WORD, name="r_expected"), Signal(name="r_known")
        takes = bus.arvalid & bus.arready
        m.d.sync += [asked.eq(takes), looked_up.eq(asked)]
        with m.If(takes):
            m.d.sync += word.eq(bus.araddr[2:])
        with m.If(asked):
            m.d.sync += [data.eq(select(shown, pick)), known.eq(Cat(word == r.address // 4 for r in registers).any())]
        with m.If(looked_up):
            m.d.sync += answered.eq(1)
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += answered.eq(0)
        m.d.comb += [
            Assert(bus.rvalid == answered),
            Assert(bus.arready == ~(asked | looked_up | answered)),
            Assert(asked + looked_up + answered <= 1),
            Assert(self.rules.open_requests["ar"] == (asked | looked_up | answered)),
        ]
        is_picked = Signal()
        m.d.comb += is_picked.eq(word == select([Const(r.address // 4, WORD - 2) for r in registers], pick))
        with m.If(bus.rvalid):
            m.d.comb += Assert(bus.rresp == Mux(known, Response.OKAY, Response.SLVERR))
            with m.If(~known):
                m.d.comb += [Assert(bus.rdata == 0), Cover(1)]
            with m.If(is_picked):
                m.d.comb += [Assert(known), Assert(bus.rdata == data)]
                m.d.comb += [Cover(pick == i) for i in range(len(registers) if self.cover_each else 1)]
                if any(r.writable and r.read_mask for r in registers):
                    m.d.comb += Cover(data.any() & picked_accept)

    def _shown(self, m: Module, prefix: str, fields: tuple[Field, ...], writes: _Writes, accept: Value | None) -> Value:
        """What a read of the register shows, as the map says it."""
        dut = self.dut
        word: Value = Const(0, WORD)
        for f in fields:
            name = prefix + f.name
            value: Value = Const(f.reset, f.width)
            written = writes.data[f.low : f.high + 1]
            if f.source is Source.HARDWARE:
                value = getattr(dut, name)
            elif f.source is Source.SOFTWARE:
                model = Signal(f.width, init=f.reset, name=f"model_{name}")
                assert accept is not None
                m.d.sync += model.eq(Mux(accept, written, 0 if f.pulse else model))
                m.d.comb += Assert(getattr(dut, name) == model)
                value = model if f.readable else Const(0, f.width)
            elif f.source is Source.STICKY:
                model = Signal(f.width, init=f.reset, name=f"model_{name}")
                m.d.sync += model.eq(model & ~Mux(accept, written, 0) | getattr(dut, name))
                m.d.comb += [Assert(dut.hidden[name] == model), Cover(model.any() & accept)]
                value = model
            elif f.source is Source.BAD_WRITES:
                value = self._bad_count(m, name, f.width, writes)
            word |= Cat(Const(0, f.low), value)
        return word[:WORD]

    def _bad_count(self, m: Module, name: str, width: int, writes: _Writes) -> Value:
        """Counts two cycles after the last handshake, and stops at its largest value."""
        model = Signal(width, name=f"model_{name}")
        once, twice = Signal(name="bad_once"), Signal(name="bad_twice")
        m.d.sync += [once.eq(writes.bad), twice.eq(once)]
        with m.If(twice & ~model.all()):
            m.d.sync += model.eq(model + 1)
        m.d.comb += [Assert(self.dut.hidden[name] == model), Cover(model == 2)]
        return model


def _build(register_map: RegisterMap, cover_each: bool = True) -> tuple[Elaboratable, list[Signal]]:
    specification = RegisterFileSpecification(register_map, cover_each)
    return specification, specification.ports


def _proofs(name: str, build: Build, timeout_s: int) -> list[Proof]:
    modes: tuple[tuple[Mode, int], ...] = (("prove", 3), ("cover", 12))
    return [Proof(f"registers_{name}_{mode}", "registers", "P9 P10 P12", build, mode, depth, timeout_s) for mode, depth in modes]


PROOFS = [
    *_proofs("reduced", lambda: _build(reduced()), 120),
    *_proofs("sda", lambda: _build(load()["sentinel_sda"]), 120),
    *_proofs("ocl", lambda: _build(load()["sentinel_ocl"], cover_each=False), 300),
]
MUTATION = Mutation("registers", "dut", ("registers_reduced_prove", "registers_reduced_cover"))
