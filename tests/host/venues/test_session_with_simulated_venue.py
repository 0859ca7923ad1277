"""The session against the simulated exchange: two independent readings of one protocol, with faults between them."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from sentinel.config import VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.reconcile import EngineView, LiveOrder, reconcile
from sentinel.host.venues import keeper
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.sim.market.source import Market
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8
from sentinel.wire import OrderEventKind, OrderState, Side, client_key, client_order_id
from tests.host.venues.offline_session import SYMBOLS, Event, Sink
from tests.sim.scripted_market import ScriptedSource

KEY, SECRET = "K" * 32, "S" * 32
ORDER = client_key(2, 1, 9)
START_BASE = 10 * E8
Scenario = Callable[["Rig"], Coroutine[Any, Any, None]]


class Rig:
    """A session connected to an exchange whose books hold 5 at 99/101 and 50 at 98/102."""

    def __init__(self, venue: VenueServer, exchange: Exchange) -> None:
        self.venue = venue
        self.exchange = exchange
        self.sink = Sink()
        config = VenueConfig(rest_url=venue.rest_url, stream_url=venue.stream_url, api_url=venue.api_url)
        self.session = BinanceSpotSession(config, SYMBOLS, Credentials(KEY, SECRET), LiveClock(), self.sink, 5)

    def buy(self, qty: int = 7 * E8, price: int = 101 * E8, tif: int = 2, key: int = ORDER) -> None:
        self.session.place(key, "AAAUSDT", 1, 1, tif, price, qty)

    async def until(self, condition: Callable[[list[Event]], bool]) -> list[Event]:
        deadline = time.monotonic() + 60.0
        while not condition(self.sink.events):
            assert time.monotonic() < deadline, self.sink.events
            await asyncio.sleep(0.002)
        return self.sink.events

    async def resolved(self, kind: OrderEventKind = OrderEventKind.STATUS) -> list[Event]:
        """Ask for the order and wait for the answer."""
        await self.until(lambda events: self.session.ready)
        self.session.query(ORDER, "AAAUSDT")
        return await self.until(lambda events: any(event.kind == kind for event in events))


def play(scenario: Scenario) -> None:
    async def run() -> None:
        instruments = tuple(
            Instrument(name, name.removesuffix("USDT"), "USDT", tick=E8 // 100, step=E8 // 1000) for name in SYMBOLS
        )

        def opening(market: Market) -> None:
            for symbol in range(2):
                for side, near, far in ((Side.BUY, 99, 98), (Side.SELL, 101, 102)):
                    market.set_level(symbol, side, near * E8, 5 * E8)
                    market.set_level(symbol, side, far * E8, 50 * E8)

        source = ScriptedSource(instruments, opening=[opening], start_ns=time.time_ns() // 1_000_000 * 1_000_000)
        exchange = Exchange(instruments, source, {"paper": {"USDT": 100_000 * E8, "AAA": START_BASE}})
        async with VenueServer(exchange, [ApiKey(KEY, SECRET, "paper")]) as venue:
            rig = Rig(venue, exchange)
            await rig.session.connect()
            try:
                await scenario(rig)
            finally:
                await rig.session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)


def bought(events: list[Event]) -> int:
    """Quantity of distinct fills."""
    return sum({event.trade_id: event.last_qty for event in events if event.kind == OrderEventKind.TRADE}.values())


def test_an_ioc_order_that_fills_in_part_is_told_by_both_paths_alike() -> None:
    async def scenario(rig: Rig) -> None:
        rig.buy()
        events = await rig.until(lambda events: sum(e.kind == OrderEventKind.EXPIRED for e in events) == 2)
        assert events[0].kind == OrderEventKind.SENT
        assert bought(events) == 5 * E8
        ends = [e for e in events if e.kind == OrderEventKind.EXPIRED]
        assert {(e.cum_qty, e.cum_quote, e.venue_order_id) for e in ends} == {(5 * E8, 505 * E8, ends[0].venue_order_id)}
        trades = [e for e in events if e.kind == OrderEventKind.TRADE]
        assert len(trades) == 2
        assert trades[0].trade_id == trades[1].trade_id
        assert {(e.commission, e.fee_asset) for e in trades} == {(trades[0].commission, trades[0].fee_asset)}

    play(scenario)


def test_a_cancelled_order_is_still_found_by_its_key() -> None:
    async def scenario(rig: Rig) -> None:
        rig.buy(qty=E8, price=90 * E8, tif=1)
        await rig.until(lambda events: any(e.kind == OrderEventKind.ACKED for e in events))
        rig.session.cancel(ORDER, "AAAUSDT")
        await rig.until(lambda events: any(e.kind == OrderEventKind.CANCELED for e in events))
        events = await rig.resolved()
        assert events[-1].state == OrderState.CANCELED
        rig.session.cancel(ORDER, "AAAUSDT")
        events = await rig.until(lambda events: any(e.kind == OrderEventKind.CANCEL_REJECTED for e in events))
        assert events[-1].code == -2011

    play(scenario)


def test_refusals_of_the_exchange_are_rejections() -> None:
    async def scenario(rig: Rig) -> None:
        rig.session.place(client_key(1, 1, 1), "BBBUSDT", 2, 1, 2, 99 * E8, E8)
        rig.session.place(client_key(1, 1, 2), "BBBUSDT", 1, 1, 2, 99 * E8 + 1, E8)
        events = await rig.until(lambda events: sum(e.kind == OrderEventKind.REJECTED for e in events) == 2)
        assert [e.code for e in events if e.kind == OrderEventKind.REJECTED] == [-2010, -1013]

    play(scenario)


@pytest.mark.parametrize("fault", [FaultKind.ERROR_AFTER_ACCEPT, FaultKind.RESET_AFTER_ACCEPT, FaultKind.CLOSE_MID_FRAME])
def test_an_accepted_order_whose_answer_is_lost_becomes_ambiguous_and_is_resolved_by_query(fault: FaultKind) -> None:
    async def scenario(rig: Rig) -> None:
        rig.venue.faults.inject(fault, target="order.place")
        rig.buy()
        await rig.until(lambda events: any(e.kind == OrderEventKind.AMBIGUOUS for e in events))
        events = await rig.resolved()
        assert bought(events) == 5 * E8
        assert (events[-1].state, events[-1].cum_qty) == (OrderState.EXPIRED, 5 * E8)
        assert len(rig.exchange.my_trades("paper", {"symbol": "AAAUSDT"})) == 1

    play(scenario)


def test_a_swallowed_answer_is_resolved_by_query() -> None:
    async def scenario(rig: Rig) -> None:
        rig.venue.faults.inject(FaultKind.DROP_RESPONSE, target="order.place")
        rig.buy()
        events = await rig.resolved()
        assert bought(events) == 5 * E8
        assert rig.session.counters["ambiguous"] == 0

    play(scenario)


def test_an_order_that_never_arrived_is_not_found() -> None:
    async def scenario(rig: Rig) -> None:
        rig.venue.faults.inject(FaultKind.DROP_REQUEST, target="order.place")
        rig.buy()
        events = await rig.resolved(OrderEventKind.NOT_FOUND)
        assert [e.kind for e in events] == [OrderEventKind.SENT, OrderEventKind.NOT_FOUND]
        assert rig.exchange.my_trades("paper", {"symbol": "AAAUSDT"}) == []

    play(scenario)


def test_a_doubled_answer_counts_once() -> None:
    async def scenario(rig: Rig) -> None:
        rig.venue.faults.inject(FaultKind.DUPLICATE_RESPONSE, target="order.place")
        rig.buy()
        await rig.until(lambda events: rig.session.counters["duplicate_replies"] == 1)
        assert bought(rig.sink.events) == 5 * E8

    play(scenario)


def test_reconciliation_after_a_lost_session_tells_every_fill_and_the_balances_that_hold_them() -> None:
    async def scenario(rig: Rig) -> None:
        rig.buy(qty=8 * E8, price=101 * E8, tif=1)
        await rig.until(lambda events: bought(events) == 5 * E8)
        rig.buy(key=ORDER + 1, qty=E8, price=90 * E8, tif=1)
        await rig.until(lambda events: any(e.key == ORDER + 1 and e.kind == OrderEventKind.ACKED for e in events))
        first_id = next(e.trade_id for e in rig.sink.events if e.kind == OrderEventKind.TRADE)
        await rig.session.close()
        rig.exchange.cancel("paper", {"symbol": "AAAUSDT", "origClientOrderId": client_order_id(ORDER + 1)})
        rig.sink.take()

        await rig.session.connect()
        view = EngineView((LiveOrder(ORDER, 0), LiveOrder(ORDER + 1, 0), LiveOrder(ORDER + 2, 1)), {0: first_id})
        outcome = await reconcile(rig.session, view, rig.sink, 5, LiveClock())
        events = rig.sink.take()
        assert [(e.kind, e.key) for e in events] == [
            (OrderEventKind.TRADE, ORDER),
            (OrderEventKind.STATUS, ORDER),
            (OrderEventKind.STATUS, ORDER + 1),
            (OrderEventKind.NOT_FOUND, ORDER + 2),
        ]
        assert (events[1].state, events[1].cum_qty) == (OrderState.PARTIAL, 5 * E8)
        assert events[2].state == OrderState.CANCELED
        assert (outcome.resolved, outcome.not_found, outcome.rounds) == (2, 1, 1)
        base = next(value for _, symbol, value, _ in rig.sink.controls if symbol == 0)
        assert base == START_BASE + 5 * E8 - events[0].commission

    play(scenario)


def test_instruments_and_balances_describe_the_exchange() -> None:
    async def scenario(rig: Rig) -> None:
        rig.sink.deliver(0, np.concatenate([await rig.session.instruments(), await rig.session.balances()]))
        values = {(command.name, symbol, field): value for command, symbol, value, field in rig.sink.controls}
        assert values["INSTRUMENT", 0, 2] == E8 // 100
        assert values["INSTRUMENT", 1, 5] == E8 // 1000
        assert values["BASE_BALANCE", 0, 0] == START_BASE
        assert values["QUOTE_BALANCE", 0xFFFF, 0] == 100_000 * E8

    play(scenario)
