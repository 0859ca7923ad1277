"""One seed from its market to its verdict, in this process and on virtual time."""

from __future__ import annotations

import asyncio
import gc
import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sentinel.config import Config
from sentinel.errors import SentinelError
from sentinel.host.store.order_tag import keep_order_tag
from sentinel.host.venues.binance_spot import Credentials
from sentinel.model.artifact import load_model, save_model
from sentinel.research.campaign import checks
from sentinel.research.campaign.market import CALM_S, INSTRUMENTS, START_NS, RestlessMarket
from sentinel.research.campaign.mortal import Fate, MortalDaemon
from sentinel.research.campaign.names import ORDER_TAG
from sentinel.research.campaign.scenario import ALL_FAULTS, Scenario, campaign_config, draw
from sentinel.research.campaign.strikes import ACCOUNT, ACCOUNTS, Strikes
from sentinel.research.campaign.watch import Watch
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultPlan
from sentinel.sim.venue.limits import LimitConfig
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.sim.venue.server import VenueServer
from sentinel.sim.world import Process, VirtualLoop, connections_of_the_loop
from sentinel.units import NS_PER_MS, NS_PER_S
from sentinel.wire import TradingState

_KEY, _SECRET = "k" * 16, "s" * 32
#: The operator's last kill: from then on nothing new, so that everything comes to rest before the end.
_QUIET_S = CALM_S + 3.0
_STARTS = 150
#: What is decided does not depend on the trees here, and a start takes a tenth of the time with few.
_TREES = 4
_RETRY_NS = NS_PER_S // 2
#: Dozens of starts in two minutes would use up what the venue grants an address.
_LIMITS = LimitConfig(weight_per_minute=100_000)
_PACE = PaceConfig(speed=1.0, quantum_ns=10 * NS_PER_MS, max_step_ns=NS_PER_S, release_ns=NS_PER_S)


@dataclass
class SeedResult:
    """``doubts``: how often an order's outcome was unknown. ``faults`` counts what struck, by name; ``violations`` are sentences.

    ``rested``: orders that were to rest; ``cancelled``: those whose cancel was asked; ``cancels_refused`` by the venue or
    not sent; ``filled_late``: fills of which the engine heard after it had asked for the cancel.
    ``state_hash`` is empty where the run broke off.
    """

    seed: int
    faults: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    orders: int = 0
    fills: int = 0
    doubts: int = 0
    rested: int = 0
    cancelled: int = 0
    cancels_refused: int = 0
    filled_late: int = 0
    starts: int = 0
    state_hash: str = ""
    cpu_s: float = 0.0


class Bench:
    """A directory for runs, with the model they use: a few trees of the default one, acting on every rule that fires.

    Args:
        daemon: the class to try; a test puts a broken one here.
        faults: those that may be switched on.
    """

    def __init__(self, daemon: type[MortalDaemon] = MortalDaemon, faults: Sequence[str] = ALL_FAULTS) -> None:
        memory = Path("/dev/shm")
        self.directory = Path(tempfile.mkdtemp(prefix="campaign-", dir=memory if memory.is_dir() else None))
        self.model = self.directory / "eager.stl"
        self.daemon = daemon
        self.faults = faults
        artifact = load_model("default")
        margins = artifact.size_margins.copy()
        margins[0] = -(1 << 23)
        heap = artifact.heap
        few = {name: getattr(heap, name)[:_TREES] for name in ("keys", "features", "default_left", "leaves", "tree_output")}
        save_model(replace(artifact, heap=replace(heap, **few), threshold=-(1 << 23), size_margins=margins), self.model)

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, seed: int) -> SeedResult:
        """Run one seed and judge it."""
        return self.play(draw(seed, self.faults))

    def play(self, scenario: Scenario) -> SeedResult:
        """Run a scenario and judge it."""
        began = time.process_time()
        store = self.directory / f"store-{scenario.seed}"
        shutil.rmtree(store, ignore_errors=True)
        chance, collecting = random.getstate(), gc.isenabled()
        random.seed(scenario.seed)
        gc.disable()
        try:
            result = _Run(scenario, self, store).play()
        finally:
            random.setstate(chance)
            shutil.rmtree(store, ignore_errors=True)
            gc.collect(1)
            if collecting:
                gc.enable()
        result.cpu_s = time.process_time() - began
        return result


class _Run:
    def __init__(self, scenario: Scenario, bench: Bench, store: Path) -> None:
        self.scenario = scenario
        self.bench = bench
        self.store = store
        self.loop = VirtualLoop()
        self.result = SeedResult(scenario.seed)
        self.faults = FaultPlan(scenario.seed, delays_ns=scenario.delays_ns)
        source = RestlessMarket(scenario.seed, self._at_rest, scenario.bursts, scenario.jumps, self.result.faults)
        self.exchange = Exchange(source.instruments, source, ACCOUNTS, scenario.seed)
        self.fate = Fate(scenario, START_NS, _QUIET_S, self.result.faults, self._differs)
        self.watch: Watch | None = None
        self.config: Config | None = None

    def play(self) -> SeedResult:
        result = self.result
        try:
            with connections_of_the_loop():
                daemon = self.loop.run_until_complete(self._live())
            if daemon is not None:
                self._judge(daemon)
        except SentinelError as error:
            result.violations.append(f"the run broke off: {error}")
        finally:
            self.loop.end()
        for kind, count in self.faults.counts.items():
            result.faults[str(kind)] = result.faults.get(str(kind), 0) + count
        return result

    def _at_rest(self) -> bool:
        daemon = self.fate.daemon
        account = daemon.host.state.glob[0]
        recovered = int(account["trading_state"]) != TradingState.RECOVERING
        return (
            recovered
            and self.fate.reconciled
            and not int(account["live_orders"])
            and daemon.session is not None
            and daemon.session.ready
        )

    def _differs(self, daemon: MortalDaemon) -> list[str]:
        """The assets of which the engine's account and the venue's are not of one mind."""
        return checks.differing_assets(daemon.host.state, self.exchange, ACCOUNT)

    async def _live(self) -> MortalDaemon | None:
        """Start the daemon again and again until the scenario is over; returns the last one."""
        scenario, result = self.scenario, self.result
        keys = [ApiKey(_KEY, _SECRET, ACCOUNT)]
        venue = VenueServer(
            self.exchange, keys, lockstep=True, seed=scenario.seed, pace=_PACE, limits=_LIMITS, faults=self.faults
        )
        async with venue:
            self.strikes = Strikes(scenario, self.exchange, venue, _KEY, result.faults)
            self.strikes.schedule()
            config = campaign_config(venue.urls(), self.bench.model, self.store, scenario.patient, scenario.rest_ms)
            self.config = config
            keep_order_tag(self.store, ORDER_TAG)
            self.watch = Watch(self.exchange, ACCOUNT, config.risk, venue.gateway.keys)
            while result.starts < _STARTS:
                result.starts += 1
                daemon = await self._start(venue, config)
                if daemon is None or daemon.finished:
                    return daemon
                if not daemon.dead:
                    # The venue does not answer: a supervisor tries again later. Nobody moves the market's time meanwhile.
                    await asyncio.sleep(_RETRY_NS / NS_PER_S)
                    await venue.pass_time(_RETRY_NS)
            result.violations.append(f"not at rest after {_STARTS} starts")
            return None

    async def _start(self, venue: VenueServer, config: Config) -> MortalDaemon | None:
        """One life of the daemon; None after a crash, which is a violation."""
        assert self.watch is not None
        watch, fate, process, died = self.watch, self.fate, Process(), self.loop.create_future()
        boundary = fate.attend(self.loop, process, lambda name: watch.boundary(name, fate.killed), lambda: died.set_result(None))
        daemon = self.bench.daemon(
            config, Credentials(_KEY, _SECRET), venue.lockstep_url, on_effect=watch.effect, boundary=boundary
        )
        watch.begin(daemon)
        fate.begin(daemon)
        life = self.loop.create_task(daemon.run(fate.stop), context=process.context())
        await asyncio.wait({life, died}, return_when=asyncio.FIRST_COMPLETED)
        if daemon.dead:
            daemon.host.abandon()
            return daemon
        error = life.exception()
        # What an ended process leaves behind runs no further either.
        self.loop.kill(process)
        if error is not None and not isinstance(error, SentinelError):
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.result.violations.append(f"the daemon crashed at {Path(place.filename).name}:{place.lineno}: {error!r}")
            return None
        return daemon

    def _judge(self, daemon: MortalDaemon) -> None:
        result, exchange = self.result, self.exchange
        assert self.watch is not None
        result.state_hash = daemon.state_hash
        mine = [order for order in exchange.desk.orders.values() if order.account == ACCOUNT]
        orders = [order for order in mine if order.client_id not in self.strikes.foreign]
        ids = {(order.instrument.symbol, order.order_id) for order in orders}
        all_trades = {index: exchange.desk.account_trades.get((ACCOUNT, index), []) for index in range(len(INSTRUMENTS))}
        trades = {
            index: [trade for trade in found if (trade["symbol"], trade["orderId"]) in ids] for index, found in all_trades.items()
        }
        result.orders, result.fills = len(orders), sum(map(len, trades.values()))
        ended_in_match = sum(order.prevented > 0 for order in orders)
        if ended_in_match:
            result.faults["self_trade"] = ended_in_match
        recorded = checks.read_journal(self.store)
        wrong, state = checks.check_replay(self.store, daemon.state_hash)
        result.doubts = int(state.counters["unknown_orders"][0])
        result.rested = sum(order.tif == "GTC" for order in orders)
        result.cancelled, result.cancels_refused = len(recorded.cancels), recorded.cancels_refused
        result.filled_late = len(recorded.filled_late)
        result.violations += [
            *self.watch.violations,
            *self.fate.unnoticed,
            *wrong,
            *checks.check_orders(recorded, orders),
            *checks.check_fills(recorded, trades),
            *checks.check_ledger(state, exchange, ACCOUNT),
            *checks.check_ends(recorded, state),
            *checks.check_epochs(recorded, result.starts),
        ]
