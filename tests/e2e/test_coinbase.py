"""The whole daemon at the simulated Coinbase Exchange: feed, decisions, orders, fills, restarts, kill, replay."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sentinel.config import Config, parse_config
from sentinel.host.daemon import Daemon
from sentinel.host.venues.coinbase import Credentials
from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer, QuoteFeeLedger, auth
from sentinel.sim.coinbase.limits import LimitConfig
from sentinel.sim.venue.account import CommissionRates
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8, NS_PER_S
from sentinel.wire import OrderState, Side, TradingState, Venue
from tests.e2e.hostile_market import eager_model
from tests.e2e.lockstep_rig import run
from tests.e2e.wall_clock_rig import (
    ACCOUNT,
    FEED,
    RISK,
    STRATEGY,
    Ended,
    assert_replays,
    fills,
    owned,
    pump_market,
    run_daemon,
    settled,
    until,
)

KEY, PHRASE, SECRET = "k" * 32, "phrase", base64.b64encode(b"s" * 32).decode()
CREDENTIALS = Credentials(KEY, PHRASE, SECRET)
SYMBOLS = ["NOVA-USD", "LUMI-USD"]


@pytest.fixture(autouse=True)
def _fast_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its clock soon is minutes ahead of the one requests are signed by.
    monkeypatch.setattr(auth, "_TOLERANCE_NS", 3600 * NS_PER_S)


def _venue(*others: CoinbaseKey) -> CoinbaseServer:
    source = pump_market(["NOVA", "LUMI"], "-", "USD")
    accounts = {ACCOUNT: {"USD": 100_000 * E8, "NOVA": 120_000 * E8, "LUMI": 700 * E8}}
    rates = CommissionRates(maker=E8 // 2000, taker=E8 // 1000)
    exchange = Exchange(source.instruments, source, accounts, ledger=QuoteFeeLedger(accounts, rates))
    free = LimitConfig(private_per_s=1_000, private_burst=1_000, fills_per_s=1_000, fills_burst=1_000)
    return CoinbaseServer(exchange, [CoinbaseKey(KEY, PHRASE, SECRET, ACCOUNT), *others], limits=free)


def _config(venue: CoinbaseServer, directory: Path, **strategy: Any) -> Config:
    addresses = {"rest_url": venue.rest_url, "stream_url": venue.feed_url, "api_url": venue.feed_url}
    return parse_config(
        {
            "model": str(eager_model(directory)),
            "venue": {"name": "coinbase", **addresses},
            "feed": {"symbols": SYMBOLS, "depth_symbols": SYMBOLS, "quote_asset": "USD", **FEED},
            "strategy": {**STRATEGY, **strategy},
            "risk": RISK,
            "store": {"directory": str(directory / "store"), "segment_mib": 8},
        }
    )


def test_a_pump_leads_to_orders_and_fills_and_a_restart_goes_on_from_the_venues_truth(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _venue() as venue:
            config = _config(venue, tmp_path)
            first = await run_daemon(config, CREDENTIALS, fills, venue)
            assert first.daemon.gateway.counts["places"] > 0
            assert first.counters["bad_input"] == 0
            assert first.daemon.feed_counters()["malformed"] == 0
            assert_replays(tmp_path / "store", first)
            assert int(first.daemon.host.state.params["venue"][0]) == Venue.COINBASE

            second = await run_daemon(config, CREDENTIALS, settled, venue)
            assert second.counters["fills"] >= first.counters["fills"]
            assert second.held == owned(venue.exchange)
            assert_replays(tmp_path / "store", second)

    run(scenario(), 300)


def test_a_kill_ends_trading_and_a_restart_stays_killed(tmp_path: Path) -> None:
    async def kill(daemon: Daemon) -> None:
        await fills(daemon)
        await settled(daemon)

    async def scenario() -> None:
        async with _venue() as venue:
            config = _config(venue, tmp_path)
            ended = await run_daemon(config, CREDENTIALS, kill, venue)
            assert ended.trading == TradingState.HALTED
            assert_replays(tmp_path / "store", ended)

            daemon, stop = Daemon(config, CREDENTIALS), asyncio.Event()
            running = asyncio.create_task(daemon.run(stop))
            await until(lambda: daemon.feed is not None and daemon.feed.books_live, "a start")
            stop.set()
            await running
            assert int(daemon.host.state.glob["trading_state"][0]) == TradingState.HALTED
            assert daemon.gateway.counts["places"] == 0

    run(scenario(), 300)


def _miss_every_order(venue: CoinbaseServer) -> None:
    """From now on whoever could take an order has left the book, and nobody tells of its end."""
    exchange = venue.exchange
    place = exchange.place

    def alone(account: str, params: Mapping[str, str]) -> dict[str, Any]:
        index = exchange.desk.index[params["symbol"]]
        book = exchange.books[index]
        side, other = (Side.SELL, book.asks) if params["side"] == "BUY" else (Side.BUY, book.bids)
        for key in list(other.keys):
            exchange.set_level(index, side, key * other.sign, 0)
        return place(account, params)

    exchange.place = alone  # type: ignore[method-assign]
    venue.faults.inject(FaultKind.DROP_MESSAGE, count=1_000, target="user.done")


def test_an_order_that_ended_unfilled_while_nobody_listened_is_given_up_after_a_restart(tmp_path: Path) -> None:
    async def accepted(daemon: Daemon) -> None:
        orders = daemon.host.state.orders
        await until(lambda: bool((orders["state"] == OrderState.ACKED).any()), "an accepted order")

    async def scenario() -> None:
        async with _venue() as venue:
            _miss_every_order(venue)
            config = _config(venue, tmp_path)
            first: Ended = await run_daemon(config, CREDENTIALS, accepted, venue)
            assert OrderState.ACKED in first.live
            assert_replays(tmp_path / "store", first)

            second = await run_daemon(config, CREDENTIALS, lambda daemon: _given_up(daemon, first), venue)
            assert second.counters["unknown_orders"] > first.counters["unknown_orders"]
            assert_replays(tmp_path / "store", second)

    async def _given_up(daemon: Daemon, first: Ended) -> None:
        keys = {int(row["key"]) for row in first.daemon.host.state.orders if int(row["state"]) == OrderState.ACKED}
        state = daemon.host.state.orders
        told = {int(row["key"]): OrderState(int(row["state"])) for row in state if int(row["key"]) in keys}
        assert told == dict.fromkeys(keys, OrderState.CANCELED)

    run(scenario(), 300)


def test_a_secret_is_in_no_file_of_a_run(tmp_path: Path) -> None:
    async def nothing(daemon: Daemon) -> None:
        assert daemon.session is not None
        assert PHRASE not in repr(daemon.session)

    async def scenario() -> None:
        async with _venue() as venue:
            await run_daemon(_config(venue, tmp_path), CREDENTIALS, nothing)

    run(scenario(), 300)
    for path in (tmp_path / "store").rglob("*"):
        raw = path.read_bytes() if path.is_file() else b""
        assert SECRET.encode() not in raw
        assert json.dumps(PHRASE).encode() not in raw
