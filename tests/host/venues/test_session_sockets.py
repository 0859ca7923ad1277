"""The session on real sockets against a scripted venue: losing, cutting and replacing connections."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from sentinel.errors import ConfigError, VenueError
from sentinel.host.clock import LiveClock
from sentinel.host.venues import keeper
from sentinel.host.venues.binance_spot import BinanceSpotSession
from sentinel.host.venues.contract import LocalCode
from sentinel.units import E8
from sentinel.wire import Command, OrderEventKind, OrderState
from tests.host.venues.offline_session import CREDENTIALS, KEY, SYMBOLS, Sink, full, report
from tests.host.venues.scripted_venue import ScriptedVenue
from tests.host.waiting import until

Scenario = Callable[[ScriptedVenue, BinanceSpotSession, Sink], Coroutine[Any, Any, None]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(keeper, "_DRAIN_S", 0.1)


def play(scenario: Scenario, offset_ms: int = 0) -> None:
    async def run() -> None:
        async with ScriptedVenue(offset_ms) as venue:
            sink = Sink()
            session = BinanceSpotSession(venue.config, SYMBOLS, CREDENTIALS, LiveClock(), sink, 5)
            await session.connect()
            try:
                await scenario(venue, session, sink)
            finally:
                await session.close()
            assert venue.bad_signatures == 0

    asyncio.run(asyncio.wait_for(run(), 60))


def place(session: BinanceSpotSession, key: int = KEY) -> None:
    session.place(key, "AAAUSDT", 1, 1, 2, 100 * E8, 5 * E8)


def reply(result: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda request: {"id": request["id"], "status": 200, "result": result}


def test_an_order_goes_out_and_its_answer_and_user_data_come_back() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        venue.answer = lambda request: [
            {"subscriptionId": 0, "event": report()},
            {"id": request["id"], "status": 200, "result": full()},
        ]
        sent = session.frames_sent
        place(session)
        assert sink.kinds() == [OrderEventKind.SENT]
        assert session.frames_sent == sent + 1
        await until(lambda: len(sink.events) == 5)
        kinds = sink.kinds()
        assert kinds[0] == OrderEventKind.TRADE
        assert kinds[1:] == [OrderEventKind.ACKED, OrderEventKind.TRADE, OrderEventKind.TRADE, OrderEventKind.EXPIRED]
        assert session.ready

    play(scenario)


@pytest.mark.parametrize("offset_ms", [-3_600_000, 0, 100_000])
def test_timestamps_are_the_venues_time_whatever_our_clock_says(offset_ms: int) -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        place(session)
        await until(lambda: bool(venue.requests))
        stamps = [*venue.subscriptions, venue.requests[0]["params"]["timestamp"]]
        assert all(abs(stamp - venue.now_ms()) < 50_000 for stamp in stamps)

    play(scenario, offset_ms)


@pytest.mark.parametrize("cut", [ConnectionError, b'\x81\x7e\x10\x00{"id":', b"\x81\x05hello"[:3]])
def test_a_reply_lost_with_its_connection_leaves_the_order_in_doubt_and_the_session_reconnects(cut: Any) -> None:
    reconciled = []

    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        async def reconcile() -> None:
            reconciled.append(session.ready)

        session.on_reconnect = reconcile
        venue.answer = lambda request: cut
        place(session)
        await until(lambda: len(sink.events) == 2)
        sent, doubt = sink.take()
        assert (sent.kind, doubt.kind, doubt.key) == (OrderEventKind.SENT, OrderEventKind.AMBIGUOUS, KEY)
        assert doubt.code == LocalCode.LOST_REPLY
        await until(lambda: bool(reconciled))
        assert len(venue.subscriptions) == 2
        venue.answer = reply(full(status="NEW", executedQty="0", cummulativeQuoteQty="0", fills=[]))
        session.query(KEY, "AAAUSDT")
        await until(lambda: bool(sink.events))
        assert sink.take()[0].state == OrderState.ACKED
        assert session.counters["reconnects"] == 1

    play(scenario)
    assert reconciled == [True]


def test_while_disconnected_orders_are_not_sent() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        venue.refuse_subscription = (503, -1000)
        venue.connections[-1].transport.abort()
        await until(lambda: not session.ready)
        place(session)
        assert [(e.kind, e.code) for e in sink.take()] == [(OrderEventKind.NOT_SENT, LocalCode.DISCONNECTED)]
        await until(lambda: len(venue.subscriptions) >= 3)
        venue.refuse_subscription = None
        await until(lambda: session.ready)
        place(session, KEY + 1)
        assert sink.kinds() == [OrderEventKind.SENT]

    play(scenario)


def test_a_shutdown_notice_brings_a_successor_before_the_old_connection_goes() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        session.on_reconnect = unexpected
        old = session.links[0]
        venue.answer = lambda request: None
        place(session)
        await until(lambda: bool(venue.requests))
        await venue.tell({"event": {"e": "serverShutdown", "E": 1}})
        await until(lambda: len(venue.subscriptions) == 2)
        await until(lambda: session.links[-1] is not old)
        assert session.ready
        assert old.is_open
        place(session, KEY + 1)
        refusal = {"id": venue.requests[0]["id"], "status": 400, "error": {"code": -2010, "msg": "x"}}
        await venue.connections[0].send(json.dumps(refusal))
        await until(lambda: len(sink.events) == 3)
        assert [(e.kind, e.key) for e in sink.take()][2] == (OrderEventKind.REJECTED, KEY)
        await until(lambda: not old.is_open)
        assert session.links == (session.links[-1],)
        assert session.ready
        assert (session.counters["shutdowns"], session.handovers) == (1, 1)

    play(scenario)


def test_an_old_connection_lost_before_its_successor_stands_is_a_reconnect_to_reconcile() -> None:
    """Between the loss and the successor's subscription nobody told what happened to the account."""
    reconciled = []

    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        async def reconcile() -> None:
            reconciled.append((session.ready, len(session.links)))

        own_answer = venue._own_answer

        def answer_and_cut(request: dict[str, Any]) -> Any:
            if len(venue.connections) == 2 and request["method"] == "time":
                venue.connections[0].transport.abort()
            return own_answer(request)

        session.on_reconnect = reconcile
        venue._own_answer = answer_and_cut  # type: ignore[method-assign]
        await venue.tell({"event": {"e": "serverShutdown", "E": 1}})
        await until(lambda: len(venue.subscriptions) == 2)
        await until(lambda: session.ready)
        assert session.counters["reconnects"] == 1

    play(scenario)
    assert reconciled == [(True, 1)]


async def unexpected() -> None:
    raise AssertionError("nothing was lost: no reconciliation")


def test_an_ended_event_stream_makes_a_new_connection() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        await venue.tell({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})
        await until(lambda: session.counters["reconnects"] == 1)
        assert len(venue.subscriptions) == 2

    play(scenario)


def test_a_timestamp_refusal_measures_the_clock_again() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        before = venue.times
        venue.answer = lambda request: {"id": request["id"], "status": 400, "error": {"code": -1021, "msg": "ahead"}}
        place(session)
        await until(lambda: venue.times > before)
        assert [(e.kind, e.code) for e in sink.take()][1] == (OrderEventKind.REJECTED, -1021)

    play(scenario)


def test_pings_are_answered_with_their_payload() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        received = session.frames_received
        pong = await venue.connections[-1].ping(b"1723161255400")
        await asyncio.wait_for(pong, 60)
        assert session.frames_received == received

    play(scenario)


def test_a_key_refused_on_reconnect_is_not_tried_again() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        venue.refuse_subscription = (401, -2015)
        venue.connections[-1].transport.abort()
        await until(lambda: session.halted is not None)
        tries = len(venue.subscriptions)
        await asyncio.sleep(0.2)
        assert len(venue.subscriptions) == tries == 2
        place(session)
        assert sink.take()[0].kind == OrderEventKind.NOT_SENT

    play(scenario)


def test_connect_fails_with_a_reason() -> None:
    async def run() -> None:
        async with ScriptedVenue() as venue:
            config = venue.config
            venue.refuse_subscription = (401, -2015)
            session = BinanceSpotSession(config, SYMBOLS, CREDENTIALS, LiveClock(), Sink(), 5)
            with pytest.raises(VenueError, match="-2015"):
                await session.connect()
            await session.close()
            for url, match in (("ws://127.0.0.1:9/x", "venue.api_url"), (config.rest_url.replace("http", "ws"), "venue.api_url")):
                broken = BinanceSpotSession(
                    config.model_copy(update={"api_url": url}), SYMBOLS, CREDENTIALS, LiveClock(), Sink(), 5
                )
                with pytest.raises(VenueError, match=match):
                    await broken.connect()
                await broken.close()
            del venue.rest["/api/v3/exchangeInfo"]
            unlisted = BinanceSpotSession(config, SYMBOLS, CREDENTIALS, LiveClock(), Sink(), 5)
            with pytest.raises(VenueError, match="404"):
                await unlisted.connect()
            await unlisted.close()
        with pytest.raises(VenueError, match="api_url"):
            BinanceSpotSession(config.model_copy(update={"api_url": ""}), SYMBOLS, CREDENTIALS, LiveClock(), Sink(), 5)

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize("code", [-1121, -1100])
def test_a_symbol_the_venue_does_not_know_is_an_error_of_the_settings(code: int) -> None:
    async def run() -> None:
        async with ScriptedVenue() as venue:
            venue.rest["/api/v3/exchangeInfo"] = (400, {}, {"code": code, "msg": "Invalid symbol."})
            session = BinanceSpotSession(venue.config, SYMBOLS, CREDENTIALS, LiveClock(), Sink(), 5)
            with pytest.raises(ConfigError, match="Invalid symbol") as caught:
                await session.connect()
            assert caught.value.field == "feed.symbols"
            await session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.mark.parametrize("failure", [VenueError("reconciliation", "x", "y", "z"), KeyError("a defect of ours")])
def test_a_reconciliation_that_fails_is_tried_again_on_a_new_connection(failure: Exception) -> None:
    tries = []

    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        async def reconcile() -> None:
            tries.append(len(venue.subscriptions))
            if len(tries) < 3:
                raise failure

        session.on_reconnect = reconcile
        venue.connections[-1].transport.abort()
        await until(lambda: len(tries) == 3 and session.ready)

    play(scenario)
    assert tries == [2, 3, 4]


def test_closing_leaves_unanswered_orders_in_doubt() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        place(session)
        await session.close()
        assert sink.kinds() == [OrderEventKind.SENT, OrderEventKind.AMBIGUOUS]

    play(scenario)


# Listings


def listing(path: str, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Callable[[ScriptedVenue], None]:
    def install(venue: ScriptedVenue) -> None:
        venue.rest[path] = (status, headers or {}, body)

    return install


def test_balances_are_free_plus_locked_for_every_symbol_and_the_quote() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        balances = [{"asset": "USDT", "free": "10.5", "locked": "0.5"}, {"asset": "BBB", "free": "1", "locked": "2"}]
        listing("/api/v3/account", {"balances": balances, "canTrade": True})(venue)
        sink.deliver(0, await session.balances())
        assert [(c, s, v) for c, s, v, _ in sink.controls] == [
            (Command.BASE_BALANCE, 0, 0),
            (Command.BASE_BALANCE, 1, 3 * E8),
            (Command.QUOTE_BALANCE, 0xFFFF, 11 * E8),
        ]
        assert session.pending_requests == 0

    play(scenario)


def test_trades_are_read_page_by_page() -> None:
    def page(query: dict[str, str]) -> tuple[int, Any]:
        start = int(query.get("fromId", 5))
        row = {"orderId": 1, "price": "1", "qty": "1", "quoteQty": "1", "commission": "0", "commissionAsset": "USDT"}
        row |= {"time": 1, "isBuyer": True, "isMaker": False}
        return 200, [row | {"id": n} for n in range(start, min(start + 1000, 2505))]

    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        listing("/api/v3/myTrades", page)(venue)
        trades = await session.my_trades("AAAUSDT", from_id=5)
        assert [trade.trade_id for trade in trades] == list(range(5, 2505))
        assert len([r for r in venue.rest_requests if "myTrades" in r]) == 3

    play(scenario)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"code": -1000, "msg": "x"}),
        (200, b"not json"),
        (200, [{"symbol": "AAAUSDT"}]),
        (400, {"code": -2013, "msg": "x"}),
        (403, b""),
    ],
)
def test_a_listing_that_cannot_be_used_is_an_error(status: int, body: Any) -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        listing("/api/v3/openOrders", body, status)(venue)
        with pytest.raises(VenueError):
            await session.open_orders()
        assert session.pending_requests == 0

    play(scenario)


def test_an_order_the_venue_does_not_know_is_none_and_both_ids_were_asked() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        listing("/api/v3/order", {"code": -2013, "msg": "Order does not exist."}, 400)(venue)
        listing("/api/v3/orderList", {"code": -2013, "msg": "Order list does not exist."}, 400)(venue)
        assert await session.find_order("AAAUSDT", key=KEY) is None
        assert await session.find_order("AAAUSDT", venue_order_id=5) is None
        asked = [r for r in venue.rest_requests if "/order?" in r]
        assert ["STL-" in r for r in asked] == [True, False, False]
        assert ["STC-" in r for r in asked] == [False, True, False]

    play(scenario)


def test_retry_after_of_a_listing_stops_orders_too() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        listing("/api/v3/account", {"code": -1003, "msg": "x"}, 429, {"Retry-After": "30"})(venue)
        with pytest.raises(VenueError, match="429"):
            await session.balances()
        place(session)
        assert sink.take()[0].code == LocalCode.PAUSED
        with pytest.raises(VenueError, match="PAUSED"):
            await session.open_orders()

    play(scenario)


@pytest.mark.parametrize("status", [418, 429])
def test_a_connection_lost_while_the_venue_has_us_wait_is_made_anew_only_after_that(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        listing("/api/v3/account", {"code": -1003, "msg": "x"}, status, {"Retry-After": "3600"})(venue)
        with pytest.raises(VenueError, match=str(status)):
            await session.balances()
        connected = len(venue.connections)
        venue.connections[-1].transport.abort()
        await until(lambda: caplog.text.count("told to wait") >= 3)
        assert not session.ready
        assert (len(venue.connections), len(venue.subscriptions)) == (connected, 1)
        budget = session._desk.budget
        budget._paused_until_ns = budget._banned_until_ns = 0
        await until(lambda: session.ready)
        assert len(venue.subscriptions) == 2

    play(scenario)


@pytest.mark.parametrize("reason", ["a successor", "the clock"])
def test_while_the_venue_has_us_wait_a_connection_that_stands_asks_nothing_for_itself(reason: str) -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        link = session.links[0]
        sent, connected = link.frames_sent, len(venue.connections)
        session._desk.budget.pause(429, None, session._desk.venue_ns())
        looked = []
        handshake = session._keeper._handshake
        must_wait = handshake.must_wait

        def look() -> bool:
            looked.append(must_wait())
            return looked[-1]

        handshake.must_wait = look  # type: ignore[method-assign]
        if reason == "a successor":
            session._keeper.replace_soon(link)
        else:
            session._keeper.check_soon(link)
        await until(lambda: bool(looked))
        await asyncio.sleep(0)
        assert looked[0]
        assert (link.frames_sent, len(venue.connections)) == (sent, connected)
        session._desk.budget._paused_until_ns = 0
        session._keeper.replace_soon(link)
        await until(lambda: session._keeper.current not in (None, link))
        assert len(venue.connections) == connected + 1

    play(scenario)


def test_used_weight_of_a_listing_counts() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        listing("/api/v3/account", {"balances": []}, 200, {"X-MBX-USED-WEIGHT-1M": "5999"})(venue)
        await session.balances()
        place(session)
        assert sink.take()[0].code == LocalCode.WEIGHT_BUDGET

    play(scenario)
