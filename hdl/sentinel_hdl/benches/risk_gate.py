"""The risk gate against its integer reference: random beats on the edges of the controls, pauses, flipped memory bits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sentinel.model.gate import AMOUNT_MAX, Cause, GateLimits, GateModel, GateVerdict, SymbolLimits, bad_order
from sentinel.units import BPS
from sentinel.wire import (
    EQUITY_BEAT,
    HEARTBEAT_BEAT,
    ORDER_BEAT,
    ORDER_EVENT_BEAT,
    PERMIT,
    REFERENCE_BEAT,
    BeatKind,
    Control,
    ExposureEvent,
    Kind,
    Side,
    Verdict,
)
from sentinel_hdl.limits import LimitsLayout
from sentinel_hdl.risk_gate import RiskGate
from sentinel_hdl.symbol_table import TableWriteLayout
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.netlist import UPSET
from sentinel_hdl.tools.simulation import Simulation

SYMBOLS, WINDOW_DEPTH = 16, 16
#: GateCausesLayout's bits by the reference's names; the others have no counterpart in it.
CAUSE_BITS = {
    Cause.BEAT_FAULT: 0,
    Cause.EXPOSURE_FAULT: 2,
    Cause.HEARTBEAT: 3,
    Cause.STALE_EQUITY: 4,
    Cause.DRAWDOWN: 5,
    Cause.DAILY_LOSS: 6,
    Cause.PERMIT_RATE: 7,
    Cause.GROSS_EXPOSURE: 8,
    Cause.REJECTS: 9,
}
PULSES = frozenset({Cause.BEAT_FAULT, Cause.EXPOSURE_FAULT, Cause.GROSS_EXPOSURE, Cause.REJECTS})
LEVELS = frozenset(CAUSE_BITS) - PULSES
MEMORY, ILLEGAL = 1 << 1, 1 << 10
UNKNOWN_TO_REFERENCE = MEMORY | ILLEGAL
#: What the gate is told are the causes while it is closed.
CAUSES_NOW = 0x155


@dataclass
class Sent:
    """One beat as it is given to both."""

    beat: bytes
    now: int
    closed: bool = False
    arm: bool = False


def packed_limits(limits: GateLimits) -> int:
    """The limits as the gate takes them."""
    return sum(getattr(limits, str(name)) << placed.offset for name, placed in LimitsLayout())


def packed_row(symbol: int, row: SymbolLimits) -> int:
    """A write of the symbol table as the gate takes it."""
    values = {"valid": 1, "symbol": symbol, **row._asdict()}
    return sum(int(values[str(name)]) << placed.offset for name, placed in TableWriteLayout())


def record_of(answer: GateVerdict | None) -> bytes:
    """The reference's answer as the gate gives it, zeros where it gives none."""
    if answer is None:
        return bytes(64)
    record = np.zeros(1, PERMIT)
    for name in ("client_key", "now", "seq", "verdict", "symbol", "control", "arm_epoch"):
        record[name] = getattr(answer, name)
    record["kind"], record["observed"] = Kind.PERMIT, CAUSES_NOW if answer.control == Control.KILLED else 0
    return bytes(record.tobytes())


def causes_in(word: int, among: frozenset[Cause]) -> set[Cause]:
    """The reference's causes in a word of the gate's."""
    return {cause for cause in among if word >> CAUSE_BITS[cause] & 1}


class Scale(NamedTuple):
    """About what a unit of quantity costs, how many e8 a unit is, and what a unit of money is."""

    price: int
    unit: int
    money: int


def make_scale(rng: np.random.Generator) -> Scale:
    """Usual sizes, or any up to where a limit must hold that no amount overflows."""
    if rng.random() < 0.5:
        return Scale(1_000_000, 1, 1)
    bits = rng.integers((17, 0, 0), (59, 53, 46))
    if rng.random() < 0.3:
        bits[0] = 58
    return Scale(*(int(rng.integers(1 << int(n), 2 << int(n))) for n in bits))


def make_limits(rng: np.random.Generator, scale: Scale, permits: int = 1000) -> GateLimits:
    """Limits of any strictness; ``permits`` is the most there may be in a window."""
    notional = scale.price * scale.unit
    return GateLimits(
        version=int(rng.integers(1, 4)),
        max_order_notional=int(rng.choice(np.array([60 * notional, 100 * notional, 1 << 122], object))),
        max_gross_notional=int(rng.choice(np.array([300 * notional, 1000 * notional, 1 << 126], object))),
        collar_bps=int(rng.choice([1, 50, 500, 10_000])),
        max_drawdown_bps=int(rng.choice([1, 500, 2000, 10_000])),
        max_daily_loss=scale.money * int(rng.choice([1, 1000, 1 << 15])),
        reference_max_age=int(rng.choice([50, 500, 1 << 50])),
        heartbeat_max_age=int(rng.choice([100, 1 << 50])),
        equity_max_age=int(rng.choice([200, 1 << 50])),
        duplicate_window=int(rng.choice([0, 20, 100])),
        window=int(rng.choice([200, 2000])),
        permits_per_window=int(rng.choice([1, 3, 10, permits])),
        reject_trip=int(rng.choice([0, 1, 5])),
    )


def make_rows(rng: np.random.Generator, scale: Scale) -> dict[int, SymbolLimits]:
    """Three symbols that may be traded, one that may not."""

    def most(*units: int) -> int:
        return [*(scale.unit * n for n in units), AMOUNT_MAX][int(rng.integers(len(units) + 1))]

    rows = {s: SymbolLimits(True, most(50, 90), most(100, 200)) for s in range(3)}
    return {**rows, 3: SymbolLimits(False, 100 * scale.unit, 100 * scale.unit)}


class Stream:
    """Random beats: mostly sensible ones around a common price, now and then one field astray."""

    def __init__(self, rng: np.random.Generator, limits: GateLimits, scale: Scale) -> None:
        self._rng, self._limits, self._scale = rng, limits, scale
        self.now, self.key, self.epoch = int(rng.choice([1000, int(rng.integers(1 << 62))])), 1, 1
        self._order: dict[str, int] = {}

    def take(self, count: int) -> Iterator[Sent]:
        """So many beats, with their times."""
        for _ in range(count):
            self.now += int(self._rng.choice([0, 1, 3, 10, 60, 300], p=[0.2, 0.3, 0.25, 0.15, 0.08, 0.02]))
            arm = bool(self._rng.random() < 0.02)
            if arm:
                self.epoch, self.key = self.epoch + 1, [1, 4, int(self._rng.integers(1 << 62))][int(self._rng.integers(3))]
            yield Sent(self._beat(), self.now, closed=bool(self._rng.random() < 0.03), arm=arm)

    def _beat(self) -> bytes:
        kinds = [BeatKind.ORDER, BeatKind.ORDER_EVENT, BeatKind.REFERENCE_PRICE, BeatKind.EQUITY, BeatKind.HEARTBEAT]
        kind = BeatKind(int(self._rng.choice(kinds, p=[0.5, 0.22, 0.18, 0.05, 0.05])))
        make = {
            BeatKind.ORDER: self._make_order,
            BeatKind.ORDER_EVENT: self._make_event,
            BeatKind.REFERENCE_PRICE: self._make_reference,
            BeatKind.EQUITY: self._make_equity,
            BeatKind.HEARTBEAT: lambda: np.zeros(1, HEARTBEAT_BEAT),
        }[kind]
        beat = make()
        beat["kind"] = kind
        beat["seq"] = self._rng.integers(1 << 32)
        return bytes(beat.tobytes())

    def _amount(self, usual: int) -> int:
        if self._rng.random() < 0.03:
            return int(self._rng.choice([0, -1, 1, AMOUNT_MAX, AMOUNT_MAX + 1, (1 << 63) - 1, -(1 << 63)]))
        return usual

    def _near(self) -> int:
        base, sign = self._scale.price, int(self._rng.choice([-1, 1]))
        bps = int(self._rng.choice([0, 1, 50, 500, 3]))
        return base + sign * (base * bps // 10_000 + int(self._rng.choice([-1, 0, 1])))

    def _qty(self, units: list[int]) -> int:
        qty = self._scale.unit * int(self._rng.choice(units))
        return qty if self._rng.random() < 0.7 else max(1, qty - int(self._rng.integers(self._scale.unit)))

    def _symbol(self) -> int:
        return int(self._rng.choice([0, 1, 2, 3, SYMBOLS - 1], p=[0.4, 0.25, 0.25, 0.05, 0.05]))

    def _make_order(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, ORDER_BEAT)
        if self._order and self._rng.random() < 0.2:
            # The same again, or all but one bit of it.
            values = dict(self._order)
            if self._rng.random() < 0.3:
                values[str(self._rng.choice(["price", "qty"]))] ^= 1 << int(self._rng.integers(61))
        else:
            values = {
                "symbol": self._symbol(),
                "price": self._amount(self._near()),
                "qty": self._amount(self._qty([1, 10, 49, 50, 51, 60, 90, 91, 100, 101])),
                "side": int(self._rng.choice([Side.BUY, Side.SELL, 0, 3], p=[0.49, 0.49, 0.01, 0.01])),
                "flags": int(self._rng.choice([0, 1, 2, 3], p=[0.85, 0.13, 0.01, 0.01])),
            }
            if self._rng.random() < 0.08:
                values |= {name: int(self._rng.integers(AMOUNT_MAX >> 1, AMOUNT_MAX)) for name in ("price", "qty")}
        self._order = values
        if self._rng.random() < 0.95:
            self.key += int(self._rng.integers(1, 3))
        values = {
            **values,
            "client_key": self.key,
            "arm_epoch": self.epoch - int(self._rng.random() < 0.02),
            "limits_version": self._limits.version + int(self._rng.random() < 0.02),
        }
        for name, value in values.items():
            beat[name] = value
        return beat

    def _make_event(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, ORDER_EVENT_BEAT)
        event = int(self._rng.choice([*ExposureEvent, 0, 4], p=[0.5, 0.3, 0.16, 0.02, 0.02]))
        qty = self._qty([1, 10, 50, 100])
        if event == ExposureEvent.ADJUST and self._rng.random() < 0.5:
            qty = -qty
        beat["event"], beat["symbol"], beat["qty"], beat["price"] = (
            event,
            self._symbol(),
            self._amount(qty),
            self._amount(self._near()),
        )
        beat["side"] = int(self._rng.choice([Side.BUY, Side.SELL, 0], p=[0.5, 0.48, 0.02]))
        return beat

    def _make_reference(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, REFERENCE_BEAT)
        bid = self._scale.price + int(self._rng.choice([-100, -1, 0, 1, 100]))
        beat["symbol"], beat["bid"] = self._symbol(), self._amount(bid)
        beat["ask"] = self._amount(bid + int(self._rng.choice([1, 2, 100, 0, -1], p=[0.5, 0.3, 0.1, 0.05, 0.05])))
        return beat

    def _make_equity(self) -> np.ndarray[Any, Any]:
        beat = np.zeros(1, EQUITY_BEAT)
        money = self._scale.money
        equity = money * int(self._rng.choice([10_000, 9_999, 9_500, 8_001, 8_000, 10_500, 1, 0, -5]))
        beat["equity"] = int(self._rng.choice([equity + int(self._rng.integers(money))] * 9 + [(1 << 63) - 1, -(1 << 63)]))
        beat["day_start"] = int(self._rng.choice([10_000 * money] * 2 + [9_000 * money, 11_000 * money, -(1 << 63)]))
        return beat


EPISODES, BEATS = 80, 120
#: Episodes that end with an order repeated once for every bit of a stored word.
_REPEATING = 12
_STORE, _WINDOW = "store.memory", "window$128.memory"
_STORE_PORT, _WINDOW_PORT = (f"{UPSET}{re.sub(r'[^A-Za-z0-9]', '_', name)}" for name in (_STORE, _WINDOW))
_WORD_BITS = 72
_PATIENCE = 80
_WIDE = {"max_order_notional": (1 << 127) - 1, "max_gross_notional": (1 << 127) - 1, "reference_max_age": 1 << 62}


class _Gate:
    """The simulated gate: one beat at a time, its reader pausing now and then."""

    def __init__(self, sim: Simulation, rng: np.random.Generator, moving_window: bool) -> None:
        self.sim, self.rng, self.moving_window = sim, rng, moving_window
        # Whether the rate still stands depends on the windows there were since, which no card changes while armed.
        self.levels = LEVELS - {Cause.PERMIT_RATE} if moving_window else LEVELS
        self.causes = self.corrected = self.permitted = self.rejected = 0
        for name, port in sim.ports.items():
            if not port.output and name not in ("clk", "mutant"):
                sim[name] = 0
        sim["rst"] = 1
        sim.tick(2)
        sim["rst"] = 0
        self.wait("clearing", 0)

    def tick(self) -> None:
        """A cycle, and what it tells."""
        self.sim.tick()
        self.causes |= self.sim["causes"]
        self.corrected |= self.sim["corrected"]
        self.permitted += self.sim["permitted"]
        self.rejected += self.sim["rejected"]

    def wait(self, port: str, value: int) -> None:
        """Until the port has the value."""
        for _ in range(_PATIENCE):
            if self.sim[port] == value:
                return
            self.tick()
        raise AssertionError(f"{port} never becomes {value}")

    def set_row(self, symbol: int, row: SymbolLimits) -> None:
        """Write the symbol table."""
        self.wait("table_ready", 1)
        self.sim["table_write"] = packed_row(symbol, row)
        self.tick()
        self.sim["table_write"] = 0

    def send(self, one: Sent, epoch: int) -> tuple[bytes, int]:
        """One beat; what came of it, and how many records."""
        sim = self.sim
        sim["now"], sim["arm_epoch"], sim["armed_pulse"] = one.now, epoch, int(one.arm)
        self.tick()
        sim["armed_pulse"], sim["closed"], sim["causes_now"] = 0, int(one.closed), CAUSES_NOW
        sim["beats__payload"], sim["beats__valid"] = int.from_bytes(one.beat, "little"), 1
        self.causes = self.corrected = self.permitted = self.rejected = 0
        self.wait("beats__ready", 1)
        record, given, eager = bytes(64), 0, self.rng.random() < 0.7
        for _ in range(_PATIENCE):
            sim["permits__ready"] = int(eager or self.rng.random() < 0.2)
            if sim["permits__valid"] and sim["permits__ready"]:
                record, given = sim["permits__payload"].to_bytes(64, "little"), given + 1
            self.tick()
            sim["beats__valid"] = 0
            if not sim["busy"] and not sim["permits__valid"]:
                break
        for _ in range(5):
            self.tick()
        return record, given


def run(sim: Simulation) -> None:
    """Episodes with limits of their own."""
    for episode in range(EPISODES):
        rng = np.random.default_rng(episode)
        scale = make_scale(rng)
        limits, rows = make_limits(rng, scale, WINDOW_DEPTH), make_rows(rng, scale)
        gate, model = _Gate(sim, rng, moving_window=episode % 2 == 1), GateModel(limits)
        sim["limits"] = packed_limits(limits)
        for symbol, row in rows.items():
            gate.set_row(symbol, row)
            model.set_symbol(symbol, row)
        if rng.random() < 0.3:
            model.peak = 10_400 * scale.money
            sim["peak"], sim["peak_write"] = model.peak, 1
            gate.tick()
            sim["peak_write"] = 0
        stream = Stream(rng, limits, scale)
        for number, one in enumerate(stream.take(BEATS)):
            _step(gate, model, one, f"episode {episode}, beat {number}")
        if episode < _REPEATING:
            _repeats(gate, model, stream)
        _double_flip(gate, model, rng)


def _sharpen(gate: _Gate, model: GateModel, one: Sent) -> None:
    """Set the limits so that the order meets one of them to the unit, or misses it by one."""
    rng, order = gate.rng, np.frombuffer(one.beat, ORDER_BEAT)[0]
    symbol, side, price, qty = (int(order[name]) for name in ("symbol", "side", "price", "qty"))
    row = model.table.get(symbol)
    if bad_order(side, price, qty, int(order["flags"])) or row is None or rng.random() < 0.4:
        return
    state, short = model.state(symbol), int(rng.integers(2))
    buys = side == Side.BUY
    held, opened = (state.position, state.open_buy) if buys else (-state.position, state.open_sell)
    limits: dict[str, int] = {}
    rows: dict[str, Any] = {}
    match int(rng.integers(9)):
        case 0:
            limits["max_order_notional"] = price * qty - short
        case 1 | 2:
            limits["max_gross_notional"] = model.gross + price * qty - short
        case 3:
            rows["max_order_qty"] = qty - short
        case 4:
            rows["max_position_qty"] = max(held, 0) + opened + qty - short
        case 5 if state.reference_time is not None:
            limits["reference_max_age"] = one.now - state.reference_time - short
        case 6 if state.last is not None:
            limits["duplicate_window"] = one.now - state.last.time + short
        case 7 | 8 if model.permits and gate.moving_window:
            back = int(rng.integers(1, min(len(model.permits), WINDOW_DEPTH - 1) + 1))
            limits |= {"permits_per_window": back, "window": one.now - model.permits[-back] + short}
    # What is sharpened is what refuses, if anything: the others are wide.
    if all(value > 0 for value in (*limits.values(), *rows.values())):
        most = SymbolLimits(True, AMOUNT_MAX, AMOUNT_MAX)._replace(**rows)
        model.set_limits(replace(model.limits, **{**_WIDE, "collar_bps": 10_000, **limits}))
        gate.sim["limits"] = packed_limits(model.limits)
        if most.max_position_qty <= AMOUNT_MAX:
            gate.set_row(symbol, most)
            model.set_symbol(symbol, most)


def _at_collar(gate: _Gate, model: GateModel, one: Sent, context: str) -> None:
    """Wide limits, and a quote just before the order by which its price is on the edge of the collar."""
    rng, order = gate.rng, np.frombuffer(one.beat, ORDER_BEAT)[0]
    side, price = int(order["side"]), int(order["price"])
    bps, below = int(rng.integers(1, BPS)), bool(rng.integers(2))
    reference = price * BPS // (BPS - bps if below else BPS + bps) + int(rng.integers(2))
    if bad_order(side, price, int(order["qty"]), int(order["flags"])) or not 1 < reference < AMOUNT_MAX:
        return
    quote = np.zeros(1, REFERENCE_BEAT)
    quote["kind"], quote["symbol"] = BeatKind.REFERENCE_PRICE, order["symbol"]
    quote["bid"], quote["ask"] = (reference - 1, reference) if side == Side.BUY else (reference, reference + 1)
    _step(gate, model, Sent(quote.tobytes(), one.now), f"{context}, its quote")
    model.set_limits(replace(model.limits, **_WIDE, collar_bps=bps))
    gate.sim["limits"] = packed_limits(model.limits)


def _flips(rng: np.random.Generator, width: int) -> int:
    """A bit of every word that may be read."""
    return sum(1 << int(rng.integers(_WORD_BITS)) + start for start in range(0, width, _WORD_BITS))


def _step(gate: _Gate, model: GateModel, one: Sent, context: str) -> None:
    """A beat to both; a bit that is read flips now and then, which changes nothing."""
    sim, rng = gate.sim, gate.rng
    if one.beat[6] == BeatKind.ORDER:
        if rng.random() < 0.2:
            _at_collar(gate, model, one, context)
        else:
            _sharpen(gate, model, one)
    upset = str(rng.choice([_STORE_PORT, _WINDOW_PORT], p=[0.75, 0.25])) if rng.random() < 0.8 else None
    if upset is not None:
        sim[upset] = _flips(rng, sim.ports[upset].width)
    if one.arm:
        model.arm(model.arm_epoch + 1)
    model.causes.clear()
    record, given = gate.send(one, model.arm_epoch)
    answer = model.beat(one.beat, one.now, one.closed)
    assert record == record_of(answer), f"{context}: {np.frombuffer(record, PERMIT)} {answer}"
    assert given == (answer is not None), context
    assert causes_in(gate.causes, PULSES) == model.causes & PULSES, f"{context}: pulses"
    assert causes_in(sim["causes"], gate.levels) == model.levels(one.now) & gate.levels, f"{context}: levels"
    assert not gate.causes & UNKNOWN_TO_REFERENCE, f"{context}: a memory fault or an illegal state"
    if upset is not None:
        sim[upset] = 0
        reads = one.beat[6] in (BeatKind.ORDER, BeatKind.ORDER_EVENT, BeatKind.REFERENCE_PRICE)
        assert upset == _WINDOW_PORT or gate.corrected == reads, f"{context}: corrected"
    else:
        assert not gate.corrected, f"{context}: corrected"
    permitted = answer is not None and answer.verdict == Verdict.PERMIT
    assert (gate.permitted, gate.rejected) == (permitted, answer is not None and not permitted), f"{context}: counts"
    if answer is not None:
        assert sim["last_control"] == answer.control, context


def _repeats(gate: _Gate, model: GateModel, stream: Stream) -> None:
    """The last order of each symbol again and again, in each of its words another bit flipped: a duplicate every time."""
    sim = gate.sim
    model.set_limits(replace(model.limits, **_WIDE, collar_bps=BPS, duplicate_window=1 << 62))
    sim["limits"] = packed_limits(model.limits)
    for symbol in range(3):
        last = model.state(symbol).last
        if last is None:
            continue
        beat = np.zeros(1, ORDER_BEAT)
        fields = {"kind": BeatKind.ORDER, "symbol": symbol, "side": last.side, "price": last.price, "qty": last.qty}
        fields |= {"arm_epoch": model.arm_epoch, "limits_version": model.limits.version}
        for name, value in fields.items():
            beat[name] = value
        for bit in range(_WORD_BITS):
            stream.key += 1
            beat["client_key"] = stream.key
            sim[_STORE_PORT] = sum(1 << start + bit for start in range(0, sim.ports[_STORE_PORT].width, _WORD_BITS))
            record, _ = gate.send(Sent(beat.tobytes(), sim["now"]), model.arm_epoch)
            answer = model.beat(beat.tobytes(), sim["now"], False)
            assert record == record_of(answer), f"bit {bit}: {np.frombuffer(record, PERMIT)} {answer}"
        sim[_STORE_PORT] = 0


def _double_flip(gate: _Gate, model: GateModel, rng: np.random.Generator) -> None:
    """Two bits of one word of the row: the order is refused, and the memory is a cause."""
    sim = gate.sim
    beat = np.zeros(1, ORDER_BEAT)
    fields = {"kind": BeatKind.ORDER, "symbol": int(rng.integers(3)), "price": 1, "qty": 1, "side": Side.BUY}
    fields |= {"client_key": (1 << 62), "arm_epoch": model.arm_epoch, "limits_version": model.limits.version}
    for name, value in fields.items():
        beat[name] = value
    word, bits = int(rng.integers(sim.ports[_STORE_PORT].width // _WORD_BITS)), rng.choice(_WORD_BITS, 2, replace=False)
    sim[_STORE_PORT] = sum(1 << int(bit) for bit in bits) << _WORD_BITS * word
    record, given = gate.send(Sent(beat.tobytes(), sim["now"]), model.arm_epoch)
    told = np.frombuffer(record, PERMIT)[0]
    assert (given, told["verdict"], told["control"]) == (1, Verdict.REJECT, Control.MEMORY_FAULT)
    assert gate.causes & MEMORY
    sim[_STORE_PORT] = 0


BENCH = Bench("risk_gate", run, partial(RiskGate, SYMBOLS, WINDOW_DEPTH), (_STORE, _WINDOW))
