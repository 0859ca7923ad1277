"""The kill process's session with the simulated Coinbase Exchange, over real sockets: what proves something, what does not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError
from sentinel.host.clock import LiveClock
from sentinel.host.venues.coinbase import Credentials
from sentinel.ops.killswitch import coinbase_session as session_module
from sentinel.ops.killswitch.coinbase_session import CoinbaseKillSession
from sentinel.ops.killswitch.session import FINAL, Placed, Quote, Refused
from sentinel.ops.killswitch.sweep import SweepReport, sweep
from sentinel.sim.coinbase import CoinbaseKey, CoinbaseServer, QuoteFeeLedger
from sentinel.sim.coinbase.limits import LimitConfig
from sentinel.sim.venue.account import CommissionRates
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8, NS_PER_S
from sentinel.wire import InstrumentField
from tests.e2e.wall_clock_rig import pump_market

KEY, PHRASE, SECRET = "k" * 32, "phrase", base64.b64encode(b"s" * 32).decode()
SYMBOL, OTHER = "NOVA-USD", "LUMI-USD"


class OffClock(LiveClock):
    """Minutes behind the exchange's."""

    def now_ns(self) -> int:
        return super().now_ns() - 300 * NS_PER_S


@asynccontextmanager
async def _exchange(phrase: str = PHRASE, limits: LimitConfig | None = None) -> AsyncIterator[tuple[CoinbaseServer, Any]]:
    source = pump_market(["NOVA", "LUMI"], "-", "USD")
    accounts = {"default": {"USD": 100_000 * E8, "NOVA": 50_000 * E8}}
    ledger = QuoteFeeLedger(accounts, CommissionRates(maker=E8 // 2000, taker=E8 // 1000))
    exchange = Exchange(source.instruments, source, accounts, ledger=ledger)
    many = LimitConfig(private_per_s=1_000, private_burst=1_000, fills_per_s=1_000, fills_burst=1_000)
    async with CoinbaseServer(exchange, [CoinbaseKey(KEY, PHRASE, SECRET, "default")], limits=limits or many) as server:
        config = VenueConfig(name="coinbase", rest_url=server.rest_url, stream_url=server.feed_url, api_url=server.feed_url)
        session = CoinbaseKillSession(config, Credentials(KEY, phrase, SECRET), OffClock())
        try:
            yield server, session
        finally:
            session.close()


def _run(job: Callable[[CoinbaseServer, CoinbaseKillSession], Awaitable[Any]], **options: Any) -> None:
    async def scenario() -> None:
        async with _exchange(**options) as (server, session):
            await job(server, session)

    asyncio.run(asyncio.wait_for(scenario(), 60))


async def _order(session: CoinbaseKillSession, name: str, side: str, per_cent: int, tif: str, symbol: str = SYMBOL) -> Placed:
    """An order at so much of the best price of its own side's taker."""
    quote = await session.quote(symbol)
    (instrument,) = await session.instruments([symbol])
    tick, step = (instrument.fields[field] for field in (InstrumentField.TICK_SIZE, InstrumentField.STEP_SIZE))
    price = (quote.bid if side == "SELL" else quote.ask) * per_cent // 100 // tick * tick
    return await session.place(symbol, side, 1_000 * E8 // step * step, price, session.client_id(name), tif)


async def _rest(session: CoinbaseKillSession, name: str, symbol: str = SYMBOL) -> Placed:
    return await _order(session, name, "BUY", 80, "GTC", symbol)


async def _ended(session: CoinbaseKillSession, name: str) -> Placed:
    while True:
        found = await session.find(SYMBOL, session.client_id(name))
        assert found is not None
        if found.status in FINAL:
            return found
        await asyncio.sleep(0.05)


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_SETTLE_S", 0.2)


def test_a_clock_that_is_wrong_is_found_by_the_first_refusal() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        assert await session.open_orders() == []
        assert (await _rest(session, "a")) == Placed("NEW", 0)

    _run(job)


def test_orders_are_listed_and_cancelled_by_symbol_and_by_name_and_twice_is_as_good() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        for name in ("a", "b", "c"):
            await _rest(session, name)
        await _rest(session, "other", OTHER)
        orders = await session.open_orders()
        told = {(order.symbol, order.client_id) for order in orders}
        assert told == {(SYMBOL, session.client_id(name)) for name in ("a", "b", "c")} | {(OTHER, session.client_id("other"))}
        for _ in range(2):
            await session.cancel(orders[0])
        assert len(await session.open_orders()) == 3
        for _ in range(2):
            await session.cancel_all(SYMBOL)
        assert all(order.symbol == OTHER for order in await session.open_orders())
        report = SweepReport()
        await sweep(session, [SYMBOL, OTHER], report)
        assert (report.failures, await session.open_orders()) == ([], [])

    _run(job)


def test_a_listing_of_several_pages_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "_PAGE", 2)

    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        for number in range(5):
            await _rest(session, str(number))
        assert len({order.order_id for order in await session.open_orders()}) == 5

    _run(job)


def test_names_become_uuids_of_their_own_and_always_the_same() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        texts = [session.client_id(f"STK-1-{number:x}") for number in range(100)]
        assert len(set(texts)) == 100
        assert all(UUID(text).version == 4 and text == text.lower() for text in texts)
        assert texts[7] == session.client_id("STK-1-7")

    _run(job)


def test_an_order_is_told_by_question_with_what_it_has_traded() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        sold = await _order(session, "sold", "SELL", 90, "IOC")
        # The exchange answers before it matches.
        assert (sold.status, sold.executed) == ("NEW", 0)
        assert await _ended(session, "sold") == Placed("FILLED", 1_000 * E8)
        balances = await session.balances()
        assert balances["NOVA"] == ((50_000 - 1_000) * E8, 0)
        await _rest(session, "locks")
        free, locked = (await session.balances())["USD"]
        assert free > 0 < locked

    _run(job)


@pytest.mark.usefixtures("_soon")
def test_an_order_the_exchange_has_taken_and_forgotten_has_ended_without_a_fill() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        assert (await _order(session, "missed", "BUY", 80, "IOC")).status == "NEW"
        first = await session.find(SYMBOL, session.client_id("missed"))
        assert first == Placed("PENDING", 0), "one look proves nothing"
        assert (await _ended(session, "missed"))[:2] == ("CANCELED", 0)
        assert await session.find(SYMBOL, session.client_id("never sent")) is None

    _run(job)


@pytest.mark.usefixtures("_soon")
def test_a_lost_answer_leaves_an_order_unknown_until_it_is_found() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        await session.synchronise()
        server.faults.inject(FaultKind.DROP_RESPONSE, target="order.place")
        assert (await _rest(session, "lost")).status == "UNKNOWN"
        found = await session.find(SYMBOL, session.client_id("lost"))
        assert found is not None
        assert found.status == "NEW"
        server.faults.inject(FaultKind.DROP_RESPONSE, target="order.place")
        assert (await _order(session, "gone", "BUY", 80, "IOC")).status == "UNKNOWN"
        # Never taken, or taken and forgotten: only time tells, and none of both has traded.
        await asyncio.sleep(0.5)
        assert await session.find(SYMBOL, session.client_id("gone")) is None

    _run(job)


@pytest.mark.parametrize("kind", [FaultKind.ERROR_AFTER_ACCEPT, FaultKind.MALFORMED_MESSAGE, FaultKind.CLOSE_MID_FRAME])
def test_no_answer_that_proves_nothing_counts_as_one(kind: FaultKind) -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        await session.synchronise()
        server.faults.inject(kind, target="order.place")
        assert (await _rest(session, "x")).status == "UNKNOWN"
        # The order stands at the exchange all the same, and a sweep finds it.
        server.faults.inject(kind, target="orders.cancel")
        report = SweepReport()
        await sweep(session, [SYMBOL], report)
        assert (report.found, await session.open_orders()) == (1, [])

    _run(job)


def test_a_refused_order_is_rejected_and_says_why() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        await session.synchronise()
        poor = await _order(session, "poor", "SELL", 90, "IOC", OTHER)
        assert poor.status == "REJECTED"
        assert "Insufficient funds" in poor.text
        assert (await session.place(SYMBOL, "SELL", 0, E8, session.client_id("none"))).status == "REJECTED"

    _run(job)


def test_another_passphrase_is_refused_and_proves_nothing_empty() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        await session.synchronise()
        with pytest.raises(Refused) as refused:
            await session.open_orders()
        assert refused.value.code == 401
        assert "wrong" not in str(refused.value)

    _run(job, phrase="wrong")


def test_an_exchange_that_wants_to_be_left_alone_says_for_how_long() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        await session.synchronise()
        for _ in range(2):
            await session.open_orders()
        with pytest.raises(Refused) as refused:
            await session.open_orders()
        assert refused.value.code == 429
        assert refused.value.wait_ms >= 1000
        with pytest.raises(Refused):
            await _rest(session, "not taken")

    _run(job, limits=LimitConfig(private_per_s=1, private_burst=2))


def test_a_symbol_the_exchange_does_not_list_is_named() -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        with pytest.raises(ConfigError, match="NOPE-USD"):
            await session.instruments(["NOPE-USD"])

    _run(job)


_ROW = b'{"id":"d0c5340b-6d6c-49d9-b567-48c4bfca13d2","product_id":"NOVA-USD","side":"buy"'


@pytest.mark.parametrize("body", [b"{}", b"null", b"[1]", b"[" + _ROW + b"}]", b"", b"<html>"])
def test_an_odd_listing_is_no_empty_one(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        async def answer(*arguments: Any) -> Any:
            return session_module.Answer(200, {}, body)

        monkeypatch.setattr(session._pool, "request", answer)
        with pytest.raises(VenueError):
            await session.open_orders()

    _run(job)


@pytest.mark.parametrize(
    "answer",
    [
        _ROW + b',"status":"frozen"}',
        _ROW + b',"status":"open","filled_size":"-1"}',
        _ROW + b',"status":"open","client_oid":"d0c5340b-6d6c-49d9-b567-000000000000"}',
        _ROW.replace(b"NOVA", b"LUMI") + b',"status":"open"}',
    ],
)
def test_an_answer_of_another_order_or_state_is_none(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        async def told(*arguments: Any) -> Any:
            return session_module.Answer(200, {}, answer)

        quote = await session.quote(SYMBOL)
        monkeypatch.setattr(session._pool, "request", told)
        monkeypatch.setattr(session._pool, "send_once", told)
        with pytest.raises(VenueError):
            await session.find(SYMBOL, session.client_id("x"))
        assert (await session.place(SYMBOL, "SELL", E8, quote.bid, session.client_id("x"))).status == "UNKNOWN"

    _run(job)


@pytest.mark.parametrize(
    ("book", "quote"),
    [
        (b'{"bids":[["1.5","2",1]],"asks":[["1.6","3",2]]}', Quote(150_000_000, 2 * E8, 160_000_000, 3 * E8)),
        (b'{"bids":[],"asks":[["1.6","3",2]]}', Quote(0, 0, 160_000_000, 3 * E8)),
        (b'{"bids":[["1.5","2",1]],"asks":[["1.4","3",2]],"auction_mode":true}', Quote(0, 0, 0, 0)),
    ],
)
def test_a_side_that_offers_nothing_has_no_price(book: bytes, quote: Quote, monkeypatch: pytest.MonkeyPatch) -> None:
    async def job(server: CoinbaseServer, session: CoinbaseKillSession) -> None:
        async def told(*arguments: Any) -> Any:
            return session_module.Answer(200, {}, book)

        monkeypatch.setattr(session._pool, "request", told)
        assert await session.quote(SYMBOL) == quote

    _run(job)
