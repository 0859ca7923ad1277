"""What only Coinbase's session must cope with: its user channel, its limits, its silence about cancelled orders."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from sentinel.config import VenueConfig
from sentinel.errors import ConfigError, VenueError
from sentinel.host.clock import LiveClock
from sentinel.host.venues import keeper
from sentinel.host.venues.coinbase import CoinbaseSession, Credentials, account_rest, desk, ended, subscription
from sentinel.host.venues.contract import LocalCode
from sentinel.sim.venue.faults import FaultKind
from sentinel.sim.venue.rest import HttpRequest, HttpResponse
from sentinel.units import E8
from sentinel.wire import OrderEventFlag, OrderEventKind, OrderState, OrderType, Side, TimeInForce
from tests.host.venues.offline_session import Event, Sink
from tests.host.venues.venue_rigs import COINBASE, COINBASE_NAMES, GTC, ORDER, Rig, play
from tests.host.waiting import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_BACKOFF_MIN_S", 0.01)
    monkeypatch.setattr(ended, "SETTLE_S", 0.1)


def reply(rig: Rig, verb: str, path: str, *answers: HttpResponse) -> list[HttpRequest]:
    """Answer the next requests that begin with ``path`` so, without the exchange; returns them as they come."""
    rest, left, seen = rig.server._rest, list(answers), []
    original: Callable[[HttpRequest], Awaitable[HttpResponse]] = rest.answer

    async def answer(request: HttpRequest) -> HttpResponse:
        if request.verb == verb and request.path.startswith(path):
            seen.append(request)
            if left:
                return left.pop(0)
        return await original(request)

    rest.answer = answer
    return seen


def said(status: int, message: str, **headers: str) -> HttpResponse:
    return HttpResponse(status, json.dumps({"message": message}).encode(), headers)


# --- the user channel ------------------------------------------------------------------------------


def test_a_fill_the_user_channel_lost_is_noticed_at_the_end_of_its_order_and_read_over_rest() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DROP_MESSAGE, target="user.match")
        rig.place()
        doubt = await rig.heard(OrderEventKind.CANCEL_REJECTED, OrderEventKind.AMBIGUOUS)
        assert doubt.code == LocalCode.LOST_REPLY
        assert rig.session.counters["missed_fills"] == 1
        assert rig.fills() == []
        status = await rig.answer(OrderEventKind.STATUS)
        assert (status.state, status.cum_qty, rig.bought()) == (OrderState.FILLED, 3 * E8, 3 * E8)

    play(COINBASE, scenario)


@pytest.mark.parametrize("fault", [FaultKind.DROP_MESSAGE, FaultKind.MALFORMED_MESSAGE])
def test_a_lost_fill_of_an_order_that_goes_on_to_rest_puts_it_in_doubt(fault: FaultKind) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(fault, target="user.match")
        rig.place(qty=8 * E8, tif=GTC)
        await rig.heard(OrderEventKind.CANCEL_REJECTED, OrderEventKind.AMBIGUOUS)
        status = await rig.answer(OrderEventKind.STATUS)
        assert (status.state, status.cum_qty, rig.bought()) == (OrderState.PARTIAL, 5 * E8, 5 * E8)

    play(COINBASE, scenario)


def test_an_unreadable_fill_of_a_resting_order_puts_every_live_order_in_doubt() -> None:
    async def scenario(rig: Rig) -> None:
        for key in (ORDER, ORDER + 1):
            rig.place(key=key, price=100 * E8, tif=GTC)
            await rig.heard(OrderEventKind.ACKED, key=key)
        await until(lambda: rig.session.pending_requests == 0)
        rig.faults.inject(FaultKind.MALFORMED_MESSAGE, target="user.match")
        rig.exchange.take(0, Side.SELL, 2 * E8, 100 * E8)
        rig.server.wake()
        for key in (ORDER, ORDER + 1):
            assert (await rig.heard(OrderEventKind.CANCEL_REJECTED, key=key)).code == LocalCode.MALFORMED_REPLY
        status = await rig.answer(OrderEventKind.STATUS)
        assert (status.cum_qty, rig.bought()) == (2 * E8, 2 * E8)

    play(COINBASE, scenario)


def test_a_doubled_fill_is_told_once() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DUPLICATE_MESSAGE, target="user.match")
        rig.place(qty=8 * E8)
        await rig.heard(OrderEventKind.EXPIRED)
        assert len(rig.of(OrderEventKind.TRADE)) == 1
        assert rig.session.counters["duplicate_events"] == 1

    play(COINBASE, scenario)


@pytest.mark.parametrize("kind", ["received", "open"])
def test_an_order_is_known_even_if_the_channel_lost_a_message_about_it(kind: str) -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DROP_MESSAGE, target=f"user.{kind}")
        rig.place(qty=8 * E8, tif=GTC)
        await until(lambda: rig.bought() == 5 * E8 and rig.of(OrderEventKind.ACKED))
        await until(lambda: rig.session.pending_requests == 0)
        assert {event.key for event in rig.sink.events} == {ORDER}

    play(COINBASE, scenario)


def test_a_message_that_cannot_be_read_is_counted_and_kept() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.MALFORMED_MESSAGE, target="user.match")
        rig.place()
        await until(lambda: rig.session.counters["malformed"] == 1)
        session: Any = rig.session
        assert session.raw_log[0][2].startswith(b'{"type":"match"')
        status = await rig.answer(OrderEventKind.STATUS)
        assert (status.cum_qty, rig.bought()) == (3 * E8, 3 * E8)

    play(COINBASE, scenario)


def test_an_order_of_somebody_else_on_the_account_is_told_as_foreign() -> None:
    async def scenario(rig: Rig) -> None:
        order = {"symbol": rig.symbols[0], "side": "BUY", "type": "LIMIT", "timeInForce": "IOC", "quantity": "2", "price": "101"}
        rig.exchange.place("paper", order)
        rig.server.wake()
        await until(lambda: any(event.kind == OrderEventKind.TRADE for event in rig.sink.events))
        assert all(event.flags & OrderEventFlag.FOREIGN for event in rig.sink.events)
        assert rig.session.counters["foreign"] == 1

    play(COINBASE, scenario)


def test_a_fill_of_an_order_from_an_earlier_session_is_read_over_rest_and_told_with_its_key() -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=100 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        await rig.session.close()
        rig.session = rig.new_session()
        await rig.session.connect()
        rig.exchange.take(0, Side.SELL, 2 * E8, 100 * E8)
        rig.server.wake()
        status = await rig.heard(OrderEventKind.STATUS)
        assert (status.state, status.cum_qty, rig.bought()) == (OrderState.PARTIAL, 2 * E8, 2 * E8)
        assert rig.session.counters["unknown_orders"] == 1
        rig.exchange.take(0, Side.SELL, E8, 100 * E8)
        rig.server.wake()
        await until(lambda: rig.bought() == 3 * E8)
        assert rig.of(OrderEventKind.TRADE)[-1].state == OrderState.FILLED

    play(COINBASE, scenario)


def test_an_order_that_would_meet_ours_is_cancelled_by_the_venue_and_ends() -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=100 * E8, qty=E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        rig.place(key=ORDER + 1, side=Side.SELL, price=100 * E8, qty=E8, tif=GTC)
        end = await rig.heard(OrderEventKind.EXPIRED, key=ORDER + 1)
        assert end.cum_qty == 0
        assert [order.key for order in await rig.session.open_orders()] == [ORDER]

    play(COINBASE, scenario)


def test_an_order_shrunk_by_somebody_elses_is_in_doubt() -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=100 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        await until(lambda: rig.session.pending_requests == 0)
        order = {"symbol": rig.symbols[0], "side": "SELL", "type": "LIMIT", "timeInForce": "IOC", "quantity": "1", "price": "100"}
        rig.exchange.place("paper", order | {"selfTradePreventionMode": "DECREMENT"})
        rig.server.wake()
        assert (await rig.heard(OrderEventKind.CANCEL_REJECTED)).code == LocalCode.UNKNOWN_CODE

    play(COINBASE, scenario)


def test_an_order_forgotten_among_many_is_asked_for_when_it_is_named_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "_MAX_KNOWN", 2)

    async def scenario(rig: Rig) -> None:
        rig.place(price=100 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        for number in range(1, 4):
            rig.place(key=ORDER + number, price=50 * E8, qty=E8, tif=GTC)
            await rig.heard(OrderEventKind.ACKED, key=ORDER + number)
        rig.exchange.take(0, Side.SELL, 3 * E8, 100 * E8)
        rig.server.wake()
        status = await rig.heard(OrderEventKind.STATUS)
        assert (status.state, status.cum_qty, rig.bought()) == (OrderState.FILLED, 3 * E8, 3 * E8)

    play(COINBASE, scenario)


def test_messages_of_any_content_end_no_session() -> None:
    async def scenario(rig: Rig) -> None:
        session: Any = rig.session
        rig.place(price=90 * E8, tif=GTC)
        ack = await rig.heard(OrderEventKind.ACKED)
        uuid = session._desk.uuid_of(0, ack.venue_order_id)
        json_values = st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
            lambda inner: st.lists(inner, max_size=3),
            max_leaves=5,
        )
        fields = ["type", "order_id", "maker_order_id", "side", "size", "price", "time", "trade_id", "reason", "remaining_size"]
        plausible = st.sampled_from(
            ["match", "done", "open", "received", "change", uuid, "buy", "1", "-1", "1e9", rig.symbols[0]]
        )
        messages = st.dictionaries(st.sampled_from([*fields, "product_id"]), plausible | json_values, max_size=9)

        @given(messages | st.binary(max_size=60))
        def hear(message: Any) -> None:
            payload = message if isinstance(message, bytes) else json.dumps(message).encode()
            session._stream.take(None, payload)

        hear()
        assert session.ready
        assert session.counters["malformed"] > 0

    play(COINBASE, scenario)


# --- cancels ---------------------------------------------------------------------------------------


def test_an_end_the_channel_does_not_tell_is_asked_for_and_not_found_means_cancelled() -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        rig.faults.inject(FaultKind.DROP_MESSAGE, target="user.done")
        rig.session.cancel(ORDER, rig.symbols[0])
        end = await rig.heard(OrderEventKind.CANCELED)
        assert end.flags & OrderEventFlag.FROM_QUERY
        assert (end.state, end.cum_qty) == (OrderState.CANCELED, 0)
        found = await rig.session.find_order(rig.symbols[0], key=ORDER)
        assert found is not None
        assert found.state == OrderState.CANCELED

    play(COINBASE, scenario)


@pytest.mark.parametrize("fault", [FaultKind.RESET_AFTER_ACCEPT, FaultKind.ERROR_AFTER_ACCEPT, FaultKind.MALFORMED_MESSAGE])
def test_a_cancel_without_a_clear_answer_is_not_confirmed(fault: FaultKind) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        # A DELETE that dies on a used connection is sent again.
        rig.faults.inject(fault, count=2, target="order.cancel")
        rig.session.cancel(ORDER, rig.symbols[0])
        await rig.heard(OrderEventKind.CANCEL_REJECTED)
        assert rig.session.counters["ambiguous"] <= 1
        told = await rig.answer(OrderEventKind.CANCELED)
        assert told.state == OrderState.CANCELED

    play(COINBASE, scenario)


# --- refusals and limits ---------------------------------------------------------------------------


def test_a_post_only_order_that_would_take_is_rejected() -> None:
    async def scenario(rig: Rig) -> None:
        rig.session.place(ORDER, rig.symbols[0], Side.BUY, OrderType.LIMIT_MAKER, TimeInForce.GTC, 101 * E8, E8)
        await rig.heard(OrderEventKind.REJECTED)
        assert rig.fills() == []

    play(COINBASE, scenario)


def test_a_market_order_is_filled_at_once() -> None:
    async def scenario(rig: Rig) -> None:
        rig.session.place(ORDER, rig.symbols[0], Side.SELL, OrderType.MARKET, 0, 0, 6 * E8)
        await until(lambda: rig.bought() == 6 * E8)
        assert [(event.last_price, event.last_qty) for event in rig.fills()] == [(99 * E8, 5 * E8), (98 * E8, E8)]

    play(COINBASE, scenario)


def test_too_many_requests_stop_new_orders_until_the_time_named_and_leave_cancels() -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        reply(rig, "POST", "/orders", said(429, "Private rate limit exceeded", **{"Retry-After": "30"}))
        rig.place(key=ORDER + 1)
        assert (await rig.heard(OrderEventKind.REJECTED, key=ORDER + 1)).code == -429
        rig.place(key=ORDER + 2)
        assert (await rig.heard(OrderEventKind.NOT_SENT, key=ORDER + 2)).code == LocalCode.PAUSED
        rig.session.query(ORDER, rig.symbols[0])
        await until(lambda: rig.session.counters["query_denied"] == 1)
        rig.session.cancel(ORDER, rig.symbols[0])
        await rig.heard(OrderEventKind.CANCELED)
        assert rig.session.counters["limited"] == 1

    play(COINBASE, scenario)


def test_a_flood_of_orders_stays_within_the_venues_limit_and_cancels_all_of_them() -> None:
    async def scenario(rig: Rig) -> None:
        for number in range(40):
            rig.place(key=ORDER + number, price=50 * E8, qty=E8, tif=GTC)
        refused = [event for event in rig.sink.events if event.kind == OrderEventKind.NOT_SENT]
        assert refused
        assert {event.code for event in refused} == {LocalCode.ORDER_BUDGET}
        await until(lambda: rig.session.pending_requests == 0)
        open_orders = {event.key for event in rig.sink.events if event.kind == OrderEventKind.ACKED}
        assert len(open_orders) + len(refused) == 40
        for key in sorted(open_orders)[:10]:
            rig.session.cancel(key, rig.symbols[0])
        await until(lambda: sum(event.kind == OrderEventKind.CANCELED for event in rig.sink.events) == 10)
        assert rig.session.counters["limited"] == 0

    play(COINBASE, scenario)


def test_a_page_instead_of_an_answer_is_ambiguous_and_kept() -> None:
    async def scenario(rig: Rig) -> None:
        reply(rig, "POST", "/orders", HttpResponse(403, b"<html>you look like a robot</html>"))
        rig.place()
        assert (await rig.heard(OrderEventKind.AMBIGUOUS)).code == -403
        session: Any = rig.session
        assert session.halted is None
        assert b"robot" in session.raw_log[-1][2]
        await rig.answer(OrderEventKind.NOT_FOUND)

    play(COINBASE, scenario)


def test_an_answer_larger_than_any_answer_is_ambiguous() -> None:
    async def scenario(rig: Rig) -> None:
        reply(rig, "POST", "/orders", HttpResponse(200, b" " * (17 << 20)))
        rig.place()
        assert (await rig.heard(OrderEventKind.AMBIGUOUS)).code == LocalCode.LOST_REPLY
        assert rig.session.counters["rest_failures"] == 1

    play(COINBASE, scenario)


@pytest.mark.parametrize(
    "body",
    [
        {"id": "d0c5340b-6d6c-49d9-b567-48c4bfca13d2", "product_id": "BBB-USD", "side": "buy", "status": "pending"},
        {"id": "d0c5340b-6d6c-49d9-b567-48c4bfca13d2", "product_id": "AAA-USD", "side": "buy", "status": "frozen"},
        {"id": "d0c5340b-6d6c-49d9-b567-48c4bfca13d2", "product_id": "AAA-USD", "status": "pending"},
        {"id": "77", "product_id": "AAA-USD", "side": "buy", "status": "pending"},
        {
            "id": "d0c5340b-6d6c-49d9-b567-48c4bfca13d2",
            "product_id": "AAA-USD",
            "side": "buy",
            "status": "pending",
            "client_oid": COINBASE_NAMES.order(ORDER + 1),
        },
        ["no", "order"],
    ],
)
def test_an_answer_that_describes_no_such_order_is_ambiguous(body: Any) -> None:
    async def scenario(rig: Rig) -> None:
        reply(rig, "POST", "/orders", HttpResponse(200, json.dumps(body).encode()))
        rig.place()
        assert (await rig.heard(OrderEventKind.AMBIGUOUS)).code == LocalCode.MALFORMED_REPLY
        assert (rig.session.counters["malformed"], rig.session.counters["rejected"]) == (1, 0)

    play(COINBASE, scenario)


def test_a_revoked_key_halts_new_orders() -> None:
    async def scenario(rig: Rig) -> None:
        rig.server.keys.revoke("K" * 32)
        rig.place()
        assert (await rig.heard(OrderEventKind.REJECTED)).code == -401
        session: Any = rig.session
        assert "Invalid API Key" in session.halted
        assert not session.ready
        rig.place(key=ORDER + 1)
        assert (await rig.heard(OrderEventKind.NOT_SENT, key=ORDER + 1)).code == LocalCode.KEY_REFUSED

    play(COINBASE, scenario)


def test_a_wrong_passphrase_is_refused_at_the_connection_without_being_shown() -> None:
    async def scenario(rig: Rig) -> None:
        config = VenueConfig(rest_url=rig.server.rest_url, stream_url=rig.server.feed_url, api_url=rig.server.feed_url)
        session = CoinbaseSession(config, rig.symbols, Credentials("K" * 32, "wrong-one", "AAAA"), LiveClock(), Sink(), 5)
        with pytest.raises(VenueError) as caught:
            await session.connect()
        assert "wrong-one" not in str(caught.value)
        await session.close()

    play(COINBASE, scenario)


SILENT, CLOSING = "silent", "closing"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (SILENT, "an answer within"),
        (CLOSING, "closed"),
        ({"type": "subscriptions", "channels": [{"name": "user", "product_ids": ["AAA-USD"]}]}, "BBB-USD"),
        ({"type": "error", "message": "Failed to subscribe", "reason": "BBB-USD is delisted"}, "delisted"),
        ({"type": "error", "message": "Authentication Failed"}, "Authentication"),
    ],
)
def test_a_feed_that_does_not_subscribe_the_user_channel_ends_the_start(
    answer: Any, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription, "_REPLY_TIMEOUT_S", 0.2)

    async def serve_feed(socket: ServerConnection) -> None:
        await socket.recv()
        if answer == CLOSING:
            return
        if answer != SILENT:
            await socket.send(json.dumps(answer))
        await socket.wait_closed()

    async def scenario(rig: Rig) -> None:
        async with serve(serve_feed, "127.0.0.1", 0) as feed:
            port = next(iter(feed.sockets)).getsockname()[1]
            rig.server = SimpleNamespace(rest_url=rig.server.rest_url, feed_url=f"ws://127.0.0.1:{port}")
            session: Any = rig.new_session()
            with pytest.raises(VenueError, match=text):
                await session.connect()
            assert not session.ready
            assert (session.halted is not None) == ("Authentication" in text)
            await session.close()

    play(COINBASE, scenario)


def test_a_product_the_venue_does_not_list_ends_the_start() -> None:
    async def scenario(rig: Rig) -> None:
        rig.symbols.append("NO-SUCH")
        session = rig.new_session()
        with pytest.raises(ConfigError, match="NO-SUCH"):
            await session.connect()
        await session.close()

    play(COINBASE, scenario)


def test_while_the_user_channel_is_down_questions_are_answered_and_no_order_goes_out() -> None:
    async def scenario(rig: Rig) -> None:
        rig.server._websockets.close(close_connections=False)
        rig.server.cut_connections()
        await until(lambda: not rig.session.ready)
        rig.place()
        assert (await rig.heard(OrderEventKind.NOT_SENT)).code == LocalCode.DISCONNECTED
        rig.session.query(ORDER, rig.symbols[0])
        await rig.heard(OrderEventKind.NOT_FOUND)

    play(COINBASE, scenario)


# --- listings --------------------------------------------------------------------------------------


def test_fills_and_open_orders_are_read_over_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_rest, "_PAGE", 2)

    async def scenario(rig: Rig) -> None:
        order = {"symbol": rig.symbols[0], "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        for _ in range(5):
            rig.exchange.place("paper", order | {"quantity": "1", "price": "101"})
            rig.exchange.place("paper", order | {"quantity": "1", "price": "80"})
        trades = await rig.session.my_trades(rig.symbols[0])
        ids = [trade.trade_id for trade in trades]
        assert ids == sorted(set(ids))
        assert len(ids) == 5
        assert [trade.trade_id for trade in await rig.session.my_trades(rig.symbols[0], from_id=ids[3])] == ids[3:]
        assert len({order.venue_order_id for order in await rig.session.open_orders()}) == 5

    play(COINBASE, scenario)


def test_listings_wait_for_their_turn_within_the_venues_limit() -> None:
    async def scenario(rig: Rig) -> None:
        for number in range(35):
            assert await rig.session.find_order(rig.symbols[0], key=ORDER + number) is None
        assert (rig.session.counters["limited"], rig.session.counters["rest_failures"]) == (0, 0)

    play(COINBASE, scenario)


def test_a_cursor_that_does_not_move_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_rest, "_PAGE", 1)

    async def scenario(rig: Rig) -> None:
        rig.place(qty=E8)
        await until(lambda: rig.bought() == E8)
        stuck = HttpResponse(200, json.dumps([fill_row(rig)]).encode(), {"CB-AFTER": "7"})
        reply(rig, "GET", "/fills", stuck, stuck, stuck)
        with pytest.raises(VenueError, match="cursor"):
            await rig.session.my_trades(rig.symbols[0])

    play(COINBASE, scenario)


def fill_row(rig: Rig, **changes: Any) -> dict[str, Any]:
    (fill,) = rig.fills()
    return {
        "trade_id": fill.trade_id,
        "product_id": rig.symbols[0],
        "order_id": "d0c5340b-6d6c-49d9-b567-48c4bfca13d2",
        "price": "101.00000000",
        "size": "1.00000000",
        "fee": "0.1010000000000000",
        "liquidity": "T",
        "side": "buy",
        "created_at": "2026-01-01T00:00:00.000000Z",
    } | changes


@pytest.mark.parametrize(
    "change",
    [
        {"liquidity": "X"},
        {"size": "-1"},
        {"side": None},
        {"trade_id": "x"},
        {"trade_id": 2**63},
        {"trade_id": -1},
        {"created_at": "now"},
    ],
)
def test_a_fill_that_cannot_be_used_is_an_error_counted_and_kept(change: dict[str, Any]) -> None:
    async def scenario(rig: Rig) -> None:
        rig.place(qty=E8)
        await until(lambda: rig.bought() == E8)
        reply(rig, "GET", "/fills", HttpResponse(200, json.dumps([fill_row(rig, **change)]).encode()))
        with pytest.raises(VenueError, match="fills"):
            await rig.session.my_trades(rig.symbols[0])
        assert rig.session.counters["malformed"] == 1

    play(COINBASE, scenario)


def test_a_venue_id_nobody_has_met_is_an_error_and_no_guess() -> None:
    async def scenario(rig: Rig) -> None:
        with pytest.raises(VenueError, match="venue_order_id"):
            await rig.session.find_order(rig.symbols[0], venue_order_id=12345)
        with pytest.raises(VenueError, match="venue_order_id"):
            await rig.session.my_trades(rig.symbols[0], venue_order_id=12345)
        with pytest.raises(VenueError, match="find_order"):
            await rig.session.find_order(rig.symbols[0])

    play(COINBASE, scenario)


def test_closing_leaves_what_was_sent_in_doubt() -> None:
    async def scenario(rig: Rig) -> None:
        rig.faults.inject(FaultKind.DELAY_RESPONSE, target="order.place", delay_ns=5_000_000_000)
        rig.place(price=90 * E8, tif=GTC)
        await rig.heard(OrderEventKind.ACKED)
        await rig.session.close()
        events: list[Event] = rig.of(OrderEventKind.AMBIGUOUS)
        assert [event.code for event in events] == [LocalCode.LOST_REPLY]

    play(COINBASE, scenario)
