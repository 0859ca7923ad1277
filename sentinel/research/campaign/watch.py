"""What must hold at the moment an order leaves, judged by what the venue holds and not by what the engine believes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.config import RiskConfig
from sentinel.engine.layout import FOREIGN, REDUCE_ONLY
from sentinel.host.daemon import Daemon
from sentinel.research.campaign.market import INSTRUMENTS
from sentinel.research.campaign.names import NAMES
from sentinel.sim.venue.auth import KeyRing
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.orders import OPEN
from sentinel.units import E8, NS_PER_S
from sentinel.wire import (
    IntentFlag,
    Kind,
    OrderState,
    Side,
    SignalCode,
    TradingState,
    record_views,
)

_DEFINITIVE = (OrderState.REJECTED, OrderState.NEVER_ACCEPTED)
#: Rests too small to trade and fees taken in the coin: what a position may differ by, quote e8 a symbol.
_REST = 12 * E8
#: Requests of one process that a venue may see after it has refused the key: those under way, and a few questions.
_MOST_REFUSED = 12
#: News of somebody else's order has come by then, however late the account's events are.
_FOREIGN_SEEN_NS = 5 * NS_PER_S


@dataclass(slots=True)
class Intent:
    """An order as it was decided; prices and quantities e8."""

    key: int
    t_ns: int
    symbol: int
    side: int
    price: int
    qty: int
    reduce_only: bool


class Watch:
    """Sees every effect of every life of the daemon. ``violations`` are sentences."""

    def __init__(self, exchange: Exchange, account: str, risk: RiskConfig, keys: KeyRing) -> None:
        self.intents: dict[int, Intent] = {}
        self.violations: list[str] = []
        self._exchange = exchange
        self._account = account
        self._risk = risk
        self._keys = keys
        self._refused = 0
        self._unsettled: dict[int, Intent] = {}
        self._held = [0] * len(INSTRUMENTS)
        self._places = 0
        self._daemon: Daemon | None = None

    def begin(self, daemon: Daemon) -> None:
        """A new process; what the one before sent is still under way, and some of it nobody saw leave."""
        self._daemon = daemon
        self._places = 0
        self._refused = self._keys.refused
        for row in daemon.host.state.orders:
            key = int(row["key"])
            if int(row["state"]) != OrderState.FREE and not int(row["flags"]) & FOREIGN and key not in self.intents:
                side, reduce_only = int(row["side"]), bool(int(row["flags"]) & REDUCE_ONLY)
                t_ns, symbol, price, qty = (int(row[name]) for name in ("t_intent", "symbol", "price", "qty"))
                self.intents[key] = self._unsettled[key] = Intent(key, t_ns, symbol, side, price, qty, reduce_only)

    def boundary(self, name: str, killed: bool) -> None:
        """Something has happened in the daemon; ``killed``: the operator has tripped the kill switch and not armed since."""
        daemon = self._daemon
        if daemon is None:
            return
        if name in ("stepped", "reconciled"):
            self._compare_open(daemon)
        if self._keys.refused - self._refused > _MOST_REFUSED:
            self._say("a refused key was used again and again")
        if name != "sent" or daemon.gateway.counts["places"] == self._places:
            return
        self._places = daemon.gateway.counts["places"]
        account = daemon.host.state.glob[0]
        state = TradingState(int(account["trading_state"]))
        why = {
            "the kill switch was tripped": killed or bool(account["killed"]),
            f"the trading state was {state.name}": state < TradingState.REDUCE_ONLY,
            "there was no journal": bool(account["journal_fault"]) or daemon.host.spilling.waiting > 0,
        }
        self.violations += [f"an order left while {reason}" for reason, wrong in why.items() if wrong]

    def _compare_open(self, daemon: Daemon) -> None:
        """What is open at the venue is live for the engine, and counts there with at least what can still fill."""
        state = daemon.host.state
        for symbol, orders in enumerate(self._exchange.desk.open):
            if not orders:
                continue
            mine = [order for order in orders.values() if order.account == self._account]
            ours = [order for order in mine if NAMES.key(order.client_id) is not None]
            for side, counted in ((Side.BUY, "open_buy"), (Side.SELL, "open_sell")):
                of_side = [order for order in ours if order.side == side]
                rest = sum(order.remaining for order in of_side)
                if rest > int(state.symbols[counted][symbol]):
                    names = " ".join(order.client_id for order in of_side)
                    self._say(f"{names} can still fill {rest} (e8), and the engine counts {int(state.symbols[counted][symbol])}")
            for order in ours:
                key = NAMES.key(order.client_id)
                states = [] if key is None else state.orders["state"][state.orders["key"] == key].tolist()
                if not any(OrderState.FREE < held <= OrderState.UNKNOWN for held in states):
                    self._say(f"{order.client_id} is open at the venue and not live for the engine")

    def _say(self, violation: str) -> None:
        if violation not in self.violations:
            self.violations.append(violation)

    def effect(self, slots: NDArray[Any]) -> None:
        """An effect has left (int64[1 or 2, 8])."""
        views = record_views(np.ascontiguousarray(slots))
        kind = int(views.market["kind"][0])
        if kind == Kind.SIGNAL and views.signal["code"][0] == SignalCode.ROUND_TRIP:
            self._closed(int(views.signal["symbol"][0]), int(views.signal["price"][0]))
        elif kind == Kind.PLACE:
            record = views.intent1[0]
            intent = Intent(
                int(record["client_key"]),
                int(record["t"]),
                int(record["symbol"]),
                int(record["side"]),
                int(record["price"]),
                int(record["qty"]),
                bool(record["flags"] & IntentFlag.REDUCE_ONLY),
            )
            if intent.key in self.intents:
                self.violations.append(f"{NAMES.order(intent.key)} was decided twice")
            self.intents[intent.key] = self._unsettled[intent.key] = intent
            self._weigh(intent)

    def _settle(self) -> None:
        """Take what is over out of the doubtful and into what is held."""
        for key, intent in list(self._unsettled.items()):
            order = self._at_venue(intent)
            if order is not None and order.status not in OPEN:
                self._held[intent.symbol] += order.executed if intent.side == Side.BUY else -order.executed
                del self._unsettled[key]
            elif order is None and self._ended_for_engine(key):
                # Should the engine be wrong, the order is found at the end.
                del self._unsettled[key]

    def _at_venue(self, intent: Intent) -> Any:
        return self._exchange.desk.by_client.get((self._account, intent.symbol, NAMES.order(intent.key)))

    def _ended_for_engine(self, key: int) -> bool:
        assert self._daemon is not None
        orders = self._daemon.host.state.orders
        states = orders["state"][orders["key"] == key]
        return bool(len(states)) and int(states[0]) in _DEFINITIVE

    def _worst(self, symbol: int, side: int) -> int:
        """Base quantity on ``side`` if every order under way or in doubt fills whole."""
        held = self._held[symbol] if side == Side.BUY else -self._held[symbol]
        worst = 0
        for intent in self._unsettled.values():
            if intent.symbol != symbol:
                continue
            order = self._at_venue(intent)
            done = 0 if order is None else order.executed
            held += done if intent.side == side else -done
            if intent.side == side:
                worst += intent.qty - done
        return max(held, 0) + worst

    def _weigh(self, intent: Intent) -> None:
        self._settle()
        text, risk = NAMES.order(intent.key), self._risk
        if intent.price * intent.qty // E8 > risk.max_order_notional:
            self.violations.append(f"{text} is larger than one order may be")
        value = intent.price * self._worst(intent.symbol, intent.side) // E8
        if intent.reduce_only:
            return
        assert self._daemon is not None
        session = self._daemon.session
        # Without a connection it hears of nobody's order, and its own does not leave.
        connected = session is not None and session.ready
        for order in self._exchange.desk.open_of(self._account, intent.symbol) if connected else ():
            foreign = NAMES.key(order.client_id) is None
            if foreign and self._exchange.now_ns - order.created_ns > _FOREIGN_SEEN_NS:
                self._say(f"{text} was decided beside an open order of somebody else")
        if value > risk.max_position_notional + _REST:
            self.violations.append(f"{text} may take its position to {value / E8:.2f}, above the limit")
        gross = value + sum(
            self._last_price(symbol) * max(self._worst(symbol, Side.BUY), self._worst(symbol, Side.SELL)) // E8
            for symbol in range(len(INSTRUMENTS))
            if symbol != intent.symbol
        )
        if gross > risk.max_gross_notional + len(INSTRUMENTS) * _REST:
            self.violations.append(f"{text} may take all positions to {gross / E8:.2f}, above the limit")
        if len(self._unsettled) > risk.max_open_orders:
            self.violations.append(f"{text} is one order more than may be under way")

    def _last_price(self, symbol: int) -> int:
        assert self._daemon is not None
        return int(self._daemon.host.state.symbols["last_price"][symbol])

    def _closed(self, symbol: int, price: int) -> None:
        """The strategy says that it is flat on ``symbol``."""
        self._settle()
        rest = abs(self._held[symbol]) * price // E8
        if any(intent.symbol == symbol for intent in self._unsettled.values()):
            self.violations.append(f"{INSTRUMENTS[symbol].symbol} was called flat with an order under way")
        elif rest > _REST:
            self.violations.append(f"{INSTRUMENTS[symbol].symbol} was called flat while {rest / E8:.2f} of it were held")
        self._held[symbol] = 0
