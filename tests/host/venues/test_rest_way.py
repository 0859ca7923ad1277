"""Cancels and questions over REST while the WebSocket API is out of reach."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.exceptions import ConnectionClosed

from sentinel.config import VenueConfig
from sentinel.host.clock import LiveClock
from sentinel.host.venues import keeper
from sentinel.host.venues.binance_spot import BinanceSpotSession, Credentials
from sentinel.host.venues.contract import LocalCode
from sentinel.sim.market.source import Market
from sentinel.sim.venue.auth import ApiKey
from sentinel.sim.venue.exchange import Exchange
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.instruments import Instrument
from sentinel.sim.venue.server import VenueServer
from sentinel.units import E8, NS_PER_MS
from sentinel.wire import OrderEventKind, OrderState, Side
from tests.host.venues.offline_session import CREDENTIALS, KEY, SYMBOLS, TEXT, Sink, full
from tests.host.venues.scripted_venue import ScriptedVenue
from tests.host.waiting import until
from tests.sim.scripted_market import ScriptedSource

Scenario = Callable[[ScriptedVenue, BinanceSpotSession, Sink], Coroutine[Any, Any, None]]
CANCELED = full(status="CANCELED", origClientOrderId=TEXT, clientOrderId=TEXT.replace("STL-", "STC-"), fills=[])
HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
#: How far the venue's clock is ahead of ours.
_OFFSET_MS = 100_000


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)


def without_link(scenario: Scenario, **rest: tuple[int, dict[str, str], Any]) -> None:
    """Play ``scenario`` on a session whose connection is gone and does not come back; ``rest`` answers DELETE, ORDER, TRADES."""

    async def run() -> None:
        async with ScriptedVenue(_OFFSET_MS) as venue:
            sink = Sink()
            session = BinanceSpotSession(venue.config, SYMBOLS, CREDENTIALS, LiveClock(), sink, 5)
            await session.connect()
            venue.refuse_subscription = (503, -1000)
            venue.connections[-1].transport.abort()
            await until(lambda: not session.ready)
            paths = {"DELETE": "DELETE /api/v3/order", "ORDER": "GET /api/v3/order", "TRADES": "/api/v3/myTrades"}
            venue.rest |= {paths[name]: answer for name, answer in rest.items()}
            try:
                await scenario(venue, session, sink)
            finally:
                await session.close()
            assert venue.bad_signatures == 0

    asyncio.run(asyncio.wait_for(run(), 60))


async def cancelled(session: BinanceSpotSession, sink: Sink) -> Any:
    """Cancel, and the one event that follows."""
    session.cancel(KEY, "AAAUSDT")
    assert session.pending_requests == 1
    await until(lambda: bool(sink.events))
    await until(lambda: session.pending_requests == 0)
    (event,) = sink.take()
    return event


def test_a_cancel_goes_over_rest_signed_and_in_the_venues_time() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        event = await cancelled(session, sink)
        assert (event.kind, event.key, event.cum_qty) == (OrderEventKind.CANCELED, KEY, 3 * E8)
        query = parse_qs(urlsplit(venue.rest_requests[-1]).query)
        assert query["origClientOrderId"] == [TEXT]
        assert query["newClientOrderId"] == [CANCELED["clientOrderId"]]
        assert abs(int(query["timestamp"][0]) - venue.now_ms()) < _OFFSET_MS / 2
        assert session.counters["rest_requests"] == 1

    without_link(scenario, DELETE=(200, {}, CANCELED))


def test_new_orders_do_not_take_this_way() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        asked = len(venue.rest_requests)
        session.place(KEY, "AAAUSDT", 1, 3, 2, 0, 5 * E8)
        (event,) = sink.take()
        assert (event.kind, event.code) == (OrderEventKind.NOT_SENT, LocalCode.DISCONNECTED)
        assert session.pending_requests == 0
        assert len(venue.rest_requests) == asked

    without_link(scenario)


def test_a_question_is_followed_by_one_for_the_fills_and_answered_as_ever() -> None:
    row = {"id": 11, "orderId": 77, "price": "99", "qty": "3", "quoteQty": "297", "commission": "0.1", "time": 1}
    row |= {"commissionAsset": "USDT", "isBuyer": True, "isMaker": False}

    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        session.query(KEY, "AAAUSDT")
        await until(lambda: len(sink.events) == 2)
        trade, status = sink.take()
        assert (trade.kind, trade.trade_id, trade.last_qty) == (OrderEventKind.TRADE, 11, 3 * E8)
        assert (status.kind, status.state, status.cum_qty) == (OrderEventKind.STATUS, OrderState.EXPIRED, 3 * E8)

    without_link(scenario, ORDER=(200, {}, full()), TRADES=(200, {}, [row]))


def test_an_order_unknown_under_both_its_ids_is_not_found() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        session.query(KEY, "AAAUSDT")
        await until(lambda: bool(sink.events))
        (event,) = sink.take()
        assert (event.kind, event.code) == (OrderEventKind.NOT_FOUND, -2013)
        asked = [parse_qs(urlsplit(target).query)["origClientOrderId"][0][:4] for target in venue.rest_requests[-2:]]
        assert asked == ["STL-", "STC-"]

    without_link(scenario, ORDER=(400, {}, {"code": -2013, "msg": "Order does not exist."}))


def test_requests_of_the_way_share_a_connection_that_stays_open() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        before = venue.http_connections
        for _ in range(5):
            await cancelled(session, sink)
        assert venue.http_connections - before <= 1

    without_link(scenario, DELETE=(200, {}, CANCELED))


# Answers that prove nothing, and answers that do


@pytest.mark.parametrize(
    ("answer", "code", "kept"),
    [
        ((502, {}, HTML), 0, HTML),
        ((403, {}, HTML), 0, HTML),
        ((200, {}, HTML), LocalCode.MALFORMED_REPLY, HTML),
        ((200, {}, b""), LocalCode.UNKNOWN_CODE, b""),
        ((200, {}, {"symbol": "AAAUSDT"}), LocalCode.MALFORMED_REPLY, b'"AAAUSDT"'),
        ((200, {}, CANCELED | {"status": "VANISHED"}), LocalCode.MALFORMED_REPLY, b"VANISHED"),
        ((200, {}, CANCELED | {"origClientOrderId": "somebody-else"}), LocalCode.MALFORMED_REPLY, b"somebody-else"),
        ((200, {}, b"[" * 10_000_000), LocalCode.MALFORMED_REPLY, b"[[["),
        ((200, {}, b'{"symbol":"' + b"A" * 10_000_000 + b'"}'), LocalCode.MALFORMED_REPLY, b"AAA"),
        ((503, {}, {"code": -1007, "msg": "Timeout"}), -1007, None),
        ((400, {}, {"code": -9999, "msg": "new"}), -9999, b"-9999"),
        ((400, {}, {"code": 10**30, "msg": "new"}), 0, b"10000"),
    ],
)
def test_an_answer_that_proves_nothing_leaves_the_cancel_unconfirmed_and_its_bytes_are_kept(
    answer: tuple[int, dict[str, str], Any], code: int, kept: bytes | None
) -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        event = await cancelled(session, sink)
        assert (event.kind, event.code) == (OrderEventKind.CANCEL_REJECTED, code)
        assert session.counters["ambiguous"] == 1
        if kept is not None:
            assert kept in session.raw_log[-1][2]
            assert len(session.raw_log[-1][2]) <= 4096
        if kept is HTML:
            assert session.counters["malformed"] == 1

    without_link(scenario, DELETE=answer)


def test_a_cancel_the_venue_refuses_is_refused() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        event = await cancelled(session, sink)
        assert (event.kind, event.code) == (OrderEventKind.CANCEL_REJECTED, -2011)
        assert session.counters["ambiguous"] == 0

    without_link(scenario, DELETE=(400, {}, {"code": -2011, "msg": "Unknown order sent."}))


def test_a_lost_answer_leaves_the_cancel_unconfirmed_and_a_question_unanswered() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        event = await cancelled(session, sink)
        assert (event.kind, event.code) == (OrderEventKind.CANCEL_REJECTED, LocalCode.LOST_REPLY)
        session.query(KEY, "AAAUSDT")
        await until(lambda: session.counters["query_errors"] == 1)
        assert session.counters["rest_failures"] == 2
        assert sink.take() == []

    without_link(scenario, DELETE=(200, {}, None), ORDER=(200, {}, None))


def test_closing_leaves_what_is_under_way_in_doubt() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        session.cancel(KEY, "AAAUSDT")
        await session.close()
        (event,) = sink.take()
        assert (event.kind, event.code) == (OrderEventKind.CANCEL_REJECTED, LocalCode.LOST_REPLY)
        session.cancel(KEY, "AAAUSDT")
        assert sink.take()[0].code == LocalCode.DISCONNECTED
        assert session.pending_requests == 0

    without_link(scenario, DELETE=(200, {}, CANCELED))


# Limits


def test_429_stops_questions_until_retry_after_and_lets_cancels_through() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        session.query(KEY, "AAAUSDT")
        await until(lambda: session.counters["query_errors"] == 1)
        session.query(KEY, "AAAUSDT")
        assert session.counters["query_denied"] == 1
        assert (await cancelled(session, sink)).kind == OrderEventKind.CANCELED
        budget, now = session._desk.budget, session._desk.venue_ns()
        assert budget.for_request(now + 29_000 * NS_PER_MS, 1) == LocalCode.PAUSED
        assert budget.for_request(now + 30_000 * NS_PER_MS, 1) == LocalCode.NONE

    limited = (429, {"Retry-After": "30"}, {"code": -1003, "msg": "Too much request weight used"})
    without_link(scenario, ORDER=limited, DELETE=(200, {}, CANCELED))


def test_a_ban_stops_cancels_too_for_as_long_as_it_says() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        event = await cancelled(session, sink)
        assert (event.kind, event.code) == (OrderEventKind.CANCEL_REJECTED, 0)
        asked = len(venue.rest_requests)
        session.cancel(KEY, "AAAUSDT")
        assert sink.take()[0].code == LocalCode.PAUSED
        assert len(venue.rest_requests) == asked
        assert session._desk.budget.for_cancel(session._desk.venue_ns() + 601_000 * NS_PER_MS) == LocalCode.NONE

    without_link(scenario, DELETE=(418, {"Retry-After": "600"}, HTML))


def test_weight_and_order_counts_of_the_headers_hold_for_the_next_requests() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        await cancelled(session, sink)
        budget, now = session._desk.budget, session._desk.venue_ns()
        assert budget.for_request(now, 1) == LocalCode.WEIGHT_BUDGET
        assert budget.for_cancel(now) == LocalCode.NONE
        assert budget.for_order(now, 0) == LocalCode.ORDER_BUDGET

    headers = {"X-MBX-USED-WEIGHT-1M": "5998", "X-MBX-ORDER-COUNT-1D": "160000"}
    without_link(scenario, DELETE=(200, headers, CANCELED))


def test_a_refused_key_ends_this_way_too() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        assert (await cancelled(session, sink)).code == -2015
        asked = len(venue.rest_requests)
        session.cancel(KEY, "AAAUSDT")
        session.query(KEY, "AAAUSDT")
        assert sink.take()[0].code == LocalCode.KEY_REFUSED
        assert len(venue.rest_requests) == asked
        assert session.halted is not None

    without_link(scenario, DELETE=(401, {}, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}))


# A connection that is there


def with_link(scenario: Scenario) -> None:
    async def run() -> None:
        async with ScriptedVenue() as venue:
            sink = Sink()
            session = BinanceSpotSession(venue.config, SYMBOLS, CREDENTIALS, LiveClock(), sink, 5)
            await session.connect()
            try:
                await scenario(venue, session, sink)
            finally:
                await session.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_while_the_connection_stands_rest_is_not_used() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        session.cancel(KEY, "AAAUSDT")
        session.query(KEY, "AAAUSDT")
        await until(lambda: len(venue.requests) == 2)
        assert session.counters["rest_requests"] == 0

    with_link(scenario)


def test_a_cancel_does_not_wait_behind_a_socket_that_takes_no_bytes() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        venue.rest["DELETE /api/v3/order"] = (200, {}, CANCELED)
        session.links[0].writable = False
        assert (await cancelled(session, sink)).kind == OrderEventKind.CANCELED
        assert venue.requests == []

    with_link(scenario)


@pytest.mark.parametrize("filler", [b"[" * 10_000_000, b'{"id":"x","status":200,"result":"' + b"A" * 10_000_000 + b'"}', HTML])
def test_a_huge_or_foreign_message_on_the_connection_is_counted_and_kept_in_part(filler: bytes) -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        await venue.connections[-1].send(filler.decode())
        await until(lambda: len(session.raw_log) == 1)
        assert session.counters["malformed"] + session.counters["unknown_replies"] == 1
        assert session.raw_log[0][2] == filler[:4096]
        assert session.ready

    with_link(scenario)


def test_a_message_above_all_measure_ends_the_connection_and_leaves_its_order_in_doubt() -> None:
    async def scenario(venue: ScriptedVenue, session: BinanceSpotSession, sink: Sink) -> None:
        session.place(KEY, "AAAUSDT", 1, 1, 2, 100 * E8, 5 * E8)
        await until(lambda: len(venue.requests) == 1)
        with contextlib.suppress(ConnectionClosed):
            await venue.connections[0].send("x" * (17 << 20))
        await until(lambda: len(sink.events) == 2)
        assert sink.kinds() == [OrderEventKind.SENT, OrderEventKind.AMBIGUOUS]
        await until(lambda: session.counters["reconnects"] == 1)

    with_link(scenario)


# At the simulated exchange: its REST API is written apart from ours


@pytest.mark.parametrize("fault", [None, FaultKind.ERROR_AFTER_ACCEPT, FaultKind.DROP_RESPONSE, FaultKind.CLOSE_MID_FRAME])
def test_at_the_exchange_an_order_is_cancelled_and_found_without_a_connection(fault: FaultKind | None) -> None:
    name, secret = "K" * 32, "S" * 32

    async def run() -> None:
        instruments = tuple(Instrument(name, name[:3], "USDT", tick=E8 // 100, step=E8 // 1000) for name in SYMBOLS)

        def opening(market: Market) -> None:
            market.set_level(0, Side.SELL, 101 * E8, 5 * E8)
            market.set_level(0, Side.BUY, 99 * E8, 5 * E8)

        source = ScriptedSource(instruments, opening=[opening], start_ns=time.time_ns() // 1_000_000 * 1_000_000)
        exchange = Exchange(instruments, source, {"paper": {"USDT": 100_000 * E8}})
        async with VenueServer(exchange, [ApiKey(name, secret, "paper")]) as venue:
            config = VenueConfig(rest_url=venue.rest_url, stream_url=venue.stream_url, api_url=venue.api_url)
            sink = Sink()
            session = BinanceSpotSession(config, SYMBOLS, Credentials(name, secret), LiveClock(), sink, 5)
            await session.connect()
            session.place(KEY, "AAAUSDT", 1, 1, 1, 101 * E8, 8 * E8)
            await until(lambda: any(event.kind == OrderEventKind.TRADE for event in sink.events))
            session._keeper._paths[0].keeper._url = "ws://127.0.0.1:9/ws-api/v3"
            venue.cut_connections()
            await until(lambda: not session.ready)
            sink.take()
            if fault is not None:
                venue.faults.inject(fault, target="order.cancel")
            session.cancel(KEY, "AAAUSDT")
            await until(lambda: bool(sink.events))
            wanted = OrderEventKind.CANCELED if fault is None else OrderEventKind.CANCEL_REJECTED
            assert sink.kinds() == [wanted]
            session.query(KEY, "AAAUSDT")
            await until(lambda: any(event.kind == OrderEventKind.STATUS for event in sink.events))
            trade, status = sink.take()
            assert (trade.kind, trade.last_qty) == (OrderEventKind.TRADE, 5 * E8)
            assert (status.state, status.cum_qty) == (OrderState.CANCELED, 5 * E8)
            await session.close()

    asyncio.run(asyncio.wait_for(run(), 60))
