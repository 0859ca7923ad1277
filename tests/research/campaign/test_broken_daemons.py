"""The checks notice: daemons broken on purpose, each in one way a trading program has been broken before."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import numpy as np
import pytest

from sentinel.errors import VenueError
from sentinel.host import daemon as daemon_module
from sentinel.host import patrol as patrol_module
from sentinel.host.ports import RecordSink
from sentinel.host.reconcile import reconcile
from sentinel.host.venues.binance_spot import translate
from sentinel.host.venues.order_events import RecordBatch
from sentinel.research.campaign.mortal import MortalDaemon
from sentinel.research.campaign.scenario import SYMBOLS, Death, Scenario
from sentinel.research.campaign.seed import Bench
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import NS_PER_S
from sentinel.wire import Kind, OrderEventFlag, OrderEventKind, OrderState, OrderType, TimeInForce, Venue, record_views

#: Neither the answer nor, for a while, the account's own stream tells what became of an order.
IN_DOUBT = {FaultKind.DROP_RESPONSE: 0.5, FaultKind.DELAY_EVENT: 0.5}
LATE = {FaultKind.DELAY_EVENT: 2 * NS_PER_S}


class Resends(MortalDaemon):
    """Sends an order again when its answer does not come."""

    def _tick(self, now_ns: int) -> None:
        super()._tick(now_ns)
        orders = self.host.state.orders
        for row in orders[orders["state"] == OrderState.UNKNOWN]:
            if self.session is not None:
                order = int(row["side"]), int(OrderType.LIMIT), int(TimeInForce.IOC), int(row["price"]), int(row["qty"])
                self.session.place(int(row["key"]), SYMBOLS[int(row["symbol"])], *order)


class Deaf(MortalDaemon):
    """Sends orders whatever was decided since: its last look before an order leaves sees nothing wrong."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gateway.permits = None
        self._last_place = np.zeros((0, 8), np.int64)

    def _dispatch(self, slots: Any, ready_ns: int) -> None:
        super()._dispatch(slots, ready_ns)
        orders = self.host.state.orders
        if self.host.state.glob["killed"][0] and self.session is not None and (orders["key"] != 0).any():
            self.gateway.dispatch(self._last_place, ready_ns)
        for start in np.flatnonzero(record_views(slots).market["kind"] == Kind.PLACE)[:1].tolist():
            self._last_place = slots[start : start + 2].copy()


class Greedy(MortalDaemon):
    """Has forgotten its limits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        params = self.host.state.params
        for name in ("max_order_notional", "max_position_notional", "max_gross_notional"):
            params[name] *= 2


class Miscounts(MortalDaemon):
    """Books a hundred-millionth of a coin more than it got, once."""

    booked = False

    def _tick(self, now_ns: int) -> None:
        super()._tick(now_ns)
        if not self.booked and self.host.state.counters["fills"][0] >= 5:
            self.booked = True
            self.host.state.symbols["inventory"][0] += 1


class Trusts(MortalDaemon):
    """Takes an order for cancelled as soon as the cancel has left."""

    def _dispatch(self, slots: Any, ready_ns: int) -> None:
        super()._dispatch(slots, ready_ns)
        views = record_views(np.ascontiguousarray(slots))
        for i in np.flatnonzero((views.market["kind"] == Kind.CANCEL) & (views.market["part"] == 0)).tolist():
            batch = RecordBatch(Venue.BINANCE_SPOT)
            key, symbol = int(views.intent1["client_key"][i]), int(views.intent1["symbol"][i])
            batch.order_event(OrderEventKind.CANCELED, key, symbol, self.clock.now_ns())
            self.host.accept(batch.take())


class Insists(MortalDaemon):
    """Goes on asking with a key the venue refuses."""

    def _tick(self, now_ns: int) -> None:
        super()._tick(now_ns)
        if self.session is not None and self.session.halted is not None:
            asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        session: Any = self.session
        session._desk.answers_nothing = False
        with contextlib.suppress(VenueError):
            await session.open_orders()


class _Bends(MortalDaemon):
    """Gives the engine other records than it has received."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        ingress: Any = self.ingress
        ingress._accept = lambda records: self.host.accept(self.bend(np.array(records)))

    def bend(self, records: Any) -> Any:
        raise NotImplementedError


class Believing(_Bends):
    """Takes the time a message names for the time at which it came."""

    def bend(self, records: Any) -> Any:
        market = record_views(records).market
        told = (market["kind"] == Kind.TRADE) & (market["t_exchange"] > 0)
        market["t_recv"][told] = market["t_exchange"][told]
        return records


class Blind(_Bends):
    """Hears of nobody's orders but its own."""

    def bend(self, records: Any) -> Any:
        views = record_views(records)
        foreign = (views.market["kind"] == Kind.ORDER_EVENT) & ((views.order1["flags"] & OrderEventFlag.FOREIGN) != 0)
        return records[~foreign]


def _what(daemon: type[MortalDaemon], scenario: Scenario) -> list[str]:
    with Bench(daemon) as bench:
        return bench.play(scenario).violations


def test_sending_again_after_a_lost_answer_is_reported() -> None:
    found = _what(Resends, Scenario(1, IN_DOUBT, LATE))
    assert any("sent again" in what or "placed twice" in what for what in found), found
    assert _what(MortalDaemon, Scenario(1, IN_DOUBT, LATE)) == []


def test_a_reconciliation_that_drops_a_fill_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sieve:
        def __init__(self, sink: RecordSink) -> None:
            self._sink = sink

        def deliver(self, source: int, records: Any) -> None:
            views = record_views(np.ascontiguousarray(records))
            first = (views.market["kind"] == Kind.ORDER_EVENT) & (views.market["part"] == 0)
            dropped = first & (views.order1["event"] == OrderEventKind.TRADE)
            dropped |= np.roll(dropped, 1)
            self._sink.deliver(source, records[~dropped])

    async def forgetful(session: Any, state: Any, sink: RecordSink, source: int, clock: Any) -> Any:
        return await reconcile(session, state, Sieve(sink), source, clock)

    scenario = Scenario(2, {}, {}, deaths=tuple(Death("sent", at) for at in (122.0, 128.0, 134.0)), patient=True)
    assert _what(MortalDaemon, scenario) == []
    monkeypatch.setattr(daemon_module, "reconcile", forgetful)
    assert any("was lost" in what for what in _what(MortalDaemon, scenario))


def test_an_order_after_the_kill_switch_is_reported() -> None:
    scenario = Scenario(3, {}, {}, kills=((130.0, 136.0),))
    assert _what(MortalDaemon, scenario) == []
    assert any("the kill switch was tripped" in what for what in _what(Deaf, scenario))


def test_an_order_above_a_limit_is_reported() -> None:
    found = _what(Greedy, Scenario(4, {}, {}))
    assert any("larger than one order may be" in what for what in found)
    assert any("above the limit" in what for what in found)


def test_a_cancel_taken_for_done_before_its_answer_is_reported() -> None:
    scenario = Scenario(6, {FaultKind.DROP_REQUEST: 0.3}, {}, rest_ms=400)
    assert _what(MortalDaemon, scenario) == []
    found = _what(Trusts, scenario)
    assert any("is open at the venue and not live for the engine" in what for what in found), found
    assert any("can still fill" in what for what in found)


def test_a_ledger_that_is_off_by_one_is_reported() -> None:
    assert any("the journal does not lead" in what for what in _what(Miscounts, Scenario(5, {}, {})))


def test_asking_again_and_again_with_a_refused_key_is_reported() -> None:
    scenario = Scenario(1, {}, {}, key_refusals=((125.0, 129.0),))
    assert any("a refused key was used again and again" in what for what in _what(Insists, scenario))


def test_an_order_ended_by_self_trade_prevention_that_is_taken_for_filled_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = Scenario(2, {}, {}, siblings=tuple(119.0 + 0.2 * step for step in range(130)), rest_ms=700)
    assert _what(MortalDaemon, scenario) == []
    monkeypatch.setitem(translate._STATES, "EXPIRED_IN_MATCH", OrderState.FILLED)
    assert any("EXPIRED_IN_MATCH with" in what for what in _what(MortalDaemon, scenario))


def test_a_clock_set_by_messages_from_the_future_is_reported() -> None:
    scenario = Scenario(3, {FaultKind.FUTURE_TIME: 0.3}, {FaultKind.FUTURE_TIME: 5 * NS_PER_S})
    assert _what(MortalDaemon, scenario) == []
    assert any("in the future" in what for what in _what(Believing, scenario))


def test_trading_beside_an_order_of_somebody_else_is_reported() -> None:
    scenario = Scenario(3, {}, {}, foreign_orders=tuple(120.0 + 0.5 * step for step in range(24)))
    assert _what(MortalDaemon, scenario) == []
    assert any("beside an open order of somebody else" in what for what in _what(Blind, scenario))


def test_moved_money_that_goes_unnoticed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patrol_module, "compare_balances", lambda *_: [])
    assert any("finds no difference" in what for what in _what(MortalDaemon, Scenario(1, {}, {}, transfers=(125.0,))))
