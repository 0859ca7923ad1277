"""What a scenario does at the venue's side, in the venue's time: outages, a refused key, other people's orders, shutdowns."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

from sentinel.research.campaign.market import BALANCES, BUSY_S, CALM_S, INSTRUMENTS, START_NS
from sentinel.research.campaign.names import by_hand
from sentinel.research.campaign.scenario import OUTAGES, Scenario
from sentinel.sim.venue.api_error import ApiError
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8, NS_PER_MS, NS_PER_S, format_e8
from sentinel.wire import Side

#: Whose account is traded, and one of the same trade group: the venue lets none of its orders meet one of ours.
ACCOUNT, SIBLING = "paper", "sibling"
ACCOUNTS = {ACCOUNT: BALANCES, SIBLING: {asset: 100 * amount for asset, amount in BALANCES.items()}}
_SIBLING_NOTIONAL = 100 * E8
_SIBLING_STAYS_S = (0.2, 2.0)
_FOREIGN_NOTIONAL = (50.0, 1500.0)
_FOREIGN_STAYS_S = (0.5, 15.0)


def at_ns(second: float) -> int:
    """Virtual time of a second from the start."""
    return START_NS + int(second * NS_PER_S)


class Strikes:
    """Puts a scenario's acts on the venue's agenda. ``counts`` are the faults so far, by name."""

    def __init__(self, scenario: Scenario, exchange: Exchange, venue: VenueServer, key: str, counts: dict[str, int]) -> None:
        self._scenario = scenario
        self._exchange = exchange
        self._venue = venue
        self._key = key
        self._counts = counts
        self._random = Random(f"strikes/{scenario.seed}")
        self._down: dict[str, int] = {}
        #: Client ids of what somebody else has placed on the account.
        self.foreign: set[str] = set()

    def schedule(self) -> None:
        """Once, before the market begins."""
        scenario, venue = self._scenario, self._venue
        self._at(BUSY_S, lambda: venue.faults.set_rates(scenario.rates))
        self._at(CALM_S, lambda: venue.faults.set_rates({}))
        for outage in scenario.outages:
            self._at(outage.start_s, lambda name=outage.name: self._change(name, True))  # type: ignore[misc]
            self._at(outage.end_s, lambda name=outage.name: self._change(name, False))  # type: ignore[misc]
        for start_s, end_s in scenario.key_refusals:
            self._at(start_s, self._refuse_key)
            self._at(end_s, lambda: venue.gateway.keys.restore(self._key))
        if scenario.siblings:
            self._exchange.ledger.accounts[SIBLING].trade_group = ACCOUNT
            self._exchange.desk.forced_stp = "EXPIRE_BOTH"
        for second in scenario.siblings:
            self._at(second, self._sibling)
        for second, after_s in scenario.shutdowns:
            self._at(second, lambda after_s=after_s: self._shut_down(after_s))  # type: ignore[misc]
        for second in scenario.foreign_orders:
            self._at(second, self._foreign_order)
        for second in scenario.transfers:
            self._at(second, self._transfer)

    def _at(self, second: float, action: Callable[[], None]) -> None:
        self._venue.at(at_ns(second), action)

    def _count(self, name: str) -> None:
        self._counts[name] = self._counts.get(name, 0) + 1

    def _change(self, name: str, begins: bool) -> None:
        if begins:
            self._count(name)
        for part in OUTAGES[name]:
            self._down[part] = self._down.get(part, 0) + (1 if begins else -1)
        self._venue.set_outage(part for part, count in self._down.items() if count)

    def _refuse_key(self) -> None:
        self._count("key_refused")
        self._venue.gateway.keys.suspend(self._key)

    def _shut_down(self, after_s: float) -> None:
        self._count("shutdown")
        self._venue.shut_down(int(after_s * NS_PER_S))

    def _sibling(self) -> None:
        """Another account of the group rests an order in the spread or takes the best; one of ours it meets ends with it."""
        exchange, rng = self._exchange, self._random
        index, buys, takes = rng.randrange(len(INSTRUMENTS)), rng.random() < 0.5, rng.random() < 0.5
        ours = [symbol for symbol in range(len(INSTRUMENTS)) if exchange.desk.open_of(ACCOUNT, symbol)]
        if ours:
            index, takes = ours[index % len(ours)], True
            buys = exchange.desk.open_of(ACCOUNT, index)[0].side == Side.SELL
        stays_s = rng.uniform(*_SIBLING_STAYS_S)
        instrument = INSTRUMENTS[index]
        bid, _, ask, _ = exchange.books[index].top()
        if not 0 < bid < ask:
            return
        price = (ask if buys else bid) if takes else (ask - instrument.tick if buys else bid + instrument.tick)
        qty = _SIBLING_NOTIONAL // price * E8 // instrument.step * instrument.step
        params = {
            "symbol": instrument.symbol,
            "side": "BUY" if buys else "SELL",
            "type": "LIMIT",
            "timeInForce": "IOC" if takes else "GTC",
            "price": format_e8(price),
            "quantity": format_e8(qty),
        }
        with contextlib.suppress(ApiError):
            placed = exchange.place(SIBLING, params)
            if not takes:
                self._withdraw_after(stays_s, SIBLING, instrument.symbol, placed["orderId"])

    def _withdraw_after(self, stays_s: float, account: str, symbol: str, order_id: int) -> None:
        def withdraw() -> None:
            with contextlib.suppress(ApiError):
                self._exchange.cancel(account, {"symbol": symbol, "orderId": str(order_id)})

        self._venue.at(self._exchange.now_ns + int(stays_s * NS_PER_S), withdraw)

    def _foreign_order(self) -> None:
        """Somebody else places an order on our account, by hand as it were: it rests for some seconds or takes at once."""
        exchange, rng = self._exchange, self._random
        index, buys, takes = rng.randrange(len(INSTRUMENTS)), rng.random() < 0.5, rng.random() < 0.5
        stays_s, worth = rng.uniform(*_FOREIGN_STAYS_S), int(rng.uniform(*_FOREIGN_NOTIONAL) * E8)
        instrument, direction = INSTRUMENTS[index], 1 if buys else -1
        bid, _, ask, _ = exchange.books[index].top()
        best = (ask if buys else bid) if takes else (bid if buys else ask)
        if best <= 0:
            return
        price = best + direction * instrument.tick * (2 if takes else -1)
        client_id = by_hand(len(self.foreign))
        params = {
            "symbol": instrument.symbol,
            "side": "BUY" if buys else "SELL",
            "type": "LIMIT",
            "timeInForce": "IOC" if takes else "GTC",
            "price": format_e8(price),
            "quantity": format_e8(worth // price * E8 // instrument.step * instrument.step),
            "newClientOrderId": client_id,
        }
        with contextlib.suppress(ApiError):
            placed = exchange.place(ACCOUNT, params)
            self.foreign.add(client_id)
            self._count("foreign_order")
            if not takes:
                self._withdraw_after(stays_s, ACCOUNT, instrument.symbol, placed["orderId"])

    def _transfer(self) -> None:
        """Somebody moves a tenth of what is free in or out of the account. Source: the balanceUpdate event."""
        exchange, rng = self._exchange, self._random
        asset, out = rng.choice([*sorted(BALANCES)]), rng.random() < 0.5
        owner = exchange.ledger.accounts[ACCOUNT]
        moved = owner.balance(asset).free // 10 * (-1 if out else 1)
        owner.balance(asset).free += moved
        owner.touched[asset] = None
        now_ms = exchange.now_ns // NS_PER_MS
        amount = ("-" if out else "") + format_e8(abs(moved))
        exchange.publish_user(ACCOUNT, {"e": "balanceUpdate", "E": now_ms, "a": asset, "d": amount, "T": now_ms})
        exchange.desk.flush_positions()
        self._count("balance_moved")
