"""Random orders of two symbols through the engine's gate and through ``sentinel.model.gate``, the card's gate bit for bit.

Largest quantities of each symbol change on the way: in the engine by a limit of the symbol's own, on the card in its row.

The limits only one of them has, or that the two count differently (docs/cores/risk_gate.md), are set out of reach; prices and
quantities are such that no notional is rounded. Verdict and control are then always the same.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest

from sentinel.engine.layout import NO_LIMIT, LimitField
from sentinel.model.gate import AMOUNT_MAX, GateLimits, GateModel, SymbolLimits
from sentinel.units import CARD_TICK_NS, E8
from sentinel.wire import (
    ORDER_BEAT,
    ORDER_EVENT_BEAT,
    REFERENCE_BEAT,
    BeatKind,
    Command,
    Control,
    ExposureEvent,
    OrderBeatFlag,
    Side,
    TradingState,
    Verdict,
)
from tests.engine.risk.offers import Offers
from tests.engine.world import MS, SECOND

FAR = 1 << 60
SYMBOLS = 2
MAX_QTY, MAX_NOTIONAL, STALE_NS, COLLAR_BPS, PER_MINUTE = 1_000 * E8, 900 * E8, 2 * SECOND, 200, 25
PRICES = (0.97, 0.979, 0.98, 0.99, 1.0, 1.01, 1.02, 1.021, 1.03)
QUANTITIES = (100.0, 100.0, 200.0, 300.5, 900.0, 1_000.0, 1_000.001)
#: A symbol's own largest quantity: tighter than the account's, the same, a wider one, none.
OWN = (200 * E8 - 1, 200 * E8, 300 * E8, MAX_QTY, 2 * MAX_QTY, NO_LIMIT)
ODD: tuple[dict[str, int], ...] = ({"side": 0}, {"side": 3}, {"qty": 0}, {"qty": -1}, {"qty": AMOUNT_MAX}, {"price": -1})


class Twins:
    """Both gates, told the same."""

    def __init__(self) -> None:
        self.engine = Offers(
            symbols=SYMBOLS,
            stale_after_ns=STALE_NS,
            max_order_qty=MAX_QTY,
            max_order_notional=MAX_NOTIONAL,
            max_position_notional=FAR,
            max_gross_notional=FAR,
            max_net_notional=FAR,
            min_free_capital_bps=0,
            price_collar_bps=COLLAR_BPS,
            collar_floor_bps=10_000,
            max_trades_per_minute=PER_MINUTE,
            max_repeats_per_minute=1_000,
            max_drawdown_bps=10_000,
            threshold=10**9,
        )
        for symbol in range(SYMBOLS):
            self.engine.instrument(symbol, MIN_NOTIONAL=0)
        limits = GateLimits(
            version=1,
            max_order_notional=MAX_NOTIONAL * E8,
            max_gross_notional=1 << 120,
            collar_bps=COLLAR_BPS,
            max_drawdown_bps=10_000,
            max_daily_loss=FAR,
            reference_max_age=STALE_NS // CARD_TICK_NS,
            heartbeat_max_age=FAR,
            equity_max_age=FAR,
            duplicate_window=500 * MS // CARD_TICK_NS,
            window=60 * SECOND // CARD_TICK_NS,
            permits_per_window=PER_MINUTE,
            reject_trip=0,
        )
        self.model = GateModel(limits)
        self.enabled = [True] * SYMBOLS
        self.most = [MAX_QTY] * SYMBOLS
        self.keys = 0
        self.quote_all(1.0)
        self.live: list[dict[str, int]] = []

    @property
    def now(self) -> int:
        return self.engine.now // CARD_TICK_NS

    def quote_all(self, middle: float) -> None:
        for symbol in range(SYMBOLS):
            self._write_row(symbol)
            self.quote(symbol, middle)

    def _write_row(self, symbol: int) -> None:
        self.model.set_symbol(symbol, SymbolLimits(self.enabled[symbol], self.most[symbol], AMOUNT_MAX))

    def quote(self, symbol: int, middle: float) -> None:
        bid, ask = round((middle - 0.001) * E8), round((middle + 0.001) * E8)
        self.engine.quote(symbol, middle - 0.001, middle + 0.001).run()
        beat = np.zeros(1, REFERENCE_BEAT)
        beat["symbol"] = symbol
        beat["kind"], beat["bid"], beat["ask"] = BeatKind.REFERENCE_PRICE, bid, ask
        self.model.beat(beat.tobytes(), self.now, False)

    def toggle(self, symbol: int) -> None:
        self.enabled[symbol] = not self.enabled[symbol]
        self.engine.command(Command.INSTRUMENT, symbol=symbol, id=1, value=int(self.enabled[symbol]))
        self._write_row(symbol)

    def limit(self, symbol: int, own: int) -> None:
        """A limit of the symbol's own, NO_LIMIT for none; the card is given the tighter of it and the account's."""
        self.most[symbol] = min(own, MAX_QTY)
        self.engine.command(Command.LIMITS, symbol=symbol, id=int(LimitField.MAX_ORDER_QTY), value=own, version=1)
        self._write_row(symbol)

    def offer(
        self, symbol: int, side: int, price: float, qty: float, reduces: bool, odd: dict[str, int]
    ) -> tuple[Control, Control]:
        """The order through both; what each answers (NONE: a permit)."""
        # Only the engine knows of self-match: nothing of the other side is open meanwhile.
        for place in [place for place in self.live if place["symbol"] == symbol and place["side"] != side]:
            self.end(self.live.index(place), self.keys % 2 == 0)
        self.keys += 1
        values = {"side": side, "price": round(price * E8), "qty": round(qty * E8)} | odd
        beat = np.zeros(1, ORDER_BEAT)
        beat["kind"], beat["client_key"], beat["symbol"] = BeatKind.ORDER, self.keys, symbol
        beat["arm_epoch"], beat["limits_version"] = self.model.arm_epoch, 1
        beat["flags"] = int(OrderBeatFlag.REDUCE_ONLY) if reduces else 0
        for name, value in values.items():
            beat[name] = value
        closed = int(self.engine.g["trading_state"]) != TradingState.ACTIVE
        verdict = self.model.beat(beat.tobytes(), self.now, closed)
        assert verdict is not None
        answer = self.engine.offer(reduce_only=int(reduces), raw=values, symbol=symbol)
        if answer.place is not None:
            self.live.append(answer.place)
        assert (answer.place is not None) == (verdict.verdict == Verdict.PERMIT), (values, answer, verdict)
        return Control(answer.control), Control(verdict.control)

    def end(self, number: int, fills: bool) -> None:
        if not self.live:
            return
        place = self.live.pop(number % len(self.live))
        if fills:
            self.engine.complete(place)
        else:
            self.engine.ends(place)
        beat = np.zeros(1, ORDER_EVENT_BEAT)
        beat["kind"], beat["symbol"] = BeatKind.ORDER_EVENT, place["symbol"]
        beat["event"] = ExposureEvent.FILL if fills else ExposureEvent.RELEASE
        beat["side"], beat["price"], beat["qty"] = place["side"], place["price"], place["qty"]
        self.model.beat(beat.tobytes(), self.now, False)

    def arm(self) -> None:
        self.engine.wait(61 * SECOND).arm()
        self.model.arm(self.model.arm_epoch + 1)
        self.quote_all(1.0)


@pytest.fixture(scope="module")
def seen() -> Counter[Control]:
    return Counter()


def _run(seed: int, turns: int, seen: Counter[Control]) -> None:
    random, twins = Random(seed), Twins()
    for _ in range(turns):
        choice, symbol = random.random(), random.randrange(SYMBOLS)
        if choice < 0.6:
            side, odd = random.choice((Side.BUY, Side.SELL)), random.choice(ODD) if random.random() < 0.1 else {}
            found = twins.offer(symbol, side, random.choice(PRICES), random.choice(QUANTITIES), random.random() < 0.3, odd)
            seen[found[0]] += 1
            assert found[0] == found[1]
            if found[0] == Control.KILLED:
                twins.arm()
        elif choice < 0.72:
            twins.engine.wait(random.choice((4, 100 * MS, 500 * MS, SECOND, 3 * SECOND)))
        elif choice < 0.84:
            twins.quote(symbol, random.choice((0.99, 1.0, 1.0, 1.01)))
        elif choice < 0.98:
            twins.end(random.randrange(50), random.random() < 0.6)
        elif choice < 0.985:
            twins.toggle(symbol)
        else:
            twins.limit(symbol, random.choice(OWN))


@pytest.mark.parametrize("seed", range(60))
def test_engine_and_model_of_the_card_give_the_same_verdict(seen: Counter[Control], seed: int) -> None:
    _run(seed, 300, seen)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(1_000, 1_100))
def test_engine_and_model_of_the_card_agree_on_long_streams(seen: Counter[Control], seed: int) -> None:
    _run(seed, 15_000, seen)


def test_the_shared_controls_were_reached(seen: Counter[Control]) -> None:
    if not seen:
        pytest.skip("counts what the test above compared")
    shared = {Control.NONE, Control.KILLED, Control.BAD_INPUT, Control.SYMBOL_HALTED, Control.DUPLICATE, Control.MAX_QTY}
    shared |= {Control.MAX_NOTIONAL, Control.STALE_REFERENCE, Control.PRICE_COLLAR, Control.POSITION_LIMIT}
    shared |= {Control.TRADES_PER_MINUTE}
    assert {control.name for control in shared if seen[control] < 5} == set()
