"""The risk gate against its integer reference: random beats on the edges of the controls, pauses, flipped memory bits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial, reduce
from itertools import repeat
from math import gcd
from operator import xor
from typing import Any

import numpy as np

from sentinel.model.gate import AMOUNT_MAX, Cause, SymbolLimits, bad_order
from sentinel.units import BPS
from sentinel.wire import EQUITY_BEAT, HEARTBEAT_BEAT, ORDER_BEAT, PERMIT, BeatKind, Control, Side, Verdict
from sentinel_hdl.ecc import CHECK_BITS, CODE_BITS, POSITIONS
from sentinel_hdl.risk_gate import RiskGate
from sentinel_hdl.tools.gate_pair import PATIENCE, GatePair, make_quote
from sentinel_hdl.tools.gate_stream import (
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
_WIDE = {
    "max_order_notional": (1 << 127) - 1,
    "max_gross_notional": (1 << 127) - 1,
    "reference_max_age": 1 << 62,
    "collar_bps": BPS,
}
_UNCOUNTED = {"duplicate_window": 0, "reject_trip": 0}


def run(sim: Simulation) -> None:
    """Episodes with limits of their own."""
    for episode in range(EPISODES):
        rng = np.random.default_rng(episode)
        scale = make_scale(rng)
        limits, rows = make_limits(rng, scale, WINDOW_DEPTH), make_rows(rng, scale)
        pair = GatePair(sim, rng, limits, moving_window=episode % 2 == 1)
        for symbol, row in rows.items():
            pair.set_row(symbol, row)
        if rng.random() < 0.3:
            pair.set_peak(10_400 * scale.money)
        stream = Stream(rng, limits, scale)
        for number, one in enumerate(stream.take(BEATS)):
            _step(pair, one, f"episode {episode}, beat {number}")
        if episode < _REPEATING:
            _repeats(pair, stream)
        _on_edges(pair, stream, range(CODE_BITS) if episode < _EACH_BIT else map(int, rng.integers(CODE_BITS, size=2)))
        _flips_too_many(pair)
        _collars(pair, stream)
        _same_again(pair, stream)
        _full_windows(pair, stream)
        _ages(pair)
        _burst(pair, stream)
        _cut_short(pair, stream)


def _step(pair: GatePair, one: Sent, context: str) -> None:
    """A beat to both; a bit that is read flips now and then, which changes nothing."""
    sim, rng, model = pair.sim, pair.rng, pair.model
    if one.beat[6] == BeatKind.ORDER:
        if rng.random() < 0.2:
            _at_collar(pair, one, context)
        else:
            _sharpen(pair, one)
    upset = str(rng.choice([_STORE_PORT, _WINDOW_PORT], p=[0.75, 0.25])) if rng.random() < 0.8 else None
    if upset is not None:
        sim[upset] = _in_each_word(sim, upset, lambda: int(rng.integers(CODE_BITS)))
    if one.arm:
        model.arm(model.arm_epoch + 1)
    model.causes.clear()
    record, given = pair.send(one)
    answer = model.beat(one.beat, one.now, one.closed)
    assert record == record_of(answer, pair.causes_now), f"{context}: {np.frombuffer(record, PERMIT)} {answer}"
    assert given == (answer is not None), context
    assert causes_in(pair.causes, PULSES) == model.causes & PULSES, f"{context}: pulses"
    assert causes_in(sim["causes"], pair.levels) == model.levels(one.now) & pair.levels, f"{context}: levels"
    assert not pair.causes & UNKNOWN_TO_REFERENCE, f"{context}: a memory fault or an illegal state"
    if upset is not None:
        sim[upset] = 0
        reads = one.beat[6] in (BeatKind.ORDER, BeatKind.ORDER_EVENT, BeatKind.REFERENCE_PRICE)
        assert upset == _WINDOW_PORT or pair.corrected == reads, f"{context}: corrected"
    else:
        assert not pair.corrected, f"{context}: corrected"
    permitted = answer is not None and answer.verdict == Verdict.PERMIT
    assert (pair.permitted, pair.rejected) == (permitted, answer is not None and not permitted), f"{context}: counts"
    if answer is not None:
        assert sim["last_control"] == answer.control, context


def _sharpen(pair: GatePair, one: Sent) -> None:
    """Set the limits so that the order meets one of them to the unit, or misses it by one."""
    rng, model, order = pair.rng, pair.model, np.frombuffer(one.beat, ORDER_BEAT)[0]
    symbol, side, price, qty = (int(order[name]) for name in ("symbol", "side", "price", "qty"))
    if bad_order(side, price, qty, int(order["flags"])) or symbol not in model.table or rng.random() < 0.4:
        return
    state, short = model.state(symbol), int(rng.integers(2))
    held, opened = _held(pair, symbol, side)
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
        case 7 | 8 if model.permits and pair.moving_window:
            back = int(rng.integers(1, min(len(model.permits), WINDOW_DEPTH - 1) + 1))
            limits |= {"permits_per_window": back, "window": one.now - model.permits[-back] + short}
    # What is sharpened is what refuses, if anything: the others are wide.
    if all(value > 0 for value in (*limits.values(), *rows.values())):
        most = SymbolLimits(True, AMOUNT_MAX, AMOUNT_MAX)._replace(**rows)
        pair.set_limits(**{**_WIDE, **limits})
        if most.max_position_qty <= AMOUNT_MAX:
            pair.set_row(symbol, most)


def _at_collar(pair: GatePair, one: Sent, context: str) -> None:
    """Wide limits, and a quote just before the order by which its price is on the edge of the collar."""
    rng, order = pair.rng, np.frombuffer(one.beat, ORDER_BEAT)[0]
    side, price = int(order["side"]), int(order["price"])
    bps, below = int(rng.integers(1, BPS)), bool(rng.integers(2))
    reference = price * BPS // (BPS - bps if below else BPS + bps) + int(rng.integers(2))
    if bad_order(side, price, int(order["qty"]), int(order["flags"])) or not 1 < reference < AMOUNT_MAX:
        return
    quote = make_quote(int(order["symbol"]), side, reference)
    _step(pair, Sent(quote.tobytes(), one.now), f"{context}, its quote")
    pair.set_limits(**_WIDE | {"collar_bps": bps})


def _held(pair: GatePair, symbol: int, side: int) -> tuple[int, int]:
    """The position as an order of this side sees it, and what is open on that side."""
    state = pair.model.state(symbol)
    return (state.position, state.open_buy) if side == Side.BUY else (-state.position, state.open_sell)


def _in_each_word(sim: Simulation, port: str, bit: Callable[[], int]) -> int:
    """A bit of every word that may be read: whatever ``bit`` gives for it."""
    return sum(1 << bit() + start for start in range(0, sim.ports[port].width, CODE_BITS))


def _repeats(pair: GatePair, stream: Stream) -> None:
    """The last order of each symbol again and again, in each of its words another bit flipped: a duplicate every time."""
    sim = pair.sim
    pair.set_limits(**_WIDE | {"duplicate_window": 1 << 62})
    for symbol in range(3):
        last = pair.model.state(symbol).last
        for bit in range(CODE_BITS if last else 0):
            assert last is not None
            stream.key += 1
            sim[_STORE_PORT] = _in_each_word(sim, _STORE_PORT, repeat(bit).__next__)
            pair.check(pair.make_order(symbol, last.side, last.price, last.qty, stream.key), sim["now"])
        sim[_STORE_PORT] = 0


#: What an order on the edge of every limit misses by one.
_SHORT = (
    "none",
    "max_order_qty",
    "max_order_notional",
    "max_position_qty",
    "max_gross_notional",
    "reference_max_age",
    "collar",
    "window",
)


def _on_edges(pair: GatePair, stream: Stream, flipped: Iterable[int]) -> None:
    """Orders that meet every limit to the unit, or miss one by one, while one of these bits of each stored word is flipped."""
    sim = pair.sim
    stream.now = sim["now"] + int(pair.rng.integers(1000))
    for bit in flipped:
        for short in _SHORT:
            order = _on_the_edge(pair, stream, short)
            if order is None:
                continue
            for port in (_STORE_PORT, _WINDOW_PORT):
                sim[port] = _in_each_word(sim, port, repeat(bit).__next__)
            pair.check(order, stream.now)
            sim[_STORE_PORT] = sim[_WINDOW_PORT] = 0


def _on_the_edge(pair: GatePair, stream: Stream, short: str) -> np.ndarray[Any, Any] | None:
    """A quote, limits, and an order that meets them all but the one named; None where no limit can be so."""
    rng, model = pair.rng, pair.model
    symbol, side, bps = int(rng.integers(SYMBOLS)), int(rng.integers(Side.BUY, Side.SELL + 1)), int(rng.integers(1, 9000))
    qty = int(rng.integers(1, 1 << int(rng.integers(1, 54))))
    held, opened = _held(pair, symbol, side)
    reference = int(rng.integers(2, 1 << int(rng.integers(2, 60))))
    price = reference * (BPS + bps) // BPS + (short == "collar")
    pair.check(make_quote(symbol, side, reference), stream.now)
    quoted, stream.now = stream.now, stream.now + int(rng.integers(1, 1 << int(rng.integers(1, 40))))
    row = SymbolLimits(True, qty - (short == "max_order_qty"), max(held, 0) + opened + qty - (short == "max_position_qty"))
    if row.max_position_qty > AMOUNT_MAX or stream.now >= 1 << 63:
        return None
    pair.set_limits(
        **_WIDE
        | _UNCOUNTED
        | {
            "collar_bps": bps,
            "max_order_notional": price * qty - (short == "max_order_notional"),
            "max_gross_notional": model.gross + price * qty - (short == "max_gross_notional"),
            "reference_max_age": stream.now - quoted - (short == "reference_max_age"),
            "permits_per_window": 1,
            "window": (stream.now - model.permits[-1] if model.permits else 0) + (short == "window"),
        }
    )
    pair.set_row(symbol, row)
    stream.key += 1
    return pair.make_order(symbol, side, price, qty, stream.key)


def _same_again(pair: GatePair, stream: Stream) -> None:
    """An order given again at any age, which is that of a duplicate to the unit, or beyond it by one."""
    rng = pair.rng
    pair.set_row(0, SymbolLimits(True, AMOUNT_MAX, AMOUNT_MAX))
    for _ in range(6):
        age = int(rng.integers(1 << int(rng.integers(1, 57))))
        pair.set_limits(**_WIDE | _UNCOUNTED | {"window": 0})
        pair.check(make_quote(0, Side.BUY, 100), stream.now)
        for window, wait in ((0, age), (age + int(rng.integers(2)), 0)):
            pair.set_limits(duplicate_window=window)
            stream.key += 1
            pair.check(pair.make_order(0, Side.BUY, 100, 1, stream.key), stream.now)
            stream.now += wait


def _collars(pair: GatePair, stream: Stream) -> None:
    """Prices of every size on either edge of the collar or next to it, the two products as near as they can be."""
    rng = pair.rng
    pair.set_row(0, SymbolLimits(True, AMOUNT_MAX, AMOUNT_MAX))
    for _ in range(12):
        bps, sign, side = int(rng.integers(1, BPS)), int(rng.choice([-1, 1])), int(rng.integers(Side.BUY, Side.SELL + 1))
        edge = BPS + sign * bps
        reference = BPS * int(rng.integers(1, 1 << int(rng.integers(1, 46))))
        if gcd(edge, BPS) == 1:
            reference += -sign * int(rng.integers(17)) * pow(edge, -1, BPS) % BPS
        price = sign * -(-sign * reference * edge // BPS) + int(rng.integers(-1, 2))
        pair.set_limits(**_WIDE | _UNCOUNTED | {"window": 0, "collar_bps": bps})
        pair.check(make_quote(0, side, reference), stream.now)
        stream.key += 1
        pair.check(pair.make_order(0, side, price, 1, stream.key), stream.now)


#: A field that is out of range by 2, and what refuses then.
_BEFORE_MEMORY = (
    ("side", Control.BAD_INPUT),
    ("arm_epoch", Control.ARM_EPOCH),
    ("limits_version", Control.LIMITS_VERSION),
    *[("client_key", Control.MEMORY_FAULT)] * 5,
)


def _flips_too_many(pair: GatePair) -> None:
    """Two bits of a word of the row, or three that look like none: the memory is a cause, and refuses if nothing before does."""
    sim, rng = pair.sim, pair.rng
    order = pair.make_order(int(rng.integers(3)), Side.BUY, 1, 1, 1 << 62)
    wrong, control = _BEFORE_MEMORY[int(rng.integers(len(_BEFORE_MEMORY)))]
    order[wrong] += 2
    for word in rng.choice(sim.ports[_STORE_PORT].width // CODE_BITS, 4, replace=False):
        bits = [int(bit) for bit in rng.choice(CODE_BITS, 2, replace=False)]
        while rng.random() < 0.5 and len(bits) < 3:
            third = int(rng.integers(CODE_BITS))
            bits += [third] if _syndrome(*bits, third) > max(POSITIONS) else []
        sim[_STORE_PORT] = sum(1 << bit for bit in bits) << CODE_BITS * int(word)
        record, given = pair.send(Sent(order.tobytes(), sim["now"]))
        told = np.frombuffer(record, PERMIT)[0]
        assert (given, told["verdict"], told["control"]) == (1, Verdict.REJECT, control)
        assert pair.causes & MEMORY
        pair.model.answers += 1
    sim[_STORE_PORT] = 0


def _syndrome(*bits: int) -> int:
    """What the check bits make of these flipped bits."""
    checks = [*POSITIONS, *(1 << bit for bit in range(CHECK_BITS - 1)), 0]
    return reduce(xor, (checks[bit] for bit in bits))


def _ages(pair: GatePair) -> None:
    """Ages, losses and drawdowns of every size, and limits that they meet to the unit or miss by one."""
    rng = pair.rng
    for _ in range(6):
        start, peak = int(rng.integers(1 << 61)), 1 << (62 if rng.random() < 0.5 else int(rng.integers(63)))
        peak += int(rng.integers(peak)) * int(rng.integers(2))
        now = start + 2 + int(rng.integers(1 << int(rng.integers(1, 62))))
        bps = int(rng.integers(1, BPS + 1))
        if gcd(bps, BPS) == 1:  # the products of the comparison are as near as they can be
            peak = peak // BPS * BPS + pow(bps, -1, BPS) * int(rng.integers(1, 17)) % BPS
        equity = peak - -(-peak * bps // BPS) + int(rng.integers(2))
        loss = min(int(rng.integers(1 << int(rng.integers(1, 62)))), (1 << 63) - 1 - equity)
        short = [int(n) for n in rng.integers(-1, 2, 3)]
        pair.set_limits(
            heartbeat_max_age=now - start - short[0],
            equity_max_age=now - start - 1 - short[1],
            max_daily_loss=max(1, loss - short[2]),
            max_drawdown_bps=bps,
        )
        pair.set_peak(peak)
        heartbeat, worth = np.zeros(1, HEARTBEAT_BEAT), np.zeros(1, EQUITY_BEAT)
        heartbeat["kind"], worth["kind"] = BeatKind.HEARTBEAT, BeatKind.EQUITY
        worth["equity"], worth["day_start"] = equity, equity + loss
        pair.check(heartbeat, start)
        pair.check(worth, start + 1)
        pair.check_levels(now, LEVELS - {Cause.PERMIT_RATE})


def _full_windows(pair: GatePair, stream: Stream) -> None:
    """A permit window of any size that an order has found full: a cause until the permit leaves it, to the unit."""
    rng, permits = pair.rng, pair.model.permits
    for _ in range(6 if permits else 0):
        oldest, window = permits[-1], int(rng.integers(1, 1 << int(rng.integers(1, 62))))
        pair.set_limits(**_WIDE | _UNCOUNTED | {"permits_per_window": 1, "window": window})
        now = oldest + int(rng.integers(window))
        pair.check(make_quote(0, Side.BUY, 101), now)
        pair.set_row(0, SymbolLimits(True, AMOUNT_MAX, AMOUNT_MAX))
        stream.key += 1
        pair.check(pair.make_order(0, Side.BUY, 100, 1, stream.key), now)
        pair.check_levels(oldest + window - int(rng.integers(2)), frozenset({Cause.PERMIT_RATE}))
        stream.now = max(stream.now, now)


def _burst(pair: GatePair, stream: Stream) -> None:
    """Beats that wait for a row and for one another: each meets what was written before it, and is answered in order."""
    sim, rng, model = pair.sim, pair.rng, pair.model
    pair.set_limits(**_WIDE | _UNCOUNTED | {"window": 0})
    beats = sorted((one.beat for one in stream.take(16)), key=lambda beat: beat[6] != BeatKind.ORDER)
    symbol = int(np.frombuffer(beats[0], ORDER_BEAT)[0]["symbol"])
    row = SymbolLimits(not model.table.get(symbol, SymbolLimits()).enabled, AMOUNT_MAX, int(rng.integers(1, AMOUNT_MAX)))
    sim["now"], sim["closed"], expected, given = stream.now, 0, [], []
    sim["beats__payload"], sim["beats__valid"] = int.from_bytes(beats[0], "little"), 1
    pair.set_row(symbol, row)
    for beat in beats:
        answer = model.beat(beat, stream.now, False)
        expected += [record_of(answer)] if answer else []
        sim["beats__payload"] = int.from_bytes(beat, "little")
        for _ in range(PATIENCE):
            taken = bool(sim["beats__ready"])
            given += pair.answer()
            if taken:
                break
        assert taken, "a beat is never taken"
    sim["beats__valid"] = 0
    for _ in range(PATIENCE):
        given += pair.answer()
    assert given == expected, "beats without a pause"


def _cut_short(pair: GatePair, stream: Stream) -> None:
    """Beats under way, which the reset that follows is to forget."""
    sim = pair.sim
    for one in stream.take(2):
        sim["beats__payload"], sim["beats__valid"] = int.from_bytes(one.beat, "little"), 1
        for _ in range(int(pair.rng.integers(1, 16))):
            pair.tick()


BENCH = Bench("risk_gate", run, partial(RiskGate, SYMBOLS, WINDOW_DEPTH), (_STORE, _WINDOW), hold_inside=True)
