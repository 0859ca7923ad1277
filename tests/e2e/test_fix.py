"""The whole daemon with its orders by FIX: QuickFIX before the simulated exchange, REST and market data from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

pytest.importorskip("quickfix")

from sentinel.config import Config, parse_config
from sentinel.engine.readout import known_trades
from sentinel.host.daemon import Daemon
from sentinel.host.venues.binance_spot import Credentials
from sentinel.host.venues.fix import binance_session, keeper
from sentinel.host.venues.fix.binance_session import BinanceFixSession
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.limits import LimitConfig
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8
from sentinel.wire import TradingState
from tests.e2e.hostile_market import eager_model
from tests.e2e.lockstep_rig import run
from tests.e2e.wall_clock_rig import (
    ACCOUNT,
    FEED,
    RISK,
    STRATEGY,
    assert_replays,
    fills,
    owned,
    pump_market,
    run_daemon,
    settled,
    until,
)
from tests.host.venues.fix.quickfix_exchange import ExchangeAcceptor

PRIVATE = Ed25519PrivateKey.generate()
KEY = "k" * 16
CREDENTIALS = Credentials(KEY, PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), "ed25519")
SYMBOLS = ["NOVAUSDT", "LUMIUSDT"]


@pytest.fixture(autouse=True)
def _fast_venue(monkeypatch: pytest.MonkeyPatch) -> None:
    # The venue's clock runs away from ours.
    monkeypatch.setattr(binance_session, "_CLOCK_EVERY_S", 0.2)
    monkeypatch.setattr(binance_session, "_COMPARE_EVERY_S", 0.2)
    monkeypatch.setattr(keeper, "_FIRST_WAIT_S", 0.05)


@asynccontextmanager
async def _venue(folder: Path) -> AsyncIterator[tuple[VenueServer, Exchange, ExchangeAcceptor]]:
    source = pump_market(["NOVA", "LUMI"], "", "USDT")
    accounts = {ACCOUNT: {"USDT": 100_000 * E8, "NOVA": 120_000 * E8, "LUMI": 700 * E8}}
    exchange = Exchange(source.instruments, source, accounts, 1)
    public = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    free = LimitConfig(weight_per_minute=1_000_000)
    server = VenueServer(exchange, [ApiKey(KEY, public, ACCOUNT, "ED25519")], limits=free)
    async with server:
        acceptor = ExchangeAcceptor(folder, exchange, ACCOUNT, PRIVATE.public_key(), server._driver.touch, server._driver.settle)
        try:
            yield server, exchange, acceptor
        finally:
            await acceptor.stop()


def _config(server: VenueServer, acceptor: ExchangeAcceptor, directory: Path) -> Config:
    return parse_config(
        {
            "model": str(eager_model(directory)),
            "venue": {
                "rest_url": server.rest_url,
                "stream_url": server.stream_url,
                "orders": "fix",
                "fix_url": acceptor.url,
                "drop_copy_url": acceptor.url,
                "api_key_type": "ed25519",
                "recv_window_ms": 60_000,
            },
            "feed": {"symbols": SYMBOLS, "depth_symbols": SYMBOLS, **FEED},
            "strategy": STRATEGY,
            "risk": RISK,
            "store": {"directory": str(directory / "store"), "segment_mib": 8},
        }
    )


def test_orders_by_fix_are_filled_reconciled_over_rest_after_a_restart_and_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _venue(tmp_path) as (server, exchange, acceptor):
            config = _config(server, acceptor, tmp_path)
            first = await run_daemon(config, CREDENTIALS, fills, server)
            session = first.daemon.session
            assert isinstance(session, BinanceFixSession)
            assert acceptor.heard.count("D") == session.counters["sent"] == first.daemon.gateway.counts["places"] > 0
            assert session.counters["malformed"] == 0
            assert acceptor.heard.count("5") == 2  # order entry and drop copy log out
            assert_replays(tmp_path / "store", first)

            second = await run_daemon(config, CREDENTIALS, settled, server)
            assert second.trading == TradingState.HALTED
            assert second.held == owned(exchange)
            assert_replays(tmp_path / "store", second)

    run(scenario(), 300)


def test_a_fill_only_the_drop_copy_tells_leads_to_a_reconciliation(tmp_path: Path) -> None:
    async def unheard(daemon: Daemon, acceptor: ExchangeAcceptor) -> None:
        acceptor.mute = True
        session = daemon.session
        assert session is not None
        await until(lambda: session.counters["drop_copy_only"] > 0, "a fill of the drop copy")
        await until(lambda: bool(known_trades(daemon.host.state, 0)), "that fill in the engine")
        assert session.stream_trades == 0

    async def scenario() -> None:
        async with _venue(tmp_path) as (server, _, acceptor):
            config = _config(server, acceptor, tmp_path)
            ended = await run_daemon(config, CREDENTIALS, lambda daemon: unheard(daemon, acceptor), server)
            assert_replays(tmp_path / "store", ended)

    run(scenario(), 300)
