"""Death at random moments of a busy run: after each restart the ledger is the venue's, no order twice, no fill lost."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from sentinel.config import Config
from sentinel.host.store.epoch import read_epoch
from sentinel.host.store.journal_reader import frame_slots, read_segments
from sentinel.host.store.order_tag import read_order_tag
from sentinel.model.artifact import load_model, save_model
from sentinel.research.run_data import ReplayedRun
from sentinel.sim.market.coins import COINS
from sentinel.sim.market.episode import Episode
from sentinel.sim.market.model import MarketModel
from sentinel.sim.venue.limits import LimitConfig
from sentinel.sim.venue.server import VenueServer
from sentinel.units import NS_PER_MS, NS_PER_S, parse_e8
from sentinel.wire import Command, FrameType, Kind, Side, client_order_id, parse_client_order_id, record_views
from tests.e2e.daemon_child import DIED, Child
from tests.e2e.lockstep_rig import ACCOUNT, config_for, lockstep_venue, run

SYMBOLS = [coin.instrument.symbol for coin in COINS]
BALANCES = {
    "USDT": "100000",
    "BTC": "0.1",
    "ETH": "2",
    "SOL": "35",
    "XRP": "8000",
    "NOVA": "120000",
    "ORBI": "4000",
    "ZETI": "16000",
    "LUMI": "700",
}
MINUTES = 10.0
# An order is sent as it is decided; what its process had sent when it died still arrives.
SENT_WITHIN_NS = 3 * NS_PER_S
# Dozens of starts in ten virtual minutes would use up what the venue grants an address.
RESTARTS_ALLOWED = LimitConfig(weight_per_minute=100_000)
EVENTS = tuple(
    Episode(symbol, 130.0 + 40.0 * k, direction=1 if k % 2 else -1, decay_s=60.0)
    for k, symbol in enumerate(
        ("NOVAUSDT", "ORBIUSDT", "ZETIUSDT", "LUMIUSDT", "XRPUSDT", "SOLUSDT", "NOVAUSDT", "ORBIUSDT", "ZETIUSDT", "LUMIUSDT")
    )
)


def _busy_config(venue: VenueServer, directory: Path) -> Config:
    """Acts on every rule hit and leaves soon, so that orders are under way at any time."""
    model = directory / "eager.stl"
    directory.mkdir(parents=True, exist_ok=True)
    default = load_model("default")
    margins = default.size_margins.copy()
    margins[0] = -(1 << 23)
    save_model(replace(default, threshold=-(1 << 23), size_margins=margins), model)
    return config_for(
        venue,
        SYMBOLS,
        directory / "store",
        feed={"depth_symbols": ["NOVAUSDT", "ORBIUSDT"]},
        model=str(model),
        strategy={"entry": "immediate", "horizon_ms": 4000, "cooldown_ms": 1000, "alarm_quiet_ms": 0, "exit_retry_ms": 200},
    )


def _write_toml(config: Config, path: Path) -> None:
    lines: list[str] = []
    for name, value in json.loads(config.model_dump_json()).items():
        if isinstance(value, dict):
            lines.append(f"[{name}]")
            lines += [f"{key} = {json.dumps(item)}" for key, item in value.items() if not isinstance(item, dict)]
        else:
            lines.insert(0, f"{name} = {json.dumps(value)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


class Outcome:
    """What is left when the scenario is over."""

    def __init__(self) -> None:
        self.deaths: list[str] = []
        self.result: dict[str, Any] = {}
        self.orders: list[dict[str, Any]] = []
        self.trades: list[dict[str, Any]] = []
        self.balances: dict[str, int] = {}


async def _run_with_deaths(directory: Path, deaths: int, mean_steps: int, seed: int) -> Outcome:
    outcome = Outcome()
    source = MarketModel(seed, COINS, MINUTES, EVENTS)
    async with lockstep_venue(source, BALANCES, seed, limits=RESTARTS_ALLOWED) as venue:
        config = _busy_config(venue, directory)
        path = directory / "run.toml"
        _write_toml(config, path)
        while True:
            wanted = seed * 1000 + len(outcome.deaths) + 1 if len(outcome.deaths) < deaths else 0
            child = Child(directory, path, venue.lockstep_url, wanted, mean_steps)
            status = await child.ended()
            if status != DIED:
                assert status == 0, child.said[-3000:]
                outcome.result = child.result
                break
            outcome.deaths.append(child.said.rpartition("died: ")[2].strip())
        _read_venue(venue, outcome)
    return outcome


async def _run_with_kill_9(directory: Path, kills: int, seed: int) -> Outcome:
    """Kills from outside at wall-clock moments nobody chose, with time slowed down so that there are such moments."""
    outcome = Outcome()
    random = Random(seed)
    source = MarketModel(seed, COINS, MINUTES, EVENTS)
    async with lockstep_venue(source, BALANCES, seed, limits=RESTARTS_ALLOWED) as venue:
        path = directory / "run.toml"
        _write_toml(_busy_config(venue, directory), path)
        while True:
            child = Child(directory, path, venue.lockstep_url, 0, 1)
            finished = asyncio.ensure_future(child.ended())
            if len(outcome.deaths) < kills:
                # Counted from when it lives: before, there is nothing to lose.
                while not finished.done() and read_epoch(directory / "store") <= len(outcome.deaths):
                    await asyncio.sleep(0.05)
                await asyncio.wait([finished], timeout=random.uniform(0.2, 2.5))
                if not finished.done():
                    os.kill(child.pid, signal.SIGKILL)
                    outcome.deaths.append("SIGKILL")
            status = await finished
            if status == -signal.SIGKILL:
                continue
            assert status == 0, child.said[-3000:]
            outcome.result = child.result
            break
        _read_venue(venue, outcome)
    return outcome


def _read_venue(venue: VenueServer, outcome: Outcome) -> None:
    exchange = venue.exchange
    for symbol in SYMBOLS:
        orders = exchange.all_orders(ACCOUNT, {"symbol": symbol, "limit": "1000"})
        assert len(orders) < 1000, "the listing is one page"
        outcome.orders += orders
        page = [{"id": -1}]
        while page:
            params = {"symbol": symbol, "limit": "1000", "fromId": str(page[-1]["id"] + 1)}
            page = exchange.my_trades(ACCOUNT, params)
            outcome.trades += [{**trade, "symbol": symbol} for trade in page]
    for balance in exchange.account_status(ACCOUNT, {})["balances"]:
        outcome.balances[balance["asset"]] = parse_e8(balance["free"]) + parse_e8(balance["locked"])


def _check(outcome: Outcome, store: Path) -> None:
    ids = [order["clientOrderId"] for order in outcome.orders]
    assert len(ids) == len(set(ids)), "an order was placed twice under one id"
    tag = read_order_tag(store)
    keys = [parse_client_order_id(text, tag) for text in ids]
    assert None not in keys

    intents: dict[int, tuple[int, int, int]] = {}
    decided_ns: dict[int, int] = {}
    epochs: list[int] = []
    told: set[tuple[int, int]] = set()
    for segment in read_segments(store):
        slots, types = frame_slots(segment.frames), segment.frames["type"]
        views = record_views(slots)
        for i in range(len(slots)):
            kind, part = int(views.market["kind"][i]), int(views.market["part"][i])
            if types[i] == FrameType.EFFECT and kind == Kind.PLACE and part == 0:
                intent = views.intent1[i]
                intents[int(intent["client_key"])] = (int(intent["symbol"]), int(intent["side"]), int(intent["qty"]))
                decided_ns[int(intent["client_key"])] = int(intent["t"])
            elif types[i] == FrameType.INPUT and kind == Kind.CONTROL and views.control["command"][i] == Command.EPOCH:
                epochs.append(int(views.control["id"][i]))
            elif types[i] == FrameType.INPUT and kind == Kind.ORDER_EVENT and part == 1 and int(views.order2["trade_id"][i]) >= 0:
                told.add((int(views.order2["symbol"][i]), int(views.order2["trade_id"][i])))
    for order, key in zip(outcome.orders, keys, strict=True):
        assert key in intents, f"{client_order_id(key or 0)} was sent without an intent in the journal"
        late_ns = order["time"] * NS_PER_MS - decided_ns[key]
        assert late_ns <= SENT_WITHIN_NS, f"{client_order_id(key or 0)} was sent again after {late_ns / NS_PER_S:.1f} s"
        symbol, side, qty = intents[key]
        assert (SYMBOLS[symbol], Side(side).name, qty) == (order["symbol"], order["side"], parse_e8(order["origQty"]))

    assert epochs == sorted(set(epochs))
    assert epochs[-1] == len(outcome.deaths) + 1, "a start had no epoch of its own"

    venue_trades = {(SYMBOLS.index(trade["symbol"]), int(trade["id"])) for trade in outcome.trades}
    assert venue_trades <= told, f"fills never told to the engine: {sorted(venue_trades - told)[:5]}"

    run_ = ReplayedRun(store)
    assert run_.state_hash == outcome.result["state_hash"], "the journal does not lead to the state the daemon ended in"
    assert run_.replay.mismatched_effects == 0
    glob, symbols = run_.state.glob[0], run_.state.symbols
    assert int(run_.state.counters["fills"][0]) >= len(venue_trades)
    assert int(glob["cash"]) == outcome.balances["USDT"]
    for index, name in enumerate(SYMBOLS):
        assert int(symbols["inventory"][index]) == outcome.balances[name.removesuffix("USDT")], name
    assert int(glob["live_orders"]) == 0


@pytest.mark.parametrize("deaths", [20, pytest.param(50, marks=pytest.mark.full)])
def test_deaths_in_lockstep_lose_and_double_nothing(tmp_path: Path, deaths: int) -> None:
    outcome = run(_run_with_deaths(tmp_path, deaths, 900, seed=11), 900)
    assert len(outcome.deaths) == deaths
    assert outcome.deaths.count("stepped") < deaths, "no death struck at an order"
    assert len(outcome.orders) >= 20
    _check(outcome, tmp_path / "store")


@pytest.mark.parametrize("kills", [3, pytest.param(5, marks=pytest.mark.full)])
def test_kill_9_from_outside_loses_and_doubles_nothing(tmp_path: Path, kills: int) -> None:
    outcome = run(_run_with_kill_9(tmp_path, kills, seed=12), 900)
    assert len(outcome.deaths) == kills
    assert len(outcome.orders) >= 20
    _check(outcome, tmp_path / "store")


@pytest.mark.full
@pytest.mark.parametrize("seed", [21, 22, 23])
def test_more_deaths_at_other_moments(tmp_path: Path, seed: int) -> None:
    outcome = run(_run_with_deaths(tmp_path, 60, 500, seed=seed), 1800)
    _check(outcome, tmp_path / "store")
