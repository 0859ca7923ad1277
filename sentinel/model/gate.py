"""The risk gate as an integer model: what every gate, in software or in the card, must decide on the same beats.

The specification is docs/cores/risk_gate.md. Prices and quantities are e8, products of the two e16 and never divided, times
are ticks of 4 ns. A beat in gives a verdict out for an order and nothing for the rest; causes of a trip are collected in
``causes``, and the levels that stand are told by ``levels``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from sentinel.units import BPS
from sentinel.wire import (
    EQUITY_BEAT,
    MAX_SYMBOLS,
    ORDER_BEAT,
    ORDER_EVENT_BEAT,
    REFERENCE_BEAT,
    BeatKind,
    Control,
    ExposureEvent,
    OrderBeatFlag,
    Side,
    Verdict,
)

#: Largest price, quantity, open quantity and size of a position.
AMOUNT_MAX = (1 << 61) - 1
#: Permits remembered at most: the longest window counts 1,000.
WINDOW_DEPTH = 1024


class Cause(Enum):
    """Why the gate asks for a trip; the names are those of the register map's trip causes."""

    BEAT_FAULT = "BEAT_FAULT"
    EXPOSURE_FAULT = "EXPOSURE_FAULT"
    HEARTBEAT = "HEARTBEAT"
    STALE_EQUITY = "STALE_EQUITY"
    DRAWDOWN = "DRAWDOWN"
    DAILY_LOSS = "DAILY_LOSS"
    PERMIT_RATE = "PERMIT_RATE"
    GROSS_EXPOSURE = "GROSS_EXPOSURE"
    REJECTS = "REJECTS"


@dataclass(frozen=True)
class GateLimits:
    """Notionals e16, money e8, times in ticks; ``duplicate_window`` and ``reject_trip`` 0 mean never."""

    version: int
    max_order_notional: int
    max_gross_notional: int
    collar_bps: int
    max_drawdown_bps: int
    max_daily_loss: int
    reference_max_age: int
    heartbeat_max_age: int
    equity_max_age: int
    duplicate_window: int
    window: int
    permits_per_window: int
    reject_trip: int


class SymbolLimits(NamedTuple):
    """A row of the symbol table; quantities e8."""

    enabled: bool = False
    max_order_qty: int = 0
    max_position_qty: int = 0


class LastOrder(NamedTuple):
    """The last permitted order of a symbol."""

    side: int
    price: int
    qty: int
    time: int


@dataclass
class SymbolState:
    """What the gate holds of a symbol: exposure, reference and last order. ``value`` e16 is what the position counts for."""

    position: int = 0
    open_buy: int = 0
    open_sell: int = 0
    bid: int = 0
    ask: int = 0
    reference_time: int | None = None
    value: int = 0
    last: LastOrder | None = None


class GateVerdict(NamedTuple):
    """The answer to an order. ``seq`` counts answers from 1; ``control`` is 0 for a permit; ``now`` is when the order came."""

    client_key: int
    seq: int
    symbol: int
    verdict: Verdict
    control: int
    arm_epoch: int
    now: int


# The controls, each a function of integers that says whether it refuses.


def bad_order(side: int, price: int, qty: int, flags: int) -> bool:
    """No side, an amount outside 1 .. AMOUNT_MAX, or a flag nobody knows."""
    sized = 1 <= price <= AMOUNT_MAX and 1 <= qty <= AMOUNT_MAX
    return side not in (Side.BUY, Side.SELL) or not sized or bool(flags & ~int(OrderBeatFlag.REDUCE_ONLY))


def over_notional(price: int, qty: int, limit: int) -> bool:
    """price x qty above ``limit`` (e16)."""
    return price * qty > limit


def stale_reference(bid: int, ask: int, age: int | None, max_age: int) -> bool:
    """No reference (``age`` None), an old one, or one that is no two-sided uncrossed quote."""
    return age is None or age > max_age or bid <= 0 or ask <= bid


def outside_collar(price: int, reference: int, collar_bps: int) -> bool:
    """``price`` further than ``collar_bps`` from the side of the quote it would take, on either side of it."""
    return abs(price - reference) * BPS > reference * collar_bps


def over_position(position: int, open_qty: int, side: int, qty: int, limit: int) -> bool:
    """Position if every open order of the side and this one fill, above ``limit``; what is held against it counts 0."""
    held = position if side == Side.BUY else -position
    return max(held, 0) + open_qty + qty > limit


def not_reducing(position: int, open_qty: int, side: int, qty: int) -> bool:
    """A reduce-only order must be against the position and, with the open orders of its side, not beyond it."""
    held = position if side == Side.BUY else -position
    return held >= 0 or open_qty + qty > abs(position)


def over_gross(gross: int, asked: int, limit: int) -> bool:
    """Exposure of all symbols and the notional asked for, above ``limit`` (e16)."""
    return gross + asked > limit


def window_full(nth_last: int | None, now: int, window: int) -> bool:
    """The permit that lies N back (None: there were fewer) was given less than ``window`` ago."""
    return nth_last is not None and now - nth_last < window


def drawdown_reached(equity: int, peak: int, max_drawdown_bps: int) -> bool:
    """Equity has fallen from its peak by ``max_drawdown_bps`` or more. A peak of 0 or less is no peak to trust."""
    return peak <= 0 or (peak - equity) * BPS >= peak * max_drawdown_bps


def loss_reached(equity: int, day_start: int, max_daily_loss: int) -> bool:
    """Equity has lost ``max_daily_loss`` or more since the day began."""
    return day_start - equity >= max_daily_loss


@dataclass
class GateModel:
    """The gate and all it remembers. Starts without table, reference, heartbeat and equity, so nothing passes.

    ``causes`` collects the pulses since it was last emptied; the caller decides what they close.
    """

    limits: GateLimits
    arm_epoch: int = 1
    table: dict[int, SymbolLimits] = field(default_factory=dict)
    symbols: dict[int, SymbolState] = field(default_factory=dict)
    causes: set[Cause] = field(default_factory=set)
    open_notional: int = 0
    peak: int | None = None
    permits: deque[int] = field(default_factory=lambda: deque(maxlen=WINDOW_DEPTH))
    last_key: int | None = None
    rejects_in_row: int = 0
    answers: int = 0
    _heartbeat: int | None = None
    _equity: int | None = None
    _fell: bool = False
    _lost: bool = False
    _rate_since: int | None = None

    @property
    def gross(self) -> int:
        """Notional of open orders and value of positions, e16."""
        return self.open_notional + sum(state.value for state in self.symbols.values())

    def state(self, symbol: int) -> SymbolState:
        """What is held of a symbol, created empty."""
        return self.symbols.setdefault(symbol, SymbolState())

    def arm(self, epoch: int) -> None:
        """A new arm epoch: client keys may start anew, rejects are counted anew."""
        self.arm_epoch, self.last_key, self.rejects_in_row = epoch, None, 0

    def levels(self, now: int) -> set[Cause]:
        """The causes that stand at ``now`` whatever is sent."""
        limits = self.limits
        standing = set()
        if self._heartbeat is None or now - self._heartbeat > limits.heartbeat_max_age:
            standing.add(Cause.HEARTBEAT)
        if self._equity is None or now - self._equity > limits.equity_max_age:
            standing.add(Cause.STALE_EQUITY)
        if self._fell:
            standing.add(Cause.DRAWDOWN)
        if self._lost:
            standing.add(Cause.DAILY_LOSS)
        if self._rate_since is not None and now - self._rate_since < limits.window:
            standing.add(Cause.PERMIT_RATE)
        return standing

    def beat(self, beat: bytes, now: int, closed: bool) -> GateVerdict | None:
        """Take one sound beat of 64 bytes; the verdict where it is an order. ``closed``: the kill switch lets nothing pass."""
        match beat[6]:
            case BeatKind.ORDER:
                return self._order(np.frombuffer(beat, ORDER_BEAT)[0], now, closed)
            case BeatKind.ORDER_EVENT:
                self._event(np.frombuffer(beat, ORDER_EVENT_BEAT)[0])
            case BeatKind.REFERENCE_PRICE:
                self._reference(np.frombuffer(beat, REFERENCE_BEAT)[0], now)
            case BeatKind.EQUITY:
                self._take_equity(np.frombuffer(beat, EQUITY_BEAT)[0], now)
            case BeatKind.HEARTBEAT:
                self._heartbeat = now
        return None

    def _order(self, beat: Any, now: int, closed: bool) -> GateVerdict:
        symbol, side, price, qty = (int(beat[name]) for name in ("symbol", "side", "price", "qty"))
        control = Control.KILLED if closed else self._refusal(beat, now)
        self.answers += 1
        key = int(beat["client_key"])
        if control != 0:
            self.rejects_in_row = min(self.rejects_in_row + 1, 0xFFFF)
            if control == Control.GROSS_EXPOSURE:
                self.causes.add(Cause.GROSS_EXPOSURE)
            if control == Control.TRADES_PER_MINUTE:
                self.causes.add(Cause.PERMIT_RATE)
                self._rate_since = self._nth_last()
            if 0 < self.limits.reject_trip <= self.rejects_in_row:
                self.causes.add(Cause.REJECTS)
            return GateVerdict(key, self.answers, symbol, Verdict.REJECT, int(control), self.arm_epoch, now)
        state = self.state(symbol)
        if side == Side.BUY:
            state.open_buy = self._clamp(state.open_buy + qty)
        else:
            state.open_sell = self._clamp(state.open_sell + qty)
        state.last = LastOrder(side, price, qty, now)
        self.open_notional += price * qty
        self.permits.append(now)
        self.last_key, self.rejects_in_row = key, 0
        return GateVerdict(key, self.answers, symbol, Verdict.PERMIT, 0, self.arm_epoch, now)

    def _nth_last(self) -> int | None:
        count = self.limits.permits_per_window
        return self.permits[-count] if len(self.permits) >= count else None

    def _refusal(self, beat: Any, now: int) -> Control:
        """The first control that refuses, in order of precedence."""
        limits = self.limits
        symbol, side, price, qty = (int(beat[name]) for name in ("symbol", "side", "price", "qty"))
        row, state = self.table.get(symbol, SymbolLimits()), self.symbols.get(symbol, SymbolState())
        flags, key = int(beat["flags"]), int(beat["client_key"])
        reduces = bool(flags & OrderBeatFlag.REDUCE_ONLY)
        open_qty = state.open_buy if side == Side.BUY else state.open_sell
        age = None if state.reference_time is None else now - state.reference_time
        again = (
            state.last is not None and (side, price, qty) == state.last[:3] and now - state.last.time < limits.duplicate_window
        )
        wrong_position = (
            not_reducing(state.position, open_qty, side, qty)
            if reduces
            else over_position(state.position, open_qty, side, qty, row.max_position_qty)
        )
        checks = (
            (Control.BAD_INPUT, bad_order(side, price, qty, flags)),
            (Control.ARM_EPOCH, int(beat["arm_epoch"]) != self.arm_epoch),
            (Control.LIMITS_VERSION, int(beat["limits_version"]) != limits.version),
            (Control.SYMBOL_HALTED, not row.enabled),
            (Control.DUPLICATE, (self.last_key is not None and key <= self.last_key) or again),
            (Control.MAX_QTY, qty > row.max_order_qty),
            (Control.MAX_NOTIONAL, over_notional(price, qty, limits.max_order_notional)),
            (Control.STALE_REFERENCE, stale_reference(state.bid, state.ask, age, limits.reference_max_age)),
            (Control.PRICE_COLLAR, outside_collar(price, state.ask if side == Side.BUY else state.bid, limits.collar_bps)),
            (Control.POSITION_LIMIT, wrong_position),
            (Control.GROSS_EXPOSURE, not reduces and over_gross(self.gross, price * qty, limits.max_gross_notional)),
            (Control.TRADES_PER_MINUTE, window_full(self._nth_last(), now, limits.window)),
        )
        return next((control for control, refuses in checks if refuses), Control.NONE)

    def _clamp(self, amount: int, low: int = 0) -> int:
        """Into ``low`` .. AMOUNT_MAX; beyond it the books can't be trusted, which is a cause."""
        if not low <= amount <= AMOUNT_MAX:
            self.causes.add(Cause.EXPOSURE_FAULT)
        return min(max(amount, low), AMOUNT_MAX)

    def _event(self, beat: Any) -> None:
        event, side, price, qty = (int(beat[name]) for name in ("event", "side", "price", "qty"))
        adjusts = event == ExposureEvent.ADJUST
        sized = 0 < abs(qty) <= AMOUNT_MAX if adjusts else 1 <= qty <= AMOUNT_MAX and side in (Side.BUY, Side.SELL)
        if event not in set(ExposureEvent) or not 1 <= price <= AMOUNT_MAX or not sized:
            self.causes.add(Cause.BEAT_FAULT)
            return
        state = self.state(int(beat["symbol"]))
        if not adjusts:
            if side == Side.BUY:
                state.open_buy = self._clamp(state.open_buy - qty)
            else:
                state.open_sell = self._clamp(state.open_sell - qty)
            if price * qty > self.open_notional:
                self.causes.add(Cause.EXPOSURE_FAULT)
            self.open_notional = max(self.open_notional - price * qty, 0)
        if event != ExposureEvent.RELEASE:
            change = qty if adjusts or side == Side.BUY else -qty
            state.position = self._clamp(state.position + change, -AMOUNT_MAX)
        known = state.reference_time is not None and state.ask > 0
        state.value = abs(state.position) * (state.ask if known else price)

    def _reference(self, beat: Any, now: int) -> None:
        bid, ask = int(beat["bid"]), int(beat["ask"])
        if bid > AMOUNT_MAX or ask > AMOUNT_MAX:
            self.causes.add(Cause.BEAT_FAULT)
            return
        state = self.state(int(beat["symbol"]))
        state.bid, state.ask, state.reference_time = bid, ask, now
        if ask > 0:
            state.value = abs(state.position) * ask

    def _take_equity(self, beat: Any, now: int) -> None:
        equity, day_start = int(beat["equity"]), int(beat["day_start"])
        peak = equity if self.peak is None else self.peak
        self._fell = drawdown_reached(equity, peak, self.limits.max_drawdown_bps)
        self._lost = loss_reached(equity, day_start, self.limits.max_daily_loss)
        self.peak, self._equity = max(peak, equity), now

    def set_symbol(self, symbol: int, row: SymbolLimits) -> None:
        """Write a row of the symbol table."""
        if not 0 <= symbol < MAX_SYMBOLS:
            raise IndexError(f"symbol {symbol} is outside 0..{MAX_SYMBOLS - 1}")
        self.table[symbol] = row

    def set_limits(self, limits: GateLimits) -> None:
        """Put other limits in force."""
        self.limits = replace(limits)
