"""Five hundred symbols over several connections."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from sentinel.host.daemon import Daemon
from sentinel.sim.market.coins import COINS, Coin
from sentinel.sim.market.model import MarketModel
from tests.e2e.lockstep_rig import CREDENTIALS, config_for, lockstep_venue, run

COUNT = 500
MINUTES = 4.0


def _coins() -> list[Coin]:
    """The small coins over and over, quiet as the long tail is."""
    coins = []
    for k in range(COUNT):
        model = COINS[4 + k % 4]
        instrument = replace(model.instrument, symbol=f"C{k:03d}USDT", base=f"C{k:03d}")
        coins.append(replace(model, instrument=instrument, trades_per_s=0.05, quotes_per_s=0.1, levels=8))
    return coins


async def _follow(directory: Path) -> dict[str, Any]:
    source = MarketModel(9, _coins(), MINUTES)
    symbols = [instrument.symbol for instrument in source.instruments]
    async with lockstep_venue(source, {"USDT": "1000"}, 9) as venue:
        config = config_for(venue, symbols, directory, feed={"depth_symbols": symbols[:3], "streams_per_connection": 200})
        daemon = Daemon(config, CREDENTIALS, venue.lockstep_url)
        await daemon.run(asyncio.Event())
        assert daemon.feed is not None
        state = daemon.host.state
        return {
            "finished": daemon.finished,
            "connections": daemon.feed.sources,
            "traded": int((state.symbols["last_price"] > 0).sum()),
            "quoted": int((state.symbols["bid"] > 0).sum()),
            "decisions": int(state.counters["decisions"][0]),
            "ring": daemon.ring_usage,
            **daemon.feed_counters(),
        }


def test_five_hundred_symbols_are_followed_without_a_gap(tmp_path: Path) -> None:
    result = run(_follow(tmp_path))
    assert result["finished"]
    assert result["connections"] >= 5
    assert result["traded"] == result["quoted"] == COUNT
    assert result["decisions"] > COUNT
    assert result["malformed"] == result["gaps"] == result["missing_trades"] == result["unknown_symbol"] == 0
    assert result["ring"]["refused"] == 0
