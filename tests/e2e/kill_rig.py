"""An exchange in this process, a daemon and a kill process in their own: a market in which orders leave all the time."""

from __future__ import annotations

import asyncio
import json
import logging
import mmap
import multiprocessing
import os
import signal
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import uvloop

from sentinel.config import Config, VenueConfig, load_config
from sentinel.errors import ControlError, SentinelError
from sentinel.host import daemon as daemon_module
from sentinel.host.clock import LiveClock
from sentinel.host.control.client import ask
from sentinel.host.daemon import Daemon
from sentinel.host.heartbeat import Heartbeat, read_heartbeat
from sentinel.host.venues.binance_spot import Credentials
from sentinel.ops.killswitch.binance_session import BinanceKillSession
from sentinel.ops.killswitch.protocol import KillRequest, Status
from sentinel.sim.market.coins import COINS
from sentinel.sim.market.episode import Episode
from sentinel.sim.market.model import MarketModel
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.limits import LimitConfig
from sentinel.sim.venue.lockstep import WallDriver
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8, parse_e8
from sentinel.wire import TradingState
from tests.e2e.hostile_market import eager_model
from tests.e2e.wall_clock_rig import run_at

ACCOUNT = "paper"
#: Virtual seconds a second once a daemon follows the market: thirteen seconds until the first pump.
SPEED = 10.0
MINUTES = 60.0
_TIME, TIME_NAME = struct.Struct("<q"), "time"

MAIN = [sys.executable, "-c", "from sentinel.cli.main import main; main()"]
BASES = ("NOVA", "LUMI")
SYMBOLS = [f"{base}USDT" for base in BASES]
BALANCES = {"USDT": "100000", "NOVA": "120000", "LUMI": "700"}
KEYS = {
    "SENTINEL_API_KEY": "d" * 16,
    "SENTINEL_API_SECRET": "e" * 32,
    "SENTINEL_KILL_API_KEY": "k" * 16,
    "SENTINEL_KILL_API_SECRET": "l" * 32,
}


class VenueClock(LiveClock):
    """The exchange's time, as its process last told: on a busy machine it goes slower."""

    shared: ClassVar[mmap.mmap]

    def __init__(self, not_before_ns: int = 0) -> None:
        super().__init__(not_before_ns)
        self._last_ns = not_before_ns

    def now_ns(self) -> int:
        self._last_ns = max(self._last_ns, *_TIME.unpack_from(self.shared))
        return self._last_ns


def _tell_time(venue: VenueServer, path: Path) -> None:
    """From now on the file holds the exchange's time."""
    driver = venue._driver
    assert isinstance(driver, WallDriver)
    path.write_bytes(_TIME.pack(driver._timeline.now_ns))
    shared, touch = _mapped(path), driver.touch

    def told() -> None:
        touch()
        _TIME.pack_into(shared, 0, driver._timeline.now_ns)

    driver.touch = told  # type: ignore[method-assign]


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), _TIME.size)


def _live(said: Path, config: Path) -> None:
    with said.open("w", buffering=1) as sys.stderr:
        VenueClock.shared = _mapped(config.with_name(TIME_NAME))
        daemon_module.LiveClock = VenueClock  # type: ignore[misc]
        logging.basicConfig(stream=sys.stderr)
        stop = asyncio.Event()
        credentials = Credentials(KEYS["SENTINEL_API_KEY"], KEYS["SENTINEL_API_SECRET"])
        daemon = Daemon(load_config(config), credentials)

        async def live() -> None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
            await daemon.run(stop)

        try:
            uvloop.run(live())
        except SentinelError as error:
            sys.stderr.write(f"{error}\n")


class DaemonChild:
    """A daemon, forked from a process that has everything imported."""

    def __init__(self, said: Path, config: Path) -> None:
        self.said = said
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._process = context.Process(target=_live, args=(said, config))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process.is_alive()

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    async def end(self) -> None:
        if self.lives:
            self.send_signal(signal.SIGCONT)
            self.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self._process.join, 60.0)
        assert not self.lives


def market() -> MarketModel:
    """Two coins, pumped and dumped in turn, from two virtual minutes on, one every three seconds."""
    coins = [replace(coin, trades_per_s=2.0) for coin in COINS if coin.instrument.symbol in SYMBOLS]
    events = [
        Episode(SYMBOLS[k % 2], 130.0 + 30.0 * k, direction=1 if k % 4 < 2 else -1, decay_s=40.0)
        for k in range(2 * round(MINUTES) - 8)
    ]
    return MarketModel(5, coins, MINUTES, events, start_ns=time.time_ns() // 1_000_000 * 1_000_000)


async def until(condition: Callable[[], bool], what: str, within_s: float = 60.0) -> float:
    """Seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + within_s, f"waited in vain for {what}"
        await asyncio.sleep(0.002)
    return time.monotonic() - began


@dataclass
class Machine:
    """What runs. ``said`` is where the processes' error output goes."""

    directory: Path
    venue: VenueServer
    exchange: Exchange
    path: Path
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    daemons: list[DaemonChild] = field(default_factory=list)

    @property
    def config(self) -> Config:
        return load_config(self.path)

    @property
    def store(self) -> Path:
        return Path(self.config.store.directory)

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        said = (self.directory / f"{arguments[0]}-{len(self.processes)}.txt").open("wb")
        process = await asyncio.create_subprocess_exec(
            *MAIN, *arguments, "--config", str(self.path), stdout=said, stderr=said, env={**os.environ, **KEYS}
        )
        said.close()
        self.processes.append(process)
        return process

    async def start_daemon(self) -> DaemonChild:
        child = self.spawn_daemon()
        await until(lambda: self.beat is not None and self.beat.pid == child.pid, "a daemon", 240.0)
        await until(lambda: self.beat is not None and self.beat.trading_state != TradingState.RECOVERING, "its start", 240.0)
        # What it takes for quiet must be: on a busy machine it would else begin in the middle of a pump.
        run_at(self.venue, SPEED)
        return child

    def spawn_daemon(self) -> DaemonChild:
        child = DaemonChild(self.directory / f"daemon-{len(self.daemons)}.txt", self.path)
        self.daemons.append(child)
        return child

    async def start_kill_process(self) -> asyncio.subprocess.Process:
        process = await self.start("killswitch", "run")
        await until(lambda: self.answers(process.pid), "a kill process")
        return process

    def answers(self, pid: int) -> bool:
        try:
            return ask_sync(self, Status())["pid"] == pid
        except ControlError:
            return False

    async def ask(self, request: KillRequest, timeout_s: float = 240.0) -> dict[str, Any]:
        # Not in the loop: the exchange the answer depends on lives there.
        return await asyncio.to_thread(ask, self.config.killswitch_directory, request, timeout_s)

    @property
    def beat(self) -> Heartbeat | None:
        try:
            return read_heartbeat(self.store)
        except ControlError:
            return None

    def orders(self, prefix: str = "") -> list[dict[str, Any]]:
        """Every order the exchange has had of the account, by the beginning of its client id."""
        found = [row for symbol in SYMBOLS for row in self.exchange.all_orders(ACCOUNT, {"symbol": symbol})]
        return [row for row in found if row["clientOrderId"].startswith(prefix)]

    def open_orders(self) -> list[dict[str, Any]]:
        return self.exchange.open_orders(ACCOUNT, {})

    def balance(self, asset: str) -> int:
        account = self.exchange.account_status(ACCOUNT, {})
        return next((parse_e8(row["free"]) + parse_e8(row["locked"]) for row in account["balances"] if row["asset"] == asset), 0)

    def dust(self, symbol: str) -> int:
        """Quantity too small to be traded now, int64 e8, and a little more: the price moves."""
        instrument = next(one for one in self.exchange.instruments if one.symbol == symbol)
        price = parse_e8(self.exchange.ticker_book([symbol])[0]["bidPrice"])
        return 2 * instrument.min_notional * E8 // price + instrument.step

    async def flattened(self) -> None:
        """Wait until a kill of level 3 has done what it can."""
        deadline = time.monotonic() + 120.0
        while not (await self.ask(Status()))["flatten_ended"]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    async def rest_orders(self, count: int) -> None:
        """Orders of the daemon's key that stay open: far below the market."""
        venue = self.other_session()
        await venue.synchronise()
        for number in range(count):
            instrument = self.exchange.instruments[number % len(SYMBOLS)]
            quote = await venue.quote(instrument.symbol)
            price = quote.bid * 9 // 10 // instrument.tick * instrument.tick
            qty = 20 * E8 * E8 // price // instrument.step * instrument.step
            placed = await venue.place(instrument.symbol, "BUY", qty, price, f"rest-{number}-{time.time_ns()}", "GTC")
            assert placed.status == "NEW", placed
        venue.close()

    def other_session(self) -> BinanceKillSession:
        """A session under the daemon's key."""
        venue = VenueConfig(rest_url=self.config.venue.rest_url, stream_url=self.config.venue.stream_url, recv_window_ms=60_000)
        return BinanceKillSession(venue, Credentials(KEYS["SENTINEL_API_KEY"], KEYS["SENTINEL_API_SECRET"]), LiveClock())


async def trading(machine: Machine) -> None:
    """Wait until the daemon is armed and has sent some orders."""
    await until(lambda: machine.beat is not None and machine.beat.trading_state == TradingState.ACTIVE, "an armed daemon", 240.0)
    await until(lambda: machine.beat is not None and machine.beat.places > 5, "orders", 240.0)


def ask_sync(machine: Machine, request: KillRequest) -> dict[str, Any]:
    return ask(machine.config.killswitch_directory, request, 5.0)


@asynccontextmanager
async def machine(directory: Path, source: MarketModel | None = None, **killswitch: Any) -> AsyncIterator[Machine]:
    """The exchange runs, a ``market`` where no other is given; processes are started by whoever wants them, and ended here."""
    source = source or market()
    balances = {asset: parse_e8(amount) for asset, amount in BALANCES.items()}
    exchange = Exchange(source.instruments, source, {ACCOUNT: balances}, 5)
    keys = [
        ApiKey(KEYS["SENTINEL_API_KEY"], KEYS["SENTINEL_API_SECRET"], ACCOUNT),
        ApiKey(KEYS["SENTINEL_KILL_API_KEY"], KEYS["SENTINEL_KILL_API_SECRET"], ACCOUNT),
    ]
    async with VenueServer(exchange, keys, limits=LimitConfig(weight_per_minute=1_000_000), seed=5) as venue:
        _tell_time(venue, directory / TIME_NAME)
        path = directory / "run.toml"
        path.write_text(_toml(venue, directory, killswitch), encoding="utf-8")
        running = Machine(directory, venue, exchange, path)
        try:
            yield running
        finally:
            for child in running.daemons:
                await child.end()
            for process in running.processes:
                if process.returncode is None:
                    process.send_signal(signal.SIGCONT)
                    process.terminate()
            for process in running.processes:
                await asyncio.wait_for(process.wait(), 60.0)


def _toml(venue: VenueServer, directory: Path, killswitch: dict[str, Any]) -> str:
    urls = {key: value for key, value in venue.urls().items() if key in ("rest_url", "stream_url", "api_url")}
    strategy = {"entry": "immediate", "horizon_ms": 4000, "cooldown_ms": 1000, "alarm_quiet_ms": 0, "exit_retry_ms": 200}
    sections: dict[str, dict[str, Any]] = {
        "venue": {**urls, "recv_window_ms": 60_000},
        # A busy machine is not a dead exchange: what is patient here is ten times less so on the wall clock.
        "feed": {"symbols": SYMBOLS, "stale_after_ms": 600_000, "stall_timeout_ms": 120_000},
        # Room for what a fast market needs to be crossed.
        "risk": {"ack_timeout_ms": 20_000, "engine_timeout_ms": 0, "collar_floor_bps": 1_000, "price_collar_bps": 1_000},
        "strategy": {**strategy, "slippage_bps": 500},
        "store": {"directory": str(directory / "store"), "segment_mib": 8},
        "killswitch": {"enabled": True, **killswitch},
    }
    lines = [f"model = {json.dumps(str(eager_model(directory)))}"]
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)
