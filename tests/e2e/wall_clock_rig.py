"""A whole daemon on the wall clock, at a simulated venue that is faster once it trades: a pump after seconds, not minutes.

While a daemon starts the venue keeps to the wall clock, so that on a busy machine no pump is over before it looks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sentinel.config import Config
from sentinel.engine.readout import live_orders, trading_state
from sentinel.host.control import client
from sentinel.host.control.protocol import Kill
from sentinel.host.daemon import Daemon
from sentinel.host.venues.chosen import Credentials
from sentinel.research.run_data import ReplayedRun
from sentinel.sim.coinbase import CoinbaseServer
from sentinel.sim.market.coins import COINS
from sentinel.sim.market.episode import Episode
from sentinel.sim.market.model import MarketModel
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.lockstep import WallDriver
from sentinel.sim.venue.server import VenueServer
from sentinel.wire import OrderState, TradingState

#: Virtual seconds a second.
SPEED = 20.0
PUMP_S, AFTER_S = 130.0, 350.0
ACCOUNT = "paper"
#: Acts at once on whatever the eager model sees, and gives a fast market room.
STRATEGY = {"entry": "immediate", "cooldown_ms": 0, "horizon_ms": 2_000, "slippage_bps": 500}
#: Room for limits as far beyond the best price as that.
RISK = {"collar_floor_bps": 1_000}
FEED = {"stall_timeout_ms": 2_000, "backoff_min_ms": 10, "backoff_max_ms": 100}


def pump_market(bases: Iterable[str], separator: str, quote: str) -> MarketModel:
    """The named coins, the first of which is pumped, under a venue's own names."""
    coins = []
    for base in bases:
        coin = next(coin for coin in COINS if coin.instrument.base == base)
        name = f"{base}{separator}{quote}"
        coins.append(replace(coin, instrument=replace(coin.instrument, symbol=name, quote=quote), trades_per_s=1.0))
    pump = Episode(coins[0].instrument.symbol, PUMP_S, decay_s=60.0)
    return MarketModel(5, coins, (PUMP_S + AFTER_S) / 60, (pump,), start_ns=time.time_ns() // 1_000_000 * 1_000_000)


def run_at(venue: VenueServer | CoinbaseServer, speed: float) -> None:
    """From now on the venue's time goes so many times as fast as the wall clock."""
    driver = venue._driver
    assert isinstance(driver, WallDriver)
    driver.touch()
    driver._start_ns, driver._wall_start_ns, driver._speed = driver._timeline.now_ns, time.monotonic_ns(), speed
    driver.wake()


async def until(condition: Callable[[], bool], what: str, within_s: float = 240.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


@dataclass
class Ended:
    """How a run ended; ``held`` is what the engine says the account owns, ``orders`` its live orders by state."""

    daemon: Daemon
    state_hash: str
    counters: dict[str, int]
    held: list[int]
    live: list[OrderState]
    trading: TradingState


async def run_daemon(
    config: Config,
    credentials: Credentials,
    act: Callable[[Daemon], Awaitable[Any]],
    venue: VenueServer | CoinbaseServer | None = None,
) -> Ended:
    """Start a daemon, wait until it is ACTIVE with every book whole, do ``act`` at a fast ``venue``, stop it in order."""
    if venue is not None:
        run_at(venue, 1.0)
    daemon = Daemon(config, credentials)
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))

    def works() -> bool:
        state = daemon.host.state
        return running.done() or (
            daemon.feed is not None and daemon.feed.books_live and trading_state(state) == TradingState.ACTIVE
        )

    try:
        await until(works, "a start")
        if venue is not None:
            run_at(venue, SPEED)
        await act(daemon)
        assert not running.done()
    finally:
        stop.set()
        await running
    state = daemon.host.state
    inventory = [int(amount) for amount in state.symbols["inventory"]]
    return Ended(
        daemon,
        daemon.state_hash,
        daemon.host.counters(),
        [*inventory, int(state.glob[0]["cash"])],
        [OrderState(int(row["state"])) for row in live_orders(state)],
        trading_state(state),
    )


def owned(exchange: Exchange) -> list[int]:
    """What the exchange says the account owns, in the order of ``Ended.held``."""
    balances = exchange.ledger.accounts[ACCOUNT].balances
    assets = [instrument.base for instrument in exchange.instruments] + [exchange.instruments[0].quote]
    return [balances[asset].free + balances[asset].locked if asset in balances else 0 for asset in assets]


def assert_replays(directory: Path, ended: Ended) -> None:
    replayed = ReplayedRun(directory)
    assert replayed.state_hash == ended.state_hash
    assert replayed.replay.mismatched_effects == 0


async def fills(daemon: Daemon) -> None:
    """Wait for one more fill."""
    before = daemon.host.counters()["fills"]
    await until(lambda: daemon.host.counters()["fills"] > before, "a fill")


async def settled(daemon: Daemon) -> None:
    """No order leaves any more, and nothing differs from the venue."""
    await asyncio.to_thread(client.ask, daemon.host.directory, Kill())
    await until(lambda: not int(daemon.host.state.glob["live_orders"][0]), "orders to end")
    assert daemon.patrol is not None
    found = await daemon.patrol.inspect()
    assert {one: times for one, times in found.sightings.items() if times > 1} == {}
    assert found.balances_compared
