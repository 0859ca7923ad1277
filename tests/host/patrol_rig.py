"""An engine that trades, a venue in step with it until a test makes them differ, and the patrol between them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from sentinel.config import ReconcileConfig
from sentinel.engine.state import EngineState
from sentinel.host.patrol import Patrol
from sentinel.host.recovery import Recovery
from sentinel.host.venues.contract import VenueOrder
from sentinel.units import E8, NS_PER_S
from sentinel.wire import NO_SYMBOL, Command, OrderEventKind, OrderState
from tests.engine.world import World
from tests.host.venue_truth import Truth
from tests.host.venues.offline_session import ManualClock

MILLION = 1_000_000


class Engine:
    """A World where the patrol expects the engine's host."""

    def __init__(self, world: World) -> None:
        self.world = world

    @property
    def state(self) -> EngineState:
        return self.world.state

    def control(self, command: Command, t: int, symbol: int = NO_SYMBOL, **fields: int) -> None:
        self.world.control(command, symbol, **fields).run()

    def deliver(self, source: int, records: Any) -> None:
        self.world.feed(np.ascontiguousarray(records))


class Watched:
    """An engine whose account is in step with the venue, and a patrol over both."""

    def __init__(self, instruments_s: int = 0, **config: int) -> None:
        self.world = World().start(quote=MILLION)
        self.truth = Truth(base=[1_000 * E8, 1_000 * E8])
        self.truth.now_ns = lambda: self.world.now
        self.clock = ManualClock()
        self.clock.ns = self.world.now
        engine = Engine(self.world)
        self.recovery = Recovery()
        settings = ReconcileConfig(**config)  # type: ignore[arg-type]
        anew_ns = instruments_s * NS_PER_S
        self.patrol = Patrol(self.truth, engine, engine, 3, self.clock, settings, self.recovery, anew_ns)  # type: ignore[arg-type]

    async def turn(self, seconds: float = 1.0) -> None:
        """Time passes, and what became due is checked."""
        self.world.wait(round(seconds * NS_PER_S))
        self.clock.ns = self.world.now
        self.patrol.tick(self.world.now)
        while self.patrol.pending_requests:
            await asyncio.sleep(0)

    async def turns(self, count: int) -> None:
        for _ in range(count):
            await self.turn()

    def entered(self, symbol: int = 0) -> tuple[dict[str, Any], VenueOrder]:
        """A sell order that both sides know, accepted and open."""
        self.world.quiet(symbol=symbol).pump(symbol=symbol)
        self.world.retrace(symbol=symbol)
        place = self.world.places()[-1]
        for event in (OrderEventKind.SENT, OrderEventKind.ACKED):
            self.world.order(place["client_key"], event, symbol).run()
        return place, self.truth.mirror(place)

    def row(self, place: dict[str, Any]) -> Any:
        orders = self.world.state.orders
        return orders[orders["key"] == place["client_key"]][0]

    def halts(self) -> list[int]:
        return [int(halt) for halt in self.world.state.symbols["halt"]]

    @property
    def found(self) -> dict[str, int]:
        return self.patrol.counters


def watch(scenario: Callable[[Watched], Awaitable[None]], **config: int) -> Watched:
    async def run() -> Watched:
        watched = Watched(**config)
        await scenario(watched)
        await watched.patrol.stop()
        return watched

    return asyncio.run(asyncio.wait_for(run(), 60))


def no_alarm(watched: Watched) -> bool:
    names = ("told", "unexplained", "foreign_trades", "failures")
    return not any(watched.found[name] for name in names) and watched.halts() == [0, 0]


async def with_a_hole(watched: Watched) -> None:
    """A fill between two that came, with its fee, of an order that has ended."""
    place, order = watched.entered()
    first = watched.truth.fill(order, 50)
    known = watched.truth.trades[-1].trade_id
    watched.world.fill(place, 50, 50, trade_id=known).run()
    watched.truth.fill(watched.truth.fill(first, 100, commission=E8), 200, OrderState.EXPIRED)
    last = watched.world.fill(place, 200, 350, trade_id=known + 2)
    last.order(place["client_key"], OrderEventKind.EXPIRED, cum_qty=350 * E8).run()
