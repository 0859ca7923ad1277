"""The Coinbase feed on the simulated exchange: sockets, faults, and what is repaired."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sentinel.config import FeedConfig, VenueConfig
from sentinel.engine.book import book_clear, book_end_event, book_level, check_bbo, new_book_state, remember_bbo
from sentinel.host.clock import LiveClock
from sentinel.host.feeds import coinbase
from sentinel.host.feeds.coinbase import CoinbaseFeed
from sentinel.host.venues.coinbase import Credentials
from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer
from sentinel.sim.market.source import Market
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.instruments import Instrument
from sentinel.units import E8
from sentinel.wire import FeedStatus, Kind, MarketFlag, Side
from tests.host.feeds.conftest import Sink
from tests.host.waiting import until
from tests.sim.scripted_market import ScriptedSource

SYMBOLS = ["AAA-USD", "BBB-USD"]
BASE: dict[str, Any] = {"backoff_min_ms": 10, "backoff_max_ms": 100}
SECRET = base64.b64encode(b"S" * 32).decode()


class Rig:
    """A feed of two products, the first with its book, on an exchange with bids at 90..99 and asks at 101..110."""

    def __init__(self, exchange: Exchange, server: CoinbaseServer, signed: bool, **changes: Any) -> None:
        self.exchange = exchange
        self.server = server
        self.sink = Sink()
        venue = VenueConfig(rest_url=server.rest_url, stream_url=server.feed_url)
        settings = FeedConfig(symbols=SYMBOLS, depth_symbols=SYMBOLS[:1], quote_asset="USD", **(BASE | changes))
        authenticate = Credentials("K", "p", SECRET).subscription if signed else None
        self.feed = CoinbaseFeed(venue, settings, self.sink, LiveClock(), authenticate=authenticate)

    def trade(self, qty: int = E8, symbol: int = 0) -> None:
        """A trade that takes from the best ask and puts it back."""
        self.exchange.take(symbol, Side.BUY, qty, 101 * E8)
        self.exchange.set_level(symbol, Side.SELL, 101 * E8, 5 * E8)
        self.exchange.commit(symbol)
        self.server.wake()

    def ids(self, symbol: int = 0) -> list[int]:
        trades = self.sink.of(Kind.TRADE)
        return [int(seq) for seq in trades[trades["symbol"] == symbol]["seq"]]

    def public_ids(self, symbol: int = 0) -> list[int]:
        return [row["id"] for row in self.exchange.recent_trades(SYMBOLS[symbol])]


Scenario = Callable[[Rig], Coroutine[Any, Any, None]]


def play(scenario: Scenario, signed: bool = False, **changes: Any) -> None:
    async def run() -> None:
        instruments = tuple(Instrument(name, name[:3], "USD", tick=E8 // 100, step=E8 // 1000) for name in SYMBOLS)

        def opening(market: Market) -> None:
            for symbol in range(2):
                for step in range(10):
                    market.set_level(symbol, Side.BUY, (99 - step) * E8, 5 * E8)
                    market.set_level(symbol, Side.SELL, (101 + step) * E8, 5 * E8)

        source = ScriptedSource(instruments, opening=[opening], start_ns=time.time_ns() // 1_000_000 * 1_000_000)
        exchange = Exchange(instruments, source, {"paper": {}})
        async with CoinbaseServer(exchange, [CoinbaseKey("K", "p", SECRET)]) as server:
            rig = Rig(exchange, server, signed, **changes)
            await rig.feed.start()
            try:
                await until(lambda: rig.feed.books_live)
                await scenario(rig)
            finally:
                await rig.feed.stop()

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize("signed", [False, True], ids=["level2_batch", "level2"])
def test_trades_books_and_best_prices_arrive_whole_and_agree(signed: bool) -> None:
    async def scenario(rig: Rig) -> None:
        for step in range(20):
            rig.trade()
            rig.exchange.set_level(0, Side.BUY, (99 - step % 7) * E8, (1 + step) * E8)
            rig.exchange.set_level(0, Side.SELL, (101 + step % 5) * E8, (2 + step) * E8)
            rig.exchange.commit(0)
            rig.server.wake()
            await asyncio.sleep(0.02)
        await until(lambda: len(rig.ids()) == 20)
        assert rig.ids() == rig.public_ids()
        assert all(slot["side"] == Side.BUY for slot in rig.sink.of(Kind.TRADE))

        def settled() -> bool:
            best = [slot for slot in rig.sink.of(Kind.BBO) if slot["symbol"] == 0][-1]
            return tuple(int(best[name]) for name in ("price", "qty", "price2", "qty2")) == rig.exchange.top(0)

        await until(settled)
        books, verdicts = new_book_state(1), []
        for slot in rig.sink.market:
            if slot["symbol"] != 0:
                continue
            if slot["kind"] == Kind.BBO:
                remember_bbo(books, 0, *(int(slot[name]) for name in ("seq", "price", "qty", "price2", "qty2")))
            elif slot["kind"] == Kind.SNAPSHOT_BEGIN:
                book_clear(books, 0)
            elif slot["kind"] == Kind.LEVEL:
                book_level(books, 0, int(slot["side"]), int(slot["price"]), int(slot["qty"]))
                if slot["flags"] & MarketFlag.LAST_OF_EVENT:
                    book_end_event(books, 0)
                    verdicts.append(check_bbo(books, 0, int(slot["seq"])))
        assert verdicts
        assert set(verdicts) == {1}
        counters = rig.feed.counters
        silent = ("malformed", "gaps", "missing_trades", "reconnects", "stale", "refused", "late_trades")
        assert {name: counters[name] for name in silent} == dict.fromkeys(silent, 0)

    play(scenario, signed)


def test_a_match_that_was_dropped_is_read_over_rest() -> None:
    async def scenario(rig: Rig) -> None:
        rig.trade()
        await until(lambda: len(rig.ids()) == 1)
        rig.server.faults.inject(FaultKind.DROP_MESSAGE, target="matches")
        rig.trade()
        rig.trade()
        await until(lambda: sorted(rig.ids()) == rig.public_ids())
        assert rig.feed.counters["missing_trades"] == 0
        assert rig.feed.counters["refills"] >= 1

    play(scenario)


def test_the_last_match_that_was_dropped_is_known_by_the_heartbeat() -> None:
    async def scenario(rig: Rig) -> None:
        rig.trade()
        await until(lambda: len(rig.ids()) == 1)
        rig.server.faults.inject(FaultKind.DROP_MESSAGE, target="matches")
        rig.trade()
        await until(lambda: rig.ids() == rig.public_ids())
        assert len(rig.ids()) == 2

    play(scenario)


@pytest.mark.parametrize("fault", [FaultKind.ERROR_AFTER_ACCEPT, FaultKind.RESET_AFTER_ACCEPT, FaultKind.MALFORMED_MESSAGE])
def test_trades_that_could_not_be_read_are_asked_for_again(fault: FaultKind) -> None:
    async def scenario(rig: Rig) -> None:
        rig.trade()
        await until(lambda: len(rig.ids()) == 1)
        rig.server.faults.inject(fault, target="trades")
        rig.server.faults.inject(FaultKind.DROP_MESSAGE, target="matches")
        rig.trade()
        rig.trade()
        await until(lambda: sorted(rig.ids()) == rig.public_ids())
        assert rig.server.faults.counts[fault] == 1

    play(scenario)


def test_a_snapshot_that_was_lost_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coinbase, "_BOOK_RETRY_NS", 50_000_000)

    async def scenario(rig: Rig) -> None:
        rig.server.faults.inject(FaultKind.DROP_MESSAGE, target="level2_batch.snapshot")
        rig.feed.resync(0)
        await until(lambda: rig.server.faults.counts.get(FaultKind.DROP_MESSAGE) == 1)
        assert not rig.feed.books_live
        await until(lambda: rig.feed.books_live)

    play(scenario)


def test_a_connection_that_says_nothing_more_is_stale_and_replaced() -> None:
    async def scenario(rig: Rig) -> None:
        rig.server.faults.inject(FaultKind.STALL, target="heartbeat")
        await until(lambda: rig.feed.counters["reconnects"] == 1)
        await until(lambda: rig.feed.books_live)
        assert rig.feed.counters["stale"] == 1
        assert FeedStatus.STALE in rig.sink.statuses()

    play(scenario, stall_timeout_ms=1500)


def test_a_doubled_match_is_one_trade() -> None:
    async def scenario(rig: Rig) -> None:
        rig.server.faults.inject(FaultKind.DUPLICATE_MESSAGE, target="matches")
        rig.trade()
        await until(lambda: rig.feed.counters["duplicates"] == 1)
        assert rig.ids() == rig.public_ids()

    play(scenario)


def test_an_update_that_cannot_be_read_gives_the_book_up_and_brings_a_new_one() -> None:
    async def scenario(rig: Rig) -> None:
        rig.server.faults.inject(FaultKind.MALFORMED_MESSAGE, target="level2_batch.l2update")
        rig.exchange.set_level(0, Side.BUY, 98 * E8, 2 * E8)
        rig.exchange.commit(0)
        rig.server.wake()
        await until(lambda: rig.feed.counters["malformed"] == 1)
        await until(lambda: rig.feed.books_live)
        assert rig.sink.kinds().count(Kind.GAP) == 1
        assert rig.sink.kinds().count(Kind.SNAPSHOT_END) == 2
        assert FeedStatus.MALFORMED in rig.sink.statuses()

    play(scenario)


@pytest.mark.parametrize("fault", ["cut", FaultKind.CLOSE_MID_FRAME])
def test_a_lost_connection_comes_back_with_books_and_the_trades_between(fault: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.trade()
        await until(lambda: len(rig.ids()) == 1)
        if fault == "cut":
            rig.server.cut_connections()
        else:
            rig.server.faults.inject(fault, target="heartbeat")
        await until(lambda: not rig.feed.books_live)
        rig.trade()
        rig.trade()
        await until(lambda: rig.feed.books_live)
        await until(lambda: sorted(rig.ids()) == rig.public_ids())
        assert len(rig.ids()) == 3
        statuses = rig.sink.statuses()
        assert statuses == [FeedStatus.LIVE] * 2 + [FeedStatus.DISCONNECTED] * 2 + [FeedStatus.LIVE] * 2
        assert rig.feed.counters["reconnects"] == 1

    play(scenario)


def test_a_book_the_engine_gives_up_is_built_anew() -> None:
    async def scenario(rig: Rig) -> None:
        rig.feed.resync(0)
        assert not rig.feed.books_live
        await until(lambda: rig.feed.books_live)
        assert rig.feed.counters["resyncs"] == 3

    play(scenario)


def test_a_refused_subscription_is_counted() -> None:
    async def scenario(rig: Rig) -> None:
        (link,) = rig.feed.connections
        link.send_text(b'{"type":"subscribe","product_ids":["NO-SUCH"],"channels":["matches"]}')
        await until(lambda: rig.feed.counters["refused"] == 1)
        assert rig.feed.books_live

    play(scenario)


def test_products_are_spread_over_connections() -> None:
    names = [f"C{number}-USD" for number in range(5)]
    venue = VenueConfig(rest_url="http://127.0.0.1:9", stream_url="ws://127.0.0.1:9")
    feed = CoinbaseFeed(venue, FeedConfig(symbols=names, quote_asset="USD", streams_per_connection=6), Sink(), LiveClock())
    assert feed.sources == 3
