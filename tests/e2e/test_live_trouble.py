"""Trouble that needs a wall clock: system clocks that go back, silent sockets, a venue that goes away. And names beyond ASCII."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sentinel.engine.layout import HALT_FEED
from sentinel.errors import ConfigError
from sentinel.host import clock
from sentinel.host.daemon import Daemon
from sentinel.host.venues.binance_spot import Credentials
from sentinel.sim.market.coins import COINS
from sentinel.sim.market.episode import Episode
from sentinel.sim.market.model import MarketModel
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.sim.venue.server import VenueServer
from sentinel.units import NS_PER_S, parse_e8
from sentinel.wire import TradingState
from tests.e2e.hostile_market import BALANCES, SYMBOLS, eager_model, small_market
from tests.e2e.lockstep_rig import ACCOUNT, CREDENTIALS, KEY, SECRET, config_for, lockstep_venue, run

HOUR_NS = 3600 * NS_PER_S
FEED = {"stall_timeout_ms": 2_000, "backoff_min_ms": 10, "backoff_max_ms": 100}


def _venue(port: int = 0, rest_port: int = 0) -> VenueServer:
    """Ten times as fast as the wall clock, so that there is always something to say."""
    source = small_market()
    exchange = Exchange(source.instruments, source, {ACCOUNT: {asset: parse_e8(amount) for asset, amount in BALANCES.items()}}, 1)
    return VenueServer(exchange, [ApiKey(KEY, SECRET, ACCOUNT)], pace=PaceConfig(speed=10.0), port=port, rest_port=rest_port)


async def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 240.0
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


def _working(daemon: Daemon) -> bool:
    state = daemon.host.state
    return (
        daemon.feed is not None
        and daemon.feed.books_live
        and int(state.glob["trading_state"][0]) == TradingState.ACTIVE
        and not state.symbols["halt"].any()
    )


async def _live(venue: VenueServer, directory: Path, disturb: Callable[[Daemon], Awaitable[Any]]) -> Daemon:
    """A daemon on the wall clock, disturbed once it works; stopped when ``disturb`` returns."""
    daemon = Daemon(config_for(venue, list(SYMBOLS), directory / "store", feed=FEED), CREDENTIALS)
    stop = asyncio.Event()
    running = asyncio.create_task(daemon.run(stop))
    try:
        await _until(lambda: _working(daemon) or running.done(), "a start")
        await disturb(daemon)
        assert not running.done()
    finally:
        stop.set()
        await running
    return daemon


def _trades(daemon: Daemon) -> int:
    return int(daemon.host.state.counters["trades"][0])


def test_a_system_clock_set_back_while_running_moves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def disturb(daemon: Daemon) -> None:
        real, times = time.time_ns, []
        monkeypatch.setattr(time, "time_ns", lambda: real() - HOUR_NS)
        before = daemon.host.now_ns
        for _ in range(100):
            times.append(daemon.host.now_ns)
            await asyncio.sleep(0.01)
        assert times == sorted(times)
        assert NS_PER_S // 2 < times[-1] - before < HOUR_NS // 2
        await _until(lambda: _working(daemon), "what works on")

    async def scenario() -> None:
        async with _venue() as venue:
            await _live(venue, tmp_path, disturb)

    run(scenario(), 300)


def test_a_system_clock_set_back_between_two_starts_does_not_stop_the_engines_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first run believed it was an hour later: the second one's quotes must still age, its time-outs still come."""
    seen: list[int] = []

    async def look(daemon: Daemon) -> None:
        seen.append(daemon.host.now_ns)
        await asyncio.sleep(0.6)
        seen.append(daemon.host.now_ns)

    async def scenario() -> None:
        async with _venue() as venue:
            true_offset = clock._offset_ns
            monkeypatch.setattr(clock, "_offset_ns", lambda: true_offset() + HOUR_NS)
            first = await _live(venue, tmp_path, look)
            monkeypatch.setattr(clock, "_offset_ns", true_offset)
            second = await _live(venue, tmp_path, look)
            assert first.host.now_ns > time.time_ns() + HOUR_NS // 2
            assert seen[2] >= first.host.now_ns
            assert NS_PER_S // 2 < seen[3] - seen[2] < HOUR_NS // 2
            assert second.feed_counters()["malformed"] == 0

    run(scenario(), 300)
    assert "behind the last record of the journal" in caplog.text


def test_a_socket_that_falls_silent_halts_its_symbols_and_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with _venue() as venue:

            async def disturb(daemon: Daemon) -> None:
                venue.faults.inject(FaultKind.STALL, 1, "novausdt@bookTicker")
                await _until(lambda: bool((daemon.host.state.symbols["halt"] & HALT_FEED).all()), "a halt of the silent feed")
                before = _trades(daemon)
                await _until(lambda: _working(daemon) and _trades(daemon) > before, "the feed's return")
                assert daemon.feed_counters()["stale"] >= 1
                assert daemon.feed_counters()["reconnects"] >= 1

            await _live(venue, tmp_path, disturb)

    run(scenario(), 300)
    assert "silent for" in caplog.text


def test_a_venue_that_goes_away_and_comes_back_is_found_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        first = _venue()
        await first.start()
        ports = int(first.stream_url.rpartition(":")[2]), int(first.rest_url.rpartition(":")[2])

        async def disturb(daemon: Daemon) -> None:
            await first.close()
            await _until(lambda: bool((daemon.host.state.symbols["halt"] & HALT_FEED).all()), "a halt of the lost feed")
            await asyncio.sleep(0.5)
            async with _venue(*ports):
                before = _trades(daemon)
                await _until(lambda: _working(daemon) and _trades(daemon) > before, "the venue's return")

        await _live(first, tmp_path, disturb)

    run(scenario(), 300)
    assert "cannot connect" in caplog.text
    assert "order connection not re-established" in caplog.text


def test_symbols_beyond_ascii_are_traded_like_any_other(tmp_path: Path) -> None:
    names = ("币安人生USDT", "ÑANDÚUSDT")
    coins = [
        replace(coin, instrument=replace(coin.instrument, symbol=name, base=name.removesuffix("USDT")))
        for name, coin in zip(names, (coin for coin in COINS if coin.instrument.symbol in SYMBOLS), strict=True)
    ]
    market = MarketModel(5, coins, 3.0, (Episode(names[0], 130.0, decay_s=60.0),))

    async def scenario() -> tuple[Daemon, dict[str, int]]:
        async with lockstep_venue(market, {"USDT": "100000", "币安人生": "120000", "ÑANDÚ": "700"}, 5) as venue:
            sections = {
                "model": str(eager_model(tmp_path)),
                "strategy": {
                    "entry": "immediate",
                    "horizon_ms": 4000,
                    "cooldown_ms": 1000,
                    "alarm_quiet_ms": 0,
                    "exit_retry_ms": 200,
                },
            }
            daemon = Daemon(config_for(venue, list(names), tmp_path / "store", **sections), CREDENTIALS, venue.lockstep_url)
            await daemon.run(asyncio.Event())
            rows = venue.exchange.account_status(ACCOUNT, {})["balances"]
            return daemon, {row["asset"]: parse_e8(row["free"]) + parse_e8(row["locked"]) for row in rows}

    daemon, owned = run(scenario(), 300)
    counters = daemon.host.counters()
    assert daemon.finished
    assert counters["fills"] > 20
    assert counters["round_trips"] >= 3
    assert daemon.feed_counters()["malformed"] == daemon.feed_counters()["unknown_symbol"] == 0
    assert daemon.host.state.book.books["checked"].min() > 100
    assert daemon.host.state.book.books["mismatched"].tolist() == [0, 0]
    assert int(daemon.host.state.symbols["inventory"][0]) == owned["币安人生"]


def test_a_key_the_venue_refuses_ends_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with _venue() as venue:
            daemon = Daemon(config_for(venue, list(SYMBOLS), tmp_path / "store"), Credentials("another" * 3, SECRET))
            with pytest.raises(ConfigError, match="SENTINEL_API_KEY") as caught:
                await daemon.run(asyncio.Event())
            assert caught.value.field == "environment"
            assert SECRET not in str(caught.value)

    run(scenario(), 300)
