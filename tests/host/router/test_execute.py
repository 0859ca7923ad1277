"""An approved plan becomes one order a child; on two exchanges the fills are what the plan expected."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import Any

import pytest

from sentinel.config import VenueConfig
from sentinel.errors import RouteError
from sentinel.host.clock import LiveClock
from sentinel.host.router.check import approve
from sentinel.host.router.execute import Destination, execute
from sentinel.host.router.plan import plan
from sentinel.host.router.records import Child, Levels, RouteOrder, VenueRules, VenueState
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.sim.market.source import Market
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8
from sentinel.wire import OrderType, Side, TimeInForce, client_key
from tests.host.router.venues import levels
from tests.host.venues.offline_session import Sink
from tests.host.waiting import until
from tests.sim.scripted_market import ScriptedSource

NAME, SECRET = "K" * 32, "S" * 32
TICK, STEP = E8 // 100, E8 // 1000
RULES = VenueRules(tick=TICK, step=STEP, min_notional=5 * E8)
BOOKS = {"near": levels((101, 2), (103, 4)), "far": levels((102, 3), (104, 9))}


def state(name: str, asks: Levels) -> VenueState:
    return VenueState(name, levels((99, 5)), asks, 10 * E8, 100_000 * E8, RULES, orders_left=2)


class Recorder:
    def __init__(self) -> None:
        self.orders: list[tuple[Any, ...]] = []

    def place(self, *order: Any) -> None:
        self.orders.append(order)


def test_each_child_is_placed_once_under_its_own_key_and_name() -> None:
    order = RouteOrder(Side.BUY, 20 * E8, 104 * E8, rest=True)
    states = [state(name, asks) for name, asks in BOOKS.items()]
    near, far = Recorder(), Recorder()
    keys = count(7)
    sent = execute(
        approve(order, states, plan(order, states)),
        {"near": Destination(near, "BTCUSDT"), "far": Destination(far, "BTC-USD")},
        lambda: next(keys),
    )
    assert [key for key, _ in sent] == [7, 8, 9]
    limit, ioc, maker, gtc = OrderType.LIMIT, TimeInForce.IOC, OrderType.LIMIT_MAKER, TimeInForce.GTC
    assert far.orders == [
        (7, "BTC-USD", Side.BUY, limit, ioc, 104 * E8, 12 * E8),
        (9, "BTC-USD", 1, maker, gtc, 104 * E8, 2 * E8),
    ]
    assert near.orders == [(8, "BTCUSDT", Side.BUY, limit, ioc, 104 * E8, 6 * E8)]


def test_without_a_session_for_every_venue_of_the_plan_nothing_is_sent() -> None:
    order = RouteOrder(Side.BUY, 5 * E8, 104 * E8)
    states = [state(name, asks) for name, asks in BOOKS.items()]
    near = Recorder()
    with pytest.raises(RouteError, match="far"):
        execute(approve(order, states, plan(order, states)), {"near": Destination(near, "X")}, lambda: 1)
    assert near.orders == []


async def filled(sink: Sink, key: int, child: Child) -> None:
    """Until the child's order is filled, for what the plan expected."""
    await until(lambda: any(event.key == key and event.cum_qty == child.qty for event in sink.events))
    assert max(event.cum_quote for event in sink.events) == child.notional


def test_on_two_exchanges_the_fills_are_what_the_plan_expected() -> None:
    order = RouteOrder(Side.BUY, 7 * E8, E8 * 2065 // 20)

    async def trade(name: str, asks: Levels, sink: Sink, ready: asyncio.Queue[Any], done: asyncio.Event) -> None:
        def opening(market: Market) -> None:
            for price, qty in asks:
                market.set_level(0, Side.SELL, price, qty)
            market.set_level(0, Side.BUY, 99 * E8, 5 * E8)

        instruments = (Instrument("AAAUSDT", "AAA", "USDT", tick=TICK, step=STEP),)
        source = ScriptedSource(instruments, opening=[opening], start_ns=time.time_ns() // 1_000_000 * 1_000_000)
        exchange = Exchange(instruments, source, {"paper": {"USDT": 100_000 * E8}})
        async with VenueServer(exchange, [ApiKey(NAME, SECRET, "paper")]) as venue:
            config = VenueConfig(rest_url=venue.rest_url, stream_url=venue.stream_url, api_url=venue.api_url)
            session = BinanceSpotSession(config, ["AAAUSDT"], Credentials(NAME, SECRET), LiveClock(), sink, 5)
            await session.connect()
            await ready.put((name, session))
            await done.wait()
            await session.close()

    async def run() -> None:
        ready: asyncio.Queue[Any] = asyncio.Queue()
        done = asyncio.Event()
        sinks = {name: Sink() for name in BOOKS}
        async with asyncio.TaskGroup() as group:
            for name, asks in BOOKS.items():
                group.create_task(trade(name, asks, sinks[name], ready, done))
            sessions = dict([await ready.get() for _ in BOOKS])
            states = [state(name, asks) for name, asks in BOOKS.items()]
            keys = (client_key(1, 1, number) for number in count(1))
            approved = approve(order, states, plan(order, states))
            destinations = {name: Destination(session, "AAAUSDT") for name, session in sessions.items()}
            sent = execute(approved, destinations, lambda: next(keys))
            assert [(child.venue, child.qty) for _, child in sent] == [("far", 3 * E8), ("near", 4 * E8)]
            for key, child in sent:
                await filled(sinks[child.venue], key, child)
            done.set()

    asyncio.run(asyncio.wait_for(run(), 20))
