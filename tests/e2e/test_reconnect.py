"""The live path, on the wall clock: connections cut under a running daemon."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sentinel.host.daemon import Daemon
from sentinel.sim.market.coins import COINS
from sentinel.sim.market.model import MarketModel
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.sim.venue.server import VenueServer
from sentinel.units import parse_e8
from sentinel.wire import Kind, SignalCode, TradingState, record_views
from tests.e2e.lockstep_rig import ACCOUNT, CREDENTIALS, KEY, SECRET, config_for, run

SYMBOLS = [coin.instrument.symbol for coin in COINS]


async def _until(condition: Any, timeout_s: float = 240.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.02)


async def _cut_while_running(directory: Path) -> dict[str, Any]:
    source = MarketModel(5, COINS, 60.0, (), int(time.time()) * 1_000_000_000)
    exchange = Exchange(source.instruments, source, {ACCOUNT: {"USDT": parse_e8("1000"), "BTC": parse_e8("0.5")}}, 5)
    async with VenueServer(exchange, [ApiKey(KEY, SECRET, ACCOUNT)], pace=PaceConfig(speed=1.0)) as venue:
        config = config_for(venue, SYMBOLS, directory, feed={"depth_symbols": ["BTCUSDT"], "backoff_min_ms": 50})
        states: list[int] = []

        def note_state(slots: NDArray[Any]) -> None:
            record = record_views(slots).signal[0]
            if record["kind"] == Kind.SIGNAL and record["code"] == SignalCode.ARMED_STATE:
                states.append(int(record["value"]))

        daemon = Daemon(config, CREDENTIALS, on_effect=note_state)
        stop = asyncio.Event()
        task = asyncio.create_task(daemon.run(stop))
        account = daemon.host.state.glob
        await _until(
            lambda: int(account["trading_state"][0]) == TradingState.ACTIVE and int(daemon.host.state.counters["trades"][0]) > 5
        )
        first_epoch, cash = int(account["arm_epoch"][0]), int(account["cash"][0])
        states.clear()
        venue.cut_connections()
        await _until(lambda: int(account["arm_epoch"][0]) > first_epoch)
        before = int(daemon.host.state.counters["trades"][0])
        await _until(lambda: int(daemon.host.state.counters["trades"][0]) > before + 5)
        await _until(lambda: daemon.feed is not None and daemon.feed.books_live)
        result = {
            "states": states,
            "cash_kept": int(account["cash"][0]) == cash,
            "feed": daemon.feed_counters(),
            "session": dict(daemon.session.counters) if daemon.session is not None else {},
            "halted_symbols": int((daemon.host.state.symbols["halt"] != 0).sum()),
        }
        stop.set()
        await task
        return result


def test_after_a_cut_everything_is_reconciled_before_trading_goes_on(tmp_path: Path) -> None:
    result = run(_cut_while_running(tmp_path), 300)
    assert result["states"][:3] == [TradingState.RECOVERING, TradingState.REDUCE_ONLY, TradingState.ACTIVE]
    assert result["session"]["reconnects"] >= 1
    assert result["feed"]["reconnects"] >= 1
    assert result["cash_kept"]
    assert result["halted_symbols"] == 0
