"""A tiny world around the engine: records by hand, a decider that is one rule, and the effects as plain data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Self

import numpy as np
from numba import carray, cfunc, types
from numpy.typing import NDArray

from sentinel.engine.state import Effects, EngineSpec, EngineState, new_effects, new_state
from sentinel.engine.step import step_many
from sentinel.units import E8, NS_PER_S
from sentinel.wire import (
    NO_SYMBOL,
    Command,
    InstrumentField,
    Kind,
    OrderEventKind,
    Side,
    empty_slots,
    record_views,
)

T0 = 1_700_000_000 * NS_PER_S
MS = 1_000_000
SECOND = NS_PER_S
DECIDE = types.int32(types.voidptr, types.voidptr, types.voidptr, types.int64)
PUMP = 1
FAIL = -7


@cfunc(DECIDE, cache=True)
def move_decider(context: Any, beats: Any, decision: Any, deadline: Any) -> Any:
    """Fires rule 0 above +2 %, rule 1 below -2 %; margin 1000 then. ``context`` -7: fails."""
    beat = carray(beats, 32, np.uint32)
    vector = carray(beats, 32, np.float32)
    out = carray(decision, 16, np.uint32)
    knob = carray(context, 1, np.int64)
    if knob[0] == FAIL:
        return 1
    for k in range(16):
        out[k] = 0
    out[0] = beat[0]
    bits = 0
    if vector[2] > np.float32(0.02):
        bits = 1
    if vector[2] < np.float32(-0.02):
        bits = 2
    out[6] = 128 | (bits << 8)
    out[7] = 1 | ((beat[1] & 0xFFFF) << 16)
    out[8] = 1000 if bits else 0
    return 0


class World:
    """Builds records, runs them, and keeps every effect."""

    def __init__(self, spec: EngineSpec | None = None, **changes: Any) -> None:
        spec = spec or EngineSpec(symbols=2, classes=1, threshold=100, size_margins=(100,), size_steps_bps=(10_000,))
        self.spec = replace(spec, **changes)
        self.state: EngineState = new_state(self.spec)
        self.out: Effects = new_effects(4096)
        self.knob = np.zeros(1, np.int64)
        self.dec = np.array([move_decider.address, self.knob.ctypes.data, 0, 0], np.int64)
        self.now = T0
        self.records: list[NDArray[np.int64]] = []
        self.history: list[NDArray[np.int64]] = []
        self.effects: list[dict[str, Any]] = []
        self.trade_ids = 1000

    # records
    def _add(self, slots: NDArray[np.int64]) -> Self:
        self.records.append(slots)
        return self

    def market(self, kind: int, symbol: int = 0, t: int | None = None, **fields: int) -> Self:
        slots = empty_slots(1)
        m = record_views(slots).market[0]
        m["t_recv"] = self.now if t is None else t
        m["t_exchange"] = m["t_recv"]
        m["kind"], m["symbol"] = kind, symbol
        for name, value in fields.items():
            m[name] = value
        return self._add(slots)

    def trade(self, price: float, qty: float = 1.0, side: int = Side.BUY, symbol: int = 0, **fields: int) -> Self:
        return self.market(Kind.TRADE, symbol, price=round(price * E8), qty=round(qty * E8), side=side, **fields)

    def bbo(self, bid: float, ask: float, symbol: int = 0, **fields: int) -> Self:
        prices = {"price": round(bid * E8), "price2": round(ask * E8), "qty": 100 * E8, "qty2": 100 * E8}
        return self.market(Kind.BBO, symbol, **prices, **fields)

    def control(self, command: int, symbol: int = NO_SYMBOL, **fields: int) -> Self:
        slots = empty_slots(1)
        e = record_views(slots).control[0]
        e["t"], e["kind"], e["command"], e["symbol"] = self.now, Kind.CONTROL, command, symbol
        for name, value in fields.items():
            e[name] = value
        return self._add(slots)

    def order(self, key: int, event: int, symbol: int = 0, **fields: int) -> Self:
        slots = empty_slots(2)
        views = record_views(slots)
        e1, e2 = views.order1[0], views.order2[1]
        for e in (e1, e2):
            e["client_key"], e["kind"], e["symbol"] = key, Kind.ORDER_EVENT, symbol
        e1["t_recv"], e1["event"] = self.now, event
        e2["part"], e2["trade_id"] = 1, fields.pop("trade_id", -1)
        for name, value in fields.items():
            (e1 if name in (e1.dtype.names or ()) else e2)[name] = value
        return self._add(slots)

    def fill(self, place: dict[str, Any], qty: float, cum: float, price: float | None = None, **fields: int) -> Self:
        """A TRADE event of a PLACE effect."""
        price_e8 = place["price"] if price is None else round(price * E8)
        return self.order(
            place["client_key"],
            OrderEventKind.TRADE,
            place["symbol"],
            side=place["side"],
            last_price=price_e8,
            last_qty=round(qty * E8),
            cum_qty=round(cum * E8),
            cum_quote=price_e8 * round(cum * E8) // E8,
            **fields,
        )

    # time and running
    def wait(self, ns: int) -> Self:
        self.now += ns
        return self

    def tick(self) -> Self:
        return self.control(Command.TICK)

    def run(self) -> list[dict[str, Any]]:
        """Process what was added; returns the new effects."""
        if not self.records:
            return []
        slots = np.concatenate(self.records)
        self.history.append(slots)
        self.records = []
        return self.feed(slots)

    def feed(self, slots: NDArray[np.int64]) -> list[dict[str, Any]]:
        capacity = 1 << max(1, (len(slots) - 1).bit_length())
        ring = empty_slots(capacity)
        ring[: len(slots)] = slots
        views, start, fresh = record_views(ring), 0, []
        while start < len(slots):
            after = step_many(self.state, self.dec, views, capacity - 1, start, len(slots), self.out)
            fresh += self._drain()
            if after == start:
                raise AssertionError(f"no progress at slot {start}")
            start = after
        self.effects += fresh
        return fresh

    def _drain(self) -> list[dict[str, Any]]:
        found, n = [], int(self.out.cursor[0])
        i = 0
        views = self.out.views
        while i < n:
            kind = int(views.market[i]["kind"])
            if kind in (Kind.PLACE, Kind.CANCEL, Kind.QUERY):
                effect = _plain(views.intent2[i + 1]) | _plain(views.intent1[i])
                i += 2
            elif kind == Kind.ADVICE_REQUEST:
                effect = _plain(views.advice[i])
                i += 1
            else:
                effect = _plain(views.signal[i])
                i += 1
            found.append(effect)
        self.out.cursor[0] = 0
        return found

    # what happened
    def of(self, kind: int, effects: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        return [e for e in (self.effects if effects is None else effects) if e["kind"] == kind]

    def signals(self, code: int, effects: list[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
        return [e for e in self.of(Kind.SIGNAL, effects) if e["code"] == code]

    @property
    def g(self) -> Any:
        return self.state.glob[0]

    @property
    def c(self) -> Any:
        return self.state.counters[0]

    def symbol(self, s: int = 0) -> Any:
        return self.state.symbols[s]

    # usual beginnings
    def instrument(self, symbol: int = 0, **overrides: int) -> Self:
        values = {"TRADING": 1, "TICK_SIZE": 1_000, "STEP_SIZE": 100_000, "MIN_QTY": 100_000, "MIN_NOTIONAL": 5 * E8} | overrides
        for name, value in values.items():
            self.control(Command.INSTRUMENT, symbol, id=InstrumentField[name], value=value)
        return self

    def start(self, quote: float = 100_000.0, base: float = 1_000.0, arm: bool = True, epoch: int = 1) -> Self:
        """Recovered, funded, with instruments, armed."""
        self.control(Command.EPOCH, id=epoch).control(Command.RECOVERING)
        for s in range(self.spec.symbols):
            self.instrument(s)
            self.control(Command.BASE_BALANCE, s, value=round(base * E8))
        self.control(Command.QUOTE_BALANCE, value=round(quote * E8)).control(Command.RECOVERED)
        if arm:
            self.control(Command.ARM, id=int(self.g["arm_epoch"]) + 1)
        self.run()
        return self

    def pump(self, top: float = 1.2, symbol: int = 0) -> list[dict[str, Any]]:
        """One trade far above the quiet price, with a quote around it."""
        return self.wait(SECOND).bbo(top * 0.995, top * 1.005, symbol).trade(top, 50.0, symbol=symbol).run()

    def retrace(self, price: float = 1.13, symbol: int = 0) -> list[dict[str, Any]]:
        """The price comes back."""
        return self.wait(SECOND).bbo(price * 0.995, price * 1.005, symbol).trade(price, 50.0, symbol=symbol).run()

    def complete(self, place: dict[str, Any], share: float = 1.0, **fields: int) -> list[dict[str, Any]]:
        """SENT, ACKED and a fill of ``share`` of a PLACE; the rest expires, as an IOC does."""
        key, symbol = place["client_key"], place["symbol"]
        qty = int(place["qty"] * share) // 100_000 * 100_000 / E8
        self.trade_ids += 1
        self.order(key, OrderEventKind.SENT, symbol).order(key, OrderEventKind.ACKED, symbol)
        if qty:
            self.fill(place, qty, qty, trade_id=self.trade_ids, **fields)
        if share < 1:
            quote = place["price"] * round(qty * E8) // E8
            self.order(key, OrderEventKind.EXPIRED, symbol, cum_qty=round(qty * E8), cum_quote=quote)
        return self.run()

    def enter(self, share: float = 1.0, **fields: int) -> dict[str, Any]:
        """Quiet, pump, retrace, entry filled; returns the PLACE."""
        self.quiet()
        self.pump()
        self.retrace()
        place = self.places()[-1]
        self.complete(place, share, **fields)
        return place

    def places(self) -> list[dict[str, Any]]:
        return self.of(Kind.PLACE)

    def quiet(self, price: float = 1.0, seconds: int = 120, symbol: int = 0) -> Self:
        """A trade and a quote each second."""
        for _ in range(seconds):
            self.wait(SECOND).trade(price, symbol=symbol).bbo(price * 0.999, price * 1.001, symbol)
        self.run()
        return self


def _plain(record: np.void) -> dict[str, Any]:
    return {name: int(record[name]) for name in record.dtype.names or ()}
