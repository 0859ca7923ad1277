"""The risk gate against its integer reference: random beats on the edges of the controls, pauses, flipped memory bits."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial, reduce
from operator import xor
from typing import Any

import numpy as np

from sentinel.model.gate import AMOUNT_MAX, Cause, GateModel, SymbolLimits, bad_order
from sentinel.units import BPS
from sentinel.wire import EQUITY_BEAT, HEARTBEAT_BEAT, ORDER_BEAT, PERMIT, REFERENCE_BEAT, BeatKind, Control, Side, Verdict
from sentinel_hdl.ecc import CHECK_BITS, POSITIONS
from sentinel_hdl.risk_gate import RiskGate
from sentinel_hdl.tools.gate_stream import (
    CAUSE_BITS,
    LEVELS,
    MEMORY,
    PULSES,
    SYMBOLS,
    UNKNOWN_TO_REFERENCE,
    WINDOW_DEPTH,
    Sent,
    Stream,
    causes_in,
    make_limits,
    make_rows,
    make_scale,
    packed_limits,
    packed_row,
    record_of,
)
from sentinel_hdl.tools.mutant_bench import Bench
from sentinel_hdl.tools.netlist import UPSET
from sentinel_hdl.tools.simulation import Simulation

EPISODES, BEATS = 80, 120
#: Episodes that end with an order repeated once for every bit of a stored word.
_REPEATING = 12
#: Episodes that end with orders on the edge of every limit, for each bit of a stored word.
_EACH_BIT = 3
_STORE, _WINDOW = "store.memory", "window$128.memory"
_STORE_PORT, _WINDOW_PORT = (f"{UPSET}{re.sub(r'[^A-Za-z0-9]', '_', name)}" for name in (_STORE, _WINDOW))
_WORD_BITS = 72
_PATIENCE = 80
_PULSE_BITS = sum(1 << CAUSE_BITS[cause] for cause in PULSES) | UNKNOWN_TO_REFERENCE
_IDLE_OUTPUTS = ("permits__valid", "permitted", "rejected", "corrected", "last_control")
_WIDE = {"max_order_notional": (1 << 127) - 1, "max_gross_notional": (1 << 127) - 1, "reference_max_age": 1 << 62}


class _Gate:
    """The simulated gate: one beat at a time, its reader pausing now and then."""

    def __init__(self, sim: Simulation, rng: np.random.Generator, moving_window: bool) -> None:
        self.sim, self.rng, self.moving_window = sim, rng, moving_window
        # Whether the rate still stands depends on the windows there were since, which no card changes while armed.
        self.levels = LEVELS - {Cause.PERMIT_RATE} if moving_window else LEVELS
        self.causes = self.corrected = self.permitted = self.rejected = self.causes_now = 0
        for name, port in sim.ports.items():
            if not port.output and name not in ("clk", "mutant"):
                sim[name] = 0
        sim["rst"] = 1
        sim.tick()
        assert not sim["causes"] & _PULSE_BITS, "a cause outlives the reset"
        assert not any(sim[name] for name in _IDLE_OUTPUTS), "an answer outlives the reset"
        sim.tick()
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

    def stand(self, model: GateModel, now: int, watched: frozenset[Cause]) -> None:
        """The levels that stand after some cycles at ``now``."""
        self.sim["now"] = now
        for _ in range(_PATIENCE):
            self.tick()
        assert causes_in(self.sim["causes"], watched) == model.levels(now) & watched, f"{now}: {model.limits}"

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
        self.causes_now = int(self.rng.integers(1 << 32))
        sim["armed_pulse"], sim["closed"], sim["causes_now"] = 0, int(one.closed), self.causes_now
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
        if episode < _EACH_BIT:
            _each_bit(gate, model, stream)
        _flips_too_many(gate, model, rng)
        _full_windows(gate, model, stream)
        _ages(gate, model)
        _burst(gate, model, stream)
        _cut_short(gate, stream)


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
    assert record == record_of(answer, gate.causes_now), f"{context}: {np.frombuffer(record, PERMIT)} {answer}"
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
            assert record == record_of(answer, gate.causes_now), f"bit {bit}: {np.frombuffer(record, PERMIT)} {answer}"
        sim[_STORE_PORT] = 0


#: What each of the edges leaves by one.
_SHORT = ("none", "max_order_qty", "max_position_qty", "max_gross_notional", "reference_max_age", "collar", "window")


def _each_bit(gate: _Gate, model: GateModel, stream: Stream) -> None:
    """Orders that meet every limit to the unit, or miss one by one, while a bit of each stored word is flipped."""
    sim, rng = gate.sim, gate.rng
    now = sim["now"] + int(rng.integers(1000))
    for bit in range(_WORD_BITS):
        for short in _SHORT:
            symbol, side, bps = (
                int(rng.integers(SYMBOLS)),
                Side(int(rng.integers(Side.BUY, Side.SELL + 1))),
                int(rng.integers(1, 9000)),
            )
            state, qty = model.state(symbol), int(rng.integers(1, 1 << int(rng.integers(1, 54))))
            held, opened = (state.position, state.open_buy) if side == Side.BUY else (-state.position, state.open_sell)
            reference = int(rng.integers(2, 1 << int(rng.integers(2, 60))))
            price = reference * (BPS + bps) // BPS + (short == "collar")
            quote = np.zeros(1, REFERENCE_BEAT)
            quote["kind"], quote["symbol"] = BeatKind.REFERENCE_PRICE, symbol
            quote["bid"], quote["ask"] = (reference - 1, reference) if side == Side.BUY else (reference, reference + 1)
            _given(gate, model, quote, now)
            now += int(rng.integers(1, 1 << int(rng.integers(1, 40))))
            limits = {
                "max_gross_notional": model.gross + price * qty - (short == "max_gross_notional"),
                "reference_max_age": now - (state.reference_time or 0) - (short == "reference_max_age"),
                "permits_per_window": 1,
                "window": (now - model.permits[-1] if model.permits else 0) + (short == "window"),
            }
            row = SymbolLimits(
                True, qty - (short == "max_order_qty"), max(held, 0) + opened + qty - (short == "max_position_qty")
            )
            if not 0 < qty <= AMOUNT_MAX or row.max_position_qty > AMOUNT_MAX or now >= 1 << 63:
                continue
            model.set_limits(replace(model.limits, **_WIDE, collar_bps=bps, duplicate_window=0, reject_trip=0))
            model.set_limits(replace(model.limits, **limits))
            sim["limits"] = packed_limits(model.limits)
            gate.set_row(symbol, row)
            model.set_symbol(symbol, row)
            beat = np.zeros(1, ORDER_BEAT)
            stream.key += 1
            fields = {"kind": BeatKind.ORDER, "symbol": symbol, "side": side, "price": price, "qty": qty}
            fields |= {"client_key": stream.key, "arm_epoch": model.arm_epoch, "limits_version": model.limits.version}
            for name, value in fields.items():
                beat[name] = value
            for port in (_STORE_PORT, _WINDOW_PORT):
                sim[port] = sum(1 << start + bit for start in range(0, sim.ports[port].width, _WORD_BITS))
            _given(gate, model, beat, now)
            sim[_STORE_PORT] = sim[_WINDOW_PORT] = 0
    stream.now = now


def _given(gate: _Gate, model: GateModel, beat: np.ndarray[Any, Any], now: int) -> None:
    record, _ = gate.send(Sent(beat.tobytes(), now), model.arm_epoch)
    answer = model.beat(beat.tobytes(), now, False)
    assert record == record_of(answer), f"{np.frombuffer(record, PERMIT)} {answer}"


#: A field that is out of range by 2, and what refuses then.
_BEFORE_MEMORY = (
    ("side", Control.BAD_INPUT),
    ("arm_epoch", Control.ARM_EPOCH),
    ("limits_version", Control.LIMITS_VERSION),
    *[("client_key", Control.MEMORY_FAULT)] * 5,
)


def _flips_too_many(gate: _Gate, model: GateModel, rng: np.random.Generator) -> None:
    """Two bits of a word of the row, or three that look like none: the memory is a cause, and refuses if nothing before does."""
    sim = gate.sim
    beat = np.zeros(1, ORDER_BEAT)
    fields = {"kind": BeatKind.ORDER, "symbol": int(rng.integers(3)), "price": 1, "qty": 1, "side": Side.BUY}
    fields |= {"client_key": (1 << 62), "arm_epoch": model.arm_epoch, "limits_version": model.limits.version}
    wrong, control = _BEFORE_MEMORY[int(rng.integers(len(_BEFORE_MEMORY)))]
    fields[wrong] += 2
    for name, value in fields.items():
        beat[name] = value
    for word in rng.choice(sim.ports[_STORE_PORT].width // _WORD_BITS, 4, replace=False):
        bits = [int(bit) for bit in rng.choice(_WORD_BITS, 2, replace=False)]
        while rng.random() < 0.5 and len(bits) < 3:
            third = int(rng.integers(_WORD_BITS))
            bits += [third] if _syndrome(*bits, third) > max(POSITIONS) else []
        sim[_STORE_PORT] = sum(1 << bit for bit in bits) << _WORD_BITS * int(word)
        record, given = gate.send(Sent(beat.tobytes(), sim["now"]), model.arm_epoch)
        told = np.frombuffer(record, PERMIT)[0]
        assert (given, told["verdict"], told["control"]) == (1, Verdict.REJECT, control)
        assert gate.causes & MEMORY
        model.answers += 1
    sim[_STORE_PORT] = 0


def _syndrome(*bits: int) -> int:
    """What the check bits make of these flipped bits."""
    checks = [*POSITIONS, *(1 << bit for bit in range(CHECK_BITS - 1)), 0]
    return reduce(xor, (checks[bit] for bit in bits))


def _ages(gate: _Gate, model: GateModel) -> None:
    """Ages, losses and drawdowns of every size, and limits that they meet to the unit or miss by one."""
    sim, rng = gate.sim, gate.rng
    for _ in range(6):
        start, peak = int(rng.integers(1 << 61)), 1 << (62 if rng.random() < 0.5 else int(rng.integers(63)))
        peak += int(rng.integers(peak)) * int(rng.integers(2))
        now = start + 2 + int(rng.integers(1 << int(rng.integers(1, 62))))
        bps = int(rng.integers(1, BPS + 1))
        equity = peak - -(-peak * bps // BPS) + int(rng.integers(2))
        loss = min(int(rng.integers(1 << int(rng.integers(1, 62)))), (1 << 63) - 1 - equity)
        short = [int(n) for n in rng.integers(-1, 2, 3)]
        ages = {"heartbeat_max_age": now - start - short[0], "equity_max_age": now - start - 1 - short[1]}
        model.set_limits(replace(model.limits, **ages, max_daily_loss=max(1, loss - short[2]), max_drawdown_bps=bps))
        sim["limits"], sim["peak"], sim["peak_write"], model.peak = packed_limits(model.limits), peak, 1, peak
        gate.tick()
        sim["peak_write"] = 0
        for kind, layout, at in ((BeatKind.HEARTBEAT, HEARTBEAT_BEAT, start), (BeatKind.EQUITY, EQUITY_BEAT, start + 1)):
            beat = np.zeros(1, layout)
            beat["kind"] = kind
            if kind == BeatKind.EQUITY:
                beat["equity"], beat["day_start"] = equity, equity + loss
            _given(gate, model, beat, at)
        gate.stand(model, now, LEVELS - {Cause.PERMIT_RATE})


def _full_windows(gate: _Gate, model: GateModel, stream: Stream) -> None:
    """A permit window of any size that an order has found full: a cause until the permit leaves it, to the unit."""
    sim, rng = gate.sim, gate.rng
    for _ in range(6 if model.permits else 0):
        oldest = model.permits[-1]
        window = int(rng.integers(1, 1 << int(rng.integers(1, 62))))
        limits = {"permits_per_window": 1, "window": window, "collar_bps": BPS, "duplicate_window": 0, "reject_trip": 0}
        model.set_limits(replace(model.limits, **_WIDE, **limits))
        sim["limits"] = packed_limits(model.limits)
        now = oldest + int(rng.integers(window))
        quote = np.zeros(1, REFERENCE_BEAT)
        quote["kind"], quote["bid"], quote["ask"] = BeatKind.REFERENCE_PRICE, 100, 101
        _given(gate, model, quote, now)
        row = SymbolLimits(True, AMOUNT_MAX, AMOUNT_MAX)
        gate.set_row(0, row)
        model.set_symbol(0, row)
        beat = np.zeros(1, ORDER_BEAT)
        stream.key += 1
        fields = {"kind": BeatKind.ORDER, "price": 100, "qty": 1, "side": Side.BUY, "client_key": stream.key}
        fields |= {"arm_epoch": model.arm_epoch, "limits_version": model.limits.version}
        for name, value in fields.items():
            beat[name] = value
        _given(gate, model, beat, now)
        gate.stand(model, oldest + window - int(rng.integers(2)), frozenset({Cause.PERMIT_RATE}))
        stream.now = max(stream.now, now)


def _burst(gate: _Gate, model: GateModel, stream: Stream) -> None:
    """Beats that wait for a row and for one another: each meets what was written before it, and is answered in order."""
    sim, rng = gate.sim, gate.rng
    model.set_limits(replace(model.limits, **_WIDE, collar_bps=BPS, duplicate_window=0, window=0, reject_trip=0))
    sim["limits"] = packed_limits(model.limits)
    beats = sorted((one.beat for one in stream.take(16)), key=lambda beat: beat[6] != BeatKind.ORDER)
    symbol = int(np.frombuffer(beats[0], ORDER_BEAT)[0]["symbol"])
    row = SymbolLimits(not model.table.get(symbol, SymbolLimits()).enabled, AMOUNT_MAX, int(rng.integers(1, AMOUNT_MAX)))
    sim["now"], sim["closed"], expected, given = stream.now, 0, [], []
    sim["beats__payload"], sim["beats__valid"] = int.from_bytes(beats[0], "little"), 1
    gate.set_row(symbol, row)
    model.set_symbol(symbol, row)
    for beat in beats:
        answer = model.beat(beat, stream.now, False)
        expected += [record_of(answer)] if answer else []
        sim["beats__payload"], sim["beats__valid"] = int.from_bytes(beat, "little"), 1
        for _ in range(_PATIENCE):
            taken = bool(sim["beats__ready"])
            given += _answer(gate)
            if taken:
                break
        assert taken
    sim["beats__valid"] = 0
    for _ in range(_PATIENCE):
        given += _answer(gate)
    assert given == expected, "beats without a pause"


def _answer(gate: _Gate) -> list[bytes]:
    """A cycle, and the record that was taken in it."""
    sim = gate.sim
    sim["permits__ready"] = int(gate.rng.random() < 0.5)
    taken = [sim["permits__payload"].to_bytes(64, "little")] if sim["permits__valid"] and sim["permits__ready"] else []
    gate.tick()
    return taken


def _cut_short(gate: _Gate, stream: Stream) -> None:
    """Beats under way, which the reset that follows is to forget."""
    sim = gate.sim
    for one in stream.take(2):
        sim["beats__payload"], sim["beats__valid"] = int.from_bytes(one.beat, "little"), 1
        for _ in range(int(gate.rng.integers(1, 16))):
            gate.tick()


BENCH = Bench("risk_gate", run, partial(RiskGate, SYMBOLS, WINDOW_DEPTH), (_STORE, _WINDOW), hold_inside=True)
