"""Real captures, served by the simulated exchange over sockets to the real feed client."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sentinel.host.daemon import Daemon
from sentinel.sim.market.capture_source import CaptureSource
from tests.e2e.lockstep_rig import CREDENTIALS, config_for, lockstep_venue, run


async def _serve_and_follow(capture: Path, symbol: str, directory: Path) -> dict[str, Any]:
    async with lockstep_venue(CaptureSource(capture), {"USDT": "10000"}) as venue:
        daemon = Daemon(config_for(venue, [symbol], directory), CREDENTIALS, venue.lockstep_url)
        await daemon.run(asyncio.Event())
        books = daemon.host.state.book.books
        return {
            "finished": daemon.finished,
            "checked": int(books["checked"].sum()),
            "mismatched": int(books["mismatched"].sum()),
            "state_hash": daemon.state_hash,
            **daemon.feed_counters(),
        }


@pytest.mark.parametrize(("symbol", "depth_events"), [("BTCUSDT", 3449), ("ETHUSDT", 3432)])
def test_best_quote_equals_the_book_ticker_at_every_depth_event(
    shared_data: Path, tmp_path: Path, symbol: str, depth_events: int
) -> None:
    capture = shared_data / "captures" / f"binance_spot_{symbol.lower()}_20240808.ndjsonl.zst"
    result = run(_serve_and_follow(capture, symbol, tmp_path))
    assert result["finished"]
    assert result["checked"] == depth_events
    assert result["mismatched"] == 0
    assert result["gaps"] == 0
    assert result["malformed"] == 0
    assert result["missing_trades"] == 0


def test_the_same_capture_gives_the_same_state_hash_twice(shared_data: Path, tmp_path: Path) -> None:
    capture = shared_data / "captures" / "binance_spot_ethusdt_20240808.ndjsonl.zst"
    first = run(_serve_and_follow(capture, "ETHUSDT", tmp_path / "a"))
    second = run(_serve_and_follow(capture, "ETHUSDT", tmp_path / "b"))
    assert first["state_hash"] == second["state_hash"]
