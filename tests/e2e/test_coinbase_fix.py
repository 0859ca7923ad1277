"""The whole daemon with its orders by FIX at the simulated Coinbase Exchange: QuickFIX before it, REST and feed from it."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("quickfix")

from sentinel.config import Config, parse_config
from sentinel.engine.readout import known_trades, trading_state
from sentinel.host.daemon import Daemon
from sentinel.host.store.order_tag import read_order_tag
from sentinel.host.venues.coinbase import Credentials
from sentinel.host.venues.fix import keeper
from sentinel.host.venues.fix.coinbase_session import CoinbaseFixSession
from sentinel.host.venues.order_names import UuidNames
from sentinel.research.run_data import ReplayedRun
from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer, QuoteFeeLedger, auth
from sentinel.sim.coinbase.limits import LimitConfig
from sentinel.sim.venue.account import CommissionRates
from sentinel.sim.venue.exchange import Exchange
from sentinel.units import E8, NS_PER_S
from sentinel.wire import TradingState, Venue
from tests.e2e.daemon_child import DIED
from tests.e2e.fix_child import FixChild
from tests.e2e.hostile_market import eager_model
from tests.e2e.lockstep_rig import run
from tests.e2e.test_fix_kill import told_fills
from tests.e2e.test_kill_and_restart import _write_toml
from tests.e2e.wall_clock_rig import (
    ACCOUNT,
    FEED,
    RISK,
    SPEED,
    STRATEGY,
    assert_replays,
    fills,
    owned,
    pump_market,
    run_at,
    run_daemon,
    settled,
    until,
)
from tests.host.venues.fix.quickfix_coinbase import CoinbaseAcceptor

KEY, PHRASE, SECRET = "k" * 32, "phrase", base64.b64encode(b"s" * 32).decode()
CREDENTIALS = Credentials(KEY, PHRASE, SECRET)
SYMBOLS = ["NOVA-USD", "LUMI-USD"]


@pytest.fixture(autouse=True)
def _fast_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its clock soon is minutes ahead of the one requests are signed by.
    monkeypatch.setattr(auth, "_TOLERANCE_NS", 3600 * NS_PER_S)
    monkeypatch.setattr(keeper, "_FIRST_WAIT_S", 0.05)


@asynccontextmanager
async def _venue(folder: Path) -> AsyncIterator[tuple[CoinbaseServer, CoinbaseAcceptor]]:
    source = pump_market(["NOVA", "LUMI"], "-", "USD")
    accounts = {ACCOUNT: {"USD": 100_000 * E8, "NOVA": 120_000 * E8, "LUMI": 700 * E8}}
    rates = CommissionRates(maker=E8 // 2000, taker=E8 // 1000)
    exchange = Exchange(source.instruments, source, accounts, ledger=QuoteFeeLedger(accounts, rates))
    free = LimitConfig(private_per_s=1_000, private_burst=1_000, fills_per_s=1_000, fills_burst=1_000)
    key = CoinbaseKey(KEY, PHRASE, SECRET, ACCOUNT)
    async with CoinbaseServer(exchange, [key], limits=free) as server:
        acceptor = CoinbaseAcceptor(folder, server, key)
        try:
            yield server, acceptor
        finally:
            await acceptor.stop()


def _config(server: CoinbaseServer, acceptor: CoinbaseAcceptor, directory: Path) -> Config:
    addresses = {"rest_url": server.rest_url, "stream_url": server.feed_url, "api_url": server.feed_url}
    return parse_config(
        {
            "model": str(eager_model(directory)),
            "venue": {"name": "coinbase", **addresses, "orders": "fix", "fix_url": acceptor.url},
            "feed": {"symbols": SYMBOLS, "depth_symbols": SYMBOLS, "quote_asset": "USD", **FEED},
            "strategy": STRATEGY,
            "risk": RISK,
            "store": {"directory": str(directory / "store"), "segment_mib": 8},
        }
    )


def test_orders_by_fix_are_filled_reconciled_over_rest_after_a_restart_and_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _venue(tmp_path) as (server, acceptor):
            config = _config(server, acceptor, tmp_path)
            first = await run_daemon(config, CREDENTIALS, fills, server)
            session = first.daemon.session
            assert isinstance(session, CoinbaseFixSession)
            assert acceptor.heard.count("D") == session.counters["sent"] == first.daemon.gateway.counts["places"] > 0
            assert (session.counters["malformed"], session.counters["unequal_fills"], first.counters["bad_input"]) == (0, 0, 0)
            assert acceptor.heard.count("5") == 1
            assert int(first.daemon.host.state.params["venue"][0]) == Venue.COINBASE
            assert_replays(tmp_path / "store", first)

            second = await run_daemon(config, CREDENTIALS, settled, server)
            assert second.trading == TradingState.HALTED
            assert second.counters["fills"] >= first.counters["fills"]
            assert second.held == owned(server.exchange)
            assert_replays(tmp_path / "store", second)

    run(scenario(), 300)


def test_a_fill_only_the_user_channel_tells_is_in_the_engine(tmp_path: Path) -> None:
    async def unheard(daemon: Daemon, acceptor: CoinbaseAcceptor) -> None:
        acceptor.mute = True
        await until(lambda: bool(known_trades(daemon.host.state, 0)), "a fill in the engine")
        session = daemon.session
        assert isinstance(session, CoinbaseFixSession)
        assert session._entry is not None
        assert session._entry.stream_trades == 0
        assert session.stream_trades > 0

    async def scenario() -> None:
        async with _venue(tmp_path) as (server, acceptor):
            config = _config(server, acceptor, tmp_path)
            ended = await run_daemon(config, CREDENTIALS, lambda daemon: unheard(daemon, acceptor), server)
            assert_replays(tmp_path / "store", ended)

    run(scenario(), 300)


def test_a_lost_session_is_replaced_and_its_orders_cancelled_by_the_venue_are_known(tmp_path: Path) -> None:
    async def lose(daemon: Daemon, acceptor: CoinbaseAcceptor) -> None:
        await fills(daemon)
        session = daemon.session
        assert session is not None
        acceptor.state_of(1).logout("deployment")
        await until(lambda: session.counters["lost_sessions"] > 0, "the end of the session")
        # QuickFIX lets nobody in again before this.
        acceptor.state_of(1).logon()
        state = daemon.host.state
        await until(lambda: session.counters["reconnects"] > 0 and session.ready, "another session")
        await until(lambda: trading_state(state) == TradingState.ACTIVE, "its reconciliation")
        await settled(daemon)

    async def scenario() -> None:
        async with _venue(tmp_path) as (server, acceptor):
            config = _config(server, acceptor, tmp_path)
            ended = await run_daemon(config, CREDENTIALS, lambda daemon: lose(daemon, acceptor), server)
            assert acceptor.heard.count("A") >= 2
            assert ended.held == owned(server.exchange)
            assert_replays(tmp_path / "store", ended)

    run(scenario(), 300)


def test_death_as_a_fill_is_heard_of_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _venue(tmp_path) as (server, acceptor):
            exchange, config, store = server.exchange, tmp_path / "run.toml", tmp_path / "store"
            _write_toml(_config(server, acceptor, tmp_path), config)
            first = FixChild(tmp_path, config, (KEY, PHRASE, SECRET), "fill read")
            await first.begun()
            run_at(server, SPEED)
            assert await first.ended() == DIED, first.said[-3000:]
            before, at_venue = told_fills(store, SYMBOLS), _fills_at(exchange)
            assert at_venue - before, "the fill that was read is in the journal already"
            # Its session is gone, and with it its orders.
            await until(lambda: not exchange.open_orders(ACCOUNT, {}), "the venue to cancel")

            run_at(server, 1.0)
            second = FixChild(tmp_path, config, (KEY, PHRASE, SECRET), "")
            await second.begun()
            run_at(server, SPEED)
            assert await second.ended() == 0, second.said[-3000:]
            assert second.result["held"] == owned(exchange)
            assert second.result["live"] == 0
            assert at_venue <= _fills_at(exchange) == told_fills(store, SYMBOLS)
            ids = [order["clientOrderId"] for name in SYMBOLS for order in exchange.all_orders(ACCOUNT, {"symbol": name})]
            keys = [UuidNames(read_order_tag(store)).key(text) for text in ids]
            assert len(set(keys)) == len(keys) > 0
            assert None not in keys
            replayed = ReplayedRun(store)
            assert replayed.state_hash == second.result["state_hash"]
            assert replayed.replay.mismatched_effects == 0

    run(scenario(), 300)


def _fills_at(exchange: Exchange) -> set[tuple[str, int]]:
    return {(name, int(trade["id"])) for name in SYMBOLS for trade in exchange.my_trades(ACCOUNT, {"symbol": name})}
