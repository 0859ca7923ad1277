"""What only Coinbase's FIX session must cope with: two records of one order, and a venue that cancels when a session ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError
from sentinel.host.clock import LiveClock
from sentinel.host.venues import binance_spot, chosen, coinbase
from sentinel.host.venues import keeper as link_keeper
from sentinel.host.venues.coinbase import ended
from sentinel.host.venues.contract import LocalCode
from sentinel.host.venues.fix import COINBASE, FixAddress, keeper
from sentinel.host.venues.fix.coinbase_session import CoinbaseFixSession
from sentinel.host.venues.fix.keeper import SessionKeeper
from sentinel.host.venues.fix.session import LogonRefused
from sentinel.sim.venue.faults import FaultKind
from sentinel.units import E8
from sentinel.wire import OrderEventKind, OrderState, OrderType, Side
from tests.host.venues.fix.fix_peer import Connection, Gateway, PlainLogon
from tests.host.venues.offline_session import ManualClock, Sink
from tests.host.venues.venue_rigs import COINBASE_FIX, GTC, IOC, KEY, ORDER, TAG, Rig, needs_quickfix, play
from tests.host.waiting import until

DIALECT = COINBASE.tagged(TAG)

UUID = "d0c5340b-6d6c-49d9-b567-48c4bfca13d2"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_keeper, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(keeper, "_FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(ended, "SETTLE_S", 0.1)


async def _rests(rig: Rig, price: int = 90 * E8) -> Any:
    """ORDER rests, and both records have told so; what the session knows of it."""
    rig.place(price=price, tif=GTC)
    await until(lambda: len(rig.of(OrderEventKind.ACKED)) == 3)  # order entry's, received and open of the user channel
    session: Any = rig.session
    return session._desk.known_by_key(ORDER)


def _fill(uuid: str, **changes: str) -> dict[int, str]:
    fields = {11: DIALECT.names.order(ORDER), 37: uuid, 17: "1", 38: "3", 44: "90", 54: "1", 55: "AAA-USD", 150: "F", 39: "1"}
    fields |= {14: "2", 31: "90", 32: "2", 1003: "77", 1057: "N", 60: "20261122-12:00:00.000"}
    return fields | {int(name[1:]): value for name, value in changes.items()}


# --- two records -----------------------------------------------------------------------------------


@needs_quickfix
@pytest.mark.parametrize("first", ["order entry", "the user channel"])
def test_a_fill_is_told_once_by_whichever_record_has_it_first(first: str) -> None:
    async def scenario(rig: Rig) -> None:
        await _rests(rig, 100 * E8)
        session: Any = rig.session
        held: list[tuple[Any, bytes]] = []
        take = session._stream.take
        if first == "order entry":
            session._stream.take = lambda link, payload: held.append((link, payload))
        else:
            rig.network.delay_s = 0.2
        rig.exchange.take(0, Side.SELL, 2 * E8, 100 * E8)
        rig.server.wake()
        trade = await rig.heard(OrderEventKind.TRADE)
        assert session._entry.stream_trades == (first == "order entry")
        await until(lambda: first != "order entry" or any(b'"match"' in payload for _, payload in held))
        for link, payload in held:
            take(link, payload)
        await until(lambda: rig.session.counters["duplicate_events"] == 1)
        assert rig.of(OrderEventKind.TRADE) == [trade]
        assert (trade.last_qty, trade.cum_qty, trade.cum_quote) == (2 * E8, 2 * E8, 200 * E8)
        assert trade.commission == E8 // 10
        assert rig.session.stream_trades == 1
        assert (rig.session.counters["unequal_fills"], rig.session.counters["malformed"]) == (0, 0)

    play(COINBASE_FIX, scenario)


@needs_quickfix
def test_a_fill_both_records_tell_with_other_quantities_is_counted_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(rig: Rig) -> None:
        known = await _rests(rig)
        rig.acceptor.say("8", _fill(known.uuid))
        await until(lambda: rig.bought() == 2 * E8)
        rig.acceptor.say("8", _fill(known.uuid, t32="1"))
        await until(lambda: rig.session.counters["unequal_fills"] == 1)
        assert rig.bought() == 2 * E8
        assert "with other figures" in caplog.text

    play(COINBASE_FIX, scenario)


@needs_quickfix
def test_a_report_without_a_client_id_is_known_by_the_venues_id() -> None:
    async def scenario(rig: Rig) -> None:
        known = await _rests(rig)
        fields = _fill(known.uuid)
        del fields[11]
        rig.acceptor.say("8", fields)
        await until(lambda: rig.bought() == 2 * E8)
        trade = rig.of(OrderEventKind.TRADE)[0]
        assert (trade.key, trade.cum_quote, trade.state) == (ORDER, 180 * E8, OrderState.PARTIAL)

    play(COINBASE_FIX, scenario)


@needs_quickfix
@pytest.mark.parametrize(
    "change",
    [
        {"t37": ""},
        {"t54": "2"},
        {"t55": "BBB-USD"},
        {"t37": "not-a-uuid"},
        {"t11": DIALECT.names.order(ORDER + 1)},
    ],
    ids=["no OrderID", "another side", "another product", "an OrderID that is none", "another order's ClOrdID"],
)
def test_a_report_that_contradicts_what_is_known_of_its_order_is_not_used(change: dict[str, str]) -> None:
    async def scenario(rig: Rig) -> None:
        known = await _rests(rig)
        fields = {tag: value for tag, value in _fill(known.uuid, **change).items() if value}
        rig.acceptor.say("8", fields)
        await until(lambda: rig.session.counters["malformed"] == 1)
        assert not any(event.kind == OrderEventKind.TRADE for event in rig.sink.events)
        doubts = [event for event in rig.sink.events if event.kind == OrderEventKind.CANCEL_REJECTED]
        assert [event.code for event in doubts] == [LocalCode.MALFORMED_REPLY]

    play(COINBASE_FIX, scenario)


@needs_quickfix
def test_an_order_of_the_account_that_fix_is_not_told_of_comes_by_the_user_channel() -> None:
    async def scenario(rig: Rig) -> None:
        order = {"symbol": rig.symbols[0], "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "2", "price": "100"}
        rig.exchange.place("paper", order)
        rig.exchange.take(0, Side.SELL, E8, 100 * E8)
        rig.server.wake()
        await until(lambda: any(event.kind == OrderEventKind.TRADE for event in rig.sink.events))
        session: Any = rig.session
        assert session._entry.counters["reports"] == 0

    play(COINBASE_FIX, scenario)


@needs_quickfix
def test_orders_go_on_without_the_user_channel_and_its_return_is_reconciled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(rig: Rig) -> None:
        session: Any = rig.session
        let, whole = asyncio.Event(), session._keeper._establish

        async def establish() -> Any:
            await let.wait()
            return await whole()

        monkeypatch.setattr(session._keeper, "_establish", establish)
        rig.server.cut_connections()
        await until(lambda: session._keeper.current is None)
        assert rig.session.ready
        rig.place()
        await until(lambda: rig.bought() == 3 * E8)
        assert rig.reconciled == 0
        let.set()
        await until(lambda: rig.reconciled == 1)
        assert rig.session.counters["reconnects"] == 1

    play(COINBASE_FIX, scenario)


@needs_quickfix
def test_the_user_channel_that_returns_before_order_entry_leaves_the_reconciliation_to_it() -> None:
    async def scenario(rig: Rig) -> None:
        rig.network.refuse()
        rig.cut()
        await until(lambda: not rig.session.ready)
        rig.server.cut_connections()
        await until(lambda: rig.session.counters["reconnects"] == 1)
        assert rig.reconciled == 0
        await rig.network.listen()
        await until(lambda: rig.reconciled == 1)
        assert rig.session.ready

    play(COINBASE_FIX, scenario)


# --- the session's end -----------------------------------------------------------------------------


@needs_quickfix
def test_the_venue_cancels_the_orders_of_a_lost_session_and_the_user_channel_tells() -> None:
    async def scenario(rig: Rig) -> None:
        await _rests(rig)
        rig.network.refuse()
        rig.cut()
        end = await rig.heard(OrderEventKind.CANCELED)
        assert (end.state, end.cum_qty) == (OrderState.CANCELED, 0)
        assert not rig.session.ready
        rig.place(key=ORDER + 1)
        assert (await rig.heard(OrderEventKind.NOT_SENT, key=ORDER + 1)).code == LocalCode.DISCONNECTED

    play(COINBASE_FIX, scenario)


@needs_quickfix
def test_after_a_reconnect_no_order_leaves_before_the_reconciliation_has_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(rig: Rig) -> None:
        session: Any = rig.session
        let = asyncio.Event()

        async def wait() -> None:
            await let.wait()

        monkeypatch.setattr(session, "_before_orders", wait)
        rig.cut()
        await until(lambda: rig.session.counters["reconnects"] == 1)
        rig.place()
        assert (await rig.heard(OrderEventKind.NOT_SENT)).code == LocalCode.DISCONNECTED
        let.set()
        await until(lambda: rig.reconciled == 1)
        rig.place(key=ORDER + 1)
        await until(lambda: rig.bought(ORDER + 1) == 3 * E8)

    play(COINBASE_FIX, scenario)


@needs_quickfix
def test_no_order_leaves_while_rest_is_told_to_wait_and_cancels_do() -> None:
    async def scenario(rig: Rig) -> None:
        await _rests(rig)
        session: Any = rig.session
        session._desk.budget.pause("60", session._desk.now_ns())
        rig.place(key=ORDER + 1)
        assert (await rig.heard(OrderEventKind.NOT_SENT, key=ORDER + 1)).code == LocalCode.PAUSED
        rig.session.cancel(ORDER, rig.symbols[0])
        await rig.heard(OrderEventKind.CANCELED)

    play(COINBASE_FIX, scenario)


# --- kinds of orders, and refusals -----------------------------------------------------------------


@needs_quickfix
def test_a_post_only_order_that_would_take_is_rejected_and_a_market_order_is_filled() -> None:
    async def scenario(rig: Rig) -> None:
        rig.session.place(ORDER, rig.symbols[0], Side.BUY, OrderType.LIMIT_MAKER, GTC, 102 * E8, E8)
        assert (await rig.heard(OrderEventKind.REJECTED)).code == -103_000
        rig.session.place(ORDER + 1, rig.symbols[0], Side.BUY, OrderType.MARKET, IOC, 0, E8)
        await until(lambda: rig.bought(ORDER + 1) == E8)
        await until(lambda: rig.session.counters["reports"] >= 3)
        assert rig.session.counters["malformed"] == 0

    play(COINBASE_FIX, scenario)


@needs_quickfix
def test_a_refusal_that_names_its_order_by_client_id_alone_settles_it(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DROP_REQUEST, target="order.place")
        rig.place()
        await rig.heard(OrderEventKind.SENT)
        rig.acceptor.say("j", {372: "D", 379: DIALECT.names.order(ORDER), 380: "1", 58: "Internal error"})
        assert (await rig.heard(OrderEventKind.AMBIGUOUS)).code == -380_001
        rig.acceptor.say("j", {372: "D", 379: DIALECT.names.order(ORDER), 380: "2"})
        await until(lambda: rig.session.counters["unknown_rejects"] == 1)
        await rig.answer(OrderEventKind.NOT_FOUND)

    play(COINBASE_FIX, scenario)


@pytest.mark.parametrize(
    ("kind", "said", "final"),
    [
        ("5", [(58, "Invalid API key")], True),
        ("3", [(45, 1), (373, 8)], True),
        ("5", [(58, "API key already has a session")], False),
        ("5", [(58, "maintenance")], False),
    ],
)
def test_a_logon_that_is_refused_for_its_key_is_not_tried_again(kind: str, said: list[Any], final: bool) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.hear("A")
        connection.say(kind, *said)

    async def run() -> None:
        async with Gateway(refuse, begin="FIXT.1.1", by="Coinbase") as gateway:
            logon = PlainLogon(KEY, "Coinbase")
            one = SessionKeeper(FixAddress("127.0.0.1", gateway.port, None), DIALECT, [logon], ManualClock(), lambda *_: None)
            with pytest.raises(LogonRefused):
                await one.start()
            assert (one.halted is not None) == final

    asyncio.run(asyncio.wait_for(run(), 20))


def test_the_settings_choose_the_session_and_the_key_must_be_of_their_venue() -> None:
    urls = {"rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:2", "api_url": "ws://127.0.0.1:2"}
    venue = VenueConfig.model_validate({"name": "coinbase", **urls, "orders": "fix", "fix_url": "tcp://127.0.0.1:3"})
    key = coinbase.Credentials("key", "phrase", "c2VjcmV0")

    async def nothing() -> None: ...

    def new(credentials: chosen.Credentials) -> Any:
        return chosen.new_session(venue, ["AAA-USD"], credentials, LiveClock(), Sink(), 1, nothing, TAG)

    async def run() -> None:
        session = new(key)
        assert isinstance(session, CoinbaseFixSession)
        assert not session.ready
        assert session.links == ()
        assert "phrase" not in repr(session._logon)
        with pytest.raises(ConfigError):
            new(binance_spot.Credentials("k" * 16, "s" * 16))
        await session.close()

    asyncio.run(run())
