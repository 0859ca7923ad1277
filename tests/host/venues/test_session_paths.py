"""A session that reaches the simulated exchange over several addresses, some longer than others, some failing."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from sentinel.config import VenueConfig
from sentinel.errors import VenueError
from sentinel.host.clock import LiveClock
from sentinel.host.venues import keeper, paths
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.http_pool import HttpPool
from sentinel.host.venues.link import Link
from sentinel.sim.market.source import Market
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8
from sentinel.wire import OrderEventKind, Side, client_key
from tests.host.venues.offline_session import CREDENTIALS, SYMBOLS, Sink
from tests.host.venues.scripted_venue import ScriptedVenue
from tests.host.venues.tcp_proxy import TcpProxy
from tests.host.waiting import until
from tests.sim.scripted_market import ScriptedSource

NAME, SECRET = "K" * 32, "S" * 32
ORDER = client_key(2, 1, 9)


class Rig:
    """A session with a path through each proxy, in their order."""

    def __init__(self, venue: VenueServer, exchange: Exchange, proxies: list[TcpProxy]) -> None:
        self.venue = venue
        self.exchange = exchange
        self.proxies = proxies
        self.sink = Sink()
        self.reconciled = 0
        self.during_reconcile: list[Callable[[], Awaitable[None]]] = []
        path = urlsplit(venue.api_url).path
        first, *others = (f"ws://127.0.0.1:{proxy.port}{path}" for proxy in proxies)
        config = VenueConfig(rest_url=venue.rest_url, stream_url=venue.stream_url, api_url=first, api_urls=others)
        self.session = BinanceSpotSession(config, SYMBOLS, Credentials(NAME, SECRET), LiveClock(), self.sink, 5, self._reconcile)

    async def _reconcile(self) -> None:
        self.reconciled += 1
        if self.during_reconcile:
            await self.during_reconcile.pop()()

    def chosen(self) -> int | None:
        return next((k for k, report in enumerate(self.session.paths()) if report.is_chosen), None)

    async def measured(self) -> None:
        """Until every path is open and its round trip known."""
        await until(lambda: all(report.is_open for report in self.session.paths()))
        await until(lambda: all(report.rtt_ns is not None for report in self.session.paths()))

    def buy(self, qty: int = E8, price: int = 90 * E8, key: int = ORDER) -> None:
        self.session.place(key, "AAAUSDT", 1, 1, 1, price, qty)

    async def seen(self, kind: OrderEventKind, key: int = ORDER) -> None:
        await until(lambda: any(event.kind == kind and event.key == key for event in self.sink.events))


def play(scenario: Callable[[Rig], Coroutine[Any, Any, None]], *delays_s: float, connect: bool = True) -> None:
    def opening(market: Market) -> None:
        market.set_level(0, Side.BUY, 99 * E8, 50 * E8)
        market.set_level(0, Side.SELL, 101 * E8, 50 * E8)

    async def run() -> None:
        instruments = tuple(
            Instrument(name, name.removesuffix("USDT"), "USDT", tick=E8 // 100, step=E8 // 1000) for name in SYMBOLS
        )
        source = ScriptedSource(instruments, opening=[opening], start_ns=time.time_ns() // 1_000_000 * 1_000_000)
        exchange = Exchange(instruments, source, {"paper": {"USDT": 100_000 * E8, "AAA": 10 * E8}})
        async with VenueServer(exchange, [ApiKey(NAME, SECRET, "paper")]) as venue, AsyncExitStack() as stack:
            port = urlsplit(venue.api_url).port
            assert port is not None
            proxies = [await stack.enter_async_context(TcpProxy(port, delay_s)) for delay_s in delays_s]
            rig = Rig(venue, exchange, proxies)
            try:
                if connect:
                    await rig.session.connect()
                await scenario(rig)
            finally:
                await rig.session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(paths, "PING_EVERY_S", 0.01)


def test_orders_move_to_the_shorter_path_once_both_are_measured() -> None:
    async def scenario(rig: Rig) -> None:
        assert rig.chosen() == 0
        await until(lambda: rig.chosen() == 1)
        long, short = rig.session.paths()
        assert f"{short.address} chosen, round trip" in short.text()
        assert "healthy" in long.text()
        assert (long.rtt_ns or 0) > 2 * (short.rtt_ns or 0)
        assert rig.session.counters["path_changes"] == 1
        sent = rig.session.links[1].frames_sent
        rig.buy()
        assert rig.session.links[1].frames_sent == sent + 1
        await rig.seen(OrderEventKind.ACKED)
        assert len(rig.exchange.open_orders("paper", {})) == 1

    play(scenario, 0.03, 0.0)


def test_a_path_that_breaks_is_left_at_once_its_orders_are_in_doubt_and_nothing_is_sent_again() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.measured()
        rig.venue.faults.inject(FaultKind.DROP_RESPONSE, target="order.place")
        used = rig.chosen()
        assert used is not None
        rig.buy(qty=2 * E8, price=101 * E8)
        await rig.seen(OrderEventKind.TRADE)
        rig.proxies[used].cut()
        await rig.seen(OrderEventKind.AMBIGUOUS)
        doubt = next(event for event in rig.sink.events if event.kind == OrderEventKind.AMBIGUOUS)
        assert doubt.code == LocalCode.LOST_REPLY
        assert rig.session.ready
        assert rig.chosen() != used
        rig.session.query(ORDER, "AAAUSDT")
        await rig.seen(OrderEventKind.STATUS)
        assert len(rig.exchange.my_trades("paper", {"symbol": "AAAUSDT"})) == 1
        await until(lambda: all(report.is_open for report in rig.session.paths()))
        # The other path told of the account all the time.
        assert rig.reconciled == 0

    play(scenario, 0.0, 0.0)


def test_user_data_reaches_us_over_the_path_that_is_left() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.measured()
        rig.buy()
        await rig.seen(OrderEventKind.ACKED)
        used = rig.chosen()
        assert used is not None
        rig.proxies[used].cut()
        await until(lambda: rig.chosen() != used)
        rig.sink.take()
        rig.exchange.cancel("paper", {"symbol": "AAAUSDT", "orderId": str(rig.exchange.open_orders("paper", {})[0]["orderId"])})
        rig.venue.wake()
        await rig.seen(OrderEventKind.CANCELED)

    play(scenario, 0.0, 0.0)


def test_only_the_loss_of_every_path_is_reconciled_and_once() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.measured()
        for proxy in rig.proxies:
            proxy.cut()
        await until(lambda: not rig.session.ready)
        await rig.measured()
        assert rig.reconciled == 1
        assert rig.session.counters["reconnects"] == 1

    play(scenario, 0.0, 0.0)


def test_a_loss_while_the_account_is_read_has_it_read_again() -> None:
    async def scenario(rig: Rig) -> None:
        async def cut_again() -> None:
            rig.proxies[0].cut()
            await until(lambda: not rig.session.ready)

        rig.during_reconcile.append(cut_again)
        rig.proxies[0].cut()
        await until(lambda: rig.reconciled == 2)
        await until(lambda: rig.session.ready)

    play(scenario, 0.0)


def test_the_order_connection_follows_no_redirect() -> None:
    async def scenario(rig: Rig) -> None:
        async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            location = rig.session.paths()[0].address
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(elsewhere, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(VenueError):
                await Link.open(f"ws://127.0.0.1:{port}/ws-api/v3", lambda link, data: None, lambda link: None)

    play(scenario, 0.0)


def test_a_silent_path_is_left_before_its_connection_is_given_up_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "DEAD_S", 0.5)

    async def scenario(rig: Rig) -> None:
        await rig.measured()
        used = rig.chosen()
        assert used is not None
        await until(lambda: rig.session._keeper._chooser.far_off_ns(used) < 400_000_000)
        rig.proxies[used].silent = True
        rig.buy()
        link = rig.session.links[used]
        await until(lambda: rig.chosen() != used)
        assert link.is_open
        await rig.seen(OrderEventKind.AMBIGUOUS)
        assert not link.is_open
        rig.proxies[used].silent = False
        await rig.measured()
        assert rig.exchange.open_orders("paper", {}) == []

    play(scenario, 0.0, 0.0)


def test_an_address_that_cannot_be_reached_at_the_start_joins_when_it_can() -> None:
    async def scenario(rig: Rig) -> None:
        rig.proxies[0].refuse()
        await rig.session.connect()
        assert rig.chosen() == 1
        await rig.proxies[0].listen()
        await rig.measured()
        assert rig.reconciled == 0

    play(scenario, 0.0, 0.0, connect=False)


def test_without_any_address_that_answers_connecting_fails_with_a_reason() -> None:
    async def scenario(rig: Rig) -> None:
        for proxy in rig.proxies:
            proxy.refuse()
        with pytest.raises(VenueError, match="api_url"):
            await rig.session.connect()

    play(scenario, 0.0, 0.0, connect=False)


async def _say_revoked(venue: ScriptedVenue) -> None:
    await venue.tell({"id": None, "status": 401, "error": {"code": -2015, "msg": "revoked"}})


async def _refuse_the_next_connection(venue: ScriptedVenue) -> None:
    venue.refuse_subscription = (401, -2015)
    venue.connections[0].transport.abort()


@pytest.mark.parametrize("refuse", [_say_revoked, _refuse_the_next_connection])
def test_a_refused_key_closes_every_path(refuse: Callable[[ScriptedVenue], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with ScriptedVenue() as venue:
            # Pings are answered: a path given up for silence would hide one that was not closed.
            venue.answer = lambda request: {"id": request["id"], "status": 200, "result": {}}
            other = venue.config.api_url.replace("127.0.0.1", "localhost")
            config = venue.config.model_copy(update={"api_urls": [other]})
            session = BinanceSpotSession(config, SYMBOLS, CREDENTIALS, LiveClock(), Sink(), 5)
            await session.connect()
            await until(lambda: all(report.is_open for report in session.paths()))
            await refuse(venue)
            await until(lambda: session.links == () and session.halted is not None)
            await session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_pings_leave_the_reserve_of_cancels_alone() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.measured()
        desk = rig.session._desk
        desk.budget.observe_headers({"x-mbx-used-weight-1m": "5400"}, desk.venue_ns())
        with pytest.raises(VenueError, match="ping"):
            await rig.session._keeper._ping(rig.session.links[0])
        rig.session.cancel(ORDER, "AAAUSDT")
        await rig.seen(OrderEventKind.CANCEL_REJECTED)
        assert rig.sink.events[-1].code == -2011

    play(scenario, 0.0, 0.0)


def test_a_ping_that_is_limited_pauses_orders_and_pings_but_not_cancels() -> None:
    async def run() -> None:
        async with ScriptedVenue() as venue:
            limited = {"code": -1003, "msg": "slow down", "data": {"serverTime": 1, "retryAfter": venue.now_ms() + 60_000}}
            venue.answer = lambda request: (
                {"id": request["id"], "status": 429, "error": limited} if request["method"] == "ping" else None
            )
            config = venue.config.model_copy(update={"api_urls": [venue.config.api_url.replace("127.0.0.1", "localhost")]})
            sink = Sink()
            session = BinanceSpotSession(config, SYMBOLS, CREDENTIALS, LiveClock(), sink, 5)
            await session.connect()
            desk = session._desk
            await until(lambda: desk.budget.for_request(desk.venue_ns(), 0) == LocalCode.PAUSED)
            session.place(ORDER, "AAAUSDT", 1, 1, 1, 90 * E8, E8)
            assert [(event.kind, event.code) for event in sink.take()] == [(OrderEventKind.NOT_SENT, LocalCode.PAUSED)]
            session.cancel(ORDER, "AAAUSDT")
            await until(lambda: any(request["method"] == "order.cancel" for request in venue.requests))
            pings = [request for request in venue.requests if request["method"] == "ping"]
            assert len(pings) <= len(session.links)
            await session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def options(raw: Any) -> dict[str, int]:
    names = ("TCP_NODELAY", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
    found = {name: raw.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in names}
    return found | {"SO_KEEPALIVE": raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)}


WANTED = {
    "TCP_NODELAY": 1,
    "TCP_KEEPIDLE": 10,
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 15_000,
    "SO_KEEPALIVE": 1,
}


def test_sockets_of_orders_send_at_once_and_notice_a_silent_peer() -> None:
    async def scenario(rig: Rig) -> None:
        await rig.measured()
        for link in rig.session.links:
            assert link._transport is not None
            assert options(link._transport.underlying_transport.get_extra_info("socket")) == WANTED

    play(scenario, 0.0, 0.0)


def test_sockets_of_the_rest_pool_do_too() -> None:
    async def run() -> None:
        async with ScriptedVenue() as venue:
            pool = HttpPool(venue.config.rest_url, {})
            await pool.request("GET", "/api/v3/exchangeInfo", {})
            assert options(pool._idle[0].writer.get_extra_info("socket")) == WANTED
            pool.close()

    asyncio.run(run())
