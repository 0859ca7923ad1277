"""What placing an order sends, and what each answer to it becomes, without sockets."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.host.venues.binance_spot.signing import websocket_payload
from sentinel.host.venues.contract import LocalCode
from sentinel.units import E8, NS_PER_MS, NS_PER_S
from sentinel.wire import FeeAsset, OrderState, Side, client_key, client_order_id
from tests.host.venues.offline_session import (
    ACKED,
    AMBIGUOUS,
    CANCEL_REJECTED,
    CREDENTIALS,
    EXPIRED,
    KEY,
    NOT_SENT,
    REJECTED,
    SENT,
    TEXT,
    TRADE,
    Offline,
    full,
    only,
    placed,
)


def test_an_order_leaves_signed_under_its_own_id_and_sent_is_reported() -> None:
    offline = placed()
    (request,) = offline.link.sent
    params = request["params"]
    assert (request["id"], request["method"]) == (TEXT, "order.place")
    assert params["timestamp"] == offline.clock.ns // NS_PER_MS
    assert params["signature"] == CREDENTIALS.sign(websocket_payload(params))
    assert offline.session.counters["sent"] == 1


def test_a_full_answer_gives_ack_fills_and_the_end() -> None:
    offline = placed()
    offline.reply(full())
    ack, first, second, end = offline.sink.take()
    assert [e.kind for e in (ack, first, second, end)] == [ACKED, TRADE, TRADE, EXPIRED]
    assert {e.venue_order_id for e in (ack, first, second, end)} == {77}
    assert {(e.key, e.symbol, e.side, e.qty, e.price) for e in (ack, first, second, end)} == {
        (KEY, 0, Side.BUY, 5 * E8, 100 * E8)
    }
    assert (first.last_price, first.last_qty, first.cum_qty, first.cum_quote) == (99 * E8, 2 * E8, 2 * E8, 198 * E8)
    assert (first.trade_id, first.commission, first.fee_asset) == (11, 200_000, FeeAsset.BASE)
    assert (second.last_qty, second.cum_qty, second.cum_quote) == (E8, 3 * E8, 298 * E8)
    assert (second.trade_id, second.commission, second.fee_asset) == (12, E8 // 10, FeeAsset.QUOTE)
    assert (end.state, end.cum_qty, end.cum_quote, end.trade_id) == (OrderState.EXPIRED, 3 * E8, 298 * E8, -1)
    assert end.t_exchange == 1723161255412 * NS_PER_MS


def test_a_filled_answer_ends_with_its_last_fill() -> None:
    offline = placed()
    offline.reply(full(status="FILLED", origQty="3.00000000"))
    ack, first, second = offline.sink.take()
    assert [first.state, second.state] == [OrderState.PARTIAL, OrderState.FILLED]
    assert ack.state == OrderState.ACKED


def test_replies_are_matched_by_id_in_any_order() -> None:
    offline = Offline()
    keys = [client_key(3, 1, n) for n in range(4)]
    for key in keys:
        offline.place(key)
    offline.sink.take()
    for key in reversed(keys):
        text = client_order_id(key)
        offline.reply(full(clientOrderId=text, status="NEW", executedQty="0.0", cummulativeQuoteQty="0.0", fills=[]), text)
    assert [event.key for event in offline.sink.take()] == keys[::-1]
    assert offline.session.counters["replies"] == 4


def test_a_duplicated_reply_is_counted_and_changes_nothing() -> None:
    offline = placed()
    offline.refuse(400, -2010, "Account has insufficient balance for requested action.")
    assert offline.sink.kinds() == [REJECTED]
    offline.refuse(400, -2010, "Account has insufficient balance for requested action.")
    offline.reply(full())
    assert offline.sink.take() == []
    assert offline.session.counters["duplicate_replies"] == 2


def test_a_reply_to_nothing_is_kept_and_ignored() -> None:
    offline = placed()
    for identity in ("nobody", 5, None):
        offline.hear({"id": identity, "status": 400, "error": {"code": -2010, "msg": "x"}})
    assert offline.sink.take() == []
    assert offline.session.counters["unknown_replies"] == 3
    assert len(offline.session.raw_log) == 3


# Refusals and doubts


@pytest.mark.parametrize("code", [-1013, -2010, -1121, -1111, -1022, -1021, -1015])
def test_a_definitive_refusal_is_a_rejection_with_its_code(code: int) -> None:
    offline = placed()
    offline.refuse(400, code)
    event = only(offline)
    assert (event.kind, event.key, event.code) == (REJECTED, KEY, code)


@pytest.mark.parametrize(
    ("status", "code", "text"),
    [
        (503, -1007, "Timeout"),
        (500, -1000, ""),
        (400, -1006, ""),
        (400, -9876, "new"),
        (504, 0, ""),
        (409, -2021, ""),
        (400, -2010, "Duplicate order sent."),
    ],
)
def test_an_unproven_outcome_is_ambiguous(status: int, code: int, text: str) -> None:
    offline = placed()
    offline.refuse(status, code, text)
    event = only(offline)
    assert (event.kind, event.key, event.code) == (AMBIGUOUS, KEY, code)
    assert offline.session.counters["ambiguous"] == 1


def test_bytes_of_an_unknown_code_are_kept() -> None:
    offline = placed()
    offline.refuse(400, -9876, "brand new")
    (_, why, payload) = offline.session.raw_log[0]
    assert "-9876" in why
    assert b"brand new" in payload


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "SOMETHING_NEW"},
        {"side": "LONG"},
        {"symbol": "BBBUSDT"},
        {"clientOrderId": client_order_id(KEY + 1)},
        {"clientOrderId": "web_123"},
        {"executedQty": "2.00000000"},
        {"executedQty": "-3.00000000"},
        {"executedQty": 3},
        {"executedQty": "1e308"},
        {"origQty": "NaN"},
        {"cummulativeQuoteQty": "99999999999999999999"},
        {"orderId": "77"},
        {"orderId": 2**80},
        {"transactTime": 2**62},
        {"transactTime": -5},
        {"fills": None},
        {"fills": [{"price": "1"}]},
    ],
)
def test_an_answer_that_is_not_the_protocols_is_ambiguous(changes: dict[str, Any]) -> None:
    offline = placed()
    offline.reply(full(**changes))
    event = only(offline)
    assert (event.kind, event.key) == (AMBIGUOUS, KEY)
    assert event.code == LocalCode.MALFORMED_REPLY
    assert offline.session.counters["malformed"] == 1
    assert len(offline.session.raw_log) == 1


@pytest.mark.parametrize(
    "missing", sorted(set(full()) - {"orderListId", "origQuoteOrderQty", "timeInForce", "type", "workingTime"})
)
def test_every_missing_field_of_an_answer_is_ambiguous_or_unneeded(missing: str) -> None:
    offline = placed()
    answer = full()
    del answer[missing]
    offline.reply(answer)
    kinds = offline.sink.kinds()
    assert kinds == ([ACKED, TRADE, TRADE, EXPIRED] if missing == "transactTime" else [AMBIGUOUS])


@pytest.mark.parametrize(
    "message",
    [
        {"id": TEXT, "status": "200", "result": {}},
        {"id": TEXT, "status": None},
        {"id": TEXT},
        {"id": TEXT, "status": 200},
        {"id": TEXT, "status": 400},
        {"id": TEXT, "status": 400, "error": {"msg": "no code"}},
        {"id": TEXT, "status": 200, "result": full(), "rateLimits": "none"},
    ],
)
def test_a_broken_reply_to_a_known_request_is_ambiguous(message: dict[str, Any]) -> None:
    offline = placed()
    offline.hear(message)
    assert offline.sink.kinds() == [AMBIGUOUS]
    assert offline.session.counters["malformed"] == 1


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"12", b'{"id":1', b'"text"', b"{}" * 9])
def test_garbage_is_counted_and_the_session_goes_on(payload: bytes) -> None:
    offline = placed()
    offline.hear(payload)
    assert offline.sink.take() == []
    assert offline.session.counters["malformed"] == 1
    offline.reply(full())
    assert offline.sink.kinds() == [ACKED, TRADE, TRADE, EXPIRED]


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(0, 7), st.booleans())
def test_damaged_messages_never_raise_and_never_invent_a_fill(position: int, bit: int, cut: bool) -> None:
    offline = placed()
    payload = bytearray(json.dumps({"id": TEXT, "status": 200, "result": full(), "rateLimits": []}).encode())
    position %= len(payload)
    if cut:
        payload = payload[:position]
    else:
        payload[position] ^= 1 << bit
    offline.hear(bytes(payload))
    events = offline.sink.take()
    # A flipped digit is a valid other number; what must hold is that fills add up and belong to our order.
    trades = [event for event in events if event.kind == TRADE]
    assert all(event.key == KEY and event.last_qty > 0 for event in trades) or not trades
    if trades:
        assert events[-1].cum_qty == sum(event.last_qty for event in trades)
    if cut:
        assert not trades


# What is not sent


@pytest.mark.parametrize(
    "order",
    [{"symbol": "ZZZUSDT"}, {"qty": 0}, {"price": 0}, {"side": 0}, {"order_type": 7}, {"tif": 9}, {"qty": -1}],
)
def test_an_impossible_order_is_not_sent(order: dict[str, Any]) -> None:
    offline = Offline()
    offline.place(**order)
    event = only(offline)
    assert (event.kind, event.key, event.code) == (NOT_SENT, KEY, LocalCode.BAD_VALUE)
    assert offline.link.sent == []


def test_without_a_connection_nothing_is_sent() -> None:
    offline = Offline()
    offline.link.is_open = False
    offline.place()
    offline.session._keeper.current = None
    offline.place()
    offline.session.cancel(KEY, "AAAUSDT")
    offline.session.query(KEY, "AAAUSDT")
    first, second, third = offline.sink.take()
    assert (first.kind, second.kind, third.kind) == (NOT_SENT, NOT_SENT, CANCEL_REJECTED)
    assert {first.code, second.code, third.code} == {LocalCode.DISCONNECTED}
    assert offline.session.counters["query_denied"] == 1
    assert not offline.session.ready


def test_a_socket_that_takes_no_bytes_gets_no_order() -> None:
    offline = Offline()
    offline.link.writable = False
    offline.place()
    assert only(offline).code == LocalCode.BACKLOG


def test_a_connection_that_breaks_in_the_call_leaves_the_order_in_doubt() -> None:
    offline = Offline()

    def broken(message: bytes) -> None:
        raise OSError("broken pipe")

    offline.link.send = broken  # type: ignore[method-assign]
    offline.place()
    assert offline.sink.kinds() == [AMBIGUOUS]
    assert offline.session._desk.orders_in_flight == 0


def test_429_stops_orders_and_queries_until_retry_after_but_not_cancels() -> None:
    offline = placed()
    until_ms = offline.clock.ns // NS_PER_MS + 2000
    offline.refuse(429, -1015, "Too many new orders", serverTime=until_ms - 2000, retryAfter=until_ms)
    assert offline.sink.kinds() == [REJECTED]
    offline.place(KEY + 1)
    offline.session.cancel(KEY, "AAAUSDT")
    offline.session.query(KEY, "AAAUSDT")
    assert [(e.kind, e.code) for e in offline.sink.take()] == [(NOT_SENT, LocalCode.PAUSED)]
    assert [request["method"] for request in offline.link.sent] == ["order.place", "order.cancel"]
    offline.clock.ns += 2 * NS_PER_S
    offline.place(KEY + 2)
    assert offline.sink.kinds() == [SENT]


def test_a_ban_stops_everything() -> None:
    offline = placed()
    offline.refuse(418, -1003, "IP banned", retryAfter=offline.clock.ns // NS_PER_MS + 60_000)
    offline.sink.take()
    offline.place(KEY + 1)
    offline.session.cancel(KEY, "AAAUSDT")
    assert [(e.kind, e.code) for e in offline.sink.take()] == [
        (NOT_SENT, LocalCode.PAUSED),
        (CANCEL_REJECTED, LocalCode.PAUSED),
    ]


def test_the_venues_order_count_is_obeyed() -> None:
    offline = placed()
    count = {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50, "count": 50}
    offline.hear({"id": TEXT, "status": 200, "result": full(), "rateLimits": [count]})
    offline.sink.take()
    offline.place(KEY + 1)
    assert only(offline).code == LocalCode.ORDER_BUDGET


def test_a_refused_key_stops_orders_for_good() -> None:
    offline = placed()
    offline.refuse(401, -2015, "Invalid API-key, IP, or permissions for action.")
    assert offline.sink.kinds() == [REJECTED]
    offline.place(KEY + 1)
    assert only(offline).code == LocalCode.KEY_REFUSED
    assert offline.session.halted is not None
    assert not offline.session.ready


def test_requests_without_a_reply_are_forgotten_after_a_minute() -> None:
    offline = placed()
    offline.clock.ns += 61 * NS_PER_S
    offline.place(KEY + 1)
    assert offline.session.counters["forgotten"] == 1
    assert offline.session._desk.orders_in_flight == 1
