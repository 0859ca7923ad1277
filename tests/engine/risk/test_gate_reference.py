"""Random streams of orders, fills, quotes and commands: the gate answers as the reference does, control, observed and limit."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from sentinel.engine.layout import HALT_OPERATOR, HALT_RESTRICTED, NO_LIMIT, LimitField
from sentinel.units import E8
from sentinel.wire import Command, Control, OrderEventKind, OrderType, Reason, Side, SignalCode, TimeInForce
from tests.engine.risk.gate_reference import GateReference
from tests.engine.risk.offers import Offers
from tests.engine.world import MS, SECOND

SYMBOLS = 3
Seen = Counter[Control]

#: Values a stream draws its limits from: far away most of the time, so that the controls behind them are reached.
LIMITS = {
    "max_order_qty": (80 * E8, 10**6 * E8, 10**6 * E8, 10**6 * E8),
    "max_order_notional": (100 * E8, 10**5 * E8, 10**5 * E8),
    "max_position_notional": (250 * E8, 10**5 * E8, 10**5 * E8),
    "max_gross_notional": (500 * E8, 10**6 * E8, 10**6 * E8),
    "max_net_notional": (300 * E8, 10**6 * E8, 10**6 * E8),
    "min_free_capital_bps": (0, 500, 500, 8_600),
    "max_orders_per_s": (3, 100, 100),
    "max_orders_per_10s": (5, 100, 100),
    "max_orders_per_minute": (8, 100, 100),
    "max_orders_per_day": (10, 10_000, 10_000),
    "max_notional_per_10s": (400 * E8, 10**6 * E8, 10**6 * E8),
    "max_notional_per_minute": (600 * E8, 10**6 * E8, 10**6 * E8),
    "max_repeats_per_minute": (3, 100, 100),
    "max_trades_per_minute": (9, 1_000, 1_000),
    "max_order_to_trade": (4, 1_000, 1_000),
    "max_open_orders": (3, 100, 100),
    "max_drift_bps": (50, 2_000, 2_000),
    "collar_spreads": (1, 10, 10),
    "collar_floor_bps": (0, 100, 100),
    "collar_sigmas": (1, 5, 5, 20),
    "max_source_gap_bps": (0, 0, 30),
    "approval_notional_per_minute": (0, 0, 250 * E8),
    "max_clock_error_ns": (0, 0, 100_000),
    "max_restricted_age_ns": (0, 0, 0, 40 * SECOND),
}
#: The same for what a symbol may have of its own: mostly nothing.
OWN_LIMITS = {
    "max_order_qty": (50 * E8, 50 * E8 - 1, 80 * E8, *[NO_LIMIT] * 6),
    "max_order_notional": (50 * E8, 80 * E8, *[NO_LIMIT] * 6),
    "max_position_notional": (100 * E8, 150 * E8, *[NO_LIMIT] * 6),
    "price_collar_bps": (10, 50, 100, *[NO_LIMIT] * 4),
    "max_open_orders": (0, 1, 2, *[NO_LIMIT] * 6),
}
ODD: tuple[dict[str, int], ...] = (
    {"order_type": OrderType.MARKET},
    {"tif": TimeInForce.GTC},
    {"tif": 0},
    {"reason": Reason.NONE},
    {"edge_bps": 0},
    {"fair_value": 0},
    {"t_signal": 0},
    {"t_signal": 1},
    {"side": 0},
    {"qty": 0},
    {"qty": -1},
    {"qty": (1 << 61) + 1},
    {"qty": 1 << 61},
    {"price": -1},
    {"price": 1 << 62},
    {"price": E8 + 1},
    {"qty": 5_000_050_000},
    {"qty": 100_000},
)
COMMANDS = (
    "clock",
    "clock",
    "clock",
    "step",
    "alarm",
    "arm",
    "arm",
    "halt",
    "restrict",
    "resume",
    "resume",
    "approve",
    "approve",
    "own",
    "own",
    "list",
    "list",
)
PRICES = (0.985, 0.99, 0.995, 0.998, 0.999, 1.0, 1.001, 1.002, 1.005, 1.01, 1.06)
QUANTITIES = (10.0, 50.0, 50.0, 80.0, 100.0, 120.001)
ENDS = ("fill", "fill", "fill", "part", "expire", "reject", "ambiguous")


class Stream:
    """The engine and the reference side by side."""

    def __init__(self, limits: dict[str, int], seen: Seen) -> None:
        off = {
            "threshold": 10**9,
            "daily_loss_soft_bps": 10_000,
            "daily_loss_hard_bps": 10_000,
            "max_loss_per_minute_bps": 10_000,
        }
        self.engine = Offers(symbols=SYMBOLS, quote=20_000.0, setup_expiry_ns=600 * SECOND, **(off | limits))
        self.reference = GateReference(self.engine.state)
        self.seen = seen
        self.places: dict[int, dict[str, Any]] = {}
        for s in range(SYMBOLS):
            self._quote(s, 0.999, 1.001, 1.0)

    def turn(self, random: Random) -> None:
        """One random event."""
        choice = random.random()
        if choice < 0.55:
            event = {
                "symbol": random.randrange(SYMBOLS),
                "side": random.choice((Side.BUY, Side.SELL)),
                "price": random.choice(PRICES),
                "qty": random.choice(QUANTITIES),
                "reduce_only": int(random.random() < 0.25),
            }
            self._offer(event, random.choice(ODD) if random.random() < 0.15 else {}, random.random() < 0.2)
        elif choice < 0.68:
            self.engine.wait(random.choice((1, 400 * MS, SECOND, 2 * SECOND, 4 * SECOND, 9 * SECOND, 30 * SECOND)))
        elif choice < 0.78:
            middle, half = random.choice((0.995, 0.998, 1.0, 1.002, 1.005)), random.choice((0.001, 0.001, 0.004))
            for s in range(SYMBOLS):
                self._quote(s, middle - half, middle + half, middle + random.choice((0.0, 0.0, 0.0, 0.0025, 0.0035)))
        elif choice < 0.92:
            self._end(random.randrange(20), random.choice(ENDS))
        else:
            self._command(random.choice(COMMANDS), random)

    def _quote(self, s: int, bid: float, ask: float, last: float) -> None:
        self.engine.trade(last, symbol=s).bbo(bid, ask, s).run()
        self.reference.quoted(self.engine.now, s, round(bid * E8), round(ask * E8), round(last * E8))

    def _offer(self, event: dict[str, Any], odd: dict[str, int], rests: bool) -> None:
        fields: dict[str, int] = {"t_signal": self.engine.now}
        if rests:
            fields |= {"tif": TimeInForce.GTC, "t_rest_end": self.engine.now + 3_600 * SECOND}
        fields |= odd
        side = fields.pop("side", event.pop("side"))
        # What the engine will see is known before it answers: the proposal, the time of the tick it comes with, and what a tick
        # does to orders that are to be cancelled.
        self.engine.tick().run()
        q = self._proposal(side, event, fields)
        expected = self.reference.verdict(q)
        answer = self.engine.offer(side=side, raw=fields, **event)
        self.seen[Control(answer.control)] += 1
        assert (answer.control, answer.observed, answer.limit) == tuple(int(value) for value in expected), q
        if answer.place is not None:
            key = answer.place["client_key"]
            self.places[key] = answer.place
            self.reference.let_through(key, q)

    def _proposal(self, side: int, event: dict[str, Any], fields: dict[str, int]) -> dict[str, int]:
        reduces = event["reduce_only"]
        base = {
            "symbol": event["symbol"],
            "side": side,
            "price": round(event["price"] * E8),
            "qty": round(event["qty"] * E8),
            "reduce_only": reduces,
            "order_type": int(OrderType.LIMIT),
            "tif": int(TimeInForce.IOC),
            "t_rest_end": 0,
            "reason": int(Reason.EXIT_HORIZON if reduces else Reason.ENTRY_WAIT),
            "setup_id": 1,
            "ref_price": E8,
            "fair_value": E8,
            "edge_bps": 0 if reduces else 50,
        }
        return base | fields

    def _end(self, number: int, how: str) -> None:
        keys = sorted(self.reference.live)
        if not keys:
            return
        key = keys[number % len(keys)]
        place, order = self.places[key], self.reference.live[key]
        if order.unknown:
            self.engine.order(key, OrderEventKind.CANCELED, order.symbol).run()
        elif how in ("fill", "part"):
            share = 1.0 if how == "fill" else 0.5
            self.engine.complete(place, share)
            sent = next(
                o for o in self.reference.sent if (o.symbol, o.side, o.price, o.qty) == self._order(order) and not o.filled
            )
            sent.filled = True
        elif how == "expire":
            self.engine.ends(place)
        elif how == "reject":
            self.engine.ends(place, OrderEventKind.REJECTED)
        else:
            self.engine.ends(place, OrderEventKind.AMBIGUOUS)
            order.unknown = True
            return
        del self.reference.live[key]

    @staticmethod
    def _order(order: Any) -> tuple[int, int, int, int]:
        return (order.symbol, order.side, order.price, order.qty)

    def _command(self, name: str, random: Random) -> None:
        engine = self.engine
        if name == "arm":
            engine.arm()
            self.reference.armed_at = len(self.reference.sent)
            self.reference.off.clear()
        elif name in ("clock", "step"):
            engine.command(Command.CLOCK, value=50_000, value2=int(name == "step"))
        elif name == "alarm":
            engine.command(Command.ALARM, value=1)
        elif name in ("approve", "refuse"):
            requests = engine.signals(SignalCode.APPROVAL_NEEDED)
            before = int(engine.c["bad_input"])
            if requests and name == "approve":
                asked = requests[-1]
                engine.command(Command.APPROVE, id=asked["limit"], value=1, t2=engine.now + 20 * SECOND)
                if int(engine.c["bad_input"]) == before:
                    self.reference.grants.append(asked | {"until": engine.now + 20 * SECOND})
        elif name == "own":
            field = random.choice(sorted(OWN_LIMITS))
            value = random.choice(OWN_LIMITS[field])
            engine.control(Command.LIMITS, random.randrange(SYMBOLS), id=LimitField[field.upper()], value=value, version=1).run()
        elif name == "list":
            issued = engine.now - random.choice((0, 10 * SECOND))
            engine.command(Command.LIMITS, id=LimitField.RESTRICTED_ISSUED, value=issued, version=1)
            engine.control(Command.LIMITS, 0, id=LimitField.RESTRICTED, value=random.choice((0, NO_LIMIT)), version=1).run()
        elif name == "resume":
            engine.control(Command.SYMBOL_RESUME, 0, value=HALT_OPERATOR | HALT_RESTRICTED).run()
        else:
            engine.control(Command.SYMBOL_HALT, 0, value=HALT_OPERATOR if name == "halt" else HALT_RESTRICTED).run()


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Counter()


def _run(seed: int, turns: int, seen: Seen) -> None:
    random = Random(seed)
    stream = Stream({name: random.choice(values) for name, values in LIMITS.items()}, seen)
    for _ in range(turns):
        stream.turn(random)


@pytest.mark.parametrize("seed", range(150))
def test_the_gate_answers_as_its_reference_on_a_random_stream(seen: Seen, seed: int) -> None:
    _run(seed, 250, seen)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(1_000, 1_100))
def test_the_gate_answers_as_its_reference_on_a_long_random_stream(seen: Seen, seed: int) -> None:
    _run(seed, 2_000, seen)


def test_the_streams_reached_the_controls(seen: Seen) -> None:
    if not seen:
        pytest.skip("counts what the test above compared")
    wanted = {
        Control.NONE,
        Control.ADVERSE_DRIFT,
        Control.ALARM,
        Control.APPROVAL,
        Control.BAD_INPUT,
        Control.CLOCK,
        Control.DUPLICATE,
        Control.DYNAMIC_COLLAR,
        Control.FREE_CAPITAL,
        Control.GROSS_EXPOSURE,
        Control.MAX_NOTIONAL,
        Control.MAX_QTY,
        Control.NET_EXPOSURE,
        Control.NO_REASON,
        Control.OPEN_ORDERS,
        Control.ORDER_RATE,
        Control.ORDER_TO_TRADE,
        Control.ORDER_TYPE,
        Control.POSITION_LIMIT,
        Control.PRICE_COLLAR,
        Control.RESTRICTED,
        Control.SELF_MATCH,
        Control.SIGNAL_AGE,
        Control.SOURCE_GAP,
        Control.REPEATED,
        Control.STALE_REFERENCE,
        Control.SYMBOL_HALTED,
        Control.TRADES_PER_MINUTE,
        Control.TURNOVER,
        Control.UNKNOWN_ORDER,
        Control.VENUE_FILTER,
    }
    assert {control.name for control in wanted if not seen[control]} == set()
