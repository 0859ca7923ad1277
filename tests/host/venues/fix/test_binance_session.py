"""What stands between FIX and the host: no order before reconciliation, and no fill of the drop copy left alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sentinel.config import VenueConfig
from sentinel.errors import RingError, VenueError
from sentinel.host.venues.binance_spot import Credentials
from sentinel.host.venues.contract import LocalCode, VenueTrade
from sentinel.host.venues.fix import BINANCE, binance_session, keeper
from sentinel.host.venues.fix.binance_session import BinanceFixSession
from sentinel.host.venues.fix.drop_copy import DropCopy
from sentinel.host.venues.fix.session import FixAddress
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import FeeAsset, OrderEventKind, Side
from tests.host.venues.fix.fix_peer import INSTRUMENTS, KEY, ORDER, Connection, Gateway
from tests.host.venues.fix.order_desk import idle
from tests.host.venues.offline_session import ManualClock, Sink
from tests.host.waiting import until

PRIVATE = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(binance_session, "_COMPARE_EVERY_S", 0.01)


class Session(BinanceFixSession):
    """Its REST side is the test's."""

    def __init__(self, port: int = 1) -> None:
        self.sink = Sink()
        self.may_measure = asyncio.Event()
        urls = {"rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:1", "fix_url": f"tcp://127.0.0.1:{port}"}
        venue = VenueConfig.model_validate(urls | {"orders": "fix", "api_key_type": "ed25519"})
        names = [instrument.symbol for instrument in INSTRUMENTS]
        super().__init__(venue, names, Credentials("k" * 16, PRIVATE, "ed25519"), ManualClock(), self.sink, 1)

    async def load_instruments(self) -> None:
        self._desk.instruments = list(INSTRUMENTS)

    async def _measure_clock(self) -> None:
        await self.may_measure.wait()


def test_after_a_reconnect_no_order_leaves_before_reconciliation_begins() -> None:
    lose = asyncio.Event()

    async def lost(connection: Connection) -> None:
        await connection.log_on()
        await lose.wait()

    async def run() -> None:
        async with Gateway(lost, idle) as gateway:
            session, begun = Session(gateway.port), []

            async def reconcile() -> None:
                begun.append(session.ready)

            session.on_reconnect = reconcile
            session.may_measure.set()
            await session.connect()
            assert session.ready
            session.may_measure.clear()
            lose.set()
            await until(lambda: session.counters["reconnects"] == 1)
            assert not session.ready
            session.place(KEY, "AAAUSDT", *ORDER)
            assert [(event.kind, event.code) for event in session.sink.events] == [
                (OrderEventKind.NOT_SENT, LocalCode.DISCONNECTED)
            ]
            session.may_measure.set()
            await until(lambda: begun == [True])
            session.place(KEY, "AAAUSDT", *ORDER)
            assert session.sink.events[-1].kind == OrderEventKind.SENT
            await session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_fill_only_the_drop_copy_tells_is_reconciled_until_that_succeeds_and_one_read_by_a_reconciliation_is_not() -> None:
    fills = [VenueTrade(0, number, 76, Side.BUY, False, 2 * E8, E8, 2 * E8, 0, FeeAsset.QUOTE, 0) for number in (1, 2, 3)]

    async def run() -> None:
        session, tries = Session(), []
        failures: list[Exception] = [RuntimeError("a defect"), VenueError("listing", "500", "an answer", "ask again")]
        copy = DropCopy(FixAddress("127.0.0.1", 1, None), BINANCE, [], INSTRUMENTS, ManualClock())

        async def trades(*_: object) -> list[VenueTrade]:
            return [fills[1]]

        async def reconcile() -> None:
            tries.append(len(copy.fills))
            if failures:
                raise failures.pop()

        async def read() -> None:
            await session.my_trades("AAAUSDT")

        session._account.trades = trades  # type: ignore[method-assign, assignment]
        await session.load_instruments()
        session.on_reconnect = read
        await session._reconcile()
        session.on_reconnect = reconcile
        watch = asyncio.create_task(session._watch_copy(copy))
        copy.fills[0, 2] = fills[1]
        copy.fills[0, 1] = fills[0]
        await until(lambda: len(tries) == 3)
        assert session._told.missed == {(0, 1)}
        copy.fills[0, 3] = fills[2]
        await until(lambda: len(tries) == 4)
        assert tries == [2, 2, 2, 3]
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize("reader", ["nobody", "a reconciliation that fails", "somebody who tells nothing"])
def test_a_fill_that_was_read_but_not_told_is_still_missed(reader: str) -> None:
    fill = VenueTrade(0, 1, 76, Side.BUY, False, 2 * E8, E8, 2 * E8, 0, FeeAsset.QUOTE, 0)

    async def run() -> None:
        session = Session()
        copy = DropCopy(FixAddress("127.0.0.1", 1, None), BINANCE, [], INSTRUMENTS, ManualClock())
        copy.fills[0, 1] = fill

        async def trades(*_: object) -> list[VenueTrade]:
            return [fill]

        async def fail() -> None:
            await session.my_trades("AAAUSDT")
            raise VenueError("listing", "500", "an answer", "ask again")

        session._account.trades = trades  # type: ignore[method-assign, assignment]
        await session.load_instruments()
        if reader == "a reconciliation that fails":
            session.on_reconnect = fail
            with pytest.raises(VenueError):
                await session._reconcile()
        elif reader == "somebody who tells nothing":
            await session.my_trades("AAAUSDT")
        assert session._told.find_missed(copy, 1) == [(0, 1)]
        await session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_fill_the_engine_did_not_take_is_not_told() -> None:
    copy = DropCopy(FixAddress("127.0.0.1", 1, None), BINANCE, [], INSTRUMENTS, ManualClock())
    copy.fills[0, 1] = VenueTrade(0, 1, 76, Side.BUY, False, 2 * E8, E8, 2 * E8, 0, FeeAsset.QUOTE, 0)
    session = Session()
    batch = session._desk.batch
    batch.order_event(OrderEventKind.TRADE, KEY, 0, 1, last_qty=E8, trade_id=1)

    def full(source: int, records: object) -> None:
        raise RingError("ring.slots", 64, "room for what one batch causes", "raise ring.slots")

    told = session.sink.deliver
    session.sink.deliver = full  # type: ignore[method-assign]
    with pytest.raises(RingError):
        session._desk.deliver()
    assert session._told.find_missed(copy, 1) == [(0, 1)]
    session.sink.deliver = told  # type: ignore[method-assign]
    session._told.missed.clear()
    batch.order_event(OrderEventKind.TRADE, KEY, 0, 1, last_qty=E8, trade_id=1)
    session._desk.deliver()
    assert session._told.find_missed(copy, 1) == []


def test_no_order_leaves_while_rest_is_told_to_wait_for_nobody_could_ask_about_it() -> None:
    async def run() -> None:
        async with Gateway(idle) as gateway:
            session = Session(gateway.port)
            session.may_measure.set()
            await session.connect()
            now = session._desk.venue_ns()
            session._desk.budget.pause(418, (now + NS_PER_S) // NS_PER_MS, now)
            session.place(KEY, "AAAUSDT", *ORDER)
            assert [(event.kind, event.code) for event in session.sink.events] == [(OrderEventKind.NOT_SENT, LocalCode.PAUSED)]
            await session.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_drop_copy_whose_key_is_refused_ends_orders_too() -> None:
    async def run() -> None:
        async with Gateway(idle) as gateway:
            session = Session(gateway.port)
            session.may_measure.set()
            await session.connect()
            assert session.ready
            session._copy = DropCopy(FixAddress("127.0.0.1", 1, None), BINANCE, [], INSTRUMENTS, ManualClock())
            session._copy._keeper.halted = "-2015 Invalid API-key"
            assert (session.ready, session.halted) == (False, "-2015 Invalid API-key")
            session.place(KEY, "AAAUSDT", *ORDER)
            assert session.sink.events[-1].code == LocalCode.KEY_REFUSED
            await session.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_fill_the_drop_copy_tells_with_other_figures_is_counted_once(caplog: pytest.LogCaptureFixture) -> None:
    fill = VenueTrade(0, 1, 76, Side.BUY, False, 2 * E8, E8, 2 * E8, 0, FeeAsset.QUOTE, 0)

    async def run() -> None:
        session = Session()
        copy = DropCopy(FixAddress("127.0.0.1", 1, None), BINANCE, [], INSTRUMENTS, ManualClock())
        await session.load_instruments()
        for number, price in ((1, 2 * E8), (2, 2 * E8 + 1)):
            session._desk.batch.order_event(
                OrderEventKind.TRADE, KEY, 0, 1, side=Side.BUY, last_price=2 * E8, last_qty=E8, trade_id=number
            )
            copy.fills[0, number] = replace(fill, trade_id=number, price=price)
        session._desk.deliver()
        session._copy = copy
        watch = asyncio.create_task(session._watch_copy(copy))
        await until(lambda: session.counters["drop_copy_unequal"] == 1)
        assert session.counters["drop_copy_only"] == 0
        await asyncio.sleep(0.05)
        assert caplog.text.count("with other figures") == 1
        watch.cancel()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_the_clock_is_not_measured_while_rest_is_told_to_wait() -> None:
    async def run() -> None:
        session = Session()
        now = session._desk.venue_ns()
        session._desk.budget.pause(418, (now + NS_PER_S) // NS_PER_MS, now)
        with pytest.raises(VenueError, match="PAUSED"):
            await BinanceFixSession._measure_clock(session)

    asyncio.run(asyncio.wait_for(run(), 20))
