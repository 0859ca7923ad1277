"""The core: everything on the card, with one clock and the ports a shell connects (docs/cores/core.md)."""

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
from sentinel_hdl.register_file import RegisterFile
from sentinel_hdl.risk_gate import WINDOW_DEPTH, RiskGate
from sentinel_hdl.symbol_table import SymbolTablePort
from sentinel_hdl.watchdog import Watchdog

COUNT_BITS = 31
_BUSES = {
    "ocl": In(axi_lite.Signature()),
    "sda": In(axi_lite.Signature()),
    "pcis": In(axi4.Signature()),
    "pcim": Out(axi4.Signature()),
}


def _ports() -> dict[str, wiring.Member]:
    """Every bus signal as a port of its own, ``<bus>_<signal>``."""
    ports: dict[str, wiring.Member] = {}
    for bus, member in _BUSES.items():
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
                **_ports(),
                "vdip": In(16),
                "vled": Out(16),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._clock(m)
        self._now, self._cycle = Signal(64), Signal(32)
        m.d.sync += [self._now.eq(self.now), self._cycle.eq(self._cycle + 1)]
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
        m.submodules.status = self.status = CardStatus()
        m.submodules.pcim = self.pcim = Pcim()
        m.submodules.latency = self.latency = LatencyHistogram()
        self._buses(m)
        self._streams(m)
        self._safety(m)
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
        for bus, member in _BUSES.items():
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
        wiring.connect(m, self.intake.gate, self.gate.beats)
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
        switches, switches_1 = Signal(16), Signal(16)
        m.d.sync += [switches_1.eq(self.vdip), switches.eq(switches_1)]
        faults = self.intake.faults.as_value()
        causes: dict[str, Value] = {
            "SOFTWARE_OCL": ocl.kill_we,
            "SOFTWARE_SDA": self.sda_file.kill_we,
            "VDIP": switches[0],
            "WATCHDOG": self.watchdog.cause,
            "HEARTBEAT": gate.causes.heartbeat,
            "PERMIT_RATE": gate.causes.permit_rate,
            "GROSS_EXPOSURE": gate.causes.gross,
            "DRAWDOWN": gate.causes.drawdown,
            "DAILY_LOSS": gate.causes.daily_loss,
            "STALE_EQUITY": gate.causes.stale_equity,
            "MEMORY_FAULT": gate.causes.memory,
            "LIMIT_FAULT": self.limits.fault,
            "BEAT_FAULT": faults.any() | gate.causes.beat,
            "REJECTS": gate.causes.rejects,
            "PCIM_FAULT": self.pcim.fault,
            "EXPOSURE_FAULT": gate.causes.exposure,
            "ILLEGAL_STATE": gate.causes.illegal,
            "MODEL_FAULT": self.decider.model_fault,
            "CLEARING": gate.clearing,
        }
        bits = trip_causes()
        names = {bit: name for name, bit in bits.items()}
        m.d.comb += [
            kill.causes.eq(Cat(causes.get(names[i], Const(0, 1)) for i in range(CAUSES))),
            kill.now.eq(self._now),
            kill.key.valid.eq(ocl.arm_key_we),
            kill.key.value.eq(ocl.arm_key_value),
            gate.closed.eq(kill.closed),
            gate.causes_now.eq(kill.sticky | kill.standing),
            gate.arm_epoch.eq(kill.arm_epoch),
            gate.armed_pulse.eq(kill.armed_pulse),
            self.pcim.closed.eq(kill.closed),
            self.watchdog.now.eq(self._now),
            self.watchdog.times.eq(self.limits.watchdog),
            self.watchdog.answer.valid.eq(ocl.watchdog_answer_we),
            self.watchdog.answer.value.eq(ocl.watchdog_answer_value),
            self.status.send.eq(self.watchdog.challenge_new | kill.trip_pulse | kill.armed_pulse),
            self.status.challenge.eq(self.watchdog.challenge),
            self.status.now.eq(self._now),
            self.status.causes.eq(kill.sticky),
            self.status.first_cause.eq(kill.first_cause),
            self.status.tripped.eq(kill.tripped),
            self.status.arm_epoch.eq(kill.arm_epoch),
            self.status.model_crc.eq(self.decider.active_id),
            self.vled.eq(Cat(kill.tripped, ~kill.tripped, self.decider.status.loaded, ocl.pcim_enable_enable, gate.clearing)),
        ]
        with m.If(kill.trip_pulse):
            m.d.sync += self.irq.eq(1)
        with m.Elif(ocl.irq_ack_we):
            m.d.sync += self.irq.eq(0)

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
            limits.tripped.eq(self.kill.tripped),
            ocl.tripped.eq(self.kill.tripped),
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
            "status_tripped": kill.tripped,
            "status_armed": ~kill.tripped,
            "status_locked": kill.locked,
            "status_phase": kill.phase,
            "status_model_loaded": decider.status.loaded,
            "status_limits_loaded": limits.loaded & ~limits.fault,
            "status_clearing": gate.clearing,
            "status_gate_busy": gate.busy,
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
            "faults_fields": gate.causes.beat,
            "pcim_writes": pcim.writes,
            "pcim_stalls": pcim.stalls,
            "pcim_errors": pcim.errors,
            "ecc_corrected": gate.corrected,
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
