"""The risk gate: every order passes all controls here, one beat at a time, or is refused with the control that did.

A beat is finished before the next is taken, so what one order changes the next one sees. The steps of a beat are counted in a
one-hot word; an order's verdict is out ``VERDICT_CYCLES`` after the beat was taken. The specification is
docs/cores/risk_gate.md, its integer reference ``sentinel.model.gate``.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from sentinel.wire import MAX_SYMBOLS, PERMIT, BeatKind, Control, Kind, Verdict
from sentinel_hdl.beats import BEAT, EQUITY, ORDER, ORDER_EVENT, RECORD_BITS, record
from sentinel_hdl.equity_watch import EquityWatch
from sentinel_hdl.exposure import Exposure
from sentinel_hdl.limits import LimitsLayout
from sentinel_hdl.multiplier import Multiplier
from sentinel_hdl.order_checks import CHECKS, OrderChecks
from sentinel_hdl.permit_window import PermitWindow
from sentinel_hdl.position_update import PositionUpdate
from sentinel_hdl.symbol_store import SymbolStore
from sentinel_hdl.symbol_table import TableWriteLayout

AMOUNT_BITS = 61
WINDOW_DEPTH = 1024
VERDICT_CYCLES = 8
# Steps of a beat. What a step computes, the next one has.
ROW, PRODUCT, VERDICT = 2, 6, 7
TAKE_OPEN, VALUED, WRITE_BACK, TAKE_VALUE, ADD_VALUE, TOTAL, LAST = 7, 10, 11, 12, 17, 22, 27
KINDS = (BeatKind.ORDER, BeatKind.ORDER_EVENT, BeatKind.REFERENCE_PRICE, BeatKind.EQUITY, BeatKind.HEARTBEAT)


class GateCausesLayout(data.StructLayout):
    """Why the gate asks for a trip. Levels: heartbeat, stale_equity, drawdown, daily_loss, permit_rate; the others are pulses."""

    def __init__(self) -> None:
        names = "beat memory exposure heartbeat stale_equity drawdown daily_loss permit_rate gross rejects illegal"
        super().__init__(dict.fromkeys(names.split(), 1))


class RiskGate(wiring.Component):
    """
    Parameters
    ----------
    symbols, window_depth : powers of two. amount_bits : of a price or a quantity.

    Attributes
    ----------
    beats : In(stream of 512 bits), checked by Intake.
    now : In(64). limits : In(LimitsLayout). arm_epoch : In(32).
    closed : In; nothing may pass, because of ``causes_now``. armed_pulse : In; a new arm epoch begins.
    table_write, table_ready : a row of the symbol table.
    peak_write, peak : In; sets the peak of equity.
    permits : Out(stream of 512 bits), wire.PERMIT without its last two words, one for each ORDER beat.
    causes : Out(GateCausesLayout). clearing : Out, memories are cleared after reset. busy : Out.
    permitted, rejected, corrected : Out, pulses to count. last_control : Out(8), of the last order.
    """

    def __init__(self, symbols: int = MAX_SYMBOLS, window_depth: int = WINDOW_DEPTH, amount_bits: int = AMOUNT_BITS) -> None:
        self.symbols, self.window_depth, self.amount_bits = symbols, window_depth, amount_bits
        # The beat in work, and how far it is: seen by proofs.
        self.beat, self.step = Signal(BEAT, reset_less=True), Signal(LAST + 1)
        self.kinds = Signal(len(KINDS))  # of the beat in work, one-hot
        self.number, self.deciding = Signal(64, init=1), Signal()
        self.given = Signal()  # the order of this beat has its permit
        self.store = SymbolStore(symbols)
        super().__init__(
            {
                "beats": In(stream.Signature(RECORD_BITS)),
                "now": In(64),
                "limits": In(LimitsLayout()),
                "arm_epoch": In(32),
                "closed": In(1),
                "causes_now": In(32),
                "armed_pulse": In(1),
                "table_write": In(TableWriteLayout()),
                "table_ready": Out(1),
                "peak_write": In(1),
                "peak": In(64),
                "permits": Out(stream.Signature(RECORD_BITS)),
                "causes": Out(GateCausesLayout()),
                "clearing": Out(1, init=1),
                "busy": Out(1),
                "permitted": Out(1),
                "rejected": Out(1),
                "corrected": Out(1),
                "last_control": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.store = self.store
        m.submodules.checks = self._checks = OrderChecks(self.amount_bits, 2 * self.amount_bits + self.symbols.bit_length() + 3)
        m.submodules.window = self._window = PermitWindow(self.window_depth)
        m.submodules.exposure = self._exposure = Exposure(2 * self.amount_bits, self.symbols)
        m.submodules.update = self._update = PositionUpdate(self.amount_bits)
        m.submodules.equity = self._equity = EquityWatch()
        m.submodules.multiplier = self._multiplier = Multiplier(self.amount_bits, self.amount_bits)
        # The product of step PRODUCT is of what went in that many steps before.
        self._first_factors = PRODUCT - self._multiplier.latency + 1
        assert self._first_factors >= 2
        assert min(TAKE_VALUE - TAKE_OPEN, ADD_VALUE - TAKE_VALUE, TOTAL - ADD_VALUE, LAST + 1 - TOTAL) >= self._exposure.cycles
        assert self._exposure.cycles < PRODUCT
        self._sequence(m)
        self._connect_order(m)
        self._connect_event(m)
        self._connect_equity(m)
        self._verdict(m)
        self._causes(m)
        return m

    def _is(self, kind: BeatKind) -> Value:
        return self.kinds[KINDS.index(kind)]

    def _sequence(self, m: Module) -> None:
        """Takes a beat when idle, and walks through its steps."""
        self._now = Signal(64, reset_less=True)
        step = self.step
        self._product = Signal(2 * self.amount_bits, reset_less=True)
        store, table = self.store, self.table_write
        take, idle = Signal(), Signal()
        payload = BEAT(self.beats.payload)
        short = self._is(BeatKind.HEARTBEAT) | (self._is(BeatKind.ORDER) & ~self.given)
        m.d.comb += [
            idle.eq(step == 0),
            self.clearing.eq(store.clearing),
            self.busy.eq(~idle | store.clearing),
            self.table_ready.eq(idle & ~store.clearing),
            self.beats.ready.eq(idle & ~store.clearing & ~store.writing & ~table.valid & ~self.permits.valid),
            take.eq(self.beats.valid & self.beats.ready),
            store.read_en.eq(take),
            store.read_symbol.eq(payload.symbol),
            self._checks.reset.eq(take),
            self._checks.step.eq(Mux(self._is(BeatKind.ORDER), step[:8], 0)),
        ]
        with m.If(take):
            m.d.sync += [self.beat.eq(payload), self._now.eq(self.now), step.eq(1 << 1), self.given.eq(0)]
            m.d.sync += self.kinds.eq(Cat(payload.kind == int(kind) for kind in KINDS))
        with m.Elif(step[VERDICT + 1] & short):
            m.d.sync += step.eq(0)
        with m.Else():
            m.d.sync += step.eq(step << 1)
        with m.If(step[PRODUCT] | step[VALUED]):
            m.d.sync += self._product.eq(self._multiplier.product)

    def _connect_order(self, m: Module) -> None:
        order, checks, window, exposure = ORDER(self.beat.as_value()), self._checks, self._window, self._exposure
        self._last_key, self._key_known = Signal(64), Signal()
        m.d.comb += [
            checks.order.eq(order.as_value()),
            checks.now.eq(self._now),
            checks.row.eq(self.store.row),
            checks.limits.eq(self.limits),
            checks.arm_epoch.eq(self.arm_epoch),
            checks.last_key.eq(self._last_key),
            checks.key_known.eq(self._key_known),
            checks.memory_bad.eq(self.store.uncorrectable),
            checks.full.eq(window.full),
            checks.window_bad.eq(window.fault),
            checks.product.eq(self._multiplier.product),
            checks.room.eq(exposure.room),
            checks.no_room.eq(exposure.none),
            window.ask.eq(self.step[1] & self._is(BeatKind.ORDER)),
            window.now.eq(self._now),
            window.limit.eq(self.limits.permits_per_window),
            window.window.eq(self.limits.window),
            window.record.eq(self.step[VERDICT + 1] & self.given),
            exposure.limit.eq(self.limits.max_gross_notional),
            exposure.headroom.eq(self.step[1] & self._is(BeatKind.ORDER)),
        ]
        with m.If(self.armed_pulse):
            m.d.sync += self._key_known.eq(0)
        with m.Elif(self.step[VERDICT + 1] & self.given):
            m.d.sync += [self._last_key.eq(order.client_key), self._key_known.eq(1)]

    def _connect_event(self, m: Module) -> None:
        """Positions, open quantities and values follow from whatever happened; also while tripped."""
        update, exposure, store, step = self._update, self._exposure, self.store, self.step
        event = ORDER_EVENT(self.beat.as_value())
        is_event, is_reference = self._is(BeatKind.ORDER_EVENT), self._is(BeatKind.REFERENCE_PRICE)
        m.d.comb += [
            update.begin.eq(step[1]),
            update.start.eq(step[ROW]),
            update.beat.eq(self.beat),
            update.is_order.eq(self._is(BeatKind.ORDER)),
            update.is_event.eq(is_event),
            update.is_reference.eq(is_reference),
            update.row.eq(store.row),
            update.now.eq(self._now),
            update.permitted.eq(self.given),
            update.value.eq(self._product),
            # The notional of the order or event first, then the new value of the position.
            self._multiplier.a.eq(Mux(step[: self._first_factors].any(), event.price, update.value_price)),
            self._multiplier.b.eq(Mux(step[: self._first_factors].any(), event.qty, update.position_size)),
        ]
        # A row that cannot be read stays as it is: written back, its words would look sound from then on.
        moves = update.sound & ~store.uncorrectable
        releases = moves & update.takes_open
        m.d.comb += [
            exposure.operand.eq(Mux(step[TAKE_VALUE], store.row.position_value, self._product)),
            exposure.add_open.eq(step[VERDICT + 1] & self.given),
            exposure.take_open.eq(step[TAKE_OPEN] & releases),
            exposure.take_value.eq(step[TAKE_VALUE] & moves & update.revalues),
            exposure.add_value.eq(step[ADD_VALUE] & moves & update.revalues),
            exposure.total.eq(step[TOTAL] & (moves | self.given)),
        ]
        table = self.table_write
        with m.If(self.table_ready):
            m.d.comb += [
                store.write_en.eq(table.valid),
                store.write_symbol.eq(table.symbol),
                store.write_words.eq(update.table_words),
                store.write_row.enabled.eq(table.enabled),
                store.write_row.max_order_qty.eq(table.max_order_qty),
                store.write_row.max_position_qty.eq(table.max_position_qty),
            ]
        with m.Else():
            m.d.comb += [
                store.write_en.eq(step[WRITE_BACK]),
                store.write_symbol.eq(self.beat.symbol),
                store.write_words.eq(Mux(moves | self.given, update.words, 0)),
                store.write_row.eq(update.new_row),
            ]

    def _connect_equity(self, m: Module) -> None:
        equity, beat = self._equity, EQUITY(self.beat.as_value())
        m.d.comb += [
            equity.now.eq(self.now),
            equity.limits.eq(self.limits),
            equity.beat.eq(self.step[1] & self._is(BeatKind.EQUITY)),
            equity.heartbeat.eq(self.step[1] & self._is(BeatKind.HEARTBEAT)),
            equity.beat_now.eq(self._now),
            equity.equity.eq(beat.equity),
            equity.day_start.eq(beat.day_start),
            equity.peak_write.eq(self.peak_write),
            equity.peak.eq(self.peak),
        ]

    def _verdict(self, m: Module) -> None:
        """The first control that refuses, or a permit."""
        order, refused = ORDER(self.beat.as_value()), self._checks.refused
        control, passes = Signal(16), Signal()
        number, deciding = self.number, self.deciding
        # The first that refuses, one-hot: side by side instead of one after another.
        first = {Control.KILLED: self.closed}
        first |= {check: refused[i] & ~refused[:i].any() & ~self.closed for i, check in enumerate(CHECKS)}
        m.d.comb += [
            deciding.eq(self.step[VERDICT] & self._is(BeatKind.ORDER)),
            *(
                control[bit].eq(Cat(chosen for check, chosen in first.items() if int(check) >> bit & 1).any())
                for bit in range(len(control))
            ),
            passes.eq(~self.closed & ~refused.any()),
        ]
        m.d.sync += [self.permitted.eq(deciding & passes), self.rejected.eq(deciding & ~passes)]
        with m.If(self.permits.ready):
            m.d.sync += self.permits.valid.eq(0)
        with m.If(deciding):
            m.d.sync += [
                self.permits.valid.eq(1),
                self.permits.payload.eq(
                    record(
                        PERMIT,
                        client_key=order.client_key,
                        now=self._now,
                        seq=number,
                        kind=int(Kind.PERMIT),
                        verdict=Mux(passes, int(Verdict.PERMIT), int(Verdict.REJECT)),
                        symbol=order.symbol,
                        control=control,
                        arm_epoch=self.arm_epoch,
                        observed=Mux(self.closed, self.causes_now, 0),
                    )
                ),
                number.eq(number + 1),
                self.given.eq(passes),
                self.last_control.eq(control),
            ]
        self._first, self._passes = first, passes

    def _causes(self, m: Module) -> None:
        causes, equity, deciding, first = self.causes, self._equity, self.deciding, self._first
        rejects, last_reject = Signal(16), Signal()
        # Whether one reject more trips, a cycle ahead: no order is decided the cycle after another.
        m.d.sync += last_reject.eq((self.limits.reject_trip != 0) & (rejects + 1 >= self.limits.reject_trip))
        rate, oldest, age = Signal(), Signal(64), Signal(64)
        with m.If(self.armed_pulse | (deciding & self._passes)):
            m.d.sync += rejects.eq(0)
        with m.Elif(deciding & ~rejects.all()):
            m.d.sync += rejects.eq(rejects + 1)
        # A full window stands as a cause until it has room again.
        m.d.sync += age.eq(self.now - oldest)
        with m.If(deciding & first[Control.TRADES_PER_MINUTE]):
            m.d.sync += [rate.eq(1), oldest.eq(self._window.oldest), age.eq(0)]
        with m.Elif(rate & (age >= self.limits.window) & (age != 0)):
            m.d.sync += rate.eq(0)
        loaded = self.step[ROW] & (self._is(BeatKind.ORDER) | self._is(BeatKind.ORDER_EVENT) | self._is(BeatKind.REFERENCE_PRICE))
        m.d.sync += [
            causes.memory.eq((loaded & self.store.uncorrectable) | (deciding & first[Control.MEMORY_FAULT])),
            causes.gross.eq(deciding & first[Control.GROSS_EXPOSURE]),
            causes.rejects.eq(deciding & ~self._passes & last_reject),
            causes.beat.eq(self._update.bad & self.step[ROW + 1]),
            causes.exposure.eq((self._update.strained & self.step[WRITE_BACK]) | self._exposure.underflow),
            causes.illegal.eq((self.step & (self.step - 1)) != 0),
            self.corrected.eq(loaded & self.store.corrected),
        ]
        m.d.comb += [
            causes.heartbeat.eq(equity.heartbeat_stale),
            causes.stale_equity.eq(equity.equity_stale),
            causes.drawdown.eq(equity.drawdown),
            causes.daily_loss.eq(equity.daily_loss),
            causes.permit_rate.eq(rate),
        ]
