"""The kill process's session with the simulated exchange, over real sockets: what proves something, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError
from sentinel.host.clock import LiveClock
from sentinel.host.venues.binance_spot import Credentials
from sentinel.ops.killswitch import binance_session as session_module
from sentinel.ops.killswitch.binance_session import BinanceKillSession
from sentinel.ops.killswitch.session import Refused
from sentinel.ops.killswitch.sweep import SweepReport, sweep
from sentinel.sim.market.model import demo_market
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8, NS_PER_S
from sentinel.wire import InstrumentField

KEY, SECRET = "k" * 16, "s" * 32
SYMBOL = "NOVAUSDT"


class OffClock(LiveClock):
    """Minutes behind the exchange's."""

    def now_ns(self) -> int:
        return super().now_ns() - 300 * NS_PER_S


@asynccontextmanager
async def _exchange(secret: str = SECRET) -> AsyncIterator[tuple[VenueServer, BinanceKillSession]]:
    source = demo_market(7, 10.0)
    exchange = Exchange(source.instruments, source, {"paper": {"USDT": 100_000 * E8, "NOVA": 50_000 * E8}}, 1)
    async with VenueServer(exchange, [ApiKey(KEY, SECRET, "paper")]) as server:
        config = VenueConfig(rest_url=server.urls()["rest_url"], stream_url=server.urls()["stream_url"])
        session = BinanceKillSession(config, Credentials(KEY, secret), OffClock())
        try:
            yield server, session
        finally:
            session.close()


def _run(job: Callable[[VenueServer, BinanceKillSession], Awaitable[Any]], **options: Any) -> None:
    async def scenario() -> None:
        async with _exchange(**options) as (server, session):
            await job(server, session)

    asyncio.run(asyncio.wait_for(scenario(), 60))


async def _rest(session: BinanceKillSession, client_id: str) -> Any:
    quote = await session.quote(SYMBOL)
    (instrument,) = await session.instruments([SYMBOL])
    tick, step = (instrument.fields[name] for name in (InstrumentField.TICK_SIZE, InstrumentField.STEP_SIZE))
    return await session.place(SYMBOL, "BUY", 1_000 * E8 // step * step, quote.bid * 9 // 10 // tick * tick, client_id, "GTC")


def test_a_clock_that_is_wrong_is_found_by_the_first_refusal() -> None:
    async def job(server: VenueServer, session: BinanceKillSession) -> None:
        assert await session.open_orders() == []
        assert (await _rest(session, "a")).status == "NEW"

    _run(job)


def test_orders_are_listed_and_cancelled_by_symbol_and_by_name_and_twice_is_as_good() -> None:
    async def job(server: VenueServer, session: BinanceKillSession) -> None:
        for name in ("a", "b", "c"):
            await _rest(session, name)
        orders = await session.open_orders()
        assert [(order.symbol, order.client_id) for order in orders] == [(SYMBOL, name) for name in ("a", "b", "c")]
        for _ in range(2):
            await session.cancel(orders[0])
        assert len(await session.open_orders()) == 2
        for _ in range(2):
            await session.cancel_all(SYMBOL)
        assert await session.open_orders() == []

    _run(job)


def test_an_order_with_a_lost_answer_is_unknown_until_it_is_found() -> None:
    async def job(server: VenueServer, session: BinanceKillSession) -> None:
        await session.synchronise()
        server.faults.inject(FaultKind.DROP_RESPONSE, target="order.place")
        assert (await _rest(session, "lost")).status == "UNKNOWN"
        found = await session.find(SYMBOL, "lost")
        assert found is not None
        assert found.status == "NEW"
        assert await session.find(SYMBOL, "never") is None

    _run(job)


@pytest.mark.parametrize("kind", [FaultKind.ERROR_AFTER_ACCEPT, FaultKind.MALFORMED_MESSAGE, FaultKind.CLOSE_MID_FRAME])
def test_no_answer_that_proves_nothing_counts_as_one(kind: FaultKind) -> None:
    async def job(server: VenueServer, session: BinanceKillSession) -> None:
        await session.synchronise()
        server.faults.inject(kind, target="order.place")
        assert (await _rest(session, "x")).status == "UNKNOWN"
        # The order stands at the exchange all the same, and a sweep finds it.
        server.faults.inject(kind, target="openOrders.cancelAll")
        report = SweepReport()
        await sweep(session, [SYMBOL], report)
        assert (report.found, await session.open_orders()) == (1, [])

    _run(job)


def test_a_refused_order_is_rejected_and_says_why() -> None:
    async def job(server: VenueServer, session: BinanceKillSession) -> None:
        await session.synchronise()
        placed = await session.place(SYMBOL, "SELL", 1, 1, "tiny")
        assert placed.status == "REJECTED"
        assert "-1013" in placed.text

    _run(job)


def test_another_secret_is_refused_and_proves_nothing_empty() -> None:
    async def job(server: VenueServer, session: BinanceKillSession) -> None:
        await session.synchronise()
        with pytest.raises(Refused) as refused:
            await session.open_orders()
        assert refused.value.code == -1022
        assert "wrong" not in str(refused.value)

    _run(job, secret="wrong" * 4)


def test_a_symbol_the_exchange_does_not_list_is_named() -> None:
    async def job(server: VenueServer, session: BinanceKillSession) -> None:
        with pytest.raises((ConfigError, VenueError)):
            await session.instruments(["NOPEUSDT"])

    _run(job)


@pytest.mark.parametrize("body", [b"{}", b"null", b"[1]", b'[{"symbol":"A"}]', b"", b"<html>", b'[{"symbol":"A","orderId":"x"}]'])
def test_an_odd_listing_is_no_empty_one(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def job(server: VenueServer, session: BinanceKillSession) -> None:
        async def answer(*arguments: Any) -> Any:
            return session_module.Answer(200, {}, body)

        monkeypatch.setattr(session._pool, "request", answer)
        with pytest.raises(VenueError):
            await session.open_orders()

    _run(job)


def test_a_silent_exchange_is_given_up_in_seconds() -> None:
    async def job(server: VenueServer, session: BinanceKillSession) -> None:
        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        silent = await asyncio.start_server(swallow, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        config = VenueConfig(rest_url=f"http://127.0.0.1:{port}", stream_url="ws://127.0.0.1:9")
        deaf = BinanceKillSession(config, Credentials(KEY, SECRET), LiveClock())
        with pytest.raises(VenueError, match="within 2 s"):
            await deaf.open_orders()
        deaf.close()
        silent.close()

    _run(job)
