"""The core: everything on the card, with one clock and the ports a shell connects (docs/cores/core.md).

What decides whether an order passes is there twice: kill switch, watchdog, gate and the rows on their way to it. Each has its
own state and, where a flip-flop would only repeat an input, its own copy of that. Either closes the gate, and where the two
do not say the same they trip: no single flipped bit lets an order pass.
"""

from __future__ import annotations

from amaranth.hdl import Cat, ClockDomain, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sentinel.wire import MAX_SYMBOLS
from sentinel_hdl.bus import axi4, axi_lite
from sentinel_hdl.bus.ocl import Ocl
from sentinel_hdl.bus.pcim import Pcim
from sentinel_hdl.bus.pcis import Pcis
from sentinel_hdl.bus.sda import Sda
from sentinel_hdl.card_status import CardStatus
from sentinel_hdl.causes import trip_causes
from sentinel_hdl.decider import Decider
from sentinel_hdl.intake import Intake
from sentinel_hdl.kill_switch import CAUSES, KillSwitch
from sentinel_hdl.latency import BINS, LatencyHistogram
from sentinel_hdl.limits import Limits, staged_registers
from sentinel_hdl.register_file import WORD_SHIFT, RegisterFile
from sentinel_hdl.register_map import load
from sentinel_hdl.risk_gate import WINDOW_DEPTH, GateCausesLayout, RiskGate
from sentinel_hdl.symbol_table import SymbolTablePort
from sentinel_hdl.watchdog import Watchdog

COUNT_BITS = 31
#: Synthesis must not merge what is there twice.
_KEPT: dict[str, str | int] = {"keep": "true"}
#: A slave's signals flow as the master's do not.
BUSES = {
    "ocl": In(axi_lite.Signature()),
    "sda": In(axi_lite.Signature()),
    "pcis": In(axi4.Signature()),
    "pcim": Out(axi4.Signature()),
}


def bus_ports() -> dict[str, wiring.Member]:
    """Every bus signal as a port of its own, ``<bus>_<signal>``."""
    ports: dict[str, wiring.Member] = {}
    for bus, member in BUSES.items():
        for name, signal in member.signature.members.items():
            ports[f"{bus}_{name}"] = signal
    return ports


class Core(wiring.Component):
    """
    Parameters
    ----------
    engines, trees_per_engine : of the forest. symbols, window_depth : of the gate.

    Attributes
    ----------
    clk : In, 250 MHz. rst : In, synchronous, active high.
    now : In(64), time in ticks of 4 ns. Going back trips.
    ocl_*, sda_* : AXI4-Lite slaves. pcis_* : AXI4 slave of 512 bits. pcim_* : AXI4 master of 512 bits; it only writes.
    vdip : In(16), asynchronous; bit 0 is the operator's kill.
    vled : Out(16); from bit 0: tripped, armed, model loaded, ring enabled, clearing.
    irq : Out, level: a trip that has not been acknowledged.
    """

    def __init__(
        self,
        engines: int = 32,
        trees_per_engine: int = 4,
        symbols: int = MAX_SYMBOLS,
        window_depth: int = WINDOW_DEPTH,
    ) -> None:
        self._forest, self._gate = (engines, trees_per_engine), (symbols, window_depth)
        super().__init__(
            {
                "clk": In(1),
                "rst": In(1),
                "now": In(64),
                **bus_ports(),
                "vdip": In(16),
                "vled": Out(16),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._clock(m)
        self._now, self._cycle = Signal(64), Signal(32)
        self._now_again = Signal(64, attrs=_KEPT)
        m.d.sync += [self._now.eq(self.now), self._now_again.eq(self.now), self._cycle.eq(self._cycle + 1)]
        m.submodules.ocl = self.ocl_file = Ocl()
        m.submodules.sda = self.sda_file = Sda()
        m.submodules.limits = self.limits = Limits()
        m.submodules.table = self.table = SymbolTablePort()
        m.submodules.kill = self.kill = KillSwitch()
        m.submodules.watchdog = self.watchdog = Watchdog()
        m.submodules.pcis = self.pcis = Pcis()
        m.submodules.intake = self.intake = Intake()
        m.submodules.decider = self.decider = Decider(*self._forest)
        m.submodules.gate = self.gate = RiskGate(*self._gate)
        m.submodules.table_again = self.table_again = SymbolTablePort()
        m.submodules.kill_again = self.kill_again = KillSwitch()
        m.submodules.watchdog_again = self.watchdog_again = Watchdog()
        m.submodules.gate_again = self.gate_again = RiskGate(*self._gate)
        m.submodules.status = self.status = CardStatus()
        m.submodules.pcim = self.pcim = Pcim()
        m.submodules.latency = self.latency = LatencyHistogram()
        self._buses(m)
        self._streams(m)
        self._safety(m)
        self._second_channel(m)
        self._configuration(m)
        self._registers(m)
        return m

    def _clock(self, m: Module) -> None:
        """The reset is registered, so that nothing outside reaches the logic of the core directly."""
        m.domains.raw = raw = ClockDomain("raw", reset_less=True, local=True)
        m.domains.sync = sync = ClockDomain("sync", local=True)
        held = Signal(init=1)
        m.d.comb += [raw.clk.eq(self.clk), sync.clk.eq(self.clk), sync.rst.eq(held)]
        m.d.raw += held.eq(self.rst)

    def _buses(self, m: Module) -> None:
        inside = {"ocl": self.ocl_file.bus, "sda": self.sda_file.bus, "pcis": self.pcis.bus, "pcim": self.pcim.bus}
        for bus, member in BUSES.items():
            has = inside[bus].signature.members
            for name, signal in member.signature.members.items():
                port = getattr(self, f"{bus}_{name}")
                driven = signal.flow == Out
                if name not in has:
                    # The read channels of the master: no address is ever valid.
                    if driven:
                        m.d.comb += port.eq(0)
                elif driven:
                    m.d.comb += port.eq(getattr(inside[bus], name))
                else:
                    m.d.comb += getattr(inside[bus], name).eq(port)

    def _streams(self, m: Module) -> None:
        wiring.connect(m, self.pcis.beats, self.intake.beats)
        wiring.connect(m, self.intake.vectors, self.decider.vectors)
        gate, again, beats = self.gate, self.gate_again, self.intake.gate
        both = gate.beats.ready & again.beats.ready
        m.d.comb += [
            self.intake.parity.eq(self.pcis.parity),
            beats.ready.eq(both),
            again.permits.ready.eq(gate.permits.ready),
        ]
        for one in (gate, again):
            m.d.comb += [one.beats.payload.eq(beats.payload), one.beats.valid.eq(beats.valid & both)]
        wiring.connect(m, self.gate.permits, self.pcim.permits)
        wiring.connect(m, self.decider.decisions, self.pcim.decisions)
        wiring.connect(m, self.status.statuses, self.pcim.statuses)
        decisions = self.decider.decisions
        self._decision_given = decisions.valid & decisions.ready
        m.d.comb += [
            self.intake.cycle.eq(self._cycle),
            self.intake.two_beats.eq(self.decider.status.two_beats),
            self.decider.now.eq(self._now),
            self.decider.cycle.eq(self._cycle),
            self.decider.arm_epoch.eq(self.kill.arm_epoch),
            self.gate.now.eq(self._now),
            self.latency.sample.eq(self._decision_given),
            # Bytes 16..23 of a Decision are its cycle stamps.
            self.latency.cycle_in.eq(decisions.payload[128:160]),
            self.latency.cycle_out.eq(decisions.payload[160:192]),
        ]

    def _safety(self, m: Module) -> None:
        ocl, kill, gate = self.ocl_file, self.kill, self.gate
        self._differ = Signal()
        self._trip_pulse = kill.trip_pulse | self.kill_again.trip_pulse
        again = self.gate_again
        either = GateCausesLayout()(gate.causes.as_value() | again.causes.as_value())
        causes: dict[str, Value] = {
            "SOFTWARE_OCL": ocl.kill_we | self._kill_addressed(m, "ocl"),
            "SOFTWARE_SDA": self.sda_file.kill_we | self._kill_addressed(m, "sda"),
            "VDIP": self._switch(m, "switch") | self._switch(m, "switch_again"),
            "WATCHDOG": self.watchdog.cause | self.watchdog_again.cause,
            "HEARTBEAT": either.heartbeat,
            "PERMIT_RATE": either.permit_rate,
            "GROSS_EXPOSURE": either.gross,
            "DRAWDOWN": either.drawdown,
            "DAILY_LOSS": either.daily_loss,
            "STALE_EQUITY": either.stale_equity,
            "MEMORY_FAULT": either.memory | self.intake.upset | self.pcim.upset,
            "LIMIT_FAULT": self.limits.fault,
            "BEAT_FAULT": self.intake.faults.as_value().any() | self.intake.faulty | either.beat,
            "REJECTS": either.rejects,
            "PCIM_FAULT": self.pcim.fault,
            "EXPOSURE_FAULT": either.exposure,
            "ILLEGAL_STATE": either.illegal | self._differ,
            "MODEL_FAULT": self.decider.model_fault,
            "CLEARING": gate.clearing | again.clearing,
        }
        bits = trip_causes()
        names = {bit: name for name, bit in bits.items()}
        self._closed, self._tripped, self._causes = Signal(), Signal(), Signal(CAUSES)
        m.d.comb += [
            self._causes.eq(Cat(causes.get(names[i], Const(0, 1)) for i in range(CAUSES))),
            # Both trip in the same cycle, so that their nonces stay the same and the card can be armed again.
            kill.causes.eq(self._causes | self.kill_again.own),
            self._closed.eq(kill.closed | self.kill_again.closed),
            self._tripped.eq(kill.tripped | self.kill_again.tripped),
            kill.now.eq(self._now),
            kill.key.valid.eq(ocl.arm_key_we),
            kill.key.value.eq(ocl.arm_key_value),
            gate.closed.eq(self._closed),
            gate.causes_now.eq(kill.sticky | kill.standing),
            gate.arm_epoch.eq(kill.arm_epoch),
            gate.armed_pulse.eq(kill.armed_pulse),
            self.pcim.closed.eq(self._closed),
            self.watchdog.now.eq(self._now),
            self.watchdog.times.eq(self.limits.watchdog),
            self.watchdog.answer.valid.eq(ocl.watchdog_answer_we),
            self.watchdog.answer.value.eq(ocl.watchdog_answer_value),
            self.status.send.eq(self.watchdog.challenge_new | self._trip_pulse | kill.armed_pulse),
            self.status.challenge.eq(self.watchdog.challenge),
            self.status.now.eq(self._now),
            self.status.causes.eq(kill.sticky),
            self.status.first_cause.eq(kill.first_cause),
            self.status.tripped.eq(self._tripped),
            self.status.arm_epoch.eq(kill.arm_epoch),
            self.status.model_crc.eq(self.decider.active_id),
            self.vled.eq(Cat(self._tripped, ~self._tripped, self.decider.status.loaded, ocl.pcim_enable_enable, gate.clearing)),
        ]
        with m.If(self._trip_pulse):
            m.d.sync += self.irq.eq(1)
        with m.Elif(ocl.irq_ack_we):
            m.d.sync += self.irq.eq(0)

    def _kill_addressed(self, m: Module, bus: str) -> Value:
        """The address of KILL was on the bus: enough to trip, whatever becomes of the write."""
        addressed = Signal(name=f"{bus}_kill_addressed", attrs=_KEPT)
        word = load()[f"sentinel_{bus}"]["KILL"].address >> WORD_SHIFT
        m.d.sync += addressed.eq(getattr(self, f"{bus}_awvalid") & (getattr(self, f"{bus}_awaddr")[WORD_SHIFT:] == word))
        return addressed

    def _switch(self, m: Module, name: str) -> Value:
        """The operator's kill, through two flip-flops."""
        first, second = (Signal(name=f"{name}_{i}", attrs=_KEPT) for i in range(2))
        m.d.sync += [first.eq(self.vdip[0]), second.eq(first)]
        return second

    def _second_channel(self, m: Module) -> None:
        """The same again, and where the two differ."""
        ocl, limits, table = self.ocl_file, self.limits, self.table_again
        kill, gate, watchdog = self.kill_again, self.gate_again, self.watchdog_again
        m.d.comb += [
            kill.causes.eq(self._causes | self.kill.own),
            kill.now.eq(self._now_again),
            kill.key.eq(self.kill.key),
            watchdog.now.eq(self._now_again),
            watchdog.times.eq(limits.watchdog),
            watchdog.answer.eq(self.watchdog.answer),
            gate.now.eq(self._now_again),
            gate.limits.eq(limits.limits),
            gate.closed.eq(self._closed),
            gate.causes_now.eq(self.gate.causes_now),
            gate.arm_epoch.eq(kill.arm_epoch),
            gate.armed_pulse.eq(kill.armed_pulse),
            gate.table_write.eq(table.table_write),
            table.table_ready.eq(gate.table_ready),
            table.commit.eq(ocl.symbol_commit_we),
            table.row.symbol.eq(self._again(m, "symbol_index_value", "symbol_index_we")),
            table.row.enabled.eq(self._again(m, "symbol_flags_enabled", "symbol_flags_we")),
        ]
        for limit in ("max_qty", "max_position"):
            words = [self._again(m, f"symbol_{limit}_{half}_value", f"symbol_{limit}_{half}_we") for half in ("lo", "hi")]
            m.d.comb += table.row[{"max_qty": "max_order_qty", "max_position": "max_position_qty"}[limit]].eq(Cat(words))
        peak_written = Signal()
        m.d.sync += peak_written.eq(ocl.equity_peak_hi_we)
        m.d.comb += [
            gate.peak_write.eq(peak_written),
            gate.peak.eq(Cat(self._again(m, f"equity_peak_{half}_value", f"equity_peak_{half}_we") for half in ("lo", "hi"))),
        ]
        one, other = self.gate.permits, gate.permits
        m.d.sync += self._differ.eq(
            Cat(
                self.kill.tripped != kill.tripped,
                self.kill.arm_epoch != kill.arm_epoch,
                self.kill.nonce != kill.nonce,
                self.kill.phase != kill.phase,
                self.watchdog.challenge != watchdog.challenge,
                self.gate.beats.ready != gate.beats.ready,
                one.valid != other.valid,
                one.valid & (one.payload != other.payload),
            ).any()
        )

    def _again(self, m: Module, name: str, strobe: str) -> Value:
        """A register's value in flip-flops of its own, a cycle after it was written."""
        value = getattr(self.ocl_file, name)
        again = Signal(len(value), name=f"{name}_again", attrs=_KEPT)
        with m.If(getattr(self.ocl_file, strobe)):
            m.d.sync += again.eq(value)
        return again

    def _configuration(self, m: Module) -> None:
        ocl, limits, table, decider, gate = self.ocl_file, self.limits, self.table, self.decider, self.gate
        staged = staged_registers()
        words = [getattr(ocl, f"{r.member}_{r.fields[0].name}") for r in staged]
        model = decider.header
        m.d.comb += [
            limits.staged.eq(Cat(Cat(word, Const(0, 32))[:32] for word in words)),
            limits.staged_we.eq(Cat(getattr(ocl, f"{r.member}_we") for r in staged).any()),
            limits.commit.valid.eq(ocl.limits_commit_we),
            limits.commit.crc.eq(ocl.limits_commit_value),
            limits.tripped.eq(self._tripped),
            ocl.tripped.eq(self._tripped),
            gate.limits.eq(limits.limits),
            table.row.symbol.eq(ocl.symbol_index_value),
            table.row.enabled.eq(ocl.symbol_flags_enabled),
            table.row.max_order_qty.eq(Cat(ocl.symbol_max_qty_lo_value, ocl.symbol_max_qty_hi_value)),
            table.row.max_position_qty.eq(Cat(ocl.symbol_max_position_lo_value, ocl.symbol_max_position_hi_value)),
            table.commit.eq(ocl.symbol_commit_we),
            gate.table_write.eq(table.table_write),
            table.table_ready.eq(gate.table_ready),
            gate.peak_write.eq(ocl.equity_peak_hi_we),
            gate.peak.eq(Cat(ocl.equity_peak_lo_value, ocl.equity_peak_hi_value)),
            model.abi.eq(ocl.model_abi_value),
            model.trees.eq(ocl.model_trees_value),
            model.classes.eq(ocl.model_classes_value),
            model.id.eq(ocl.model_id_value),
            model.forest_on_rule.eq(ocl.model_flags_forest_on_rule),
            model.two_beats.eq(ocl.model_flags_two_beats),
            decider.begin.eq(ocl.model_begin_we),
            decider.word.eq(ocl.model_data_we),
            decider.swap.eq(ocl.model_swap_we),
            decider.value.eq(Mux(ocl.model_swap_we, ocl.model_swap_value, ocl.model_data_value)),
            decider.rule_index.eq(ocl.rule_index_value),
            self.pcim.base.eq(Cat(Const(0, 6), ocl.pcim_base_lo_value, ocl.pcim_base_hi_value)),
            self.pcim.slots.eq(ocl.pcim_slots_value),
            self.pcim.enable.eq(ocl.pcim_enable_enable),
            self.intake.set_seq.eq(ocl.beat_seq_we),
            self.intake.seq.eq(ocl.beat_seq_value),
            self.latency.clear.eq(ocl.control_clear_histogram),
        ]

    def _registers(self, m: Module) -> None:
        kill, limits, decider, gate, pcim = self.kill, self.limits, self.decider, self.gate, self.pcim
        status = {
            "status_tripped": self._tripped,
            "status_armed": ~self._tripped,
            "status_locked": kill.locked,
            "status_phase": kill.phase,
            "status_model_loaded": decider.status.loaded,
            "status_limits_loaded": limits.loaded & ~limits.fault,
            "status_clearing": gate.clearing | self.gate_again.clearing,
            "status_gate_busy": gate.busy | self.intake.gate.valid,
            "status_pcim_enabled": ~pcim.fault,
            "status_irq": self.irq,
            "trip_causes_causes": kill.sticky,
        }
        faults = self.intake.faults
        counts = {
            "beats": self.intake.counted,
            "vectors": self.intake.vector_counted,
            "decisions": self._decision_given,
            "permits": gate.permitted,
            "rejects": gate.rejected,
            "faults_torn": faults.torn,
            "faults_replay": faults.replay,
            "faults_skip": faults.skip,
            "faults_kind": faults.kind,
            "faults_symbol": faults.symbol,
            "faults_part": faults.part,
            "faults_fields": gate.causes.beat | self.gate_again.causes.beat,
            "pcim_writes": pcim.writes,
            "pcim_stalls": pcim.stalls,
            "pcim_errors": pcim.errors,
            "ecc_corrected": gate.corrected | self.gate_again.corrected,
        }
        counters = {name: self._counter(m, name, pulse) for name, pulse in counts.items()}
        m.d.comb += [
            self.status.permits.eq(counters["permits"]),
            self.status.rejects.eq(counters["rejects"]),
            self.status.beats.eq(counters["beats"]),
        ]
        parity = Signal()
        with m.If(decider.model_fault):
            m.d.sync += parity.eq(1)
        with m.Elif(decider.begin):
            m.d.sync += parity.eq(0)
        model, errors = decider.status, decider.status.errors
        values: dict[str, Value] = {
            **status,
            **{f"{name}_count": counter for name, counter in counters.items()},
            **{f"latency_bin_{i}_count": self.latency.bins[i] for i in range(BINS)},
            "now_lo_value": self._now[:31],
            "now_hi_value": self._now[31:62],
            "arm_nonce_value": kill.nonce,
            "arm_epoch_value": kill.arm_epoch,
            "first_cause_causes": kill.first_cause,
            "standing_causes": kill.standing,
            "first_time_lo_value": kill.first_time[:31],
            "first_time_hi_value": kill.first_time[31:62],
            **{f"limits_status_{n}": getattr(limits, n) for n in _LIMIT_FLAGS},
            "symbol_status_busy": self.table.busy,
            "symbol_status_overrun": self.table.overrun,
            "symbol_status_taken": self.table.taken,
            "model_status_bank": model.bank,
            "model_status_loaded": model.loaded,
            "model_status_busy": model.busy,
            "model_status_two_beats": model.two_beats,
            **{f"model_status_error_{n}": errors[n] for n in ("crc", "count", "abi", "trees", "classes")},
            "model_status_error_parity": parity,
            "model_active_id_value": decider.active_id,
            "rule_select_feature": decider.rule_read.feature,
            "rule_select_used": decider.rule_read.used,
            "rule_select_nan_result": decider.rule_read.nan_result,
            "rule_low_value": decider.rule_read.low,
            "rule_high_value": decider.rule_read.high,
            "beat_faults_faults": Cat(faults.as_value(), gate.causes.beat),
            "gate_status_last_control": gate.last_control,
        }
        _drive(m, self.ocl_file, values)
        _drive(m, self.sda_file, status)

    @staticmethod
    def _counter(m: Module, name: str, pulse: Value) -> Signal:
        counter = Signal(COUNT_BITS, name=f"count_{name}")
        with m.If(pulse):
            m.d.sync += counter.eq(counter + 1)
        return counter


_LIMIT_FLAGS = ("loaded", "busy", "error_crc", "error_range", "error_raced", "error_shadow")


def _drive(m: Module, file: RegisterFile, values: dict[str, Value]) -> None:
    """Connect every field that hardware writes; one without a source is a mistake of this module."""
    fields = {n for n, member in file.signature.members.items() if member.flow == In and n not in ("bus", "tripped")}
    if missing := fields - values.keys():
        raise KeyError(f"registers without a source: {sorted(missing)}")
    m.d.comb += [getattr(file, name).eq(values[name]) for name in sorted(fields)]
