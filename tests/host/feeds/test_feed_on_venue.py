"""The real feed on the simulated exchange in lock-step: a recorded market arrives whole, in order, the same each time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentinel.config import FeedConfig, VenueConfig
from sentinel.engine.book import book_clear, book_end_event, book_level, check_bbo, new_book_state, remember_bbo
from sentinel.host.feeds.binance_spot import BinanceSpotFeed
from sentinel.host.lockstep import LockstepClient, VirtualClock
from sentinel.sim.market.capture_source import CaptureSource
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.lockstep import PaceConfig
from sentinel.sim.venue.server import VenueServer
from sentinel.wire import Kind, MarketFlag
from tests.host.feeds.conftest import CAPTURES, Sink

SECONDS = 40


def follow(path: Path, symbol: str) -> tuple[Sink, dict[str, int]]:
    """The feed's records of the first seconds of a capture served over sockets."""
    sink = Sink()

    async def main() -> dict[str, int]:
        source = CaptureSource(path)
        exchange = Exchange(source.instruments, source, {}, 0)
        until_ns = exchange.now_ns + SECONDS * 1_000_000_000
        clock = VirtualClock(exchange.now_ns)
        async with VenueServer(exchange, lockstep=True, pace=PaceConfig(quantum_ns=20_000_000)) as venue:
            config = VenueConfig(rest_url=venue.rest_url, stream_url=venue.stream_url)
            feed = BinanceSpotFeed(config, FeedConfig(symbols=[symbol], depth_symbols=[symbol]), sink, clock, jitter=lambda: 0.5)
            await feed.start()
            stop = asyncio.Event()

            def on_step(now_ns: int) -> None:
                clock.advance(now_ns)
                feed.tick()
                if now_ns > until_ns:
                    stop.set()

            client = LockstepClient(
                venue.lockstep_url, lambda: feed.connections, lambda: feed.pending_requests, on_step, lambda: None
            )
            await asyncio.wait_for(client.run(stop), 60)
            counters = feed.counters
            await feed.stop()
        return counters

    return sink, asyncio.run(main())


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHUSDT"])
def test_book_of_a_served_recording_equals_the_ticker_at_every_depth_event(shared_data: Path, symbol: str) -> None:
    sink, counters = follow(shared_data / "captures" / CAPTURES[symbol], symbol)
    expected = {"gaps": 0, "malformed": 0, "missing_trades": 0, "reconnects": 0, "stale": 0, "resyncs": 1}
    assert {name: counters[name] for name in expected} == expected
    assert counters["duplicates"] <= 2  # the depth events the snapshot already covers
    books = new_book_state(1)
    verdicts: list[int] = []
    for slot in sink.market:
        kind = int(slot["kind"])
        if kind == Kind.BBO:
            remember_bbo(books, 0, *(int(slot[name]) for name in ("seq", "price", "qty", "price2", "qty2")))
        elif kind == Kind.SNAPSHOT_BEGIN:
            book_clear(books, 0)
        elif kind == Kind.LEVEL:
            book_level(books, 0, int(slot["side"]), int(slot["price"]), int(slot["qty"]))
            if slot["flags"] & MarketFlag.LAST_OF_EVENT:
                book_end_event(books, 0)
                verdicts.append(check_bbo(books, 0, int(slot["seq"])))
    assert len(verdicts) > SECONDS * 9
    assert set(verdicts) == {1}


def test_two_runs_of_one_recording_deliver_the_same_records_in_the_same_order(shared_data: Path) -> None:
    path = shared_data / "captures" / CAPTURES["ETHUSDT"]
    first, second = (follow(path, "ETHUSDT")[0].slots for _ in range(2))

    def without_receipt(slots: np.ndarray) -> Any:
        # A record's time is that of the step it came in; which read of the socket carried it is the host's affair.
        return slots[:, [0, *range(2, 8)]]

    np.testing.assert_array_equal(without_receipt(first), without_receipt(second))
