"""An exchange over a scripted market, with everything it says written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sentinel.sim.market.source import Market
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8
from sentinel.wire import Side
from tests.sim.scripted_market import Action, ScriptedSource

SECOND = 1_000_000_000
START_NS = 1_700_000_000 * SECOND
TICK = E8 // 100
INSTRUMENT = Instrument("PUMPUSDT", "PUMP", "USDT", tick=TICK, step=E8, min_price=TICK, max_price=10_000 * E8, min_qty=E8)
#: Asks 1.01, 1.02, 1.03 and bids 0.99, 0.98, 0.97, each 100.
LADDER = {Side.SELL: (101, 102, 103), Side.BUY: (99, 98, 97)}


def ladder(market: Market) -> None:
    for side, prices in LADDER.items():
        for price in prices:
            market.set_level(0, side, price * TICK, 100 * E8)


def taker(side: Side, qty: int, limit: int) -> Action:
    """An anonymous taker of whole coins, within a limit in ticks."""

    def action(market: Market) -> None:
        market.take(0, side, qty * E8, limit * TICK)
        market.commit(0)

    return action


def quote(side: Side, price: int, qty: int) -> Action:
    """An anonymous level of whole coins, at a price in ticks."""

    def action(market: Market) -> None:
        market.set_level(0, side, price * TICK, qty * E8)
        market.commit(0)

    return action


class Venue:
    """One account "a" (and "b") with 10,000 USDT and 1,000 PUMP each."""

    def __init__(
        self,
        actions: Sequence[tuple[int, Action]] = (),
        opening: Sequence[Action] = (ladder,),
        relays: bool = False,
        **instrument: Any,
    ) -> None:
        source = ScriptedSource(
            (replace(INSTRUMENT, **instrument),),
            actions=[(START_NS + at, action) for at, action in actions],
            opening=opening,
            start_ns=START_NS,
            end_ns=START_NS + 3600 * SECOND,
            relays=relays,
        )
        balances = {"USDT": 10_000 * E8, "PUMP": 1_000 * E8}
        self.exchange = Exchange(source.instruments, source, {"a": balances, "b": balances})
        self.public: list[tuple[str, dict[str, Any]]] = []
        self.user: list[tuple[str, dict[str, Any]]] = []
        self.exchange.publish = lambda stream, payload: self.public.append((stream, payload))
        self.exchange.publish_user = lambda account, event: self.user.append((account, event))

    def advance(self, seconds: float) -> None:
        self.exchange.advance(self.exchange.now_ns + int(seconds * SECOND))

    def place(self, side: str, qty: str, price: str = "", tif: str = "GTC", account: str = "a", **more: str) -> dict[str, Any]:
        """A LIMIT order, or MARKET where no price is given."""
        params = {"symbol": "PUMPUSDT", "side": side, "type": "LIMIT" if price else "MARKET"}
        if qty:
            params["quantity"] = qty
        if price:
            params |= {"price": price, "timeInForce": tif}
        params |= more
        if params["type"] == "LIMIT_MAKER":
            del params["timeInForce"]
        return self.exchange.place(account, params)

    def reports(self, account: str = "a") -> list[dict[str, Any]]:
        return [event for name, event in self.user if name == account and event["e"] == "executionReport"]

    def states(self, account: str = "a") -> list[tuple[str, str]]:
        """(execution type, order status) of each report."""
        return [(report["x"], report["X"]) for report in self.reports(account)]

    def balance(self, asset: str, account: str = "a") -> tuple[int, int]:
        held = self.exchange.ledger.accounts[account].balance(asset)
        return held.free, held.locked

    def stream(self, kind: str) -> list[dict[str, Any]]:
        return [payload for stream, payload in self.public if stream == f"pumpusdt@{kind}"]
